//! `procura audit verify`: the trail in the database, or an exported file.

use super::file;
use crate::audit::signed::{KeptOutside, kept_outside};
use crate::audit::verify::{ChainReport, verify};
use crate::audit::words::{count, moment, printable};
use crate::cli::{CliError, Context, output};
use crate::store::Store;
use crate::tokens::checkpoint::EvidenceKeys;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file that `procura audit export` wrote; without it the trail in the database.
    file: Option<PathBuf>,
    /// Checkpoints that were kept outside: compare with them, and believe the keys in them.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    checkpoints: Option<PathBuf>,
    /// Believe only the keys of this JWKS.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// Believe only the key of this RFC 7638 thumbprint, which is its `kid`; repeat for several.
    // One thumbprint in 64 begins with a hyphen.
    #[arg(long, value_name = "THUMBPRINT", allow_hyphen_values = true)]
    key: Vec<String>,
}

/// Check the trail, or an exported file.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let pins = pins(args.jwks.as_deref(), args.key)?;
    match args.file {
        Some(path) => file::run(context, &path, pins.as_ref()),
        None => database(context, args.checkpoints.as_deref(), pins).await,
    }
}

/// The thumbprints of the keys to believe; none if none were given.
fn pins(jwks: Option<&Path>, keys: Vec<String>) -> Result<Option<BTreeSet<String>>, CliError> {
    let mut pins: BTreeSet<String> = keys.into_iter().collect();
    if let Some(path) = jwks {
        let cannot = |problem: String| CliError::new(format!("{}: {problem}", path.display()));
        let value: Value = serde_json::from_str(&read(path)?).map_err(|problem| cannot(problem.to_string()))?;
        let known = EvidenceKeys::of_jwks(&value).map_err(cannot)?.kids();
        if known.is_empty() {
            return Err(cannot("it has no key that can be used".to_owned()));
        }
        pins.extend(known);
    }
    Ok(Some(pins).filter(|pins| !pins.is_empty()))
}

fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|problem| CliError::new(format!("{}: {problem}", path.display())))
}

async fn database(
    context: &Context,
    checkpoints: Option<&Path>,
    pins: Option<BTreeSet<String>>,
) -> Result<(), CliError> {
    let config = context.config()?;
    // Before the database is read: what is in the file by now must be in it.
    let outside = checkpoints.map(|path| {
        let named = |problem| CliError::new(format!("{}: {problem}", path.display()));
        kept_outside(&read(path)?).map_err(named)
    });
    let outside = outside.transpose()?.unwrap_or_default();
    let store = context.store(&config).await?;
    let (mut keys, has_secrets_key) = keys(&config, &store).await?;
    // Whoever keeps the copies keeps the keys with them.
    let kept = EvidenceKeys::of_jwks(&json!({"keys": outside.keys})).map_err(CliError::new)?;
    let kept_kids = kept.kids();
    keys.merge(kept);
    match &pins {
        Some(pins) => keys.pin(pins),
        None if !kept_kids.is_empty() => {
            let vouched = keys.vouched_kids().into_iter().chain(kept_kids).collect();
            keys.pin(&vouched);
        }
        None => {}
    }
    let report = verify(&store, &keys, &outside.checkpoints).await?;
    if context.json {
        output::json(&report);
    } else {
        for problem in &keys.skipped {
            output::note(&format!("a key in the database was not believed: {}", printable(problem)));
        }
        tell(&report, &outside, has_secrets_key || pins.is_some());
    }
    verdict(&report, pins.is_some())
}

/// The keys of the database, and whether the key that sealed them is at hand.
async fn keys(config: &crate::config::Config, store: &Store) -> Result<(EvidenceKeys, bool), CliError> {
    let records = store.list_signing_keys().await?;
    // Whether there is one is not asked of the database: whoever can write to it can take that row away.
    let key = config.known_secrets_key().map_err(|problem| CliError::new(problem.to_string()))?;
    Ok((EvidenceKeys::of_records(&records, key.as_ref()), key.is_some()))
}

fn tell(report: &ChainReport, outside: &KeptOutside, is_vouched: bool) {
    for line in &outside.unreadable {
        output::note(&format!("line {line} of the checkpoints kept outside cannot be read and was passed over"));
    }
    for fault in &report.checkpoint_faults {
        output::note(&format!("checkpoint {}: {}", fault.number, printable(&fault.problem)));
    }
    for fault in &report.faults {
        output::note(&format!(
            "chain {} event {}: {}",
            printable(&fault.writer_id),
            fault.seq,
            printable(&fault.problem)
        ));
    }
    if !report.is_whole() {
        return;
    }
    let mut lines = vec![format!(
        "whole: {} with {}",
        count(u64::try_from(report.chains.len()).unwrap_or(u64::MAX), "chain"),
        count(report.events, "event")
    )];
    if let Some(newest) = &report.newest_checkpoint {
        lines.push(format!(
            "signed: {} by {}, the newest of {} (number {}, hash {}, key {})",
            count(report.signed_events, "event"),
            count(report.checkpoints, "checkpoint"),
            moment(newest.made_at),
            newest.number,
            newest.hash,
            newest.kid
        ));
    }
    let unsigned = report.events.saturating_sub(report.signed_events);
    if unsigned > 0 {
        lines.push(format!("not signed yet: {}, newer than any checkpoint", count(unsigned, "event")));
    }
    for cut in report.pruned.iter().filter(|cut| cut.seq > 0) {
        let left = if cut.left > 0 { format!("; {} of them are still there", cut.left) } else { String::new() };
        lines.push(format!(
            "pruned: chain {} up to event {} with hash {}, signed by checkpoint {}{left}",
            cut.writer_id, cut.seq, cut.hash, cut.checkpoint
        ));
    }
    if report.compared > 0 {
        lines.push(format!("kept outside: {} compared, the same", count(report.compared, "checkpoint")));
    } else if report.checkpoints > 0 {
        lines.push(
            "not compared: checkpoints kept outside (--checkpoints FILE), by which alone it shows that the newest events \
             were removed together with their checkpoints"
                .to_owned(),
        );
    }
    if !is_vouched && !report.unvouched_keys.is_empty() {
        lines.push(format!(
            "not vouched for: the keys of the signatures ({}) are just those in the database, since its secrets_key is \
             not at hand; name them with --key or --jwks",
            report.unvouched_keys.join(", ")
        ));
    }
    output::text(&lines.join("\n"));
}

fn verdict(report: &ChainReport, is_pinned: bool) -> Result<(), CliError> {
    if report.chains.is_empty() && !report.is_whole() {
        let rows =
            count(u64::try_from(report.faults.len() + report.checkpoint_faults.len()).unwrap_or(u64::MAX), "row");
        return Err(CliError::new(format!("broken: {rows} that cannot be read; nothing else was looked at")));
    }
    if !report.is_whole() {
        let chains = count(u64::try_from(report.chains.len()).unwrap_or(u64::MAX), "chain");
        let mut broken = Vec::new();
        if !report.faults.is_empty() {
            broken.push(format!("{} of {chains}", report.faults.len()));
        }
        if !report.checkpoint_faults.is_empty() {
            let of = count(report.checkpoints, "checkpoint");
            broken.push(format!("{} faults in {of}", report.checkpoint_faults.len()));
        }
        return Err(CliError::new(format!("broken: {}", broken.join(", "))));
    }
    if is_pinned && !report.unvouched_keys.is_empty() {
        let kids = report.unvouched_keys.join(", ");
        return Err(CliError::new(format!("signed by keys that are none of those to be believed: {kids}")));
    }
    Ok(())
}
