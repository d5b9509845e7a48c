//! What PostgreSQL's catalogue says of a table that is more than a plain one: rules, heirs, row security, no log.

use crate::session::Session;

/// What a table is beyond a plain one.
#[derive(Debug, Default)]
pub struct Special {
    /// Rules for which PostgreSQL refuses `on conflict` (manual, INSERT, Notes of `CREATE RULE`): those on insert,
    /// and those on update, even disabled ones.
    pub rules: Vec<String>,
    /// Tables that inherit from it, and are no partitions of it.
    pub heirs: Vec<String>,
    /// Who is subject to its row security, where no policy lets that user see and write every row.
    pub secured_from: Option<Secured>,
    /// It is not logged: a crash of the server empties it.
    pub unlogged: bool,
}

/// A user who sees, or may write, some rows only.
#[derive(Debug)]
pub struct Secured {
    /// The user.
    pub user: String,
    /// A policy restricts the user whatever others permit.
    pub restricted: bool,
}

/// A policy counts as open where its conditions are nothing but `true`: what others come to is known only row by
/// row.
const LOOK: &str = "\
    with policy as (select p.polpermissive, \
      coalesce(pg_get_expr(p.polqual, p.polrelid), 'true') = 'true' \
      and coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true' as open, p.polcmd \
      from pg_policy p where p.polrelid = $1 and exists (select 1 from unnest(p.polroles) r (role) \
      where r.role = 0 or pg_has_role(current_user, r.role, 'usage'))) \
    select c.relpersistence = 'u', \
    array(select r.rulename::text from pg_rewrite r where r.ev_class = c.oid \
      and (r.ev_type = '2' or (r.ev_type = '3' and r.ev_enabled in ('O', 'A'))) order by 1), \
    array(select i.inhrelid::regclass::text from pg_inherits i \
      where i.inhparent = c.oid and c.relkind = 'r' order by 1), \
    current_user::text, \
    row_security_active(c.oid) and (\
      not exists (select 1 from policy where polpermissive and open and polcmd = '*') \
      or exists (select 1 from policy where not polpermissive and not open)), \
    exists (select 1 from policy where not polpermissive and not open) \
    from pg_class c where c.oid = $1";

/// Reads it.
///
/// # Errors
/// When the server is lost, or does not let its catalogue be read.
pub(super) async fn read(
    session: &mut Session,
    oid: u32,
) -> Result<Special, tokio_postgres::Error> {
    let row = session.query_one(LOOK, &[&oid]).await?;
    let secured = Secured {
        user: row.get(3),
        restricted: row.get(5),
    };
    Ok(Special {
        unlogged: row.get(0),
        rules: row.get(1),
        heirs: row.get(2),
        secured_from: row.get::<_, bool>(4).then_some(secured),
    })
}
