//! `leafcutter rollback`: until cut-over a migration can be taken back.
//!
//! What would be done is found out and shown ([`look`]), a person confirms it twice, and then it is found out
//! once more in the transaction that does it, under locks that keep consumers, DDL and everybody who writes to
//! the tables away ([`course`]). It has to be the same. Which rows are whose is the sink's matter
//! (`leafcutter_sink::rollback`).

mod course;
mod look;
pub(crate) mod settings;
mod tell;

pub use settings::RollbackSettings;

use crate::{
    catalog::{Catalog, usage},
    confirm::{Answer, SAY, agreed, named_database, somebody},
    connect::State,
    finish::refusal::{forced, interrupted, no_mapping, refused},
    show::Show,
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, Faults},
    shutdown::Shutdown,
};
use leafcutter_sink::{ids::CollectionId, model::Model};
use look::Looked;
use settings::WHAT;

const AGAIN: &str = "leafcutter rollback";

/// Takes a migration back.
///
/// # Errors
/// When PostgreSQL cannot be asked or refuses, there is no mapping, something is in the way, or nobody can
/// confirm.
pub async fn run(settings: RollbackSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let shutdown = Shutdown::on_signals().map_err(|fault| Failure::one(Exit::Bug, fault))?;
    let mut state = State::open(&settings.postgres).await?;
    let catalog = Catalog::load(
        &settings.installation.prefix,
        settings.installation.mapping.as_deref(),
    )?;
    let model = catalog.model.clone().ok_or_else(|| no_mapping(WHAT))?;
    let chosen = chosen(&settings, &catalog, &model)?;
    let looked = look::look(&settings, &mut state, &model, chosen.as_deref()).await?;
    let told = tell::Told::of(&looked, &settings, &catalog, chosen.as_deref());
    if settings.dry_run {
        told.would(show, &looked);
        let refuses = !looked.running.is_empty()
            || !looked.faults().is_empty()
            || !(looked.reasons.is_empty() || settings.force);
        return Ok(if refuses { Exit::Stopped } else { Exit::Done });
    }
    if !looked.running.is_empty() {
        return Ok(running(show, &looked));
    }
    if !looked.reasons.is_empty() && !settings.force {
        return Ok(refused(
            show,
            "not everything can be taken back",
            &looked.reasons,
        ));
    }
    if !looked.faults().is_empty() {
        let faults = looked.faults().into_iter().map(fault).collect();
        return Err(Failure {
            exit: Exit::Preflight,
            faults: Faults(faults),
        });
    }
    forced(show, &looked.reasons);
    if !show.json {
        show.text(&told.text(&looked));
    }
    if !settings.yes {
        match confirmed(&state, show, &shutdown).await? {
            Answer::Yes => {}
            Answer::No => {
                show.line("nothing was changed");
                return Ok(Exit::Done);
            }
            Answer::Interrupted => return Ok(interrupted(show, AGAIN)),
        }
    }
    let chosen = chosen.as_deref();
    let done = course::roll_back(&settings, &mut state, &model, chosen, &looked, &shutdown).await?;
    let Some(done) = done else {
        return Ok(interrupted(show, AGAIN));
    };
    told.done(show, &done);
    Ok(Exit::Done)
}

/// The collections that are named; none where all are meant. A table that several collections fill goes with
/// all of them: of a row that was deleted there nobody knows for which of them.
fn chosen(
    settings: &RollbackSettings,
    catalog: &Catalog,
    model: &Model,
) -> Result<Option<Vec<CollectionId>>, Failure> {
    if settings.collections.is_empty() {
        return Ok(None);
    }
    let find = |called: &String| Ok(CollectionId(catalog.find(called)?));
    let named = settings.collections.iter().map(find);
    let named: Vec<CollectionId> = named.collect::<Result<_, Failure>>()?;
    for entry in &model.tables {
        let mut fillers = model.tables.iter();
        let left_out = fillers.find(|other| {
            other.table.name == entry.table.name && !named.contains(&other.collection)
        });
        if let Some(other) = left_out.filter(|_| named.contains(&entry.collection)) {
            let name = &model.collection(other.collection).name;
            return Err(usage(
                WHAT,
                "--collection",
                format!("{name} fills table {}, too", entry.table.name),
                format!("Say --collection {name} as well."),
            ));
        }
    }
    Ok(Some(named))
}

/// Has a person confirm twice: that it is meant, and where.
async fn confirmed(
    state: &State,
    show: &mut Show<'_>,
    shutdown: &Shutdown,
) -> Result<Answer, Failure> {
    somebody(show, WHAT, SAY)?;
    match agreed(show, "\nTake this back? [y/N] ", shutdown).await {
        Answer::Yes => named_database(state, show, shutdown, WHAT).await,
        answer => Ok(answer),
    }
}

/// Consumers run: nothing passes over that.
fn running(show: &mut Show<'_>, looked: &Looked) -> Exit {
    if show.json {
        return refused(show, "", &looked.running);
    }
    let head = show.paint.attention("consumers run");
    show.line(&head);
    show.text(&crate::finish::refusal::listed(&looked.running));
    show.line("Nothing was done.");
    Exit::Stopped
}

fn fault(found: look::InTheWay) -> Fault {
    let next = format!("{} Nothing was changed.", found.next);
    Fault::new(WHAT, found.what, found.why, next)
}
