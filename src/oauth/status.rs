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
    // One spelling: the `uri` of a token.
    let list = number.parse::<i64>().ok().filter(|list| list.to_string() == number);
    let made = match list {
        Some(list) => app.status_lists.list(&app, list).await,
        None => Ok(None),
    };
    let mut response = match made {
        Err(problem) => return unavailable(&problem.to_string()).into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, "no-store")]).into_response(),
        Ok(Some(made)) => {
            let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let is_known =
                known.split(',').any(|tag| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == made.etag);
            // A shared cache may keep it for as long as its reader may go by it, counted from when it was made.
            let ttl = i64::from(app.config.tokens.status_list_ttl_seconds);
            let left = made.made_at.saturating_add(ttl).saturating_sub(app.clock.now()).max(0);
            let fields =
                [(header::ETAG, made.etag.clone()), (header::CACHE_CONTROL, format!("public, max-age={left}"))];
            if is_known {
                (StatusCode::NOT_MODIFIED, fields).into_response()
            } else {
                let kind = [(header::CONTENT_TYPE, "application/statuslist+jwt")];
                (fields, kind, made.token.clone()).into_response()
            }
        }
    };
    DOCUMENTS.allow(response.headers_mut());
    response
}
