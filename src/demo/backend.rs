//! The two demo backends, records and models. Each fetches Procura's public keys once, when it starts; from then on it
//! checks tokens by itself and asks nobody.
//!
//! Who is served is decided by the token alone. Headers such as `X-User-Id` are never read.

use super::DemoFailure;
use super::http::{self, Credentials, Http};
use super::people::Person;
use crate::clock::Clock;
use crate::tokens::offline::OfflineVerifier;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The token that a backend with a client identity of its own sends onward is of this type (RFC 8693 §3).
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A backend's own clock, which the story sets ahead once to see a token expire.
#[derive(Debug, Clone, Default)]
pub(super) struct BackendClock {
    clock: Clock,
    seconds_ahead: Arc<AtomicI64>,
}

impl BackendClock {
    pub(super) fn set_ahead(&self, seconds: i64) {
        self.seconds_ahead.store(seconds, Ordering::SeqCst);
    }

    fn now(&self) -> i64 {
        self.clock.now().saturating_add(self.seconds_ahead.load(Ordering::SeqCst))
    }
}

/// What both backends have.
struct Guard {
    /// Names the backend in `WWW-Authenticate`.
    realm: &'static str,
    verifier: OfflineVerifier,
    clock: BackendClock,
}

/// For whom a call is made, and through whom; from the token and from nowhere else.
struct Caller {
    sub: String,
    /// The current actor first.
    actors: Vec<String>,
    /// The claim that `actors` was read from.
    act: Value,
    token: String,
}

/// How the records backend reaches the models backend for the user it is serving.
pub(super) struct NextHop {
    pub(super) http: Http,
    /// Procura's token endpoint.
    pub(super) token_endpoint: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    /// The models backend: both its address and its `aud`.
    pub(super) models: String,
}

/// What Procura publishes and a backend needs: fetched once.
#[derive(Debug, Clone)]
pub(super) struct Published {
    issuer: String,
    jwks: String,
}

impl Published {
    /// Reads the metadata of `issuer` (RFC 8414) and the keys it points to.
    pub(super) async fn fetch(http: &Http, issuer: &str) -> Result<Self, DemoFailure> {
        let url = format!("{issuer}/.well-known/oauth-authorization-server");
        let metadata = http.get(&url, Credentials::Nothing).await?;
        if metadata.text("issuer") != issuer {
            return Err(DemoFailure(format!("{url} does not name the issuer {issuer}")));
        }
        let jwks = http.get(&metadata.text("jwks_uri"), Credentials::Nothing).await?;
        Ok(Self { issuer: issuer.to_owned(), jwks: jwks.body })
    }

    fn guard(&self, realm: &'static str, audience: &str, clock: BackendClock) -> Result<Guard, DemoFailure> {
        let verifier = OfflineVerifier::new(&self.issuer, audience, &self.jwks)
            .map_err(|problem| DemoFailure(format!("the {realm} backend cannot use Procura's keys: {problem}")))?;
        Ok(Guard { realm, verifier, clock })
    }
}

struct Records {
    guard: Guard,
    next: NextHop,
}

/// Serves `GET /records` and `POST /records/summary` under the audience `audience`.
pub(super) fn serve_records(
    listener: TcpListener,
    audience: &str,
    published: &Published,
    clock: BackendClock,
    next: NextHop,
    ended: &CancellationToken,
) -> Result<(), DemoFailure> {
    let records = Arc::new(Records { guard: published.guard("records", audience, clock)?, next });
    let router =
        Router::new().route("/records", get(rows)).route("/records/summary", post(summary)).with_state(records);
    http::serve(listener, router, ended);
    Ok(())
}

/// Serves `POST /models/{model}` under the audience `audience`.
pub(super) fn serve_models(
    listener: TcpListener,
    audience: &str,
    published: &Published,
    clock: BackendClock,
    ended: &CancellationToken,
) -> Result<(), DemoFailure> {
    let guard = Arc::new(published.guard("models", audience, clock)?);
    http::serve(listener, Router::new().route("/models/{model}", post(model)).with_state(guard), ended);
    Ok(())
}

/// The rows of the user in the token, nobody else's.
async fn rows(State(records): State<Arc<Records>>, headers: HeaderMap) -> Result<Response, Refused> {
    let caller = records.guard.admit(&headers, "records.read")?;
    let rows = Person::find(&caller.sub).map(Person::rows).unwrap_or_default();
    Ok(axum::Json(json!({ "for": caller.sub, "through": caller.actors, "rows": rows })).into_response())
}

