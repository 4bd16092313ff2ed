//! Signing in at the user's identity provider: there, and in `callback.rs` back again.

mod callback;

pub(super) use callback::callback;

use super::error::{error, not_signed_in};
use super::form;
use super::layout::{Frame, page, see_other};
use super::leave::leave;
use super::posted::Posted;
use super::session::{Attempt, Browser};
use super::who::shown;
use crate::app::App;
use crate::domain::identity_provider::IdentityProvider;
use crate::domain::names::IdpId;
use crate::secrets::random_bytes;
use crate::tokens::seal::seal_for;
use crate::upstream::login::{Ask, LoginError};
use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the form of the choice is for.
const PURPOSE: &str = "choose provider";
/// What PKCE verifiers are sealed for.
const VERIFIER_PURPOSE: &str = "seal PKCE verifiers";
/// The longest name of a provider that is shown, in characters.
const NAME_CHARACTERS: usize = 60;

/// What a page wants of a sign-in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct LoginWish {
    /// Where the browser goes afterwards: path and query below the issuer, made by this server.
    pub(super) return_to: String,
    /// Only this provider, if it is known whom the page is for.
    pub(super) idp: Option<IdpId>,
    /// The user proves who they are even if the provider still knows (`prompt=login`).
    pub(super) again: bool,
    /// The user may choose another account.
    pub(super) choose_account: bool,
    /// The oldest proof that counts, in seconds (`max_age`).
    pub(super) max_age: Option<u32>,
    /// `acr_values`.
    pub(super) acr_values: Option<String>,
    /// `login_hint`.
    pub(super) login_hint: Option<String>,
    /// For which app the user signs in, in the middle of a sentence; none for their own page.
    pub(super) app: Option<String>,
}

#[derive(Template)]
#[template(path = "choose_provider.html")]
struct ChoosePage<'a> {
    frame: Frame<'a>,
    form: &'a str,
    /// Id and name.
    providers: Vec<(&'a str, String)>,
    asking: Option<&'a str>,
}

/// How the browser gets to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By a redirect.
    Redirect,
    /// By a page that goes on: after a form was sent, a redirect would be stopped (rule CL-20).
    Page,
}

/// Sends the browser to its provider, or shows the choice of providers. Nothing is sent anywhere by a page of another
/// site: what is remembered until the user comes back is in this browser's session.
pub(super) async fn begin(app: &App, browser: &Browser, wish: LoginWish) -> Response {
    begin_by(app, browser, wish, Way::Redirect).await.unwrap_or_else(|page| page)
}

/// As [`begin`], after a form of ours was sent: by a page that goes on, for a redirect would be stopped (rule CL-20).
pub(super) async fn begin_after_form(app: &App, browser: &Browser, wish: LoginWish) -> Response {
    begin_by(app, browser, wish, Way::Page).await.unwrap_or_else(|page| page)
}

/// `POST /login`: the user chose a provider.
pub(super) async fn choose(
    State(app): State<Arc<App>>,
    browser: Browser,
    headers: HeaderMap,
    posted: Posted,
) -> Response {
    chosen(&app, &browser, &headers, &posted).await.unwrap_or_else(|page| page)
}

async fn chosen(app: &App, browser: &Browser, headers: &HeaderMap, posted: &Posted) -> Result<Response, Response> {
    let field = posted.one("form").unwrap_or_default();
    let wish: LoginWish =
        form::open(app, browser, headers, (PURPOSE, field), |wish: &LoginWish| Some(wish.return_to.clone())).await?;
    let snapshot = app.snapshot();
    let chosen = posted.one("provider").and_then(|id| id.parse().ok());
    let idp = chosen.and_then(|id: IdpId| snapshot.registry.idp(&id).filter(|idp| idp.login.is_some()).cloned());
    let Some(idp) = idp else {
        let text = "Nobody can sign in there, or no longer. Go back and choose again.";
        return Err(error(app, StatusCode::BAD_REQUEST, "This provider is not known", text));
    };
    start(app, browser, &idp, wish, Way::Page).await
}

