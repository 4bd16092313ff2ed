//! `procura consent`.

use super::{CliError, Context};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Record, list and take back consents.
pub async fn run(_context: &Context, _args: Args) -> Result<(), CliError> {
    Err(CliError::new("not built yet"))
}
