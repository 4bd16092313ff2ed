//! Exporting events with what proves them: JSON Lines that are checked without the database.
//!
//! A header, the checkpoints, each event with its path to a signed root, and an end that is signed over all of it.

use super::checkpoint::{CheckpointProblem, Notary};
use super::signed::Signed;
use crate::domain::checkpoint::Segment;
use crate::domain::hex::{self, Hash};
use crate::domain::merkle::Tree;
use crate::store::{EventFilter, StoreError, StoredEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

/// How many events are in memory at once.
const PAGE: i64 = 500;
/// The version of the form of the file.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`VERSION`].
    pub procura_audit_export: u32,
    /// Our issuer.
    pub issuer: String,
    /// When it was made, Unix seconds.
    pub made_at: i64,
    /// The newest checkpoint: later events are not in the file.
    pub up_to_checkpoint: i64,
    /// What was asked for; empty if everything was.
    pub filter: Map<String, Value>,
    /// The public keys that signed, as a JWKS.
    pub jwks: Value,
}

/// A checkpoint that some event in the file needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointLine {
    /// The JWS.
    pub checkpoint: String,
}

/// An event, exactly as it was hashed, and what leads from it to a signed root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventLine {
    /// Whose chain.
    pub writer_id: String,
    /// Its place.
    pub seq: i64,
    /// The hash of the event before.
    pub prev_hash: String,
    /// Its hash.
    pub hash: String,
    /// The event as JSON.
    pub body: String,
    /// The checkpoint that signed it.
    pub signed_by: i64,
    /// The hashes that lead to the root of its segment.
    pub path: Vec<String>,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndLine {
    /// A JWS of [`End`].
    pub end: String,
}

/// What the last line signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Our issuer.
    pub iss: String,
    /// When the export was made, Unix seconds.
    pub iat: i64,
    /// How many events the file has.
    pub events: u64,
    /// How many checkpoints.
    pub checkpoints: u64,
    /// The SHA-256, in hex, of every byte before the last line.
    pub sha256: String,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportProblem {
    /// The database, or checkpoints.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointProblem),
    /// What was to be exported is not whole.
    #[error("{0}; procura audit verify says more")]
    NotWhole(String),
    /// It cannot be written.
    #[error("the export cannot be written: {0}")]
    Write(#[from] std::io::Error),
    /// It cannot be signed.
    #[error("the export cannot be signed: {0}")]
    Unsigned(String),
}

impl From<StoreError> for ExportProblem {
    fn from(error: StoreError) -> Self {
        Self::Checkpoint(error.into())
    }
}

/// Who signs the end, and the public keys.
pub struct Signing<'a> {
    /// Signs the last line.
    pub sign: &'a (dyn Fn(&End) -> Result<String, String> + Sync),
    /// The thumbprint of the key that does.
    pub kid: &'a str,
    /// The public JWK of any key that signed.
    pub jwk: &'a (dyn Fn(&str) -> Option<Value> + Sync),
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// How many events.
    pub events: u64,
    /// How many checkpoints prove them.
    pub checkpoints: u64,
}

/// Counts and hashes what goes out.
struct Out<'a> {
    to: &'a mut (dyn Write + Send),
    digest: Sha256,
    done: Exported,
}

impl Out<'_> {
    fn line(&mut self, value: &impl Serialize) -> Result<(), ExportProblem> {
        let mut line = serde_json::to_vec(value).map_err(std::io::Error::from)?;
        line.push(b'\n');
        self.digest.update(&line);
        Ok(self.to.write_all(&line)?)
    }
}

