//! `/consent/{handle}`: what a client asks of the user at a token exchange, the user's answer, and how the client learns
//! of it.

use super::consent_choice::{agreed_before, is_paused, offered, read_choice};
use super::consent_view::{Again, View, page_for};
use super::error::{Named, done, error, error_with_link, expired, failed, stopped, unavailable};
use super::posted::Posted;
use super::session::Browser;
use super::who::{Who, isolated, shown, shown_account};
use super::{form, login};
use crate::app::{App, Snapshot};
use crate::domain::client::ClientEntry;
use crate::domain::consent::{Consent, ConsentAnswer};
use crate::domain::names::{IdpId, UserId};
use crate::domain::resource::Resource;
use crate::domain::scope::ScopeSet;
use crate::domain::sign_in::SignIn;
use crate::grants::Received;
use crate::grants::consent::{Parties, give, refuse};
use crate::secrets::digest;
use crate::store::{ConsentRequest, StoreError};
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a form of this page is for.
const PURPOSE: &str = "consent";
/// The query of the link "not you?".
const OTHER_ACCOUNT: &str = "account=other";
/// Seconds between two looks of a client that waits.
const POLL_INTERVAL_SECONDS: u32 = 5;

/// What a form of this page is about.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    handle_digest: String,
    user: UserId,
    offered: ScopeSet,
}

/// `GET /consent/{handle}`: the page behind a `consent_uri`.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    browser: Browser,
    Named(handle): Named,
    RawQuery(query): RawQuery,
) -> Response {
    let asked = match Asked::find(&app, &handle).await {
        Ok(asked) => asked,
        Err(page) => return page,
    };
    let user = match signed_in(&app, &browser, &asked, query.as_deref() == Some(OTHER_ACCOUNT)).await {
        Ok(user) => user,
        Err(page) => return page,
    };
    asked.show(&app, &browser, &user, None).await.unwrap_or_else(|page| page)
}

/// `POST /consent/{handle}`: Allow or Deny.
pub(super) async fn decide(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    browser: Browser,
    Named(handle): Named,
    headers: HeaderMap,
    posted: Posted,
) -> Response {
    answer(&app, &received, &browser, &handle, &headers, &posted).await.unwrap_or_else(|page| page)
}

async fn answer(
    app: &App,
    received: &Received,
    browser: &Browser,
    handle: &str,
    headers: &HeaderMap,
    posted: &Posted,
) -> Result<Response, Response> {
    let field = posted.one("form").unwrap_or_default();
    let about: About = form::open(app, browser, headers, (PURPOSE, field), |about: &About| {
        // Not a link that whoever sent the form chose.
        (about.handle_digest == digest(handle)).then(|| format!("/consent/{handle}"))
    })
    .await?;
    let asked = Asked::find(app, handle).await?;
    let user = signed_in(app, browser, &asked, false).await?;
    if about.handle_digest != asked.handle_digest || about.user != user.user {
        let text = "It belongs to another page. Nothing was allowed. Open the link from the app again.";
        return Err(error(app, StatusCode::FORBIDDEN, "This form cannot be used here", text));
    }
    let consents = app.consents.of(&app.store, &user.user).await;
    let consents = consents.map_err(|cause| unavailable(app, &cause.to_string()))?;
    if is_paused(&consents, &asked.client.client, &asked.resource, received.now()) {
        return Ok(asked.paused(app));
    }
    let agreed = agreed_before(&consents, &asked.client.client, &asked.resource, received.now());
    let choice = match read_choice(posted, &about.offered, agreed) {
        Ok(choice) => choice,
        Err(problem) => {
            return asked.show(app, browser, &user, Some(Again { problem, posted, seen: &about.offered })).await;
        }
    };
    let who = asked.who(app);
    // What was said of a code goes on.
    let redirect_uri = agreed.and_then(|consent| consent.redirect_uri.as_deref());
    let parties =
        Parties { user: &user, client: &asked.client, resource: &asked.resource, redirect_uri, handle: Some(handle) };
    let account = ("See or change what apps may do for you", "/account");
    if choice.allow {
        let given = give(app, received, &parties, choice.scopes, choice.lasts).await;
        given.map_err(|failure| failed(app, &failure))?;
        let text = format!(
            "You allowed {who} to act for you at {}. Go back to the app: it goes on by itself. You can close this page.",
            isolated(&shown(&asked.resource.name, 60))
        );
        Ok(done(app, "Done. Go back to the app.", &text, Some(account)))
    } else {
        refuse(app, received, &parties, asked.request.scopes.clone()).await.map_err(|failure| failed(app, &failure))?;
        let text = format!("You said no, and {who} gets nothing new. You can close this page.");
        Ok(stopped(app, "Not allowed", &text, Some(account)))
    }
}

