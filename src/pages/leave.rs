//! On to somewhere else after a form: a page that goes on by itself, and has a link for a browser that does not.
//!
//! Browsers apply `form-action` to every hop after a form was sent, so a redirect would lead nowhere (rule CL-20). A page
//! of our own that goes on is no longer part of the form. See docs/decisions/0024.

use super::error::error;
use super::layout::{Frame, page};
use super::who::shown;
use crate::app::App;
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use url::Url;

/// Schemes that run or show something of the page's own origin, or of this computer, rather than open a program.
const NEVER: [&str; 9] =
    ["javascript", "data", "file", "blob", "filesystem", "vbscript", "about", "view-source", "mhtml"];

#[derive(Template)]
#[template(path = "leave.html")]
struct LeavePage<'a> {
    frame: Frame<'a>,
    to: String,
    place: String,
    opens_program: bool,
    target: &'a str,
}

/// The page that leads to `target_uri`, a registered redirect URI with its parameters or a provider's sign-in page. `to`
/// is what it is called, in the middle of a sentence.
pub(super) fn leave(app: &App, target_uri: &str, to: &str) -> Response {
    let url = Url::parse(target_uri).ok().filter(|url| !NEVER.contains(&url.scheme()));
    // A line break would end the attribute's URL in some browsers; no URI has one.
    let url = url.filter(|_| !target_uri.chars().any(char::is_control));
    let Some(url) = url else {
        let text =
            "The app gave an address that nothing can be sent to. Nothing was sent. Tell the people who make it.";
        return error(app, StatusCode::BAD_REQUEST, "This app cannot be reached", text);
    };
    let opens_program = !matches!(url.scheme(), "http" | "https");
    let place = match url.host_str() {
        Some(host) if !opens_program => url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
        Some(_) | None => format!("{}:", url.scheme()),
    };
    page(
        StatusCode::OK,
        LeavePage {
            frame: Frame::of(app),
            to: shown(to, 60),
            place: shown(&place, 80),
            opens_program,
            target: target_uri,
        }
        .render(),
    )
}
