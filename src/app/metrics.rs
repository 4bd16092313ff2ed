//! What is counted, for `/metrics`. Labels come from fixed sets: never a user, a client or a free text.

use crate::domain::client::GrantType;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteStatus {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultReason {
    result: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Grant {
    grant: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodReason {
    method: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindResult {
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToResult {
    to: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Table {
    table: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Issuer {
    issuer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerResult {
    issuer: String,
    result: &'static str,
}

/// The counters and gauges. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    http_requests: Family<RouteStatus, Counter>,
    http_durations: Family<Route, Histogram, fn() -> Histogram>,
    token_exchanges: Family<ResultReason, Counter>,
    token_exchange_duration: Histogram,
    tokens_issued: Family<Grant, Counter>,
    client_auth_failures: Family<MethodReason, Counter>,
    registrations: Family<KindResult, Counter>,
    forward_auth: Family<ResultReason, Counter>,
    cleanup_rows: Family<Table, Counter>,
    checkpoints: Family<Ended, Counter>,
    checkpoint_copies: Family<ToResult, Counter>,
}

fn durations() -> Histogram {
    Histogram::new(SECONDS)
}

/// What is measured when `/metrics` is asked for, and not counted on the way.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Events made durable since the start.
    pub audit_events: u64,
    /// Events that could not be made durable.
    pub audit_write_failures: u64,
    /// Commits that made them so; `audit_events` by it is how many events share one.
    pub audit_commits: u64,
    /// How long these took, altogether.
    pub audit_commit_seconds: f64,
    /// Events that wait for their commit.
    pub audit_waiting: i64,
    /// How the keys of each provider stand.
    pub providers: Vec<ProviderGauges>,
    /// Database connections that are at work.
    pub db_pool_in_use: u64,
    /// Seconds since the newest signing key began to sign.
    pub signing_key_age_seconds: Option<i64>,
    /// Seconds until the next signing key is due; none if rotation is by hand.
    pub signing_key_next_rotation_seconds: Option<i64>,
}

/// What is measured of one provider.
#[derive(Debug)]
pub struct ProviderGauges {
    /// Its issuer.
    pub issuer: String,
    /// Fetches of its keys that succeeded, and that failed.
    pub fetches: (u64, u64),
    /// Seconds since its keys were fetched; none if never.
    pub jwks_age_seconds: Option<i64>,
    /// Seconds its clock is ahead of ours.
    pub clock_skew_seconds: Option<i64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            http_requests: Family::default(),
            http_durations: Family::new_with_constructor(durations),
            token_exchanges: Family::default(),
            token_exchange_duration: durations(),
            tokens_issued: Family::default(),
            client_auth_failures: Family::default(),
            registrations: Family::default(),
            forward_auth: Family::default(),
            cleanup_rows: Family::default(),
            checkpoints: Family::default(),
            checkpoint_copies: Family::default(),
        }
    }
}

impl Metrics {
    /// One answered HTTP request.
    pub fn count_request(&self, route: &'static str, status: u16, took: Duration) {
        self.http_requests.get_or_create(&RouteStatus { route, status }).inc();
        self.http_durations.get_or_create(&Route { route }).observe(took.as_secs_f64());
    }

    /// One decided token exchange; `reason` is `granted` or a reason code.
    pub fn count_exchange(&self, result: &'static str, reason: &'static str, took: Duration) {
        self.token_exchanges.get_or_create(&ResultReason { result, reason }).inc();
        self.token_exchange_duration.observe(took.as_secs_f64());
    }

    /// One issued token.
    pub fn count_issued(&self, grant: GrantType) {
        let grant = match grant {
            GrantType::TokenExchange => "token_exchange",
            GrantType::ClientCredentials => "client_credentials",
            GrantType::AuthorizationCode => "authorization_code",
            GrantType::RefreshToken => "refresh_token",
        };
        self.tokens_issued.get_or_create(&Grant { grant }).inc();
    }

    /// One client that failed to authenticate.
    pub fn count_client_auth_failure(&self, method: &'static str, reason: &'static str) {
        self.client_auth_failures.get_or_create(&MethodReason { method, reason }).inc();
    }

    /// One registration of a client (`dynamic`), or one read of its metadata document (`document`): `ok`, `refused`, or
    /// `limited`.
    pub fn count_registration(&self, kind: &'static str, result: &'static str) {
        self.registrations.get_or_create(&KindResult { kind, result }).inc();
    }

    /// One question of a proxy at `/forward-auth`: `passed`, `refused` or `unavailable`, and why.
    pub fn count_forward_auth(&self, result: &'static str, reason: &'static str) {
        self.forward_auth.get_or_create(&ResultReason { result, reason }).inc();
    }

    /// Rows removed after their end.
    pub fn count_cleanup(&self, rows: &[(&'static str, u64)]) {
        for (table, count) in rows {
            self.cleanup_rows.get_or_create(&Table { table }).inc_by(*count);
        }
    }

    /// Checkpoints of the audit trail that this server made (`ok`), or could not make (`failed`).
    pub fn count_checkpoints(&self, result: &'static str, count: u64) {
        self.checkpoints.get_or_create(&Ended { result }).inc_by(count);
    }

    /// Copies of checkpoints that were written outside: `to` the `file` or the `url`; `ok` or `failed`.
    pub fn count_checkpoint_copies(&self, to: &'static str, result: &'static str, count: u64) {
        self.checkpoint_copies.get_or_create(&ToResult { to, result }).inc_by(count);
    }

    /// The OpenMetrics text.
    pub fn encode(&self, gauges: &Gauges) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("procura");
        registry.register("http_requests", "Answered HTTP requests", self.http_requests.clone());
        registry.register(
            "http_request_duration_seconds",
            "From the first byte of a request to its answer",
            self.http_durations.clone(),
        );
        registry.register(
            "token_exchange",
            "Decided token exchanges, by result and reason code",
            self.token_exchanges.clone(),
        );
        registry.register(
            "token_exchange_duration_seconds",
            "From the first byte of a token exchange to its answer",
            self.token_exchange_duration.clone(),
        );
        registry.register("tokens_issued", "Issued tokens", self.tokens_issued.clone());
        registry.register(
            "client_auth_failures",
            "Clients that failed to authenticate",
            self.client_auth_failures.clone(),
        );
        registry.register(
            "registrations",
            "Clients that registered themselves, and metadata documents of clients",
            self.registrations.clone(),
        );
        registry.register(
            "forward_auth",
            "Requests that proxies asked about, by result and reason",
            self.forward_auth.clone(),
        );
        registry.register("cleanup_rows", "Rows removed after their end", self.cleanup_rows.clone());
        registry.register("audit_checkpoints", "Signed checkpoints of the audit trail", self.checkpoints.clone());
        registry.register(
            "audit_checkpoint_copies",
            "Copies of checkpoints that were written outside",
            self.checkpoint_copies.clone(),
        );
        register_gauges(&mut registry, gauges);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

fn register_gauges(registry: &mut Registry, gauges: &Gauges) {
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "This program", build);
    let counter = |value: u64| {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        counter
    };
    let gauge = |value: i64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        gauge
    };
    registry.register("audit_events", "Events made durable", counter(gauges.audit_events));
    registry.register(
        "audit_write_failures",
        "Events that could not be made durable",
        counter(gauges.audit_write_failures),
    );
    registry.register("audit_commits", "Commits of events", counter(gauges.audit_commits));
    let commit_seconds: Counter<f64, AtomicU64> = Counter::default();
    commit_seconds.inc_by(gauges.audit_commit_seconds);
    registry.register("audit_commit_seconds", "How long commits of events took", commit_seconds);
    registry.register("audit_waiting", "Events that wait for their commit", gauge(gauges.audit_waiting));
    registry.register("db_pool_in_use", "Database connections at work", gauge(signed(gauges.db_pool_in_use)));
    register_providers(registry, &gauges.providers);
    if let Some(age) = gauges.signing_key_age_seconds {
        registry.register("signing_key_age_seconds", "Since the newest ES256 key began to sign", gauge(age));
    }
    if let Some(next) = gauges.signing_key_next_rotation_seconds {
        registry.register("signing_key_next_rotation_seconds", "Until the next ES256 key is due", gauge(next));
    }
}

fn register_providers(registry: &mut Registry, providers: &[ProviderGauges]) {
    let requests: Family<IssuerResult, Counter> = Family::default();
    let (ages, skews): (Family<Issuer, Gauge>, Family<Issuer, Gauge>) = (Family::default(), Family::default());
    for provider in providers {
        let issuer = || Issuer { issuer: provider.issuer.clone() };
        for (result, count) in [("ok", provider.fetches.0), ("failed", provider.fetches.1)] {
            requests.get_or_create(&IssuerResult { issuer: provider.issuer.clone(), result }).inc_by(count);
        }
        if let Some(age) = provider.jwks_age_seconds {
            ages.get_or_create(&issuer()).set(age);
        }
        if let Some(skew) = provider.clock_skew_seconds {
            skews.get_or_create(&issuer()).set(skew);
        }
    }
    registry.register("idp_requests", "Fetches of the keys of an identity provider", requests);
    registry.register("idp_jwks_age_seconds", "Since the keys of the identity provider were fetched", ages);
    registry.register("clock_skew_seconds", "How far the clock of the identity provider is ahead of ours", skews);
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
