-- Dead letters that a person has given up, and why.
alter table leafcutter.dead_letters
  add column discard_reason text, add column discarded_at timestamptz,
  drop constraint dead_letters_state_check,
  add constraint dead_letters_state_check
    check (state in ('open', 'superseded', 'retried', 'discarded'));
update leafcutter.meta set layout = 11;
