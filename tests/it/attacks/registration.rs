//! A28 to A30, A45 to A47, A49, A76 and A80: clients that nobody here registered, and what they try. (A28 and A29, the
//! matching of redirect URIs, are tried under `domain::redirect_uri` too.)

use crate::client_documents::{HERE, OPEN, document, find, refusal, resolve};
use crate::database::Kind;
use crate::documents::{DocumentHost, Reply};
use crate::registration::register;
use crate::server::{NOW, TestServer};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, header};
use procura::domain::client::GrantType;
use procura::domain::decision::ReasonCode;
use procura::domain::identity_provider::VerificationAlgorithm;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tower::ServiceExt;

const UNLIMITED: (&str, &str) = ("PROCURA_REGISTRATION__PER_MINUTE", "0");

async fn server() -> TestServer {
    let server = TestServer::configured(Kind::Sqlite, &[UNLIMITED]).await;
    server.apply(OPEN).await;
    server
}

async fn refused_registration(server: &TestServer, body: &Value, error: &str) {
    let answer = register(server, body).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &json!(error)), "{body} {}", answer.text);
    let event = server.event(&answer).await;
    assert_eq!((event.reason.as_str(), event.error.as_deref()), ("registration_refused", Some(error)));
}

#[tokio::test]
async fn a30_a_redirect_uri_that_a_browser_would_run_is_not_registered() {
    let server = server().await;
    for uri in [
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "file:///etc/passwd",
        "vbscript:x",
        "evil-app://callback",
        "cursor://evil/oauth/callback",
        "http://app.example/cb",
        "https://user@app.example/cb",
        "https://app.example/cb#fragment",
    ] {
        let body = json!({"redirect_uris": ["https://app.example/cb", uri]});
        refused_registration(&server, &body, "invalid_redirect_uri").await;
    }
    assert!(server.app.store.list_dynamic_clients(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a45_keys_are_not_fetched_from_our_own_network() {
    let (server, host) = (server().await, DocumentHost::start().await);
    host.document("/jwks", &json!({"keys": []}));
    let port = host.port;
    for uri in [
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://169.254.169.254/".to_owned(),
        format!("http://127.0.0.1:{port}/jwks"),
        format!("https://127.0.0.1:{port}/jwks"),
        format!("https://localhost:{port}/jwks"),
        format!("https://x.localhost:{port}/jwks"),
        "https://intranet/jwks".to_owned(),
        format!("https://[::1]:{port}/jwks"),
        format!("https://[::ffff:10.0.0.1]:{port}/jwks"),
        format!("https://[::ffff:127.0.0.1]:{port}/jwks"),
        format!("https://2130706433:{port}/jwks"),
        format!("https://0177.0.0.1:{port}/jwks"),
        format!("https://0x7f.1:{port}/jwks"),
        "https://10.0.0.1/jwks".to_owned(),
        "https://[fd00:ec2::254]/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let body = json!({
            "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "private_key_jwt",
            "jwks_uri": uri,
        });
        refused_registration(&server, &body, "invalid_client_metadata").await;
        // Had it got in all the same: the fetch itself would not go there.
        let mut client = procura::domain::client::Client::clone(&vetted(&uri));
        client.jwks_uri = Some(uri.parse().unwrap());
        let key = server.app.issuer_keys.of_client(&client, None, VerificationAlgorithm::ES256, NOW).await;
        assert!(key.is_err(), "{uri}");
    }
    assert_eq!(host.connections(), 0);
}

fn vetted(id: &str) -> procura::domain::client::Client {
    let client = json!({
        "id": format!("client-of-{}", id.len()), "name": "x", "authentication": "private_key_jwt", "grants": [],
    });
    serde_json::from_value(client).unwrap()
}

#[tokio::test]
async fn a46_a_document_is_not_fetched_from_our_own_network() {
    let (server, host) = (server().await, DocumentHost::start().await);
    let port = host.port;
    for id in [
        format!("http://127.0.0.1:{port}/client.json"),
        format!("https://127.0.0.1:{port}/client.json"),
        format!("https://localhost:{port}/client.json"),
        "https://localhost/client.json".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://[::ffff:10.0.0.1]/client.json".to_owned(),
        "https://[::1]/client.json".to_owned(),
        "https://2130706433/client.json".to_owned(),
        "https://0177.0.0.1/client.json".to_owned(),
        "https://client.example/..%2fx".to_owned(),
        "https://client.example/a/../x".to_owned(),
        "https://client.example/client.json#frag".to_owned(),
        "https://client.example/client.json?x=1".to_owned(),
        "https://user@client.example/client.json".to_owned(),
        "https://client.example:8443/client.json".to_owned(),
        "http://client.example/client.json".to_owned(),
        "https://client.example".to_owned(),
    ] {
        let refusal = refusal(resolve(&server, &id).await);
        assert_eq!(
            (refusal.reason, refusal.reason.error().as_str()),
            (ReasonCode::ClientDocumentInvalid, "invalid_client")
        );
    }
    assert_eq!(host.connections(), 0);
    assert!(server.app.store.list_dynamic_clients(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a46_a_server_on_this_machine_fetches_from_this_machine_and_no_other_private_one() {
    let server = TestServer::configured(Kind::Sqlite, &[HERE, UNLIMITED]).await;
    for id in ["http://10.0.0.1/c", "https://10.0.0.1/c", "https://192.168.1.1/c", "http://client.example/c"] {
        assert_eq!(refusal(resolve(&server, id).await).reason, ReasonCode::ClientDocumentInvalid, "{id}");
    }
}

#[tokio::test]
async fn a47_what_is_not_exactly_the_document_of_the_client_is_refused_in_time_and_not_kept() {
    let server = TestServer::configured(Kind::Sqlite, &[HERE, UNLIMITED]).await;
    server.apply(OPEN).await;
    let host = DocumentHost::start().await;
    let json_type = "Content-Type: application/json";
    let good = |path: &str| document(&host.url(path), json!({})).to_string().into_bytes();
    host.document("/slash", &document(&host.url("/slash/"), json!({})));
    host.document("/case", &document(&host.url("/Case"), json!({})));
    host.document(
        "/basic",
        &document(&host.url("/basic"), json!({"token_endpoint_auth_method": "client_secret_basic"})),
    );
    host.document("/secret", &document(&host.url("/secret"), json!({"client_secret": "x"})));
    host.document("/script", &document(&host.url("/script"), json!({"redirect_uris": ["javascript:alert(1)"]})));
    host.document("/bidi", &document(&host.url("/bidi"), json!({"client_name": "\u{202e}edualC"})));
    let location = format!("Location: {}", host.url("/good"));
    host.answer("/moved", "301 Moved Permanently", &[json_type, &location], b"");
    host.answer("/created", "201 Created", &[json_type], &good("/created"));
    host.answer("/html", "200 OK", &["Content-Type: text/html"], b"<html>");
    host.answer("/html_json", "200 OK", &["Content-Type: text/html"], &good("/html_json"));
    host.answer("/untyped", "200 OK", &[], &good("/untyped"));
    host.answer("/huge", "200 OK", &[json_type], &vec![b' '; 6 << 20]);
    let twice = format!(r#"{{"client_id":"{0}","client_id":"{0}"}}"#, host.url("/twice"));
    host.answer("/twice", "200 OK", &[json_type], twice.as_bytes());
    host.reply("/endless", Reply::WithoutEnd);
    host.document("/good", &document(&host.url("/good"), json!({})));
    for (path, reason) in [
        ("/slash", ReasonCode::ClientDocumentInvalid),
        ("/case", ReasonCode::ClientDocumentInvalid),
        ("/basic", ReasonCode::ClientDocumentInvalid),
        ("/secret", ReasonCode::ClientDocumentInvalid),
        ("/script", ReasonCode::ClientDocumentInvalid),
        ("/bidi", ReasonCode::ClientDocumentInvalid),
        ("/twice", ReasonCode::ClientDocumentInvalid),
        ("/moved", ReasonCode::ClientDocumentUnavailable),
        ("/created", ReasonCode::ClientDocumentUnavailable),
        ("/missing", ReasonCode::ClientDocumentUnavailable),
        ("/html", ReasonCode::ClientDocumentUnavailable),
        ("/html_json", ReasonCode::ClientDocumentUnavailable),
        ("/untyped", ReasonCode::ClientDocumentUnavailable),
        ("/huge", ReasonCode::ClientDocumentUnavailable),
        ("/endless", ReasonCode::ClientDocumentUnavailable),
    ] {
        let started = Instant::now();
        let refusal = refusal(resolve(&server, &host.url(path)).await);
        assert_eq!((refusal.reason, refusal.reason.error().as_str()), (reason, "invalid_client"), "{path}");
        assert!(started.elapsed() < Duration::from_millis(3500), "{path}: {:?}", started.elapsed());
        assert!(find(&server, &host.url(path)).await.is_none(), "{path}");
    }
    // Nothing of it is kept: once it is right it counts.
    host.document("/slash", &document(&host.url("/slash"), json!({})));
    server.clock.advance(Duration::from_secs(5));
    assert!(resolve(&server, &host.url("/slash")).await.unwrap().is_some());
}

#[tokio::test]
async fn a49_new_redirect_uris_of_a_document_make_another_client_of_it_for_consent() {
    let (server, host) = (TestServer::configured(Kind::Sqlite, &[HERE]).await, DocumentHost::start().await);
    let id = host.url("/client.json");
    host.document("/client.json", &document(&id, json!({})));
    let before = resolve(&server, &id).await.unwrap().unwrap();
    host.document("/client.json", &document(&id, json!({"redirect_uris": ["https://evil.example/cb"]})));
    assert_eq!(find(&server, &id).await.unwrap().client, before.client, "until its time is over nothing changes");
    server.clock.advance(Duration::from_hours(1));
    let after = resolve(&server, &id).await.unwrap().unwrap();
    assert_eq!(after.client.redirect_uris, ["https://evil.example/cb"]);
    assert_ne!(after.client.fingerprint(), before.client.fingerprint(), "so each user is asked again");
    let filter = procura::store::EventFilter { reason: Some("updated".to_owned()), limit: 10, ..Default::default() };
    let events = server.app.store.list_events(&filter).await.unwrap();
    assert_eq!(events.len(), 1);
    assert!(events[0].detail.as_ref().unwrap().ends_with("has changed: redirect_uris"), "{events:?}");
}

#[tokio::test]
async fn a76_a_client_cannot_choose_its_id_and_never_speaks_for_itself() {
    let server = server().await;
    for wished in ["corp|alice", "assistant", "https://claude.ai/oauth/claude-code-client-metadata", "dcr_mine"] {
        let body = json!({
            "client_id": wished, "redirect_uris": ["https://app.example/cb"],
            "grant_types": ["authorization_code", "client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"],
        });
        let answer = register(&server, &body).await;
        let id = answer.json()["client_id"].as_str().unwrap().to_owned();
        assert!(id != wished && id.starts_with("dcr_") && id.len() == 26, "{id}");
        assert_eq!(answer.json()["grant_types"], json!(["authorization_code"]));
        let client = find(&server, &id).await.unwrap();
        // So that its id is never a `sub`.
        assert!(
            !client.client.may_use(GrantType::ClientCredentials) && !client.client.may_use(GrantType::TokenExchange)
        );
    }
    // And nobody here gives users names of that form.
    for prefix in ["dcr_", "https://", "dcr", "https://idp.example/"] {
        let file = format!(
            "[[identity_provider]]\nid = \"p\"\nissuer = \"https://p.example\"\nname = \"P\"\nsubject_prefix = \"{prefix}\"\n"
        );
        let source = procura::registry_file::Source { name: "t".to_owned(), text: file, directory: ".".into() };
        let problems = procura::registry_file::parse(&[source]).unwrap_err();
        assert!(problems[0].problem.contains("clients begin that register themselves"), "{problems:?}");
    }
}

/// Registers from an address of its own.
async fn register_from(server: &TestServer, address: [u8; 4], body: &str) -> u16 {
    let mut request = Request::post("/register").header(header::CONTENT_TYPE, "application/json");
    request.extensions_mut().unwrap().insert(ConnectInfo(SocketAddr::from((address, 40_000))));
    let request = request.body(Body::from(body.to_owned())).unwrap();
    server.router.clone().oneshot(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a80_a_flood_of_registrations_is_bounded_by_address_and_gone_a_day_later() {
    let server = TestServer::start(Kind::Sqlite).await;
    server.apply(OPEN).await;
    let body = json!({"redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none"});
    let living = register(&server, &body).await.json()["client_id"].as_str().unwrap().to_owned();
    server.consent("corp|alice", &living, "records", "records.read").await;
    let text = body.to_string();
    // From one address.
    let mut registered = 0;
    for _ in 0..2000 {
        match register_from(&server, [203, 0, 113, 1], &text).await {
            201 => registered += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert!((20..=25).contains(&registered), "{registered}");
    // From many.
    for number in 0..1000_u16 {
        let [high, low] = number.to_be_bytes();
        assert_eq!(register_from(&server, [198, 51, high, low], &text).await, 201);
    }
    assert_eq!(server.app.store.list_dynamic_clients(10_000).await.unwrap().len(), registered + 1001);
    // Too much in one.
    let uris: Vec<String> = (0..1000).map(|number| format!("https://a.example/{number}")).collect();
    assert_eq!(register_from(&server, [192, 0, 2, 9], &json!({"redirect_uris": uris}).to_string()).await, 413);
    assert_eq!(register_from(&server, [192, 0, 2, 9], &json!({"redirect_uris": uris[..100]}).to_string()).await, 400);
    let named =
        |length: usize| json!({"redirect_uris": ["https://a.example/"], "client_name": "a".repeat(length)}).to_string();
    assert_eq!(register_from(&server, [192, 0, 2, 9], &named(1 << 20)).await, 413);
    assert_eq!(register_from(&server, [192, 0, 2, 9], &named(5 << 10)).await, 400);
    // Nobody used them.
    server.clock.advance(Duration::from_hours(25));
    let (settings, now) = (server.app.clients.settings(), server.clock.now());
    let gone = server.app.store.reap_dynamic_clients(settings.unused_since(now), settings.idle_since(now), now).await;
    assert_eq!(gone.unwrap(), u64::try_from(registered + 1000).unwrap());
    assert!(find(&server, &living).await.is_some());
    assert_eq!(server.app.store.list_dynamic_clients(10).await.unwrap().len(), 1);
}
