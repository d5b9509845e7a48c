//! Holding a transaction back until it is known to be whole (PROTOCOL P3, H2).
//!
//! It takes the replies of a change stream in order and says, of each, which events may go on
//! now, and which position is reached once those are acknowledged: a resume token, and the time
//! up to which every event is before it.
//!
//! Only events of a multi-document transaction can share both key and cluster time; such a
//! trailing group waits. It is whole when the next event, or the post-batch token, has a later
//! time. On a replica set an empty reply to a `getMore` proves it as well: the server answers so
//! only when its scan has reached the end of the oplog, and it unwinds a transaction from one
//! place of the oplog, so nothing of the group can be left. (A sharded cluster merges several
//! oplogs: there, only times count.) Without this rule a transaction would wait up to ten
//! seconds for the server's next no-op on a quiet source.
//!
//! Events without a transaction go on at once, also when others may follow with their time: those
//! have other keys. Only the time that may be called complete stays one below.
//!
//! The time of a post-batch token is complete, except of the one that a stream begins with: opened
//! without a position, it answers with the time after the newest operation, which the next write
//! may bear (6.0.5). Until another token comes, that time counts as one below. (PROTOCOL H2 makes
//! no such difference.)

use super::{
    event::time_and_group,
    held::{Held, Limits},
    reply::token_time,
};
use crate::error::Error;
use bson::{RawDocument, RawDocumentBuf};
use leafcutter_schemas::version::Version;

/// A place in the change stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Position {
    /// Where the stream can be resumed.
    pub token: RawDocumentBuf,
    /// Every event at or before this time lies before the position.
    pub complete: Version,
}

/// What is known of a reply beside its events.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Its post-batch resume token.
    pub token: Option<&'a RawDocument>,
    /// It answers a `getMore` of a replica set: empty, it proves the end of the oplog.
    pub proves_end: bool,
    /// It is the first since the stream was opened; with the token it was opened behind, if any.
    pub first: Option<Option<&'a RawDocument>>,
}

/// What may go on.
#[derive(Debug, Default)]
pub struct Step {
    /// Events held until now; they come first.
    pub released: Vec<RawDocumentBuf>,
    /// How many events of this reply follow them; the others are held.
    pub ready: usize,
    /// What is reached when all of them are acknowledged.
    pub position: Option<Position>,
}

/// The group that is held, if any.
#[derive(Debug)]
pub struct HoldBack {
    held: Held,
    time: Version,
    /// The token of the last event received.
    last: Option<RawDocumentBuf>,
    /// The token that the stream begins with: nothing was read to get it.
    opened: Option<RawDocumentBuf>,
}

impl HoldBack {
    /// Holds nothing yet, and never more than this.
    pub fn new(limits: Limits) -> Self {
        Self {
            held: Held::new(limits),
            time: Version::ZERO,
            last: None,
            opened: None,
        }
    }

    /// Bytes of the events held.
    pub fn bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Takes the next reply.
    ///
    /// # Errors
    /// When an event has no cluster time, or no token.
    pub fn step(&mut self, events: &[&RawDocument], reply: Reply<'_>) -> Result<Step, Error> {
        let reached = reply.token.and_then(token_time);
        if let Some(behind) = reply.first {
            self.opened = behind.or(reply.token).map(RawDocument::to_owned);
        }
        let Some(last) = events.last() else {
            return Ok(self.step_empty(reply, reached));
        };
        let (time, grouped) = time_and_group(last)?;
        let closed = reached.is_some_and(|reached| reached > time);
        if closed || !grouped {
            let complete = match reached {
                Some(reached) if closed => self.complete_at(reached, reply),
                _ => time.previous(),
            };
            self.last = Some(token_of(last)?);
            return Ok(Step {
                released: self.held.take(),
                ready: events.len(),
                position: Some(Position {
                    token: reply
                        .token
                        .map_or_else(|| token_of(last), |t| Ok(t.to_owned()))?,
                    complete,
                }),
            });
        }
        self.hold_tail(events, time)
    }

    fn step_empty(&mut self, reply: Reply<'_>, reached: Option<Version>) -> Step {
        let (Some(token), Some(reached)) = (reply.token, reached) else {
            return Step::default();
        };
        if !self.held.is_empty() && reached <= self.time && !reply.proves_end {
            return Step::default();
        }
        let complete = self.complete_at(reached, reply);
        Step {
            released: self.held.take(),
            ready: 0,
            position: Some(Position {
                token: token.to_owned(),
                complete,
            }),
        }
    }

