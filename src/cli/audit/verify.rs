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
    let given = Given::read(args.jwks.as_deref(), args.key)?;
    match args.file {
        Some(path) => file::run(context, &path, given.pins.as_ref()),
        None => database(context, args.checkpoints.as_deref(), given).await,
    }
}

/// What was said of the keys to believe.
struct Given {
    /// Their thumbprints; none if none were given.
    pins: Option<BTreeSet<String>>,
    /// Those that were given whole.
    keys: EvidenceKeys,
}

impl Given {
    fn read(jwks: Option<&Path>, kids: Vec<String>) -> Result<Self, CliError> {
        let mut pins: BTreeSet<String> = kids.into_iter().collect();
        let mut keys = EvidenceKeys::default();
        if let Some(path) = jwks {
            let cannot = |problem: String| CliError::new(format!("{}: {problem}", path.display()));
            let value: Value = serde_json::from_str(&read(path)?).map_err(|problem| cannot(problem.to_string()))?;
            keys = EvidenceKeys::of_jwks(&value).map_err(cannot)?;
            if keys.kids().is_empty() {
                return Err(cannot("it has no key that can be used".to_owned()));
            }
            pins.extend(keys.kids());
        }
        Ok(Self { pins: Some(pins).filter(|pins| !pins.is_empty()), keys })
    }
}

fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|problem| CliError::new(format!("{}: {problem}", path.display())))
}

async fn database(context: &Context, checkpoints: Option<&Path>, given: Given) -> Result<(), CliError> {
    let Given { pins, keys: given } = given;
    let config = context.config_to_read()?;
    // Before the database is read: what is in the file by now must be in it.
    let outside = outside(checkpoints, config.evidence.checkpoint_file.as_deref())?;
    let store = context.store_to_read(&config).await?;
    let (mut keys, has_secrets_key) = keys(&config, &store).await?;
    keys.merge(given);
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

/// The checkpoints that were kept outside: in the file that was named, or else in that of the configuration.
fn outside(named: Option<&Path>, configured: Option<&Path>) -> Result<KeptOutside, CliError> {
    // The servers may run elsewhere, with the file beside them.
    let configured = configured.filter(|path| named.is_none() && path.exists());
    let Some(path) = named.or(configured) else { return Ok(KeptOutside::default()) };
    let kept = kept_outside(&read(path)?);
    kept.map_err(|problem| CliError::new(format!("{}: {problem}", path.display())))
}

/// The keys of the database, and whether the key that sealed them is at hand.
async fn keys(config: &crate::config::Config, store: &Store) -> Result<(EvidenceKeys, bool), CliError> {
    let records = store.list_signing_keys().await?;
    // Whether there is one is not asked of the database: whoever can write to it can take that row away.
    let key = config.known_secrets_key().unwrap_or_else(|problem| {
        output::note(&format!("the secrets_key is not at hand: {problem}"));
        None
    });
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
    if !report.is_whole() || report.chains.is_empty() {
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
    if let Some(newest) = outside.checkpoints.keys().next_back() {
        let behind = report.newest_checkpoint.as_ref().is_none_or(|known| known.number > *newest);
        let later = if behind {
            "; whether events that came later were removed together with their checkpoints, a newer copy alone would show"
        } else {
            ""
        };
        let compared = count(report.compared, "checkpoint");
        lines.push(format!("kept outside: {compared} compared, the same; the newest is number {newest}{later}"));
    } else {
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
    if report.is_unread {
        let rows =
            count(u64::try_from(report.faults.len() + report.checkpoint_faults.len()).unwrap_or(u64::MAX), "row");
        return Err(CliError::new(format!("broken: {rows} that cannot be read; nothing else was looked at")));
    }
    if !report.is_whole() {
        let chains = count(u64::try_from(report.chains.len()).unwrap_or(u64::MAX), "chain");
        let mut broken = Vec::new();
        if !report.faults.is_empty() {
            let of_chains = format!("{} of {chains}", report.faults.len());
            broken.push(if report.chains.is_empty() { "there is no chain of events".to_owned() } else { of_chains });
        }
        if !report.checkpoint_faults.is_empty() {
            let of = count(report.checkpoints, "checkpoint");
            let faults = u64::try_from(report.checkpoint_faults.len()).unwrap_or(u64::MAX);
            broken.push(format!("{} in {of}", count(faults, "fault")));
        }
        return Err(CliError::new(format!("broken: {}", broken.join(", "))));
    }
    if report.chains.is_empty() {
        return Err(CliError::new("there is no event in this database: nothing can be said of it"));
    }
    if is_pinned && !report.unvouched_keys.is_empty() {
        let kids = report.unvouched_keys.join(", ");
        return Err(CliError::new(format!("signed by keys that are none of those to be believed: {kids}")));
    }
    Ok(())
}
