//! Parses arguments and calls `cli`.

use clap::Parser;
use procura::cli::{self, Cli};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Two TLS crates may be in the tree, so the provider is named and not guessed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::run(cli).await
}