/// Has a model sum up the user's rows: the second hop. The token this backend was given is good here only, so it
/// trades it for one for the models backend.
async fn summary(State(records): State<Arc<Records>>, headers: HeaderMap) -> Result<Response, Refused> {
    let caller = records.guard.admit(&headers, "records.read")?;
    let next = &records.next;
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", caller.token.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", next.models.as_str()),
        ("scope", "model.general"),
    ];
    let credentials = Credentials::Basic(&next.client_id, &next.client_secret);
    let bad_gateway = |problem: DemoFailure| Refused::Elsewhere(problem.0);
    let traded = next.http.post(&next.token_endpoint, credentials, &form).await.map_err(bad_gateway)?;
    if traded.status != 200 {
        return Err(Refused::Elsewhere(format!("the exchange was answered {}", traded.in_short())));
    }
    let url = format!("{}/general", next.models);
    let token = traded.text("access_token");
    let answer = next.http.post(&url, Credentials::Bearer(&token), &[]).await.map_err(bad_gateway)?;
    if answer.status != 200 {
        return Err(Refused::Elsewhere(format!("the models backend answered {}", answer.in_short())));
    }
    let jti = crate::tokens::jose::parse(&token).ok().and_then(|parts| parts.claims.get("jti").cloned());
    // The token itself is not passed back: Assistant has no business with it.
    Ok(axum::Json(json!({ "for": caller.sub, "through": caller.actors, "models_backend": answer.json(), "jti": jti }))
        .into_response())
}

/// Runs a model; each has a scope of its own.
async fn model(
    State(guard): State<Arc<Guard>>,
    Path(model): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let answer = match model.as_str() {
        "general" => "A short summary in everyday words.",
        "medical" => "A differential diagnosis, with its likelihoods.",
        _ => return Err(Refused::NotFound),
    };
    let caller = guard.admit(&headers, &format!("model.{model}"))?;
    Ok(axum::Json(json!({
        "model": model, "for": caller.sub, "through": caller.actors, "act": caller.act, "answer": answer
    }))
    .into_response())
}

