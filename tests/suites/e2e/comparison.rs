//! The comparison is only worth something if it finds what is wrong. A target filled by hand has
//! to pass it, and each of many small harms has to be found.

use crate::slow_loader;
use leafcutter_finlit::{
    FinLit,
    compare::{Sides, compare, report::Wrong},
    ledger::Ledger,
    load::load,
    traffic,
};
use leafcutter_harness::failure::{Attempt, Result};

/// What is done to the target, how it is undone, and what has to be found.
struct Harm {
    what: &'static str,
    harm: &'static str,
    mend: &'static str,
    finds: Wrong,
}

const fn harm(what: &'static str, harm: &'static str, mend: &'static str, finds: Wrong) -> Harm {
    Harm {
        what,
        harm,
        mend,
        finds,
    }
}

const HARMS: &[Harm] = &[
    harm(
        "a row is lost",
        "create table kept as select * from daily_progress order by 1 limit 1;
         delete from daily_progress where progress_id in (select progress_id from kept)",
        "insert into daily_progress select * from kept; drop table kept",
        Wrong::Missing,
    ),
    harm(
        "a row is there twice, under another key",
        "create table kept as select * from daily_progress order by 1 limit 1;
         update kept set progress_id = 'aaaaaaaa-0000-0000-0000-000000000000';
         insert into daily_progress select * from kept",
        "delete from daily_progress where progress_id in (select progress_id from kept); drop table kept",
        Wrong::Extra,
    ),
    harm(
        "a double is off by its last bit",
        "create table kept as select * from learner_skill_states where p_mastery = 0.5 or stability > 1 limit 1;
         update learner_skill_states s set stability = stability * (1 + 2e-16) where state_id in (select state_id from kept)",
        "update learner_skill_states s set stability = k.stability from kept k where k.state_id = s.state_id; drop table kept",
        Wrong::Different,
    ),
    harm(
        "a null that should be a value",
        "create table kept as select * from learners where timezone is not null limit 1;
         update learners set timezone = null where learner_id in (select learner_id from kept)",
        "update learners l set timezone = k.timezone from kept k where k.learner_id = l.learner_id; drop table kept",
        Wrong::Different,
    ),
    harm(
        "a millisecond is lost",
        "create table kept as select * from interactions where created_at is not null limit 1;
         update interactions i set created_at = i.created_at + '1 ms' where interaction_id in (select interaction_id from kept)",
        "update interactions i set created_at = k.created_at from kept k where k.interaction_id = i.interaction_id; drop table kept",
        Wrong::Different,
    ),
    harm(
        "something deep in a document differs",
        "update learning_items set content = jsonb_set(content, '{question,choices,2,rich}', 'false')
           where item_id = (select item_id from learning_items where content @> '{\"body\":\"Short.\"}' order by 1 limit 1)",
        "update learning_items set content = jsonb_set(content, '{question,choices,2,rich}', 'true')
           where content @> '{\"question\":{\"choices\":[{\"rich\":false}]}}'",
        Wrong::Different,
    ),
    harm(
        "two elements of an array have changed places",
        "create table kept as select * from learning_item_media where position < 2 and item_id =
           (select item_id from learning_item_media where position = 1
              and url not like '%twin' order by 1 limit 1);
         update learning_item_media m set url = k.url from kept k
           where k.item_id = m.item_id and k.position = 1 - m.position",
        "update learning_item_media m set url = k.url from kept k
           where k.item_id = m.item_id and k.position = m.position; drop table kept",
        Wrong::Different,
    ),
    harm(
        "an element is lost",
        "create table kept as select * from learning_item_tags order by 1, position desc limit 1;
         delete from learning_item_tags t using kept k where k.item_id = t.item_id and k.position = t.position",
        "insert into learning_item_tags select * from kept; drop table kept",
        Wrong::Different,
    ),
    harm(
        "an element is one too many",
        "insert into learning_item_tags (item_id, position, tag) select item_id, 99, 'x' from learning_items order by item_id limit 1",
        "delete from learning_item_tags where position = 99",
        Wrong::Different,
    ),
    harm(
        "elements of nobody",
        "insert into learning_item_tags (item_id, position, tag) values ('aaaaaaaa-0000-0000-0000-000000000000', 0, 'x')",
        "delete from learning_item_tags where item_id = 'aaaaaaaa-0000-0000-0000-000000000000'",
        Wrong::Extra,
    ),
    harm(
        "a reference that should be there is null",
        "create table kept as select * from interactions where item_id is not null limit 1;
         update interactions set item_id = null where interaction_id in (select interaction_id from kept)",
        "update interactions i set item_id = k.item_id from kept k where k.interaction_id = i.interaction_id; drop table kept",
        Wrong::Different,
    ),
    harm(
        "a dead letter is lost",
        "create table kept as select * from leafcutter.dead_letters where reason = 'nul' limit 1;
         delete from leafcutter.dead_letters d using kept k where d.topic = k.topic and d.\"offset\" = k.\"offset\"",
        "insert into leafcutter.dead_letters select * from kept; drop table kept",
        Wrong::Missing,
    ),
    harm(
        "a dead letter has another reason",
        "update leafcutter.dead_letters set reason = 'refused' where reason = 'nul'",
        "update leafcutter.dead_letters set reason = 'nul' where reason = 'refused'",
        Wrong::DeadLetter,
    ),
    harm(
        "a dead letter names another column",
        "update leafcutter.dead_letters set column_name = 'title' where column_name = 'email' and reason = 'nul'",
        "update leafcutter.dead_letters set column_name = 'email' where column_name = 'title' and reason = 'nul'
           and topic like '%learners'",
        Wrong::DeadLetter,
    ),
    harm(
        "a dead letter is open, and its document is no more",
        "insert into leafcutter.dead_letters select topic, 0, 99999, table_name, row_key,
           'objectId:aaaaaaaaaaaaaaaaaaaaaaaa', 9, 'nul', '', 'open', consumer_group
           from leafcutter.dead_letters limit 1",
        "delete from leafcutter.dead_letters where \"offset\" = 99999",
        Wrong::DeadLetter,
    ),
    harm(
        "a document is placed, and a newer dead letter is open",
        "insert into leafcutter.dead_letters select topic, 0, 99999, table_name, row_key, 'number:18', 9,
           'nul', '', 'open', consumer_group
           from leafcutter.dead_letters where topic like '%interactions' limit 1",
        "delete from leafcutter.dead_letters where \"offset\" = 99999",
        Wrong::DeadLetter,
    ),
    harm(
        "an orphan waits no longer",
        "create table kept as select * from leafcutter.parked limit 1;
         delete from leafcutter.parked p using kept k where p.row_key = k.row_key",
        "insert into leafcutter.parked select * from kept; drop table kept",
        Wrong::DeadLetter,
    ),
    harm(
        "a row is held that its document still has",
        "insert into leafcutter.held select 'achievements', uuid_send(achievement_id) from achievements limit 1",
        "delete from leafcutter.held",
        Wrong::Held,
    ),
    harm(
        "a row without a document is held, and nothing points to it",
        "create table kept as select * from achievements limit 1;
         update kept set achievement_id = 'aaaaaaaa-0000-0000-0000-000000000000', code = 'held';
         insert into achievements select * from kept;
         insert into leafcutter.held select 'achievements', uuid_send(achievement_id) from kept",
        "delete from achievements where code = 'held'; delete from leafcutter.held; drop table kept",
        Wrong::Held,
    ),
    harm(
        "a record has no outcome",
        "update leafcutter.offsets set applied = applied - 1 where topic like '%achievements'",
        "update leafcutter.offsets set applied = applied + 1 where topic like '%achievements'",
        Wrong::Accounting,
    ),
];

