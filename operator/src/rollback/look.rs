//! What would be done, why not to do it, and what is in the way.

use super::settings::{RollbackSettings, WHAT};
use crate::{
    connect::{State, told},
    figures::{count, counted},
    finish::drop::{Plan, of_others, still_runs},
    status::readiness::Reason,
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use leafcutter_schemas::mapping::TableName;
use leafcutter_sink::{
    ids::CollectionId,
    model::Model,
    rollback::{self, Blocked, Place, Prepared, apart},
    session::Session,
    state::{consumers, deferred_constraints, finished, offsets, origins::Found},
};
use serde::Serialize;
use tokio_postgres::Error;

/// What nothing passes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct InTheWay {
    /// What.
    pub(super) what: String,
    /// In which way.
    pub(super) why: String,
    /// What a person can do.
    #[serde(skip)]
    pub(super) next: &'static str,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Looked {
    /// What becomes of the tables.
    pub(super) prepared: Prepared,
    /// What goes beside rows, where everything is meant.
    pub(super) plan: Option<Plan>,
    /// Consumers that run.
    pub(super) running: Vec<Reason>,
    /// Why not to do it.
    pub(super) reasons: Vec<Reason>,
    /// When a `finish` was run.
    pub(super) finished: Option<String>,
}

impl Looked {
    /// What is in the way.
    pub(super) fn faults(&self) -> Vec<InTheWay> {
        let rows = self.prepared.in_the_way.iter().map(|found| InTheWay {
            what: format!("table {}", found.table),
            why: format!(
                "{} of it {} to rows of {} that would go (foreign key {})",
                counted(found.rows, "row"),
                if found.rows == 1 { "points" } else { "point" },
                found.points_to,
                found.constraint
            ),
            next: "Roll back their collection too, or change or delete these rows first.",
        });
        let plan = self.plan.iter().flat_map(Plan::dependents);
        let plan = plan.map(|dependent| InTheWay {
            what: dependent.object,
            why: dependent.why,
            next: "Change it, move it or drop it first: nothing of others is dropped along.",
        });
        rows.chain(plan).collect()
    }

    /// Whether under the locks the same was found.
    pub(super) fn is_same(&self, prepared: &Prepared, plan: Option<&Plan>) -> bool {
        let goes = |prepared: &Prepared| {
            let counts = prepared.counts.iter();
            let goes = counts.map(|c| (c.table.clone(), c.written, c.overwritten, c.deleted));
            goes.collect::<Vec<_>>()
        };
        goes(&self.prepared) == goes(prepared)
            && self.prepared.blocked == prepared.blocked
            && self.prepared.in_the_way == prepared.in_the_way
            && self.plan.as_ref() == plan
    }
}

/// Looks; nothing is changed, and nobody is kept waiting.
///
/// # Errors
/// When PostgreSQL cannot be asked, or an image cannot be read.
pub(super) async fn look(
    settings: &RollbackSettings,
    state: &mut State,
    model: &Model,
    chosen: Option<&[CollectionId]>,
) -> Result<Looked, Failure> {
    let found = find(settings, &mut state.session, model, chosen).await;
    if found.is_err() {
        state.session.batch("rollback").await.unwrap_or_default();
    }
    found.map_err(|error| {
        let next = "If it is a value that cannot be read: somebody has changed the type of its column; \
                    change it back first. Nothing was changed.";
        let fault = Fault::new(WHAT, state.place.clone(), told(&error), next);
        Failure::one(Exit::Preflight, fault)
    })
}

async fn find(
    settings: &RollbackSettings,
    session: &mut Session,
    model: &Model,
    chosen: Option<&[CollectionId]>,
) -> Result<Looked, Error> {
    session.batch("begin").await?;
    let prepared = rollback::prepare(session, model, chosen, false).await?;
    session.batch("rollback").await?;
    let plan = match chosen {
        None => Some(Plan::of(session, model).await?),
        Some(_) => None,
    };
    let alive = consumers::alive_of_all_groups(session).await?;
    let mut reasons: Vec<Reason> = prepared.places.iter().filter_map(unknown).collect();
    reasons.extend(prepared.blocked.iter().map(blocked));
    if let Some(plan) = &plan {
        let groups = offsets::groups(session).await?;
        reasons.extend(of_others(&groups, &settings.installation.group, plan));
        let mapped: Vec<TableName> = model.tables.iter().map(|t| t.table.name.clone()).collect();
        let others = apart::of_other_mappings(session, &mapped).await?;
        reasons.extend(others.iter().map(|table| {
            Reason::stored(format!(
                "table {table} is not in this mapping, and Leafcutter has written to it: its rows would stay, \
                 and nobody could tell any more whose they are"
            ))
        }));
    }
    let deferred = deferred_constraints::rows(session).await?;
    if chosen.is_some()
        && deferred
            .iter()
            .any(|row| row.parent.is_some() && !row.is_added)
    {
        reasons.push(Reason::stored(
            "foreign keys are not there yet, since tables are being filled: rows that point to rows that go would \
             not be found; wait until leafcutter status tells of no constraints to come",
        ));
    }
    let finished = finished::noted(session).await?;
    Ok(Looked {
        prepared,
        plan,
        running: alive.iter().map(still_runs).collect(),
        reasons,
        finished: finished.map(|finished| finished.at),
    })
}

/// Why not every row of a table can come back, whatever the table says.
fn unknown(place: &Place) -> Option<Reason> {
    let table = &place.shown;
    let why = match place.origin.as_ref() {
        None => format!("nothing is known of how table {table} was before the first run"),
        Some(origin) if origin.found == Found::Unknown => format!(
            "an earlier version has written to table {table}, and has not kept what it overwrote or deleted \
             there: such rows of the application's own would be gone"
        ),
        Some(origin) if !origin.is_kept => format!(
            "what was overwritten or deleted in table {table} was not kept: its rows were the application's, and \
             the consumers may make no trigger there (--ddl check, or another owner); such rows would be gone"
        ),
        Some(_) => return None,
    };
    Some(Reason::stored(why))
}

fn blocked(blocked: &Blocked) -> Reason {
    let keys = blocked.first.iter().filter(|key| !key.is_empty());
    let keys: Vec<&str> = keys.map(String::as_str).collect();
    let keys = match keys.as_slice() {
        [] => String::new(),
        keys => {
            let more = if i64::try_from(keys.len()).is_ok_and(|keys| keys < blocked.rows) {
                ", …"
            } else {
                ""
            };
            format!(" (key {}{more})", keys.join("; "))
        }
    };
    Reason::stored(format!(
        "{} of table {} cannot come back{keys}: {}",
        if blocked.rows == 1 {
            "1 row".to_owned()
        } else {
            format!("{} rows", count(blocked.rows))
        },
        blocked.table,
        blocked.why
    ))
}
