//! Crash safety: the real program under load, killed with SIGKILL at random moments, and with a database that fails.
//!
//! Each run rolls the same dice again with `CHAOS_SEED`, which every run prints. `CHAOS_KILLS` is how often each
//! database's server is killed, `CHAOS_FAULT_SECONDS` how long each fault lasts; `make chaos` says 200 and 12.

mod administrators;
mod deployment;
mod dice;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod disk;
mod evidence;
mod faults;
mod kills;
mod load;

use std::time::Duration;

/// Lets time pass: for what is due at some moment rather than after some event.
#[expect(clippy::disallowed_methods, reason = "the moment of a kill and the length of a failure are lengths of time")]
async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
}
