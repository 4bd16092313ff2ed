//! Signing out: here, and at the provider if it can (OpenID Connect RP-Initiated Logout 1.0).

use super::error::{done, unavailable};
use super::form;
use super::layout::{Frame, page};
use super::leave::leave;
use super::posted::Posted;
use super::session::Browser;
use super::who::shown_account;
use crate::app::App;
use crate::domain::event::{AuditEvent, EventKind, EventOutcome, EventSubject};
use crate::domain::sign_in::SignIn;
use crate::grants::Received;
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use std::sync::Arc;

/// What the form is for.
const PURPOSE: &str = "sign out";

#[derive(Template)]
#[template(path = "logout.html")]
struct LogoutPage<'a> {
    frame: Frame<'a>,
    form: &'a str,
    account: String,
}

/// `GET /logout`: asks, for a link on another site must not sign anybody out.
pub(super) async fn ask(State(app): State<Arc<App>>, browser: Browser) -> Response {
    asked(&app, &browser).await.unwrap_or_else(|page| page)
}

async fn asked(app: &App, browser: &Browser) -> Result<Response, Response> {
    let Some(user) = browser.signed_in(app).await? else {
        return Ok(signed_out(app));
    };
    let form = form::seal(app, browser, PURPOSE, &()).await?;
    let account = shown_account(user.account());
    Ok(page(StatusCode::OK, LogoutPage { frame: Frame::of(app), form: &form, account }.render()))
}

/// `POST /logout`.
pub(super) async fn end(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    browser: Browser,
    headers: HeaderMap,
    posted: Posted,
) -> Response {
    ended(&app, &received, &browser, &headers, &posted).await.unwrap_or_else(|page| page)
}

/// `GET /logged-out`: where the provider sends the browser afterwards.
pub(super) async fn after(State(app): State<Arc<App>>) -> Response {
    signed_out(&app)
}

async fn ended(
    app: &App,
    received: &Received,
    browser: &Browser,
    headers: &HeaderMap,
    posted: &Posted,
) -> Result<Response, Response> {
    let field = posted.one("form").unwrap_or_default();
    form::open(app, browser, headers, (PURPOSE, field), |()| Some("/logout".to_owned())).await?;
    let Some((user, id_token)) = browser.sign_out(app).await? else {
        return Ok(signed_out(app));
    };
    // Signed out in any case; but nothing of it is done in secret.
    let recorded = app.audit.record(event(received, &user), None).await;
    recorded.map_err(|problem| unavailable(app, &problem.to_string()))?;
    let snapshot = app.snapshot();
    let Some(idp) = snapshot.registry.idp(&user.idp).filter(|idp| idp.login.is_some()) else {
        return Ok(signed_out(app));
    };
    let afterwards = format!("{}/logged-out", app.config.issuer);
    let there = app.login_providers.end_session_url(idp, id_token.as_deref(), &afterwards, received.now()).await;
    match there {
        Ok(Some(url)) => Ok(leave(app, url.as_str(), &idp.name, None)),
        Ok(None) => Ok(signed_out(app)),
        Err(problem) => {
            tracing::warn!(idp = %idp.id, %problem, "a user is signed out here, and not at their provider");
            Ok(signed_out(app))
        }
    }
}

fn signed_out(app: &App) -> Response {
    let text = "Nobody is signed in here in this browser. Apps that you allowed to act for you still may: see your page \
                for that.";
    done(app, "You are signed out", text, Some(("See what apps may do for you", "/account")))
}

fn event(received: &Received, user: &SignIn) -> AuditEvent {
    let mut event = received.event(EventKind::SignOut, EventOutcome::Done, "signed_out");
    event.subject = Some(EventSubject::user(&user.user, &user.idp, &user.idp_sub).in_session(user.idp_session.clone()));
    event
}
