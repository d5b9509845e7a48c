-- A document that is there, but for child rows whose parents are missing: its record is counted as
-- applied, and not among those that wait.
alter table leafcutter.parked add column incomplete boolean not null default false;
update leafcutter.meta set layout = 3;
