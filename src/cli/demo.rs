//! `procura demo`.

use super::{CliError, Context};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Tell the three-party story on loopback, with a demo identity provider and backend.
pub async fn run(_context: &Context, _args: Args) -> Result<(), CliError> {
    Err(CliError::new("not built yet"))
}
