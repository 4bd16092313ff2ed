//! `procura audit`.

mod checkpoint;
mod evidence;
mod export;
mod file;
mod prune;
mod verify;

use super::{CliError, Context, output};
use crate::audit::words::{moment_ms, parse_moment, printable};
use crate::clock::Clock;
use crate::domain::decision::ReasonCode;
use crate::domain::event::{AuditEvent, EventOutcome};
use crate::mistake;
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
    /// Check every chain and every checkpoint, or an exported file; exit status 1 if something is not whole.
    Verify(verify::Args),
    /// Write events with what proves them, as JSON Lines that need no database to be checked.
    Export(Filter),
    /// Sign what is new now.
    Checkpoint(checkpoint::Args),
    /// Remove old events, so that the rest can still be checked.
    Prune(prune::Args),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// How many events at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

/// Which events.
#[derive(Debug, clap::Args)]
struct Filter {
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
}

impl Filter {
    /// As the store takes it.
    fn of(self, limit: i64) -> Result<EventFilter, CliError> {
        let now_ms = Clock::System.now_ms();
        let time =
            |text: Option<String>| text.map(|text| parse_moment(&text, now_ms)).transpose().map_err(CliError::new);
        Ok(EventFilter {
            since_ms: time(self.since)?,
            until_ms: time(self.until)?,
            user: self.user,
            client: self.client,
            resource: self.resource,
            outcome: self.outcome.map(|outcome| outcome.as_str().to_owned()),
            reason: self.reason,
            limit,
        })
    }
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
        Action::Verify(args) => verify::run(context, args).await,
        Action::Export(filter) => export::run(context, filter.of(0)?).await,
        Action::Checkpoint(args) => checkpoint::run(context, args).await,
        Action::Prune(args) => prune::run(context, args).await,
    }
}

async fn list(context: &Context, args: ListArgs) -> Result<(), CliError> {
    let filter = args.filter.of(args.limit)?;
    let store = context.store_to_read(&context.config_to_read()?).await?;
    let events = store.list_events(&filter).await?;
    if context.json {
        output::json(&events);
    } else if events.is_empty() {
        output::note(&nothing_matches(filter.reason.as_deref()));
    } else {
        let head = ["TIME", "OUTCOME", "REASON", "CLIENT", "SUBJECT", "BACKEND", "SCOPES", "REQUEST"];
        let rows: Vec<Vec<String>> =
            std::iter::once(head.map(str::to_owned).to_vec()).chain(events.iter().map(row)).collect();
        output::table(&rows);
    }
    if i64::try_from(events.len()).is_ok_and(|shown| shown == filter.limit) {
        output::note(&format!(
            "these are the newest {}; there may be more: --limit, or --until and --since",
            filter.limit
        ));
    }
    Ok(())
}

/// That there is none, and whether the reason could be mistyped: events of administration have others than decisions.
fn nothing_matches(reason: Option<&str>) -> String {
    let unknown = reason.filter(|reason| ReasonCode::from_code(reason).is_none());
    let hint = unknown.map(|reason| mistake::hint(reason, ReasonCode::ALL.iter().map(|known| known.as_str())));
    format!("no event matches{}", hint.unwrap_or_default())
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
