-- Leafcutter's own state. Everything here is written in the transaction that applies a batch, so
-- that rows and progress commit or vanish together.

create table leafcutter.meta (
  layout          int not null,
  created_at      timestamptz not null default now()
);
insert into leafcutter.meta (layout) values (1);

create table leafcutter.mappings (
  generation      bigint generated always as identity primary key,
  hash            text not null,
  body            text not null,
  activated_at    timestamptz not null default now()
);

create table leafcutter.topics (
  topic           text primary key,
  database        text not null,
  collection      text not null,
  partitions      int not null
);

-- One row per consumer group and partition: the fence, the position, and one counter for each
-- outcome a record can have. Updated twice per batch, hence the room on its pages.
create table leafcutter.offsets (
  consumer_group  text not null,
  topic           text not null,
  partition       int not null,
  epoch           bigint not null default 0,
  owner           text,
  next_offset     bigint not null default 0,
  mapping         text not null,
  has_events      boolean not null default false,
  has_tombstones  boolean not null default false,
  applied         bigint not null default 0,
  unchanged       bigint not null default 0,
  stale           bigint not null default 0,
  deleted         bigint not null default 0,
  held            bigint not null default 0,
  filtered        bigint not null default 0,
  parked          bigint not null default 0,
  ignored         bigint not null default 0,
  dead_lettered   bigint not null default 0,
  source_time     bigint not null default 0,
  updated_at      timestamptz not null default now(),
  primary key (consumer_group, topic, partition)
) with (fillfactor = 40);

-- What became of parked records afterwards. Every process has rows of its own, so that nobody
-- waits for a lock on a counter.
create table leafcutter.settled (
  consumer_group  text not null,
  topic           text not null,
  partition       int not null,
  consumer        text not null,
  applied         bigint not null default 0,
  stale           bigint not null default 0,
  dead_lettered   bigint not null default 0,
  primary key (consumer_group, topic, partition, consumer)
) with (fillfactor = 40);

create table leafcutter.gates (
  consumer_group  text not null,
  topic           text not null,
  opened_at       timestamptz not null default now(),
  primary key (consumer_group, topic)
);

create table leafcutter.tombstones (
  table_name      text not null,
  row_key         bytea not null,
  version         bigint not null,
  primary key (table_name, row_key)
);

-- Documents that wait for a parent or for a unique value. `record_key` and `record_value` are the
-- Kafka record as it came.
create table leafcutter.parked (
  table_name      text not null,
  row_key         bytea not null,
  version         bigint not null,
  as_of           bigint not null,
  state           text not null default 'waiting' check (state in ('waiting', 'orphan')),
  reason          text not null check (reason in ('parent', 'unique')),
  wait_column     text,
  wait_table      text not null,
  wait_key        bytea not null,
  consumer_group  text not null,
  topic           text not null,
  partition       int not null,
  "offset"        bigint not null,
  record_time     bigint,
  record_key      bytea not null,
  record_value    bytea not null,
  parked_at       timestamptz not null default now(),
  tried_at        timestamptz not null default now(),
  primary key (table_name, row_key)
);
create index parked_wait on leafcutter.parked (wait_table, wait_key);
create index parked_tried on leafcutter.parked (tried_at);

-- Rows whose document was deleted while other rows still point to them.
create table leafcutter.held (
  table_name      text not null,
  row_key         bytea not null,
  version         bigint not null,
  held_at         timestamptz not null default now(),
  primary key (table_name, row_key)
);

-- The index of the dead-letter topics.
create table leafcutter.dead_letters (
  topic           text not null,
  partition       int not null,
  "offset"        bigint not null,
  table_name      text not null,
  row_key         bytea,
  source_key      text,
  version         bigint,
  stage           text not null,
  class           text not null default 'definite',
  reason          text not null,
  column_name     text,
  path            text,
  sqlstate        text,
  message         text not null,
  state           text not null default 'open' check (state in ('open', 'superseded', 'retried')),
  consumer_group  text not null,
  mapping         text not null,
  created_at      timestamptz not null default now(),
  primary key (topic, partition, "offset")
);
create index dead_letters_row on leafcutter.dead_letters (table_name, row_key) where state = 'open';

create table leafcutter.consumers (
  id              text primary key,
  consumer_group  text not null,
  host            text not null,
  program         text not null,
  mapping         text not null,
  partitions      int not null,
  admin           text,
  started_at      timestamptz not null,
  seen_at         timestamptz not null
);