    /// What is complete when the end of the oplog was reached at this time.
    fn complete_at(&self, reached: Version, reply: Reply<'_>) -> Version {
        let opening = self.opened.as_deref() == reply.token;
        let of_event = self.last.as_deref() == reply.token;
        if reply.proves_end && (of_event || !opening) {
            reached
        } else {
            reached.previous()
        }
    }

    /// The reply ends in the middle of a transaction, as far as one can tell.
    fn hold_tail(&mut self, events: &[&RawDocument], time: Version) -> Result<Step, Error> {
        let mut ready = events.len();
        while let Some(event) = ready.checked_sub(1).and_then(|before| events.get(before)) {
            if time_and_group(event)?.0 != time {
                break;
            }
            ready -= 1;
        }
        // Of what was held before, the last was the last event received.
        let last = events.last().map(|last| token_of(last)).transpose()?;
        let last_held = std::mem::replace(&mut self.last, last);
        let (before, tail) = events.split_at(ready);
        let goes_on = ready == 0 && self.time == time && !self.held.is_empty();
        let released = if goes_on {
            Vec::new()
        } else {
            self.held.take()
        };
        for event in tail {
            self.held.push(event)?;
        }
        if goes_on {
            return Ok(Step::default());
        }
        self.time = time;
        let token = match before.last() {
            Some(last) => Some(token_of(last)?),
            None => last_held.filter(|_| !released.is_empty()),
        };
        let position = token.map(|token| Position {
            token,
            complete: time.previous(),
        });
        Ok(Step {
            released,
            ready,
            position,
        })
    }
}

