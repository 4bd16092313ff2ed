//! `procura user`.

use super::{CliError, Context};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Suspend users, and let them be acted for again.
pub async fn run(_context: &Context, _args: Args) -> Result<(), CliError> {
    Err(CliError::new("not built yet"))
}
