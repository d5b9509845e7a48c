-- A parked document that PostgreSQL refuses when it is tried: it has a dead letter, stays part of what is
-- stored, and waits for nothing any more.
alter table leafcutter.parked drop constraint parked_state_check;
alter table leafcutter.parked add constraint parked_state_check
  check (state in ('waiting', 'orphan', 'refused'));
update leafcutter.meta set layout = 7;