impl Guard {
    /// Lets a call in, or says why not (RFC 6750 §3).
    fn admit(&self, headers: &HeaderMap, scope: &str) -> Result<Caller, Refused> {
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let token = match (sent.next(), sent.next()) {
            (None, _) => return Err(Refused::NoToken(self.realm)),
            (Some(_), Some(_)) => return Err(Refused::Invalid(self.realm, "more than one token was sent".to_owned())),
            (Some(value), None) => bearer(value).ok_or(Refused::NoToken(self.realm))?,
        };
        let invalid = |problem: String| Refused::Invalid(self.realm, problem);
        let verified = self.verifier.verify(token, self.clock.now()).map_err(invalid)?;
        // A token without act would speak for the user with nobody to answer for it.
        let chain = verified.act.ok_or_else(|| invalid("act: the token does not say who acts".to_owned()))?;
        if !verified.scopes.iter().any(|held| held.as_str() == scope) {
            return Err(Refused::Scope(self.realm, scope.to_owned()));
        }
        let actors = chain.actors().iter().map(|actor| actor.sub.clone()).collect();
        Ok(Caller { sub: verified.sub, actors, act: chain.to_claim(), token: token.to_owned() })
    }
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Why a call is not served.
enum Refused {
    /// 401, and how to do better; no error code, since nothing was tried (RFC 6750 §3.1).
    NoToken(&'static str),
    /// 401.
    Invalid(&'static str, String),
    /// 403: the token is good, but not for this.
    Scope(&'static str, String),
    /// 404.
    NotFound,
    /// 502.
    Elsewhere(String),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, error, description, challenge) = match self {
            Self::NoToken(realm) => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "send a token".to_owned(),
                Some(format!("Bearer realm=\"{realm}\"")),
            ),
            Self::Invalid(realm, problem) => {
                let problem = quotable(&problem);
                let challenge =
                    format!("Bearer realm=\"{realm}\", error=\"invalid_token\", error_description=\"{problem}\"");
                (StatusCode::UNAUTHORIZED, "invalid_token", problem, Some(challenge))
            }
            Self::Scope(realm, scope) => {
                let problem = format!("the token does not have the scope {scope}");
                let challenge = format!("Bearer realm=\"{realm}\", error=\"insufficient_scope\", scope=\"{scope}\"");
                (StatusCode::FORBIDDEN, "insufficient_scope", problem, Some(challenge))
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "no such model".to_owned(), None),
            Self::Elsewhere(problem) => (StatusCode::BAD_GATEWAY, "bad_gateway", problem, None),
        };
        let body = axum::Json(json!({ "error": error, "error_description": description }));
        let mut response = (status, body).into_response();
        if let Some(value) = challenge.and_then(|challenge| HeaderValue::try_from(challenge).ok()) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}

/// Only what may stand in a quoted `error_description` (RFC 6750 §3).
fn quotable(text: &str) -> String {
    text.chars().map(|c| if c == '"' || c == '\\' || !(' '..='~').contains(&c) { '\'' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::http::{Answer, FREE_PORT, listen};
    use super::*;
    use crate::domain::resource::SigningAlgorithm;
    use crate::tokens::signing_keys::LocalSigner;

    const ISSUER: &str = "http://127.0.0.1:8420";
    const AUDIENCE: &str = "http://127.0.0.1:8430/models";
    const NOW: i64 = 1_800_000_000;

    struct Bench {
        signer: LocalSigner,
        http: Http,
        url: String,
        clock: BackendClock,
        _ended: tokio_util::sync::DropGuard,
    }

    async fn bench() -> Bench {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let signer = LocalSigner::generate(SigningAlgorithm::ES256).unwrap();
        let jwks = json!({ "keys": [signer.public_jwk()] }).to_string();
        let published = Published { issuer: ISSUER.to_owned(), jwks };
        let clock = BackendClock { clock: Clock::set_to(NOW), ..BackendClock::default() };
        let ended = CancellationToken::new();
        let (listener, bound) = listen(FREE_PORT).await.unwrap();
        serve_models(listener, AUDIENCE, &published, clock.clone(), &ended).unwrap();
        let url = format!("http://{bound}/models/medical");
        Bench { signer, http: Http::new().unwrap(), url, clock, _ended: ended.drop_guard() }
    }

    impl Bench {
        /// Calls with a token that is in order but for what `change` does to its claims.
        async fn call(&self, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Answer {
            let mut claims = json!({
                "iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "iat": NOW, "exp": NOW + 300, "jti": "dtk_1",
                "client_id": "assistant", "scope": "model.general model.medical",
                "act": { "iss": ISSUER, "sub": "assistant" }
            });
            change(claims.as_object_mut().unwrap());
            let token = self.signer.sign("at+jwt", claims.to_string().as_bytes()).unwrap();
            self.http.post(&self.url, Credentials::Bearer(&token), &[]).await.unwrap()
        }
    }

    #[tokio::test]
    async fn a_token_in_order_is_served_for_its_user() {
        let answer = bench().await.call(|_| ()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!((answer.text("for"), &answer.json()["through"]), ("alice".to_owned(), &json!(["assistant"])));
    }

    #[tokio::test]
    async fn a_token_of_another_audience_without_act_or_expired_is_answered_401() {
        let bench = bench().await;
        let foreign = bench.call(|claims| drop(claims.insert("aud".to_owned(), json!("http://127.0.0.1:1/")))).await;
        let without_act = bench.call(|claims| drop(claims.remove("act"))).await;
        bench.clock.set_ahead(301);
        let expired = bench.call(|_| ()).await;
        for answer in [foreign, without_act, expired] {
            assert_eq!((answer.status, answer.text("error").as_str()), (401, "invalid_token"), "{}", answer.body);
            let challenge = answer.challenge.unwrap();
            assert!(challenge.starts_with("Bearer realm=\"models\", error=\"invalid_token\""), "{challenge}");
        }
    }

    #[tokio::test]
    async fn a_token_without_the_scope_is_answered_403_and_says_which() {
        let answer = bench().await.call(|claims| drop(claims.insert("scope".to_owned(), json!("model.general")))).await;
        let challenge = r#"Bearer realm="models", error="insufficient_scope", scope="model.medical""#;
        assert_eq!((answer.status, answer.challenge.as_deref()), (403, Some(challenge)));
    }

    #[tokio::test]
    async fn a_call_without_a_token_is_asked_for_one() {
        let bench = bench().await;
        let answer = bench.http.post(&bench.url, Credentials::Nothing, &[]).await.unwrap();
        assert_eq!((answer.status, answer.challenge.as_deref()), (401, Some("Bearer realm=\"models\"")));
    }
}
