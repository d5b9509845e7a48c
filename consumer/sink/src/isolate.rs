//! Records one of which cannot be applied: tried again as long as that may help, then halved, until the one
//! stands alone.
//!
//! Each half is a transaction of its own, so that whatever PostgreSQL refuses of one record, the others
//! are applied. The record that is left is refused, and goes through once more as such. An explicit stack
//! takes the place of recursion; the halves stay in order.
//!
//! An error in doubt may be the world's, so the whole batch is tried some times before it is halved, and
//! the record that is left some times more before it is refused. In between each half is tried once: the
//! attempts of one record stay bounded, and so does the time for which it delays the others.

use crate::{
    change::{Prepared, Record},
    error::ApplyError,
    ids::Partition,
    sqlstate,
};
use leafcutter_schemas::dead_letter::Reason;

/// Attempts at records whose target changes under them, before they are halved.
pub const AGAIN_MAX: u32 = 8;
/// Attempts at a whole batch in doubt, before it is halved.
const WHOLE_MAX: u32 = 4;
/// Attempts at one record in doubt, before it is refused.
const ALONE_MAX: u32 = 4;
/// The same where a statement took too long: each of them takes minutes, and others may have been busy.
const SLOW_ALONE_MAX: u32 = 6;

/// Parts of a batch that are still to be applied, in order.
#[derive(Debug)]
pub struct Parts {
    parts: Vec<Vec<Record>>,
    halved: bool,
}

/// What became of a part that could not be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolated {
    /// It was halved, or its one record refused: to be applied next.
    Narrowed,
    /// Its one record is refused already. Trying it again is all that is left, after a pause.
    Stuck,
}

impl Parts {
    /// The whole batch.
    pub fn of(records: Vec<Record>) -> Self {
        Self {
            parts: vec![records],
            halved: false,
        }
    }

    /// The next part, which may be empty.
    pub fn next_part(&mut self) -> Option<Vec<Record>> {
        self.parts.pop()
    }

    /// Whether no other part follows.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// This part is to be tried again as it is.
    pub fn again(&mut self, part: Vec<Record>) {
        self.parts.push(part);
    }

    /// The first records of this part, so many; the others are the next part.
    pub fn cut(&mut self, mut part: Vec<Record>, records: usize) -> Vec<Record> {
        if records < part.len() {
            self.parts.push(part.split_off(records));
        }
        part
    }

    /// One record of this part cannot be applied: halves it, or refuses the one that is left.
    pub fn isolate(&mut self, mut part: Vec<Record>, reason: Option<Box<Reason>>) -> Isolated {
        let isolated = if let [only] = part.as_mut_slice() {
            match only.prepared {
                Prepared::Write { .. } => {
                    only.refuse(reason);
                    Isolated::Narrowed
                }
                Prepared::Ignored | Prepared::Refused(_) => Isolated::Stuck,
            }
        } else {
            let second = part.split_off(part.len() / 2);
            self.parts.push(second);
            self.halved = true;
            Isolated::Narrowed
        };
        self.parts.push(part);
        isolated
    }

    /// The attempts at a part, none made yet.
    pub fn attempts(&self, part: &[Record]) -> Attempts {
        Attempts {
            alone: part.len() == 1,
            halved: self.halved,
            again: 0,
            doubtful: 0,
        }
    }
}

/// Attempts at the same records.
#[derive(Debug)]
pub struct Attempts {
    alone: bool,
    halved: bool,
    again: u32,
    doubtful: u32,
}

/// What follows an attempt that failed.
#[derive(Debug)]
pub enum AfterError {
    /// The same records at once.
    AtOnce,
    /// The same records after a pause; this is why.
    AfterPause(ApplyError),
    /// One of the records is at fault.
    Isolate(Option<Box<Reason>>),
    /// These partitions are others' now.
    Without(Vec<Partition>),
}

