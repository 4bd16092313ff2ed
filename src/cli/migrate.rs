//! `procura migrate`.

use super::{CliError, Context, output};
use crate::store::Store;
use serde_json::json;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only tell what is missing; exit 1 if anything is.
    #[arg(long)]
    check: bool,
}

/// Bring the database schema up to date.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let config = context.config()?;
    let store = Store::connect(&config.database_url).await?;
    let names = if args.check { store.pending_migrations().await } else { store.migrate().await };
    store.close().await;
    let names = names?;
    let what = if args.check { "pending" } else { "applied" };
    if context.json {
        output::json(&json!({ what: names }));
    } else if names.is_empty() {
        output::text("the schema is up to date");
    } else {
        output::text(&names.iter().map(|name| format!("{what} {name}")).collect::<Vec<_>>().join("\n"));
    }
    if args.check && !names.is_empty() {
        return Err(CliError::new("the schema is not up to date: run procura migrate"));
    }
    Ok(())
}
