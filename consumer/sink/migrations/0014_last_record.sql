-- What the last record before the position was: a topic that was made anew has another one there. Null where
-- nothing was applied yet, or somebody has moved the position.
alter table leafcutter.offsets add column last_record bigint;

update leafcutter.meta set layout = 14;
