//! `leafcutter finish --drop`: Leafcutter's columns and its schema go, and nothing else.
//!
//! What would go is found out, said, and confirmed by a person. Then it is found out once more in the
//! transaction that does it, under locks that keep consumers and DDL away, and has to be the same. All of it
//! goes, or nothing. Neither Kafka nor MongoDB is asked: by then they may be gone. Whether everything had
//! arrived is known from the `finish` before, since nobody can find it out any more.

mod plan;
mod remove;

use super::{FinishSettings, forced, interrupted, no_mapping, refused};
use crate::{
    catalog::{Catalog, usage},
    confirm::asked,
    connect::State,
    show::{Show, wrap},
    status::{
        facts::{self, ControlView},
        judge::judge,
        readiness::{About, Reason},
    },
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, Faults},
    shutdown::Shutdown,
};
use leafcutter_sink::{
    model::Model,
    state::{
        consumers::{self, ConsumerRow},
        finished::{self, Finished},
    },
};
use plan::{Dependent, Plan, Told};
use std::io::IsTerminal as _;

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
    let model = catalog.model.clone().ok_or_else(no_mapping)?;
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
        match confirmed(&state, show, shutdown).await? {
            Answer::Yes => {}
            Answer::No => {
                show.line("nothing was changed");
                return Ok(Exit::Done);
            }
            Answer::Interrupted => return Ok(interrupted(show)),
        }
    }
    remove::remove(&mut state, &model, &plan, settings.force).await?;
    told.done(show);
    Ok(Exit::Done)
}

/// Why not to drop.
async fn reasons(
    settings: &FinishSettings,
    state: &mut State,
    catalog: &Catalog,
    model: &Model,
    plan: &Plan,
) -> Result<Vec<Reason>, Failure> {
    let group = &settings.installation.group;
    let mut reasons = Vec::new();
    let alive = consumers::alive_of_all_groups(&mut state.session).await;
    let alive = alive.map_err(|error| state.lost(&error))?;
    reasons.extend(alive.iter().map(still_runs));
    let noted = finished::noted(&mut state.session).await;
    let noted = noted.map_err(|error| state.lost(&error))?;
    reasons.extend(verdict(noted.as_ref(), group, &model.mapping.hash));
    // What only the programs can tell is left out: they are gone by now.
    let facts = facts::gather(state, group, Ok(ControlView::default())).await?;
    let (_, open) = judge(&facts, None, catalog, &settings.installation);
    reasons.extend(open.into_iter().filter(|r| r.about != About::Programs));
    let others = facts.groups.iter().filter(|other| *other != group);
    reasons.extend(others.map(|other| {
        Reason::stored(format!(
            "consumer group {other} has applied here, too, and its state goes with the schema"
        ))
    }));
    reasons.extend(plan.mentions().map(|function| {
        Reason::stored(format!(
            "function {function} speaks of what would go: change it first, or see that nothing calls it"
        ))
    }));
    Ok(reasons)
}

fn still_runs(consumer: &ConsumerRow) -> Reason {
    Reason::stored(format!(
        "{} on {} was seen {} s ago: stop it first, and for good",
        consumer.id,
        consumer.host,
        consumer.seen.max(0)
    ))
}

/// Why what the last `finish` found is not enough.
fn verdict(noted: Option<&Finished>, group: &str, mapping: &str) -> Vec<Reason> {
    let Some(noted) = noted else {
        let why = "nothing proves that everything has arrived: leafcutter finish, before the application writes";
        return vec![Reason::stored(why)];
    };
    let at = &noted.at;
    let mut reasons = Vec::new();
    if noted.group != group || noted.mapping != mapping {
        reasons.push(Reason::stored(format!(
            "the last finish, at {at}, was of group {} and mapping {}, and this is {group} and {mapping}",
            noted.group, noted.mapping
        )));
    }
    if noted.verdict == super::report::UNVERIFIED {
        let why = format!("the last finish, at {at}, compared no documents (--no-verify)");
        reasons.push(Reason::stored(why));
    }
    let because = noted.because.iter();
    reasons.extend(
        because.map(|why| Reason::stored(format!("the last finish, at {at}, said: {why}"))),
    );
    reasons
}

enum Answer {
    Yes,
    No,
    Interrupted,
}

/// Has the person type the database's name.
async fn confirmed(
    state: &State,
    show: &mut Show<'_>,
    shutdown: &Shutdown,
) -> Result<Answer, Failure> {
    if show.json || !show.terminal || !std::io::stdin().is_terminal() {
        return Err(usage(
            "could not drop",
            "this terminal",
            "nobody is there to confirm",
            "Say --yes, or --dry-run.",
        ));
    }
    let row = state
        .session
        .client()
        .query_one("select current_database()::text", &[])
        .await;
    let name: String = row.map_err(|error| state.lost(&error))?.get(0);
    let text = "This cannot be undone. To go on, type the name of the database.";
    show.text(&format!("\n{}", wrap("", text)));
    let answer = asked(show, "> ", shutdown).await;
    Ok(if shutdown.is_triggered() {
        Answer::Interrupted
    } else if answer == name {
        Answer::Yes
    } else {
        Answer::No
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(verdict: &str, because: &[&str]) -> Finished {
        Finished {
            at: "2026-03-01 12:00:00 UTC".to_owned(),
            group: "g".to_owned(),
            mapping: "m".to_owned(),
            verdict: verdict.to_owned(),
            because: because.iter().map(|&why| why.to_owned()).collect(),
        }
    }

    fn words(reasons: &[Reason]) -> String {
        let words: Vec<&str> = reasons.iter().map(|reason| reason.words.as_str()).collect();
        words.join("\n")
    }

    #[test]
    fn only_a_clean_verdict_of_the_same_mapping_and_group_is_enough() {
        let clean = finished("clean", &[]);
        assert_eq!(verdict(Some(&clean), "g", "m"), Vec::new());
        for (group, mapping) in [("other", "m"), ("g", "other")] {
            let reasons = verdict(Some(&clean), group, mapping);
            assert!(words(&reasons).contains("was of group g and mapping m"));
        }
        assert!(words(&verdict(None, "g", "m")).contains("leafcutter finish"));
        let none = finished("unverified", &[]);
        assert!(words(&verdict(Some(&none), "g", "m")).contains("--no-verify"));
        let open = finished("not-clean", &["1 dead letter open"]);
        assert!(words(&verdict(Some(&open), "g", "m")).contains("said: 1 dead letter open"));
    }
}
