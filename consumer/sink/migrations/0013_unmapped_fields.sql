-- Fields of documents that no column takes: where they are, the BSON types seen, and of how many documents
-- or elements.
create table leafcutter.unmapped_fields (
  consumer_group text not null,
  topic          text not null,
  path           text not null,
  types          text not null,
  documents      bigint not null,
  first_at       timestamptz not null default now(),
  last_at        timestamptz not null default now(),
  primary key (consumer_group, topic, path)
);
update leafcutter.meta set layout = 13;
