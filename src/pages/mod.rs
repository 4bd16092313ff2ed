//! WHAT PEOPLE SEE: pages without script, with one stylesheet.

pub mod consent;
pub mod error;
mod form;
mod login;
mod session;

use crate::app::App;
use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

const STYLESHEET: &str = include_str!("../../static/procura.css");

/// Every route of this folder, below the path of the issuer.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/consent/{handle}", get(consent::show)).route("/static/procura.css", get(stylesheet))
}

async fn stylesheet() -> Response {
    let fields = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=3600")];
    (fields, STYLESHEET).into_response()
}

/// A page with the headers that every page has: not cached, not framed, nothing from elsewhere, no referrer
/// (RFC 9700 §4.2, §4.16).
pub(super) fn page(status: StatusCode, rendered: askama::Result<String>) -> Response {
    let Ok(html) = rendered else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut headers = HeaderMap::new();
    let fields: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        ),
    ];
    headers.extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
    (status, headers, html).into_response()
}
