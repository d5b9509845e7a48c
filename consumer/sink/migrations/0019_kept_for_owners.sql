-- From PostgreSQL 18 on a trigger that runs after a change is executed as whoever made the change. Of a foreign key's
-- own action that is the owner of the table, who has no rights here. Nobody else may make a trigger of it: it
-- evaluates an expression.
alter function leafcutter.keep_for_undo() security definer;
revoke all on function leafcutter.keep_for_undo() from public;
update leafcutter.meta set layout = 19;
