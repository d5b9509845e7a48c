-- How Leafcutter found each table, and what it made there; with that it can be taken back until cut-over.
-- `made_*` are names of what it added to a table that was there. `places` is where the table's sequences stood.
create table leafcutter.origins (
  table_name      text primary key,
  found           text not null check (found in ('created', 'empty', 'filled', 'unknown', 'outside')),
  is_kept         boolean not null,
  key_columns     text[] not null,
  made_schema     boolean not null default false,
  made_columns    text[] not null default '{}',
  made_indexes    text[] not null default '{}',
  made_keys       text[] not null default '{}',
  made_numbers    text[] not null default '{}',
  places          jsonb not null default '[]',
  noted_at        timestamptz not null default now()
);

-- Rows of the application, as they were when Leafcutter first overwrote or deleted them: the text of the whole
-- row, with the numbers of its columns. A row's first image counts, and it is known by a hash of its key.
create table leafcutter.undo (
  id              bigint generated always as identity primary key,
  table_name      text not null,
  row_hash        bytea,
  change          text not null check (change in ('deleted', 'taken', 'changed')),
  relation        text not null,
  attributes      int2[] not null,
  row_image       text not null,
  kept_at         timestamptz not null default now()
);
create unique index undo_row on leafcutter.undo (table_name, row_hash);

-- Its arguments: the table; the column that says whose a row is, if there is one; the hash of a row's key, as an
-- expression. A row goes into text by its own types' output. What a session may set of that output is set here.
create function leafcutter.keep_for_undo() returns trigger
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set datestyle = 'ISO, YMD'
  set intervalstyle = 'postgres'
  set timezone = 'UTC'
  set extra_float_digits = 1
  set bytea_output = 'hex'
  set lc_monetary = 'C'
  as $$
declare
  what text := 'changed';
  hash bytea;
begin
  if tg_op = 'DELETE' then
    what := 'deleted';
  elsif tg_argv[1] = 'lc_version' then
    if new.lc_version > 0 then
      what := 'taken';
    end if;
  end if;
  execute 'select ' || tg_argv[2] into hash using old;
  insert into leafcutter.undo (table_name, row_hash, change, relation, attributes, row_image)
    select tg_argv[0], hash, what, format('%I.%I', tg_table_schema, tg_table_name),
      (select array_agg(a.attnum order by a.attnum) from pg_attribute a
        where a.attrelid = tg_relid and a.attnum > 0 and not a.attisdropped),
      old::text
    on conflict (table_name, row_hash) do nothing;
  return null;
end $$;
update leafcutter.meta set layout = 16;
