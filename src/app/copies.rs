//! Copies of checkpoints outside of the database, in a file and at a URL: each server writes every one, whoever made
//! it.

use super::{App, FETCH_BYTES, FETCH_TIMEOUT};
use crate::audit::seen::newest_kept;
use crate::audit::signed::OutsideLine;
use crate::config::EvidenceSettings;
use crate::domain::checkpoint::{ReadCheckpoint, hash_of};
use crate::store::StoredCheckpoint;
use crate::tokens::checkpoint::EvidenceKeys;
use crate::upstream::fetch::Fetcher;
use serde_json::Value;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use tokio::fs::OpenOptions;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use url::Url;

/// How many go out at a time.
const PAGE: i64 = 100;
/// After a failure the next try is so many looks later, or fewer.
const WAIT_AT_MOST: u32 = 150;

/// Where copies go, and how far they are.
#[derive(Debug)]
pub(super) struct Copies {
    file: Option<Place<PathBuf>>,
    url: Option<Place<Url>>,
    fetcher: Fetcher,
}

/// One of the two.
#[derive(Debug)]
struct Place<T> {
    at: T,
    /// The last checkpoint that is there; none as long as that is not known.
    last: Option<i64>,
    /// Failures in a row, and how many looks to wait.
    failures: u32,
    wait: u32,
}

impl<T> Place<T> {
    fn new(at: T) -> Self {
        Self { at, last: None, failures: 0, wait: 0 }
    }

    /// False while it is too soon after a failure.
    fn may_try(&mut self) -> bool {
        self.wait = self.wait.saturating_sub(1);
        self.wait == 0
    }

    fn ended(&mut self, app: &App, to: &'static str, result: Result<u64, String>) {
        match result {
            Ok(count) => {
                self.failures = 0;
                app.metrics.count_checkpoint_copies(to, "ok", count);
            }
            Err(problem) => {
                self.failures = self.failures.saturating_add(1);
                self.wait = 1_u32.checked_shl(self.failures).unwrap_or(WAIT_AT_MOST).min(WAIT_AT_MOST);
                app.metrics.count_checkpoint_copies(to, "failed", 1);
                tracing::error!(to, problem, "a checkpoint could not be written outside; it is tried again");
            }
        }
    }
}

impl Copies {
    pub(super) fn new(settings: &EvidenceSettings) -> Self {
        Self {
            file: settings.checkpoint_file.clone().map(Place::new),
            url: settings.checkpoint_url.clone().map(Place::new),
            fetcher: Fetcher::new(FETCH_TIMEOUT, FETCH_BYTES),
        }
    }

    /// Writes what is new.
    pub(super) async fn deliver(&mut self, app: &App) {
        if let Some(file) = self.file.as_mut()
            && (file.failures == 0 || file.may_try())
        {
            let result = to_file(app, file).await;
            file.ended(app, "file", result);
        }
        if let Some(url) = self.url.as_mut()
            && (url.failures == 0 || url.may_try())
        {
            let result = to_url(app, url, &self.fetcher).await;
            url.ended(app, "url", result);
        }
    }
}

/// What is behind the last line of the file; everything if there is no file.
async fn to_file(app: &App, file: &mut Place<PathBuf>) -> Result<u64, String> {
    let path = file.at.clone();
    let cannot = |problem: std::io::Error| format!("{}: {problem}", path.display());
    let mut last = match file.last {
        Some(last) => last,
        None => newest_kept(&path).await.map_err(cannot)?.map_or(0, |(number, _)| number),
    };
    file.last = Some(last);
    let mut count: u64 = 0;
    loop {
        let lines = lines(app, last).await?;
        let Some((newest, _)) = lines.last() else { break };
        last = *newest;
        let mut text = String::new();
        for (_, line) in &lines {
            text.push_str(line);
            text.push('\n');
        }
        append(&path, text.as_bytes()).await.map_err(cannot)?;
        file.last = Some(last);
        count = count.saturating_add(u64::try_from(lines.len()).unwrap_or_default());
    }
    Ok(count)
}

async fn append(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).read(true).open(path).await?;
    // A line that a server did not finish stays by itself.
    let length = file.metadata().await?.len();
    let mut ends_well = length == 0;
    if length > 0 {
        file.seek(SeekFrom::End(-1)).await?;
        ends_well = file.read_u8().await? == b'\n';
    }
    if !ends_well {
        file.write_all(b"\n").await?;
    }
    file.write_all(text).await?;
    file.flush().await?;
    file.sync_data().await
}

