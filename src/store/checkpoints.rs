//! Checkpoints of the audit trail, the segments that they sign, and where chains may be cut.

use super::sql::{BatchInsert, Step, searchable};
use super::{Store, StoreError};
use crate::domain::checkpoint::Checkpoint;
use crate::domain::event::ChainHead;

/// Two servers at the same moment: the second does nothing.
const ADD: &str =
    "INSERT INTO audit_checkpoint (number, jws, made_at) VALUES ($1, $2, $3) ON CONFLICT (number) DO NOTHING";
static ADD_SEGMENTS: BatchInsert =
    BatchInsert::new("INSERT INTO audit_segment (writer_id, last_seq, first_seq, hash, checkpoint) VALUES", 5, "");
const NEWEST: &str = "SELECT number, jws, made_at FROM audit_checkpoint ORDER BY number DESC LIMIT 1";
const LIST: &str = "SELECT number, jws, made_at FROM audit_checkpoint WHERE number >= $1 ORDER BY number LIMIT $2";
const SEGMENTS: &str = "SELECT writer_id, last_seq, first_seq, hash, checkpoint FROM audit_segment
    WHERE checkpoint >= $1 AND checkpoint <= $2 ORDER BY checkpoint, writer_id, last_seq";
const UNSIGNED: &str = "SELECT writer_id, seq, covered FROM (
        SELECT writer_id, seq, COALESCE((SELECT MAX(last_seq) FROM audit_segment
            WHERE audit_segment.writer_id = audit_chain.writer_id), 0) AS covered
        FROM audit_chain) AS chain
    WHERE seq > covered ORDER BY writer_id";
const COVERED_HASH: &str = "SELECT hash FROM audit_segment WHERE writer_id = $1 AND last_seq = $2";
const LINKS: &str = "SELECT seq, prev_hash, hash FROM audit_event
    WHERE writer_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4";
/// Behind every checkpoint of another time: clocks may have been set back.
const NEWEST_BEFORE: &str = "SELECT COALESCE(MAX(number), 0) FROM audit_checkpoint WHERE number <
    COALESCE((SELECT MIN(number) FROM audit_checkpoint WHERE made_at >= $1), 9223372036854775807)";
const CUTS: &str = "SELECT writer_id, MAX(last_seq) FROM audit_segment
    WHERE checkpoint <= $1 GROUP BY writer_id ORDER BY writer_id";
const HAS_PRUNED: &str =
    "SELECT EXISTS (SELECT 1 FROM audit_event WHERE outcome <> 'granted' AND reason = 'audit_pruned')";
const FIRST_SEQ: &str = "SELECT MIN(seq) FROM audit_event WHERE writer_id = $1";
const COUNT_UP_TO: &str = "SELECT COUNT(*) FROM audit_event WHERE writer_id = $1 AND seq <= $2";
const REMOVE_UP_TO: &str = "DELETE FROM audit_event WHERE writer_id = $1 AND seq IN
    (SELECT seq FROM audit_event WHERE writer_id = $1 AND seq <= $2 ORDER BY seq LIMIT $3)";

/// A checkpoint as it is stored; nothing in it has been checked.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredCheckpoint {
    /// Its number.
    pub number: i64,
    /// The JWS.
    pub jws: String,
    /// Its time, Unix seconds: a copy.
    pub made_at: i64,
}

/// A segment as it is stored: a copy of what a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub struct StoredSegment {
    /// Whose chain.
    pub writer_id: String,
    /// The place of its last event.
    pub last_seq: i64,
    /// The place of its first one.
    pub first_seq: i64,
    /// The hash of its last event.
    pub hash: String,
    /// The number of the checkpoint.
    pub checkpoint: i64,
}

/// A chain that went on since it was last signed.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct UnsignedChain {
    /// Whose chain.
    pub writer_id: String,
    /// Where it stands.
    pub seq: i64,
    /// Up to where it is signed.
    pub covered: i64,
}

/// An event without its content.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Link {
    /// The place.
    pub seq: i64,
    /// The hash of the event before.
    pub prev_hash: String,
    /// Its own hash.
    pub hash: String,
}

/// The first number behind this one; the least there is has none before it, and is no number of ours either.
fn behind(after: i64) -> i64 {
    if after == i64::MIN { after } else { after.saturating_add(1) }
}

impl Store {
    /// Adds a checkpoint with its segments; false, and nothing done, if there is one of this number.
    pub async fn add_checkpoint(&self, checkpoint: &Checkpoint, jws: &str) -> Result<bool, StoreError> {
        let values = [checkpoint.number.into(), jws.into(), checkpoint.iat.into()];
        let mut steps = vec![Step::new(ADD, values).or_yield()];
        let row = |segment: &crate::domain::checkpoint::Segment| {
            vec![
                segment.writer.as_str().into(),
                segment.last.into(),
                segment.first.into(),
                segment.hash.as_str().into(),
                checkpoint.number.into(),
            ]
        };
        steps.extend(ADD_SEGMENTS.steps(checkpoint.segments.iter().map(row).collect()));
        self.commit(steps).await
    }

