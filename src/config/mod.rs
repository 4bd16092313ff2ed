//! The server's configuration: file and environment, checked once into final types.

mod evidence;
mod issuer;
mod organisation;
mod registration;
mod secrets_key;
mod settings;

use crate::domain::delegation::ActChain;
use crate::domain::policy::PolicyDefault;
use crate::secrets::SecretsKey;
use ipnet::IpNet;
use secrecy::SecretString;
use settings::Settings;
use std::fmt;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use evidence::EvidenceSettings;
pub(crate) use issuer::is_loopback;
pub use organisation::{Logo, Organisation};
pub use registration::{DynamicRegistration, RegistrationSettings};
pub use settings::KNOWN_KEYS;

/// The configuration in force.
#[derive(Clone)]
pub struct Config {
    /// Our issuer: https, or http on loopback; no trailing slash.
    pub issuer: String,
    /// Where clients and users connect.
    pub listen: SocketAddr,
    /// Where metrics are.
    pub admin_listen: SocketAddr,
    /// `sqlite://FILE` or `postgres://...`.
    pub database_url: String,
    /// 32 bytes in base64; absent only with SQLite, where a file beside the database holds it.
    pub secrets_key: Option<SecretString>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `[organisation]`.
    pub organisation: Organisation,
    /// `[tokens]`.
    pub tokens: TokenSettings,
    /// `[keys]`.
    pub keys: KeySettings,
    /// `[policy] default`.
    pub policy_default: PolicyDefault,
    /// `[registration]`.
    pub registration: RegistrationSettings,
    /// `[sessions] lifetime_seconds`: how long a user stays signed in in a browser; 28800.
    pub session_lifetime_seconds: u32,
    /// `[limits]`.
    pub limits: LimitSettings,
    /// `[audit]`: how events are written.
    pub audit: AuditSettings,
    /// `[audit]`: what makes them evidence.
    pub evidence: EvidenceSettings,
    /// `[log]`.
    pub log: LogSettings,
}

/// `[tokens]`.
#[derive(Debug, Clone)]
pub struct TokenSettings {
    /// The most actors in a chain; 4.
    pub max_chain_depth: usize,
    /// How far `iat` and `nbf` may lie in the future; 30, at most 60.
    pub clock_skew_seconds: u32,
    /// The lifetime of a client's own token for this server; 300.
    pub own_token_lifetime_seconds: u32,
    /// A refresh token that is not used for so many days ends; 30.
    pub refresh_idle_days: u32,
    /// A grant ends after so many days, however often it is used; 365.
    pub refresh_lifetime_days: u32,
    /// For so many seconds a replaced refresh token gives the same successor again; 60.
    pub refresh_grace_seconds: u32,
    /// How long a backend may go by a status list; 15.
    pub status_list_ttl_seconds: u32,
}

/// `[keys]`.
#[derive(Debug, Clone)]
pub struct KeySettings {
    /// A signing key is followed by a new one after this many days; 90. 0: only by command.
    pub rotate_after_days: u32,
    /// How long a new key is published before it signs; 900.
    pub publish_before_use_seconds: u32,
}

/// `[limits]`. 0 turns a limit off.
#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// Largest body at `/token`, in bytes; 65536.
    pub body_bytes: usize,
    /// A request that takes longer is answered 503; 15.
    pub request_seconds: u32,
    /// Requests worked on at once; more are answered 503 at once; 1024.
    pub requests_in_flight: usize,
    /// Failed client authentications per address and minute before 429; 60.
    pub failed_authentications_per_minute: u32,
    /// Browser sessions begun, and requests pushed without a secret, per address and minute before 429; 300.
    pub new_sessions_per_minute: u32,
    /// Exchanges per user and minute; 600.
    pub user_exchanges_per_minute: u32,
    /// Exchanges per user, client and minute; 300.
    pub grant_exchanges_per_minute: u32,
    /// Tokens that a client gives back, per minute; 600.
    pub revocations_per_minute: u32,
}