impl Attempts {
    /// Decides what follows this error.
    pub fn after(&mut self, error: ApplyError) -> AfterError {
        match error {
            ApplyError::Fenced(lost) => AfterError::Without(lost),
            ApplyError::Definite(reason) => AfterError::Isolate(Some(reason)),
            ApplyError::Again(reason) => {
                self.again += 1;
                if self.again > AGAIN_MAX {
                    AfterError::Isolate(reason)
                } else {
                    AfterError::AtOnce
                }
            }
            ApplyError::Doubtful(reason) => {
                self.doubtful += 1;
                if self.doubtful >= self.doubtful_max(&reason) {
                    AfterError::Isolate(Some(reason))
                } else {
                    AfterError::AfterPause(ApplyError::Doubtful(reason))
                }
            }
            error @ (ApplyError::TooMany { .. }
            | ApplyError::Mapping { .. }
            | ApplyError::Transient { .. }) => AfterError::AfterPause(error),
        }
    }

    fn doubtful_max(&self, reason: &Reason) -> u32 {
        let slow = reason.sqlstate.as_deref() == Some(sqlstate::TOO_SLOW);
        match (self.alone, self.halved) {
            (true, _) if slow => SLOW_ALONE_MAX,
            (true, _) => ALONE_MAX,
            (false, true) => 1,
            (false, false) => WHOLE_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        change::{Delivery, RecordOrigin, SourceVersion},
        ids::CollectionId,
    };
    use leafcutter_schemas::{dead_letter::Stage, version::Version};

    fn records(count: i64) -> Vec<Record> {
        let record = |offset| Record {
            delivery: Delivery {
                origin: RecordOrigin {
                    partition: Partition {
                        collection: CollectionId(0),
                        number: 0,
                    },
                    offset,
                    timestamp: None,
                },
                key: Vec::new(),
                value: None,
                headers: Vec::new(),
            },
            prepared: Prepared::Write {
                version: SourceVersion {
                    version: Version::ZERO,
                    as_of: Version::ZERO,
                    event: true,
                },
                changes: Vec::new(),
            },
        };
        (0..count).map(record).collect()
    }

    fn doubt() -> ApplyError {
        let reason = Reason::new(Stage::Apply, "refused", "no").sqlstate("P0001");
        ApplyError::Doubtful(Box::new(reason))
    }

    /// One record of a thousand is in doubt for ever: it alone is refused, after few attempts, and no
    /// record comes twice or out of turn.
    #[test]
    fn one_in_doubt_is_refused_alone_after_a_bounded_number_of_attempts() {
        let bad = 613;
        let mut parts = Parts::of(records(1_000));
        let (mut done, mut failed) = (Vec::new(), 0);
        while let Some(part) = parts.next_part() {
            let offsets = part.iter().map(|r| r.delivery.origin.offset);
            let refused = matches!(part.as_slice(), [only] if !matches!(only.prepared, Prepared::Write { .. }));
            if refused {
                assert_eq!(part[0].delivery.origin.offset, bad);
            }
            if refused || !offsets.clone().any(|offset| offset == bad) {
                done.extend(offsets);
                continue;
            }
            let mut attempts = parts.attempts(&part);
            let reason = loop {
                failed += 1;
                match attempts.after(doubt()) {
                    AfterError::AfterPause(_) => {}
                    AfterError::Isolate(reason) => break reason,
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(parts.isolate(part, reason), Isolated::Narrowed);
        }
        assert_eq!(done, (0..1_000).collect::<Vec<i64>>());
        assert!(failed <= 20, "{failed} attempts");
    }

    #[test]
    fn a_refused_record_that_is_refused_again_is_stuck() {
        let mut parts = Parts::of(records(1));
        let part = parts.next_part().unwrap();
        assert_eq!(parts.isolate(part, None), Isolated::Narrowed);
        let part = parts.next_part().unwrap();
        assert_eq!(parts.isolate(part, None), Isolated::Stuck);
        assert_eq!(parts.next_part().map(|part| part.len()), Some(1));
    }

    #[test]
    fn the_world_is_waited_for_without_a_limit() {
        let mut attempts = Parts::of(Vec::new()).attempts(&records(1));
        for _ in 0..1_000 {
            let outage = ApplyError::Transient {
                what: "lost".to_owned(),
                source: "gone".into(),
            };
            assert!(matches!(attempts.after(outage), AfterError::AfterPause(_)));
        }
    }
}
