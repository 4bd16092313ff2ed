//! What every answer has: documents, methods, caching, cross-origin headers, limits, health, the consent page.

use crate::database::Kind;
use crate::server::{Answer, ISSUER, NOW, TOKEN_EXCHANGE, TestServer, basic_header};
use crate::world::World;
use axum::body::Body;
use axum::http::{Method, Request, header};
use procura::app::App;
use procura::domain::change::Change;
use procura::server::admin_router;
use procura::tokens::offline::OfflineVerifier;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

const FORM: &str = "application/x-www-form-urlencoded";

async fn request(server: &TestServer, method: Method, path: &str) -> Answer {
    server.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
}

/// GETs a path of the private listener.
async fn admin(app: &Arc<App>, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = admin_router(app).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_metadata_document_lists_exactly_what_is_on() {
    let world = World::new(Kind::Sqlite).await;
    let answer = world.server.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    let document = answer.json();
    let members: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        [
            "issuer",
            "token_endpoint",
            "jwks_uri",
            "introspection_endpoint",
            "introspection_endpoint_auth_methods_supported",
            "revocation_endpoint",
            "revocation_endpoint_auth_methods_supported",
            "grant_types_supported",
            "token_endpoint_auth_methods_supported",
            "token_endpoint_auth_signing_alg_values_supported",
            "ui_locales_supported",
            "scopes_supported"
        ]
    );
    assert_eq!(document["issuer"], ISSUER);
    assert_eq!(document["token_endpoint"], format!("{ISSUER}/token"));
    assert_eq!(document["grant_types_supported"], json!(["client_credentials", TOKEN_EXCHANGE]));
    assert!(document["scopes_supported"].as_array().unwrap().contains(&json!("records.read")));
    let other = world.server.get("/.well-known/openid-configuration").await;
    assert_eq!(other.text, answer.text, "the same bytes under both names");
}

#[tokio::test]
async fn an_empty_registry_leaves_out_the_empty_list() {
    let server = TestServer::start(Kind::Sqlite).await;
    let document = server.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(document["scopes_supported"], Value::Null);
}

#[tokio::test]
async fn an_issuer_with_a_path_is_served_in_every_form() {
    let issuer = "https://example.com/t1";
    let server = TestServer::configured(Kind::Sqlite, &[("PROCURA_ISSUER", issuer)]).await;
    for path in [
        "/.well-known/oauth-authorization-server/t1",
        "/.well-known/openid-configuration/t1",
        "/t1/.well-known/openid-configuration",
    ] {
        assert_eq!(server.get(path).await.json()["issuer"], issuer, "{path}");
    }
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/token"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    assert_eq!(server.get("/t1/.well-known/jwks.json").await.status, 200);
}

#[tokio::test]
async fn the_host_header_changes_nothing_in_the_metadata() {
    let server = TestServer::start(Kind::Sqlite).await;
    let request = Request::get("/.well-known/oauth-authorization-server")
        .header(header::HOST, "evil.example")
        .header("x-forwarded-host", "evil.example");
    let answer = server.send(request.body(Body::empty()).unwrap()).await;
    assert!(!answer.text.contains("evil"), "{}", answer.text);
}

#[tokio::test]
async fn the_jwks_has_public_keys_only_and_an_etag() {
    let server = TestServer::start(Kind::Sqlite).await;
    let answer = server.get("/.well-known/jwks.json").await;
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 1);
    assert_eq!((&keys[0]["alg"], &keys[0]["use"]), (&json!("ES256"), &json!("sig")));
    assert!(keys[0]["kid"].is_string());
    for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
        assert_eq!(keys[0][private], Value::Null);
    }
    let etag = answer.header("etag").to_owned();
    let again = Request::get("/.well-known/jwks.json").header(header::IF_NONE_MATCH, &etag);
    let again = server.send(again.body(Body::empty()).unwrap()).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    assert_eq!(again.header("etag"), etag);
}

#[tokio::test]
async fn a_backend_can_publish_its_own_document_from_ours() {
    let world = World::new(Kind::Sqlite).await;
    let document = world.server.get("/.well-known/oauth-protected-resource/records").await.json();
    assert_eq!(document["resource"], "https://records.example.com/api");
    assert_eq!(document["authorization_servers"], json!([ISSUER]));
    assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    assert_eq!(world.server.get("/.well-known/oauth-protected-resource/nothing").await.status, 404);
}

