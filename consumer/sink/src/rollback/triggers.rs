//! The application's triggers, which rest while rows come back.

use super::Place;
use crate::{names::quote, session::Session, state::undo};
use tokio_postgres::Error;

/// Keeps the application's triggers from running; gives the statements that have them run again.
pub(super) async fn rest(session: &mut Session, places: &[Place]) -> Result<Vec<String>, Error> {
    const TRIGGERS: &str = "\
        select w.name, g.tgname::text, g.tgenabled = 'A' from unnest($1::text[]) w (name) \
        join pg_class c on c.oid = to_regclass(w.name) join pg_trigger g on g.tgrelid = c.oid \
        where not g.tgisinternal and g.tgenabled in ('O', 'A') and g.tgparentid = 0 and g.tgname <> $2 \
        and pg_has_role(c.relowner, 'usage') order by 1, 2";
    let targets: Vec<&str> = places.iter().map(|place| place.target.as_str()).collect();
    let mut again = Vec::new();
    for row in session.query(TRIGGERS, &[&targets, &undo::TRIGGER]).await? {
        let (table, name): (&str, &str) = (row.get(0), row.get(1));
        let name = quote(name);
        let rest = format!("alter table {table} disable trigger {name}");
        session.batch(&rest).await?;
        let always = if row.get(2) { "always " } else { "" };
        again.push(format!("alter table {table} enable {always}trigger {name}"));
    }
    Ok(again)
}
