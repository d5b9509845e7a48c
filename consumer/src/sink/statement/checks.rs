//! What can be in a row's way, and how it is taken out of the batch: a parent that is missing, a value
//! that is taken.

use super::{
    ReferenceCheck, UniqueCheck,
    names::{Names, list, qualified, quote},
};
use leafcutter_schemas::mapping::{OnMissing, PgType, RowSource, Table, TableName};

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
            take_missing: format!(
                "delete from {temp} t where t.{name} is not null \
                 and not exists (select 1 from {parent} p where p.{parent_key} = t.{name})\
                 {also_in_batch} returning t.lc_doc, t.lc_row",
                temp = n.temp,
                parent = qualified(&parent.name),
            ),
            set_null: format!(
                "update {temp} t set {name} = null where t.lc_doc = any($1) \
                 and t.{name} is not null \
                 and not exists (select 1 from {parent} p where p.{parent_key} = t.{name}) \
                 returning t.lc_doc",
                temp = n.temp,
                parent = qualified(&parent.name),
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
    UniqueCheck {
        columns: columns.to_vec(),
        owners: format!(
            "select t.lc_doc, o.lc_doc from {temp} t join {target} x on {same} \
             join {temp} o on {owner_key} where {other_key}",
            temp = n.temp,
            target = n.target,
            same = n.same(columns, "x", "t"),
            owner_key = n.same_key("o", "x"),
        ),
        vacate: vacate(n, columns),
        take_colliding: format!(
            "with twice as (select {t_values} from {temp} t where {not_null} \
             group by {t_values} having count(*) > 1), \
             taken as (\
             select t.lc_doc from {temp} t join {target} x on {same} where {other_key} \
             union select lc_doc from (select t.lc_doc, row_number() over \
             (partition by {t_values} order by (exists (select 1 from {target} o where {owner})) desc, \
             t.lc_version, t.lc_doc) as place from {temp} t join twice d on {same_twice}) ranked \
             where place > 1) \
             delete from {temp} t using taken k where t.lc_doc = k.lc_doc returning t.lc_doc",
            temp = n.temp,
            target = n.target,
            same = n.same(columns, "x", "t"),
            same_twice = n.same(columns, "d", "t"),
        ),
    }
}

/// One column with a value of its own is enough to keep two rows apart.
pub(super) fn vacate(n: &Names<'_>, columns: &[usize]) -> Option<String> {
    let (name, free) = columns.iter().find_map(|&position| {
        let column = n.column(position);
        let free = match column.pg_type {
            _ if !column.required => "null".to_owned(),
            PgType::Text => "md5(random()::text)".to_owned(),
            PgType::Varchar(length) if length >= 16 => {
                format!("left(md5(random()::text), {length})")
            }
            PgType::Uuid => "gen_random_uuid()".to_owned(),
            PgType::Varchar(_)
            | PgType::Bool
            | PgType::Int2
            | PgType::Int4
            | PgType::Int8
            | PgType::Float4
            | PgType::Float8
            | PgType::Numeric(_)
            | PgType::Bytea
            | PgType::Date
            | PgType::Timestamp
            | PgType::Timestamptz
            | PgType::Json
            | PgType::Jsonb
            | PgType::Array(_) => return None,
        };
        Some((quote(&column.name), free))
    })?;
    Some(format!(
        "update {} x set {name} = {free} from {} t where {}",
        n.target,
        n.temp,
        n.same_key("x", "t")
    ))
}
