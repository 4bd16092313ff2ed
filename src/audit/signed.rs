//! Every checkpoint, those of the database and those that were kept outside: whether they are whole, and what they
//! signed.

use super::chain::{Expected, SignedSegment};
use crate::domain::checkpoint::{Checkpoint, ReadCheckpoint, SignedCheckpoint, Standing, hash_of};
use crate::domain::event::ChainHead;
use crate::store::{Store, StoreError, StoredCheckpoint, StoredSegment};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How many checkpoints are read at once.
const PAGE: i64 = 500;

/// What is wrong with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckpointFault {
    /// Its number.
    pub number: i64,
    /// In words.
    pub problem: String,
}

/// What checkpoints say, as far as they are whole.
#[derive(Debug, Default)]
pub(super) struct Signed {
    pub(super) faults: Vec<CheckpointFault>,
    pub(super) count: u64,
    /// Those that are kept outside and were compared.
    pub(super) compared: u64,
    pub(super) standing: Standing,
    pub(super) newest_kid: Option<String>,
    /// Keys that signed and for which nobody vouches.
    pub(super) unvouched: BTreeSet<String>,
    chains: BTreeMap<String, Vec<SignedSegment>>,
}

impl Signed {
    /// Reads and checks all. `outside` are the copies that were kept elsewhere, by number.
    pub(super) async fn read(
        store: &Store,
        reader: &dyn ReadCheckpoint,
        outside: &BTreeMap<i64, String>,
    ) -> Result<Self, StoreError> {
        let mut reading = Reading { signed: Self::default(), covered: BTreeMap::new(), reader, outside };
        let mut after = i64::MIN;
        loop {
            let page = store.list_checkpoints(after, PAGE).await?;
            if let Some(last) = page.last().map(|stored| stored.number) {
                reading.page(&page, store.list_segments(after, last).await?);
                after = last;
                continue;
            }
            // What the table of segments has behind the last checkpoint was signed by one that is gone, unless that came
            // just now.
            let orphans = store.list_segments(after, i64::MAX).await?;
            if orphans.is_empty() || store.list_checkpoints(after, 1).await?.is_empty() {
                for orphan in &orphans {
                    reading.orphan(orphan);
                }
                break;
            }
        }
        reading.only_outside();
        Ok(reading.signed)
    }

    /// The chains that checkpoints name.
    pub(super) fn writers(&self) -> impl Iterator<Item = &str> {
        self.chains.keys().map(String::as_str)
    }

    /// What is known of a chain.
    pub(super) fn expected(&self, writer_id: &str, head: Option<ChainHead>) -> Expected {
        let segments = self.chains.get(writer_id).map(Vec::as_slice).unwrap_or_default();
        let cut = segments.iter().rfind(|signed| signed.checkpoint <= self.standing.pruned).cloned();
        let newest = (self.standing.number, self.standing.made_at);
        Expected { head, segments: segments.iter().cloned().collect(), cut, newest }
    }

    /// Where each chain that was cut was cut.
    pub(super) fn cuts(&self) -> impl Iterator<Item = &SignedSegment> {
        let pruned = self.standing.pruned;
        self.chains.values().filter_map(move |segments| segments.iter().rfind(|signed| signed.checkpoint <= pruned))
    }

    fn take(&mut self, number: i64, checkpoint: &Checkpoint, jws: &str) {
        self.count = self.count.saturating_add(1);
        let before = (self.standing.number, self.standing.made_at);
        self.standing.advance(checkpoint, jws);
        for segment in &checkpoint.segments {
            let signed = SignedSegment { checkpoint: number, before, segment: segment.clone() };
            self.chains.entry(segment.writer.clone()).or_default().push(signed);
        }
    }
}

struct Reading<'a> {
    signed: Signed,
    covered: BTreeMap<String, ChainHead>,
    reader: &'a dyn ReadCheckpoint,
    outside: &'a BTreeMap<i64, String>,
}

