//! The newest checkpoint that somebody saw, kept where whoever writes to the database cannot change it.
//!
//! Without it a trail whose checkpoints were deleted would be signed anew from its beginning, whatever stands there now.

use super::checkpoint::CheckpointProblem;
use super::signed::OutsideLine;
use crate::domain::checkpoint::hash_of;
use crate::store::Store;
use std::sync::{Mutex, PoisonError};

/// Number and hash of a checkpoint.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Option<(i64, String)>>);

impl Seen {
    /// This checkpoint, by number and hash; none if nothing is known.
    pub fn of(newest: Option<(i64, String)>) -> Self {
        Self(Mutex::new(newest))
    }

    /// # Errors
    /// The database has no such checkpoint, or another one in its place.
    pub(super) async fn is_still_there(&self, store: &Store) -> Result<(), CheckpointProblem> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((number, hash)) = seen else {
            return Ok(());
        };
        let stored = store.list_checkpoints(number.saturating_sub(1), 1).await?;
        let is_there = stored.first().is_some_and(|stored| stored.number == number && hash_of(&stored.jws) == hash);
        if is_there { Ok(()) } else { Err(CheckpointProblem::Replaced(number)) }
    }

    /// There is a newer one.
    pub(super) fn note(&self, number: i64, hash: String) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref().is_none_or(|(known, _)| *known < number) {
            *seen = Some((number, hash));
        }
    }
}

/// The newest checkpoint in lines that were kept outside. Those that cannot be read, such as half a line at the beginning of
/// the end of a file, are passed over.
pub fn newest_in(lines: &[u8]) -> Option<(i64, String)> {
    let lines = lines.split(|byte| *byte == b'\n');
    let read = lines.filter_map(|line| serde_json::from_slice::<OutsideLine>(line).ok());
    let newest = read.max_by_key(|line| line.number)?;
    Some((newest.number, hash_of(&newest.checkpoint)))
}
