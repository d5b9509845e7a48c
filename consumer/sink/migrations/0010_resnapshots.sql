-- Collections that a person has read again whole: what was begun and not finished is not sure.
create table leafcutter.resnapshots (
  topic           text primary key,
  version         bigint not null,
  begun_at        timestamptz not null default now(),
  finished_at     timestamptz
);
update leafcutter.meta set layout = 10;
