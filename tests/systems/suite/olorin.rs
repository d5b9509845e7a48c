//! Olorin: nested state, arrays of doubles, deletes that take others along or are forgotten, and two
//! time series that a second producer polls.

use bson::{Bson, doc};
use leafcutter_harness::failure::Result;
use leafcutter_systems::{
    migration::Migration,
    olorin::{
        OLORIN, detector, detector_id, entry, event, event_id, investigation, investigation_id,
        metric, now, playbook_id, run, run_id, user, user_id,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn ten_collections_arrive_while_they_change() -> Result<()> {
    let mut migration = Migration::begin(OLORIN).await?;
    change(&migration, 0).await?;
    migration.hurry().await?;
    migration.until_applied().await?;
    change(&migration, 1).await?;
    // Its users, its detectors and their events stay, and so it does.
    let gone = migration.writer.delete("tenants", "acme").await?;
    migration.hold("tenants", gone);
    migration.writer.delete("tenants", "empty").await?;
    migration.finish().await
}

/// The changes of one round, each to documents of its own.
async fn change(migration: &Migration, round: u32) -> Result<()> {
    let writer = &migration.writer;
    let base = 40 * round;
    let new = 1_000 + 100 * round;

    // Measurements and entries of what another producer carries, and later.
    let mut measured = now(metric(new));
    measured.insert(
        "meta",
        doc! { "detector_id": detector_id(new), "name": "recall" },
    );
    writer.insert("detector_metrics", measured).await?;
    let mut logged = now(entry(new));
    logged.insert("meta", doc! { "user_id": user_id(new), "tenant_id": "x" });
    writer.insert("audit_log", logged).await?;
    for n in new + 1..new + 20 {
        writer.insert("audit_log", now(entry(n))).await?;
        writer.insert("detector_metrics", now(metric(n))).await?;
    }

    // Events before their run and their detector.
    let mut early = event(new);
    early.extend(doc! { "detector_id": detector_id(new), "run_id": run_id(new) });
    writer.insert("anomaly_events", early).await?;
    let mut of_new = run(new);
    of_new.insert("detector_id", detector_id(new));
    writer.insert("detection_runs", of_new).await?;
    writer.insert("detectors", detector(new)).await?;

    // A detector goes with its runs and its events; the runs are forgotten by events of others, and
    // the detector by playbooks.
    writer.delete("detectors", detector_id(3 + round)).await?;
    let moved = doc! { "$set": { "detector_id": detector_id(10) }, "$unset": { "score": "" } };
    for n in [base + 50, base + 51] {
        writer
            .update("anomaly_events", event_id(n), moved.clone())
            .await?;
    }
    let to_another = doc! { "$set": { "detector_id": detector_id(11), "status": "done" } };
    writer
        .update("detection_runs", run_id(base + 1), to_another)
        .await?;
    writer.delete("detection_runs", run_id(base + 2)).await?;
    writer.delete("users", user_id(base / 4 + 5)).await?;
    let mut user = user(new);
    user.insert("tenant_id", "x");
    writer.insert("users", user).await?;

    // Thresholds come, change and go.
    let thresholds = doc! { "$set": { "thresholds.amount": 99.5, "thresholds.new": 1 }, "$unset": { "thresholds.velocity": "" } };
    writer
        .update("detectors", detector_id(8 + 4 * round), thresholds)
        .await?;
    let other = doc! { "$set": { "thresholds": { "only": 2 } } };
    writer
        .update("detectors", detector_id(9 + 4 * round), other)
        .await?;

    // Stages and findings: one more, one less, all in another order.
    let step = doc! { "action": "added", "detector_id": detector_id(new) };
    let stages = doc! { "$push": { "stages": [step.clone(), step] } };
    writer
        .update("playbooks", playbook_id(1 + round), stages)
        .await?;
    writer
        .update(
            "playbooks",
            playbook_id(10 + round),
            doc! { "$set": { "stages": [[], []] } },
        )
        .await?;
    let findings = doc! { "results": { "findings": [
    { "summary": "a", "events": [event_id(base + 60), event_id(base + 61)] }, "b", { "text": "c", "risk": 0.25 } ] } };
    writer
        .update(
            "investigations",
            investigation_id(base + 30),
            doc! { "$set": findings },
        )
        .await?;
    for change in [
        doc! { "$pull": { "results.findings": "b" } },
        doc! { "$push": { "results.findings": { "$each": ["first"], "$position": 0 } } },
        doc! { "$pull": { "results.findings.1.events": event_id(base + 60) } },
        doc! { "$set": { "settings": { "entity_type": "user", "entity_value": "ñ" }, "tenant_id": Bson::Null } },
    ] {
        writer
            .update("investigations", investigation_id(base + 30), change)
            .await?;
    }
    let mut anew = investigation(base + 500);
    anew.extend(doc! { "_id": investigation_id(base + 32), "investigation_id": format!("inv-{}", base + 32) });
    writer.replace("investigations", anew).await?;

    // Gone for good; gone and back as another.
    writer
        .delete("investigations", investigation_id(base + 33))
        .await?;
    writer
        .delete("investigations", investigation_id(base + 34))
        .await?;
    let mut back = investigation(base + 600);
    back.insert("_id", investigation_id(base + 34));
    writer.insert("investigations", back).await?;
    writer.delete("anomaly_events", event_id(base + 70)).await?;
    // Every field at once, as an array that grows.
    let longer = doc! { "$push": { "embedding": 0.125 }, "$set": { "context.ip": "10.9.9.9", "more": [1, 2] } };
    let n = (base + 75..)
        .find(|n| n % 6 >= 3 && n % 5 == 4)
        .unwrap_or(base);
    writer.update("anomaly_events", event_id(n), longer).await
}
