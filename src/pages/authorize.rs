//! `/authorize` (RFC 6749 §4.1.1): from a client's request to a code, through sign-in and the user's answer.
//!
//! Nothing is remembered between the pages: what a page is about is sealed into its form, or into the path that the user
//! comes back to from the provider.

mod address;

use self::address::pushed;
use super::connect::{Connect, connect_page};
use super::consent_view::{View, offered, page_for, read_choice};
use super::error::{error, failed, unavailable};
use super::layout::see_other;
use super::leave::leave;
use super::posted::Posted;
use super::session::Browser;
use super::who::Who;
use super::{form, login};
use crate::app::App;
use crate::domain::client::{Assurance, ClientEntry};
use crate::domain::consent::Consent;
use crate::domain::decision::{Decision, Granted, ReasonCode, Refusal, SignInNeeded};
use crate::domain::names::UserId;
use crate::domain::resource::Resource;
use crate::domain::scope::ScopeSet;
use crate::domain::sign_in::SignIn;
use crate::domain::target::Target;
use crate::grants::authorization_request::{AuthorizationRequest, read, single};
use crate::grants::authorize::{Authorizing, Outlook, refused_before_sign_in};
use crate::grants::consent::{Parties, give, refuse};
use crate::grants::{Failure, Received};
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
    /// When it came, Unix seconds: a sign-in since then is one for it.
    begun_at: i64,
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
    let form = match *request.method() {
        Method::POST => {
            let limit = app.config.limits.body_bytes.max(1);
            match axum::body::to_bytes(request.into_body(), limit).await {
                Ok(body) => body.to_vec(),
                Err(_) => return bad_request(&app, "The request is too large, or did not arrive whole."),
            }
        }
        _ => request.uri().query().unwrap_or_default().as_bytes().to_vec(),
    };
    let Ok(form) = String::from_utf8(form) else {
        return bad_request(&app, "The request cannot be read.");
    };
    let form = match pushed(&app, &received, form).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let ticket = Ticket { form, begun_at: received.now() };
    Way { app: &app, received: &received, browser: &browser, ticket, after_form: false }.go().await
}

/// `GET /authorize/continue`: back from the provider.
pub(super) async fn go_on(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    browser: Browser,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let sealed = single(query.as_bytes(), "ticket").ok().flatten().unwrap_or_default();
    let opened = seal::open_for(&app.secrets_key, TICKET, &sealed);
    let ticket = opened.and_then(|text| serde_json::from_str::<Ticket>(&text).ok());
    match ticket.filter(|ticket| received.now() < ticket.begun_at.saturating_add(REQUEST_SECONDS)) {
        Some(ticket) => Way { app: &app, received: &received, browser: &browser, ticket, after_form: false }.go().await,
        None => too_late(&app),
    }
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
    let ticket: Ticket = match form::open(&app, &browser, &headers, CONNECT, field).await {
        Ok(ticket) => ticket,
        Err(page) => return page,
    };
    let allowed = posted.one("decision") == Some("allow");
    let way = Way { app: &app, received: &received, browser: &browser, ticket, after_form: true };
    way.connected(allowed).await.unwrap_or_else(|page| page)
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
    let about: About = match form::open(&app, &browser, &headers, DECIDE, field).await {
        Ok(about) => about,
        Err(page) => return page,
    };
    let ticket = about.ticket.clone();
    let way = Way { app: &app, received: &received, browser: &browser, ticket, after_form: true };
    way.decided(&about, &posted).await.unwrap_or_else(|page| page)
}

