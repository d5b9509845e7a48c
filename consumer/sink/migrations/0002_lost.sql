-- Rows that were deleted, and references that were set to null, because a parent was deleted: if the
-- parent comes back, these documents are to be read again. `row_key` is the document's own row,
-- `column_name` the reference, of a child table with its name in front.
create table leafcutter.lost (
  table_name      text not null,
  row_key         bytea not null,
  column_name     text not null,
  parent_table    text not null,
  parent_key      bytea not null,
  on_delete       text not null check (on_delete in ('cascade', 'set-null')),
  lost_at         timestamptz not null default now(),
  primary key (table_name, row_key, column_name, parent_key)
);
update leafcutter.meta set layout = 2;
