//! `procura check`.

use super::{CliError, Context};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Dry run of the decision: what would be granted, and what cut it.
pub async fn run(_context: &Context, _args: Args) -> Result<(), CliError> {
    Err(CliError::new("not built yet"))
}
