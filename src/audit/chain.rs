//! One chain, read event by event: places, links, hashes, columns, and what checkpoints signed of it.

use super::columns;
use super::words::{moment, moment_ms};
use crate::domain::checkpoint::Segment;
use crate::domain::event::{ChainHead, ChainedEvent};
use crate::domain::hex::{self, Hash};
use crate::domain::merkle::Growing;
use crate::store::{Store, StoreError, StoredRow};
use std::collections::VecDeque;

/// How many events are in memory at once.
const PAGE: i64 = 500;

/// How much older than the last checkpoint that did not sign it an event may say that it is, in seconds: clocks differ.
const LATE_AT_MOST_SECONDS: i64 = 900;

/// A segment that some checkpoint signed.
#[derive(Debug, Clone)]
pub(super) struct SignedSegment {
    pub(super) checkpoint: i64,
    /// The number of the checkpoint before that one, and when it was made, Unix seconds.
    pub(super) before: (i64, i64),
    pub(super) segment: Segment,
}

/// What is known of a chain before it is read.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Where the chain stands, as the table of heads says.
    pub(super) head: Option<ChainHead>,
    /// In order.
    pub(super) segments: VecDeque<SignedSegment>,
    /// Where the chain was cut: the last segment whose events may be gone.
    pub(super) cut: Option<SignedSegment>,
    /// The number of the newest checkpoint, and when it was made, Unix seconds.
    pub(super) newest: (i64, i64),
}

/// A chain, as far as it was read.
#[derive(Debug)]
pub(super) struct Chain {
    /// The last event that is whole.
    pub(super) last: ChainHead,
    /// How many events were read.
    pub(super) events: u64,
    /// How many of them a checkpoint signed.
    pub(super) signed: u64,
    /// How many events before the cut are still there.
    pub(super) before_cut: u64,
    /// The first event that says it is older than it can be, and why it cannot.
    pub(super) late: Option<(i64, String)>,
    /// The place of the first event that was there.
    pub(super) began_at: Option<i64>,
    expected: Expected,
    /// Whether the first event has been seen.
    begun: bool,
    /// The tree over the events of the first expected segment; none if its first event is behind us.
    tree: Option<Growing>,
}

impl Chain {
    pub(super) fn new(writer_id: &str, expected: Expected) -> Self {
        Self {
            last: ChainHead::empty(writer_id),
            events: 0,
            signed: 0,
            before_cut: 0,
            late: None,
            began_at: None,
            expected,
            begun: false,
            tree: Some(Growing::default()),
        }
    }

