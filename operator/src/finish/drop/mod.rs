//! `leafcutter finish --drop`: Leafcutter's columns and its schema go, and nothing else.
//!
//! What would go is found out, said, and confirmed by a person. Then it is found out once more in the
//! transaction that does it, under locks that keep consumers and DDL away, and has to be the same. All of it
//! goes, or nothing. Neither Kafka nor MongoDB is asked: by then they may be gone. Whether everything had
//! arrived is known from the `finish` before, since nobody can find it out any more.

mod plan;
mod reasons;
mod remove;

pub(crate) use reasons::{of_others, still_runs};

use super::{
    refusal::{forced, interrupted, no_mapping, refused},
    settings::FinishSettings,
};
use crate::{
    catalog::Catalog,
    confirm::{Answer, named_database},
    connect::State,
    show::Show,
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, Faults},
    shutdown::Shutdown,
};
use plan::Told;
pub(crate) use plan::{Dependent, Plan};
use reasons::reasons;

const AGAIN: &str = "leafcutter finish --drop";

/// Drops.
///
/// # Errors
/// When PostgreSQL cannot be asked or refuses, there is no mapping, something depends on what would go, or
/// nobody can confirm.
pub(super) async fn run(
    settings: &FinishSettings,
    show: &mut Show<'_>,
    shutdown: &Shutdown,
) -> Result<Exit, Failure> {
    let mut state = State::open(&settings.postgres).await?;
    let catalog = Catalog::load(
        &settings.installation.prefix,
        settings.installation.mapping.as_deref(),
    )?;
    let model = catalog
        .model
        .clone()
        .ok_or_else(|| no_mapping("could not finish"))?;
    let plan = Plan::of(&mut state.session, &model).await;
    let plan = plan.map_err(|error| state.lost(&error))?;
    let reasons = reasons(settings, &mut state, &catalog, &model, &plan).await?;
    if settings.dry_run {
        let told = Told::of(&plan, &reasons, settings.dry_run);
        told.tell(show, &plan);
        let refuses = !plan.dependents().is_empty() || !(reasons.is_empty() || settings.force);
        return Ok(if refuses { Exit::Stopped } else { Exit::Done });
    }
    if !plan.dependents().is_empty() {
        return Err(depended_on(&plan));
    }
    if !reasons.is_empty() && !settings.force {
        return Ok(refused(show, "not ready to drop", &reasons));
    }
    forced(show, &reasons);
    let told = Told::of(&plan, &reasons, settings.dry_run);
    if !show.json {
        show.text(&plan.text());
    }
    if !settings.yes {
        match named_database(&state, show, shutdown, "could not drop").await? {
            Answer::Yes => {}
            Answer::No => {
                show.line("nothing was changed");
                return Ok(Exit::Done);
            }
            Answer::Interrupted => return Ok(interrupted(show, AGAIN)),
        }
    }
    if !remove::remove(&mut state, &model, &plan, settings.force, shutdown).await? {
        return Ok(interrupted(show, AGAIN));
    }
    for statement in plan.statements() {
        tracing::info!(statement, "done");
    }
    told.done(show);
    Ok(Exit::Done)
}

fn depended_on(plan: &Plan) -> Failure {
    let fault = |dependent: Dependent| {
        Fault::new(
            "could not drop what is Leafcutter's",
            dependent.object,
            dependent.why,
            "Change it, move it or drop it first: nothing of others is dropped along. Nothing was changed.",
        )
    };
    let faults: Vec<Fault> = plan.dependents().into_iter().map(fault).collect();
    Failure {
        exit: Exit::Preflight,
        faults: Faults(faults),
    }
}
