//! `/register`: clients that register themselves, and what they may do with it later.

use crate::client_documents::{OPEN, find};
use crate::database::Kind;
use crate::server::{Answer, ISSUER, NOW, TestServer};
use axum::body::Body;
use axum::http::{Method, Request, header};
use procura::app::{App, SecretVerdict};
use procura::domain::client::{Assurance, ClientAuthentication, GrantType};
use procura::domain::event::EventOutcome;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const CURSOR: &str = "cursor://anysphere.cursor-mcp/oauth/callback";

pub(crate) async fn register(server: &TestServer, body: &Value) -> Answer {
    send(server, Method::POST, "/register", None, Some(body)).await
}

pub(crate) async fn send(
    server: &TestServer,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = match body {
        Some(body) => {
            request = request.header(header::CONTENT_TYPE, "application/json; charset=utf-8");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    server.send(request.body(body).unwrap()).await
}

/// Where a registration is managed, and with which token.
fn handle(registered: &Answer) -> (String, String) {
    let body = registered.json();
    let text = |member: &str| body[member].as_str().unwrap().to_owned();
    let uri = text("registration_client_uri");
    (uri.strip_prefix(ISSUER).unwrap().to_owned(), text("registration_access_token"))
}

fn public() -> Value {
    json!({
        "client_name": "An app", "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    })
}

async fn server() -> TestServer {
    let server = TestServer::start(Kind::Sqlite).await;
    server.apply(OPEN).await;
    server
}

#[tokio::test]
async fn a_public_client_registers_itself_and_gets_no_secret() {
    let server = server().await;
    let answer = register(&server, &public()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let body = answer.json();
    assert!(body.get("client_secret").is_none() && body.get("client_secret_expires_at").is_none(), "rule RG-04");
    assert_eq!(body["client_id_issued_at"], NOW);
    assert_eq!(body["token_endpoint_auth_method"], "none");
    assert_eq!(body["response_types"], json!(["code"]));
    let id = body["client_id"].as_str().unwrap();
    assert!(id.starts_with("dcr_"), "rule CM-14");
    let entry = find(&server, id).await.unwrap();
    assert_eq!(entry.assurance, Assurance::SelfAsserted);
    assert_eq!(entry.client.grants, [GrantType::AuthorizationCode, GrantType::RefreshToken]);
    assert_eq!(json!(entry.client.resources), json!({"records": ["records.read"]}));
    let event = server.event(&answer).await;
    assert_eq!((event.reason.as_str(), event.outcome), ("registered", EventOutcome::Done));
    assert_eq!(event.client.unwrap().as_str(), id);
}

#[tokio::test]
async fn a_confidential_client_gets_a_secret_that_counts_and_whose_hash_alone_is_kept() {
    let server = server().await;
    let answer = register(&server, &json!({"redirect_uris": ["https://app.example/cb"]})).await;
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["client_secret_expires_at"]), (201, &json!(0)), "{}", answer.text);
    assert_eq!(body["token_endpoint_auth_method"], "client_secret_basic");
    let (id, secret) = (body["client_id"].as_str().unwrap(), body["client_secret"].as_str().unwrap());
    let id = id.parse().unwrap();
    let stored = server.app.store.find_dynamic_client(&id).await.unwrap().unwrap();
    assert!(stored.secret_hash.as_ref().unwrap().starts_with("$argon2id$"));
    assert!(!format!("{stored:?}").contains(secret));
    let snapshot = server.app.snapshot();
    let live = server.app.clients.secrets_of(&server.app.store, &snapshot, &id).await.unwrap();
    let check = async |presented: &str| {
        server.app.secret_check.check(&server.app.secrets_key, &id, &live, presented, NOW).await
    };
    assert!(matches!(check(secret).await, SecretVerdict::Right(_)));
    assert_eq!(check("pcs_wrong").await, SecretVerdict::Wrong);
    let other = procura::secrets::new_client_secret(&server.app.secrets_key);
    assert_eq!(check(secrecy::ExposeSecret::expose_secret(&other)).await, SecretVerdict::Wrong);
}

#[tokio::test]
async fn cursor_registers_three_kinds_of_redirect_uris_at_once() {
    let server = server().await;
    let uris = json!([CURSOR, "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"]);
    let body = json!({"client_name": "Cursor", "redirect_uris": uris, "token_endpoint_auth_method": "none"});
    let answer = register(&server, &body).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["redirect_uris"]), (201, &uris), "{}", answer.text);
    assert_eq!(answer.json()["application_type"], "native");
    let detail = server.event(&answer).await.detail.unwrap();
    assert!(detail.contains("its name looks like that of Cursor, which it need not be"), "{detail}");
}

#[tokio::test]
async fn a_registration_is_read_changed_and_ended_with_its_token() {
    let server = server().await;
    let registered = register(&server, &public()).await;
    let (path, token) = handle(&registered);
    let id = registered.json()["client_id"].as_str().unwrap().to_owned();
    let read = send(&server, Method::GET, &path, Some(&token), None).await;
    assert_eq!((read.status.as_u16(), read.json()), (200, registered.json()));
    assert_eq!(read.header("cache-control"), "no-store");
    assert_eq!(read.header("access-control-allow-origin"), "");

    let fingerprint = find(&server, &id).await.unwrap().client.fingerprint();
    let mut new = public();
    new["client_id"] = json!(id);
    new["redirect_uris"] = json!(["https://app.example/elsewhere"]);
    new["token_endpoint_auth_method"] = json!("client_secret_post");
    let changed = send(&server, Method::PUT, &path, Some(&token), Some(&new)).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert!(changed.json()["client_secret"].is_string(), "it authenticates by a secret from now on");
    let entry = find(&server, &id).await.unwrap();
    assert_eq!(entry.client.redirect_uris, ["https://app.example/elsewhere"]);
    assert_eq!(entry.client.authentication, ClientAuthentication::ClientSecretPost);
    assert_ne!(entry.client.fingerprint(), fingerprint, "users are asked again");
    assert_eq!(server.event(&changed).await.reason, "updated");

    let secret = changed.json()["client_secret"].as_str().unwrap().to_owned();
    new["client_secret"] = json!(secret);
    let again = send(&server, Method::PUT, &path, Some(&token), Some(&new)).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert!(again.json().get("client_secret").is_none(), "it keeps the one that it has");
    new["client_secret"] = json!("pcs_wrong");
    assert_eq!(send(&server, Method::PUT, &path, Some(&token), Some(&new)).await.status, 400);

    let consent = server.consent("corp|alice", &id, "records", "records.read").await;
    let ended = send(&server, Method::DELETE, &path, Some(&token), None).await;
    assert_eq!((ended.status.as_u16(), ended.text.as_str()), (204, ""));
    assert_eq!(server.event(&ended).await.reason, "removed");
    assert!(find(&server, &id).await.is_none());
    assert!(server.app.store.find_consent(&consent).await.unwrap().unwrap().revoked_at.is_some());
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = send(&server, method, &path, Some(&token), Some(&new)).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (401, &json!("invalid_token")));
    }
}