    /// Reads it from its first event up to this place; what is wrong with the first event that is not whole.
    pub(super) async fn first_fault(&mut self, store: &Store, until: i64) -> Result<Option<String>, StoreError> {
        let writer_id = self.last.writer_id.clone();
        loop {
            let left = until.saturating_sub(self.last.seq);
            if left < 1 {
                return Ok(None);
            }
            // From the very beginning, since places below 1 are none that an event has.
            let from = if self.begun { self.last.seq.saturating_add(1) } else { i64::MIN };
            let mut fault = None;
            let mut see = |row: StoredRow<'_>| {
                if !self.begun {
                    self.begin(&row);
                }
                if fault.is_none() && self.last.seq < until {
                    fault = self.take(&row).err();
                }
            };
            let seen = store.walk_chain(&writer_id, from, PAGE.min(left), &mut see).await?;
            if fault.is_some() || (seen == 0 && self.begun) {
                return Ok(fault);
            }
            if seen == 0 {
                self.skip_what_was_cut();
            }
        }
    }

    /// Whether something is wrong at or before the cut, where events may go at any moment.
    pub(super) fn is_before_cut(&self) -> bool {
        self.expected.cut.as_ref().is_some_and(|cut| self.last.seq < cut.segment.last)
    }

    /// What checkpoints signed and is not there, once all that is there was read.
    pub(super) fn unread(&mut self) -> Option<String> {
        let missing = self.expected.segments.iter().find(|signed| signed.segment.last > self.last.seq)?;
        Some(format!(
            "missing: no event follows, but checkpoint {} signed the chain up to event {}",
            missing.checkpoint, missing.segment.last
        ))
    }

    /// The next event, if it is whole.
    fn take(&mut self, row: &StoredRow<'_>) -> Result<(), String> {
        self.events = self.events.saturating_add(1);
        let digest = follows(&self.last, row)?;
        if let Some(head) = &self.expected.head
            && row.seq == head.seq
            && row.hash != head.hash
        {
            return Err(format!("replaced: its hash is {}, the head of the chain says {}", row.hash, head.hash));
        }
        self.date(row);
        self.sign(row.seq, &digest)?;
        self.last.seq = row.seq;
        row.hash.clone_into(&mut self.last.hash);
        Ok(())
    }

    /// An event is written within seconds. Had it been there when the checkpoint was made before the one that signed it,
    /// that one would have signed it.
    fn date(&mut self, row: &StoredRow<'_>) {
        let signed = self.expected.segments.front().filter(|signed| signed.segment.has(row.seq));
        let (number, made_at) = signed.map_or(self.expected.newest, |signed| signed.before);
        let is_late = number > 0 && row.at_ms.div_euclid(1000) < made_at.saturating_sub(LATE_AT_MOST_SECONDS);
        if is_late && self.late.is_none() {
            let (at, made_at) = (moment_ms(row.at_ms), moment(made_at));
            self.late = Some((
                row.seq,
                format!(
                    "inserted: it says that it is of {at}, and checkpoint {number} of {made_at} did not sign it; or the \
                     clock of its server was set back"
                ),
            ));
        }
    }

    /// Of a chain that was cut, the first event that is still there may be any up to the one behind the cut. What is left
    /// before the cut is bound by the hash at the cut, which was signed.
    fn begin(&mut self, row: &StoredRow<'_>) {
        self.begun = true;
        self.began_at = Some(row.seq);
        let Some(cut) = &self.expected.cut else {
            return;
        };
        if row.seq > cut.segment.last || row.seq < 1 {
            self.skip();
        } else if row.seq > 1 {
            self.last.seq = row.seq.saturating_sub(1);
            row.prev_hash.clone_into(&mut self.last.hash);
            self.expected.segments.retain(|signed| signed.segment.last >= row.seq);
            let begins_within = self.expected.segments.front().is_some_and(|signed| signed.segment.first < row.seq);
            self.tree = (!begins_within).then(Growing::default);
        }
    }

    /// Goes on behind the cut, of whose events none is there.
    fn skip_what_was_cut(&mut self) {
        self.begun = true;
        self.skip();
    }

    fn skip(&mut self) {
        if let Some(SignedSegment { segment, .. }) = &self.expected.cut {
            self.last.seq = segment.last;
            self.last.hash.clone_from(&segment.hash);
            self.expected.segments.retain(|signed| signed.segment.first > segment.last);
        }
    }

    /// Compares the end of a segment with what was signed.
    fn sign(&mut self, seq: i64, digest: &Hash) -> Result<(), String> {
        let Some(SignedSegment { checkpoint, segment, .. }) = self.expected.segments.front() else {
            return Ok(());
        };
        if !segment.has(seq) {
            return Ok(());
        }
        self.signed = self.signed.saturating_add(1);
        if self.expected.cut.as_ref().is_some_and(|cut| seq <= cut.segment.last) {
            self.before_cut = self.before_cut.saturating_add(1);
        }
        if let Some(tree) = &mut self.tree {
            tree.push(digest);
        }
        if seq < segment.last {
            return Ok(());
        }
        let root = self.tree.as_ref().map(Growing::root);
        let is_signed = hex::is(&segment.hash, digest)
            && root.is_none_or(|root| root.is_some_and(|root| hex::is(&segment.root, &root)));
        if !is_signed {
            return Err(format!(
                "replaced: checkpoint {checkpoint} signed other events {} to {} of this chain",
                segment.first, segment.last
            ));
        }
        self.expected.segments.pop_front();
        self.tree = Some(Growing::default());
        Ok(())
    }
}