    /// The checkpoint of the highest number.
    pub async fn newest_checkpoint(&self) -> Result<Option<StoredCheckpoint>, StoreError> {
        Ok(on_db!(self, read db => sqlx::query_as(NEWEST).fetch_optional(db))?)
    }

    /// Checkpoints behind this number, in order.
    pub async fn list_checkpoints(&self, after: i64, limit: i64) -> Result<Vec<StoredCheckpoint>, StoreError> {
        Ok(on_db!(self, read db => sqlx::query_as(LIST).bind(behind(after)).bind(limit.max(0)).fetch_all(db))?)
    }

    /// The segments of the checkpoints behind `after`, up to `until`, in the order of checkpoint, writer and place.
    pub async fn list_segments(&self, after: i64, until: i64) -> Result<Vec<StoredSegment>, StoreError> {
        Ok(on_db!(self, read db => sqlx::query_as(SEGMENTS).bind(behind(after)).bind(until).fetch_all(db))?)
    }

    /// Chains with events that no checkpoint signed.
    pub async fn unsigned_chains(&self) -> Result<Vec<UnsignedChain>, StoreError> {
        Ok(on_db!(self, read db => sqlx::query_as(UNSIGNED).fetch_all(db))?)
    }

    /// The last event of a segment that ends there.
    pub async fn signed_head(&self, writer_id: &str, last_seq: i64) -> Result<ChainHead, StoreError> {
        let empty = ChainHead::empty(writer_id);
        if last_seq == 0 {
            return Ok(empty);
        }
        let hash: Option<String> = on_db!(self, read db => sqlx::query_scalar(COVERED_HASH)
            .bind(searchable(writer_id)).bind(last_seq).fetch_optional(db))?;
        Ok(ChainHead { seq: last_seq, hash: hash.unwrap_or_default(), ..empty })
    }

    /// Events of a chain behind `after` up to `until`, in order, without their content.
    pub async fn read_links(
        &self,
        writer_id: &str,
        after: i64,
        until: i64,
        limit: i64,
    ) -> Result<Vec<Link>, StoreError> {
        Ok(on_db!(self, read db => sqlx::query_as(LINKS)
            .bind(searchable(writer_id)).bind(after).bind(until).bind(limit.max(0)).fetch_all(db))?)
    }

    /// The newest checkpoint that was, with all before it, made before this time (Unix seconds); 0 if there is none.
    pub async fn newest_checkpoint_before(&self, at: i64) -> Result<i64, StoreError> {
        Ok(on_db!(self, read db => sqlx::query_scalar(NEWEST_BEFORE).bind(at).fetch_one(db))?)
    }

    /// The last event of each chain that this checkpoint or one before it signed, by writer.
    pub async fn cuts(&self, checkpoint: i64) -> Result<Vec<(String, i64)>, StoreError> {
        Ok(on_db!(self, read db => sqlx::query_as(CUTS).bind(checkpoint).fetch_all(db))?)
    }

    /// Whether old events were removed in order: the administrators' chain says so each time.
    pub async fn has_pruned(&self) -> Result<bool, StoreError> {
        Ok(on_db!(self, read db => sqlx::query_scalar(HAS_PRUNED).fetch_one(db))?)
    }

    /// The place of the first event of a chain that is still there.
    pub async fn first_seq(&self, writer_id: &str) -> Result<Option<i64>, StoreError> {
        Ok(on_db!(self, read db =>
            sqlx::query_scalar(FIRST_SEQ).bind(searchable(writer_id)).fetch_one(db))?)
    }

    /// How many events a chain has up to this place.
    pub async fn count_events_up_to(&self, writer_id: &str, seq: i64) -> Result<i64, StoreError> {
        Ok(
            on_db!(self, read db => sqlx::query_scalar(COUNT_UP_TO).bind(searchable(writer_id)).bind(seq).fetch_one(db))?,
        )
    }

    /// Removes the oldest events of a chain, not beyond this place, at most so many; returns how many went.
    pub async fn remove_events_up_to(&self, writer_id: &str, seq: i64, most: i64) -> Result<u64, StoreError> {
        in_tx!(self, tx => {
            let removed = sqlx::query(REMOVE_UP_TO).bind(searchable(writer_id)).bind(seq).bind(most);
            removed.execute(&mut *tx).await?.rows_affected()
        })
    }
}
