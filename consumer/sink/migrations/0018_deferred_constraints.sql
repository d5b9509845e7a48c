-- Indexes and foreign keys of tables that a consumer has made, which are added when the first snapshot of the
-- table is applied (docs/decisions/the-load-phase.md). A foreign key is there for new rows once it is `added`,
-- and is proven for all of them when its row goes.
create table leafcutter.deferred_constraints (
  table_name     text not null,
  name           text not null,
  kind           text not null check (kind in ('index', 'key')),
  column_names   text[] not null,
  parent_table   text,
  parent_columns text[],
  state          text not null default 'deferred' check (state in ('deferred', 'added')),
  problem        text,
  noted_at       timestamptz not null default now(),
  primary key (table_name, name)
);

update leafcutter.meta set layout = 18;