/// `[audit]`: how events are written.
#[derive(Debug, Clone)]
pub struct AuditSettings {
    /// The most events in one commit; 256.
    pub events_per_commit: usize,
    /// The most events that wait for a commit; more requests are answered 503; 4096.
    pub queue: usize,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// `text` or `json`; by default text in a terminal, else json.
    pub format: LogFormat,
    /// A `tracing` filter; `info`.
    pub filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Where a configuration comes from.
#[derive(Debug, Clone)]
pub struct ConfigSources {
    /// The file; none if there is none.
    pub file: Option<PathBuf>,
    /// `PROCURA_...` variables, as they were at the start. Of two with one name the later wins.
    pub environment: Vec<(String, String)>,
    /// `--database-url`.
    pub database_url: Option<String>,
}

impl ConfigSources {
    /// The sources of this process: the named file, else `procura.toml` if present, and the environment.
    pub fn new(file: Option<PathBuf>, database_url: Option<String>) -> Self {
        let file = file.or_else(|| Some(PathBuf::from("procura.toml")).filter(|path| path.exists()));
        let environment = std::env::vars().filter(|(name, _)| name.starts_with("PROCURA_")).collect();
        Self { file, environment, database_url }
    }
}

/// What is wrong with a configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigProblem {
    /// File and line, or the name of the variable.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Debug for Config {
    /// Leaves out what may hold a secret: the database's address can carry a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("issuer", &self.issuer)
            .field("listen", &self.listen)
            .field("admin_listen", &self.admin_listen)
            .field("trusted_proxies", &self.trusted_proxies)
            .field("organisation", &self.organisation)
            .field("tokens", &self.tokens)
            .field("keys", &self.keys)
            .field("policy_default", &self.policy_default)
            .field("registration", &self.registration)
            .field("session_lifetime_seconds", &self.session_lifetime_seconds)
            .field("limits", &self.limits)
            .field("audit", &self.audit)
            .field("evidence", &self.evidence)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads and checks.
    ///
    /// # Errors
    /// The first problem, with its file and line or its variable. It never repeats a secret.
    pub fn load(sources: &ConfigSources) -> Result<Self, ConfigProblem> {
        let (config, settings) = Self::gather(sources)?;
        if config.secrets_key.is_none() && !config.uses_sqlite() {
            let problem = "is required with PostgreSQL: 32 random bytes in base64, the same for every server; \
                           `openssl rand -base64 32` makes one";
            return Err(settings.problem("secrets_key", problem));
        }
        Ok(config)
    }

    /// The same for what only reads: an auditor needs no `secrets_key`, by which tokens could be made.
    ///
    /// # Errors
    /// As for [`Config::load`].
    pub fn load_to_read(sources: &ConfigSources) -> Result<Self, ConfigProblem> {
        Self::gather(sources).map(|(config, _)| config)
    }

