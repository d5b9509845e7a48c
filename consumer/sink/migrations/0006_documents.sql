-- Where two documents may have one row key, the guard knows a document by its own key, and a parked
-- document says which row it wants: others may wait for that row. A hash index takes keys of any length.
alter table leafcutter.parked add column wanted_key bytea;
create index parked_wanted on leafcutter.parked using hash (wanted_key);
update leafcutter.meta set layout = 6;
