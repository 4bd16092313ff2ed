//! The server's configuration: file and environment, checked once into final types.

use crate::domain::policy::PolicyDefault;
use ipnet::IpNet;
use secrecy::SecretString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The configuration in force.
#[derive(Debug, Clone)]
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
    /// `[tokens]`.
    pub tokens: TokenSettings,
    /// `[keys]`.
    pub keys: KeySettings,
    /// `[policy] default`.
    pub policy_default: PolicyDefault,
    /// `[limits]`.
    pub limits: LimitSettings,
    /// `[audit]`.
    pub audit: AuditSettings,
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
    /// Exchanges per user and minute; 600.
    pub user_exchanges_per_minute: u32,
    /// Exchanges per user, client and minute; 300.
    pub grant_exchanges_per_minute: u32,
}

/// `[audit]`.
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
    /// `PROCURA_...` variables, as they were at the start.
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

impl Config {
    /// Reads and checks.
    pub fn load(_sources: &ConfigSources) -> Result<Self, ConfigProblem> {
        todo!()
    }

    /// True if the database is a SQLite file.
    pub fn uses_sqlite(&self) -> bool {
        self.database_url.starts_with("sqlite:")
    }
}
