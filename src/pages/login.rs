//! Signing in at the user's identity provider, and out again.

use super::session::Browser;
use crate::app::App;
use axum::response::Response;

/// What a page wants of a sign-in.
#[derive(Debug, Clone, Default)]
pub(super) struct LoginWish {
    /// Where the browser goes afterwards: path and query on this server, made by this server.
    pub(super) return_to: String,
    /// Only this provider, if it is known whom the page is for.
    pub(super) idp: Option<crate::domain::names::IdpId>,
    /// The user proves who they are even if the provider still knows (`prompt=login`).
    pub(super) again: bool,
    /// The user may choose another account (`prompt=select_account`).
    pub(super) choose_account: bool,
    /// The oldest proof that counts, in seconds (`max_age`).
    pub(super) max_age: Option<u32>,
    /// `acr_values`.
    pub(super) acr_values: Option<String>,
    /// `login_hint`.
    pub(super) login_hint: Option<String>,
}

/// As [`begin`], after a form of ours was sent: by a page that goes on, for a redirect would be stopped (rule CL-20).
pub(super) async fn begin_after_form(app: &App, browser: &Browser, wish: LoginWish) -> Response {
    todo!()
}

/// Sends the browser to its provider, or shows the choice of providers. Nothing is sent anywhere by a page of another
/// site: what is remembered until the user comes back is in this browser's session.
pub(super) async fn begin(app: &App, browser: &Browser, wish: LoginWish) -> Response {
    todo!()
}
