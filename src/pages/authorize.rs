//! `/authorize` (RFC 6749 §4.1.1): from a client's request to a code, through sign-in and the user's answer.
//!
//! Nothing is remembered between the pages: what a page is about is sealed into its form, or into the path that the user
//! comes back to from the provider.

mod address;
mod answer;
mod sign_in;
mod way;

use self::address::pushed;
use super::error::error;
use super::form;
use super::layout::see_other;
use super::posted::Posted;
use super::session::Browser;
use crate::app::App;
use crate::domain::decision::SignInNeeded;
use crate::domain::names::UserId;
use crate::domain::scope::ScopeSet;
use crate::grants::Received;
use crate::grants::authorization_request::{MOST_BYTES, single};
use crate::tokens::seal;
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How long a request may take the user, in seconds.
const REQUEST_SECONDS: i64 = 1800;
/// What the forms of these pages are for.
const CONNECT: &str = "connect";
const DECIDE: &str = "authorize";
/// What tickets are sealed for.
const TICKET: &str = "authorization ticket";

/// A request on its way through the pages.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Ticket {
    /// The request as the client sent it, form-encoded.
    form: String,
    /// When it came, Unix seconds.
    begun_at: i64,
    /// The user was led to a stronger sign-in for it.
    stepped_up: bool,
}

impl Ticket {
    fn is_live(&self, received: &Received) -> bool {
        received.now() < self.begun_at.saturating_add(REQUEST_SECONDS)
    }

    /// Where the request goes on.
    fn continue_path(&self, app: &App) -> String {
        let ticket = serde_json::to_string(self).expect("a ticket has only texts and numbers");
        continue_path(&seal::seal_for(&app.secrets_key, TICKET, &ticket))
    }
}

/// What the form of the page before the sign-in is about.
#[derive(Debug, Serialize, Deserialize)]
struct AboutConnect {
    ticket: Ticket,
    needed: Option<SignInNeeded>,
}

/// What the form of the consent page is about.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    ticket: Ticket,
    user: UserId,
    offered: ScopeSet,
}

/// Everything that a request needs on its way.
struct Way<'a> {
    app: &'a App,
    received: &'a Received,
    browser: &'a Browser,
    ticket: Ticket,
    /// The user just signed in for it.
    is_answered: bool,
    /// A form of ours was sent: then a redirect to elsewhere would be stopped (rule CL-20).
    after_form: bool,
}

/// `GET` and `POST /authorize`.
pub(super) async fn authorize(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    browser: Browser,
    request: Request<Body>,
) -> Response {
    // A form of another site comes without our cookie, and would begin a new session in place of the one there is. As a GET
    // of our own it comes with it.
    if request.method() == Method::POST {
        let limit = app.config.limits.body_bytes.max(1);
        let body = axum::body::to_bytes(request.into_body(), limit).await.ok();
        let form = body.and_then(|body| String::from_utf8(body.to_vec()).ok()).filter(|form| is_query(form));
        return match form {
            Some(form) if form.len() <= MOST_BYTES => {
                see_other(&format!("{}/authorize?{form}", super::layout::Frame::of(&app).base))
            }
            Some(_) => bad_request(&app, "The request is too large: more than 8192 bytes."),
            None => bad_request(&app, "The request cannot be read."),
        };
    }
    let form = request.uri().query().unwrap_or_default().to_owned();
    let form = match pushed(&app, &received, form).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let ticket = Ticket { form, begun_at: received.now(), stepped_up: false };
    Way { app: &app, received: &received, browser: &browser, ticket, is_answered: false, after_form: false }.go().await
}

/// `GET /authorize/continue`: back from the provider.
pub(super) async fn go_on(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    browser: Browser,
    RawQuery(query): RawQuery,
) -> Response {
    let Some((sealed, ticket)) = ticket_in(&app, &received, query.as_deref()) else {
        return too_late(&app);
    };
    let is_answered = match browser.signed_in_for(&app, &continue_path(&sealed)).await {
        Ok(is_answered) => is_answered,
        Err(page) => return page,
    };
    Way { app: &app, received: &received, browser: &browser, ticket, is_answered, after_form: false }.go().await
}

