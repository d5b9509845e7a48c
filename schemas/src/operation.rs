//! What happened to a document.

/// One of the five things that a record can say of its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Read by a snapshot: the document was there.
    Read,
    /// Inserted.
    Insert,
    /// Updated in place (`$set` and the like); the record holds the whole document.
    Update,
    /// Replaced as a whole.
    Replace,
    /// Deleted; the record holds only the document key.
    Delete,
}

impl Operation {
    /// All operations, in the order of the Avro enum's symbols.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Insert,
        Self::Update,
        Self::Replace,
        Self::Delete,
    ];

    /// The operation's name on the wire and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
        }
    }

    /// The position of the operation among the Avro enum's symbols.
    pub fn index(self) -> u8 {
        match self {
            Self::Read => 0,
            Self::Insert => 1,
            Self::Update => 2,
            Self::Replace => 3,
            Self::Delete => 4,
        }
    }

    /// The operation at a position among the Avro enum's symbols.
    pub fn from_index(index: i64) -> Option<Self> {
        usize::try_from(index)
            .ok()
            .and_then(|i| Self::ALL.get(i))
            .copied()
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