/// Says whether `row` is the event right behind `last`, and whole; its hash.
fn follows(last: &ChainHead, row: &StoredRow<'_>) -> Result<Hash, String> {
    if row.seq != last.seq.saturating_add(1) {
        return Err(format!("missing: the next event in the chain is {}", row.seq));
    }
    if row.prev_hash != last.hash {
        return Err(format!("does not follow the event before it, whose hash is {}, not {}", last.hash, row.prev_hash));
    }
    let digest = ChainedEvent::digest(&last.writer_id, row.seq, row.prev_hash, row.body);
    if !hex::is(row.hash, &digest) {
        return Err(format!("changed: its hash is {}, but its content has {}", row.hash, hex::encode(&digest)));
    }
    columns::agree(row)?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{AuditEvent, EventKind, EventOutcome, EventSubject};

    /// The second event of a chain of two, and the first as its head.
    fn second() -> (ChainHead, ChainedEvent) {
        let mut head = ChainHead::empty("w_1");
        let [_, second] = [1_000, 2_000].map(|at_ms| {
            let mut event =
                AuditEvent::new(at_ms, "req_1".to_owned(), EventKind::TokenExchange, EventOutcome::Granted, "granted");
            event.subject = Some(EventSubject::named("alice \"a\" \u{e9}\0"));
            event.client = Some("assistant".parse().unwrap());
            event.resource = Some("records".parse().unwrap());
            event.jti = Some("x".repeat(600));
            event.txn = Some("txn_1".to_owned());
            let before = head.clone();
            (before, ChainedEvent::append(&mut head, event))
        });
        second
    }

    fn problem_after(damage: impl FnOnce(&mut StoredRow<'_>)) -> String {
        let (last, event) = second();
        let jti = "x".repeat(512);
        let mut row = StoredRow {
            seq: event.seq,
            prev_hash: &event.prev_hash,
            hash: &event.hash,
            body: &event.body,
            at_ms: 2_000,
            texts: [
                Some("req_1"),
                Some("granted"),
                Some("granted"),
                Some("alice \"a\" \u{e9}\u{fffd}"),
                Some("assistant"),
                Some("records"),
                Some(&jti),
                Some("txn_1"),
            ],
        };
        damage(&mut row);
        follows(&last, &row).map_or_else(|problem| problem, |_| "whole".to_owned())
    }

    #[test]
    fn an_event_that_follows_is_whole() {
        assert_eq!(problem_after(|_| {}), "whole");
    }

    #[test]
    fn each_part_of_an_event_is_checked() {
        const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
        assert_eq!(problem_after(|row| row.seq = 3), "missing: the next event in the chain is 3");
        assert!(problem_after(|row| row.prev_hash = ZEROS).starts_with("does not follow the event before"));
        assert!(problem_after(|row| row.hash = ZEROS).starts_with("changed: its hash is 0000"));
        let hash = second().1.hash.to_uppercase();
        assert!(problem_after(|row| row.hash = Box::leak(hash.into_boxed_str())).starts_with("changed: its hash is"));
        assert!(problem_after(|row| row.body = "{}").starts_with("changed: its hash is"));
        assert_eq!(problem_after(|row| row.at_ms = 2_001), "changed: its column at_ms says 2001, its body 2000");
        assert_eq!(
            problem_after(|row| row.texts[7] = None),
            r#"changed: its column txn says nothing, its body "txn_1""#
        );
        for (place, name) in StoredRow::TEXTS.iter().enumerate() {
            let problem = problem_after(|row| row.texts[place] = Some("x"));
            assert!(problem.starts_with(&format!("changed: its column {name} says \"x\", its body")), "{problem}");
            let problem = problem_after(|row| row.texts[place] = None);
            assert!(problem.starts_with(&format!("changed: its column {name} says nothing")), "{problem}");
        }
    }

    #[test]
    fn a_body_that_is_no_event_is_a_fault_even_if_its_hash_fits() {
        let (last, event) = second();
        let body = "{}";
        let hash = ChainedEvent::hash("w_1", 2, &event.prev_hash, body);
        let row = StoredRow { seq: 2, prev_hash: &event.prev_hash, hash: &hash, body, at_ms: 2_000, texts: [None; 8] };
        let problem = follows(&last, &row).unwrap_err();
        assert!(problem.starts_with("its body cannot be read"), "{problem}");
    }
}
