//! Parses arguments and calls `cli`.

use clap::Parser;
use procura::cli::{self, Cli};
use std::process::ExitCode;

/// Takes less time than the system's, and gives back the 19 MiB of each argon2id hash, which glibc keeps for every thread
/// that ever computed one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Two TLS crates may be in the tree, so the provider is named and not guessed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::run(cli).await
}
