//! Requests that are not what they seem (A42, A44, A73 to A75, A82, A83).

use super::{INVALID_CLIENT, INVALID_REQUEST, RECORDS, holds_nothing_of, refused, world};
use crate::database::Kind;
use crate::server::{Answer, ID_TOKEN, ISSUER, TOKEN_EXCHANGE, TestServer, basic_header};
use crate::world::World;
use axum::body::Body;
use axum::http::{Method, Request, header};
use procura::domain::decision::ReasonCode;
use serde_json::{Value, json};

const FORM: &str = "application/x-www-form-urlencoded";

async fn send(
    server: &TestServer,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    server.send(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn a42_a_parameter_sent_twice_or_in_the_url() {
    let world = world().await;
    let subject = world.id_token(json!({}));
    let bobs = world.bobs_id_token();
    let secret = world.secret("poster");
    let form = [
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", subject.as_str()),
        ("subject_token_type", ID_TOKEN),
        RECORDS,
        ("client_id", "poster"),
        ("client_secret", secret),
        ("scope", "records.read"),
    ];
    for again in [
        ("client_id", "poster"),
        ("client_secret", secret),
        ("scope", "records.write"),
        ("scope", ""),
        ("subject_token", &bobs),
        ("subject_token_type", ID_TOKEN),
        ("grant_type", "client_credentials"),
    ] {
        let twice = [&form[..], &[again]].concat();
        let answer = world.server.token(&twice, None).await;
        refused(&world, &answer, INVALID_REQUEST, ReasonCode::ParameterRepeated, &[&subject, secret]).await;
    }
    let code = [&form[..], &[("code", "1"), ("code", "2")]].concat();
    let answer = world.server.token(&code, None).await;
    refused(&world, &answer, INVALID_REQUEST, ReasonCode::ParameterRepeated, &[&subject, secret]).await;
    // A second one in the URL, and credentials there.
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    for query in ["scope=records.write", "client_secret=pcs_x", "x=1"] {
        let path = format!("/token?{query}");
        let answer = send(&world.server, Method::POST, &path, &[("content-type", FORM)], body.clone()).await;
        refused(&world, &answer, INVALID_REQUEST, ReasonCode::NotAForm, &[&subject, secret]).await;
    }
    let path = format!("/token?{body}");
    let answer = send(&world.server, Method::POST, &path, &[("content-type", FORM)], "").await;
    refused(&world, &answer, INVALID_REQUEST, ReasonCode::NotAForm, &[&subject, secret]).await;
    // Two Authorization headers.
    let basic = basic_header("assistant", world.secret("assistant"));
    let headers = [("content-type", FORM), ("authorization", basic.as_str()), ("authorization", &basic)];
    let answer = send(&world.server, Method::POST, "/token", &headers, "grant_type=client_credentials").await;
    refused(&world, &answer, INVALID_CLIENT, ReasonCode::ClientAuthenticationTwice, &[world.secret("assistant")]).await;
}

#[tokio::test]
async fn a44_another_content_type_or_method() {
    let world = world().await;
    let basic = basic_header("assistant", world.secret("assistant"));
    let json = r#"{"grant_type":"client_credentials"}"#;
    let multipart = "--x\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nclient_credentials\r\n--x--";
    for (content_type, body) in [
        ("application/json", json),
        ("multipart/form-data; boundary=x", multipart),
        ("text/plain", "grant_type=client_credentials"),
        ("application/x-www-form-urlencoded-2", "grant_type=client_credentials"),
    ] {
        let headers = [("content-type", content_type), ("authorization", basic.as_str())];
        let answer = send(&world.server, Method::POST, "/token", &headers, body).await;
        let secret = [world.secret("assistant"), basic.strip_prefix("Basic ").unwrap()];
        refused(&world, &answer, INVALID_REQUEST, ReasonCode::NotAForm, &secret).await;
    }
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE] {
        let headers = [("content-type", FORM), ("authorization", basic.as_str())];
        let answer = send(&world.server, method.clone(), "/token", &headers, "grant_type=client_credentials").await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST, OPTIONS"), "{method}");
        assert_eq!(answer.header("cache-control"), "no-store", "{method}");
        assert!(!answer.text.contains("access_token"));
    }
}

#[tokio::test]
async fn a73_a_host_of_the_attackers_choice() {
    let world = world().await;
    let evil = [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "host=evil.example;proto=http"),
        ("x-forwarded-proto", "http"),
        ("x-original-url", "/evil"),
    ];
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource/records",
    ] {
        let answer = send(&world.server, Method::GET, path, &evil, "").await;
        assert_eq!(answer.status, 200);
        assert!(!format!("{:?}{}", answer.headers, answer.text).contains("evil"), "{path}: {}", answer.text);
        assert!(answer.text.contains(ISSUER));
    }
    // The link that a user is shown leads to us, too, and so does the token.
    let bob = world.bobs_id_token();
    for (subject, scope) in [(&bob, "records.read"), (&world.id_token(json!({})), "records.read")] {
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", subject),
            ("subject_token_type", ID_TOKEN),
            RECORDS,
            ("scope", scope),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let basic = basic_header("assistant", world.secret("assistant"));
        let headers = [&evil[..], &[("content-type", FORM), ("authorization", &basic)]].concat();
        let answer = send(&world.server, Method::POST, "/token", &headers, body).await;
        assert!(!answer.text.contains("evil"), "{}", answer.text);
        match answer.json()["consent_uri"].as_str() {
            Some(uri) => assert!(uri.starts_with(&format!("{ISSUER}/consent/"))),
            None => assert_eq!(crate::server::claims(&answer.token())["iss"], ISSUER),
        }
        holds_nothing_of(&world.server, &answer, &[subject]).await;
    }
}

