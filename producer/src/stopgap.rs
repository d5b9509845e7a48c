//! Until `schemas::mapping::parse` is there: the names of database and collections, and no more.

use leafcutter_schemas::mapping::{Collection, Mapping, RowSource, Table, TableName};

pub(crate) fn mapping(text: &str) -> Mapping {
    let mut database = String::new();
    let mut inside = false;
    let mut collections = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("database:") {
            database = name.trim().to_owned();
        } else if line.starts_with("collections:") {
            inside = true;
        } else if let Some(name) = line.strip_prefix("  ")
            && inside
            && !name.starts_with([' ', '#'])
            && let Some(name) = name.trim_end().strip_suffix(':')
        {
            collections.push(name.to_owned());
        }
    }
    let root = Table {
        name: TableName {
            schema: "public".into(),
            name: String::new(),
        },
        columns: vec![],
        key: vec![],
        unique: vec![],
        indexes: vec![],
        rows: RowSource::Document,
        children: vec![],
    };
    let collections = collections.into_iter().map(|name| Collection {
        database: database.clone(),
        name,
        root: root.clone(),
    });
    Mapping {
        uuid_namespace: uuid::Uuid::NAMESPACE_OID,
        collections: collections.collect(),
        hash: String::new(),
        body: text.to_owned(),
    }
}