fn token_of(event: &RawDocument) -> Result<RawDocumentBuf, Error> {
    event
        .get_document("_id")
        .map(RawDocument::to_owned)
        .map_err(|_| Error::MalformedEvent {
            why: "an event without its resume token".to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Timestamp, rawdoc};

    fn token(time: u32, kind: &str) -> RawDocumentBuf {
        rawdoc! { "_data": format!("82{time:08X}00000001{kind}") }
    }

    fn event(time: u32, number: u32, transaction: bool) -> RawDocumentBuf {
        let mut event = rawdoc! {
            "_id": token(time, &format!("e{number}")),
            "clusterTime": Timestamp { time, increment: 1 },
        };
        if transaction {
            event.append(bson::cstr!("txnNumber"), 1i64);
        }
        event
    }

    fn at(time: u32) -> Version {
        Version::from_cluster_time(Timestamp { time, increment: 1 })
    }

    /// Feeds a reply; gives (released, ready, complete).
    fn step(
        hold: &mut HoldBack,
        events: &[RawDocumentBuf],
        token: &RawDocument,
        proves_end: bool,
    ) -> (usize, usize, Option<Position>) {
        let events: Vec<&RawDocument> = events.iter().map(AsRef::as_ref).collect();
        let first = (!proves_end).then_some(None);
        let reply = Reply {
            token: Some(token),
            proves_end,
            first,
        };
        let step = hold.step(&events, reply).unwrap();
        (step.released.len(), step.ready, step.position)
    }

    #[test]
    fn plain_events_go_on_at_once_and_their_time_is_not_yet_complete() {
        let mut hold = HoldBack::new(Limits::NONE);
        let events = [event(5, 1, false), event(6, 2, false)];
        let (released, ready, position) = step(&mut hold, &events, &token(6, "e2"), true);
        assert_eq!((released, ready), (0, 2));
        assert_eq!(position.unwrap().complete, at(6).previous());
        let (_, _, position) = step(&mut hold, &[], &token(6, "e2"), true);
        assert_eq!(
            position.unwrap().complete,
            at(6),
            "the empty reply proves it"
        );
    }

    #[test]
    fn a_trailing_transaction_waits_for_the_next_event() {
        let mut hold = HoldBack::new(Limits::NONE);
        let first = [event(5, 1, false), event(6, 2, true), event(6, 3, true)];
        let (released, ready, position) = step(&mut hold, &first, &token(6, "e3"), true);
        assert_eq!((released, ready), (0, 1));
        let position = position.unwrap();
        assert_eq!(position.token, token(5, "e1"), "never inside the group");
        assert_eq!(position.complete, at(6).previous());
        // It goes on in the next reply, whole reply.
        let (released, ready, position) =
            step(&mut hold, &[event(6, 4, true)], &token(6, "e4"), true);
        assert_eq!((released, ready, position), (0, 0, None));
        // A later event closes it.
        let (released, ready, position) = step(
            &mut hold,
            &[event(6, 5, true), event(7, 6, false)],
            &token(7, "e6"),
            true,
        );
        assert_eq!((released, ready), (3, 2));
        assert_eq!(position.unwrap().complete, at(7).previous());
        assert_eq!(hold.bytes(), 0);
    }

    #[test]
    fn one_transaction_after_another_is_released_by_it() {
        let mut hold = HoldBack::new(Limits::NONE);
        let (_, _, position) = step(&mut hold, &[event(6, 1, true)], &token(6, "e1"), true);
        assert_eq!(position, None);
        let (released, ready, position) =
            step(&mut hold, &[event(7, 2, true)], &token(7, "e2"), true);
        assert_eq!((released, ready), (1, 0));
        assert_eq!(position.unwrap().token, token(6, "e1"));
    }

    #[test]
    fn a_later_token_or_an_empty_reply_closes_a_transaction() {
        for (proves_end, later, closed) in [
            (true, false, true),
            (false, true, true),
            (false, false, false),
        ] {
            let mut hold = HoldBack::new(Limits::NONE);
            step(&mut hold, &[event(6, 1, true)], &token(6, "e1"), proves_end);
            let next = if later { token(8, "h") } else { token(6, "e1") };
            let (released, _, position) = step(&mut hold, &[], &next, proves_end);
            assert_eq!(released == 1, closed, "{proves_end} {later}");
            assert_eq!(position.is_some(), closed);
        }
    }

    #[test]
    fn a_token_beyond_the_last_event_closes_it_in_the_same_reply() {
        let mut hold = HoldBack::new(Limits::NONE);
        let (released, ready, position) =
            step(&mut hold, &[event(6, 1, true)], &token(9, "h"), true);
        assert_eq!((released, ready), (0, 1));
        assert_eq!(
            position.unwrap(),
            Position {
                token: token(9, "h"),
                complete: at(9)
            }
        );
    }

    #[test]
    fn the_token_a_stream_is_opened_with_does_not_complete_its_own_time() {
        let mut hold = HoldBack::new(Limits::NONE);
        let complete = |position: Option<Position>| position.unwrap().complete;
        let (_, _, position) = step(&mut hold, &[], &token(9, "h"), false);
        assert_eq!(complete(position), at(9).previous());
        // The very next write may bear the time of that token.
        let (_, _, position) = step(&mut hold, &[], &token(9, "h"), true);
        assert_eq!(complete(position), at(9).previous());
        let (_, _, position) = step(&mut hold, &[event(9, 1, false)], &token(9, "e1"), true);
        assert_eq!(complete(position), at(9).previous());
        let (_, _, position) = step(&mut hold, &[], &token(11, "h"), true);
        assert_eq!(complete(position), at(11), "the oplog was read up to there");
    }

    #[test]
    fn a_resumed_stream_knows_its_own_token() {
        let opened = token(5, "h");
        let mut hold = HoldBack::new(Limits::NONE);
        let mut complete = |token: &RawDocument, first: bool| {
            let first = first.then_some(Some(opened.as_ref()));
            let reply = Reply {
                token: Some(token),
                proves_end: first.is_none(),
                first,
            };
            hold.step(&[], reply).unwrap().position.unwrap().complete
        };
        assert_eq!(complete(&token(9, "h"), true), at(9).previous());
        assert_eq!(complete(&token(9, "h"), false), at(9), "read up to there");
        assert_eq!(complete(&opened, true), at(5).previous());
        assert_eq!(complete(&opened, false), at(5).previous());
    }

    #[test]
    fn a_sharded_cluster_proves_less() {
        let mut hold = HoldBack::new(Limits::NONE);
        step(&mut hold, &[event(6, 1, false)], &token(6, "e1"), false);
        let (_, _, position) = step(&mut hold, &[], &token(8, "h"), false);
        assert_eq!(position.unwrap().complete, at(8).previous());
    }
}
