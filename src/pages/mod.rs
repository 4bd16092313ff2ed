//! WHAT PEOPLE SEE: pages without script, with one stylesheet.

mod connect;
pub mod consent;
mod consent_view;
mod error;
mod form;
mod layout;
mod leave;
mod login;
mod posted;
mod session;
mod who;

use crate::app::App;
use axum::Router;
use axum::routing::get;
use std::sync::Arc;

/// Every route of this folder, below the path of the issuer.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/consent/{handle}", get(consent::show).post(consent::decide))
        .route("/consent/{handle}/status", get(consent::status))
        .route("/static/procura.css", get(layout::stylesheet))
        .route("/static/logo", get(layout::logo))
}