/// `GET /authorize/stop`: the user could not sign in, or did not want to, and lets the app know.
pub(super) async fn stop(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    browser: Browser,
    RawQuery(query): RawQuery,
) -> Response {
    let Some((_, ticket)) = ticket_in(&app, &received, query.as_deref()) else {
        return too_late(&app);
    };
    let way = Way { app: &app, received: &received, browser: &browser, ticket, is_answered: false, after_form: false };
    way.stopped().await.unwrap_or_else(|page| page)
}

/// Where the user comes back to from the provider.
fn continue_path(sealed: &str) -> String {
    format!("/authorize/continue?ticket={sealed}")
}

/// Where the user goes instead, if the provider did not sign them in.
pub(super) fn stop_path(return_to: &str) -> Option<String> {
    return_to.strip_prefix("/authorize/continue?").map(|query| format!("/authorize/stop?{query}"))
}

/// The ticket in a query, sealed and open.
fn ticket_in(app: &App, received: &Received, query: Option<&str>) -> Option<(String, Ticket)> {
    let sealed = single(query.unwrap_or_default().as_bytes(), "ticket").ok().flatten().unwrap_or_default();
    let opened = seal::open_for(&app.secrets_key, TICKET, &sealed);
    let ticket = opened.and_then(|text| serde_json::from_str::<Ticket>(&text).ok());
    ticket.filter(|ticket| ticket.is_live(received)).map(|ticket| (sealed, ticket))
}

/// `POST /authorize/connect`: the user lets an app that nobody here vouches for go on to the sign-in, or not.
pub(super) async fn connect(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    browser: Browser,
    headers: HeaderMap,
    posted: Posted,
) -> Response {
    let field = posted.one("form").unwrap_or_default();
    let about: AboutConnect = match form::open(&app, &browser, &headers, (CONNECT, field), |about: &AboutConnect| {
        about.ticket.is_live(&received).then(|| about.ticket.continue_path(&app))
    })
    .await
    {
        Ok(about) => about,
        Err(page) => return page,
    };
    let ticket = about.ticket;
    let allowed = posted.one("decision") == Some("allow");
    let way = Way { app: &app, received: &received, browser: &browser, ticket, is_answered: false, after_form: true };
    way.connected(allowed, about.needed.as_ref()).await.unwrap_or_else(|page| page)
}

/// `POST /authorize/decision`: Allow or Deny.
pub(super) async fn decide(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    browser: Browser,
    headers: HeaderMap,
    posted: Posted,
) -> Response {
    let field = posted.one("form").unwrap_or_default();
    let about: About = match form::open(&app, &browser, &headers, (DECIDE, field), |about: &About| {
        about.ticket.is_live(&received).then(|| about.ticket.continue_path(&app))
    })
    .await
    {
        Ok(about) => about,
        Err(page) => return page,
    };
    let ticket = about.ticket.clone();
    let way = Way { app: &app, received: &received, browser: &browser, ticket, is_answered: false, after_form: true };
    way.decided(&about, &posted).await.unwrap_or_else(|page| page)
}

/// True if a form can be a query as it is.
fn is_query(form: &str) -> bool {
    form.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>'))
}

fn bad_request(app: &App, text: &str) -> Response {
    error(
        app,
        StatusCode::BAD_REQUEST,
        "This request cannot be read",
        &format!("{text} Go back to the app and start again."),
    )
}

fn too_late(app: &App) -> Response {
    let text = "It took too long, was answered before, or you signed in as somebody else meanwhile. Nothing was allowed. Go \
                back to the app and start again there.";
    error(app, StatusCode::BAD_REQUEST, "This request has ended", text)
}
