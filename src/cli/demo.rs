//! `procura demo`.

use super::{CliError, Context};
use crate::demo::{self, Options, Screen};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End after the story, instead of staying up with URLs to try.
    #[arg(long)]
    pub exit: bool,
    /// Where Procura listens; a free port of 127.0.0.1 by default. Loopback addresses only.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Keep the database in this directory; by default it is removed at the end.
    #[arg(long, value_name = "DIRECTORY")]
    pub keep: Option<PathBuf>,
}

/// Tell the three-party story on loopback, with a demo identity provider and backend.
pub async fn run(_context: &Context, args: Args) -> Result<(), CliError> {
    let options = Options { listen: args.listen, keep: args.keep, exit: args.exit };
    let mut screen = Screen::stdout();
    demo::run(&options, &mut screen).await.map_err(|failure| {
        // A line of progress may still stand there.
        screen.clear();
        CliError::new(failure.to_string())
    })
}
