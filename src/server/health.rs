//! Is it alive, is it ready, and what has it counted.

use crate::app::App;
use crate::app::metrics::{Gauges, ProviderGauges};
use crate::domain::resource::SigningAlgorithm;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A database that takes longer does not answer. Probes wait no more than a few seconds themselves, and then nobody
/// would hear what is wrong.
const ANSWER_AT_MOST: Duration = Duration::from_secs(2);

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> Response {
    answer(StatusCode::OK, &json!({"status": "alive"}))
}

/// `GET /readyz`: the database answers, a key can sign, the audit trail takes events, and the server is not on its way
/// down. An identity provider that is down does not make it unready.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let mut problems = Vec::new();
    if app.is_draining() {
        problems.push("shutting down");
    }
    if !matches!(timeout(ANSWER_AT_MOST, app.store.ping()).await, Ok(Ok(()))) {
        problems.push("the database does not answer");
    }
    if app.signing_keys().signer(SigningAlgorithm::ES256, app.clock.now()).is_none() {
        problems.push("there is no signing key");
    }
    if app.is_behind() {
        problems.push("what changed in the database cannot be taken in: see the log");
    }
    if !app.audit.health().healthy {
        problems.push("audit events cannot be written");
    }
    if problems.is_empty() {
        answer(StatusCode::OK, &json!({"status": "ready"}))
    } else {
        answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "not ready", "problems": problems}))
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let fields = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, fields, body.to_string()).into_response()
}

/// Anything else: 404 in JSON, never a page with status 200.
pub(super) async fn not_found() -> Response {
    answer(StatusCode::NOT_FOUND, &json!({"error": "not_found"}))
}

/// `GET /metrics` on the private listener.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let fields = [
        (header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    match app.metrics.encode(&gauges(&app)) {
        Ok(text) => (fields, text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn gauges(app: &App) -> Gauges {
    let now = app.clock.now();
    let audit = app.audit.health();
    let keys = app.signing_keys();
    let signs_from =
        keys.signer(SigningAlgorithm::ES256, now).map(super::super::tokens::signing_keys::SigningKey::signs_from);
    let lifetime = i64::from(app.config.keys.rotate_after_days).saturating_mul(86_400);
    let next = signs_from.filter(|_| lifetime > 0).map(|from| from.saturating_add(lifetime).saturating_sub(now));
    Gauges {
        audit_events: audit.written,
        audit_commits: audit.commits,
        audit_commit_seconds: Duration::from_micros(audit.commit_micros).as_secs_f64(),
        audit_write_failures: audit.failed,
        audit_waiting: i64::try_from(audit.waiting).unwrap_or(i64::MAX),
        providers: app
            .issuer_keys
            .health()
            .into_iter()
            .map(|health| ProviderGauges {
                issuer: health.issuer,
                fetches: health.fetches,
                jwks_age_seconds: health.fetched_at.map(|at| now.saturating_sub(at)),
                clock_skew_seconds: health.clock_skew_seconds,
            })
            .collect(),
        db_pool_in_use: app.store.connections_in_use(),
        signing_key_age_seconds: signs_from.map(|from| now.saturating_sub(from)),
        signing_key_next_rotation_seconds: next,
    }
}
