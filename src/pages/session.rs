//! The browser's session: who is signed in here, and what only this browser may go on with.

use crate::app::App;
use crate::domain::sign_in::SignIn;
use axum::response::Response;

/// The session of the browser that sent the request.
#[derive(Debug)]
pub(super) struct Browser {}

impl Browser {
    /// Who is signed in; none if nobody is, or the sign-in has ended. An error is a page that says so.
    pub(super) async fn signed_in(&self, app: &App) -> Result<Option<SignIn>, Response> {
        todo!()
    }

    /// What tells this browser from any other: stable while the session lives, secret to nobody else's page. A session
    /// begins if there is none.
    pub(super) async fn key(&self, app: &App) -> Result<String, Response> {
        todo!()
    }
}

impl axum::extract::FromRequestParts<std::sync::Arc<App>> for Browser {
    type Rejection = Response;
    async fn from_request_parts(_: &mut axum::http::request::Parts, _: &std::sync::Arc<App>) -> Result<Self, Response> {
        Ok(Self {})
    }
}