/// What `GET /consent/{handle}/status` answers.
#[derive(Serialize)]
struct Status {
    status: &'static str,
    interval: u32,
}

/// `GET /consent/{handle}/status`: how the client that shows the link learns of the answer. The handle cannot be guessed,
/// and nothing is said of the user.
pub(super) async fn status(State(app): State<Arc<App>>, Named(handle): Named) -> Response {
    let (code, status) = match state_of(&app, &handle).await {
        Ok(Some(status)) => (StatusCode::OK, status),
        Ok(None) => (StatusCode::NOT_FOUND, "expired"),
        Err(error) => {
            tracing::error!(%error, "the state of a consent request could not be read");
            let fields = [(header::CACHE_CONTROL, "no-store"), (header::RETRY_AFTER, "5")];
            return (StatusCode::SERVICE_UNAVAILABLE, fields).into_response();
        }
    };
    let fields = [(header::CACHE_CONTROL, "no-store")];
    (code, fields, axum::Json(Status { status, interval: POLL_INTERVAL_SECONDS })).into_response()
}

/// None if there is no such request, or none any more.
async fn state_of(app: &App, handle: &str) -> Result<Option<&'static str>, StoreError> {
    let Some(request) = app.store.find_consent_request(&digest(handle)).await? else {
        return Ok(None);
    };
    if let Some(answer) = request.answer {
        return Ok(Some(answer.as_str()));
    }
    let now = app.clock.now();
    // The user may have agreed on another page, or an administrator for them.
    let consents = app.consents.of(&app.store, &request.user).await?;
    let is_answer = |consent: &Consent| {
        let same = consent.client == request.client && consent.resource == request.resource;
        same && consent.is_live(now) && request.scopes.iter().any(|scope| consent.scopes.contains(scope))
    };
    let agreed = consents.iter().any(is_answer).then_some(ConsentAnswer::Allowed.as_str());
    Ok(Some(agreed.unwrap_or(if now < request.expires_at { "pending" } else { "expired" })))
}

/// A live request with its parties.
struct Asked {
    handle: String,
    handle_digest: String,
    request: ConsentRequest,
    snapshot: Arc<Snapshot>,
    client: Arc<ClientEntry>,
    resource: Arc<Resource>,
}

impl Asked {
    async fn find(app: &App, handle: &str) -> Result<Self, Response> {
        let unreadable = |cause: StoreError| unavailable(app, &cause.to_string());
        let handle_digest = digest(handle);
        let request = app.store.find_consent_request(&handle_digest).await.map_err(unreadable)?;
        let now = app.clock.now();
        let Some(request) = request.filter(|request| now < request.expires_at) else {
            return Err(expired(app));
        };
        let snapshot = app.snapshot();
        let client = app.clients.find(&app.store, &snapshot, &request.client).await.map_err(unreadable)?;
        let resource = snapshot.registry.resource(&request.resource).cloned();
        let (Some(client), Some(resource)) = (client, resource) else {
            return Err(expired(app));
        };
        if client.suspended_at.is_some() {
            let text = "The administrator of this service stopped the app that sent you here. Nothing can be allowed to it \
                        at the moment.";
            return Err(error(app, StatusCode::FORBIDDEN, "This app is stopped", text));
        }
        Ok(Self { handle: handle.to_owned(), handle_digest, request, snapshot, client, resource })
    }

