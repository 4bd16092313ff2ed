//! Pages that say one thing: what went wrong and what to do, or what was done.

use super::layout::{Frame, page};
use crate::app::App;
use crate::grants::Failure;
use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::Response;

#[derive(Template)]
#[template(path = "notice.html")]
struct NoticePage<'a> {
    frame: Frame<'a>,
    kind: Kind,
    title: &'a str,
    text: &'a str,
    link: Option<(&'a str, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Problem,
    Done,
    Stopped,
}

/// A page that says what went wrong (`title`), what happened and what to do (`text`).
pub(super) fn error(app: &App, status: StatusCode, title: &str, text: &str) -> Response {
    notice(app, status, Kind::Problem, title, text, None)
}

/// An error page with one way on: what the link says, and its path below the issuer.
pub(super) fn error_with_link(app: &App, status: StatusCode, title: &str, text: &str, link: (&str, &str)) -> Response {
    notice(app, status, Kind::Problem, title, text, Some(link))
}

/// A page that says what was done.
pub(super) fn done(app: &App, title: &str, text: &str, link: Option<(&str, &str)>) -> Response {
    notice(app, StatusCode::OK, Kind::Done, title, text, link)
}

/// A page that says that nothing was done, as the user wanted.
pub(super) fn stopped(app: &App, title: &str, text: &str, link: Option<(&str, &str)>) -> Response {
    notice(app, StatusCode::OK, Kind::Stopped, title, text, link)
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
        Failure::Unavailable(cause) => unavailable(app, cause),
        Failure::Refused { refusal, .. } => unavailable(app, &refusal.detail),
    }
}

/// Too many pages for nothing from one address: then a stranger can spend neither our disk nor our time.
pub(super) fn too_many(app: &App, seconds: u64) -> Response {
    let text = "Too many requests from your network went wrong. Nothing was changed. Wait a minute, then go back to the app \
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

fn notice(app: &App, status: StatusCode, kind: Kind, title: &str, text: &str, link: Option<(&str, &str)>) -> Response {
    let frame = Frame::of(app);
    let link = link.map(|(label, path)| (label, format!("{}{path}", frame.base)));
    page(status, NoticePage { frame, kind, title, text, link }.render())
}
