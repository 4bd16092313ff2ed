//! `/callback/{idp}`: the user comes back from their provider. What does not fit the sign-in that this very browser began
//! is refused (rules OC-03, OC-04, SB-13, IS-03).

use super::super::error::{Named, error, not_signed_in, too_many, unavailable};
use super::super::layout::see_other;
use super::super::session::{Attempt, Browser};
use super::super::who::{isolated, shown};
use super::{NAME_CHARACTERS, VERIFIER_PURPOSE, callback_uri, cannot_begin};
use crate::app::App;
use crate::domain::event::{AuditEvent, EventKind, EventOutcome, EventSubject};
use crate::domain::identity_provider::IdentityProvider;
use crate::domain::names::{IdpId, UserId};
use crate::domain::sign_in::SignIn;
use crate::domain::subject::Subject;
use crate::domain::user::User;
use crate::grants::Received;
use crate::grants::params::decode;
use crate::tokens::seal::open_for;
use crate::upstream::login::LoginError;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use secrecy::ExposeSecret;
use std::sync::Arc;

/// The reason codes of events.
const SIGNED_IN: &str = "signed_in";
const SIGN_IN_FAILED: &str = "sign_in_failed";

/// `GET /callback/{idp}`.
pub(in super::super) async fn callback(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    browser: Browser,
    Named(idp): Named,
    RawQuery(query): RawQuery,
) -> Response {
    let back = Back { app: &app, received: &received, browser: &browser };
    match back.come(&idp, query.as_deref().unwrap_or_default()).await {
        Ok(page) => page,
        Err(failed) => back.failed(*failed).await,
    }
}

/// What a provider sends with the browser.
#[derive(Default)]
struct Answer {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

impl Answer {
    /// None if it cannot be read, or one of these is there twice. What else there is does not matter.
    fn read(query: &str) -> Option<Self> {
        let mut answer = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match name {
                "state" => &mut answer.state,
                "code" => &mut answer.code,
                "iss" => &mut answer.iss,
                "error" => &mut answer.error,
                _ => continue,
            };
            if place.replace(decode(value.as_bytes())?).is_some() {
                return None;
            }
        }
        Some(answer)
    }
}

/// Why the user is not signed in.
struct Failed {
    /// For the event.
    detail: String,
    subject: Option<EventSubject>,
    page: Response,
}

impl Failed {
    fn new(detail: impl Into<String>, page: Response) -> Box<Self> {
        Box::new(Self { detail: detail.into(), subject: None, page })
    }
}

struct Back<'a> {
    app: &'a App,
    received: &'a Received,
    browser: &'a Browser,
}

