//! `verify` as a backend has it: built without the server, tried with nothing but the test kit.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes only the bodies of #[test] functions for tests, not their helpers"
)]

use procura::verify::testing::TestIssuer;
use procura::verify::{Caller, CallerExt, Reason, Verifier};
use std::convert::Infallible;
use std::time::Duration;
use tower::{Layer, Service, ServiceExt, service_fn};

const AUDIENCE: &str = "https://records.example.com/api";

/// A backend: it answers with whom it serves, and looks at nothing but the caller.
async fn backend(request: http::Request<String>) -> Result<http::Response<String>, Infallible> {
    let caller = request.caller().map_or_else(|| "nobody".to_owned(), |caller| caller.user.sub.clone());
    Ok(http::Response::new(caller))
}

async fn call(verifier: &Verifier, request: http::Request<String>) -> http::Response<String> {
    let mut service = verifier.layer().requiring(&["records.read"]).layer(service_fn(backend));
    service.ready().await.unwrap().call(request).await.unwrap()
}

fn bearing(token: &str) -> http::Request<String> {
    let request = http::Request::get("https://records.example.com/api/rows");
    request
        .header("authorization", format!("Bearer {token}"))
        .header("x-user-id", "corp|bob")
        .body(String::new())
        .unwrap()
}

#[tokio::test]
async fn a_good_token_brings_its_user_through_the_layer_and_x_user_id_counts_for_nothing() {
    let issuer = TestIssuer::new(AUDIENCE);
    let token = issuer.token("corp|alice", "assistant").scopes("records.read").sign();
    let answer = call(&issuer.verifier(), bearing(&token)).await;
    assert_eq!((answer.status().as_u16(), answer.body().as_str()), (200, "corp|alice"));
}

#[tokio::test]
async fn every_bad_token_of_the_kit_is_refused() {
    let issuer = TestIssuer::new(AUDIENCE);
    let verifier = issuer.verifier();
    for (what, token) in issuer.bad_tokens("corp|alice", "assistant") {
        let answer = call(&verifier, bearing(&token)).await;
        assert_eq!(answer.status(), 401, "{what}");
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{what}: {challenge}");
    }
}

#[tokio::test]
async fn a_clients_own_token_is_let_in_only_where_that_was_said() {
    let issuer = TestIssuer::new(AUDIENCE);
    let token = issuer.own_token("assistant").sign();
    let refused = issuer.verifier().verify(&token).await.unwrap_err();
    assert!(matches!(refused.reason(), Reason::InvalidToken { check: "act", .. }), "{refused}");
    let caller = issuer.builder().accept_clients_own_tokens().build().unwrap().verify(&token).await.unwrap();
    assert!(!caller.is_delegated() && caller.agent.is_none() && caller.user.sub == "assistant");
}

#[tokio::test]
async fn the_caller_is_what_the_token_says() {
    let issuer = TestIssuer::new(AUDIENCE);
    let token = issuer.token("corp|alice", "records-backend").asked_by("assistant").asked_by("orchestrator");
    let token = token.scopes("records.read records.write").claim("roles", serde_json::json!(["doctor"])).sign();
    let caller: Caller = issuer.verifier().verify(&token).await.unwrap();
    assert_eq!((caller.user.iss.as_str(), caller.user.sub.as_str()), (issuer.issuer(), "corp|alice"));
    assert_eq!(caller.agent.as_ref().unwrap().sub, "records-backend");
    let earlier: Vec<&str> = caller.earlier_actors_for_audit_only.iter().map(|actor| actor.sub.as_str()).collect();
    assert_eq!(earlier, ["assistant", "orchestrator"]);
    assert_eq!((caller.client_id.as_str(), caller.roles.as_slice()), ("records-backend", &["doctor".to_owned()][..]));
    assert!(caller.can("records.write") && !caller.can("records.delete") && !caller.can(""));
    assert_eq!(caller.expires_at - caller.issued_at, 300);
    assert!(!format!("{caller:?}").contains("doctor"), "claims are not printed");
}

