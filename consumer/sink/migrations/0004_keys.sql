-- Tables whose key does not follow from `_id`: the row of each document (`source_key` is its own key,
-- as the Kafka record has it), the version of its image, and its place among those that want the
-- same row; the greatest comes first. The owner is the document that the row shows.
create table leafcutter.keys (
  table_name      text not null,
  source_key      bytea not null,
  row_key         bytea not null,
  version         bigint not null,
  rank            bytea not null,
  owner           boolean not null,
  primary key (table_name, source_key)
);
create unique index keys_owner on leafcutter.keys (table_name, row_key) where owner;
create index keys_others on leafcutter.keys (table_name, row_key, rank) where not owner;

-- The images of all documents that contend for rows where the newest wins, the present winner's
-- too: once it loses, nobody else has it. `record_key` and `record_value` are the Kafka record.
create table leafcutter.contenders (
  table_name      text not null,
  source_key      bytea not null,
  topic           text not null,
  partition       int not null,
  "offset"        bigint not null,
  record_time     bigint,
  record_key      bytea not null,
  record_value    bytea not null,
  primary key (table_name, source_key)
);
update leafcutter.meta set layout = 4;