impl Reading<'_> {
    fn fault(&mut self, number: i64, problem: String) {
        // The first of each says it all.
        if !self.signed.faults.iter().any(|fault| fault.number == number) {
            self.signed.faults.push(CheckpointFault { number, problem });
        }
    }

    fn page(&mut self, page: &[StoredCheckpoint], copies: Vec<StoredSegment>) {
        let mut copies_of: BTreeMap<i64, Vec<StoredSegment>> = BTreeMap::new();
        for copy in copies {
            copies_of.entry(copy.checkpoint).or_default().push(copy);
        }
        for stored in page {
            let copies = copies_of.remove(&stored.number).unwrap_or_default();
            self.one(stored, copies);
        }
        for orphan in copies_of.values().flatten() {
            self.orphan(orphan);
        }
    }

    /// A copy from a checkpoint that is not there.
    fn orphan(&mut self, copy: &StoredSegment) {
        let StoredSegment { writer_id, first_seq, last_seq, .. } = copy;
        let problem =
            format!("missing: the table of segments has events {first_seq} to {last_seq} of chain {writer_id} by it");
        self.fault(copy.checkpoint, problem);
    }

    fn one(&mut self, stored: &StoredCheckpoint, copies: Vec<StoredSegment>) {
        let next = self.signed.standing.number.saturating_add(1);
        if stored.number < 1 {
            return self.fault(stored.number, "there is no checkpoint of such a number".to_owned());
        }
        if stored.number != next {
            let more = if stored.number - next > 1 { format!(" to {}", stored.number - 1) } else { String::new() };
            self.missing(next, stored.number, &more);
        }
        let mut jws = stored.jws.as_str();
        if let Some(kept) = self.outside.get(&stored.number) {
            self.signed.compared = self.signed.compared.saturating_add(1);
            if kept != jws {
                self.fault(stored.number, "changed: the copy that was kept outside is another one".to_owned());
                jws = kept;
            }
        }
        let read = match self.reader.read(jws) {
            Ok(read) => read,
            Err(problem) => return self.fault(stored.number, problem),
        };
        let checkpoint = &read.checkpoint;
        if checkpoint.number != stored.number {
            return self.fault(stored.number, format!("changed: it is checkpoint {}", checkpoint.number));
        }
        self.follow(checkpoint);
        if checkpoint.iat != stored.made_at {
            let problem = format!("changed: its column made_at says {}, it says {}", stored.made_at, checkpoint.iat);
            self.fault(stored.number, problem);
        }
        if let Some(problem) = differs(checkpoint, copies) {
            self.fault(stored.number, problem);
        }
        if !read.vouched {
            self.signed.unvouched.insert(read.kid.clone());
        }
        self.signed.newest_kid = Some(read.kid);
        self.signed.take(stored.number, checkpoint, jws);
    }

    /// Compares with the one before. If that is missing or not whole, there is nothing to compare with.
    fn follow(&mut self, checkpoint: &Checkpoint) {
        if checkpoint.number == self.signed.standing.number.saturating_add(1)
            && let Err(problem) = self.signed.standing.follows(checkpoint, &mut self.covered)
        {
            self.fault(checkpoint.number, problem);
        }
        for segment in &checkpoint.segments {
            let head = ChainHead { writer_id: segment.writer.clone(), seq: segment.last, hash: segment.hash.clone() };
            self.covered.insert(segment.writer.clone(), head);
        }
    }

    /// Checkpoints that the database does not have; what was kept outside of them still says what they signed.
    fn missing(&mut self, from: i64, until: i64, more: &str) {
        self.fault(from, format!("missing: checkpoint {from}{more} is not in the database"));
        let kept: Vec<(i64, String)> =
            self.outside.range(from..until).map(|(number, jws)| (*number, jws.clone())).collect();
        for (number, jws) in kept {
            self.signed.compared = self.signed.compared.saturating_add(1);
            match self.reader.read(&jws) {
                Ok(read) if read.checkpoint.number == number => {
                    self.fault(number, "missing: it was kept outside, and is not in the database".to_owned());
                    self.follow(&read.checkpoint);
                    if !read.vouched {
                        self.signed.unvouched.insert(read.kid.clone());
                    }
                    self.signed.newest_kid = Some(read.kid);
                    self.signed.take(number, &read.checkpoint, &jws);
                }
                Ok(SignedCheckpoint { checkpoint, .. }) => {
                    self.fault(number, format!("the copy that was kept outside is checkpoint {}", checkpoint.number));
                }
                Err(problem) => self.fault(number, format!("the copy that was kept outside: {problem}")),
            }
        }
    }

    /// What is kept outside of checkpoints behind the newest one of the database.
    fn only_outside(&mut self) {
        let next = self.signed.standing.number.saturating_add(1);
        if let Some((last, _)) = self.outside.range(next..).next_back() {
            self.missing(
                next,
                last.saturating_add(1),
                &if *last > next { format!(" to {last}") } else { String::new() },
            );
        }
    }
}

/// What the table of segments says otherwise than the checkpoint.
fn differs(checkpoint: &Checkpoint, mut copies: Vec<StoredSegment>) -> Option<String> {
    let mut expected: Vec<StoredSegment> = checkpoint
        .segments
        .iter()
        .map(|segment| StoredSegment {
            writer_id: segment.writer.clone(),
            last_seq: segment.last,
            first_seq: segment.first,
            hash: segment.hash.clone(),
            checkpoint: checkpoint.number,
        })
        .collect();
    expected.sort();
    copies.sort();
    let other = expected.iter().find(|segment| !copies.contains(segment));
    let other = other.or_else(|| copies.iter().find(|segment| !expected.contains(segment)))?;
    Some(format!(
        "the table of segments does not have what it signed: look at events {} to {} of chain {}",
        other.first_seq, other.last_seq, other.writer_id
    ))
}

/// The copies that were kept outside, from JSON Lines as the server writes them: the JWS by number, and the public keys
/// that are with them. Lines that cannot be read are told by their numbers: a server that ended while it wrote leaves one.
///
/// # Errors
/// No line is a checkpoint.
pub fn kept_outside(text: &str) -> Result<KeptOutside, String> {
    let mut kept = KeptOutside::default();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let Ok(line) = serde_json::from_str::<OutsideLine>(line) else {
            kept.unreadable.push(index.saturating_add(1));
            continue;
        };
        if hash_of(&line.checkpoint) != line.hash {
            kept.unreadable.push(index.saturating_add(1));
            continue;
        }
        kept.keys.push(line.jwk);
        if kept.checkpoints.get(&line.number).is_some_and(|before| *before != line.checkpoint) {
            return Err(format!("it has two different checkpoints of number {}", line.number));
        }
        kept.checkpoints.insert(line.number, line.checkpoint);
    }
    if kept.checkpoints.is_empty() { Err("it has no checkpoint".to_owned()) } else { Ok(kept) }
}

/// What was kept outside.
#[derive(Debug, Default)]
pub struct KeptOutside {
    /// The JWS, by number.
    pub checkpoints: BTreeMap<i64, String>,
    /// The public keys.
    pub keys: Vec<serde_json::Value>,
    /// The numbers of lines that cannot be read.
    pub unreadable: Vec<usize>,
}

/// A checkpoint as it is written outside: one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct OutsideLine {
    /// Its number.
    pub number: i64,
    /// The hash by which the next one names it.
    pub hash: String,
    /// The JWS.
    pub checkpoint: String,
    /// The public key that signed it.
    pub jwk: serde_json::Value,
}
