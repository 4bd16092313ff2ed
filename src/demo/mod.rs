//! THE DEMO: an identity provider, two backends and a client of its own, and the story of three parties told over real
//! HTTP on loopback. Nothing here is used by the server.

mod assistant;
mod backend;
mod desk;
mod http;
mod identity_provider;
mod invitation;
mod people;
mod registry;
mod screen;
mod stage;
mod story;

pub use screen::Screen;

use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How the demo is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where Procura itself listens; a free loopback port if absent.
    pub listen: Option<SocketAddr>,
    /// Where the database is kept; a directory that is removed at the end if absent.
    pub keep: Option<PathBuf>,
    /// End after the story.
    pub exit: bool,
}

/// Why the demo stopped: something could not be started, or did not do what the story says it does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DemoFailure(pub String);

impl DemoFailure {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Starts everything, tells the story, and stays up until Ctrl-C unless it should end.
///
/// # Errors
/// [`DemoFailure`] at the first thing that is not as the story says, or if an address is not a loopback one.
pub async fn run(options: &Options, screen: &mut Screen) -> Result<(), DemoFailure> {
    if let Some(address) = options.listen.filter(|address| !address.ip().is_loopback()) {
        return Err(DemoFailure(format!(
            "{address} is not a loopback address: the demo has no secrets worth the name and listens on loopback only"
        )));
    }
    let mut end = End::listen()?;
    let stage = tokio::select! {
        stage = stage::Stage::set(options, screen) => stage?,
        () = end.is_asked_for() => return Err(DemoFailure::new("ended before the story began")),
    };
    let result = tokio::select! {
        told = story::tell(&stage, screen) => told,
        () = end.is_asked_for() => Err(DemoFailure::new("ended before the story was told")),
    };
    if let Ok(told) = &result
        && !options.exit
    {
        invitation::print(&stage, told, screen);
        end.is_asked_for().await;
        screen.line("");
        screen.line("Ended.");
    }
    // Also after a failure: nothing is left behind.
    stage.strike().await;
    result.map(drop)
}

/// Ctrl-C, or the system's wish that the process ends.
struct End {
    interrupt: Signal,
    terminate: Signal,
}

impl End {
    fn listen() -> Result<Self, DemoFailure> {
        let listen = |kind| signal(kind).map_err(|problem| DemoFailure(format!("signals: {problem}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn is_asked_for(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
