//! A session of PostgreSQL for what takes long.

use crate::connect::State;
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, causes},
};
use leafcutter_sink::session::Session;

/// Tables are read whole, and that may take its time; but nobody is to wait behind a lock of ours.
const SESSION: &str = "set statement_timeout = 0; set lock_timeout = '10s'";

/// Connects.
pub(super) async fn session(state: &State) -> Result<Session, Failure> {
    let unreachable = |why: String| {
        let next = "Check that the server runs, and that it has connections left.";
        let place = state.place.clone();
        Failure::one(
            Exit::Preflight,
            Fault::new("could not connect to PostgreSQL", place, why, next),
        )
    };
    let opened = Session::open(&state.config, "leafcutter finish").await;
    let mut session = opened.map_err(|error| unreachable(causes(&error)))?;
    let set = session.batch(SESSION).await;
    set.map_err(|error| unreachable(causes(&error)))?;
    Ok(session)
}
