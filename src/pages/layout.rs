//! What every page has around it: headers, whose server this is, the stylesheet and the logo.

use crate::app::App;
use crate::config::Organisation;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

const STYLESHEET: &str = include_str!("../../static/procura.css");
const ICON: &str = include_str!("../../static/icon.svg");

/// What templates need for the frame of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// What every link on a page begins with: the path of the issuer.
    pub(super) base: &'a str,
    /// Whose server this is.
    pub(super) organisation: &'a Organisation,
    /// Who is signed in, where the page offers to sign out.
    pub(super) account: Option<&'a str>,
}

impl<'a> Frame<'a> {
    /// The frame of a page.
    pub(super) fn of(app: &'a App) -> Self {
        let after_scheme = app.config.issuer.split_once("://").map_or("", |(_, rest)| rest);
        let base = after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("");
        Self { base, organisation: &app.config.organisation, account: None }
    }

    /// With who is signed in.
    pub(super) fn with_account(self, account: &'a str) -> Self {
        Self { account: Some(account), ..self }
    }
}

/// A page with the headers that every page has: not cached, not framed, nothing from elsewhere, no referrer
/// (RFC 9700 §4.2, §4.16).
///
/// `form-action` is about every hop after a form was sent, so no answer to a form redirects to another site; see
/// [`leave`](super::leave::leave) and docs/decisions/0024.
pub(super) fn page(status: StatusCode, rendered: askama::Result<String>) -> Response {
    let html = match rendered {
        Ok(html) => html,
        Err(cause) => {
            tracing::error!(%cause, "a page could not be written");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let mut headers = HeaderMap::new();
    let fields: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; \
             frame-ancestors 'none'",
        ),
    ];
    headers.extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
    (status, headers, html).into_response()
}

/// 303, whatever the method was: what was posted is never posted again elsewhere (RFC 9700 §4.12; rule SB-04).
pub(super) fn see_other(location: &str) -> Response {
    let fields = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    (StatusCode::SEE_OTHER, fields).into_response()
}

/// `GET /static/procura.css`.
pub(super) async fn stylesheet() -> Response {
    let fields = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=3600")];
    (fields, STYLESHEET).into_response()
}

/// `GET /static/icon.svg`: the icon of pages of an organisation that has no logo.
pub(super) async fn icon() -> Response {
    let fields = [(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "public, max-age=3600")];
    (fields, ICON).into_response()
}

/// `GET /static/logo`: the organisation's. An SVG picture can hold script; opened by itself it must not run.
pub(super) async fn logo(State(app): State<Arc<App>>) -> Response {
    let Some(logo) = &app.config.organisation.logo else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let fields = [
        (header::CONTENT_TYPE, logo.media_type),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'",
        ),
    ];
    (fields, logo.bytes.to_vec()).into_response()
}
