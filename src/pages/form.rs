//! Forms that only the browser they were shown to can send back, once, and not much later.
//!
//! All that a form is about is in one hidden field, sealed: nothing is remembered between showing and sending.

use super::session::Browser;
use crate::app::App;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// For how long a form can be sent, in seconds.
pub(super) const FORM_SECONDS: i64 = 1800;

/// The value of the hidden field `form`. `purpose` tells one kind of form from another.
pub(super) async fn seal(
    app: &App,
    browser: &Browser,
    purpose: &'static str,
    about: &impl Serialize,
) -> Result<String, Response> {
    todo!()
}

/// What the form is about.
///
/// # Errors
/// A page: 403 if the form is another browser's, was sent before, is altered, or comes from another site; 400 if it is
/// too old.
pub(super) async fn open<T: DeserializeOwned>(
    app: &App,
    browser: &Browser,
    headers: &HeaderMap,
    purpose: &'static str,
    field: &str,
) -> Result<T, Response> {
    todo!()
}
