-- Names as the documentation has them. What nothing reads is dropped.
alter table leafcutter.keys rename to key_map;
alter index leafcutter.keys_pkey rename to key_map_pkey;
alter index leafcutter.keys_owner rename to key_map_owner;
alter index leafcutter.keys_others rename to key_map_others;
alter table leafcutter.contenders rename to retained_records;
alter index leafcutter.contenders_pkey rename to retained_records_pkey;
alter table leafcutter.lost rename to cascaded_rows;
alter index leafcutter.lost_pkey rename to cascaded_rows_pkey;
alter table leafcutter.cascaded_rows rename column lost_at to cascaded_at;
drop table leafcutter.settled;
drop table leafcutter.mappings;
drop table leafcutter.topics;
alter table leafcutter.dead_letters drop column class;
update leafcutter.meta set layout = 5;