impl Back<'_> {
    async fn come(&self, idp: &str, query: &str) -> Result<Response, Box<Failed>> {
        let (app, now) = (self.app, self.received.now());
        let Some(answer) = Answer::read(query) else {
            return Err(self.does_not_fit("what came back cannot be read, or has something twice"));
        };
        let snapshot = app.snapshot();
        let known = idp.parse().ok().and_then(|id: IdpId| snapshot.registry.idp(&id).cloned());
        let Some((idp, login)) = known.as_ref().and_then(|idp| Some((idp, idp.login.as_ref()?))) else {
            return Err(self.does_not_fit("nobody signs in at an identity provider of this id"));
        };
        let attempt = match &answer.state {
            Some(state) => self.browser.take_attempt(app, state).await.map_err(|page| Failed::new("database", page))?,
            None => None,
        };
        let Some(attempt) = attempt.filter(|attempt| attempt.idp == idp.id) else {
            return Err(self.does_not_fit("state is not that of a sign-in that this browser began here, in time"));
        };

        // RFC 9207 §2.4: before anything else of the answer is used, an error too.
        let must_name_itself = app.login_providers.sends_iss(idp, now).await;
        let must_name_itself = must_name_itself.map_err(|problem| self.unreachable(idp, &problem, &attempt))?;
        match &answer.iss {
            Some(iss) if *iss != idp.issuer => {
                return Err(self.does_not_fit("iss of the answer is not the issuer of the identity provider"));
            }
            None if must_name_itself => {
                return Err(
                    self.does_not_fit("the answer has no iss, and the identity provider says that it sends one")
                );
            }
            Some(_) | None => {}
        }
        if let Some(code) = answer.error {
            return Err(self.refused_there(idp, &code, &attempt));
        }
        let Some(code) = answer.code.filter(|code| !code.is_empty()) else {
            return Err(self.does_not_fit("the answer has neither code nor error"));
        };

        // OpenID Connect Core §3.1.3.
        let Some(verifier) = open_for(&app.secrets_key, VERIFIER_PURPOSE, &attempt.verifier) else {
            return Err(self.does_not_fit("the sign-in was begun under another secrets_key"));
        };
        let redeemed = app.login_providers.redeem(idp, &callback_uri(app, idp), code, verifier, now).await;
        let redeemed = redeemed.map_err(|problem| self.unreachable(idp, &problem, &attempt))?;
        let keys = app.signing_keys();
        let id_token = redeemed.id_token.expose_secret();
        let access_token = redeemed.access_token.expose_secret();
        let subject = app
            .verifier(&snapshot, &keys, now)
            .login_token(idp, login, id_token, &attempt.nonce, access_token)
            .await
            .map_err(|refusal| self.token_refused(idp, &refusal.detail, &attempt))?;
        let user = self.sign_in(idp, &subject, &attempt)?;
        let party = EventSubject::user(&user.user, &user.idp, &user.idp_sub).in_session(user.idp_session.clone());
        if snapshot.registry.is_suspended(&user.user) {
            let text = "An administrator of this service stopped this account. Nothing was allowed. Ask them if you do \
                        not know why.";
            let page = error(app, StatusCode::FORBIDDEN, "This account is stopped", text);
            return Err(Box::new(Failed { detail: "the user is suspended".to_owned(), subject: Some(party), page }));
        }
        let ended = app.store.what_ended(&user.idp, &user.idp_sub, user.idp_session.as_deref()).await;
        let ended = ended.map_err(|problem| Failed::new("database", unavailable(app, &problem.to_string())))?;
        if ended.covers(subject.issued_at) {
            return Err(self.token_refused(idp, "the identity provider said that this session has ended", &attempt));
        }
        self.record(&user, &subject, party).await?;
        self.browser
            .sign_in(app, &user, id_token, &attempt.return_to)
            .await
            .map_err(|page| Failed::new("database", page))?;
        Ok(see_other(&format!("{}{}", app.config.issuer, below_us(&attempt.return_to))))
    }

    /// Who the user is here, by what the provider says.
    fn sign_in(&self, idp: &IdentityProvider, subject: &Subject, attempt: &Attempt) -> Result<SignIn, Box<Failed>> {
        let now = self.received.now();
        let user: UserId = format!("{}{}", idp.prefix(), subject.sub)
            .parse()
            .map_err(|problem| self.token_refused(idp, &format!("sub of the ID token: {problem}"), attempt))?;
        let skew = i64::from(self.app.config.tokens.clock_skew_seconds);
        // `prompt=login` passes through the browser unsigned: whoever sits there can take it out. Not every provider says
        // when; one that does must not say that it was before.
        if attempt.again && subject.auth_time.is_some_and(|at| at < attempt.begun_at.saturating_sub(skew)) {
            let detail = "the user was to prove again who they are, and auth_time is before that";
            return Err(self.token_refused(idp, detail, attempt));
        }
        if let Some(max_age) = attempt.max_age {
            let oldest = now.saturating_sub(i64::from(max_age)).saturating_sub(skew);
            // OpenID Connect Core §3.1.2.1: whoever asks for max_age gets auth_time, and checks it.
            if subject.auth_time.is_none_or(|at| at < oldest) {
                let detail = "max_age was asked for, and auth_time is missing or too old";
                return Err(self.token_refused(idp, detail, attempt));
            }
        }
        Ok(SignIn {
            user,
            idp: idp.id.clone(),
            idp_sub: subject.sub.clone(),
            idp_session: subject.sid.clone(),
            name: subject.attributes.name.clone(),
            email: subject.attributes.email.clone(),
            auth_time: subject.auth_time,
            acr: subject.acr.clone(),
            amr: subject.amr.clone(),
            signed_in_at: now,
        })
    }

    /// The event, and what we learned of the user with it, so that later hops know their roles.
    async fn record(&self, user: &SignIn, subject: &Subject, party: EventSubject) -> Result<(), Box<Failed>> {
        let app = self.app;
        let learned = User {
            id: user.user.clone(),
            idp: user.idp.clone(),
            idp_sub: user.idp_sub.clone(),
            attributes: subject.attributes.clone(),
            attributes_at: subject.issued_at.unwrap_or(user.signed_in_at),
            suspended_at: None,
        };
        let learned = Some(learned).filter(|user| app.users.is_news(user));
        let event = AuditEvent {
            subject: Some(party),
            ..self.received.event(EventKind::SignIn, EventOutcome::Done, SIGNED_IN)
        };
        let recorded = app.audit.record(event, learned.clone()).await;
        recorded.map_err(|problem| Failed::new("audit", unavailable(app, &problem.to_string())))?;
        if let Some(user) = &learned {
            app.users.told(user);
        }
        Ok(())
    }

    /// The page for a failure, with its event.
    async fn failed(&self, failed: Failed) -> Response {
        if let Some(seconds) = self.app.limits.count_failure(self.received.source) {
            return too_many(self.app, seconds);
        }
        let event = AuditEvent {
            detail: Some(failed.detail),
            subject: failed.subject,
            ..self.received.event(EventKind::SignIn, EventOutcome::Refused, SIGN_IN_FAILED)
        };
        match self.app.audit.record(event, None).await {
            Ok(()) => failed.page,
            Err(problem) => unavailable(self.app, &problem.to_string()),
        }
    }

    /// It may be somebody's trick, so the page leads nowhere.
    fn does_not_fit(&self, detail: &str) -> Box<Failed> {
        let text = "This page was opened in another browser than the sign-in, a second time, or more than ten minutes \
                    later. Nothing was allowed. Go back to where you came from and start again there.";
        Failed::new(detail, error(self.app, StatusCode::BAD_REQUEST, "This sign-in cannot go on", text))
    }

    fn refused_there(&self, idp: &IdentityProvider, code: &str, attempt: &Attempt) -> Box<Failed> {
        let code: String = code.chars().filter(char::is_ascii_graphic).take(64).collect();
        let text = format!("{} did not sign you in. Nothing was allowed. You can try again.", named(idp));
        let return_to = below_us(&attempt.return_to);
        let page = not_signed_in(self.app, StatusCode::BAD_REQUEST, "You are not signed in", &text, return_to);
        Failed::new(format!("identity provider {} answered with error {code:?}", idp.id), page)
    }

    fn unreachable(&self, idp: &IdentityProvider, problem: &LoginError, attempt: &Attempt) -> Box<Failed> {
        let page = cannot_begin(self.app, idp, problem, below_us(&attempt.return_to));
        Failed::new(format!("identity provider {}: {problem}", idp.id), page)
    }

    fn token_refused(&self, idp: &IdentityProvider, detail: &str, attempt: &Attempt) -> Box<Failed> {
        let text = format!(
            "What {} says of you cannot be accepted here. Nothing was allowed. Try again; if it stays so, tell an \
             administrator.",
            named(idp)
        );
        let return_to = below_us(&attempt.return_to);
        let page = not_signed_in(self.app, StatusCode::BAD_REQUEST, "You are not signed in", &text, return_to);
        Failed::new(format!("the ID token of identity provider {}: {detail}", idp.id), page)
    }
}

