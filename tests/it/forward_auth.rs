//! `/forward-auth`: what each proxy sends, what comes back, and what no caller can do about it.

use crate::database::Kind;
use crate::server::{ACCESS_TOKEN, Answer, ISSUER, NOW, TestServer, claims};
use crate::world::{World, signed};
use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use procura::app::App;
use procura::domain::change::Change;
use procura::server::admin_router;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

const RECORDS: &str = "https://records.example.com/api";
const METADATA: &str = "https://auth.example.com/.well-known/oauth-protected-resource/records";

/// A request of a proxy, with these headers.
async fn asks(server: &TestServer, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(Body::empty()).unwrap()).await
}

async fn asks_for(server: &TestServer, path: &str, token: &str) -> Answer {
    asks(server, "GET", path, &[("authorization", &format!("Bearer {token}"))]).await
}

fn header_of(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

fn caller(answer: &Answer) -> &str {
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"), "{}", answer.text);
    answer.header("x-procura-caller")
}

/// Asserts that nothing goes on, and what the caller hears.
fn assert_refused(answer: &Answer, status: u16, challenge: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    assert_eq!(answer.header("www-authenticate"), challenge);
    assert_eq!(answer.headers.get("x-procura-caller"), None);
    assert_eq!(answer.header("cache-control"), "no-store");
}

fn invalid(description: &str) -> String {
    format!("Bearer error=\"invalid_token\", error_description=\"{description}\", resource_metadata=\"{METADATA}\"")
}

async fn metrics(app: &Arc<App>) -> String {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let body = admin_router(app).oneshot(request).await.unwrap().into_body();
    String::from_utf8(axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap()
}

world_test! {
    async fn a_good_token_becomes_a_caller_that_the_backend_can_verify(world: World) {
        let token = world.records_token().await;
        let answer = asks_for(&world.server, "/forward-auth/records", &token).await;
        let (caller, token) = (caller(&answer), claims(&token));
        let jwks = world.server.get("/.well-known/jwks.json").await.json();
        assert_eq!(
            header_of(caller),
            json!({"alg": "ES256", "typ": "procura-caller+jwt", "kid": jwks["keys"][0]["kid"]})
        );
        let keys = world.server.app.signing_keys();
        let key = keys.published(header_of(caller)["kid"].as_str().unwrap(), NOW).unwrap();
        let (signed, signature) = caller.rsplit_once('.').unwrap();
        assert!(key.verifies(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()));
        let told = claims(caller);
        for same in ["iss", "sub", "aud", "jti", "client_id", "act", "scope", "txn", "grant_id", "roles", "acr"] {
            assert_eq!(told[same], token[same], "{same}");
        }
        assert_eq!((&told["sub"], &told["act"]["sub"]), (&json!("corp|alice"), &json!("assistant")));
        assert_eq!((&told["iat"], &told["exp"]), (&json!(NOW), &json!(NOW + 60)));
        for left_out in ["status", "policy", "nbf"] {
            assert_eq!(told[left_out], Value::Null, "{left_out} is of the token, not of the caller");
        }
        let events = world.server.app.store.events_of_request(answer.request_id()).await.unwrap();
        assert_eq!(events, [], "an event for each request would be more than for each token");

        world.server.clock.advance(Duration::from_secs(290));
        let late = asks_for(&world.server, "/forward-auth/records", &world_token(&token, &world)).await;
        assert_eq!(claims(self::caller(&late))["exp"], token["exp"], "it does not outlive the token");
    }

    async fn what_is_taken_back_is_refused_at_once(world: World) {
        let token = world.records_token().await;
        let grant = claims(&token)["grant_id"].as_str().unwrap().to_owned();
        let (assistant, alice) = (|| "assistant".parse().unwrap(), || "corp|alice".parse().unwrap());
        let ask = async || asks_for(&world.server, "/forward-auth/records", &token).await;
        for (stops, goes_on) in [
            (Change::PauseConsent(grant.clone()), Change::ResumeConsent(grant.clone())),
            (Change::SuspendClient(assistant()), Change::ResumeClient(assistant())),
            (Change::SuspendUser(alice()), Change::ResumeUser(alice())),
        ] {
            caller(&ask().await);
            world.server.change(std::slice::from_ref(&stops)).await;
            assert_refused(&ask().await, 401, &invalid("The token was taken back."));
            world.server.change(&[goes_on]).await;
        }
        caller(&ask().await);
        world.server.change(&[Change::RevokeConsent(grant)]).await;
        assert_refused(&ask().await, 401, &invalid("The token was taken back."));
    }
}

/// The token that has these claims, which the server signs again.
fn world_token(token: &Value, world: &World) -> String {
    let keys = world.server.app.signing_keys();
    let key = keys.signer(procura::domain::resource::SigningAlgorithm::ES256, NOW).unwrap();
    key.sign("at+jwt", token.to_string().as_bytes()).unwrap()
}

#[tokio::test]
async fn each_proxy_asks_in_its_own_way_and_hears_the_same() {
    let world = World::new(Kind::Sqlite).await;
    let token = format!("Bearer {}", world.records_token().await);
    let authorization = ("authorization", token.as_str());
    let traefik = [
        authorization,
        ("x-forwarded-method", "POST"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "records.example.com"),
        ("x-forwarded-uri", "/forward-auth/models?clients"),
        ("x-forwarded-for", "203.0.113.7"),
    ];
    let nginx = [authorization, ("x-original-uri", "/api/records?scope=x"), ("x-original-method", "DELETE")];
    let caddy = [authorization, ("x-forwarded-method", "PUT"), ("x-forwarded-uri", "/api/records/7")];
    let envoy = [authorization, ("content-length", "0"), ("x-envoy-internal", "true")];
    for (method, path, headers) in [
        ("GET", "/forward-auth/records,scope=records.read", &traefik[..]),
        ("GET", "/forward-auth/records,scope=records.read", &nginx[..]),
        ("GET", "/forward-auth/records,scope=records.read?q=what-the-caller-sent", &caddy[..]),
        ("POST", "/forward-auth/records,scope=records.read/api/records?scope=nothing", &envoy[..]),
        ("DELETE", "/forward-auth/records,scope=records.read/", &envoy[..]),
        ("HEAD", "/forward-auth/records,scope=records.read//double//slash", &envoy[..]),
        ("OPTIONS", "/forward-auth/records/api", &envoy[..]),
        ("PROPFIND", "/forward-auth/records/%F0%9F%98%80/%2f...;a/.well-known", &envoy[..]),
    ] {
        let answer = asks(&world.server, method, path, headers).await;
        assert_eq!(claims(caller(&answer))["aud"], RECORDS, "{method} {path}");
        let answer = asks(&world.server, method, path, &headers[1..]).await;
        let scope = if path.contains(",scope") { "scope=\"records.read\", " } else { "" };
        assert_refused(&answer, 401, &format!("Bearer {scope}resource_metadata=\"{METADATA}\""));
    }
}

#[tokio::test]
async fn everything_but_a_good_token_for_this_backend_is_refused() {
    let world = World::new(Kind::Sqlite).await;
    let server = &world.server;
    let good = world.records_token().await;
    let models = world.exchange(json!({}), &[("audience", "models"), ("scope", "model.general")]).await.token();
    let (head, rest) = good.split_once('.').unwrap();
    let bobs = claims(&good).to_string().replace("corp|alice", "corp|bob");
    let altered = format!("{head}.{}.{}", URL_SAFE_NO_PAD.encode(bobs), rest.split_once('.').unwrap().1);
    let with_jwt_typ = {
        let keys = server.app.signing_keys();
        let key = keys.signer(procura::domain::resource::SigningAlgorithm::ES256, NOW).unwrap();
        key.sign("JWT", claims(&good).to_string().as_bytes()).unwrap()
    };
    let caller_header = caller(&asks_for(server, "/forward-auth/records", &good).await).to_owned();
    let not_ours = "This is not an access token of the authorization server.";
    for (what, token, description) in [
        ("a token for another backend", models, "The token is for another backend."),
        ("two audiences", world_token(&with_audiences(&good), &world), "The token is for another backend."),
        ("a token for this server", world.own_token("assistant", &[]).await, "The token is for another backend."),
        ("another issuer's ID token", world.id_token(json!({})), not_ours),
        ("another issuer's access token", foreign(&world, &good), not_ours),
        ("altered claims", altered, not_ours),
        ("another typ", with_jwt_typ, not_ours),
        ("what this endpoint gave", caller_header.clone(), not_ours),
        ("no JWT", "opaque".to_owned(), not_ours),
        (
            "a client that speaks for itself",
            world.own_token("worker", &[("audience", "records")]).await,
            "The token acts for no user.",
        ),
    ] {
        let answer = asks_for(server, "/forward-auth/records", &token).await;
        assert_eq!(answer.header("www-authenticate"), invalid(description), "{what}");
        assert_refused(&answer, 401, &invalid(description));
        let events = server.app.store.events_of_request(answer.request_id()).await.unwrap();
        assert_eq!(events, [], "{what}: whoever sends it does not fill the disk");
    }
    let answer = world.exchange_typed("records-backend", &caller_header, ACCESS_TOKEN, &[("audience", "models")]).await;
    assert_eq!(answer.json()["error"], "invalid_request", "a caller's header is no token to exchange");

    let missing = format!("Bearer resource_metadata=\"{METADATA}\"");
    let bearer = format!("Bearer {good}");
    for headers in [
        &[][..],
        &[("authorization", "Basic YTpi")],
        &[("authorization", bearer.as_str()), ("authorization", bearer.as_str())],
        &[("x-procura-caller", caller_header.as_str())],
    ] {
        assert_refused(&asks(server, "GET", "/forward-auth/records", headers).await, 401, &missing);
    }
    let in_query = format!("/forward-auth/records?access_token={good}");
    assert_refused(&asks(server, "GET", &in_query, &[]).await, 401, &missing);

    server.clock.advance(Duration::from_mins(5));
    let answer = asks_for(server, "/forward-auth/records", &good).await;
    assert_refused(&answer, 401, &invalid("The token has expired."));

    let counted = metrics(&server.app).await;
    for (result, reason, count) in [
        ("passed", "passed", 1),
        ("refused", "no_token", 5),
        ("refused", "token_invalid", 6),
        ("refused", "audience_foreign", 3),
        ("refused", "not_delegated", 1),
        ("refused", "token_expired", 1),
    ] {
        let line = format!("procura_forward_auth_total{{result=\"{result}\",reason=\"{reason}\"}} {count}\n");
        assert!(counted.contains(&line), "{line}: {counted}");
    }
}

fn with_audiences(token: &str) -> Value {
    let mut claims = claims(token);
    claims["aud"] = json!([RECORDS, "https://models.example.com"]);
    claims
}

/// What an identity provider could sign if it wanted to be us.
fn foreign(world: &World, token: &str) -> String {
    signed(&world.corp, &claims(token))
}

#[tokio::test]
async fn every_scope_is_needed_and_a_narrowed_consent_counts_at_once() {
    let world = World::new(Kind::Sqlite).await;
    let token = world.records_token().await;
    let path = "/forward-auth/records,scope=records.write,scope=records.read";
    caller(&asks_for(&world.server, path, &token).await);
    let id = claims(&token)["grant_id"].as_str().unwrap().to_owned();
    let before = "records.read records.write records.delete".parse().unwrap();
    let scopes = "records.read".parse().unwrap();
    world.server.change(&[Change::NarrowConsent { id, before, scopes }]).await;
    let challenge = format!(
        "Bearer error=\"insufficient_scope\", error_description=\"The token does not have every scope that this \
         needs.\", scope=\"records.read records.write\", resource_metadata=\"{METADATA}\""
    );
    assert_refused(&asks_for(&world.server, path, &token).await, 403, &challenge);
    let read = asks_for(&world.server, "/forward-auth/records,scope=records.read", &token).await;
    assert_eq!(claims(caller(&read))["scope"], "records.read", "the backend hears what still counts");
}

#[tokio::test]
async fn what_is_asked_is_in_the_proxys_part_of_the_path_and_nowhere_else() {
    let world = World::new(Kind::Sqlite).await;
    let own = world.own_token("worker", &[("audience", "records")]).await;
    for path in [
        "/forward-auth/records?clients",
        "/forward-auth/records?clients=1&scope=records.read",
        "/forward-auth/records/,clients",
        "/forward-auth/records/api,clients?,clients",
    ] {
        assert_refused(&asks_for(&world.server, path, &own).await, 401, &invalid("The token acts for no user."));
    }
    let told = asks_for(&world.server, "/forward-auth/records,clients", &own).await;
    let told = claims(caller(&told));
    assert_eq!((&told["sub"], &told["act"]), (&json!("worker"), &Value::Null));

    let models = world.exchange(json!({}), &[("audience", "models"), ("scope", "model.general")]).await.token();
    for path in [
        "/forward-auth/records/../models",
        "/forward-auth/records/%2e%2e/models",
        "/forward-auth/records/a/.%2E/..",
        "/forward-auth/records/./x",
        "/forward-auth/records/%zz",
        "/forward-auth/records/a%2f..%2f..%2fmodels",
        "/forward-auth/records/..%5cmodels",
        "/forward-auth/records/..;x/models",
    ] {
        let answer = asks_for(&world.server, path, &models).await;
        assert_eq!((answer.status.as_u16(), answer.headers.get("x-procura-caller")), (400, None), "{path}");
    }
}

#[tokio::test]
async fn a_question_that_makes_no_sense_lets_nobody_through() {
    let world = World::new(Kind::Sqlite).await;
    let token = world.records_token().await;
    for (path, status) in [
        ("/forward-auth/recrods", 404),
        ("/forward-auth/RECORDS", 404),
        ("/forward-auth/records*", 404),
        ("/forward-auth//records", 404),
        ("/forward-auth/records,scope=", 400),
        ("/forward-auth/records,scope=records.red", 400),
        ("/forward-auth/records,scope=records.read+records.write", 400),
        ("/forward-auth/records,scope", 400),
        ("/forward-auth/records,clients=no", 400),
        ("/forward-auth/records,", 400),
        ("/forward-auth/records,audience=x", 400),
    ] {
        let answer = asks_for(&world.server, path, &token).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
        assert_eq!(answer.headers.get("x-procura-caller"), None, "{path}");
        assert!(!answer.json()["error_description"].as_str().unwrap().is_empty(), "{path}: {}", answer.text);
    }
    assert_eq!(asks_for(&world.server, "/forward-auth", &token).await.status, 404);
    assert_eq!(asks_for(&world.server, "/forward-auth/", &token).await.status, 404);
}

#[tokio::test]
async fn a_known_caller_costs_no_database_and_what_cannot_be_known_lets_nobody_through() {
    let world = World::new(Kind::Sqlite).await;
    let token = world.records_token().await;
    let ask = async || asks_for(&world.server, "/forward-auth/records", &token).await;
    caller(&ask().await);
    world.server.app.store.close().await;
    world.server.clock.advance(Duration::from_secs(30));
    caller(&ask().await);
    assert!(world.server.app.refresh().await.is_err());
    caller(&ask().await);
    world.server.clock.advance(Duration::from_secs(2));
    let answer = ask().await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (503, &json!("temporarily_unavailable")));
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
    assert_eq!(answer.headers.get("x-procura-caller"), None);
    let altered = asks_for(&world.server, "/forward-auth/records", "nonsense").await;
    assert_eq!(altered.status, 401, "what needs no memory is still answered");
}

#[tokio::test]
async fn the_header_is_signed_as_the_backend_is_registered() {
    let world = World::new(Kind::Sqlite).await;
    let resource = "[[resource]]\nid = \"billing\"\naudience = \"https://billing.example.com\"\nname = \
                    \"Billing\"\nsigning_algorithm = \"EdDSA\"\n[[resource.scope]]\nname = \
                    \"invoices.read\"\ndescription = \"See your invoices\"\naccess = \"read\"";
    world.server.apply(resource).await;
    let first = world.records_token().await;
    let token = world.exchange_typed("records-backend", &first, ACCESS_TOKEN, &[("audience", "billing")]).await.token();
    let answer = asks_for(&world.server, "/forward-auth/billing,scope=invoices.read", &token).await;
    assert_eq!(header_of(caller(&answer))["alg"], "EdDSA");
    let told = claims(caller(&answer));
    assert_eq!((&told["act"]["sub"], &told["act"]["act"]["sub"]), (&json!("records-backend"), &json!("assistant")));
    assert!(told["earlier_grants"].is_array());
}

#[tokio::test]
async fn below_the_path_of_an_issuer_it_is_the_same() {
    let server = TestServer::configured(Kind::Sqlite, &[("PROCURA_ISSUER", "https://example.com/t1")]).await;
    let resource = format!("[[resource]]\nid = \"records\"\naudience = \"{RECORDS}\"\nname = \"Health records\"\n");
    server.apply(&resource).await;
    let answer = asks(&server, "GET", "/t1/forward-auth/records/api", &[]).await;
    let url = "https://example.com/t1/.well-known/oauth-protected-resource/records";
    assert_refused(&answer, 401, &format!("Bearer resource_metadata=\"{url}\""));
    for path in ["/t1/.well-known/oauth-protected-resource/records", "/.well-known/oauth-protected-resource/records"] {
        assert_eq!(server.get(path).await.json()["resource"], RECORDS, "{path}");
    }
    assert_eq!(server.get("/forward-auth/records").await.status, 404);
}

#[tokio::test]
async fn a_proxy_in_front_of_a_backend_can_hand_on_requests_for_its_document() {
    let server = TestServer::start(Kind::Sqlite).await;
    let resource = |id: &str, audience: &str| {
        format!("[[resource]]\nid = \"{id}\"\naudience = \"{audience}\"\nname = \"The {id}\"\n")
    };
    server
        .apply(
            &[
                resource("records", RECORDS),
                resource("plain", "https://plain.example.com"),
                resource("api", "http://127.0.0.1:8800/records"),
                resource("here", "https://auth.example.com/records"),
            ]
            .concat(),
        )
        .await;
    let document = async |host: &str, path: &str| {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        asks(&server, "GET", &path, &[(header::HOST.as_str(), host)]).await
    };
    for (host, path, id) in [
        ("records.example.com", "/api", "records"),
        ("Records.Example.com:443", "/api", "records"),
        ("records.example.com", "/records", "records"),
        ("plain.example.com", "", "plain"),
        ("127.0.0.1:8800", "/records", "api"),
        ("elsewhere.example.com", "/api", "api"),
        ("auth.example.com", "/records", "records"),
        ("auth.example.com", "/here", "here"),
    ] {
        let answer = document(host, path).await;
        assert_eq!(answer.json()["resource_name"], format!("The {id}"), "{host} {path}");
        assert_eq!((answer.header("vary"), answer.header("access-control-allow-origin")), ("Host", "*"));
    }
    for (host, path) in [("records.example.com", ""), ("records.example.com", "/api/v2"), ("evil\"host", "/nothing")] {
        assert_eq!(document(host, path).await.status, 404, "{host} {path}");
    }
    let whole = document("records.example.com", "/api").await.json();
    assert_eq!(
        whole,
        json!({
            "resource": RECORDS,
            "resource_name": "The records",
            "authorization_servers": [ISSUER],
            "bearer_methods_supported": ["header"],
        }),
        "no list is empty, and jwks_uri would be for keys of the backend (RFC 9728 section 2)"
    );
}
