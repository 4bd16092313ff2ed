//! How requests at `/register` are read.

use super::super::body::{self, BodyProblem};
use super::answer::Problem;
use crate::app::{App, SecretVerdict};
use crate::domain::dynamic_client::DynamicClient;
use crate::tokens::json;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};
use tokio::sync::SemaphorePermit;

/// The largest body.
const BODY_BYTES: usize = 16 * 1024;

/// The body, within its bounds.
pub(super) async fn read(app: &App, body: Body) -> Result<Bytes, Problem> {
    body::read(app, body, BODY_BYTES).await.map_err(|problem| match problem {
        BodyProblem::TooLarge => Problem::too_large(),
        BodyProblem::TooSlow => Problem::too_slow(),
        BodyProblem::Incomplete => Problem::body("The request body did not arrive whole."),
    })
}

/// A place among the requests that are worked on, if what comes of this one can be recorded.
pub(super) fn admit(app: &App) -> Result<SemaphorePermit<'_>, Problem> {
    body::admit(app).map_err(Problem::unavailable)
}

/// The one JSON object in the body.
pub(super) fn members(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::body("The Content-Type is not application/json."));
    }
    json::plain_object(body).map_err(|_| Problem::body("The body is not one JSON object without repeated members."))
}

/// A secret that is sent along with a change must be the client's own (RFC 7592 §2.2).
pub(super) async fn same_secret(
    app: &App,
    client: &DynamicClient,
    members: &Map<String, Value>,
    now: i64,
) -> Result<(), Problem> {
    let Some(sent) = members.get("client_secret").and_then(Value::as_str) else { return Ok(()) };
    let snapshot = app.snapshot();
    let live = app.clients.secrets_of(&app.store, &snapshot, client.id()).await.map_err(Problem::unavailable)?;
    match app.secret_check.check(&app.secrets_key, client.id(), &live, sent, now).await {
        SecretVerdict::Right(_) => Ok(()),
        SecretVerdict::Wrong => Err(Problem::body("client_secret is not that of the client")),
        SecretVerdict::Busy => Err(Problem::unavailable("too many secrets are being checked")),
    }
}
