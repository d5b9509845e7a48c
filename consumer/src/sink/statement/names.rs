//! Names in SQL: quoted identifiers, the columns that are compared, the bytes of keys.

use crate::transform::TableId;
use leafcutter_schemas::mapping::{Column, ColumnSource, Element, PgType, Table, TableName};

/// Quotes an identifier (PostgreSQL manual, 4.1.1).
pub fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Quotes a text as a literal; used for names of tables only.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A table's name with its schema, quoted.
pub fn qualified(name: &TableName) -> String {
    format!("{}.{}", quote(&name.schema), quote(&name.name))
}

pub(super) fn list(columns: impl IntoIterator<Item = String>) -> String {
    columns.into_iter().collect::<Vec<_>>().join(", ")
}

/// The function whose result is a value's bytes in binary COPY; row keys are made of these.
fn send_function(pg_type: PgType) -> &'static str {
    match pg_type {
        PgType::Bool => "boolsend",
        PgType::Int2 => "int2send",
        PgType::Int4 => "int4send",
        PgType::Int8 => "int8send",
        PgType::Float4 => "float4send",
        PgType::Float8 => "float8send",
        PgType::Numeric(_) => "numeric_send",
        PgType::Text => "textsend",
        PgType::Varchar(_) => "varcharsend",
        PgType::Uuid => "uuid_send",
        PgType::Bytea => "byteasend",
        PgType::Date => "date_send",
        PgType::Timestamp => "timestamp_send",
        PgType::Timestamptz => "timestamptz_send",
        PgType::Json => "json_send",
        PgType::Jsonb => "jsonb_send",
        PgType::Array(_) => "array_send",
    }
}

/// A column's type in a temporary table: the length and the scale were checked when the row was
/// made. An array keeps its element's type, which its binary form names.
pub(super) fn staging_type(pg_type: PgType) -> String {
    match pg_type {
        PgType::Varchar(_) => "text".to_owned(),
        PgType::Numeric(_) => "numeric".to_owned(),
        PgType::Array(Element::Varchar(_)) => "varchar[]".to_owned(),
        PgType::Array(Element::Numeric(_)) => "numeric[]".to_owned(),
        other => other.to_string(),
    }
}

pub(super) struct Names<'a> {
    pub(super) table: &'a Table,
    pub(super) temp: String,
    pub(super) deletes: String,
    pub(super) target: String,
    pub(super) literal: String,
    /// The collection as a literal, where several fill the table.
    pub(super) source: Option<String>,
}

impl Names<'_> {
    pub(super) fn column(&self, position: usize) -> &Column {
        &self.table.columns[position]
    }

    /// `left.c = right.c and …` for the key columns.
    pub(super) fn same_key(&self, left: &str, right: &str) -> String {
        self.same(&self.table.key, left, right)
    }

    pub(super) fn same(&self, columns: &[usize], left: &str, right: &str) -> String {
        let conditions: Vec<_> = columns
            .iter()
            .map(|&c| {
                let name = quote(&self.column(c).name);
                format!("{left}.{name} = {right}.{name}")
            })
            .collect();
        conditions.join(" and ")
    }

    /// The bytes of a row's key as [`crate::transform::Rows::key`] has them.
    pub(super) fn key_bytes(&self, alias: &str) -> String {
        row_key_bytes(self.table, alias)
    }

    /// Rows that are not another collection's; those of nobody are free.
    pub(super) fn own(&self, alias: &str) -> String {
        match &self.source {
            Some(source) => format!(" and {alias}.lc_source in ({source}, '')"),
            None => String::new(),
        }
    }

    /// Whether any column beside the key differs.
    pub(super) fn differs(&self, left: &str, right: &str) -> String {
        let mut conditions = Vec::new();
        for (position, column) in self.table.columns.iter().enumerate() {
            if self.table.key.contains(&position) {
                continue;
            }
            // `json` has no equality; its text is what is stored.
            let cast = if column.pg_type == PgType::Json {
                "::text"
            } else {
                ""
            };
            let name = quote(&column.name);
            conditions.push(format!(
                "{left}.{name}{cast} is distinct from {right}.{name}{cast}"
            ));
        }
        if conditions.is_empty() {
            "false".to_owned()
        } else {
            conditions.join(" or ")
        }
    }
}

/// The bytes of a row's key.
pub(in crate::sink) fn row_key_bytes(table: &Table, alias: &str) -> String {
    key_bytes(table.key.iter().map(|&position| {
        let column = &table.columns[position];
        (column.pg_type, format!("{alias}.{}", quote(&column.name)))
    }))
}

/// The bytes of the root row's key of a child table's row; of a root's own without tables above.
pub(in crate::sink) fn root_key_bytes(
    table: &Table,
    above: &[(&Table, TableId)],
    alias: &str,
) -> String {
    let Some((root, _)) = above.first() else {
        return row_key_bytes(table, alias);
    };
    let repeated = root_columns(table, above);
    key_bytes(root.key.iter().filter_map(|&position| {
        let (own, _) = repeated.iter().find(|(_, of_root)| *of_root == position)?;
        let column = &table.columns[*own];
        Some((column.pg_type, format!("{alias}.{}", quote(&column.name))))
    }))
}

fn key_bytes(columns: impl Iterator<Item = (PgType, String)>) -> String {
    let sent: Vec<String> = columns
        .map(|(pg_type, value)| {
            // A table of the application's may have another type, of other bytes.
            let send = send_function(pg_type);
            format!("{send}({value}::{})", staging_type(pg_type))
        })
        .collect();
    match sent.as_slice() {
        [only] => only.clone(),
        several => several
            .iter()
            .map(|c| format!("int4send(length({c})) || {c}"))
            .collect::<Vec<_>>()
            .join(" || "),
    }
}

/// The definitions of these columns in a temporary table.
pub(in crate::sink) fn typed(table: &Table, positions: &mut dyn Iterator<Item = usize>) -> String {
    list(positions.map(|p| {
        let column = &table.columns[p];
        format!("{} {}", quote(&column.name), staging_type(column.pg_type))
    }))
}

/// For each of its columns that repeats a key column of its root: the position here and there.
pub(in crate::sink) fn root_columns(
    table: &Table,
    above: &[(&Table, TableId)],
) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (own, column) in table.columns.iter().enumerate() {
        let ColumnSource::Parent(mut position) = column.source else {
            continue;
        };
        let mut over = above.iter().rev().map(|(table, _)| *table);
        let mut table = over.next();
        while let Some(current) = table {
            match (over.next(), &current.columns[position].source) {
                (None, _) if current.key.contains(&position) => {
                    found.push((own, position));
                    table = None;
                }
                (Some(next), ColumnSource::Parent(higher)) => {
                    position = *higher;
                    table = Some(next);
                }
                _ => table = None,
            }
        }
    }
    found
}

/// `child.c = root.k and …`: a child row's root, or any table of `above` that it begins with, by
/// the columns that repeat its key.
pub(in crate::sink) fn on_root(
    table: &Table,
    above: &[(&Table, TableId)],
    child: &str,
    root: &str,
) -> String {
    let Some((first, _)) = above.first() else {
        return "true".to_owned();
    };
    let conditions: Vec<String> = root_columns(table, above)
        .into_iter()
        .map(|(own, of_root)| {
            format!(
                "{child}.{} = {root}.{}",
                quote(&table.columns[own].name),
                quote(&first.columns[of_root].name)
            )
        })
        .collect();
    conditions.join(" and ")
}
