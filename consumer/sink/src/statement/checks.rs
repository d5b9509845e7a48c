//! What can be in a row's way, and how it is taken out of the batch: a parent that is missing, a value
//! that is taken.

use super::{
    columns::{Names, among, row_key_bytes},
    equality,
    owner::is_free,
};
use crate::{
    names::{list, literal, qualified, quote},
    state::held,
};
use leafcutter_schemas::mapping::{OnMissing, RowSource, Table, TableName};

/// A reference that a table's rows must satisfy.
#[derive(Debug, Clone)]
pub struct ReferenceCheck {
    /// The referring column's position.
    pub column: usize,
    /// Its name.
    pub column_name: String,
    /// Its name, in a child table with the table's in front.
    pub full_name: String,
    /// The table pointed to.
    pub parent: TableName,
    /// The table points to itself.
    pub to_itself: bool,
    /// Returns `lc_doc` and `lc_row` of the rows whose parent is not there, after taking them out of the
    /// temporary table.
    pub take_missing: String,
    /// Of a table that points to itself: returns pairs of `lc_doc`, a row and the row of the batch that is its parent.
    pub parents: Option<String>,
    /// Sets the column to null for the documents in `$1`.
    pub set_null: String,
}

/// A further unique key.
#[derive(Debug, Clone)]
pub struct UniqueCheck {
    /// The columns' positions.
    pub columns: Vec<usize>,
    /// Returns `lc_doc` and `lc_row` of the rows whose value is taken, after taking them out.
    pub take_colliding: String,
    /// Returns pairs of `lc_doc`: a row, and the row of the batch that has its value now.
    pub owners: String,
    /// Returns the rows of the target that have the values of the staged ones: the key by which the guard knows
    /// each, and its collection where several fill the table.
    pub holders: String,
    /// Gives rows that are held, and whose values documents of the batch want, placeholder values: their own
    /// documents are gone, or have other keys now. None where the type has no such values.
    pub free_held: Option<String>,
    /// Gives the present rows of the batch placeholder values that no document wants, so that a cycle can be
    /// broken; none where the type has no such values.
    pub set_placeholders: Option<String>,
}

pub(super) fn reference_checks(
    n: &Names<'_>,
    tables: &dyn Fn(&TableName) -> Option<Table>,
) -> Vec<ReferenceCheck> {
    let mut checks = Vec::new();
    for (position, column) in n.table.columns.iter().enumerate() {
        let Some(reference) = &column.reference else {
            continue;
        };
        if reference.on_missing == OnMissing::Keep {
            continue;
        }
        let Some(parent) = tables(&reference.table) else {
            continue;
        };
        let to_itself = parent.name == n.table.name;
        let name = quote(&column.name);
        let parent_key = quote(&reference.column);
        let also_in_batch = if to_itself {
            format!(
                " and not exists (select 1 from {} p where p.{parent_key} = t.{name})",
                n.temp
            )
        } else {
            String::new()
        };
        // Not opened for its offset: each row's parent is found by its key's index. As a join that was planned while the
        // parent's table was empty it read the whole of it for each batch, until somebody analysed the table.
        let found = format!(
            "select 1 from {} p where p.{parent_key} = t.{name} offset 0",
            qualified(&parent.name)
        );
        checks.push(ReferenceCheck {
            column: position,
            column_name: column.name.clone(),
            full_name: if n.table.rows == RowSource::Document {
                column.name.clone()
            } else {
                format!("{}.{}", n.table.name, column.name)
            },
            parent: parent.name.clone(),
            to_itself,
            parents: to_itself.then(|| {
                format!(
                    "select t.lc_doc, p.lc_doc from {temp} t join {temp} p on p.{parent_key} = t.{name} \
                     where p.lc_doc <> t.lc_doc",
                    temp = n.temp
                )
            }),
            take_missing: format!(
                "delete from {temp} t where t.{name} is not null \
                 and not exists ({found}){also_in_batch} returning t.lc_doc, t.lc_row",
                temp = n.temp,
            ),
            set_null: format!(
                "update {temp} t set {name} = null where {among} \
                 and t.{name} is not null \
                 and not exists ({found}) returning t.lc_doc",
                among = among("t.lc_doc"),
                temp = n.temp,
            ),
        });
    }
    checks
}

