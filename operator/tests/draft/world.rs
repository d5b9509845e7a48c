//! A database to draft for, and the real programs under what was drafted.

use crate::documents::ELSEWHERE;
use leafcutter_harness::{
    failure::Attempt as _, fleet::Fleet, probe, program, source::now, stack::Stack, watch::Watch,
    world::World, world::own_name,
};
use mongodb::Database;
use std::{
    collections::BTreeMap,
    process::{Command, Output},
    time::Duration,
};

/// How long anything may take here.
const DEADLINE: Duration = Duration::from_secs(180);

/// Whether the documents are not those of `data`.
pub(crate) fn is_from_elsewhere() -> bool {
    std::env::var_os(ELSEWHERE).is_some()
}

/// A database to draft for.
pub(crate) struct Drafting {
    name: String,
    pub(crate) database: Database,
}

/// What was drafted, under a world of its own with the same documents.
pub(crate) struct Drafted {
    pub(crate) mapping: String,
    said: serde_json::Value,
    world: World,
}

impl Drafting {
    pub(crate) async fn new(name: &str) -> Self {
        let name = own_name(&format!("draft_{name}"));
        let client = Stack::from_env().unwrap().mongodb().await.unwrap();
        let database = client.database(&name);
        database.drop().await.unwrap();
        Self { name, database }
    }

    fn run(&self, more: &[&str]) -> Output {
        let mut command = Command::new(program::find("leafcutter").unwrap());
        command.arg("draft");
        if !more.contains(&"--database") {
            command.args(["--database", &self.name]);
        }
        if more.contains(&"--mongodb-uri") {
            command.env_remove("LEAFCUTTER_MONGODB_URI");
        }
        command.args(more).output().unwrap()
    }

    /// Drafts, and looks at the exit code and at what is said.
    #[track_caller]
    pub(crate) fn says(&self, more: &[&str], code: i32, words: &str) -> String {
        let output = self.run(more);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        let line = said
            .replace("\n#", " ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let wanted = words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(line.contains(&wanted), "no {words:?} in {said}");
        said
    }

    /// Loads the documents, drafts, and loads them into a world of the draft.
    pub(crate) async fn draft(self, load: impl AsyncFn(&Database)) -> Drafted {
        load(&self.database).await;
        let output = self.run(&["--all", "--json"]);
        let error = String::from_utf8_lossy(&output.stderr);
        let said: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}: {error}", output.status));
        let mapping = said["mapping"].as_str().unwrap().to_owned();
        self.close().await;
        let world = World::new(&mapping, Stack::from_env().unwrap(), "draft")
            .await
            .unwrap();
        load(&world.source).await;
        Drafted {
            mapping,
            said,
            world,
        }
    }

    pub(crate) async fn close(self) {
        self.database.drop().await.unwrap();
    }
}

impl Drafted {
    /// How many rejections of which reason and where, as announced.
    pub(crate) fn announced(&self) -> BTreeMap<String, i64> {
        let collections = self.said["collections"].as_array().unwrap().iter();
        let each = collections.flat_map(|one| {
            let name = one["collection"].as_str().unwrap();
            let rejections = one["rejections"].as_array().unwrap().iter();
            rejections.map(move |r| {
                let text = |key: &str| r[key].as_str().unwrap().to_owned();
                let place = format!("{}.{}", text("table"), text("column"));
                let place = place.trim_start_matches("public.").to_owned();
                let line = format!("{name} {} {place}", text("reason"));
                (line, r["documents"].as_i64().unwrap())
            })
        });
        each.collect()
    }

    /// Moves everything, and holds what is there against what was announced.
    pub(crate) async fn runs(self) {
        let place = &self.world.place;
        let fleet = Fleet::new(place, &self.world.group, &[]);
        let watch = Watch::new(place, &self.world.group).await.unwrap();
        fleet.first_producer().await.unwrap();
        fleet.consumer().unwrap();
        // Heartbeats are also sent while the snapshot goes on.
        let all = place.collections.len();
        let read = probe::until(DEADLINE, "the end of the snapshots", async || {
            fleet.check()?;
            Ok((watch.look().await?.said.complete.len() == all).then_some(()))
        });
        let read = read.await.map_err(|late| fleet.with_logs(&late));
        read.attempt("read what was drafted").unwrap();
        let last_write = now(&self.world.source).await.unwrap();
        let applied = watch
            .until_applied(last_write, DEADLINE, |_| fleet.check())
            .await;
        let applied = applied.map_err(|late| fleet.with_logs(&late));
        applied.attempt("move what was drafted").unwrap();

        let target = &self.world.target;
        let letters = "select split_part(topic, '.', 3) || ' ' || reason || ' ' || \
            replace(coalesce(table_name, ''), 'public.', '') || '.' || coalesce(column_name, ''), \
            count(*) from leafcutter.dead_letters where state = 'open' group by 1";
        let letters = target.query(letters, &[]).await.unwrap();
        let letters = letters.iter().map(|row| (row.get(0), row.get(1)));
        let letters: BTreeMap<String, i64> = letters.collect();
        assert_eq!(letters, self.announced(), "{}", self.mapping);

        for one in self.said["collections"].as_array().unwrap() {
            for (table, rows) in one["rows"].as_object().unwrap() {
                let table = table.trim_start_matches("public.");
                let sql = format!("select count(*) from \"{table}\"");
                let count: i64 = target.query_one(&sql, &[]).await.unwrap().get(0);
                assert_eq!(Some(count), rows.as_i64(), "{table}\n{}", self.mapping);
            }
            let read = one["read"].as_i64().unwrap();
            let rejected: i64 = one["rejections"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| r["documents"].as_i64().unwrap())
                .sum();
            let table = one["table"].as_str().unwrap();
            let sql = format!("select count(*) from \"{table}\"");
            let count: i64 = target.query_one(&sql, &[]).await.unwrap().get(0);
            assert_eq!(count, read - rejected, "{table}");
        }
        fleet.stop_all(DEADLINE).await.unwrap();
        drop(watch);
        self.world.close().await.unwrap();
    }
}
