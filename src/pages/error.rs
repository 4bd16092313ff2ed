//! Pages that say one thing: what went wrong and what to do, or what was done.

use super::authorize::stop_path;
use super::layout::{Frame, page};
use crate::app::App;
use crate::grants::{Failure, Received};
use askama::Template;
use axum::extract::{FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;

tokio::task_local! {
    /// The number of the request that is being answered.
    static REQUEST_ID: String;
}

/// Lets every page of a request say its number: whoever helps finds by it what happened (`procura explain`).
pub(super) async fn numbered(request: Request, next: Next) -> Response {
    match request.extensions().get::<Received>().map(|received| received.request_id.clone()) {
        Some(id) => REQUEST_ID.scope(id, next.run(request)).await,
        None => next.run(request).await,
    }
}

/// The number, if it is known.
pub(super) fn number() -> Option<String> {
    REQUEST_ID.try_with(Clone::clone).ok()
}

#[derive(Template)]
#[template(path = "notice.html")]
struct NoticePage<'a> {
    frame: Frame<'a>,
    kind: Kind,
    title: &'a str,
    text: &'a str,
    links: Vec<(&'a str, String)>,
    /// Of the request, where something went wrong.
    number: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Problem,
    Done,
    Stopped,
}

/// A page that says what went wrong (`title`), what happened and what to do (`text`).
pub(super) fn error(app: &App, status: StatusCode, title: &str, text: &str) -> Response {
    notice(app, status, Kind::Problem, title, text, &[])
}

/// An error page with one way on: what the link says, and its path below the issuer.
pub(super) fn error_with_link(app: &App, status: StatusCode, title: &str, text: &str, link: (&str, &str)) -> Response {
    notice(app, status, Kind::Problem, title, text, &[link])
}

/// The user did not sign in: they can try again, or go back to the app that they came from.
pub(super) fn not_signed_in(app: &App, status: StatusCode, title: &str, text: &str, return_to: &str) -> Response {
    let stop = stop_path(return_to);
    let again = ("Try again", return_to);
    let back = stop.as_deref().map(|path| ("Go back to the app", path));
    let links: Vec<(&str, &str)> = std::iter::once(again).chain(back).collect();
    notice(app, status, Kind::Problem, title, text, &links)
}

/// A page that says what was done.
pub(super) fn done(app: &App, title: &str, text: &str, link: Option<(&str, &str)>) -> Response {
    notice(app, StatusCode::OK, Kind::Done, title, text, link.as_slice())
}

/// A page that says that nothing was done, as the user wanted.
pub(super) fn stopped(app: &App, title: &str, text: &str, link: Option<(&str, &str)>) -> Response {
    notice(app, StatusCode::OK, Kind::Stopped, title, text, link.as_slice())
}

/// The database or the audit trail does not answer.
pub(super) fn unavailable(app: &App, cause: &str) -> Response {
    tracing::error!(cause, "a page could not be shown");
    let text =
        "The server cannot do this at the moment. Nothing was changed. Wait a minute, then load this page again.";
    error(app, StatusCode::SERVICE_UNAVAILABLE, "Please try again in a minute", text)
}

/// What a page was to do could not be done. What a user says is not decided about, so a refusal is no answer here.
pub(super) fn failed(app: &App, failure: &Failure) -> Response {
    match failure {
        Failure::TooMany(seconds) => too_many(app, *seconds),
        Failure::Unavailable(cause) => unavailable(app, cause),
        Failure::Refused { refusal, .. } => unavailable(app, &refusal.detail),
    }
}

/// Too many pages for nothing from one address: then a stranger can spend neither our disk nor our time.
pub(super) fn too_many(app: &App, seconds: u64) -> Response {
    let text = "Too many requests came from your network. Nothing was changed. Wait a minute, then go back to the app \
                and start again there.";
    let mut page = error(app, StatusCode::TOO_MANY_REQUESTS, "Please try again later", text);
    page.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    page
}

/// What the page is about has ended, or never was.
pub(super) fn expired(app: &App) -> Response {
    let text = "This link has expired or was never valid. Nothing was allowed. Go back to the app and start again there: \
                it gives you a new link.";
    error(app, StatusCode::NOT_FOUND, "This link leads nowhere", text)
}

/// A part of a path that names something; what is no text names nothing.
pub(super) struct Named(pub(super) String);

impl FromRequestParts<Arc<App>> for Named {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let Path(name) = Path::<String>::from_request_parts(parts, app).await.map_err(|_| nothing_here(app))?;
        Ok(Self(name))
    }
}

/// There is no such page. Programs get JSON, as from every other address.
pub(super) fn nothing_here(app: &App) -> Response {
    let text = "This address leads nowhere, or only takes what a page of ours sends. Nothing was changed. Go back to the app \
                and start again there, or see what apps may do for you.";
    error_with_link(app, StatusCode::NOT_FOUND, "There is nothing here", text, ("To your page", "/account"))
}

fn notice(app: &App, status: StatusCode, kind: Kind, title: &str, text: &str, links: &[(&str, &str)]) -> Response {
    let frame = Frame::of(app);
    let links = links.iter().map(|(label, path)| (*label, format!("{}{path}", frame.base))).collect();
    let number = number().filter(|_| kind == Kind::Problem);
    page(status, NoticePage { frame, kind, title, text, links, number }.render())
}
