//! `procura who`.

use super::{CliError, Context};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Who acted with a token: for whom, through whom, where, when.
pub async fn run(_context: &Context, _args: Args) -> Result<(), CliError> {
    Err(CliError::new("not built yet"))
}
