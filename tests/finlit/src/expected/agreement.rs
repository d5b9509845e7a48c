//! The tables said here and those of the mapping file, side by side.

use super::tables::{Absent, Column, Kind, Then, table};
use crate::{Collection, MAPPING};
use leafcutter_schemas::mapping::{
    self, ColumnSource, Conversion, OnMissing, PgType, Policy, RowSource, parse,
};

/// What is said twice has to be the same. This is the only place where the two meet.
#[test]
fn say_what_the_mapping_file_says() {
    let mapping = parse::load(MAPPING, "mapping.yaml").unwrap();
    assert_eq!(mapping.uuid_namespace, uuid::Uuid::NAMESPACE_OID);
    assert_eq!(mapping.collections.len(), Collection::ALL.len());
    for said in &mapping.collections {
        let table = table(Collection::named(&said.name).unwrap());
        assert_eq!(said.tables[0].name.name, table.name);
        assert_eq!(said.tables[0].key, [0]);
        same_columns(&said.tables[0], table.columns);
        let unique: Vec<Vec<_>> = said.tables[0]
            .unique
            .iter()
            .map(|key| {
                key.iter()
                    .map(|&p| said.tables[0].columns[p].name.as_str())
                    .collect()
            })
            .collect();
        assert_eq!(unique, table.unique);
        assert_eq!(said.tables[0].children.len(), table.children.len());
        for (said, child) in said.tables[0].children.iter().zip(table.children) {
            assert_eq!(said.name.name, child.name);
            let RowSource::Elements(from) = &said.rows else {
                panic!("{} is no child", child.name)
            };
            assert_eq!(from.len(), 1);
            assert_eq!(from[0].path.to_string(), child.from);
            assert_eq!(said.columns[said.key[1]].source, ColumnSource::Position);
            same_columns(said, child.columns);
        }
    }
}

fn same_columns(said: &mapping::Table, columns: &[Column]) {
    let said: Vec<_> = said
        .columns
        .iter()
        .filter(|column| matches!(column.source, ColumnSource::Path(_)))
        .collect();
    assert_eq!(said.len(), columns.len());
    for (said, column) in said.iter().zip(columns) {
        let name = column.name;
        assert_eq!(said.name, name);
        let ColumnSource::Path(path) = &said.source else {
            panic!("{name} has no path")
        };
        assert_eq!(path.is_self(), column.path.is_empty(), "{name}");
        assert!(
            path.is_self() || path.to_string() == column.path,
            "{name}: {path}"
        );
        assert!(is_of_kind(said, column.kind), "{name}: {:?}", said.pg_type);
        // A key is required by being one.
        let required = column.absent == Absent::Required || column.kind == Kind::Id;
        assert_eq!(said.required, required, "{name}");
        let default = match column.absent {
            Absent::Default(text) => Some(text),
            Absent::Null | Absent::Required => None,
        };
        assert_eq!(said.default.as_deref(), default, "{name}");
        for (said, then) in [
            (said.invalid.wrong_type, column.wrong_type),
            (said.invalid.too_long, column.too_long),
            (said.invalid.nul, column.nul),
            (said.invalid.out_of_range, column.out_of_range),
        ] {
            let same = matches!(
                (said, then),
                (Policy::Reject, Then::Reject)
                    | (Policy::Null, Then::Null)
                    | (Policy::Truncate, Then::Cut)
            );
            assert!(same, "{name}: {said:?} and {then:?}");
        }
    }
}

fn is_of_kind(said: &mapping::Column, kind: Kind) -> bool {
    let any_text = said.conversion == Conversion::Text;
    match (said.pg_type, kind) {
        (PgType::Uuid, Kind::Id) => {
            said.conversion == Conversion::UuidV5 && said.reference.is_none()
        }
        (PgType::Uuid, Kind::Reference(parent)) => said.reference.as_ref().is_some_and(|r| {
            said.conversion == Conversion::UuidV5
                && r.table.name == parent.collection.name()
                && (r.on_missing == OnMissing::Null) == parent.or_null
                && (r.on_missing == OnMissing::DeadLetter) != parent.or_null
        }),
        (PgType::Text, Kind::Text { max: None, any }) => any == any_text,
        (
            PgType::Varchar(length),
            Kind::Text {
                max: Some(max),
                any,
            },
        ) => usize::try_from(length).unwrap() == max && any == any_text,
        (PgType::Numeric(None), Kind::Numeric(None))
        | (PgType::Int4, Kind::Int)
        | (PgType::Int8, Kind::BigInt)
        | (PgType::Float8, Kind::Float)
        | (PgType::Float4, Kind::Real)
        | (PgType::Bool, Kind::Bool)
        | (PgType::Timestamp | PgType::Timestamptz, Kind::Timestamp)
        | (PgType::Date, Kind::Date)
        | (PgType::Bytea, Kind::Bytes)
        | (PgType::Json | PgType::Jsonb, Kind::Json) => true,
        (PgType::Numeric(Some((p, s))), Kind::Numeric(Some((precision, scale)))) => {
            (u32::from(p), u32::from(s)) == (precision, scale)
        }
        _ => false,
    }
}
