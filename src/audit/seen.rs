//! The newest checkpoint that somebody saw, kept where whoever writes to the database cannot change it.
//!
//! Without it a trail whose checkpoints were deleted would be signed anew from its beginning, whatever stands there now.

use super::checkpoint::CheckpointProblem;
use super::signed::OutsideLine;
use crate::domain::checkpoint::hash_of;
use crate::store::Store;
use std::io::{Error, ErrorKind, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::fs::OpenOptions;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// The end of the file that is read to see what is in it: more than one line.
const END_BYTES: u64 = 128 * 1024;

/// Number and hash of a checkpoint.
type Known = (i64, String);

/// The newest checkpoint, as far as is known.
#[derive(Debug, Default)]
pub struct Seen {
    /// Where copies were kept, until it was read.
    unread: Mutex<Option<PathBuf>>,
    known: Mutex<Option<Known>>,
}

impl Seen {
    /// What is known is in this file of copies, which is read before anything is signed; nothing without one.
    pub fn kept_in(file: Option<PathBuf>) -> Self {
        Self { unread: Mutex::new(file), known: Mutex::default() }
    }

    fn unread(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// The database has no such checkpoint, or another one in its place; or what was kept cannot be read.
    pub(super) async fn is_still_there(&self, store: &Store) -> Result<(), CheckpointProblem> {
        let unread = self.unread().clone();
        if let Some(file) = unread {
            let kept = newest_kept(&file).await;
            let kept = kept.map_err(|problem| CheckpointProblem::Unread(file.display().to_string(), problem))?;
            if let Some((number, hash)) = kept {
                self.note(number, hash);
            }
            *self.unread() = None;
        }
        let seen = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((number, hash)) = seen else {
            return Ok(());
        };
        let stored = store.list_checkpoints(number.saturating_sub(1), 1).await?;
        let is_there = stored.first().is_some_and(|stored| stored.number == number && hash_of(&stored.jws) == hash);
        if is_there { Ok(()) } else { Err(CheckpointProblem::Replaced(number)) }
    }

    /// There is a newer one.
    pub(super) fn note(&self, number: i64, hash: String) {
        let mut seen = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref().is_none_or(|(known, _)| *known < number) {
            *seen = Some((number, hash));
        }
    }
}

/// The newest checkpoint in the last lines of a file of copies; none if there is no file, or nothing in it. Lines that cannot
/// be read, such as half a line, are passed over if another can.
///
/// # Errors
/// The file is there and cannot be read, or no line of it is a checkpoint.
pub async fn newest_kept(path: &Path) -> std::io::Result<Option<Known>> {
    let mut file = match OpenOptions::new().read(true).open(path).await {
        Ok(file) => file,
        Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(None),
        Err(problem) => return Err(problem),
    };
    let length = file.metadata().await?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES))).await?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).await?;
    let lines = end.split(|byte| *byte == b'\n');
    let read = lines.filter_map(|line| serde_json::from_slice::<OutsideLine>(line).ok());
    match read.max_by_key(|line| line.number) {
        Some(newest) => Ok(Some((newest.number, hash_of(&newest.checkpoint)))),
        None if end.trim_ascii().is_empty() => Ok(None),
        None => Err(Error::new(ErrorKind::InvalidData, "no line of it is a checkpoint")),
    }
}
