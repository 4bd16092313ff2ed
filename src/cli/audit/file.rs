//! `procura audit verify FILE`: an exported file, without any database.

use crate::audit::proof::{ExportReport, ReadExport, SignedEnd, check};
use crate::audit::words::{count, moment, printable};
use crate::cli::{CliError, Context, output};
use crate::domain::checkpoint::{ReadCheckpoint, SignedCheckpoint};
use crate::tokens::checkpoint::{EXPORT_TYP, EvidenceKeys, Signed};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// By the keys in the file, of which those of the one who asks are believed.
struct Keys<'a> {
    keys: EvidenceKeys,
    pins: Option<&'a BTreeSet<String>>,
}

impl ReadExport for Keys<'_> {
    fn keys(&mut self, jwks: &Value) -> Result<(), String> {
        self.keys = EvidenceKeys::of_jwks(jwks).map_err(|problem| format!("its jwks: {problem}"))?;
        if let Some(pins) = self.pins {
            self.keys.pin(pins);
        }
        Ok(())
    }

    fn checkpoint(&self, jws: &str) -> Result<SignedCheckpoint, String> {
        self.keys.read(jws).map_err(|problem| format!("the checkpoint: {problem}"))
    }

    fn end(&self, jws: &str) -> Result<SignedEnd, String> {
        let read = self.keys.verify(EXPORT_TYP, jws).map_err(|problem| format!("the end of the file: {problem}"));
        read.map(|Signed { claims: end, kid, vouched }| SignedEnd { end, kid, vouched })
    }
}

/// Check an exported file.
pub(super) fn run(context: &Context, path: &Path, pins: Option<&BTreeSet<String>>) -> Result<(), CliError> {
    let cannot = |problem: &dyn std::fmt::Display| CliError::new(format!("{}: {problem}", path.display()));
    let file = File::open(path).map_err(|problem| cannot(&problem))?;
    let mut keys = Keys { keys: EvidenceKeys::default(), pins };
    let report = check(&mut BufReader::new(file), &mut keys);
    let report = report.map_err(|fault| cannot(&printable(&fault.to_string())))?;
    let strangers: Vec<&str> =
        report.keys.iter().filter(|(_, vouched)| !**vouched).map(|(kid, _)| kid.as_str()).collect();
    if pins.is_some() && !strangers.is_empty() {
        let kids = strangers.join(", ");
        return Err(cannot(&format!("signed by keys that are none of those to be believed: {kids}")));
    }
    if context.json {
        output::json(&report);
    } else {
        output::text(&told(&report, pins.is_some()));
    }
    Ok(())
}

/// What is proven, and what is not.
fn told(report: &ExportReport, is_pinned: bool) -> String {
    let (events, issuer) = (count(report.events, "event"), printable(&report.issuer));
    let kids: Vec<&str> = report.keys.keys().map(String::as_str).collect();
    let kids = kids.join(", ");
    let mut lines = vec![format!("whole: {events}, {} of {issuer}", count(report.checkpoints, "checkpoint"))];
    if let Some(at) = report.newest_checkpoint_at {
        lines.push(format!(
            "proven: each event stood in the trail, in its place and word for word, when its checkpoint was signed; the \
             newest of these is of {}",
            moment(at)
        ));
    }
    lines.push(format!(
        "proven: the file is as the server wrote it at {}; nothing in it was changed, added or taken out",
        moment(report.made_at)
    ));
    let asked: Vec<String> = report.filter.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let asked = if asked.is_empty() { "every event".to_owned() } else { printable(&asked.join(", ")) };
    lines.push(format!(
        "not proven: that these are all there were of what was asked for ({asked}), up to checkpoint {}; that is the \
         server's word",
        report.up_to_checkpoint
    ));
    lines.push(if is_pinned {
        format!("keys: {kids}; all are among those to be believed")
    } else {
        format!(
            "not proven: whose keys these are ({kids}). They are in the file itself, and whoever makes up a file makes up \
             its keys: compare them with --key or --jwks"
        )
    });
    lines.join("\n")
}
