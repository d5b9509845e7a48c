-- Keys of any length. A B-tree takes entries of up to 2,704 bytes, and an `_id` may have megabytes. So the
-- indexes hold what stands for a key: the key itself where it is short, its hash where it is not. The two
-- are never equal: what is shorter than 64 bytes stands for itself, and a hash has 64 bytes.
create function leafcutter.index_key(key bytea) returns bytea
  language sql immutable parallel safe
  as $$ select case when pg_catalog.octet_length(key) < 64 then key else pg_catalog.sha512(key) end $$;

alter table leafcutter.tombstones drop constraint tombstones_pkey;
create unique index tombstones_key on leafcutter.tombstones
  (table_name, leafcutter.index_key(row_key));

alter table leafcutter.parked drop constraint parked_pkey;
create unique index parked_key on leafcutter.parked (table_name, leafcutter.index_key(row_key));
drop index leafcutter.parked_wait;
create index parked_wait on leafcutter.parked (wait_table, leafcutter.index_key(wait_key));

alter table leafcutter.held drop constraint held_pkey;
create unique index held_key on leafcutter.held (table_name, leafcutter.index_key(row_key));

drop index leafcutter.dead_letters_row;
create index dead_letters_row on leafcutter.dead_letters
  (table_name, leafcutter.index_key(row_key)) where state = 'open';

alter table leafcutter.cascaded_rows drop constraint cascaded_rows_pkey;
create unique index cascaded_rows_key on leafcutter.cascaded_rows
  (table_name, leafcutter.index_key(row_key), column_name, leafcutter.index_key(parent_key));

alter table leafcutter.key_map drop constraint key_map_pkey;
create unique index key_map_key on leafcutter.key_map (table_name, leafcutter.index_key(source_key));
drop index leafcutter.key_map_owner;
create unique index key_map_owner on leafcutter.key_map
  (table_name, leafcutter.index_key(row_key)) where owner;
drop index leafcutter.key_map_others;
-- A rank ends with the document's key. Its beginning orders all but a few.
create index key_map_others on leafcutter.key_map
  (table_name, leafcutter.index_key(row_key), substring(rank from 1 for 64)) where not owner;

alter table leafcutter.retained_records drop constraint retained_records_pkey;
create unique index retained_records_key on leafcutter.retained_records
  (table_name, leafcutter.index_key(source_key));

-- Without a primary key a publication of all tables would refuse their updates.
alter table leafcutter.tombstones replica identity full;
alter table leafcutter.parked replica identity full;
alter table leafcutter.held replica identity full;
alter table leafcutter.cascaded_rows replica identity full;
alter table leafcutter.key_map replica identity full;
alter table leafcutter.retained_records replica identity full;

-- How many records of a collection in a row could not be applied, over all consumers of a group and all
-- their restarts. Once the breaker is open its consumers stop, until a person resumes the collection.
create table leafcutter.breakers (
  consumer_group  text not null,
  topic           text not null,
  failures        bigint not null,
  reason          text,
  opened_at       timestamptz,
  primary key (consumer_group, topic)
);

-- Why a consumer does not get on, as its `/readyz` says.
alter table leafcutter.consumers add column problem text;

update leafcutter.meta set layout = 8;
