-- The mappings of a consumer group, one after the other: the highest generation is in force. `body` is the
-- file as it was read. Transactions that write rows hold this table in `row share` mode from their beginning.
create table leafcutter.mappings (
  consumer_group text not null,
  generation     bigint not null,
  hash           text not null,
  body           text not null,
  program        text not null,
  activated_at   timestamptz not null default now(),
  primary key (consumer_group, generation)
);
-- Collections whose rows may have been written under an older mapping. `replay`: to apply the topic again is
-- enough; `ends`: where a replay that was begun ends, by partition.
create table leafcutter.older_rows (
  consumer_group text not null,
  topic          text not null,
  generation     bigint not null,
  what           text not null,
  replay         boolean not null,
  ends           bigint[],
  since          timestamptz not null default now(),
  primary key (consumer_group, topic)
);
update leafcutter.meta set layout = 15;