fn named(idp: &IdentityProvider) -> String {
    isolated(&shown(&idp.name, NAME_CHARACTERS))
}

/// Where the browser goes is made by this server and kept in its own session; that it stays on this server is seen to
/// once more (A50): what follows the issuer begins with a slash, so it can be neither another host nor a port.
fn below_us(return_to: &str) -> &str {
    let is_path = return_to.starts_with('/') && !return_to.chars().any(|c| c.is_control() || c == '\\');
    if is_path { return_to } else { "/account" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_something_twice_or_damaged_is_not_read() {
        let answer = Answer::read("code=a%20b&state=s&session_state=x&iss=https%3A%2F%2Fidp.example").unwrap();
        assert_eq!(answer.code.as_deref(), Some("a b"));
        assert_eq!((answer.state.as_deref(), answer.error), (Some("s"), None));
        assert_eq!(answer.iss.as_deref(), Some("https://idp.example"));
        for bad in ["code=a&code=b", "state=&state=", "iss=%zz", "error=%ff"] {
            assert!(Answer::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_way_back_stays_on_this_server() {
        assert_eq!(below_us("/consent/abc?account=other"), "/consent/abc?account=other");
        for elsewhere in ["https://evil.example", "", ".evil.example/", ":81/", "@evil.example", "/\\evil", "/a\r\nb"] {
            assert_eq!(below_us(elsewhere), "/account", "{elsewhere:?}");
        }
    }
}
