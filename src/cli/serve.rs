//! `procura serve`: run the server until it is told to end.

use super::{CliError, Context, output};
use crate::clock::Clock;
use crate::config::{Config, LogFormat, LogSettings};
use crate::domain::identity_provider::IdentityProvider;
use crate::server;
use crate::upstream::login::secret_of;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// After SIGTERM, how long `/readyz` says no before connections are refused.
const UNREADY_FOR: Duration = Duration::from_secs(2);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where clients and users connect; overrides the configuration.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Our issuer; overrides the configuration.
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
}

/// Run the server.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let config = config(context, args)?;
    start_logging(&config.log)?;
    let store = context.store(&config).await?;
    let secrets_key = super::secrets_key(&config, &store).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let issuer = config.issuer.clone();
    let running = server::start(config, Clock::System, store, secrets_key)
        .await
        .map_err(|error| CliError::new(error.to_string()))?;
    for problem in login_problems(running.app.snapshot().registry.identity_providers().map(AsRef::as_ref)) {
        tracing::warn!("{problem}");
    }
    tracing::info!(issuer, listen = %running.public_addr, admin = %running.admin_addr, "serving");
    let unready_for = tokio::select! {
        _ = terminate.recv() => UNREADY_FOR,
        _ = interrupt.recv() => Duration::ZERO,
    };
    tracing::info!("shutting down");
    running.shutdown(unready_for).await;
    Ok(())
}

/// What keeps users from signing in at these providers, as far as the environment of this process tells.
fn login_problems<'a>(providers: impl Iterator<Item = &'a IdentityProvider>) -> Vec<String> {
    let problem = |idp: &IdentityProvider| {
        let problem = secret_of(idp.login.as_ref()?).err()?;
        Some(format!("nobody can sign in at identity provider {}: {problem}", idp.id))
    };
    providers.filter_map(problem).collect()
}

fn config(context: &Context, args: Args) -> Result<Config, CliError> {
    let mut sources = context.sources.clone();
    let flags = [("PROCURA_LISTEN", args.listen.map(|listen| listen.to_string())), ("PROCURA_ISSUER", args.issuer)];
    for (name, value) in flags {
        if let Some(value) = value {
            sources.environment.retain(|(known, _)| known != name);
            sources.environment.push((name.to_owned(), value));
        }
    }
    Config::load(&sources).map_err(|problem| CliError::new(problem.to_string()))
}

/// One line a decision on stderr, text or JSON. Never a token or a secret: no field holds one.
fn start_logging(settings: &LogSettings) -> Result<(), CliError> {
    let filter =
        EnvFilter::try_new(&settings.filter).map_err(|problem| CliError::new(format!("log.filter: {problem}")))?;
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Text => base.with_ansi(output::colours()).try_init(),
        LogFormat::Json => base.json().flatten_event(true).try_init(),
    };
    started.map_err(|problem| CliError::new(problem.to_string()))
}
