//! WHAT PEOPLE SEE: pages without script, with one stylesheet.

mod account;
mod authorize;
mod backchannel;
mod connect;
mod consent;
mod consent_view;
mod error;
mod form;
mod layout;
mod leave;
mod login;
mod logout;
mod posted;
mod session;
mod who;
mod words;

use crate::app::App;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use std::sync::Arc;

/// `GET` of a path that only takes forms: an address that was kept, or a page that was loaded again after its form.
async fn ended(State(app): State<Arc<App>>) -> Response {
    let text = "This page was an answer to something you sent, and is not there by itself. Nothing was changed. Go back to the \
                app and start again there, or see what apps may do for you.";
    error::error_with_link(&app, StatusCode::NOT_FOUND, "There is nothing here", text, ("To your page", "/account"))
}

/// Every route of this folder, below the path of the issuer.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/login", get(ended).post(login::choose))
        .route("/callback/{idp}", get(login::callback))
        .route("/logout", get(logout::ask).post(logout::end))
        .route("/authorize", get(authorize::authorize).post(authorize::authorize))
        .route("/authorize/continue", get(authorize::go_on))
        .route("/authorize/connect", get(ended).post(authorize::connect))
        .route("/authorize/decision", get(ended).post(authorize::decide))
        .route("/consent/{handle}", get(consent::show).post(consent::decide))
        .route("/consent/{handle}/status", get(consent::status))
        .route("/account", get(account::show))
        .route("/account/agreements/{id}", get(account::agreement).post(account::change))
        .route("/account/agreements/{id}/end", get(account::preview_end))
        .route("/account/events", get(account::events))
        .route("/account/events.jsonl", get(account::json_lines))
        .route("/account/events.csv", get(account::csv))
        .layer(session::layer(app))
        // From here on without a session.
        .route("/logged-out", get(logout::after))
        .route("/backchannel-logout/{idp}", post(backchannel::logout))
        .route("/static/procura.css", get(layout::stylesheet))
        .route("/static/logo", get(layout::logo))
}