#[tokio::test]
async fn finds_every_small_harm() -> Result<()> {
    let finlit = FinLit::new(11, 0.01);
    let mut world = leafcutter_finlit::world("comparison").await?;
    load(&finlit, &world.source, |_| {}).await?;
    slow_loader::fill(&world).await?;
    let ledger = Ledger::of_load(&finlit);

    let report = compare(Sides::of(&mut world), &ledger).await?;
    assert!(report.is_clean(), "a right target is not clean:\n{report}");
    assert_eq!(report.documents(), finlit.total());
    assert_eq!(report.fates, u64::try_from(ledger.len())?);

    for Harm {
        what,
        harm,
        mend,
        finds,
    } in HARMS
    {
        world.target.batch_execute(harm).await.attempt(what)?;
        let report = compare(Sides::of(&mut world), &ledger).await?;
        assert!(
            report.wrong.contains_key(finds),
            "{what} was not found:\n{report}"
        );
        world
            .target
            .batch_execute(mend)
            .await
            .attempt(&format!("mend: {what}"))?;
    }
    let report = compare(Sides::of(&mut world), &ledger).await?;
    assert!(report.is_clean(), "not mended:\n{report}");
    world.close().await
}

/// The traffic decides fates on its way; what it leaves in MongoDB has to be such that they can
/// come true.
#[tokio::test]
async fn fates_decided_by_the_traffic_can_come_true() -> Result<()> {
    const STEPS: u64 = 1_500;
    let finlit = FinLit::new(12, 0.02);
    let mut world = leafcutter_finlit::world("traffic").await?;
    load(&finlit, &world.source, |_| {}).await?;
    let client = world.source.client().clone();
    let done = traffic::run_steps(finlit, client, world.source.clone(), STEPS).await?;
    for what in [
        "hand an address over",
        "delete a family in a transaction",
        "a parent comes late",
    ] {
        assert!(
            done.steps.contains_key(what),
            "no step to {what}: {:?}",
            done.steps
        );
    }
    slow_loader::fill(&world).await?;
    let mut ledger = Ledger::of_load(&finlit);
    ledger.extend(done.ledger);
    let report = compare(Sides::of(&mut world), &ledger).await?;
    assert!(report.is_clean(), "{report}");
    world.close().await
}