#[tokio::test]
async fn other_methods_are_answered_405_with_what_is_allowed() {
    let server = TestServer::start(Kind::Sqlite).await;
    for (method, path, allow) in [
        (Method::GET, "/token", "POST, OPTIONS"),
        (Method::PUT, "/token", "POST, OPTIONS"),
        (Method::POST, "/.well-known/jwks.json", "GET, HEAD, OPTIONS"),
        (Method::DELETE, "/.well-known/oauth-authorization-server", "GET, HEAD, OPTIONS"),
    ] {
        let answer = request(&server, method.clone(), path).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, allow), "{method} {path}");
    }
}

#[tokio::test]
async fn browsers_of_other_origins_may_read_documents_and_tokens_but_no_page() {
    let server = TestServer::start(Kind::Sqlite).await;
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/jwks.json", "/token"] {
        let preflight = request(&server, Method::OPTIONS, path).await;
        assert_eq!(preflight.status, 204, "{path}");
        assert_eq!(preflight.header("access-control-allow-origin"), "*");
        assert_eq!(preflight.header("access-control-allow-credentials"), "");
        assert!(preflight.header("access-control-allow-headers").contains("MCP-Protocol-Version"));
    }
    let answer = server.token(&[], None).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-expose-headers").contains("WWW-Authenticate"));
    let page = server.get("/consent/nothing").await;
    assert_eq!(page.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn unknown_paths_are_404_and_a_page_only_for_a_browser() {
    let server = TestServer::start(Kind::Sqlite).await;
    for path in
        ["/account/", "/.well-known/oauth-authorization-server/x", "/.well-known/nothing", "//token", "/authorise"]
    {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
        let browser = Request::get(path).header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        let page = server.send(browser.body(Body::empty()).unwrap()).await;
        assert_eq!((page.status.as_u16(), page.header("content-type")), (404, "text/html; charset=utf-8"), "{path}");
        assert!(page.text.contains("/account") && page.header("x-frame-options") == "DENY");
    }
    // Forms that are looked at by their address: a page that says what to do.
    for path in ["/login", "/authorize/decision", "/authorize/connect"] {
        let page = server.get(path).await;
        assert!(page.status == 404 && page.text.contains(page.request_id()), "{path}: {}", page.text);
    }
    assert_eq!(server.get("/").await.header("location"), "/account");
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_our_own_and_is_not_sniffed() {
    let server = TestServer::start(Kind::Sqlite).await;
    let request = Request::get("/healthz").header("x-request-id", "chosen-by-the-caller");
    let answer = server.send(request.body(Body::empty()).unwrap()).await;
    assert!(answer.request_id().starts_with("req_"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("strict-transport-security").starts_with("max-age="));
}

#[tokio::test]
async fn a_body_that_is_not_a_form_is_refused() {
    let world = World::new(Kind::Sqlite).await;
    let basic = basic_header("assistant", world.secret("assistant"));
    for (content_type, body) in [
        ("application/json", r#"{"grant_type":"client_credentials"}"#),
        ("multipart/form-data; boundary=x", "--x--"),
        ("", "grant_type=client_credentials"),
    ] {
        let request =
            Request::post("/token").header(header::AUTHORIZATION, &basic).header(header::CONTENT_TYPE, content_type);
        let answer = world.server.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &json!("invalid_request")));
        let told = answer.json()["error_description"].to_string();
        assert!(told.contains("application/x-www-form-urlencoded"), "{content_type}: {told}");
        assert_eq!(world.server.event(&answer).await.reason, "not_a_form");
    }
}

#[tokio::test]
async fn parameters_in_the_url_are_refused() {
    let world = World::new(Kind::Sqlite).await;
    let request = Request::post("/token?client_secret=pcs_x")
        .header(header::AUTHORIZATION, basic_header("assistant", world.secret("assistant")))
        .header(header::CONTENT_TYPE, FORM);
    let answer = world.server.send(request.body(Body::from("grant_type=client_credentials")).unwrap()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &json!("invalid_request")));
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let server = TestServer::start(Kind::Sqlite).await;
    let answer = server.raw_token("a".repeat(65 * 1024), None).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (413, &json!("invalid_request")));
}

