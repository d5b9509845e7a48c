//! What is in PostgreSQL: all tables, with the types that they have there.

use leafcutter_finlit::expected::{cell::Cell, tables::Kind};
use leafcutter_harness::failure::{Attempt, Result};
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// Columns of all tables, those of the primary key marked.
const COLUMNS: &str = "
    select c.relname::text, a.attname::text, format_type(a.atttypid, null),
           coalesce(a.attnum = any (i.indkey), false)
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_index i on i.indrelid = c.oid and i.indisprimary
    where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace order by 1, a.attnum";

/// A table.
#[derive(Debug, Default)]
pub struct Table {
    columns: Vec<Column>,
    /// Its rows, by their key.
    pub rows: BTreeMap<String, BTreeMap<String, Cell>>,
}

#[derive(Debug)]
struct Column {
    name: String,
    type_name: String,
    is_key: bool,
}

/// All tables with all their rows. Leafcutter's own columns are left out.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn read(client: &Client) -> Result<BTreeMap<String, Table>> {
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for row in client
        .query(COLUMNS, &[])
        .await
        .attempt("list the tables")?
    {
        let column = Column {
            name: row.get(1),
            type_name: row.get(2),
            is_key: row.get(3),
        };
        let table = tables.entry(row.get(0)).or_default();
        if !column.name.starts_with("lc_") {
            table.columns.push(column);
        }
    }
    for (name, table) in &mut tables {
        let list: Vec<_> = table.columns.iter().map(Column::sql).collect();
        let sql = format!("select {} from \"{name}\"", list.join(", "));
        let rows = client.query(&sql, &[]).await;
        for row in rows.attempt(&format!("read `{name}`"))? {
            let cells = table.columns.iter().enumerate().map(|(at, column)| {
                let text: Option<&str> = row.get(at);
                let cell = text.map_or(Cell::Null, |text| column.cell(text));
                (column.name.clone(), cell)
            });
            let cells: BTreeMap<_, _> = cells.collect();
            let key = table.key(|column| &cells[column]);
            table.rows.insert(key, cells);
        }
    }
    Ok(tables)
}

impl Table {
    /// The key of a row as one text.
    pub fn key<'a>(&self, cell: impl Fn(&str) -> &'a Cell) -> String {
        let keys = self.columns.iter().filter(|column| column.is_key);
        let keys: Vec<_> = keys.map(|column| cell(&column.name).to_string()).collect();
        keys.join(" ")
    }
}

impl Column {
    fn element(&self) -> Option<Kind> {
        self.type_name.strip_suffix("[]").map(kind)
    }

    fn sql(&self) -> String {
        let name = &self.name;
        match self.element() {
            None => Cell::sql(kind(&self.type_name), name),
            Some(element) => format!(
                "case when \"{name}\" is not null then \
                 (select coalesce(json_agg({} order by n), '[]') \
                 from unnest(\"{name}\") with ordinality as u (e, n))::text end",
                Cell::sql(element, "e")
            ),
        }
    }

    fn cell(&self, text: &str) -> Cell {
        let Some(element) = self.element() else {
            return Cell::read(kind(&self.type_name), text);
        };
        let texts: Result<Vec<Option<String>>, _> = serde_json::from_str(text);
        let cell = |text: Option<String>| text.map_or(Cell::Null, |t| Cell::read(element, &t));
        texts.map_or_else(
            |_| Cell::Unreadable(text.to_owned()),
            |texts| Cell::Array(texts.into_iter().map(cell).collect()),
        )
    }
}

/// What values of a type are compared as.
fn kind(type_name: &str) -> Kind {
    match type_name {
        "uuid" => Kind::Id,
        "smallint" | "integer" => Kind::Int,
        "bigint" => Kind::BigInt,
        "double precision" => Kind::Float,
        "real" => Kind::Real,
        "numeric" => Kind::Numeric(None),
        "boolean" => Kind::Bool,
        "timestamp without time zone" | "timestamp with time zone" => Kind::Timestamp,
        "date" => Kind::Date,
        "bytea" => Kind::Bytes,
        "json" | "jsonb" => Kind::Json,
        _ => Kind::Text {
            max: None,
            any: false,
        },
    }
}
