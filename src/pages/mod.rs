//! WHAT PEOPLE SEE: pages without script, with one stylesheet.

mod account;
mod connect;
mod consent;
mod consent_view;
mod error;
mod form;
mod layout;
mod leave;
mod login;
mod posted;
mod session;
mod who;
mod words;

use crate::app::App;
use axum::Router;
use axum::routing::get;
use std::sync::Arc;

/// Every route of this folder, below the path of the issuer.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/consent/{handle}", get(consent::show).post(consent::decide))
        .route("/consent/{handle}/status", get(consent::status))
        .route("/account", get(account::show))
        .route("/account/agreements/{id}", get(account::agreement).post(account::change))
        .route("/account/agreements/{id}/end", get(account::preview_end))
        .route("/account/events", get(account::events))
        .route("/account/events.jsonl", get(account::json_lines))
        .route("/account/events.csv", get(account::csv))
        .route("/static/procura.css", get(layout::stylesheet))
        .route("/static/logo", get(layout::logo))
}
