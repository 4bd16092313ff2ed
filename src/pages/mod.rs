//! WHAT PEOPLE SEE: pages without script, with one stylesheet.

mod account;
mod authorize;
mod backchannel;
mod connect;
mod consent;
mod consent_choice;
mod consent_view;
mod error;
mod form;
mod inspect;
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
use axum::http::{HeaderMap, Method, header};
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::{get, post};
use std::sync::Arc;

/// `GET` of a path that only takes forms: an address that was kept, or a page that was loaded again after its form.
async fn only_forms(State(app): State<Arc<App>>) -> Response {
    error::nothing_here(&app)
}

/// `GET /`: whoever types the name of the server is a person.
async fn front(State(app): State<Arc<App>>) -> Response {
    layout::see_other(&format!("{}/account", layout::Frame::of(&app).base))
}

/// What no route answers, if a person asks: a browser gets a page. None for a program.
pub fn not_found(app: &App, method: &Method, headers: &HeaderMap) -> Option<Response> {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_page = |accept: &str| accept.split(',').any(|one| one.trim_start().starts_with("text/html"));
    (method == Method::GET && accepted.into_iter().any(is_page)).then(|| error::nothing_here(app))
}

/// Every route of this folder, below the path of the issuer.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/login", get(only_forms).post(login::choose))
        .route("/callback/{idp}", get(login::callback))
        .route("/logout", get(logout::ask).post(logout::end))
        .route("/authorize", get(authorize::authorize).post(authorize::authorize))
        .route("/authorize/continue", get(authorize::go_on))
        .route("/authorize/stop", get(authorize::stop))
        .route("/authorize/connect", get(only_forms).post(authorize::connect))
        .route("/authorize/decision", get(only_forms).post(authorize::decide))
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
        .route("/static/icon.svg", get(layout::icon))
        .route("/static/logo", get(layout::logo))
        .route("/", get(front))
        .layer(from_fn(error::numbered))
}

/// The pages of the private listener, for operators. What every page is drawn with is below the path of the issuer, as on
/// the public one.
pub fn admin_routes(issuer_path: &str) -> Router<Arc<App>> {
    let drawn_with = Router::new()
        .route("/static/procura.css", get(layout::stylesheet))
        .route("/static/icon.svg", get(layout::icon))
        .route("/static/logo", get(layout::logo));
    let drawn_with = if issuer_path.is_empty() { drawn_with } else { Router::new().nest(issuer_path, drawn_with) };
    drawn_with.route("/inspect", get(inspect::ask).post(inspect::tell)).layer(from_fn(error::numbered))
}
