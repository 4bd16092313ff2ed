//! `procura audit checkpoint`.

use super::evidence::Evidence;
use crate::app::outside_line;
use crate::audit::words::{count, printable};
use crate::cli::{CliError, Context, output};

/// How many checkpoints are read at once.
const PAGE: i64 = 500;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print every checkpoint behind this number, as the lines of `audit.checkpoint_file`; 0 for all.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
    print_after: Option<i64>,
}

/// Sign what is new now.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let evidence = Evidence::open(context).await?;
    evidence.kid()?;
    let sign = |checkpoint: &_| evidence.sign(checkpoint);
    let notary = evidence.notary(&sign);
    let made = notary.make(evidence.now(), None).await.map_err(|problem| CliError::new(problem.to_string()))?;
    if let Some(mut after) = args.print_after {
        loop {
            let page = evidence.store.list_checkpoints(after, PAGE).await?;
            let Some(last) = page.last().map(|stored| stored.number) else { break };
            for stored in &page {
                output::text(&outside_line(stored, &evidence.keys).map_err(CliError::new)?);
            }
            after = last;
        }
    } else if context.json {
        let numbers: Vec<i64> = made.checkpoints.iter().map(|stored| stored.number).collect();
        let standing = notary.standing().await.map_err(|problem| CliError::new(problem.to_string()))?;
        output::json(&serde_json::json!({
            "made": numbers,
            "number": standing.number,
            "hash": standing.previous(),
            "made_at": standing.made_at,
            "events": standing.events,
        }));
    } else {
        let standing = notary.standing().await.map_err(|problem| CliError::new(problem.to_string()))?;
        let made = count(u64::try_from(made.checkpoints.len()).unwrap_or(u64::MAX), "checkpoint");
        let events = count(standing.events.unsigned_abs(), "event");
        output::text(&format!("{made} made; the newest is {}, and {events} are signed", standing.number));
    }
    match made.broken.as_slice() {
        [] => Ok(()),
        [(writer_id, problem), ..] => Err(CliError::new(format!(
            "chain {} is broken and was not signed: {}; procura audit verify says more",
            printable(writer_id),
            printable(problem)
        ))),
    }
}
