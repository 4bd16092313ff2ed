//! Making checkpoints: what came since the last one, chain by chain, signed and stored.

use super::seen::Seen;
use crate::domain::checkpoint::{
    Checkpoint, EVENTS_AT_MOST, ReadCheckpoint, SEGMENTS_AT_MOST, Segment, Standing, hash_of,
};
use crate::domain::event::ChainHead;
use crate::domain::hex;
use crate::domain::merkle::Growing;
use crate::store::{Store, StoreError, StoredCheckpoint, UnsignedChain};

/// How many hashes are in memory at once.
const PAGE: i64 = 2_000;

/// Why there is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointProblem {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The newest checkpoint is not whole, so that nothing can follow it.
    #[error("checkpoint {0}: {1}; procura audit verify says more")]
    NotWhole(i64, String),
    /// A checkpoint that was seen before is not there any more, or is another one: nothing is signed in its place.
    #[error(
        "checkpoint {0} was seen before and is not in the database, or is another one: somebody took it away, or the \
         database is an older copy. Compare with the copies outside (procura audit verify --checkpoints FILE); to go on \
         from the older copy, put audit.checkpoint_file away and start the servers again"
    )]
    Replaced(i64),
    /// What was kept of checkpoints cannot be read, so that nobody knows which one was seen last: nothing is signed.
    #[error("{0}: {1}; it would say which checkpoint was seen last, and nothing is signed without it")]
    Unread(String, std::io::Error),
    /// It cannot be signed.
    #[error("it cannot be signed: {0}")]
    Unsigned(String),
}

/// What is needed to make checkpoints.
pub struct Notary<'a> {
    /// The database.
    pub store: &'a Store,
    /// Our issuer.
    pub issuer: &'a str,
    /// Verifies what was signed before.
    pub reader: &'a dyn ReadCheckpoint,
    /// What was seen before.
    pub seen: &'a Seen,
    /// Signs.
    pub sign: &'a (dyn Fn(&Checkpoint) -> Result<String, String> + Sync),
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Made {
    /// The checkpoints that were made, in order.
    pub checkpoints: Vec<StoredCheckpoint>,
    /// Chains that are not signed any further, since they are broken: whose, and what is wrong.
    pub broken: Vec<(String, String)>,
}

impl Notary<'_> {
    /// Where checkpoints stand.
    ///
    /// # Errors
    /// The newest one is not whole, or one that was seen before is gone.
    pub async fn standing(&self) -> Result<Standing, CheckpointProblem> {
        self.seen.is_still_there(self.store).await?;
        let mut standing = Standing::default();
        if let Some(stored) = self.store.newest_checkpoint().await? {
            let read = self.reader.read(&stored.jws);
            let read = read.map_err(|problem| CheckpointProblem::NotWhole(stored.number, problem))?;
            if read.checkpoint.number != stored.number {
                let problem = format!("it is checkpoint {}", read.checkpoint.number);
                return Err(CheckpointProblem::NotWhole(stored.number, problem));
            }
            standing.advance(&read.checkpoint, &stored.jws);
            self.seen.note(standing.number, standing.previous());
        }
        Ok(standing)
    }

    /// Signs all that is not signed yet, in as many checkpoints as it takes. With `pruned`, also that events up to that
    /// checkpoint may be gone from now on. If another server is at it, what that one did is left to it.
    ///
    /// # Errors
    /// See [`CheckpointProblem`]. What was made before stays.
    pub async fn make(&self, now: i64, pruned: Option<i64>) -> Result<Made, CheckpointProblem> {
        let mut made = Made::default();
        loop {
            let standing = self.standing().await?;
            let pruned = pruned.unwrap_or(0).max(standing.pruned);
            let chains = self.store.unsigned_chains().await?;
            made.broken.clear();
            let (segments, is_all) = self.segments(chains, &mut made.broken).await?;
            if segments.is_empty() && pruned == standing.pruned {
                return Ok(made);
            }
            let checkpoint = Checkpoint {
                iss: self.issuer.to_owned(),
                iat: now,
                number: standing.number.saturating_add(1),
                previous: standing.previous(),
                events: segments.iter().fold(standing.events, |sum, segment| sum.saturating_add(segment.events())),
                pruned,
                segments,
            };
            let jws = (self.sign)(&checkpoint).map_err(CheckpointProblem::Unsigned)?;
            let is_ours = self.store.add_checkpoint(&checkpoint, &jws).await?;
            if is_ours {
                let (number, made_at) = (checkpoint.number, checkpoint.iat);
                self.seen.note(number, hash_of(&jws));
                made.checkpoints.push(StoredCheckpoint { number, jws, made_at });
                if is_all {
                    return Ok(made);
                }
            }
        }
    }

    /// The next segments, and whether nothing is left behind them.
    async fn segments(
        &self,
        chains: Vec<UnsignedChain>,
        broken: &mut Vec<(String, String)>,
    ) -> Result<(Vec<Segment>, bool), CheckpointProblem> {
        let mut segments = Vec::new();
        for UnsignedChain { writer_id, seq: until, covered } in chains {
            let mut head = self.store.signed_head(&writer_id, covered).await?;
            while head.seq < until {
                if segments.len() == SEGMENTS_AT_MOST {
                    return Ok((segments, false));
                }
                match self.segment(&head, until).await? {
                    Ok(segment) => {
                        head = ChainHead { seq: segment.last, hash: segment.hash.clone(), ..head };
                        segments.push(segment);
                    }
                    Err(problem) => {
                        broken.push((writer_id, problem));
                        break;
                    }
                }
            }
        }
        Ok((segments, true))
    }

    /// The segment behind this head. Places and links are checked; that the hashes are those of the events is what
    /// `audit verify` looks at.
    async fn segment(&self, head: &ChainHead, until: i64) -> Result<Result<Segment, String>, StoreError> {
        let until = until.min(head.seq.saturating_add(EVENTS_AT_MOST));
        let mut last = head.clone();
        let mut tree = Growing::default();
        while last.seq < until {
            let links = self.store.read_links(&head.writer_id, last.seq, until, PAGE).await?;
            if links.is_empty() {
                return Ok(Err(format!("event {} is missing", last.seq.saturating_add(1))));
            }
            for link in links {
                let hash = hex::decode(&link.hash);
                let follows = link.seq == last.seq.saturating_add(1) && link.prev_hash == last.hash;
                let Some(hash) = hash.filter(|_| follows) else {
                    return Ok(Err(format!("event {} does not follow event {}", link.seq, last.seq)));
                };
                tree.push(&hash);
                last.seq = link.seq;
                last.hash = link.hash;
            }
        }
        let root = tree.root().map(|root| hex::encode(&root)).unwrap_or_default();
        let first = head.seq.saturating_add(1);
        Ok(Ok(Segment { writer: last.writer_id, first, last: last.seq, hash: last.hash, root }))
    }
}
