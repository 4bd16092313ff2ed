//! `GET /status/{list}`: status lists (draft-ietf-oauth-status-list, section 8), by which backends see offline that a
//! token was revoked.

use super::DOCUMENTS;
use super::form::unavailable;
use crate::app::App;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// The list, or 404 if no live token can have an entry in it.
pub async fn list(State(app): State<Arc<App>>, Path(number): Path<String>, headers: HeaderMap) -> Response {
    let mut response =
        answer(&app, &number, &headers).await.unwrap_or_else(|problem| unavailable(&problem).into_response());
    DOCUMENTS.allow(response.headers_mut());
    response
}

async fn answer(app: &App, number: &str, headers: &HeaderMap) -> Result<Response, String> {
    let now = app.clock.now();
    // One spelling: the `uri` of a token.
    let made = match number.parse::<i64>().ok().filter(|list| list.to_string() == number) {
        Some(list) => app.status_lists.list(app.remembered(&app.snapshot()), list, now).await,
        None => Ok(None),
    };
    let Some(made) = made.map_err(|problem| problem.to_string())? else {
        return Ok((StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, "no-store")]).into_response());
    };
    let list = made.signed(&app.config.issuer, &app.signing_keys()).await.map_err(|problem| problem.to_string())?;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_known = known.split(',').any(|tag| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == list.etag);
    // A shared cache may keep it for as long as its reader may go by it, counted from when it was made.
    let ttl = i64::from(app.config.tokens.status_list_ttl_seconds);
    let left = made.made_at.saturating_add(ttl).saturating_sub(now).max(0);
    let fields = [(header::ETAG, list.etag.clone()), (header::CACHE_CONTROL, format!("public, max-age={left}"))];
    Ok(if is_known {
        (StatusCode::NOT_MODIFIED, fields).into_response()
    } else {
        let kind = [(header::CONTENT_TYPE, "application/statuslist+jwt")];
        (fields, kind, list.token.clone()).into_response()
    })
}
