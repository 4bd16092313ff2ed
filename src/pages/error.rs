//! The page for what is not there.

use super::page;
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    base: &'a str,
    title: &'a str,
    text: &'a str,
}

/// A page that says what went wrong and what to do.
pub(super) fn error(status: StatusCode, base: &str, title: &str, text: &str) -> Response {
    page(status, ErrorPage { base, title, text }.render())
}