    fn gather(sources: &ConfigSources) -> Result<(Self, Settings), ConfigProblem> {
        let settings = Settings::gather(sources)?;
        let listen = settings.address("listen", 8420)?;
        let admin_listen = settings.address("admin_listen", 8421)?;
        if listen == admin_listen && listen.port() != 0 {
            return Err(settings.problem("admin_listen", format!("is the same address as listen, {listen}")));
        }
        let issuer = issuer::of(&settings, listen)?;
        let database_url = settings.database_url()?;
        let secrets_key = settings.text("secrets_key")?.map(|text| {
            let valid = SecretsKey::from_base64(&text).is_some();
            valid.then(|| SecretString::from(text)).ok_or_else(|| {
                settings
                    .problem("secrets_key", "is not the base64 text of 32 bytes; `openssl rand -base64 32` makes one")
            })
        });
        let config = Self {
            organisation: organisation::of(&settings, &issuer)?,
            issuer,
            listen,
            admin_listen,
            database_url,
            secrets_key: secrets_key.transpose()?,
            trusted_proxies: settings.networks("trusted_proxies")?,
            tokens: TokenSettings {
                max_chain_depth: settings.number("tokens.max_chain_depth", 4, 1..=ActChain::MAX_DEPTH)?,
                clock_skew_seconds: settings.number("tokens.clock_skew_seconds", 30, 0..=60)?,
                own_token_lifetime_seconds: settings.number("tokens.own_token_lifetime_seconds", 300, 60..=3600)?,
                refresh_idle_days: settings.number("tokens.refresh_idle_days", 30, 1..=365)?,
                refresh_lifetime_days: settings.number("tokens.refresh_lifetime_days", 365, 1..=3650)?,
                refresh_grace_seconds: settings.number("tokens.refresh_grace_seconds", 60, 0..=300)?,
                status_list_ttl_seconds: settings.number("tokens.status_list_ttl_seconds", 15, 4..=300)?,
            },
            keys: KeySettings {
                rotate_after_days: settings.number("keys.rotate_after_days", 90, 0..=3650)?,
                publish_before_use_seconds: settings.number("keys.publish_before_use_seconds", 900, 0..=604_800)?,
            },
            policy_default: settings.choice(
                "policy.default",
                &[("permit", PolicyDefault::Permit), ("explicit", PolicyDefault::Explicit)],
            )?,
            registration: registration::of(&settings)?,
            session_lifetime_seconds: settings.number("sessions.lifetime_seconds", 28_800, 300..=604_800)?,
            limits: LimitSettings {
                body_bytes: settings.number("limits.body_bytes", 65_536, 0..=16_777_216)?,
                request_seconds: settings.number("limits.request_seconds", 15, 0..=3600)?,
                requests_in_flight: settings.number("limits.requests_in_flight", 1024, 0..=1_000_000)?,
                failed_authentications_per_minute: settings.number(
                    "limits.failed_authentications_per_minute",
                    60,
                    0..=1_000_000,
                )?,
                new_sessions_per_minute: settings.number("limits.new_sessions_per_minute", 300, 0..=1_000_000)?,
                user_exchanges_per_minute: settings.number("limits.user_exchanges_per_minute", 600, 0..=1_000_000)?,
                grant_exchanges_per_minute: settings.number("limits.grant_exchanges_per_minute", 300, 0..=1_000_000)?,
                revocations_per_minute: settings.number("limits.revocations_per_minute", 600, 0..=1_000_000)?,
            },
            audit: AuditSettings {
                events_per_commit: settings.number("audit.events_per_commit", 256, 1..=10_000)?,
                queue: settings.number("audit.queue", 4096, 1..=1_000_000)?,
            },
            evidence: evidence::of(&settings)?,
            log: LogSettings { format: log_format(&settings)?, filter: settings.filter("log.filter", "info")? },
        };
        if config.audit.queue < config.audit.events_per_commit {
            return Err(settings.problem("audit.queue", "is smaller than audit.events_per_commit"));
        }
        Ok((config, settings))
    }

    /// True if the database is a SQLite file.
    pub fn uses_sqlite(&self) -> bool {
        self.database_url.starts_with("sqlite:")
    }

    /// The key that seals what must not be read in the database: as configured, else from the file beside the SQLite
    /// database. If that is absent it is made, for its owner alone, but only if it `may_make` one: what a database
    /// already holds cannot be used with a new key.
    ///
    /// # Errors
    /// The file cannot be made or read, holds no key, or others may read it.
    pub fn secrets_key(&self, may_make: bool) -> Result<SecretsKey, ConfigProblem> {
        secrets_key::of(self, may_make)
    }

    /// The key, if it is configured or its file is there.
    ///
    /// # Errors
    /// It is there and cannot be used.
    pub fn known_secrets_key(&self) -> Result<Option<SecretsKey>, ConfigProblem> {
        secrets_key::known(self)
    }
}

/// By default text for a person who watches, else JSON for a collector.
fn log_format(settings: &Settings) -> Result<LogFormat, ConfigProblem> {
    let (text, json) = (("text", LogFormat::Text), ("json", LogFormat::Json));
    let default_first = if std::io::stderr().is_terminal() { [text, json] } else { [json, text] };
    settings.choice("log.format", &default_first)
}
