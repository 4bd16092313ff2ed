//! `/inspect` on the private listener: a token in words, for operators. What `procura inspect` says, on a page.
//!
//! The token comes in the body of a form, is kept nowhere, and is not shown again. Nothing is changed, so the form needs
//! no seal.

use super::error::{error, unavailable};
use super::layout::{Frame, page};
use super::posted::Posted;
use crate::app::App;
use crate::config::is_loopback;
use crate::grants::Received;
use crate::grants::inspection::{Against, Inspection, InspectionProblem, indented, inspect};
use crate::tokens::offline::Outcome;
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value};
use std::sync::Arc;
use url::Url;

#[derive(Template)]
#[template(path = "inspect.html")]
struct InspectPage<'a> {
    frame: Frame<'a>,
    /// Each backend: id, name, and whether it was chosen.
    resources: Vec<(&'a str, &'a str, bool)>,
    shown: Option<Shown>,
    problem: Option<&'static str>,
}

/// What is said of a token.
struct Shown {
    inspection: Inspection,
    verdict: String,
    mood: Mood,
    header: String,
    claims: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    Bad,
    Open,
}

/// `GET /inspect`.
pub(super) async fn ask(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if let Some(refusal) = refuse(&app, &headers) {
        return refusal;
    }
    show(&app, StatusCode::OK, None, "", None)
}

/// `POST /inspect`.
pub(super) async fn tell(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    headers: HeaderMap,
    posted: Posted,
) -> Response {
    if let Some(refusal) = refuse(&app, &headers) {
        return refusal;
    }
    let chosen = posted.one("resource").unwrap_or_default();
    let Some(token) = posted.one("token").map(str::trim).filter(|token| !token.is_empty()) else {
        return show(&app, StatusCode::BAD_REQUEST, None, chosen, Some("Put a token in the field."));
    };
    let (snapshot, now) = (app.snapshot(), received.now());
    let jwks = app.signing_keys().jwks(now);
    let against = Against {
        issuer: Some(&app.config.issuer),
        audience: Some(chosen).filter(|chosen| !chosen.is_empty()),
        jwks: Some(&jwks.body),
    };
    match inspect(token, against, Some(app.remembered(&snapshot)), now).await {
        Ok(inspection) => show(&app, StatusCode::OK, Some(Shown::of(inspection)), chosen, None),
        Err(InspectionProblem::Keys(problem)) => unavailable(&app, &problem),
        Err(InspectionProblem::Store(problem)) => unavailable(&app, &problem.to_string()),
    }
}

fn show(app: &App, status: StatusCode, shown: Option<Shown>, chosen: &str, problem: Option<&'static str>) -> Response {
    let snapshot = app.snapshot();
    let resources = snapshot.registry.resources();
    let resources = resources.map(|resource| {
        let id = resource.id.as_str();
        (id, resource.name.as_str(), id == chosen)
    });
    let page_of = InspectPage { frame: Frame::of(app), resources: resources.collect(), shown, problem };
    page(status, page_of.render())
}

impl Shown {
    fn of(inspection: Inspection) -> Self {
        let is_open = inspection.checks.iter().any(|check| check.outcome == Outcome::NotChecked && check.name == "aud");
        let mood = match (inspection.failed().is_empty(), is_open) {
            (false, _) => Mood::Bad,
            (true, true) => Mood::Open,
            (true, false) => Mood::Good,
        };
        let verdict = sentence(&inspection.verdict());
        let (header, claims) = (pretty(&inspection.header), pretty(&inspection.claims));
        Self { inspection, verdict, mood, header, claims }
    }
}

fn sentence(line: &str) -> String {
    let mut characters = line.chars();
    let first: String = characters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", characters.as_str())
}

fn pretty(part: &Map<String, Value>) -> String {
    if part.is_empty() { String::new() } else { indented(part) }
}

/// A page of elsewhere must not look at what is shown here: neither by a form, nor under a name of its own that leads to
/// this machine (DNS rebinding).
fn refuse(app: &App, headers: &HeaderMap) -> Option<Response> {
    let is_here = |host: &str| Url::parse(&format!("http://{host}")).is_ok_and(|url| is_loopback(&url));
    let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    let is_ours = !app.config.admin_listen.ip().is_loopback() || host.is_none_or(is_here);
    let site = headers.get("sec-fetch-site");
    // Browsers say less to a plain http address that is not this machine's.
    let origin = headers.get(header::ORIGIN).filter(|origin| *origin != "null").map(|origin| {
        let origin = Url::parse(origin.to_str().unwrap_or_default()).ok();
        let place = origin.and_then(|url| Some((url.host_str()?.to_owned(), url.port())));
        let own = host.and_then(|host| Url::parse(&format!("http://{host}")).ok());
        let own = own.and_then(|url| Some((url.host_str()?.to_owned(), url.port())));
        place.is_some() && place == own
    });
    let is_from_here = site.is_none_or(|site| site == "same-origin" || site == "none") && origin.unwrap_or(true);
    let text =
        "It was asked for by a page of another site, or under a name that is not this machine's. Nothing is shown.";
    (!is_ours || !is_from_here).then(|| error(app, StatusCode::FORBIDDEN, "This page cannot be used", text))
}
