//! A target filled by hand, slowly: what a right migration leaves behind, made without Leafcutter,
//! so that the comparison itself can be put to the test.

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use leafcutter_finlit::{
    Collection,
    expected::{
        self,
        cell::Cell,
        key,
        tables::{Column, Kind, Table, table},
    },
};
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    world::World,
};
use std::collections::{BTreeSet, HashSet};
use tokio_postgres::{Client, types::ToSql};
use uuid::Uuid;

/// The part of Leafcutter's own schema that the comparison reads.
const STATE: &str = "
    create schema leafcutter;
    create table leafcutter.offsets (consumer_group text, topic text, partition int, next_offset bigint,
      applied bigint default 0, unchanged bigint default 0, stale bigint default 0,
      deleted bigint default 0, held bigint default 0, filtered bigint default 0,
      parked bigint default 0, suppressed bigint default 0, ignored bigint default 0,
      dead_lettered bigint default 0);
    create table leafcutter.parked (consumer_group text, table_name text, row_key bytea, state text, reason text);
    create table leafcutter.held (table_name text, row_key bytea);
    create table leafcutter.dead_letters (topic text, partition int, \"offset\" bigint, table_name text,
      row_key bytea, source_key text, version bigint, reason text, column_name text, state text,
      consumer_group text);";

/// Fills a world's target with what its documents are.
pub(crate) async fn fill(world: &World) -> Result<()> {
    world.target.batch_execute(STATE).await?;
    for collection in Collection::ALL {
        world
            .target
            .batch_execute(&ddl(table(collection)))
            .await
            .attempt("make the tables")?;
    }
    let mut placed: HashSet<(Collection, Uuid)> = HashSet::new();
    for collection in Collection::ALL {
        Fill {
            collection,
            placed: &mut placed,
            taken: BTreeSet::new(),
            offset: 0,
        }
        .run(world)
        .await?;
    }
    Ok(())
}

struct Fill<'a> {
    collection: Collection,
    placed: &'a mut HashSet<(Collection, Uuid)>,
    taken: BTreeSet<String>,
    offset: i64,
}

impl Fill<'_> {
    async fn run(mut self, world: &World) -> Result<()> {
        let table = table(self.collection);
        let mut waiting = Vec::new();
        let source = world.source.collection::<Document>(table.name);
        let mut documents = source.find(doc! {}).await?;
        while let Some(document) = documents.try_next().await? {
            let name = key::canonical(document.get("_id").unwrap_or(&Bson::Null));
            match expected::rows(self.collection, &document) {
                Err(refusal) => {
                    let (reason, column) = (refusal.reason, refusal.column);
                    self.dead_letter(world, &name, None, table.name, reason, column)
                        .await?;
                }
                Ok(rows) => waiting.push((name, rows)),
            }
        }
        // Again and again, as long as somebody's parent came.
        loop {
            let before = waiting.len();
            let mut later = Vec::new();
            for (name, mut rows) in waiting {
                if self.missing(table, &mut rows).is_some() || self.is_taken(table, &rows) {
                    later.push((name, rows));
                } else {
                    self.place(&world.target, table, &rows).await?;
                }
            }
            waiting = later;
            if waiting.len() == before {
                break;
            }
        }
        for (name, mut rows) in waiting {
            let (reason, column) = match self.missing(table, &mut rows) {
                Some(column) => ("orphan", column),
                None => ("unique", ""),
            };
            self.dead_letter(world, &name, Some(rows.key), table.name, reason, column)
                .await?;
        }
        let topic = world.place.topic(table.name)?;
        let sql = "insert into leafcutter.offsets (consumer_group, topic, partition, next_offset, applied) \
                   values ($1, $2, 0, 5, 5)";
        world.target.execute(sql, &[&world.group, &topic]).await?;
        Ok(())
    }

    fn missing(&self, table: &Table, rows: &mut expected::Rows) -> Option<&'static str> {
        for (position, column) in table.columns.iter().enumerate() {
            let (Kind::Reference(parent), Cell::Uuid(key)) = (column.kind, &rows.root[position])
            else {
                continue;
            };
            let own = parent.collection == self.collection && *key == rows.key;
            if own || self.placed.contains(&(parent.collection, *key)) {
                continue;
            }
            if !parent.or_null {
                return Some(column.name);
            }
            rows.root[position] = Cell::Null;
        }
        None
    }

    fn is_taken(&self, table: &Table, rows: &expected::Rows) -> bool {
        self.unique(table, rows)
            .iter()
            .any(|value| self.taken.contains(value))
    }

    fn unique(&self, table: &Table, rows: &expected::Rows) -> Vec<String> {
        let value = |columns: &&[&str]| {
            columns
                .iter()
                .map(|c| format!("{:?}", rows.cell(table, c)))
                .collect()
        };
        table.unique.iter().map(value).collect()
    }

    async fn place(&mut self, target: &Client, table: &Table, rows: &expected::Rows) -> Result<()> {
        self.taken.extend(self.unique(table, rows));
        self.placed.insert((self.collection, rows.key));
        insert(
            target,
            table.name,
            table.columns,
            &rows.root,
            &[("lc_version", "7".to_owned())],
        )
        .await?;
        for child in table.children {
            for (position, cells) in rows.children.get(child.name).into_iter().flatten() {
                let own = [
                    (table.key(), format!("'{}'", rows.key)),
                    ("position", position.to_string()),
                ];
                insert(target, child.name, child.columns, cells, &own).await?;
            }
        }
        Ok(())
    }

    async fn dead_letter(
        &mut self,
        world: &World,
        name: &str,
        parked: Option<Uuid>,
        table: &str,
        reason: &str,
        column: &str,
    ) -> Result<()> {
        self.offset += 1;
        let topic = world.place.topic(self.collection.name())?;
        let sql = "insert into leafcutter.dead_letters (topic, partition, \"offset\", table_name, source_key, \
                   version, reason, column_name, state, consumer_group) \
                   values ($1, 0, $2, $3, $4, 9, $5, $6, 'open', $7)";
        let values: [&(dyn ToSql + Sync); 7] = [
            &topic,
            &self.offset,
            &table,
            &name,
            &reason,
            &column,
            &world.group,
        ];
        world.target.execute(sql, &values).await?;
        if let Some(key) = parked {
            let sql = "insert into leafcutter.parked values ($1, $2, $3, 'orphan', $4)";
            let key = key.as_bytes().to_vec();
            world
                .target
                .execute(sql, &[&world.group, &self.collection.name(), &key, &reason])
                .await?;
        }
        Ok(())
    }
}

