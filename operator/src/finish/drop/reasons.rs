//! Why not to drop: who is still at it, what the last `finish` has found, and what has come up since.

use super::plan::Plan;
use crate::{
    catalog::Catalog,
    connect::State,
    finish::{report::UNVERIFIED, settings::FinishSettings},
    status::{
        facts::{self, ControlView},
        judge::judge,
        readiness::{About, Reason},
    },
};
use leafcutter_runtime::report::Failure;
use leafcutter_sink::{
    model::Model,
    state::{
        consumers::{self, ConsumerRow},
        finished::{self, Finished},
    },
};

/// Why not to drop.
pub(super) async fn reasons(
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
    reasons.extend(
        open.into_iter()
            .filter(|r| !matches!(r.about, About::Programs | About::Said)),
    );
    reasons.extend(of_others(&facts.groups, group, plan));
    Ok(reasons)
}

/// What of others would go with the schema, or would miss it.
pub(crate) fn of_others(groups: &[String], group: &str, plan: &Plan) -> Vec<Reason> {
    let others = groups.iter().filter(|other| *other != group);
    let groups = others.map(|other| {
        Reason::stored(format!(
            "consumer group {other} has applied here, too, and its state goes with the schema"
        ))
    });
    let functions = plan.mentions().map(|function| {
        Reason::stored(format!(
            "function {function} speaks of what would go: change it first, or see that nothing calls it"
        ))
    });
    groups.chain(functions).collect()
}

/// A consumer that keeps the schema in use.
pub(crate) fn still_runs(consumer: &ConsumerRow) -> Reason {
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
    if noted.verdict == UNVERIFIED {
        let why = format!("the last finish, at {at}, compared no documents (--no-verify)");
        reasons.push(Reason::stored(why));
    }
    let because = noted.because.iter();
    reasons.extend(
        because.map(|why| Reason::stored(format!("the last finish, at {at}, said: {why}"))),
    );
    reasons
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