    /// The page, or that there is nothing left to say.
    async fn show(
        &self,
        app: &App,
        browser: &Browser,
        user: &SignIn,
        again: Option<Again<'_>>,
    ) -> Result<Response, Response> {
        let consents = app.consents.of(&app.store, &user.user).await;
        let consents = consents.map_err(|cause| unavailable(app, &cause.to_string()))?;
        if is_paused(&consents, &self.client.client, &self.resource, app.clock.now()) {
            return Ok(self.paused(app));
        }
        let agreed = agreed_before(&consents, &self.client.client, &self.resource, app.clock.now());
        let account = Some(("See what apps may do for you", "/account"));
        if agreed.is_some_and(|consent| self.request.scopes.is_subset(&consent.scopes)) {
            let text =
                "You have agreed to this already. There is nothing left to do here: go back to the app and try again.";
            return Ok(done(app, "You agreed to this already", text, account));
        }
        // Who left something unticked, or took it back, is not asked for it again by the same link: the app gets a new one.
        if self.request.answer == Some(ConsentAnswer::Allowed) {
            let text = "You answered here before, and what the app wants is not among what you allow it now. Go back to the \
                        app and try again: then you are asked once more.";
            return Ok(done(app, "You answered this already", text, account));
        }
        let scopes = offered(&self.request.scopes, agreed);
        let about =
            About { handle_digest: self.handle_digest.clone(), user: user.user.clone(), offered: scopes.clone() };
        let form = form::seal(app, browser, PURPOSE, &about).await?;
        let action = format!("/consent/{}", self.handle);
        Ok(page_for(
            app,
            &View {
                client: &self.client,
                resource: &self.resource,
                user,
                scopes: &scopes,
                agreed,
                identity: &ScopeSet::default(),
                behind: &self.behind(app).await?,
                redirect_uri: None,
                action: &action,
                other_account: &format!("{action}?{OTHER_ACCOUNT}"),
                form: &form,
                again,
            },
        ))
    }

    /// What the client is called, in the middle of a sentence.
    fn who(&self, app: &App) -> String {
        isolated(&Who::of(&self.client, &self.snapshot.registry, &app.config.organisation.name).in_text())
    }

    /// The user wanted not to be asked.
    fn paused(&self, app: &App) -> Response {
        let place = isolated(&shown(&self.resource.name, 60));
        let text = format!(
            "You paused {} at {place}, so you are not asked what else it may do there, and it gets nothing. To be asked, let \
             it go on first, on your page.",
            self.who(app)
        );
        stopped(app, "You paused this app", &text, Some(("See or change what apps may do for you", "/account")))
    }

    /// What the apps are called that asked for what this one asks, the nearest first.
    async fn behind(&self, app: &App) -> Result<Vec<String>, Response> {
        let mut names = Vec::new();
        for id in &self.request.behind {
            let entry = app.clients.find(&app.store, &self.snapshot, id).await;
            let entry = entry.map_err(|cause| unavailable(app, &cause.to_string()))?;
            let name =
                |entry: &ClientEntry| Who::of(entry, &self.snapshot.registry, &app.config.organisation.name).in_text();
            names.push(entry.map_or_else(|| shown(id.as_str(), 60), |entry| name(&entry)));
        }
        Ok(names)
    }

    /// The provider whose users have such ids: an exchange that lacks consent does not make us remember the user.
    fn provider(&self) -> Option<IdpId> {
        let user = self.request.user.as_str();
        let providers = self.snapshot.registry.identity_providers();
        let of_user = providers.filter(|idp| user.starts_with(&idp.prefix()));
        of_user.max_by_key(|idp| idp.prefix().len()).map(|idp| idp.id.clone())
    }
}

/// The user that the request is for, signed in.
///
/// # Errors
/// A page: to sign in, to choose another account, or that somebody else is signed in.
async fn signed_in(app: &App, browser: &Browser, asked: &Asked, as_other: bool) -> Result<SignIn, Response> {
    let user = browser.signed_in(app).await?;
    let return_to = format!("/consent/{}", asked.handle);
    match user {
        Some(user) if user.user == asked.request.user && !as_other => Ok(user),
        Some(user) if !as_other => {
            let text = format!(
                "You are signed in as {}, and this request is for another account. Nothing was allowed. Sign in with the \
                 account that you use in the app.",
                isolated(&shown_account(user.account()))
            );
            let path = format!("{return_to}?{OTHER_ACCOUNT}");
            let link = ("Use another account", path.as_str());
            Err(error_with_link(app, StatusCode::FORBIDDEN, "This is for another account", &text, link))
        }
        signed_in => {
            let choose_account = signed_in.is_some();
            // What somebody else's app is called is not told to whoever opens the link.
            let wish =
                login::LoginWish { return_to, idp: asked.provider(), choose_account, ..login::LoginWish::default() };
            Err(login::begin(app, browser, wish).await)
        }
    }
}