impl Way<'_> {
    async fn go(&self) -> Response {
        self.walk().await.unwrap_or_else(|page| page)
    }

    async fn walk(&self) -> Result<Response, Response> {
        let request = self.request().await?;
        let user = self.browser.signed_in(self.app).await?;
        let user = match user {
            Some(user) if self.is_good_enough(&request, &user) => user,
            other => return self.sign_in_first(&request, other.is_some(), None).await,
        };
        let authorizing = Authorizing::new(self.app, self.received, &request, &user);
        match authorizing.outlook().await.map_err(|failure| failed(self.app, &failure))? {
            Outlook::Agreed => {
                let target = self.code(&request, &authorizing).await?;
                Ok(see_other(&target))
            }
            Outlook::Refused(decision) => self.refused(&request, &user, &authorizing, *decision).await,
            Outlook::Ask(_) if request.prompt.none => {
                let refusal = Refusal::new(ReasonCode::PageRequired, "the user would have to be asked");
                self.refuse(&request, &authorizing, Decision::refused_early(refusal)).await
            }
            Outlook::Ask(granted) => self.ask(&request, &user, &granted, None).await,
        }
    }

    /// The client's request, or a page; or, once it is known where to, an answer to the client.
    async fn request(&self) -> Result<AuthorizationRequest, Response> {
        let form = self.ticket.form.as_bytes();
        let address = self.address(form).await?;
        let read = read(&address, form).and_then(|request| {
            // A backend that there is not is told at once: nobody signs in for nothing.
            let target = request.targets.resolve(&self.app.snapshot().registry, &self.app.config.issuer);
            target.map(|_| request).map_err(|problem| Refusal::new(problem.reason(), problem.to_string()))
        });
        match read {
            Ok(request) => Ok(request),
            Err(refusal) => Err(self.answer_early(&address, refusal).await),
        }
    }

    fn is_good_enough(&self, request: &AuthorizationRequest, user: &SignIn) -> bool {
        // A sign-in since the request came is the answer to it, unless the provider says that it only knew the user from
        // before: then it was begun by another page, which asked for less.
        if user.signed_in_at >= self.ticket.begun_at {
            let begun_at = self.ticket.begun_at.saturating_sub(i64::from(self.app.config.tokens.clock_skew_seconds));
            let is_new = !request.prompt.login || user.auth_time.is_none_or(|at| at >= begun_at);
            let oldest = request.max_age.map(|max_age| begun_at.saturating_sub(i64::from(max_age)));
            return is_new && oldest.is_none_or(|oldest| user.auth_time.is_some_and(|at| at >= oldest));
        }
        let age = user.auth_time.map(|at| self.received.now().saturating_sub(at));
        let is_recent = request.max_age.is_none_or(|max_age| age.is_some_and(|age| age <= i64::from(max_age)));
        is_recent && !request.prompt.login && !request.prompt.select_account
    }

    /// To the provider; first past a page that says who wants it, if nobody here vouches for the client (rule MC-10).
    async fn sign_in_first(
        &self,
        request: &AuthorizationRequest,
        is_signed_in: bool,
        needed: Option<&SignInNeeded>,
    ) -> Result<Response, Response> {
        if request.prompt.none {
            let refusal = Refusal::new(ReasonCode::SignInRequired, "prompt=none, and the user would have to sign in");
            return Ok(self.answer_early(&request.return_address(), refusal).await);
        }
        if request.client.assurance == Assurance::Vetted || is_signed_in {
            return Ok(self.to_provider(request, needed).await);
        }
        let form = form::seal(self.app, self.browser, CONNECT, &self.ticket).await?;
        let snapshot = self.app.snapshot();
        let mut providers = snapshot.registry.identity_providers().filter(|idp| idp.login.is_some());
        let only = providers.next().filter(|_| providers.next().is_none());
        let target = request.targets.resolve(&snapshot.registry, &self.app.config.issuer).ok().flatten();
        let resource = match &target {
            Some(Target::Resource(resource)) => Some(resource.as_ref()),
            Some(Target::Issuer) | None => None,
        };
        let page = Connect {
            client: &request.client,
            resource,
            redirect_uri: &request.redirect_uri,
            provider: only.map(|idp| idp.name.as_str()),
            action: "/authorize/connect",
            form: &form,
        };
        Ok(connect_page(self.app, &page))
    }

    fn wish(&self, request: &AuthorizationRequest, needed: Option<&SignInNeeded>) -> login::LoginWish {
        let ticket = serde_json::to_string(&self.ticket).expect("a ticket has only texts and numbers");
        let max_age = [request.max_age, needed.and_then(|needed| needed.max_age)].into_iter().flatten().min();
        let wanted = needed.map(|needed| needed.acr_values.join(" ")).filter(|values| !values.is_empty());
        login::LoginWish {
            return_to: format!("/authorize/continue?ticket={}", seal::seal_for(&self.app.secrets_key, TICKET, &ticket)),
            idp: None,
            again: request.prompt.login || needed.is_some(),
            choose_account: request.prompt.select_account,
            max_age,
            acr_values: wanted.or_else(|| request.acr_values.clone()),
            login_hint: request.login_hint.clone(),
        }
    }

    async fn connected(&self, allowed: bool) -> Result<Response, Response> {
        let request = self.request().await?;
        if !allowed {
            let refusal = Refusal::new(ReasonCode::ConsentDenied, "the user did not want to sign in for this app");
            let client = &request.client.client.id;
            refused_before_sign_in(self.app, self.received, Some(client), &refusal)
                .await
                .map_err(|failure| failed(self.app, &failure))?;
            return Ok(self.denied(&request, &refusal));
        }
        Ok(self.to_provider(&request, None).await)
    }

    async fn to_provider(&self, request: &AuthorizationRequest, needed: Option<&SignInNeeded>) -> Response {
        let wish = self.wish(request, needed);
        if self.after_form {
            login::begin_after_form(self.app, self.browser, wish).await
        } else {
            login::begin(self.app, self.browser, wish).await
        }
    }

    /// The consent page.
    async fn ask(
        &self,
        request: &AuthorizationRequest,
        user: &SignIn,
        granted: &Granted,
        problem: Option<&str>,
    ) -> Result<Response, Response> {
        let Target::Resource(resource) = &granted.target else {
            return Err(unavailable(self.app, "an authorization for no backend"));
        };
        let consents = self.app.consents.of(&self.app.store, &user.user).await;
        let consents = consents.map_err(|cause| unavailable(self.app, &cause.to_string()))?;
        let agreed = current(&consents, request, resource, self.received.now());
        let offered = offered(&granted.scopes, agreed);
        let about = About { ticket: self.ticket.clone(), user: user.user.clone(), offered: offered.clone() };
        let form = form::seal(self.app, self.browser, DECIDE, &about).await?;
        let view = View {
            client: &request.client,
            resource,
            user,
            scopes: &offered,
            agreed,
            identity: &request.identity,
            redirect_uri: Some(&request.redirect_uri),
            action: "/authorize/decision",
            other_account: &self.other_account(request),
            form: &form,
            problem,
        };
        Ok(page_for(self.app, &view))
    }

    /// The same request once more, with the choice of an account.
    fn other_account(&self, request: &AuthorizationRequest) -> String {
        let pairs = url::form_urlencoded::parse(self.ticket.form.as_bytes()).filter(|(name, _)| name != "prompt");
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs);
        let prompt = if request.prompt.consent { "select_account consent" } else { "select_account" };
        query.append_pair("prompt", prompt);
        format!("/authorize?{}", query.finish())
    }

    async fn decided(&self, about: &About, posted: &Posted) -> Result<Response, Response> {
        let request = self.request().await?;
        let user = match self.browser.signed_in(self.app).await? {
            Some(user) if user.user == about.user => user,
            Some(_) | None => return Err(too_late(self.app)),
        };
        let authorizing = Authorizing::new(self.app, self.received, &request, &user);
        let granted = match authorizing.outlook().await.map_err(|failure| failed(self.app, &failure))? {
            Outlook::Ask(granted) => granted,
            // Agreed to meanwhile, on another page. Whoever says no here means no all the same.
            Outlook::Agreed if posted.one("decision") != Some("allow") => {
                let refusal =
                    Refusal::new(ReasonCode::ConsentDenied, "the user said no to what they had allowed before");
                let client = &request.client.client.id;
                let recorded = refused_before_sign_in(self.app, self.received, Some(client), &refusal).await;
                recorded.map_err(|failure| failed(self.app, &failure))?;
                return Ok(self.denied(&request, &refusal));
            }
            Outlook::Agreed => {
                let target = self.code(&request, &authorizing).await?;
                return Ok(self.leave(&request.client, &target));
            }
            Outlook::Refused(decision) => return self.refused(&request, &user, &authorizing, *decision).await,
        };
        let choice = match read_choice(posted, &about.offered) {
            Ok(choice) => choice,
            Err(problem) => return self.ask(&request, &user, &granted, Some(problem)).await,
        };
        let Target::Resource(resource) = &granted.target else {
            return Err(unavailable(self.app, "an authorization for no backend"));
        };
        let parties = Parties { user: &user, client: &request.client, resource, handle: None };
        let failed = |failure: Failure| failed(self.app, &failure);
        if !choice.allow {
            refuse(self.app, self.received, &parties, granted.scopes.clone()).await.map_err(failed)?;
            let refusal = Refusal::new(ReasonCode::ConsentDenied, "the user said no");
            return Ok(self.denied(&request, &refusal));
        }
        give(self.app, self.received, &parties, choice.scopes, choice.lasts).await.map_err(failed)?;
        let target = self.code(&request, &authorizing).await?;
        Ok(self.leave(&request.client, &target))
    }

    /// The redirect URI with a code.
    async fn code(&self, request: &AuthorizationRequest, authorizing: &Authorizing<'_>) -> Result<String, Response> {
        let address = request.return_address();
        match authorizing.code().await {
            Ok(code) => Ok(address.with(&self.app.config.issuer, &[("code", &code)])),
            Err(Failure::Refused { refusal, .. }) => Err(self.back_with_error(&address, &refusal)),
            Err(failure @ Failure::Unavailable(_)) => Err(failed(self.app, &failure)),
        }
    }

    /// Nothing would be granted. If a stronger sign-in would help, the user is led to it, once.
    async fn refused(
        &self,
        request: &AuthorizationRequest,
        user: &SignIn,
        authorizing: &Authorizing<'_>,
        decision: Decision,
    ) -> Result<Response, Response> {
        let needed = decision.outcome.as_ref().err().and_then(|refusal| refusal.sign_in.clone());
        match needed {
            Some(needed) if user.signed_in_at < self.ticket.begun_at => {
                self.sign_in_first(request, true, Some(&needed)).await
            }
            Some(_) => {
                let mut decision = decision;
                let detail = "the user signed in again, and still not as the backend wants it";
                decision.refuse_after_all(Refusal::new(ReasonCode::SignInInsufficient, detail));
                self.refuse(request, authorizing, decision).await
            }
            None => self.refuse(request, authorizing, decision).await,
        }
    }

    async fn refuse(
        &self,
        request: &AuthorizationRequest,
        authorizing: &Authorizing<'_>,
        decision: Decision,
    ) -> Result<Response, Response> {
        let Err(refusal) = decision.outcome.clone() else {
            return Err(unavailable(self.app, "a refusal without a reason"));
        };
        authorizing.refuse(decision, &refusal).await.map_err(|failure| failed(self.app, &failure))?;
        Ok(self.back_with_error(&request.return_address(), &refusal))
    }

    /// The user said no on a page of ours, so they may go back to the client, whoever it is.
    fn denied(&self, request: &AuthorizationRequest, refusal: &Refusal) -> Response {
        let description = refusal.reason.public_description();
        let parameters = [("error", refusal.error().as_str()), ("error_description", description)];
        self.leave(&request.client, &request.return_address().with(&self.app.config.issuer, &parameters))
    }

    fn leave(&self, client: &ClientEntry, target: &str) -> Response {
        let snapshot = self.app.snapshot();
        let who = Who::of(client, &snapshot.registry, &self.app.config.organisation.name);
        leave(self.app, target, &who.in_text())
    }
}

/// The live agreement, if the client still is what it was then (rule CM-15).
fn current<'a>(
    consents: &'a [Consent],
    request: &AuthorizationRequest,
    resource: &Resource,
    now: i64,
) -> Option<&'a Consent> {
    let client = &request.client.client;
    let fingerprint = client.fingerprint();
    consents.iter().find(|consent| {
        let same = consent.client == client.id && consent.resource == resource.id;
        same && consent.is_live(now) && consent.fingerprint.as_ref().is_none_or(|seen| *seen == fingerprint)
    })
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