#[tokio::test]
async fn peers_that_send_slowly_keep_nobody_out() {
    let limits = [("PROCURA_LIMITS__REQUESTS_IN_FLIGHT", "1"), ("PROCURA_LIMITS__REQUEST_SECONDS", "4")];
    let server = TestServer::configured(Kind::Sqlite, &limits).await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
            let request = Request::post("/token").header(header::CONTENT_TYPE, FORM).body(never).unwrap();
            tokio::spawn(server.router.clone().oneshot(request))
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(server.get("/readyz").await.status, 200);
    assert_eq!(server.raw_token("grant_type=x", None).await.json()["error"], "invalid_client");
    for slow in waiting {
        let answer = slow.await.unwrap().unwrap();
        assert_eq!(answer.status().as_u16(), 408, "a body that does not arrive is not waited for without end");
    }
}

#[tokio::test]
async fn a_failed_authorization_header_is_answered_with_its_scheme() {
    let world = World::new(Kind::Sqlite).await;
    let header = world.server.token(&[("grant_type", "client_credentials")], Some(("assistant", "pcs_wrong"))).await;
    assert_eq!((header.status.as_u16(), &header.json()["error"]), (401, &json!("invalid_client")));
    assert!(header.header("www-authenticate").starts_with("Basic "));
    let form = [("grant_type", "client_credentials"), ("client_id", "poster"), ("client_secret", "pcs_wrong")];
    let posted = world.server.token(&form, None).await;
    assert_eq!((posted.status.as_u16(), posted.header("www-authenticate")), (401, ""));
}

#[tokio::test]
async fn broken_authorization_headers_are_refused() {
    let world = World::new(Kind::Sqlite).await;
    let two_colons =
        format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "no colon"));
    for value in ["Basic !!!", "Bearer abc", "Basic", &two_colons] {
        let request = Request::post("/token").header(header::AUTHORIZATION, value).header(header::CONTENT_TYPE, FORM);
        let answer = world.server.send(request.body(Body::from("grant_type=client_credentials")).unwrap()).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (401, &json!("invalid_client")), "{value}");
        assert_eq!(world.server.event(&answer).await.reason, "client_credentials_missing");
    }
}

#[tokio::test]
async fn too_many_failures_from_one_address_are_slowed_down_and_known_clients_are_not() {
    let variables = [("PROCURA_LIMITS__FAILED_AUTHENTICATIONS_PER_MINUTE", "3")];
    let world = World::configured(Kind::Sqlite, &variables).await;
    let fail = async || world.server.token(&[("grant_type", "client_credentials")], Some(("nobody", "x"))).await;
    for _ in 0..3 {
        assert_eq!(fail().await.status, 401);
    }
    let slowed = fail().await;
    assert_eq!((slowed.status.as_u16(), &slowed.json()["error"]), (429, &json!("slow_down")));
    assert!(slowed.header("retry-after").parse::<u64>().unwrap() > 0);
    let events = world.server.app.store.events_of_request(slowed.request_id()).await.unwrap();
    assert_eq!(events, [], "a stranger does not fill the disk");
    world.own_token("worker", &[]).await;
}

#[tokio::test]
async fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
    for (trusted, source) in [("198.51.100.0/24", "192.0.2.1"), ("192.0.2.0/24", "203.0.113.7")] {
        let server = TestServer::configured(Kind::Sqlite, &[("PROCURA_TRUSTED_PROXIES", trusted)]).await;
        let request = Request::post("/token")
            .header(header::CONTENT_TYPE, FORM)
            .header("x-forwarded-for", "10.0.0.1, 203.0.113.7, 192.0.2.9");
        let answer = server.send(request.body(Body::from("grant_type=x")).unwrap()).await;
        assert_eq!(server.event(&answer).await.source.unwrap(), source);
    }
}

