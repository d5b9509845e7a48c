//! A standalone server, polled: what is written between two polls lands, what is read again writes
//! no row, and a restart goes on.

use bson::{DateTime, Document, Timestamp, doc};
use leafcutter_harness::{
    failure::{Failure, Result},
    fleet::{Fleet, PRODUCER},
    mongod::Mongod,
    probe, program,
    source::Writer,
    stack::Stack,
    watch::Watch,
    world::World,
};
use std::{collections::BTreeMap, process::Command, time::Duration};

const DEADLINE: Duration = Duration::from_secs(60);
const DAY: i64 = 86_400_000;

const MAPPING: &str = "\
version: 1
database: diet
collections:
  users:
    poll_by: [creation_date, update_date]
    table: users
    key: id
    columns:
      id: { path: _id, type: integer }
      name: { type: text, required: true }
    children:
      - table: user_targets
        from: targets
        key: [user_id, position]
        columns:
          user_id: { parent: id }
          position: { position: true, type: integer }
          target: { path: ., type: text }
  menus:
    poll_by: [creation_date, update_date]
    table: menus
    key: id
    columns:
      id: { path: _id, type: integer }
      user_id: { path: user, type: integer, references: { table: users } }
      dish: { type: text }
  weights:
    poll_by: at
    table: weights
    key: id
    columns:
      id: { path: _id, type: integer }
      kilos: { type: double precision }
";

/// What is told of a polled producer. The overlap holds all that the test writes.
const POLLS: [&str; 6] = [
    "--capture",
    "poll",
    "--poll-interval",
    "300ms",
    "--poll-overlap",
    "1h",
];

struct Polled {
    // Programs go before their servers.
    fleet: Fleet,
    watch: Watch,
    world: World,
    writer: Writer,
    server: Mongod,
}

/// Rows, as text.
type Rows = BTreeMap<&'static str, Vec<String>>;

impl Polled {
    async fn begin() -> Result<Self> {
        let server = Mongod::start(&[]).await?;
        let world = World::new(MAPPING, server.instead_of(Stack::from_env()?), "polled").await?;
        let series = doc! { "create": "weights", "timeseries": { "timeField": "at" } };
        world.source.run_command(series).await?;
        Ok(Self {
            fleet: Fleet::new(&world.place, &world.group, &POLLS),
            watch: Watch::new(&world.place, &world.group).await?,
            writer: Writer(world.source.clone()),
            world,
            server,
        })
    }

    /// Waits until everything that is written is applied.
    async fn until_applied(&self) -> Result<()> {
        let hello = self.server.ask(None, "admin", doc! { "hello": 1 }).await?;
        let second = hello.get_datetime("localTime")?.timestamp_millis() / 1_000;
        // A poll that begins in the next second has read all that was written in this one.
        let after = Timestamp {
            time: u32::try_from(second + 1)?,
            increment: 0,
        };
        self.until_snapshots_applied().await?;
        let check = |_: &_| self.fleet.check();
        let applied = self.watch.until_applied(after, DEADLINE, check).await;
        applied.map_err(|late| self.fleet.with_logs(&late))
    }

