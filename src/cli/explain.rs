//! `procura explain`.

use super::{CliError, Context, output};
use crate::audit::explain;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The `X-Request-Id` of the answer.
    request_id: String,
}

/// Why a request was granted or refused, gate by gate.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let store = context.store_to_read(&context.config_to_read()?).await?;
    let events = store.events_of_request(&args.request_id).await?;
    if events.is_empty() {
        return Err(CliError::new(format!(
            "no event has the request id {:?}; it is in the X-Request-Id header of the answer, and procura audit list \
             shows the newest ones",
            args.request_id
        )));
    }
    if context.json {
        output::json(&events);
    } else {
        let texts: Vec<String> = events.iter().map(explain::explain).collect();
        output::text(&texts.join("\n\n"));
    }
    Ok(())
}
