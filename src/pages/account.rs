//! `/account`: the apps that act for the user who looks.

mod activity;
mod agreement;
mod chart;
mod export;
mod held;
mod sentence;

pub(super) use activity::show as events;
pub(super) use agreement::{change, preview_end, show as agreement};
pub(super) use export::{csv, json_lines};

use super::error::unavailable;
use super::layout::{Frame, page};
use super::login::{self, LoginWish};
use super::session::Browser;
use super::who::shown_account;
use crate::app::App;
use crate::domain::resource::Access;
use crate::domain::sign_in::SignIn;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use held::{AgreedBy, Held};
use std::sync::Arc;

/// What was done, as the page says it after a change.
const SAID: [(&str, &str); 5] = [
    ("narrowed", "Done. It may do less from now on."),
    ("shortened", "Done. It ends sooner."),
    ("paused", "Paused. It gets nothing until you let it go on."),
    ("resumed", "It goes on."),
    ("ended", "Ended. It gets nothing more."),
];

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    frame: Frame<'a>,
    said: Option<&'static str>,
    held: Vec<Held>,
}

/// `GET /account`.
pub(super) async fn show(State(app): State<Arc<App>>, browser: Browser) -> Result<Response, Response> {
    let user = signed_in(&app, &browser, "/account").await?;
    let account = shown_account(user.account());
    let done = browser.take_said(&app).await?;
    let said = done.and_then(|done| SAID.iter().find(|(code, _)| *code == done)).map(|(_, text)| *text);
    let held = held::by(&app, &user).await?;
    let frame = Frame::of(&app).with_account(&account);
    Ok(page(StatusCode::OK, AccountPage { frame, said, held }.render()))
}

/// Who looks; they come back to the path.
async fn signed_in(app: &App, browser: &Browser, path: &str) -> Result<SignIn, Response> {
    if let Some(user) = browser.signed_in(app).await? {
        return Ok(user);
    }
    Err(login::begin(app, browser, LoginWish { return_to: path.to_owned(), ..LoginWish::default() }).await)
}