impl Notary<'_> {
    /// Makes a checkpoint if there is something new, and writes every event that the filter finds (its `limit` does not
    /// count) with its proof.
    ///
    /// # Errors
    /// See [`ExportProblem`]. What was written by then has no last line, so that nobody takes it for whole.
    pub async fn export(
        &self,
        filter: &EventFilter,
        signing: &Signing<'_>,
        now: i64,
        to: &mut (dyn Write + Send),
    ) -> Result<Exported, ExportProblem> {
        if let Some((writer_id, problem)) = self.make(now, None).await?.broken.first() {
            return Err(ExportProblem::NotWhole(format!("chain {writer_id}: {problem}")));
        }
        let signed = Signed::read(self.store, self.reader, &BTreeMap::new()).await?;
        if let Some(fault) = signed.faults.first() {
            return Err(ExportProblem::NotWhole(format!("checkpoint {}: {}", fault.number, fault.problem)));
        }
        let (needed, numbers) = needed(&signed, self.store.find_places(filter).await?);
        let mut jws = BTreeMap::new();
        let mut kids = BTreeSet::from([signing.kid.to_owned()]);
        for number in numbers {
            for stored in self.store.list_checkpoints(number.saturating_sub(1), 1).await? {
                kids.extend(self.reader.read(&stored.jws).map(|read| read.kid));
                jws.insert(number, stored.jws);
            }
        }
        let mut out = Out { to, digest: Sha256::new(), done: Exported::default() };
        out.line(&Header {
            procura_audit_export: VERSION,
            issuer: self.issuer.to_owned(),
            made_at: now,
            up_to_checkpoint: signed.standing.number,
            filter: filter_members(filter),
            jwks: json!({"keys": kids.iter().filter_map(|kid| (signing.jwk)(kid)).collect::<Vec<_>>()}),
        })?;
        for checkpoint in jws.into_values() {
            out.done.checkpoints = out.done.checkpoints.saturating_add(1);
            out.line(&CheckpointLine { checkpoint })?;
        }
        for (number, segment, places) in needed {
            self.segment_events(number, &segment, &places, &mut out).await?;
        }
        let end = End {
            iss: self.issuer.to_owned(),
            iat: now,
            events: out.done.events,
            checkpoints: out.done.checkpoints,
            sha256: hex::encode(&out.digest.clone().finalize().into()),
        };
        out.line(&EndLine { end: (signing.sign)(&end).map_err(ExportProblem::Unsigned)? })?;
        out.to.flush()?;
        Ok(out.done)
    }

    /// The events of one segment that were asked for.
    async fn segment_events(
        &self,
        number: i64,
        segment: &Segment,
        places: &[i64],
        out: &mut Out<'_>,
    ) -> Result<(), ExportProblem> {
        let tree = Tree::of(&self.hashes(segment).await?);
        let root = tree.root().map(|root| hex::encode(&root));
        if root.as_ref() != Some(&segment.root) {
            return Err(ExportProblem::NotWhole(format!(
                "chain {}: checkpoint {number} signed other events {} to {}",
                segment.writer, segment.first, segment.last
            )));
        }
        for (first, last) in runs(places) {
            let mut next = first;
            while next <= last {
                let limit = PAGE.min(last.saturating_sub(next).saturating_add(1));
                let page = self.store.read_chain(&segment.writer, next.saturating_sub(1), limit).await?;
                if page.is_empty() {
                    return Err(ExportProblem::NotWhole(format!("chain {}: event {next} is missing", segment.writer)));
                }
                for StoredEvent { writer_id, seq, prev_hash, hash, body } in page {
                    let index = usize::try_from(seq.saturating_sub(segment.first)).unwrap_or(usize::MAX);
                    let path = tree.path(index).iter().map(hex::encode).collect();
                    out.done.events = out.done.events.saturating_add(1);
                    out.line(&EventLine { writer_id, seq, prev_hash, hash, body, signed_by: number, path })?;
                    next = seq.saturating_add(1);
                }
            }
        }
        Ok(())
    }

    async fn hashes(&self, segment: &Segment) -> Result<Vec<Hash>, ExportProblem> {
        let mut hashes = Vec::with_capacity(usize::try_from(segment.events()).unwrap_or_default());
        let mut after = segment.first.saturating_sub(1);
        while after < segment.last {
            let links = self.store.read_links(&segment.writer, after, segment.last, 4 * PAGE).await?;
            let gone = || format!("chain {}: event {} is missing", segment.writer, after.saturating_add(1));
            after = links.last().map(|link| link.seq).ok_or_else(|| ExportProblem::NotWhole(gone()))?;
            // What is no hash cannot be the leaf of any tree that was signed.
            hashes.extend(links.iter().map(|link| hex::decode(&link.hash).unwrap_or_default()));
        }
        Ok(hashes)
    }
}

/// A segment, the number of its checkpoint, and the places in it that were asked for.
type Needed = (i64, Segment, Vec<i64>);

/// What is signed and not removed of these places, by segment; and the checkpoints that are needed for it.
fn needed(signed: &Signed, places: Vec<(String, i64)>) -> (Vec<Needed>, BTreeSet<i64>) {
    let mut needed: Vec<Needed> = Vec::new();
    let mut numbers = BTreeSet::new();
    let mut expected = (String::new(), super::chain::Expected::default());
    for (writer_id, seq) in places {
        if expected.0 != writer_id {
            expected = (writer_id.clone(), signed.expected(&writer_id, None));
        }
        let cut = expected.1.cut.as_ref().map_or(0, |cut| cut.segment.last);
        // Those that have ended are behind us: places come in order.
        while expected.1.segments.front().is_some_and(|signed| signed.segment.last < seq) {
            expected.1.segments.pop_front();
        }
        let Some(of) = expected.1.segments.front().filter(|of| of.segment.has(seq) && seq > cut) else {
            continue;
        };
        numbers.insert(of.checkpoint);
        match needed.last_mut() {
            Some((_, segment, places)) if *segment == of.segment => places.push(seq),
            Some(_) | None => needed.push((of.checkpoint, of.segment.clone(), vec![seq])),
        }
    }
    (needed, numbers)
}

/// Places that follow each other, as first and last.
fn runs(places: &[i64]) -> Vec<(i64, i64)> {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for place in places {
        match runs.last_mut() {
            Some((_, last)) if last.saturating_add(1) == *place => *last = *place,
            Some(_) | None => runs.push((*place, *place)),
        }
    }
    runs
}

fn filter_members(filter: &EventFilter) -> Map<String, Value> {
    let members = [
        ("user", filter.user.as_ref().map(|text| json!(text))),
        ("client", filter.client.as_ref().map(|text| json!(text))),
        ("resource", filter.resource.as_ref().map(|text| json!(text))),
        ("outcome", filter.outcome.as_ref().map(|text| json!(text))),
        ("reason", filter.reason.as_ref().map(|text| json!(text))),
        ("since_ms", filter.since_ms.map(|at| json!(at))),
        ("until_ms", filter.until_ms.map(|at| json!(at))),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_follow_each_other_are_read_together() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[3, 4, 5, 9, 11, 12]), [(3, 5), (9, 9), (11, 12)]);
    }
}
