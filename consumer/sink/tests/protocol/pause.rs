//! Statements of two transactions in one order, by force: a trigger stops a transaction in the
//! middle, and the other runs meanwhile.

use crate::world::World;
use leafcutter_sink::session;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// While it lives, every transaction that writes or deletes a row with the note [`STOP`] stops
/// behind that statement.
pub(crate) struct Pause {
    client: Client,
}

/// The note at which a transaction stops.
pub(crate) const STOP: i64 = 777;

const WAITING: &str = "\
    select count(*) from pg_stat_activity \
    where datname = current_database() and wait_event_type = 'Lock'";

impl Pause {
    pub(crate) async fn new(world: &World) -> Self {
        world
            .execute(
                "create function stop() returns trigger language plpgsql as \
                 $$ begin perform pg_advisory_xact_lock_shared(1); return null; end $$",
            )
            .await;
        for table in [
            "parents", "children", "nodes", "masters", "servants", "members", "tickets", "days",
        ] {
            // Behind the triggers that check references, which run in the order of their names.
            world
                .execute(&format!(
                    "create trigger zz_written after insert or update on {table} \
                     for each row when (new.note = {STOP}) execute function stop(); \
                     create trigger zz_deleted after delete on {table} \
                     for each row when (old.note = {STOP}) execute function stop()"
                ))
                .await;
        }
        let client = session::connect(&world.config, "pause").await.unwrap();
        client
            .execute("select pg_advisory_lock(1)", &[])
            .await
            .unwrap();
        Self { client }
    }

    /// Starts something and waits until it has stopped.
    pub(crate) async fn stopped<T: Send + 'static>(
        &self,
        world: &World,
        what: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let task = tokio::spawn(what);
        world.until(async || world.number(WAITING).await == 1).await;
        task
    }

    /// Starts something else and waits until it waits for the stopped one, or has ended without.
    pub(crate) async fn beside<T: Send + 'static>(
        &self,
        world: &World,
        what: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let task = tokio::spawn(what);
        world
            .until(async || task.is_finished() || world.number(WAITING).await == 2)
            .await;
        task
    }

    /// Lets them go on.
    pub(crate) async fn end(self) {
        self.client
            .execute("select pg_advisory_unlock(1)", &[])
            .await
            .unwrap();
    }
}
