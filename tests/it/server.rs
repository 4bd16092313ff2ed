//! The server for tests: the real router on a fresh database, with a clock that stands still.

use crate::database::{Kind, TestDatabase};
use crate::listener::{self, Marked};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use procura::app::App;
use procura::clock::Clock;
use procura::config::{Config, ConfigSources};
use procura::domain::change::{Change, StoredSecret};
use procura::domain::consent::{Consent, ConsentSource, ConsentingUser};
use procura::domain::event::{AuditEvent, EventKind, EventOutcome};
use procura::registry_file::{self, ApplyOptions, Source};
use procura::secrets::{SecretsKey, hash_client_secret, new_client_secret, random_id};
use procura::server::public_router;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use tower::ServiceExt;

/// When every test takes place, Unix seconds.
pub(crate) const NOW: i64 = 1_800_000_000;
/// The issuer of every test server.
pub(crate) const ISSUER: &str = "https://auth.example.com";
/// `grant_type` of the token exchange.
pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// Token type URIs.
pub(crate) const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A server and its database.
pub(crate) struct TestServer {
    pub(crate) app: Arc<App>,
    pub(crate) clock: Clock,
    pub(crate) database: TestDatabase,
    pub(crate) router: Router,
    /// What it was sent and gave in confidence: when the server ends, none of it may have been said anywhere.
    marked: Marked,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The `X-Request-Id`.
    pub(crate) fn request_id(&self) -> &str {
        self.headers["x-request-id"].to_str().unwrap()
    }

    /// The issued token.
    pub(crate) fn token(&self) -> String {
        self.json()["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("no token in {} {}", self.status, self.text))
            .to_owned()
    }

    /// A header as text; empty if absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The claims of a token, unverified.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

impl TestServer {
    /// With an empty registry.
    pub(crate) async fn start(kind: Kind) -> Self {
        Self::configured(kind, &[]).await
    }

    /// With configuration given as environment variables.
    pub(crate) async fn configured(kind: Kind, variables: &[(&str, &str)]) -> Self {
        Self::at(Clock::set_to(NOW), kind, variables).await
    }

    /// With any clock: real servers on the same database need the real time.
    pub(crate) async fn at(clock: Clock, kind: Kind, variables: &[(&str, &str)]) -> Self {
        listener::listen();
        let database = TestDatabase::new(kind).await;
        let key = SecretsKey::generate();
        let marked = Marked::default();
        marked.mark("the secrets key", key.to_base64().expose_secret());
        let mut environment = vec![
            ("PROCURA_ISSUER".to_owned(), ISSUER.to_owned()),
            ("PROCURA_SECRETS_KEY".to_owned(), key.to_base64().expose_secret().to_owned()),
        ];
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let sources = ConfigSources { file: None, environment, database_url: Some(database.url.clone()) };
        let config = Config::load(&sources).unwrap();
        let app = App::start(config, clock.clone(), database.store.clone(), key).await.unwrap();
        let router = public_router(&app);
        Self { app, clock, database, router, marked }
    }

    /// Applies a registry file, and has the server take it in.
    pub(crate) async fn apply(&self, text: &str) {
        let source = Source { name: "test.toml".to_owned(), text: text.to_owned(), directory: ".".into() };
        let options = ApplyOptions { dry_run: false, prune: false };
        let applied = registry_file::apply(
            &self.app.store,
            &[source],
            options,
            registry_file::Server::of(&self.app.config),
            &self.clock,
        )
        .await;
        applied.unwrap_or_else(|error| panic!("{error}"));
        self.app.refresh().await.unwrap();
    }

    /// Carries out changes, and has the server take them in.
    pub(crate) async fn change(&self, changes: &[Change]) {
        let event = AuditEvent::new(
            self.clock.now_ms(),
            random_id("adm"),
            EventKind::Administration,
            EventOutcome::Done,
            "test",
        );
        self.app.store.change(changes, event, self.clock.now()).await.unwrap();
        self.app.refresh().await.unwrap();
    }

    /// Gives a client a new secret.
    pub(crate) async fn new_secret(&self, client: &str) -> String {
        let secret = new_client_secret(&self.app.secrets_key);
        let stored = StoredSecret {
            id: random_id("sec"),
            client: client.parse().unwrap(),
            hash: hash_client_secret(&secret),
            created_at: self.clock.now(),
            last_used_at: None,
        };
        self.change(&[Change::AddSecret(stored)]).await;
        self.marked.mark("a client secret", secret.expose_secret());
        secret.expose_secret().to_owned()
    }

    /// Records a consent of a user, without an end.
    pub(crate) async fn consent(&self, user: &str, client: &str, resource: &str, scopes: &str) -> String {
        self.consent_until(user, client, resource, scopes, None).await
    }

    /// Records a consent of a user.
    pub(crate) async fn consent_until(
        &self,
        user: &str,
        client: &str,
        resource: &str,
        scopes: &str,
        expires_at: Option<i64>,
    ) -> String {
        let consent = Consent {
            id: random_id("cns"),
            user: ConsentingUser::One(user.parse().unwrap()),
            client: client.parse().unwrap(),
            resource: resource.parse().unwrap(),
            scopes: scopes.parse().unwrap(),
            source: ConsentSource::User,
            granted_at: self.clock.now(),
            expires_at,
            revoked_at: None,
            paused_at: None,
            fingerprint: None,
            redirect_uri: None,
        };
        let id = consent.id.clone();
        self.change(&[Change::GrantConsent(consent)]).await;
        id
    }

    /// Sends a request through the router, as from 192.0.2.1.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Answer {
        for value in request.headers().get_all(header::AUTHORIZATION) {
            self.marked.mark_authorization(&String::from_utf8_lossy(value.as_bytes()));
        }
        request.extensions_mut().insert(ConnectInfo("192.0.2.1:40000".parse::<SocketAddr>().unwrap()));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        self.marked.answered(&parts.headers, &text);
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// GETs a path.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// POSTs a form to `/token`, with Basic credentials if given.
    pub(crate) async fn token(&self, form: &[(&str, &str)], basic: Option<(&str, &str)>) -> Answer {
        self.marked.mark_form(form);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.raw_token(body, basic).await
    }

    /// POSTs a body to `/token` as a form.
    pub(crate) async fn raw_token(&self, body: impl Into<Body>, basic: Option<(&str, &str)>) -> Answer {
        let mut request = Request::post("/token").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some((id, secret)) = basic {
            self.marked.mark("a client secret", secret);
            request = request.header(header::AUTHORIZATION, basic_header(id, secret));
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// The one event of a request.
    pub(crate) async fn event(&self, answer: &Answer) -> AuditEvent {
        let mut events = self.app.store.events_of_request(answer.request_id()).await.unwrap();
        assert_eq!(events.len(), 1, "one event for {} {}", answer.status, answer.text);
        let event = events.pop().unwrap();
        listener::shown("an audit event", &serde_json::to_string(&event).unwrap());
        event
    }
}

/// The value of `Authorization: Basic` (RFC 6749 §2.3.1).
pub(crate) fn basic_header(id: &str, secret: &str) -> String {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(id), encode(secret))))
}
