//! Checks an export, without the database: every event leads to a root that a checkpoint signed, and the end is signed
//! over all of it.

use super::export::{CheckpointLine, End, EndLine, EventLine, Header, VERSION};
use crate::domain::checkpoint::{Checkpoint, Segment, SignedCheckpoint};
use crate::domain::event::{AuditEvent, ChainedEvent};
use crate::domain::hex::{self, Hash};
use crate::domain::merkle::root_of_path;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::BufRead;

/// The longest line that is read, in bytes.
const LINE_AT_MOST: u64 = 16 * 1024 * 1024;

/// A signature that was verified: by which key, and whether somebody but the file vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedEnd {
    /// What was signed.
    pub end: End,
    /// The thumbprint of the key.
    pub kid: String,
    /// True if the key was given by whoever asks.
    pub vouched: bool,
}

/// Verifies the signatures in an export by the keys that its header has. The JOSE is elsewhere.
pub trait ReadExport {
    /// Takes in the JWKS of the header.
    ///
    /// # Errors
    /// It cannot be read.
    fn keys(&mut self, jwks: &Value) -> Result<(), String>;
    /// The checkpoint in a JWS.
    ///
    /// # Errors
    /// In words.
    fn checkpoint(&self, jws: &str) -> Result<SignedCheckpoint, String>;
    /// The end in a JWS.
    ///
    /// # Errors
    /// In words.
    fn end(&self, jws: &str) -> Result<SignedEnd, String>;
}

/// What an export proves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExportReport {
    /// The issuer that the keys signed for.
    pub issuer: String,
    /// When it was made, Unix seconds.
    pub made_at: i64,
    /// What was asked for.
    pub filter: Map<String, Value>,
    /// The newest checkpoint at that time.
    pub up_to_checkpoint: i64,
    /// How many events it has, each of them proven.
    pub events: u64,
    /// How many checkpoints prove them.
    pub checkpoints: u64,
    /// When the newest of these was made, Unix seconds.
    pub newest_checkpoint_at: Option<i64>,
    /// The keys that signed, by thumbprint; true if the key was given by whoever asks.
    pub keys: BTreeMap<String, bool>,
}

/// What is wrong with an export, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ExportFault {
    /// From 1.
    pub line: u64,
    /// In words.
    pub problem: String,
}

/// Reads an export to its end.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(file: &mut dyn BufRead, reader: &mut dyn ReadExport) -> Result<ExportReport, ExportFault> {
    let mut checking = Checking { reader, line: 0, digest: Sha256::new(), report: None, checkpoints: BTreeMap::new() };
    let done = checking.run(file);
    done.map_err(|problem| ExportFault { line: checking.line.max(1), problem })
}

struct Checking<'a> {
    reader: &'a mut dyn ReadExport,
    line: u64,
    digest: Sha256,
    report: Option<ExportReport>,
    checkpoints: BTreeMap<i64, Checkpoint>,
}

