//! `procura audit`.

use super::{CliError, Context, output};
use crate::audit::chain;
use crate::audit::words::{count, moment_ms, parse_moment, printable};
use crate::clock::Clock;
use crate::domain::event::{AuditEvent, EventOutcome};
use crate::store::EventFilter;
use clap::ValueEnum;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List events, newest first.
    List(ListArgs),
    /// Check every chain of events; exit status 1 if one is broken.
    Verify,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only events about this subject: the `sub` of our tokens.
    #[arg(long, value_name = "SUB")]
    user: Option<String>,
    /// Only events of this client.
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Only events about this backend.
    #[arg(long, value_name = "ID")]
    resource: Option<String>,
    /// Only events that ended so.
    #[arg(long)]
    outcome: Option<Outcome>,
    /// Only events with this reason code.
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Only events since then: 2026-01-31T12:00:00Z, 2026-01-31, or how long ago, as 30m, 24h or 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only events before then; written as for --since.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How many events at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Outcome {
    Granted,
    Refused,
    Done,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Done => "done",
        }
    }
}

/// Search the audit trail and check its chains.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    match args.action {
        Action::List(args) => list(context, args).await,
        Action::Verify => verify(context).await,
    }
}

async fn list(context: &Context, args: ListArgs) -> Result<(), CliError> {
    let now_ms = Clock::System.now_ms();
    let time = |text: Option<String>| text.map(|text| parse_moment(&text, now_ms)).transpose().map_err(CliError::new);
    let filter = EventFilter {
        since_ms: time(args.since)?,
        until_ms: time(args.until)?,
        user: args.user,
        client: args.client,
        resource: args.resource,
        outcome: args.outcome.map(|outcome| outcome.as_str().to_owned()),
        reason: args.reason,
        limit: args.limit,
    };
    let store = context.store(&context.config()?).await?;
    let events = store.list_events(&filter).await?;
    if context.json {
        output::json(&events);
    } else if events.is_empty() {
        output::note("no event matches");
    } else {
        let head = ["TIME", "OUTCOME", "REASON", "CLIENT", "SUBJECT", "BACKEND", "SCOPES", "REQUEST"];
        let rows: Vec<Vec<String>> =
            std::iter::once(head.map(str::to_owned).to_vec()).chain(events.iter().map(row)).collect();
        output::table(&rows);
    }
    Ok(())
}

fn row(event: &AuditEvent) -> Vec<String> {
    let outcome = match event.outcome {
        EventOutcome::Granted => Outcome::Granted,
        EventOutcome::Refused => Outcome::Refused,
        EventOutcome::Done => Outcome::Done,
    };
    let scopes = event.granted.as_ref().or(event.asked.as_ref()).map(ToString::to_string);
    let cells = [
        Some(moment_ms(event.at_ms)),
        Some(outcome.as_str().to_owned()),
        Some(event.reason.clone()),
        event.client.as_ref().map(ToString::to_string),
        event.subject_sub().map(str::to_owned),
        event.resource.as_ref().map(ToString::to_string),
        scopes,
        Some(event.request_id.clone()),
    ];
    let cell = |cell: Option<String>| {
        cell.filter(|text| !text.is_empty()).map_or_else(|| "-".to_owned(), |text| printable(&text))
    };
    cells.into_iter().map(cell).collect()
}

async fn verify(context: &Context) -> Result<(), CliError> {
    let store = context.store(&context.config()?).await?;
    let report = chain::verify(&store).await?;
    if context.json {
        output::json(&report);
    } else {
        for fault in &report.faults {
            output::note(&format!("chain {} event {}: {}", fault.writer_id, fault.seq, printable(&fault.problem)));
        }
    }
    let chains = u64::try_from(report.chains.len()).unwrap_or(u64::MAX);
    if !report.faults.is_empty() {
        return Err(CliError::new(format!("broken: {} of {}", report.faults.len(), count(chains, "chain"))));
    }
    if !context.json {
        output::text(&format!("whole: {} with {}", count(chains, "chain"), count(report.events, "event")));
    }
    Ok(())
}