#[tokio::test]
async fn without_its_token_a_registration_is_neither_shown_nor_changed() {
    let server = server().await;
    let (registered, other) = (register(&server, &public()).await, register(&server, &public()).await);
    let (path, _) = handle(&registered);
    let (_, token_of_other) = handle(&other);
    for token in [None, Some(""), Some("prt_wrong"), Some(token_of_other.as_str())] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let answer = send(&server, method, &path, token, Some(&public())).await;
            assert_eq!(answer.status, 401);
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
            // The same as for a client that there is not.
            let nobody = send(&server, Method::GET, "/register/dcr_nobody", token, None).await;
            assert_eq!((nobody.status, nobody.text), (answer.status, answer.text));
        }
    }
    assert_eq!(send(&server, Method::POST, &path, None, None).await.header("allow"), "GET, PUT, DELETE");
    assert!(find(&server, registered.json()["client_id"].as_str().unwrap()).await.is_some());
}

#[tokio::test]
async fn a_change_must_name_the_client_that_it_is_about() {
    let server = server().await;
    let registered = register(&server, &public()).await;
    let (path, token) = handle(&registered);
    for id in [json!(null), json!("dcr_other"), json!("assistant")] {
        let mut body = public();
        body["client_id"] = id;
        let answer = send(&server, Method::PUT, &path, Some(&token), Some(&body)).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &json!("invalid_client_metadata")));
        assert_eq!(server.event(&answer).await.reason, "registration_refused");
    }
}

#[tokio::test]
async fn a_browser_of_another_origin_may_register_and_not_manage() {
    let server = server().await;
    let preflight = send(&server, Method::OPTIONS, "/register", None, None).await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-methods"), "POST, OPTIONS");
    assert!(preflight.header("access-control-allow-headers").contains("MCP-Protocol-Version"));
    assert_eq!(preflight.header("access-control-allow-credentials"), "");
    assert_eq!(send(&server, Method::GET, "/register", None, None).await.status, 405);
    assert_eq!(send(&server, Method::OPTIONS, "/register/dcr_1", None, None).await.status, 405);
}

