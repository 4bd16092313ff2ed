//! WHAT OPERATORS TYPE: one file a command.

pub mod apply;
pub mod audit;
pub mod check;
pub mod client;
pub mod consent;
pub mod demo;
pub mod explain;
pub mod export;
pub mod healthcheck;
pub mod idp;
pub mod inspect;
pub mod keys;
pub mod migrate;
mod output;
pub mod policy;
mod registry;
pub mod resource;
pub mod revoke;
pub mod serve;
pub mod user;
pub mod who;

use crate::config::{Config, ConfigProblem, ConfigSources};
use crate::registry_file::{self, ApplyError, FileProblem};
use crate::secrets::SecretsKey;
use crate::store::Store;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Who is calling, and for whom: a token-exchange authorization server for AI apps.
#[derive(Debug, Parser)]
#[command(name = "procura", version, about, max_term_width = 100)]
pub struct Cli {
    /// The configuration file; `procura.toml` in the working directory if there is one.
    #[arg(long, global = true, value_name = "FILE", env = "PROCURA_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where the database is; overrides the file and the environment.
    #[arg(long, global = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// Print data as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(serve::Args),
    /// Tell the three-party story on loopback, with a demo identity provider and backend.
    Demo(demo::Args),
    /// Make the registry match declarative files, in one transaction.
    Apply(apply::Args),
    /// Print the registry as such a file, without secrets.
    Export(export::Args),
    /// Register and manage LLM clients.
    Client(client::Args),
    /// Register and manage backends.
    Resource(resource::Args),
    /// Register and manage identity providers.
    Idp(idp::Args),
    /// Register and manage Cedar policies.
    Policy(policy::Args),
    /// Record, list and take back consents.
    Consent(consent::Args),
    /// The kill switch: end all that a user, a client, a backend or a session holds.
    Revoke(revoke::Args),
    /// Suspend users, and let them be acted for again.
    User(user::Args),
    /// List and rotate signing keys.
    Keys(keys::Args),
    /// Why a request was granted or refused, gate by gate.
    Explain(explain::Args),
    /// Dry run of the decision: what would be granted, and what cut it.
    Check(check::Args),
    /// Who acted with a token: for whom, through whom, where, when.
    Who(who::Args),
    /// Search the audit trail and check its chains.
    Audit(audit::Args),
    /// A token in words, with every check a verifier would make.
    Inspect(inspect::Args),
    /// Ask the server of this configuration whether it is ready; for a container's health check.
    Healthcheck(healthcheck::Args),
    /// Bring the database schema up to date.
    Migrate(migrate::Args),
}

/// What every command has.
#[derive(Debug)]
pub struct Context {
    /// Where the configuration comes from.
    pub sources: ConfigSources,
    /// Print data as JSON.
    pub json: bool,
}

impl Context {
    /// The configuration in force.
    pub fn config(&self) -> Result<Config, CliError> {
        Ok(Config::load(&self.sources)?)
    }

    /// The configuration in force, for what only reads: without a `secrets_key`, if there is none.
    pub fn config_to_read(&self) -> Result<Config, CliError> {
        Ok(Config::load_to_read(&self.sources)?)
    }

    /// The database as it is, for what only reads: nothing is made or changed.
    pub async fn store_to_read(&self, config: &Config) -> Result<Store, CliError> {
        let store = Store::connect_to_read(&config.database_url).await?;
        match store.pending_migrations().await?.as_slice() {
            [] => Ok(store),
            [first, ..] => Err(CliError::new(format!("the database lacks migration {first}: run procura migrate"))),
        }
    }

    /// The database, its schema up to date, if there is one: nothing of the trail of one that was just made is of use.
    pub async fn store_that_is_there(&self, config: &Config) -> Result<Store, CliError> {
        // Whether it is there is for one place to say.
        Store::connect_to_read(&config.database_url).await?.close().await;
        self.store(config).await
    }

    /// The database, its schema up to date. SQLite is migrated on the way; PostgreSQL only by `procura migrate`, since
    /// other servers may be using it.
    pub async fn store(&self, config: &Config) -> Result<Store, CliError> {
        let store = Store::connect(&config.database_url).await?;
        if config.uses_sqlite() {
            store.migrate().await?;
        } else if let [first, ..] = store.pending_migrations().await?.as_slice() {
            return Err(CliError::new(format!("the database lacks migration {first}: run procura migrate")));
        }
        Ok(store)
    }
}

/// The key that seals, and that the database was made with: the first command that needs it ties the two together.
async fn secrets_key(config: &Config, store: &Store) -> Result<SecretsKey, CliError> {
    let key = config.secrets_key(!store.has_secrets_key().await?)?;
    store.claim_secrets_key(&key.fingerprint()).await?;
    Ok(key)
}

/// Why a command failed: one clear line for stderr.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    message: String,
}

impl CliError {
    /// With this line.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl From<crate::store::StoreError> for CliError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<Vec<FileProblem>> for CliError {
    fn from(problems: Vec<FileProblem>) -> Self {
        Self::new(registry_file::lines(&problems))
    }
}

impl From<FileProblem> for CliError {
    fn from(problem: FileProblem) -> Self {
        Self::new(problem.to_string())
    }
}

impl From<ApplyError> for CliError {
    fn from(error: ApplyError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<ConfigProblem> for CliError {
    fn from(problem: ConfigProblem) -> Self {
        Self::new(problem.to_string())
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Runs the command that was typed. 0: done; 1: refused or failed, with one line on stderr; 2: wrong usage (by clap).
pub async fn run(cli: Cli) -> ExitCode {
    let context = Context { sources: ConfigSources::new(cli.config, cli.database_url), json: cli.json };
    let result = match cli.command {
        Command::Serve(args) => serve::run(&context, args).await,
        Command::Demo(args) => demo::run(&context, args).await,
        Command::Apply(args) => apply::run(&context, args).await,
        Command::Export(args) => export::run(&context, args).await,
        Command::Client(args) => client::run(&context, args).await,
        Command::Resource(args) => resource::run(&context, args).await,
        Command::Idp(args) => idp::run(&context, args).await,
        Command::Policy(args) => policy::run(&context, args).await,
        Command::Consent(args) => consent::run(&context, args).await,
        Command::Revoke(args) => revoke::run(&context, args).await,
        Command::User(args) => user::run(&context, args).await,
        Command::Keys(args) => keys::run(&context, args).await,
        Command::Explain(args) => explain::run(&context, args).await,
        Command::Check(args) => check::run(&context, args).await,
        Command::Who(args) => who::run(&context, args).await,
        Command::Audit(args) => audit::run(&context, args).await,
        Command::Inspect(args) => inspect::run(&context, args).await,
        Command::Healthcheck(args) => healthcheck::run(&context, args).await,
        Command::Migrate(args) => migrate::run(&context, args).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
