//! On to somewhere else after a form: a page that goes on by itself, and has a link for a browser that does not.
//!
//! Browsers apply `form-action` to every hop after a form was sent, so a redirect would lead nowhere (rule CL-20). A page
//! of our own that goes on is no longer part of the form. See docs/decisions/0024.

use super::error::{error, number};
use super::layout::{Frame, page};
use super::who::shown;
use super::words::why;
use crate::app::App;
use crate::domain::decision::{ReasonCode, Refusal};
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
    said: Option<Said>,
    target: &'a str,
}

/// What the user just answered, so that the page can say that it was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Yes.
    Allowed,
    /// No; whether the app keeps what it was allowed before.
    Denied {
        /// It does.
        keeps: bool,
    },
}

/// The page that leads to `target_uri`, a registered redirect URI with its parameters or a provider's sign-in page. `to`
/// is what it is called, in the middle of a sentence.
pub(super) fn leave(app: &App, target_uri: &str, to: &str, said: Option<Said>) -> Response {
    let Some((place, opens_program)) = place_of(target_uri) else {
        let text =
            "The app gave an address that nothing can be sent to. Nothing was sent. Tell the people who make it.";
        return error(app, StatusCode::BAD_REQUEST, "This app cannot be reached", text);
    };
    let (frame, to) = (Frame::of(app), shown(to, 60));
    page(StatusCode::OK, LeavePage { frame, to, place, opens_program, said, target: target_uri }.render())
}

#[derive(Template)]
#[template(path = "stay.html")]
struct StayPage<'a> {
    frame: Frame<'a>,
    place: String,
    opens_program: bool,
    problem: &'a str,
    /// The user can mend it on their own page.
    is_theirs: bool,
    number: Option<String>,
    target: &'a str,
}

/// A page that says why an app got nothing; it leads back to the app only if the user wants to.
pub(super) fn stay(app: &App, target_uri: &str, refusal: &Refusal) -> Response {
    let Some((place, opens_program)) = place_of(target_uri) else {
        return leave(app, target_uri, "", None);
    };
    let (frame, problem) = (Frame::of(app), why(refusal.reason));
    let is_theirs = refusal.reason == ReasonCode::ConsentPaused;
    let rendered = StayPage { frame, place, opens_program, problem, is_theirs, number: number(), target: target_uri };
    page(StatusCode::BAD_REQUEST, rendered.render())
}

/// Where a URI leads, for people, and whether it opens a program; none if nobody should be led there.
fn place_of(target_uri: &str) -> Option<(String, bool)> {
    // The URL parser would silently drop a line break; no URI has one.
    let url = Url::parse(target_uri).ok().filter(|_| !target_uri.chars().any(char::is_control))?;
    match (url.scheme(), url.host_str(), url.port()) {
        (scheme, ..) if NEVER.contains(&scheme) => None,
        ("http" | "https", Some(host), Some(port)) => Some((format!("{host}:{port}"), false)),
        ("http" | "https", Some(host), None) => Some((host.to_owned(), false)),
        (scheme, ..) => Some((shown(scheme, 40), true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_where_they_go() {
        let place = |uri| place_of(uri).unwrap();
        assert_eq!(place("https://claude.ai/api/mcp/auth_callback?code=1"), ("claude.ai".to_owned(), false));
        assert_eq!(place("http://localhost:3334/?code=1"), ("localhost:3334".to_owned(), false));
        assert_eq!(place("cursor://anysphere.cursor-mcp/oauth/callback?code=1"), ("cursor".to_owned(), true));
    }

    #[test]
    fn nobody_is_led_to_what_would_run_or_show_something_here() {
        for uri in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "java\nscript:alert(1)",
            " javascript:alert(1)",
            "data:text/html,<script>alert(1)</script>",
            "file:///etc/passwd",
            "blob:https://a.example/1",
            "https://a.example/\r\nSet-Cookie: x",
            "not a URI",
        ] {
            assert_eq!(place_of(uri), None, "{uri:?}");
        }
    }
}
