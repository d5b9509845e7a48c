-- New tables that a replay fills beside those in use, in a schema of their own, until both are exchanged
-- (docs/decisions/exchanging-tables.md): for which group, and under which group they are filled.
create table leafcutter.stagings (
  schema_name    text primary key,
  live_group     text not null,
  consumer_group text not null,
  begun_at       timestamptz not null default now()
);

-- A record may be refused by both: in which schema, empty for the tables in use.
alter table leafcutter.dead_letters add column staged_in text not null default '';
alter table leafcutter.dead_letters drop constraint dead_letters_pkey;
alter table leafcutter.dead_letters
  add constraint dead_letters_pkey primary key (topic, partition, "offset", staged_in);

update leafcutter.meta set layout = 17;
