//! Rows that stay, and refer to rows that go.
//!
//! PostgreSQL would refuse at the first of them, or, where the foreign key says so, delete them along. So all are
//! counted before, whatever the foreign key would do. A row that goes too is not in the way; neither is one that
//! gets its old values back, since these refer to what was there before.

use super::{Place, images::Images};
use crate::{names::quote, session::Session};
use serde::Serialize;
use tokio_postgres::Error;

/// What is in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InTheWay {
    /// The foreign key.
    pub constraint: String,
    /// The table that has it.
    pub table: String,
    /// The table that it points to.
    pub points_to: String,
    /// How many rows of it refer to rows that go.
    pub rows: i64,
}

const KEYS: &str = "\
    select w.place, k.conname::text, k.conrelid::regclass::text, \
    format('\"%s\".\"%s\"', replace(n.nspname, '\"', '\"\"'), replace(c.relname, '\"', '\"\"')), \
    array(select a.attname::text from unnest(k.conkey) with ordinality u (number, o) join pg_attribute a \
      on a.attrelid = k.conrelid and a.attnum = u.number order by u.o), \
    array(select a.attname::text from unnest(k.confkey) with ordinality u (number, o) join pg_attribute a \
      on a.attrelid = k.confrelid and a.attnum = u.number order by u.o) \
    from unnest($1::text[]) with ordinality w (name, place) \
    join pg_constraint k on k.confrelid = to_regclass(w.name) and k.contype = 'f' and k.conparentid = 0 \
    join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace order by 3, 2";

/// Finds it.
pub(super) async fn find(
    session: &mut Session,
    places: &[Place],
    images: &[Images],
) -> Result<Vec<InTheWay>, Error> {
    let names: Vec<&str> = places.iter().map(|place| place.target.as_str()).collect();
    let mut found = Vec::new();
    for row in session.query(KEYS, &[&names]).await? {
        let at = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        let Some(place) = places.get(at) else {
            continue;
        };
        let referring: &str = row.get(3);
        let (own, other): (Vec<String>, Vec<String>) = (row.get(4), row.get(5));
        let pairs = own.iter().zip(&other);
        let pairs = pairs.map(|(own, other)| format!("x.{} = f.{}", quote(other), quote(own)));
        let pairs: Vec<String> = pairs.collect();
        let mut stays = String::new();
        let is_place = |(other, _): &(&Place, &Images)| other.target == referring;
        if let Some((other, images)) = places.iter().zip(images).find(is_place) {
            stays = format!(
                " and not exists (select 1 from {} g where g.at = f.ctid and g.part = f.tableoid) and not {}",
                other.doomed(),
                images.has_of(other, "f")
            );
        }
        let sql = format!(
            "select count(*) from {referring} f where exists (select 1 from {} x join {} d \
             on x.ctid = d.at and x.tableoid = d.part where {}){stays}",
            place.target,
            place.doomed(),
            pairs.join(" and ")
        );
        let rows: i64 = session.query_one(&sql, &[]).await?.get(0);
        if rows > 0 {
            found.push(InTheWay {
                constraint: row.get(1),
                table: row.get(2),
                points_to: place.shown.clone(),
                rows,
            });
        }
    }
    Ok(found)
}