#[tokio::test]
async fn the_trace_id_of_a_request_is_in_its_event() {
    let server = TestServer::start(Kind::Sqlite).await;
    let request = Request::post("/token")
        .header(header::CONTENT_TYPE, FORM)
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let answer = server.send(request.body(Body::from("grant_type=x")).unwrap()).await;
    assert_eq!(server.event(&answer).await.trace_id.unwrap(), "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test]
async fn readiness_follows_the_database_and_the_way_down() {
    let server = TestServer::start(Kind::Sqlite).await;
    assert_eq!(server.get("/healthz").await.status, 200);
    assert_eq!(server.get("/readyz").await.status, 200);
    server.app.drain();
    let draining = server.get("/readyz").await;
    assert_eq!((draining.status.as_u16(), &draining.json()["problems"]), (503, &json!(["shutting down"])));
    assert_eq!(server.get("/healthz").await.status, 200);
    server.app.store.close().await;
    assert!(server.get("/readyz").await.text.contains("the database does not answer"));
}

#[tokio::test]
async fn no_token_is_answered_when_its_event_cannot_be_written() {
    let world = World::new(Kind::Sqlite).await;
    world.records_token().await;
    world.server.database.execute("DROP TABLE audit_event").await;
    let answer = world.exchange(json!({}), &[("audience", "records")]).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (503, &json!("temporarily_unavailable")));
    assert_eq!(answer.json()["access_token"], Value::Null);
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
    assert!(world.server.get("/readyz").await.text.contains("audit events cannot be written"));
}

#[tokio::test]
async fn metrics_count_decisions_by_reason_on_the_private_listener_only() {
    let world = World::new(Kind::Sqlite).await;
    world.records_token().await;
    world.exchange_as("stranger", &world.id_token(json!({})), &[]).await;
    world.server.token(&[("grant_type", "client_credentials")], Some(("nobody", "x"))).await;
    let (status, text) = admin(&world.server.app, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        r#"procura_token_exchange_total{result="granted",reason="granted"} 1"#,
        r#"procura_token_exchange_total{result="refused",reason="subject_token_audience_foreign"} 1"#,
        r#"procura_client_auth_failures_total{method="client_secret_basic",reason="client_unknown"} 1"#,
        r#"procura_tokens_issued_total{grant="token_exchange"} 1"#,
        r#"procura_http_requests_total{route="/token",status="200"} 1"#,
        "procura_audit_write_failures_total 0",
        "procura_db_pool_in_use ",
        &format!(r#"procura_idp_requests_total{{issuer="{}",result="ok"}} 1"#, world.corp.issuer()),
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
    assert!(text.contains("procura_clock_skew_seconds{"), "{text}");
    assert!(!text.contains("alice") && !text.contains("assistant"), "no user or client is a label");
    assert_eq!(world.server.get("/metrics").await.status, 404);
}

#[tokio::test]
async fn a_consent_link_leads_to_a_sign_in_and_says_nothing_of_its_user() {
    let world = World::new(Kind::Sqlite).await;
    let ask = [("audience", "records"), ("scope", "records.read records.write")];
    let answer = world.exchange_as("assistant", &world.bobs_id_token(), &ask).await;
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["error"]), (400, &json!("consent_required")));
    assert_eq!((&body["expires_in"], &body["interval"]), (&json!(600), &json!(5)));
    let uri = body["consent_uri"].as_str().unwrap();
    let path = uri.strip_prefix(ISSUER).unwrap();
    assert!(path.starts_with("/consent/"));
    let page = world.server.get(path).await;
    // The provider of this registry signs nobody in.
    assert_eq!(page.status, 503);
    assert!(page.text.contains("Sign-in is not set up"), "{}", page.text);
    assert!(!page.text.contains("bob"), "whoever has the link does not learn whom it is about");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"));
    assert_eq!((page.header("x-frame-options"), page.header("cache-control")), ("DENY", "no-store"));

    let again = world.exchange_as("assistant", &world.bobs_id_token(), &ask).await;
    assert_eq!(again.json()["consent_uri"], uri, "a client that polls is led to the same page");
    world.server.clock.advance(Duration::from_hours(1));
    assert_eq!(world.server.get(path).await.status, 404);
}

world_test! {
    async fn a_change_is_in_force_after_the_next_look_at_the_database(world: World) {
        world.records_token().await;
        let other = world.server.database.another_store().await;
        let event = procura::domain::event::AuditEvent::new(
            NOW * 1000,
            "adm_1".to_owned(),
            procura::domain::event::EventKind::Administration,
            procura::domain::event::EventOutcome::Done,
            "test",
        );
        other.change(&[Change::SuspendClient("assistant".parse().unwrap())], event, NOW).await.unwrap();
        world.server.app.refresh().await.unwrap();
        let answer = world.exchange(json!({}), &[("audience", "records")]).await;
        assert_eq!(answer.json()["error"], "invalid_client");
    }

    async fn a_registry_that_cannot_be_used_keeps_nothing_else_in_force_and_then_stops_the_server(world: World) {
        world.records_token().await;
        let ask = async || world.exchange(json!({}), &[("audience", "records")]).await;
        let broken = "UPDATE resource SET document = '{}' WHERE id = 'billing'";
        assert_eq!(world.server.database.execute(broken).await, 1);
        world.server.database.execute("UPDATE version SET registry = registry + 1").await;
        assert!(world.server.app.refresh().await.is_err());
        assert_eq!(ask().await.status, 200, "for a moment what was in force stays");

        world.server.database.execute("UPDATE consent SET revoked_at = 1").await;
        world.server.database.execute("UPDATE version SET consents = consents + 1").await;
        assert!(world.server.app.refresh().await.is_err());
        assert_eq!(ask().await.json()["error"], "consent_required", "a consent is taken in all the same");

        world.server.clock.advance(Duration::from_secs(2));
        let answer = ask().await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (503, &json!("temporarily_unavailable")));
        assert!(world.server.get("/readyz").await.text.contains("cannot be taken in"));
    }

    async fn the_newest_attributes_of_a_user_count_whatever_was_presented_in_between(world: World) {
        let roles = async |seconds_ago: i64, roles: Value| {
            let token = world.id_token(json!({"iat": NOW - seconds_ago, "roles": roles}));
            let answer = world.exchange_as("assistant", &token, &[("audience", "records"), ("scope", "records.read")]).await;
            assert_eq!(answer.status, 200);
            let user = world.server.app.store.find_user(&"corp|alice".parse().unwrap()).await.unwrap().unwrap();
            user.attributes.roles
        };
        let none = [""; 0];
        assert_eq!(roles(30, json!([])).await, none);
        assert_eq!(roles(20, json!(["doctor"])).await, ["doctor"]);
        assert_eq!(roles(30, json!([])).await, ["doctor"], "an older token tells nothing new");
        assert_eq!(roles(5, json!([])).await, none, "a newer one does, though it says what was said before");
    }

    async fn a_refusal_names_the_backend_that_was_asked_for(world: World) {
        let answer = world.exchange_as("assistant", &world.bobs_id_token(), &[("audience", "models"), ("scope", "model.medical")]).await;
        let event = world.server.event(&answer).await;
        assert_eq!((event.reason.as_str(), event.resource.unwrap().as_str()), ("policy_not_permitted", "models"));
    }

    async fn a_backend_with_another_algorithm_gets_a_key_of_its_own(world: World) {
        for algorithm in ["RS256", "PS256", "EdDSA"] {
            let resource = format!(
                "[[resource]]\nid = \"billing\"\naudience = \"https://billing.example.com\"\nname = \"Billing\"\n\
                 signing_algorithm = \"{algorithm}\"\n[[resource.scope]]\nname = \"invoices.read\"\n\
                 description = \"See your invoices\"\naccess = \"read\""
            );
            world.server.apply(&resource).await;
            let first = world.records_token().await;
            let ask = [("audience", "billing")];
            let token = world.exchange_typed("records-backend", &first, crate::server::ACCESS_TOKEN, &ask).await.token();
            let jwks = world.server.get("/.well-known/jwks.json").await.text;
            let verifier = OfflineVerifier::new(ISSUER, "https://billing.example.com", &jwks).unwrap();
            assert!(verifier.verify(&token, NOW).is_ok(), "{algorithm}");
            let keys: Value = serde_json::from_str(&jwks).unwrap();
            assert!(keys["keys"].as_array().unwrap().iter().any(|key| key["alg"] == algorithm), "{jwks}");
        }
    }

    async fn a_rotated_secret_works_beside_the_one_before_and_ends_the_one_before_that(world: World) {
        let first = world.secret("worker").to_owned();
        let second = world.server.new_secret("worker").await;
        let ask = async |secret: &str| {
            world.server.token(&[("grant_type", "client_credentials")], Some(("worker", secret))).await.status.as_u16()
        };
        assert_eq!((ask(&first).await, ask(&second).await), (200, 200));
        let third = world.server.new_secret("worker").await;
        assert_eq!((ask(&first).await, ask(&second).await, ask(&third).await), (401, 200, 200));
    }
}