    /// A heartbeat speaks of polls, not of what a snapshot has still to read.
    async fn until_snapshots_applied(&self) -> Result<()> {
        let place = &self.world.place;
        let applied = probe::until(DEADLINE, "the snapshots to be applied", async || {
            self.fleet.check()?;
            let seen = self.watch.look().await?;
            for collection in &place.collections {
                if !seen.is_snapshot_applied(&place.topic(collection)?) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        });
        let applied = applied.await;
        applied.map_err(|late| self.fleet.with_logs(&late))
    }

    async fn rows(&self) -> Result<Rows> {
        let mut all = Rows::new();
        for (table, columns) in [
            ("users", "id, name"),
            ("user_targets", "user_id, position, target"),
            ("menus", "id, user_id, dish"),
            ("weights", "id, kilos"),
        ] {
            let sql = format!("select row({columns})::text from {table} order by {columns}");
            let rows = self.world.target.query(&sql, &[]).await?;
            all.insert(table, rows.iter().map(|row| row.get(0)).collect());
        }
        Ok(all)
    }

    /// Rows inserted, updated, deleted and dead, of all tables, when the consumers have told.
    async fn written(&self) -> Result<[i64; 4]> {
        self.fleet.stop_consumers(DEADLINE).await?;
        let target = &self.world.target;
        self.world.until_alone().await?;
        let sql = "select sum(n_tup_ins)::bigint, sum(n_tup_upd)::bigint, sum(n_tup_del)::bigint, \
                   sum(n_dead_tup)::bigint from pg_stat_user_tables where schemaname = 'public'";
        let row = target.query_one(sql, &[]).await?;
        self.fleet.consumer()?;
        Ok([row.get(0), row.get(1), row.get(2), row.get(3)])
    }

    /// Records that were the same as what was there.
    async fn unchanged(&self) -> Result<i64> {
        let sql = "select sum(unchanged)::bigint from leafcutter.offsets";
        Ok(self.world.target.query_one(sql, &[]).await?.get(0))
    }

    /// What `leafcutter status` says.
    fn status(&self) -> Result<String> {
        let place = &self.world.place;
        let told = Command::new(program::find("leafcutter")?)
            .args(["status", "--prefix", &place.prefix])
            .args(["--group", &self.world.group])
            .args(["--kafka-brokers", &place.stack.kafka_brokers])
            .args(["--postgres-uri", &place.stack.postgres_uri])
            .output()?;
        Ok(String::from_utf8(told.stdout)?)
    }
}

fn ago(millis: i64) -> DateTime {
    DateTime::from_millis(DateTime::now().timestamp_millis() - millis)
}

fn user(id: i32, name: &str, created: DateTime, targets: &[&str]) -> Document {
    doc! { "_id": id, "name": name, "creation_date": created, "targets": targets }
}

fn same(rows: &Rows, table: &str, expected: &[&str]) -> Result<()> {
    let found = rows.get(table).map(Vec::as_slice).unwrap_or_default();
    if found == expected {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{table} holds {found:?}, should {expected:?}"
    )))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_server_is_followed_by_its_dates() -> Result<()> {
    let polled = Polled::begin().await?;
    let writer = &polled.writer;
    // Before anything runs: old and new, one without a date, one whose user is nowhere.
    writer
        .insert("users", user(1, "ann", ago(9 * DAY), &["slim", "fit"]))
        .await?;
    writer
        .insert("users", user(2, "bob", ago(0), &["fit"]))
        .await?;
    writer
        .insert("users", doc! { "_id": 3, "name": "cid" })
        .await?;
    let menu = |id: i32, user: i32, created| doc! { "_id": id, "user": user, "dish": "soup", "creation_date": created };
    writer.insert("menus", menu(1, 1, ago(DAY))).await?;
    writer.insert("menus", menu(2, 99, ago(DAY))).await?;
    let weight = |id: i32, kilos: f64, at| doc! { "_id": id, "kilos": kilos, "at": at };
    writer.insert("weights", weight(1, 80.5, ago(DAY))).await?;
    polled.fleet.first_producer().await?;
    polled.fleet.consumer()?;
    // The menu without a user is given up: an orphan is proven by polls as by a stream.
    polled.until_applied().await?;
    let rows = polled.rows().await?;
    same(&rows, "users", &["(1,ann)", "(2,bob)", "(3,cid)"])?;
    same(
        &rows,
        "user_targets",
        &["(1,0,slim)", "(1,1,fit)", "(2,0,fit)"],
    )?;
    same(&rows, "menus", &["(1,1,soup)"])?;
    same(&rows, "weights", &["(1,80.5)"])?;

    // Between two polls: inserts, changes, a child before its parent; and a delete, unseen.
    writer.insert("menus", menu(3, 4, ago(0))).await?;
    writer
        .insert("users", user(4, "dan", ago(0), &["run"]))
        .await?;
    let change =
        doc! { "$set": { "name": "Ann", "update_date": ago(0) }, "$pull": { "targets": "slim" } };
    writer.update("users", 1, change).await?;
    writer
        .update(
            "menus",
            1,
            doc! { "$set": { "dish": "salad", "update_date": ago(0) } },
        )
        .await?;
    writer.insert("weights", weight(2, 79.25, ago(0))).await?;
    writer.delete("users", 2).await?;
    polled.until_applied().await?;
    let now = polled.rows().await?;
    same(&now, "users", &["(1,Ann)", "(2,bob)", "(3,cid)", "(4,dan)"])?;
    same(
        &now,
        "user_targets",
        &["(1,0,fit)", "(2,0,fit)", "(4,0,run)"],
    )?;
    same(&now, "menus", &["(1,1,salad)", "(3,4,soup)"])?;
    same(&now, "weights", &["(1,80.5)", "(2,79.25)"])?;
    let status = polled.status()?;
    assert!(
        status.contains("deletes in the source are not seen"),
        "{status}"
    );

    // A restart reads the overlap again, and not one row is written for it.
    let before = polled.written().await?;
    let unchanged = polled.unchanged().await?;
    polled.fleet.stop(PRODUCER, DEADLINE).await?;
    polled.fleet.start(PRODUCER)?;
    polled.until_applied().await?;
    let again = polled.unchanged().await? - unchanged;
    assert!(again >= 5, "only {again} records came again");
    assert_eq!(polled.written().await?, before, "rows were written again");
    assert_eq!(polled.rows().await?, now);

    // While nobody polls; one change under an old date is brought by going back to it.
    polled.fleet.stop(PRODUCER, DEADLINE).await?;
    let change = doc! { "$set": { "name": "Dan", "update_date": ago(0) } };
    writer.update("users", 4, change).await?;
    writer
        .update("menus", 1, doc! { "$set": { "update_date": ago(0) } })
        .await?;
    let quiet =
        doc! { "$set": { "name": "quiet", "creation_date": ago(5 * DAY), "update_date": null } };
    writer.update("users", 3, quiet).await?;
    polled.fleet.start(PRODUCER)?;
    polled.until_applied().await?;
    let users = ["(1,Ann)", "(2,bob)", "(3,cid)", "(4,Dan)"];
    same(&polled.rows().await?, "users", &users)?;
    polled.fleet.stop(PRODUCER, DEADLINE).await?;
    polled.fleet.tell(PRODUCER, &["--poll-since", "2001-01-01"]);
    polled.fleet.start(PRODUCER)?;
    polled.until_applied().await?;
    let users = ["(1,Ann)", "(2,bob)", "(3,quiet)", "(4,Dan)"];
    same(&polled.rows().await?, "users", &users)?;

    polled.fleet.stop_all(DEADLINE).await?;
    let Polled { watch, world, .. } = polled;
    drop(watch);
    world.close().await
}
