//! `procura audit prune`.

use super::evidence::Evidence;
use crate::audit::prune::Pruned;
use crate::audit::words::{count, moment, parse_moment};
use crate::cli::{CliError, Context, output};
use crate::clock::Clock;

/// No event that is younger is removed, in seconds: a token lives for an hour, and its use is reported within a day.
const KEPT_SECONDS: i64 = 86_400;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Remove events from before then, up to a checkpoint: 2026-01-31T12:00:00Z, 2026-01-31, or how long ago, as 365d.
    #[arg(long, value_name = "TIME")]
    before: String,
    /// Tell what would go, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Remove old events, so that the rest can still be checked.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let before_ms = parse_moment(&args.before, Clock::System.now_ms()).map_err(CliError::new)?;
    let before = before_ms.div_euclid(1000);
    let evidence = Evidence::open(context).await?;
    if before > evidence.now() {
        return Err(CliError::new(format!("{} is in the future", moment(before))));
    }
    if before > evidence.now().saturating_sub(KEPT_SECONDS) {
        return Err(CliError::new(
            "events of the last day are not removed: live tokens are counted by them, and uses are reported by them",
        ));
    }
    evidence.kid()?;
    let sign = |checkpoint: &_| evidence.sign(checkpoint);
    let notary = evidence.notary(&sign);
    let pruned = if args.dry_run {
        notary.prunable(before).await
    } else {
        notary.prune(before, "procura audit prune", evidence.now_ms).await
    };
    let pruned = pruned.map_err(|problem| CliError::new(problem.to_string()))?;
    if context.json {
        output::json(&pruned);
    } else {
        output::text(&told(&pruned, before, args.dry_run));
    }
    Ok(())
}

fn told(pruned: &Pruned, before: i64, dry_run: bool) -> String {
    if pruned.chains.is_empty() {
        return format!("nothing to remove: no event was signed by a checkpoint from before {}", moment(before));
    }
    let verb = if dry_run { "would go" } else { "removed" };
    let mut lines: Vec<String> = vec![format!(
        "{verb}: {} of {}, signed up to checkpoint {}",
        count(pruned.events, "event"),
        count(u64::try_from(pruned.chains.len()).unwrap_or(u64::MAX), "chain"),
        pruned.checkpoint
    )];
    lines.extend(pruned.chains.iter().map(|cut| {
        let events = count(cut.events, "event");
        format!("chain {}: {events}, up to event {} with hash {}", cut.writer_id, cut.seq, cut.hash)
    }));
    lines.join("\n")
}