#[tokio::test]
async fn a74_paths_that_walk_around() {
    let server = TestServer::start(Kind::Sqlite).await;
    for path in [
        "/.well-known/oauth-authorization-server/../x",
        "/.well-known/../token",
        "/.well-known/oauth-authorization-server/%2e%2e/token",
        "/.well-known/oauth-authorization-server/tenant",
        "/.well-known/openid-configuration/tenant",
        "/tenant/.well-known/openid-configuration",
        "//.well-known/openid-configuration",
        "/.well-known//openid-configuration",
        "/.well-known/openid-configuration/",
        "/.WELL-KNOWN/openid-configuration",
        "/static/../procura.toml",
        "/static/..%2f..%2fCargo.toml",
        "/static/%2e%2e/Cargo.toml",
        "/consent/../token",
        "//token",
        "/token/",
        "/token;x=1",
        "/metrics",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        assert!(!answer.text.contains("token_endpoint"));
    }
}

#[tokio::test]
async fn a75_pages_of_other_origins() {
    let world = world().await;
    let bob = world.bobs_id_token();
    let refusal = world.exchange_as("assistant", &bob, &[RECORDS]).await;
    let uri = refusal.json()["consent_uri"].as_str().unwrap().to_owned();
    let page = uri.strip_prefix(ISSUER).unwrap();
    for origin in ["null", "https://evil.example"] {
        for (method, path) in [(Method::GET, page), (Method::OPTIONS, page), (Method::GET, "/authorize")] {
            let headers = [("origin", origin), ("cookie", "a=b"), ("access-control-request-method", "POST")];
            let answer = send(&world.server, method, path, &headers, "").await;
            let cors = answer.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(cors, None, "{path}");
        }
        for (method, path) in [
            (Method::POST, "/token"),
            (Method::OPTIONS, "/token"),
            (Method::GET, "/token"),
            (Method::GET, "/.well-known/jwks.json"),
        ] {
            let headers = [("origin", origin), ("cookie", "session=1"), ("content-type", FORM)];
            let answer = send(&world.server, method, path, &headers, "").await;
            assert_eq!(answer.header("access-control-allow-credentials"), "");
            assert!(["*", ""].contains(&answer.header("access-control-allow-origin")), "never the one that asks");
            assert_eq!(answer.header("set-cookie"), "");
        }
    }
}

/// Every kind of answer that the server gives, by the status it should have.
async fn every_answer(world: &World) -> Vec<(u16, &'static str, Answer)> {
    let server = &world.server;
    let consent = world.exchange_as("assistant", &world.bobs_id_token(), &[RECORDS]).await;
    let uri = consent.json()["consent_uri"].as_str().unwrap().to_owned();
    let page = uri.strip_prefix(ISSUER).unwrap().to_owned();
    let form = [("content-type", FORM)];
    vec![
        (200, "/token", world.exchange(json!({}), &[RECORDS]).await),
        (400, "/token", consent),
        (400, "/token", world.exchange(json!({}), &[("resource", "x#y")]).await),
        (401, "/token", server.token(&[("grant_type", "client_credentials")], Some(("assistant", "pcs_x"))).await),
        (413, "/token", server.raw_token("a".repeat(70_000), None).await),
        (405, "/token", send(server, Method::GET, "/token", &[], "").await),
        (405, "/token", send(server, Method::PUT, "/token", &form, "a=b").await),
        (400, "/authorize", send(server, Method::GET, "/authorize?redirect_uri=https://evil.example", &[], "").await),
        (503, "/consent", server.get(&page).await),
        (404, "/consent", server.get("/consent/nothing").await),
        (403, "/consent", send(server, Method::POST, &page, &form, "decision=allow").await),
        (405, "/consent", send(server, Method::PUT, &page, &form, "").await),
        (200, "/consent", server.get(&format!("{page}/status")).await),
        (404, "/consent", server.get("/consent/nothing/status").await),
        (200, "/healthz", server.get("/healthz").await),
        (404, "//token", send(server, Method::POST, "//token", &form, "a=b").await),
    ]
}

#[tokio::test]
async fn a82_answers_that_a_shared_cache_would_replay() {
    let world = world().await;
    for (status, path, answer) in every_answer(&world).await {
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        if !(path == "/consent" && status == 405) {
            assert_eq!(answer.header("cache-control"), "no-store", "{path} {status}");
        }
        // What browsers are told never depends on the origin that asks, so no Vary is needed.
        assert!(["*", ""].contains(&answer.header("access-control-allow-origin")));
    }
    let jwks = world.server.get("/.well-known/jwks.json").await;
    assert_eq!(jwks.header("cache-control"), "public, max-age=300", "only what is public may be kept");
}

#[tokio::test]
async fn a83_no_answer_sends_a_form_on() {
    let world = world().await;
    for (status, path, answer) in every_answer(&world).await {
        assert!(!answer.status.is_redirection(), "{path} {status}");
        assert_eq!(answer.headers.get(header::LOCATION), None);
        assert_eq!(answer.headers.get(header::REFRESH), None);
    }
    let body: Value = world.exchange(json!({}), &[RECORDS, ("redirect_uri", "https://evil.example")]).await.json();
    assert!(!body.to_string().contains("evil"));
}