async fn begin_by(app: &App, browser: &Browser, wish: LoginWish, way: Way) -> Result<Response, Response> {
    let snapshot = app.snapshot();
    let may_be =
        |idp: &&Arc<IdentityProvider>| idp.login.is_some() && wish.idp.as_ref().is_none_or(|wanted| *wanted == idp.id);
    let providers: Vec<&Arc<IdentityProvider>> = snapshot.registry.identity_providers().filter(may_be).collect();
    match providers.as_slice() {
        [] => Err(not_set_up(app)),
        [idp] => start(app, browser, idp, wish, way).await,
        several => {
            let form = form::seal(app, browser, PURPOSE, &wish).await?;
            let name = |idp: &Arc<IdentityProvider>| shown(&idp.name, NAME_CHARACTERS);
            let providers = several.iter().map(|idp| (idp.id.as_str(), name(idp))).collect();
            Ok(page(
                StatusCode::OK,
                ChoosePage { frame: Frame::of(app), form: &form, providers, asking: wish.app.as_deref() }.render(),
            ))
        }
    }
}

async fn start(
    app: &App,
    browser: &Browser,
    idp: &IdentityProvider,
    wish: LoginWish,
    way: Way,
) -> Result<Response, Response> {
    let now = app.clock.now();
    let random = || URL_SAFE_NO_PAD.encode(random_bytes::<32>());
    let (state, nonce, verifier) = (random(), random(), random());
    let attempt = Attempt {
        idp: idp.id.clone(),
        nonce: nonce.clone(),
        verifier: seal_for(&app.secrets_key, VERIFIER_PURPOSE, &verifier),
        return_to: wish.return_to.clone(),
        max_age: wish.max_age,
        again: wish.again,
        begun_at: now,
    };
    let ask = Ask {
        state: state.clone(),
        nonce,
        verifier,
        again: wish.again,
        choose_account: wish.choose_account,
        max_age: wish.max_age,
        acr_values: wish.acr_values,
        login_hint: wish.login_hint,
    };
    let url = app.login_providers.authorization_url(idp, &callback_uri(app, idp), ask, now).await;
    let url = url.map_err(|problem| cannot_begin(app, idp, &problem, &wish.return_to))?;
    browser.keep_attempt(app, &state, attempt).await?;
    Ok(match way {
        Way::Redirect => see_other(url.as_str()),
        Way::Page => leave(app, url.as_str(), &idp.name, None),
    })
}

/// Our redirect URI at a provider: one for each, so that an answer of one cannot pass for another's (rule SB-13).
fn callback_uri(app: &App, idp: &IdentityProvider) -> String {
    format!("{}/callback/{}", app.config.issuer, idp.id)
}

fn not_set_up(app: &App) -> Response {
    let text = "Nobody can sign in on this server yet, so it cannot know that it is you. Nothing was allowed. An \
                administrator can set up sign-in; tell them what you see here.";
    error(app, StatusCode::SERVICE_UNAVAILABLE, "Sign-in is not set up", text)
}

/// The page for a sign-in that cannot be begun, or not be ended; the log says why.
fn cannot_begin(app: &App, idp: &IdentityProvider, problem: &LoginError, return_to: &str) -> Response {
    let name = super::who::isolated(&shown(&idp.name, NAME_CHARACTERS));
    tracing::error!(idp = %idp.id, %problem, "a user cannot sign in");
    match problem {
        LoginError::NotSetUp(_) => {
            let text = format!(
                "Sign-in at {name} is not set up completely on this server. Nothing was allowed. An administrator can \
                 see in the log what is missing; tell them what you see here."
            );
            error(app, StatusCode::SERVICE_UNAVAILABLE, "Sign-in is not set up", &text)
        }
        LoginError::Unreachable(_) | LoginError::Refused(_) => {
            let text = format!(
                "{name} cannot be reached at the moment, or does not answer as it should. Nothing was allowed. Try again \
                 in a minute."
            );
            let title = "You cannot sign in at the moment";
            not_signed_in(app, StatusCode::SERVICE_UNAVAILABLE, title, &text, return_to)
        }
    }
}
