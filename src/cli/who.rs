//! `procura who`.

use super::{CliError, Context, output};
use crate::audit::explain;
use crate::clock::Clock;
use crate::domain::event::AuditEvent;
use crate::store::Store;
use serde_json::json;

/// More than are kept of one token by default.
const USES_AT_MOST: i64 = 1_000;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The `jti` claim of the token, as the backend logged it.
    jti: String,
}

/// Who acted with a token: for whom, through whom, where, when, and what for.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    if args.jti.matches('.').count() == 2 {
        return Err(CliError::new("that is a token, not its jti: procura inspect shows the jti"));
    }
    let store = context.store(&context.config()?).await?;
    let issues = store.issues_of_token(&args.jti).await?;
    for event in &issues {
        tell(context, &store, &args.jti, event).await?;
    }
    match issues.len() {
        0 => Err(CliError::new(unknown(&store, &args.jti).await?)),
        1 => Ok(()),
        several => Err(CliError::new(format!(
            "{several} events say that they issued this token, and a token is issued once: somebody put one there. \
             procura audit verify may tell which"
        ))),
    }
}

/// No event of it is here; what that can mean.
async fn unknown(store: &Store, jti: &str) -> Result<String, CliError> {
    let none = format!("no event says that a token with the jti {jti:?} was issued here");
    Ok(if store.has_pruned().await? {
        format!("{none}; old events were removed by age, and it may have been among them")
    } else {
        format!("{none}; procura audit list shows the newest ones")
    })
}

/// One event that issued it, with what came before and after.
async fn tell(context: &Context, store: &Store, jti: &str, event: &AuditEvent) -> Result<(), CliError> {
    let transaction = match &event.txn {
        Some(txn) => store.events_of_transaction(txn).await?,
        None => Vec::new(),
    };
    let uses = store.uses_of_token(jti, USES_AT_MOST).await?;
    if context.json {
        output::json(&json!({
            "event": event,
            "earlier_hops": explain::earlier_hops(event, &transaction),
            "uses": uses,
        }));
    } else {
        output::text(&explain::who(event, &transaction, &uses, Clock::System.now_ms()));
    }
    Ok(())
}
