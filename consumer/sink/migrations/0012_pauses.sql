-- Collections of a consumer group that a person has paused; an empty topic stands for all.
create table leafcutter.pauses (
  consumer_group text not null,
  topic          text not null,
  reason         text not null,
  paused_at      timestamptz not null default now(),
  primary key (consumer_group, topic)
);
update leafcutter.meta set layout = 12;
