//! `procura who`.

use super::{CliError, Context, output};
use crate::audit::explain;
use crate::clock::Clock;
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
    let Some(event) = store.event_of_token(&args.jti).await? else {
        return Err(CliError::new(format!(
            "no token with the jti {:?} was issued here; procura audit list shows the newest ones",
            args.jti
        )));
    };
    let transaction = match &event.txn {
        Some(txn) => store.events_of_transaction(txn).await?,
        None => Vec::new(),
    };
    let uses = store.uses_of_token(&args.jti, USES_AT_MOST).await?;
    if context.json {
        output::json(&json!({
            "event": &event,
            "earlier_hops": explain::earlier_hops(&event, &transaction),
            "uses": uses,
        }));
    } else {
        output::text(&explain::who(&event, &transaction, &uses, Clock::System.now_ms()));
    }
    Ok(())
}
