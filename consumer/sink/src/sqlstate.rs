//! SQLSTATE to verdict: one table with reasons (PostgreSQL manual, appendix A).
//!
//! What PostgreSQL says of the *data* is definite. What passes when the world is mended is transient, and
//! waits without a limit: an outage must never drain a topic into the dead letters. Missing tables and
//! columns are part of it: the preflight stops for them at the start; while running they were taken away,
//! and no record is at fault. Everything else is in doubt: it is tried again as if it were transient, but
//! not for ever, since it may be one record's own fault (a trigger that raises an error).

/// What an error of the server means for the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The world is at fault.
    Transient,
    /// A record is at fault.
    Definite,
    /// A parent vanished between the look and the write (23503), or a unique value was taken in
    /// that time (23505): run the batch again, it will be parked.
    Again,
    /// It may be either.
    Doubtful,
}

/// An error of the server, as far as it is judged. What it says in words is in the server's language.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    /// The SQLSTATE.
    pub state: &'a str,
    /// Where it was: none for most of our own statements, `COPY …` for ours that copy, and the function
    /// for one of the application's.
    pub context: Option<&'a str>,
    /// The function in the server's own code that said it.
    pub routine: Option<&'a str>,
}

/// Judges an error.
pub fn judge(said: Said<'_>) -> Verdict {
    let within_function = said
        .context
        .is_some_and(|place| !place.starts_with("COPY "));
    let of_application = match said.routine {
        // `raise` may use any SQLSTATE.
        Some("exec_stmt_raise") => true,
        // Row security refuses a row as a lost privilege does.
        Some("ExecWithCheckOptions") => true,
        // Our statements do not fit the tables any more, or a trigger's do not, which is its own matter.
        _ => within_function && said.state.starts_with("42"),
    };
    match of_state(said.state) {
        Verdict::Transient if of_application => Verdict::Doubtful,
        verdict => verdict,
    }
}

fn of_state(state: &str) -> Verdict {
    match state {
        "23503" | "23505" => Verdict::Again,
        // Index entries over 2,704 bytes and rows over a page's limits.
        "54000" | "54001" | "54011" => Verdict::Definite,
        // A lock that others hold is freed.
        "55P03" => Verdict::Transient,
        // A statement that took too long: for one record alone, because of it.
        TOO_SLOW => Verdict::Doubtful,
        _ => match state.get(..2) {
            // Data exceptions; not null, check and exclusion constraints.
            Some("22" | "23") => Verdict::Definite,
            // Connections; a prepared statement that is gone; authorization; rolled back; resources; an administrator;
            // the system.
            Some("08" | "26" | "28" | "40" | "53" | "57" | "58") => Verdict::Transient,
            // Read-only, or a transaction that the server has ended; a database or schema that is gone;
            // privileges, tables and columns that are gone.
            Some("25" | "3D" | "3F" | "42") => Verdict::Transient,
            _ => Verdict::Doubtful,
        },
    }
}

/// Why a session is not what it was.
pub const OF_A_POOLER: &str = "a pooler gives each transaction another session (PgBouncer's `pool_mode = \
    transaction`): settings, prepared statements and temporary tables do not last";

/// What a person does about it.
pub const KEEP_SESSIONS: &str = "connect to the server itself, or to a pooler that keeps sessions";

/// A statement that was ended by `statement_timeout`.
pub const TOO_SLOW: &str = "57014";

/// What a person does about an error that is waited for.
pub fn advice(state: &str) -> Option<&'static str> {
    match state {
        "42501" => Some("grant the privilege back"),
        "25006" => Some("the server, the database or the role is read-only: make it writable"),
        "53100" => Some("the server's disk is full"),
        "53300" => Some("the server has no connection left"),
        "26000" | "42P05" => Some(KEEP_SESSIONS),
        _ if state.starts_with("42") || state.starts_with("3F") => Some(
            "the tables are not as they were at the start: bring them back (`leafcutter check \
             --postgres` compares them), or start the consumers again",
        ),
        _ => None,
    }
}

/// Whether a statement that changes tables only met others who use them: a lock did not come in time, or everybody
/// would have waited for everybody.
pub fn is_passing(error: &tokio_postgres::Error) -> bool {
    let state = error.code().map(tokio_postgres::error::SqlState::code);
    matches!(state, Some("55P03" | "40P01"))
}

/// Whether the session is to be given up: what it has prepared, or how it was set up, may be the cause.
pub fn spoils_session(state: &str) -> bool {
    matches!(state, "0A000" | "26000" | "25006") || state.starts_with("42")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_is_definite_and_only_the_world_is_waited_for() {
        let definite = [
            "22001", "22003", "22008", "22021", "22P05", "22P02", "23502", "23514", "23P01",
            "54000",
        ];
        let transient = [
            "08006", "57P01", "57P03", "53100", "53200", "53300", "40001", "40P01", "55P03",
            "25006", "25P03", "26000", "28P01", "42501", "42P01", "42703", "3D000", "58030",
        ];
        let doubtful = [
            "P0001", "P0002", "21000", "0A000", "44000", "XX000", "54023", "99999", "57014",
            "55006", "", "MY001",
        ];
        let own = |state| Said {
            state,
            ..Said::default()
        };
        for state in definite {
            assert_eq!(judge(own(state)), Verdict::Definite, "{state}");
        }
        for state in transient {
            assert_eq!(judge(own(state)), Verdict::Transient, "{state}");
        }
        for state in doubtful {
            assert_eq!(judge(own(state)), Verdict::Doubtful, "{state}");
        }
        assert_eq!(judge(own("23503")), Verdict::Again);
        assert_eq!(judge(own("23505")), Verdict::Again);
    }

    #[test]
    fn what_the_application_raises_is_not_taken_for_an_outage() {
        let said = |state, context, routine| Said {
            state,
            context,
            routine,
        };
        let trigger = Some("PL/pgSQL function judge() line 1 at RAISE");
        for state in ["40001", "53100", "57P01", "42501"] {
            let raised = said(state, trigger, Some("exec_stmt_raise"));
            assert_eq!(judge(raised), Verdict::Doubtful, "{state}");
        }
        let lacks = said("42P01", Some("PL/pgSQL function judge()"), None);
        assert_eq!(judge(lacks), Verdict::Doubtful);
        let deadlock = said("40P01", Some("SQL statement \"select 1\""), None);
        assert_eq!(judge(deadlock), Verdict::Transient);
        let copy = said("42703", Some("COPY t, line 1"), None);
        assert_eq!(judge(copy), Verdict::Transient);
        let row_security = said("42501", None, Some("ExecWithCheckOptions"));
        assert_eq!(judge(row_security), Verdict::Doubtful);
        assert_eq!(
            judge(said("42501", None, Some("aclcheck_error"))),
            Verdict::Transient
        );
    }
}