impl Checking<'_> {
    fn run(&mut self, file: &mut dyn BufRead) -> Result<ExportReport, String> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = std::io::Read::take(&mut *file, LINE_AT_MOST).read_until(b'\n', &mut line);
            let length = length.map_err(|problem| format!("cannot be read: {problem}"))?;
            self.line = self.line.saturating_add(1);
            if length == 0 {
                return Err("the file was cut short: it has no last line".to_owned());
            }
            let Some(text) = line.strip_suffix(b"\n") else {
                return Err("the file was cut short: this line has no end".to_owned());
            };
            if text.starts_with(br#"{"end":"#) {
                let end: EndLine = read(text)?;
                let mut rest = [0; 1];
                let more =
                    std::io::Read::read(file, &mut rest).map_err(|problem| format!("cannot be read: {problem}"))?;
                if more > 0 {
                    self.line = self.line.saturating_add(1);
                    return Err("something comes behind the last line".to_owned());
                }
                return self.end(&end);
            }
            self.digest.update(&line);
            match &mut self.report {
                None => self.header(text)?,
                Some(_) if text.starts_with(br#"{"checkpoint":"#) => self.checkpoint(&read(text)?)?,
                Some(_) => self.event(&read(text)?)?,
            }
        }
    }

    fn header(&mut self, text: &[u8]) -> Result<(), String> {
        let header: Header = read(text).map_err(|problem| format!("this is no export of an audit trail: {problem}"))?;
        if header.procura_audit_export != VERSION {
            let version = header.procura_audit_export;
            return Err(format!("version {version} of the form; this program knows version {VERSION}"));
        }
        self.reader.keys(&header.jwks)?;
        self.report = Some(ExportReport {
            issuer: header.issuer,
            made_at: header.made_at,
            filter: header.filter,
            up_to_checkpoint: header.up_to_checkpoint,
            events: 0,
            checkpoints: 0,
            newest_checkpoint_at: None,
            keys: BTreeMap::new(),
        });
        Ok(())
    }

    fn checkpoint(&mut self, line: &CheckpointLine) -> Result<(), String> {
        let SignedCheckpoint { checkpoint, kid, vouched } = self.reader.checkpoint(&line.checkpoint)?;
        let report = self.report.as_mut().ok_or("there is no header before it")?;
        if checkpoint.iss != report.issuer {
            return Err(format!("a checkpoint of {}, not of {}", checkpoint.iss, report.issuer));
        }
        report.checkpoints = report.checkpoints.saturating_add(1);
        report.newest_checkpoint_at = report.newest_checkpoint_at.max(Some(checkpoint.iat));
        report.keys.insert(kid, vouched);
        self.checkpoints.insert(checkpoint.number, checkpoint);
        Ok(())
    }

    fn event(&mut self, line: &EventLine) -> Result<(), String> {
        let EventLine { writer_id, seq, prev_hash, hash, body, signed_by, path } = line;
        let digest = ChainedEvent::digest(writer_id, *seq, prev_hash, body);
        if !hex::is(hash, &digest) {
            return Err(format!("changed: the event's hash is {hash}, but its content has {}", hex::encode(&digest)));
        }
        serde_json::from_str::<AuditEvent>(body).map_err(|problem| format!("its body cannot be read: {problem}"))?;
        let checkpoint = self.checkpoints.get(signed_by);
        let checkpoint = checkpoint.ok_or_else(|| format!("there is no checkpoint {signed_by} before it"))?;
        let of_chain = checkpoint.segments.iter().find(|segment| segment.writer == *writer_id && segment.has(*seq));
        let segment =
            of_chain.ok_or_else(|| format!("checkpoint {signed_by} did not sign event {seq} of {writer_id}"))?;
        if !leads_to(segment, *seq, &digest, path) {
            return Err(format!("not proven: its path does not lead to the root that checkpoint {signed_by} signed"));
        }
        if let Some(report) = &mut self.report {
            report.events = report.events.saturating_add(1);
        }
        Ok(())
    }

    fn end(&mut self, line: &EndLine) -> Result<ExportReport, String> {
        let mut report = self.report.take().ok_or("there is no header")?;
        let SignedEnd { end, kid, vouched } = self.reader.end(&line.end)?;
        let digest: Hash = self.digest.clone().finalize().into();
        if !hex::is(&end.sha256, &digest) {
            return Err("the file was changed: it is not the one that was signed".to_owned());
        }
        let is_so = end.events == report.events
            && end.checkpoints == report.checkpoints
            && end.iss == report.issuer
            && end.iat == report.made_at;
        if !is_so {
            return Err(format!("the end counts {} events and {} checkpoints", end.events, end.checkpoints));
        }
        report.keys.insert(kid, vouched);
        Ok(report)
    }
}

fn leads_to(segment: &Segment, seq: i64, digest: &Hash, path: &[String]) -> bool {
    let number = |number: i64| u64::try_from(number).ok();
    let path: Option<Vec<Hash>> = path.iter().map(|text| hex::decode(text)).collect();
    let root = || root_of_path(digest, number(seq.checked_sub(segment.first)?)?, number(segment.events())?, &path?);
    root().is_some_and(|root| hex::is(&segment.root, &root))
}

fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|problem| format!("cannot be read: {problem}"))
}