fn ddl(table: &Table) -> String {
    let columns = |columns: &[Column]| -> String {
        columns
            .iter()
            .map(|c| format!("\"{}\" {}, ", c.name, sql_type(c)))
            .collect()
    };
    let mut sql = format!(
        "create table \"{}\" ({} lc_version bigint not null default 0, primary key (\"{}\"));",
        table.name,
        columns(table.columns),
        table.key()
    );
    for unique in table.unique {
        sql += &format!(
            "alter table \"{}\" add unique ({});",
            table.name,
            unique.join(", ")
        );
    }
    for child in table.children {
        let own = columns(child.columns);
        let (name, key) = (child.name, table.key());
        sql += &format!(
            "create table \"{name}\" ({own} {key} uuid, position int, primary key ({key}, position));"
        );
    }
    sql
}

fn sql_type(column: &Column) -> String {
    match column.kind {
        Kind::Id | Kind::Reference(_) => "uuid".to_owned(),
        Kind::Text { max: None, .. } => "text".to_owned(),
        Kind::Text { max: Some(max), .. } => format!("varchar({max})"),
        Kind::Int => "integer".to_owned(),
        Kind::BigInt => "bigint".to_owned(),
        Kind::Float => "double precision".to_owned(),
        Kind::Real => "real".to_owned(),
        Kind::Numeric(None) => "numeric".to_owned(),
        Kind::Numeric(Some((precision, scale))) => format!("numeric({precision},{scale})"),
        Kind::Bool => "boolean".to_owned(),
        Kind::Timestamp => "timestamp".to_owned(),
        Kind::Date => "date".to_owned(),
        Kind::Bytes => "bytea".to_owned(),
        Kind::Json => "jsonb".to_owned(),
    }
}

async fn insert(
    target: &Client,
    table: &str,
    columns: &[Column],
    cells: &[Cell],
    more: &[(&str, String)],
) -> Result<()> {
    let mut names: Vec<_> = more.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let mut values: Vec<_> = more.iter().map(|(_, value)| value.clone()).collect();
    let mut texts: Vec<Option<String>> = Vec::new();
    for (column, cell) in columns.iter().zip(cells) {
        names.push(format!("\"{}\"", column.name));
        texts.push(sql_text(cell)?);
        let text = format!("${}::text", texts.len());
        values.push(match column.kind {
            Kind::Timestamp => format!("timestamp 'epoch' + ({text} || ' milliseconds')::interval"),
            Kind::Date => format!("date '1970-01-01' + {text}::int"),
            Kind::Bytes => format!("decode({text}, 'hex')"),
            _ => format!("{text}::{}", sql_type(column)),
        });
    }
    let sql = format!(
        "insert into \"{table}\" ({}) values ({})",
        names.join(", "),
        values.join(", ")
    );
    let texts: Vec<_> = texts
        .iter()
        .map(|text| text as &(dyn ToSql + Sync))
        .collect();
    target
        .execute(&sql, &texts)
        .await
        .attempt(&format!("insert into {table}"))?;
    Ok(())
}

fn sql_text(cell: &Cell) -> Result<Option<String>> {
    Ok(Some(match cell {
        Cell::Null => return Ok(None),
        Cell::Text(text) | Cell::Numeric(text) | Cell::Bytes(text) => text.clone(),
        Cell::Int(n) | Cell::Millis(n) | Cell::Days(n) => n.to_string(),
        Cell::Float(n) => n.to_string(),
        Cell::Real(n) => n.to_string(),
        Cell::Bool(b) => b.to_string(),
        Cell::Uuid(uuid) => uuid.to_string(),
        Cell::Json(value) => value.to_string(),
        Cell::Array(_) => return Err(Failure::new("FinLit has no arrays")),
        Cell::Unreadable(text) | Cell::Given(text) => {
            return Err(Failure::new(format!("`{text}` is no value")));
        }
    }))
}