#[tokio::test]
async fn tokens_that_are_taken_back_are_refused_within_the_ttl_of_the_list() {
    let issuer = TestIssuer::new(AUDIENCE);
    let verifier = issuer.verifier();
    let token = issuer.token("corp|alice", "assistant").with_status(5).sign();
    let other = issuer.token("corp|bob", "assistant").with_status(6).sign();
    assert!(verifier.verify(&token).await.is_ok());
    issuer.revoke(5);
    // The list says that it is to be fetched every 15 seconds; one more passes while it is fetched.
    issuer.clock().advance(Duration::from_secs(16));
    let refused = verifier.verify(&token).await.unwrap_err();
    assert!(matches!(refused.reason(), Reason::InvalidToken { check: "status", .. }), "{refused}");
    assert!(verifier.verify(&other).await.is_ok(), "the neighbour's is good");
}

#[tokio::test]
async fn a_handler_of_axum_finds_the_caller_or_answers_500() {
    use axum_core::extract::FromRequestParts;
    use axum_core::response::IntoResponse;
    let (mut parts, ()) = http::Request::new(()).into_parts();
    let missing = Caller::from_request_parts(&mut parts, &()).await.unwrap_err();
    assert_eq!(missing.into_response().status(), 500);
    let issuer = TestIssuer::new(AUDIENCE);
    let caller = issuer.verifier().verify(&issuer.token("corp|alice", "assistant").sign()).await.unwrap();
    let refused = caller.require(&["records.read"]).unwrap_err();
    assert_eq!(refused.into_response().status(), 403);
    parts.extensions.insert(caller.clone());
    assert!(Caller::from_request_parts(&mut parts, &()).await.unwrap() == caller);
}

/// The ready-made fetch, against a server on loopback that answers each connection with the next of `answers`.
#[cfg(feature = "verify-http")]
mod by_http {
    use super::AUDIENCE;
    use procura::verify::{Clock, Reason, Verifier, testing::TestIssuer};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// Its URL, and what it was asked.
    fn serve(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let answer = |answer: String| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(head).unwrap().to_ascii_lowercase()
            };
            answers.into_iter().map(answer).collect()
        });
        (url, asked)
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
    }

    /// No program here has chosen a TLS provider: none is needed.
    #[tokio::test]
    async fn keys_come_over_http_and_stay_by_their_etag() {
        let issuer = TestIssuer::new(AUDIENCE);
        let first = answer("200 OK", "ETag: \"a\"\r\nCache-Control: max-age=60\r\n", &issuer.jwks());
        let (url, asked) = serve(vec![first, answer("304 Not Modified", "", "")]);
        let clock = issuer.clock().clone();
        let verifier =
            Verifier::builder(issuer.issuer(), AUDIENCE).jwks_url(&format!("{url}/keys")).clock(clock.clone());
        let verifier = verifier.build().unwrap();
        verifier.prefetch().await.unwrap();
        clock.advance(std::time::Duration::from_secs(61));
        assert!(verifier.verify(&issuer.token("corp|alice", "assistant").sign()).await.is_ok());
        let asked = tokio::task::spawn_blocking(|| asked.join().unwrap()).await.unwrap();
        assert!(asked[0].starts_with("get /keys http/1.1\r\n") && !asked[0].contains("if-none-match"), "{}", asked[0]);
        assert!(asked[1].contains("if-none-match: \"a\"\r\n") && !asked[1].contains("authorization"), "{}", asked[1]);
    }

    #[tokio::test]
    async fn neither_redirects_nor_errors_nor_endless_bodies_are_keys() {
        let issuer = TestIssuer::new(AUDIENCE);
        let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000));
        for (answer, problem) in [
            (answer("302 Found", "Location: http://127.0.0.1:1/\r\n", ""), "answered 302"),
            (answer("500 Internal Server Error", "", &issuer.jwks()), "answered 500"),
            (answer("200 OK", "", &large), "larger than"),
            (answer("200 OK", "", "<html>"), "is not"),
        ] {
            let (url, asked) = serve(vec![answer]);
            let verifier = Verifier::builder(&url, AUDIENCE).clock(Clock::set_to(1_800_000_000)).build().unwrap();
            let refused = verifier.prefetch().await.unwrap_err();
            assert!(refused.contains(problem), "{problem}: {refused}");
            let token = issuer.token("corp|alice", "assistant").sign();
            let refused = verifier.verify(&token).await.unwrap_err();
            assert!(matches!(refused.reason(), Reason::Unavailable(_)), "{refused}");
            // A body that is too large is not read to its end, so the server may fail to write it.
            let _ = tokio::task::spawn_blocking(|| asked.join()).await.unwrap();
        }
    }
}