/// What is behind the last one that arrived; at the start the newest one, which binds all before it.
async fn to_url(app: &App, url: &mut Place<Url>, fetcher: &Fetcher) -> Result<u64, String> {
    let mut last = match url.last {
        Some(last) => last,
        None => match app.store.newest_checkpoint().await.map_err(|problem| problem.to_string())? {
            Some(newest) => newest.number.saturating_sub(1),
            None => return Ok(0),
        },
    };
    url.last = Some(last);
    let mut count: u64 = 0;
    loop {
        let lines = lines(app, last).await?;
        if lines.is_empty() {
            return Ok(count);
        }
        for (number, line) in lines {
            let posted = fetcher.post_json(&url.at, line.into_bytes()).await;
            posted.map_err(|problem| without_secrets(&problem.to_string(), &url.at))?;
            last = number;
            url.last = Some(last);
            count = count.saturating_add(1);
        }
    }
}

/// A user, a password or a query may be what the receiver knows us by.
fn without_secrets(problem: &str, url: &Url) -> String {
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    if shown.query().is_some() {
        shown.set_query(Some("..."));
    }
    problem.replace(url.as_str(), shown.as_str())
}

/// The next checkpoints behind this number, as lines.
async fn lines(app: &App, after: i64) -> Result<Vec<(i64, String)>, String> {
    let stored = app.store.list_checkpoints(after, PAGE).await.map_err(|problem| problem.to_string())?;
    if stored.is_empty() {
        return Ok(Vec::new());
    }
    let records = app.store.list_signing_keys().await.map_err(|problem| problem.to_string())?;
    let keys = EvidenceKeys::of_records(&records, Some(&app.secrets_key));
    stored.iter().map(|stored| Ok((stored.number, outside_line(stored, &keys)?))).collect()
}

/// A checkpoint as it is written outside.
///
/// # Errors
/// It is not whole: what was tampered with is not handed on as if it were evidence.
pub fn outside_line(stored: &StoredCheckpoint, keys: &EvidenceKeys) -> Result<String, String> {
    let signed = keys.read(&stored.jws).map_err(|problem| format!("checkpoint {}: {problem}", stored.number))?;
    let jwk = keys.jwk(&signed.kid).cloned().map_or(Value::Null, Value::Object);
    let line = OutsideLine { number: stored.number, hash: hash_of(&stored.jws), checkpoint: stored.jws.clone(), jwk };
    serde_json::to_string(&line).map_err(|problem| problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_receiver_knows_us_by_is_not_told() {
        let url: Url = "https://us:secret@logs.example/in?key=secret".parse().unwrap();
        let told = without_secrets(&format!("{url} answered with status 500"), &url);
        assert_eq!(told, "https://logs.example/in?... answered with status 500");
    }

    #[tokio::test]
    async fn what_is_in_the_file_is_read_from_its_end_and_a_torn_line_does_no_harm() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checkpoints.jsonl");
        assert_eq!(newest_kept(&path).await.unwrap(), None);
        let line = |number| {
            let line = OutsideLine { number, hash: String::new(), checkpoint: "x".repeat(9_000), jwk: Value::Null };
            serde_json::to_string(&line).unwrap() + "\n"
        };
        for number in 1..=20 {
            append(&path, line(number).as_bytes()).await.unwrap();
        }
        assert_eq!(newest_kept(&path).await.unwrap().unwrap().0, 20);
        append(&path, &line(21).as_bytes()[..500]).await.unwrap();
        assert_eq!(newest_kept(&path).await.unwrap().unwrap().0, 20);
        let torn = directory.path().join("torn.jsonl");
        append(&torn, b"\n").await.unwrap();
        assert_eq!(newest_kept(&torn).await.unwrap(), None);
        append(&torn, &line(1).as_bytes()[..500]).await.unwrap();
        let problem = newest_kept(&torn).await.unwrap_err();
        assert_eq!(problem.to_string(), "no line of it is a checkpoint");
        assert!(newest_kept(directory.path()).await.is_err(), "a directory");
        append(&path, line(21).as_bytes()).await.unwrap();
        assert_eq!(newest_kept(&path).await.unwrap().unwrap().0, 21);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!((text.lines().count(), text.ends_with('\n')), (22, true));
    }
}
