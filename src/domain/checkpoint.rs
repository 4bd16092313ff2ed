//! A checkpoint: what was in every chain of events at one moment, to be signed. Each names the one before.

use super::event::ChainHead;
use super::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The most segments in one checkpoint, so that it stays a short text; more go into the next one.
pub const SEGMENTS_AT_MOST: usize = 32;

/// The most events in one segment: whoever proves one of them reads the hashes of all.
pub const EVENTS_AT_MOST: i64 = 65_536;

/// Events of one chain that follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Whose chain.
    pub writer: String,
    /// The place of the first event: right behind the segment before.
    pub first: i64,
    /// The place of the last one.
    pub last: i64,
    /// The hash of the last one, which binds all before it.
    pub hash: String,
    /// The root of the Merkle tree over the hashes of the events, in hex.
    pub root: String,
}

impl Segment {
    /// How many events it has.
    pub fn events(&self) -> i64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// True if the event at this place is in it.
    pub fn has(&self, seq: i64) -> bool {
        (self.first..=self.last).contains(&seq)
    }
}

/// What is signed: the claims of the JWS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Our issuer.
    pub iss: String,
    /// When it was made, Unix seconds.
    pub iat: i64,
    /// 1 for the first one, then 2, and so on.
    pub number: i64,
    /// The SHA-256, in hex, of the JWS before; 64 zeros for the first.
    pub previous: String,
    /// How many events this and all before it have signed.
    pub events: i64,
    /// Events that were signed up to this checkpoint may have been removed; 0 if none.
    pub pruned: i64,
    /// What came since the one before. A chain without new events is not named again.
    pub segments: Vec<Segment>,
}

/// A checkpoint whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// By which key, by its RFC 7638 thumbprint.
    pub kid: String,
    /// True if somebody who cannot be the database vouches for the key.
    pub vouched: bool,
}

/// Verifies signatures. The JOSE is elsewhere.
pub trait ReadCheckpoint: Sync {
    /// The checkpoint in a JWS.
    ///
    /// # Errors
    /// Why it is none that one of our keys signed, in words.
    fn read(&self, jws: &str) -> Result<SignedCheckpoint, String>;
}

/// The hash by which the next checkpoint, and everybody else, names this one.
pub fn hash_of(jws: &str) -> String {
    hex::encode(&Sha256::digest(jws).into())
}

/// How far checkpoints go, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The number of the last one; 0 if there is none.
    pub number: i64,
    /// Its hash; 64 zeros if there is none.
    pub hash: Option<String>,
    /// Its time.
    pub made_at: i64,
    /// How many events are signed.
    pub events: i64,
    /// Up to which checkpoint events may have been removed.
    pub pruned: i64,
}

impl Standing {
    /// What `previous` of the next checkpoint must be.
    pub fn previous(&self) -> String {
        self.hash.clone().unwrap_or_else(|| "0".repeat(64))
    }

    /// Takes in the next checkpoint.
    pub fn advance(&mut self, checkpoint: &Checkpoint, jws: &str) {
        *self = Self {
            number: checkpoint.number,
            hash: Some(hash_of(jws)),
            made_at: checkpoint.iat,
            events: checkpoint.events,
            pruned: checkpoint.pruned,
        };
    }

    /// What keeps a checkpoint from being the next one; `covered` is how far each chain was signed, and moves on.
    ///
    /// # Errors
    /// In words.
    pub fn follows(&self, next: &Checkpoint, covered: &mut BTreeMap<String, ChainHead>) -> Result<(), String> {
        if next.previous != self.previous() {
            return Err(format!(
                "does not follow the one before it, whose hash is {}, not {}",
                self.previous(),
                next.previous
            ));
        }
        if next.pruned < self.pruned || next.pruned >= next.number {
            return Err(format!("says that events up to checkpoint {} were removed", next.pruned));
        }
        if next.segments.len() > SEGMENTS_AT_MOST {
            return Err(format!("has {} segments, more than there can be", next.segments.len()));
        }
        let mut events = self.events;
        for segment in &next.segments {
            let head = covered.entry(segment.writer.clone()).or_insert_with(|| ChainHead::empty(&segment.writer));
            if segment.first != head.seq.saturating_add(1)
                || !(1..=EVENTS_AT_MOST).contains(&segment.events())
                || hex::decode(&segment.hash).is_none()
                || hex::decode(&segment.root).is_none()
            {
                return Err(format!(
                    "has a segment of chain {} from event {} to {}, but that chain was signed up to event {}",
                    segment.writer, segment.first, segment.last, head.seq
                ));
            }
            head.seq = segment.last;
            head.hash.clone_from(&segment.hash);
            events = events.saturating_add(segment.events());
        }
        if next.events != events {
            return Err(format!("counts {} events, and there are {events}", next.events));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(writer: &str, first: i64, last: i64) -> Segment {
        Segment { writer: writer.to_owned(), first, last, hash: "1".repeat(64), root: "2".repeat(64) }
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            iss: "https://auth.example.com".to_owned(),
            iat: 1_000,
            number: 1,
            previous: "0".repeat(64),
            events: 12,
            pruned: 0,
            segments: vec![segment("w_1", 1, 4), segment("w_1", 5, 10), segment("w_2", 1, 2)],
        }
    }

    fn problem(change: impl FnOnce(&mut Checkpoint)) -> String {
        let mut changed = checkpoint();
        change(&mut changed);
        Standing::default()
            .follows(&changed, &mut BTreeMap::new())
            .map_or_else(|problem| problem, |()| "whole".to_owned())
    }

    #[test]
    fn a_checkpoint_follows_the_one_before_and_its_segments_those_before() {
        let mut covered = BTreeMap::new();
        let mut standing = Standing::default();
        assert_eq!(standing.follows(&checkpoint(), &mut covered), Ok(()));
        assert_eq!((covered["w_1"].seq, covered["w_2"].seq), (10, 2));
        standing.advance(&checkpoint(), "jws");
        let next = Checkpoint {
            number: 2,
            previous: hash_of("jws"),
            events: 13,
            pruned: 1,
            segments: vec![segment("w_2", 3, 3)],
            ..checkpoint()
        };
        assert_eq!(standing.follows(&next, &mut covered), Ok(()));
    }

    #[test]
    fn each_part_of_a_checkpoint_is_compared() {
        assert_eq!(problem(|_| {}), "whole");
        assert!(problem(|next| next.previous = "1".repeat(64)).starts_with("does not follow the one before it"));
        assert_eq!(problem(|next| next.pruned = 1), "says that events up to checkpoint 1 were removed");
        assert_eq!(problem(|next| next.pruned = -1), "says that events up to checkpoint -1 were removed");
        assert_eq!(problem(|next| next.events = 11), "counts 11 events, and there are 12");
        let of_segments = |change: fn(&mut Segment)| problem(|next| change(&mut next.segments[1]));
        for change in [
            (|segment| segment.first = 6) as fn(&mut Segment),
            |segment| segment.first = 4,
            |segment| segment.last = 4,
            |segment| segment.last = 5 + EVENTS_AT_MOST,
            |segment| segment.hash.clear(),
            |segment| segment.root.push('0'),
        ] {
            assert!(of_segments(change).starts_with("has a segment of chain w_1"));
        }
        assert!(problem(|next| next.segments = vec![segment("w", 1, 1); 33]).starts_with("has 33 segments"));
    }
}
