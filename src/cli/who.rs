//! `procura who`.

use super::{CliError, Context, output};
use crate::audit::explain::{self, Beside};
use crate::audit::live::Endings;
use crate::clock::Clock;
use crate::domain::event::AuditEvent;
use crate::store::Store;
use serde_json::{Value, json};

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
    let store = context.store_to_read(&context.config_to_read()?).await?;
    let found = store.issues_of_token(&args.jti).await?;
    // That there is none is not said by an index alone.
    let is_hidden = found.is_empty();
    let issues = if is_hidden { store.issues_of_token_by_table(&args.jti).await? } else { found };
    let mut documents = Vec::new();
    for event in &issues {
        documents.extend(tell(context, &store, &args.jti, event).await?);
    }
    match documents.as_slice() {
        [] => {}
        [one] => output::json(one),
        several => output::json(&several),
    }
    match issues.len() {
        0 => Err(CliError::new(unknown(&store, &args.jti).await?)),
        _ if is_hidden => Err(CliError::new(
            "no index of the database finds this event, though it is there: somebody made one anew, or it is damaged. \
             Check the trail by procura audit verify, and make the indexes anew (REINDEX)",
        )),
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

/// One event that issued it, with what came before and after; for a program a document of it.
async fn tell(context: &Context, store: &Store, jti: &str, event: &AuditEvent) -> Result<Option<Value>, CliError> {
    let now_ms = Clock::System.now_ms();
    let transaction = match &event.txn {
        Some(txn) => store.events_of_transaction(txn).await?,
        None => Vec::new(),
    };
    let uses = store.uses_of_token(jti, USES_AT_MOST).await?;
    let consent = match &event.grant_id {
        Some(id) => store.find_consent(id).await?,
        None => None,
    };
    let endings = Endings::since(store, event.at_ms.div_euclid(1000), now_ms.div_euclid(1000)).await?;
    let ended = endings.of_chain(event, &transaction);
    if context.json {
        return Ok(Some(json!({
            "event": event,
            "earlier_hops": explain::earlier_hops(event, &transaction),
            "uses": uses,
            "consent": consent,
            "ended_early": ended,
        })));
    }
    let beside = Beside { transaction: &transaction, uses: &uses, consent: consent.as_ref(), ended: ended.as_deref() };
    output::text(&explain::who(event, &beside, now_ms));
    Ok(None)
}