/// A value is taken when another row of the target has it, or another row of the batch that goes
/// first: the one that has the value already, then the one with the lower version. Only values that
/// occur twice are ranked.
pub(super) fn unique_check(n: &Names<'_>, columns: &[usize]) -> UniqueCheck {
    let names: Vec<_> = columns.iter().map(|&c| quote(&n.column(c).name)).collect();
    let values = |alias: &str| list(names.iter().map(|c| format!("{alias}.{c}")));
    let not_null = names
        .iter()
        .map(|c| format!("t.{c} is not null"))
        .collect::<Vec<_>>()
        .join(" and ");
    let other_key = n
        .table
        .key
        .iter()
        .map(|&c| {
            let name = quote(&n.column(c).name);
            format!("x.{name} <> t.{name}")
        })
        .collect::<Vec<_>>()
        .join(" or ");
    let owner = [n.same_key("o", "t"), n.same(columns, "o", "t")].join(" and ");
    let t_values = values("t");
    // The rows of the target that have these values.
    let holders = n.each_by(columns, "t", "", "");
    let holder = if n.keeps_document {
        "x.lc_document".to_owned()
    } else {
        row_key_bytes(n.table, "x")
    };
    let nulls = equality::NullsEqual::new(n, columns);
    // A document has one root row; of child rows it may have many, and each stands for itself.
    let row = if n.table.rows == RowSource::Document {
        "lc_doc"
    } else {
        "lc_row"
    };
    UniqueCheck {
        columns: columns.to_vec(),
        owners: format!(
            "select t.lc_doc, o.lc_doc from {temp} t {holders} \
             join {temp} o on {owner_key} where {other_key}",
            temp = n.temp,
            owner_key = n.same_key("o", "x"),
        ),
        holders: format!(
            "select distinct {holder}, {} from {} t {holders} where {other_key}",
            n.source_of("x"),
            n.temp
        ),
        free_held: placeholder(n, columns).map(|set| free_held(n, columns, &set, &other_key)),
        set_placeholders: placeholder(n, columns).map(|set| {
            let (target, temp, same) = (&n.target, &n.temp, n.same_key("x", "t"));
            format!("update {target} x set {set} from {temp} t where {same}")
        }),
        take_colliding: format!(
            "with twice as (select {t_values} from {temp} t where {not_null} \
             group by {t_values} having count(*) > 1), \
             taken as (\
             select t.{row} from {temp} t {holders} where {other_key} \
             union select {row} from (select t.{row}, row_number() over \
             (partition by {t_values} order by (exists (select 1 from {target} o where {owner})) desc, \
             t.lc_version, t.lc_doc, t.lc_row) as place from {temp} t join twice d on {same_twice}) ranked \
             where place > 1{nulls}) \
             delete from {temp} t using taken k where t.{row} = k.{row} returning t.lc_doc, t.lc_row",
            temp = n.temp,
            target = n.target,
            same_twice = n.same(columns, "d", "t"),
            nulls = nulls.taken(row, &other_key),
        ),
    }
}

/// What was held when the statement began may have come back while it waited for the row: the row's version
/// is higher then, or it is not free any more.
fn free_held(n: &Names<'_>, columns: &[usize], set: &str, other_key: &str) -> String {
    let name = n.table.name.to_string();
    let state = literal(&match n.collection {
        Some(collection) => format!("{name} from {collection}"),
        None => name,
    });
    let free = if n.keeps_document {
        format!(" and {}", is_free("x"))
    } else {
        String::new()
    };
    format!(
        "update {target} x set {set} from {temp} t where {same} and ({other_key}) and {held}{free}",
        target = n.target,
        temp = n.temp,
        same = n.same(columns, "x", "t"),
        held = held::is_held(&state, &row_key_bytes(n.table, "x"), "x.lc_version"),
    )
}

/// Sets a placeholder: one column with a value of its own is enough to keep two rows apart.
fn placeholder(n: &Names<'_>, columns: &[usize]) -> Option<String> {
    columns.iter().find_map(|&position| {
        let column = n.column(position);
        if n.table.key.contains(&position) {
            return None;
        }
        let free = column.pg_type.facts().placeholder;
        let free = match (
            free.filter(|_| !column.pg_type.is_array()),
            column.pg_type.length(),
        ) {
            _ if !column.required => "null".to_owned(),
            (Some(free), None) => free.to_owned(),
            (Some(free), Some(length @ 16..)) => format!("left({free}, {length})"),
            (Some(_), Some(..16)) | (None, _) => return None,
        };
        Some(format!("{} = {free}", quote(&column.name)))
    })
}
