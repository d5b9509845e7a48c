//! The exit codes of all three programs.
//!
//! A supervisor, a script or a person reads the code to decide what happens next, so each code
//! stands for one thing to do, and the numbers never change their meaning.

use std::process::ExitCode;

/// How a program ended. The number of each is part of the interface (see the README).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// The work is done, or was drained after a signal.
    Done = 0,
    /// The work is done and there are differences or findings to look at.
    Differences = 1,
    /// The command line was not understood (clap's own code).
    Usage = 2,
    /// Settings or the mapping are wrong.
    Settings = 3,
    /// A server is not as it has to be, or could not be reached at start.
    Preflight = 4,
    /// The source no longer has the history needed to go on.
    HistoryLost = 5,
    /// Stopped on purpose: the breaker opened or a policy said so.
    Stopped = 6,
    /// What is stored does not fit what is there: mapping, partitions, topic or cluster.
    StateMismatch = 7,
    /// Draining took longer than allowed, or a second signal cut it short.
    DrainDeadline = 8,
    /// An invariant of ours broke. Always a bug.
    Bug = 70,
}

impl Exit {
    /// The number the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn codes_are_the_documented_ones() {
        let codes = [
            (Exit::Done, 0),
            (Exit::Differences, 1),
            (Exit::Usage, 2),
            (Exit::Settings, 3),
            (Exit::Preflight, 4),
            (Exit::HistoryLost, 5),
            (Exit::Stopped, 6),
            (Exit::StateMismatch, 7),
            (Exit::DrainDeadline, 8),
            (Exit::Bug, 70),
        ];
        for (exit, code) in codes {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
