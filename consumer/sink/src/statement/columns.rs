//! A table's columns in SQL: what is compared, what is staged, the bytes of keys.

use super::places::each;
use crate::{
    ids::TableId,
    names::{list, quote},
};
use leafcutter_schemas::mapping::{Column, ColumnSource, PgType, Table, pg_type::facts::Kind};

/// The names of a table and of its temporary tables.
pub(super) struct Names<'a> {
    pub(super) table: &'a Table,
    pub(super) temp: String,
    pub(super) deletes: String,
    pub(super) target: String,
    /// The collection as a literal, where several fill the table.
    pub(super) source: Option<String>,
    /// The collection, where several fill the table.
    pub(super) collection: Option<&'a str>,
    /// Rows say whose they are.
    pub(super) keeps_document: bool,
}

impl Names<'_> {
    pub(super) fn column(&self, position: usize) -> &Column {
        &self.table.columns[position]
    }

    /// The key's columns, each behind a prefix.
    pub(super) fn key_list(&self, prefix: &str) -> String {
        let columns = self.table.key.iter();
        list(columns.map(|&p| format!("{prefix}{}", quote(&self.column(p).name))))
    }

    /// `left.c = right.c and …` for the key columns.
    pub(super) fn same_key(&self, left: &str, right: &str) -> String {
        self.same(&self.table.key, left, right)
    }

    /// Joins the row of the target with the key of each row of `staged`, as `x`.
    pub(super) fn each_by_key(&self, staged: &str, and: &str, lock: &str) -> String {
        self.each_by(&self.table.key, staged, and, lock)
    }

    /// The same by other columns that an index has.
    pub(super) fn each_by(&self, columns: &[usize], staged: &str, and: &str, lock: &str) -> String {
        let condition = format!("{}{and}", self.same(columns, "x", staged));
        each(&self.target, "x", &condition, lock)
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

    /// Whether any column of a staged row and of a stored one differs that is compared. Their types may be different
    /// ones, and so may their texts of one number.
    pub(super) fn differs(&self, left: &str, right: &str) -> String {
        self.any(|pg_type, name| {
            let (left, right) = (format!("{left}.{name}"), format!("{right}.{name}"));
            differ(pg_type, &left, &right)
        })
    }

    /// Whether any column of a stored row, `x`, would change. Both have the types of the target.
    pub(super) fn would_change(&self) -> String {
        self.any(|pg_type, name| {
            let (stored, incoming) = (format!("x.{name}"), format!("excluded.{name}"));
            let differ = differ(pg_type, &stored, &incoming);
            if has_signed_zero(pg_type) {
                format!("({differ} or {stored}::text is distinct from {incoming}::text)")
            } else {
                differ
            }
        })
    }

    fn any(&self, differ: impl Fn(PgType, &str) -> String) -> String {
        let columns = self.table.columns.iter().enumerate();
        let compared = columns.filter(|(position, _)| self.is_compared(*position));
        let conditions: Vec<String> = compared
            .map(|(_, column)| differ(column.pg_type, &quote(&column.name)))
            .collect();
        if conditions.is_empty() {
            "false".to_owned()
        } else {
            conditions.join(" or ")
        }
    }
}

/// Whether it has two zeros, which are equal (PostgreSQL manual, 8.1.3). `numeric` has one, and we write equal values
/// of it in one way.
pub(super) fn has_signed_zero(pg_type: PgType) -> bool {
    matches!(pg_type.scalar(), PgType::Float4 | PgType::Float8)
}

/// Whether two values of a type differ in their bytes, but for zeros, as a condition. They are compared as values of
/// their own types first: where PostgreSQL cannot, the table is none of this mapping's.
fn differ(pg_type: PgType, left: &str, right: &str) -> String {
    let cast = match (pg_type.scalar().kind(), pg_type.is_array()) {
        (Kind::Text, false) => "::text collate \"C\"",
        (Kind::Text, true) => "::text[] collate \"C\"",
        // `json` has no equality; its text is what is stored.
        (Kind::Json, _) if !pg_type.facts().compared => {
            return format!("{left}::text is distinct from {right}::text");
        }
        (Kind::Json, _) => "::text",
        _ => return format!("{left} is distinct from {right}"),
    };
    format!("({left} is distinct from {right} or {left}{cast} is distinct from {right}{cast})")
}

/// The bytes of a row's key.
pub(crate) fn row_key_bytes(table: &Table, alias: &str) -> String {
    key_bytes(table.key.iter().map(|&position| {
        let column = &table.columns[position];
        (column.pg_type, format!("{alias}.{}", quote(&column.name)))
    }))
}

/// The bytes of the root row's key of a child table's row; of a root's own without tables above.
pub(crate) fn root_key_bytes(table: &Table, above: &[(&Table, TableId)], alias: &str) -> String {
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
            let send = pg_type.send_function();
            format!("{send}({value}::{})", pg_type.staging_type())
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
pub(crate) fn typed(table: &Table, positions: &mut dyn Iterator<Item = usize>) -> String {
    list(positions.map(|p| {
        let column = &table.columns[p];
        format!("{} {}", quote(&column.name), column.pg_type.staging_type())
    }))
}

/// For each of its columns that repeats a key column of its root: the position here and there.
pub(crate) fn root_columns(table: &Table, above: &[(&Table, TableId)]) -> Vec<(usize, usize)> {
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
pub(crate) fn on_root(
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

/// Whether the index of a child table's key finds the rows below a row of the first of the tables above.
pub(super) fn leads_to_root(table: &Table, above: &[(&Table, TableId)]) -> bool {
    let columns = root_columns(table, above);
    let mut first = table.key.iter().take(columns.len());
    !columns.is_empty() && first.all(|key| columns.iter().any(|(own, _)| own == key))
}

/// Joins the rows of a child table below rows of the first of the tables above, which `condition` tells: by the index
/// of its key where that finds them.
pub(super) fn each_below(
    (target, table): (&str, &Table),
    above: &[(&Table, TableId)],
    name: &str,
    condition: &str,
) -> String {
    if leads_to_root(table, above) {
        each(target, name, condition, "")
    } else {
        format!("join {target} {name} on {condition}")
    }
}

/// The temporary table of deletes of the table at this place.
pub(super) fn deletes_table(id: TableId) -> String {
    format!("pg_temp.lc_{}_deletes", id.0)
}

/// Whether a position in a batch is one of those in `$1`. The time it takes grows with their number and not with its
/// square: a generic plan compares each row with each element of `= any($1)`, since only a constant array is hashed
/// (PostgreSQL source, `convert_saop_to_hashed_saop`). `is true` keeps it from becoming a join, whose plan would
/// depend on what the planner believes of the sizes.
pub(super) fn among(position: &str) -> String {
    format!("({position} in (select unnest($1::int4[]))) is true")
}