#[tokio::test]
async fn a_body_that_is_not_one_plain_json_object_is_refused() {
    let server = TestServer::configured(Kind::Sqlite, &[("PROCURA_REGISTRATION__PER_MINUTE", "0")]).await;
    let post = async |content_type: &str, body: Vec<u8>| {
        let request = Request::post("/register").header(header::CONTENT_TYPE, content_type);
        server.send(request.body(Body::from(body)).unwrap()).await
    };
    let json = "application/json";
    let deep = format!(r#"{{"redirect_uris":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    for (content_type, body) in [
        (json, String::new()),
        (json, "[]".to_owned()),
        (json, "{".to_owned()),
        (json, r#"{"redirect_uris":["https://a.example/"],"redirect_uris":["https://b.example/"]}"#.to_owned()),
        (json, deep),
        ("application/x-www-form-urlencoded", public().to_string()),
        ("text/plain", public().to_string()),
    ] {
        let answer = post(content_type, body.into_bytes()).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &json!("invalid_client_metadata")));
        assert_eq!(server.event(&answer).await.reason, "registration_refused");
    }
    assert_eq!(post(json, vec![0xff; 16]).await.status, 400);
    let mut large = public();
    large["client_uri"] = json!(format!("https://a.example/{}", "a".repeat(17_000)));
    assert_eq!(post(json, large.to_string().into_bytes()).await.status, 413);
}

#[tokio::test]
async fn registration_is_on_off_or_for_who_has_the_token() {
    let off = TestServer::configured(Kind::Sqlite, &[("PROCURA_REGISTRATION__DYNAMIC", "off")]).await;
    assert_eq!(register(&off, &public()).await.status, 404);
    assert_eq!(send(&off, Method::OPTIONS, "/register", None, None).await.status, 404);

    let token = "wGzFMqRP0a1ZlB8dQn6XvT4s";
    let variables = [("PROCURA_REGISTRATION__DYNAMIC", "token"), ("PROCURA_REGISTRATION__INITIAL_ACCESS_TOKEN", token)];
    let closed = TestServer::configured(Kind::Sqlite, &variables).await;
    for wrong in [None, Some(""), Some("wGzFMqRP0a1ZlB8dQn6XvT4"), Some("wGzFMqRP0a1ZlB8dQn6XvT4t")] {
        let answer = send(&closed, Method::POST, "/register", wrong, Some(&public())).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (401, &json!("invalid_token")));
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        assert_eq!(closed.event(&answer).await.error.as_deref(), Some("invalid_token"));
    }
    assert_eq!(send(&closed, Method::POST, "/register", Some(token), Some(&public())).await.status, 201);
}

#[tokio::test]
async fn no_code_goes_to_a_host_that_is_denied_and_not_after_it_was_denied() {
    let server = TestServer::configured(Kind::Sqlite, &[("PROCURA_REGISTRATION__DENY", "app.example")]).await;
    let answer = register(&server, &public()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &json!("invalid_redirect_uri")));
    // One that was registered before.
    let open = TestServer::start(Kind::Sqlite).await;
    let registered = register(&open, &public()).await;
    let id = registered.json()["client_id"].as_str().unwrap().parse().unwrap();
    let stored = open.app.store.find_dynamic_client(&id).await.unwrap().unwrap();
    server.app.store.insert_dynamic_client(&stored).await.unwrap();
    assert!(find(&server, id.as_str()).await.unwrap().client.redirect_uris.is_empty());
}

/// As another process on the same database.
async fn twin(server: &TestServer) -> std::sync::Arc<App> {
    let store = server.database.another_store().await;
    App::start(server.app.config.clone(), server.clock.clone(), store, server.app.secrets_key.clone()).await.unwrap()
}

#[tokio::test]
async fn a_registration_at_one_server_counts_at_once_at_another_and_its_end_within_a_second() {
    let server = TestServer::start(Kind::Postgres).await;
    server.apply(OPEN).await;
    let other = twin(&server).await;
    let find =
        async |id: &str| other.clients.find(&other.store, &other.snapshot(), &id.parse().unwrap()).await.unwrap();
    assert!(find("dcr_nobody").await.is_none());
    let registered = register(&server, &public()).await;
    let id = registered.json()["client_id"].as_str().unwrap().to_owned();
    assert!(find(&id).await.is_some());
    let (path, token) = handle(&registered);
    assert_eq!(send(&server, Method::DELETE, &path, Some(&token), None).await.status, 204);
    let ended = Instant::now();
    while find(&id).await.is_some() {
        assert!(ended.elapsed() < Duration::from_millis(1500), "still known after {:?}", ended.elapsed());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_use_is_written_down_when_the_server_ends() {
    let server = server().await;
    let registered = register(&server, &public()).await;
    let id: procura::domain::names::ClientId = registered.json()["client_id"].as_str().unwrap().parse().unwrap();
    server.app.clients.used(&id, NOW);
    server.app.clients.used(&"assistant".parse().unwrap(), NOW);
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    std::sync::Arc::clone(&server.app).run_upkeep(stop).await;
    let stored = server.app.store.find_dynamic_client(&id).await.unwrap().unwrap();
    assert_eq!(stored.last_used_at, Some(NOW - NOW % 60));
}
