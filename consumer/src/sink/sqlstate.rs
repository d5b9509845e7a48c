//! SQLSTATE to class: one table with reasons (PostgreSQL manual, appendix A).
//!
//! Only what PostgreSQL says of the *data* is definite. Everything that can pass later, and
//! everything unknown, is transient: an outage must never drain a topic into the dead letters. A
//! missing table, column or privilege is transient too: at the start the preflight finds it and
//! stops; while running somebody took it away and may give it back.

use leafcutter_schemas::class::Class;

/// What an error of the server means for the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Of this class.
    Class(Class),
    /// A parent vanished between the look and the write (23503), or a unique value was taken in
    /// that time (23505): run the batch again, it will be parked.
    Again,
}

/// Judges a SQLSTATE.
pub fn judge(state: &str) -> Verdict {
    match state {
        "23503" | "23505" => Verdict::Again,
        // Index entries over 2,704 bytes and rows over a page's limits.
        "54000" | "54001" | "54011" => Verdict::Class(Class::Definite),
        _ => match state.get(..2) {
            // Data exceptions; not null, check and exclusion constraints.
            Some("22" | "23") => Verdict::Class(Class::Definite),
            _ => Verdict::Class(Class::Transient),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_is_definite() {
        let definite = [
            "22001", "22003", "22008", "22021", "22P05", "22P02", "23502", "23514", "23P01",
            "54000",
        ];
        let transient = [
            "08006", "57P01", "57P03", "53100", "53200", "53300", "40001", "40P01", "55P03",
            "57014", "25006", "25P03", "28P01", "42501", "42P01", "42703", "3D000", "XX000",
            "54023", "99999", "",
        ];
        for state in definite {
            assert_eq!(judge(state), Verdict::Class(Class::Definite), "{state}");
        }
        for state in transient {
            assert_eq!(judge(state), Verdict::Class(Class::Transient), "{state}");
        }
        assert_eq!(judge("23503"), Verdict::Again);
        assert_eq!(judge("23505"), Verdict::Again);
    }
}
