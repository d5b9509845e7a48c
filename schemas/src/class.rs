//! The three classes of an error, and what each makes the program do.

/// Whose fault an error is. Doubt is [`Class::Transient`]: an outage must never pour a topic into
/// the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The world is at fault; the same bytes may pass later. Wait and try again.
    Transient,
    /// This record is at fault and always will be. Dead letter, confirmed, then move on.
    Definite,
    /// The set-up or an invariant of ours is broken. Stop; the position stays.
    Fatal,
}

impl Class {
    /// The class's name in logs, headers and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Definite => "definite",
            Self::Fatal => "fatal",
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
