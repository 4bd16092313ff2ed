//! What people and clients that have proved nothing can spend of our disk and time (A60, A80).

use super::{CLAIMS, LOGIN, REGISTRY, provider, request};
use crate::browser::{Browser, FrontDoor, location, query};
use crate::database::Kind;
use crate::server::{Answer, TestServer};

/// A server with a limit of three a minute.
async fn door(limit: &str) -> FrontDoor {
    let server = TestServer::configured(Kind::Sqlite, &[(limit, "3")]).await;
    let door = FrontDoor { server, idp: crate::issuer::TestIssuer::start().await };
    door.server.apply(&format!("{}{REGISTRY}", provider("corp", &door.idp, LOGIN, CLAIMS))).await;
    door
}

/// Asserts that there were too many, and that nothing was recorded.
async fn assert_slowed(server: &TestServer, answer: &Answer, what: &str) {
    assert_eq!(answer.status, 429, "{what}: {}", answer.text);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0, "{what}");
    assert_eq!(server.app.store.events_of_request(answer.request_id()).await.unwrap(), [], "{what}");
}

const FAILURES: &str = "PROCURA_LIMITS__FAILED_AUTHENTICATIONS_PER_MINUTE";
const SESSIONS: &str = "PROCURA_LIMITS__NEW_SESSIONS_PER_MINUTE";

#[tokio::test]
async fn strangers_with_bad_requests_wait_and_fill_no_disk() {
    let wrong = request(&[("response_type", "token")]);
    let unknown = request(&[("request_uri", "urn:ietf:params:oauth:request_uri:x")]);
    let silent = request(&[("prompt", "none")]);
    for (path, status) in [(wrong.as_str(), 303), (unknown.as_str(), 400)] {
        let door = door(FAILURES).await;
        let mut browser = Browser::default();
        for _ in 0..9 {
            let answer = browser.get(door.router(), &silent).await;
            assert_eq!(query(&location(&answer))["error"], "login_required", "who is not signed in did nothing wrong");
        }
        for _ in 0..3 {
            assert_eq!(browser.get(door.router(), path).await.status.as_u16(), status, "{path}");
        }
        assert_slowed(&door.server, &browser.get(door.router(), path).await, path).await;
    }
}

#[tokio::test]
async fn strangers_at_the_endpoints_for_clients_wait_and_fill_no_disk() {
    for path in ["/par", "/revoke", "/introspect"] {
        let server = TestServer::configured(Kind::Sqlite, &[(FAILURES, "3")]).await;
        // Two ways to say who one is.
        let form = [("client_assertion", "x"), ("client_secret", "y"), ("client_id", "z")];
        let ask = async || Browser::default().post_from(&server.router, path, &form, &[]).await;
        for _ in 0..3 {
            let answer = ask().await;
            assert!(answer.status == 400 || answer.status == 401, "{path}: {} {}", answer.status, answer.text);
        }
        assert_slowed(&server, &ask().await, path).await;
    }
}

#[tokio::test]
async fn a60_whoever_names_a_public_client_cannot_fill_the_audit_trail() {
    let pushed = request(&[("redirect_uri", "https://evil.example/")]);
    let pushed: Vec<(String, String)> =
        url::form_urlencoded::parse(pushed.strip_prefix("/authorize?").unwrap().as_bytes()).into_owned().collect();
    let pushed: Vec<(&str, &str)> = pushed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    for (path, form) in [
        ("/introspect", vec![("client_id", "desk"), ("token", "x")]),
        ("/revoke", vec![("client_id", "desk")]),
        ("/par", pushed),
        ("/token", vec![("client_id", "desk"), ("grant_type", "client_credentials")]),
        (
            "/token",
            vec![
                ("client_id", "desk"),
                ("grant_type", exchange),
                ("subject_token", "x"),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
                ("resource", super::RECORDS),
            ],
        ),
    ] {
        let door = door(FAILURES).await;
        let ask = async || Browser::default().post_from(door.router(), path, &form, &[]).await;
        for _ in 0..3 {
            let answer = ask().await;
            assert!(answer.status == 400 || answer.status == 401, "{path}: {} {}", answer.status, answer.text);
        }
        assert_slowed(&door.server, &ask().await, path).await;
    }
    // Asked again and again without a page, who is not signed in does nothing wrong, but not without end.
    let door = door(SESSIONS).await;
    let silent = request(&[("prompt", "none")]);
    for _ in 0..3 {
        assert_eq!(Browser::default().get(door.router(), &silent).await.status, 303);
    }
    assert_slowed(&door.server, &Browser::default().get(door.router(), &silent).await, "prompt=none").await;
}

#[tokio::test]
async fn a60_codes_and_refresh_tokens_cannot_be_tried_without_end_by_whoever_knows_a_public_client() {
    for (name, value, grant) in [
        ("refresh_token", "x", "refresh_token"),
        ("code", "x", "authorization_code"),
        ("code", "", "authorization_code"),
    ] {
        let door = door(FAILURES).await;
        let form = [("grant_type", grant), ("client_id", "desk"), (name, value)];
        let ask = async || Browser::default().post_from(door.router(), "/token", &form, &[]).await;
        for _ in 0..3 {
            assert_eq!(ask().await.status, 400, "{grant}");
        }
        assert_slowed(&door.server, &ask().await, grant).await;
    }
}

#[tokio::test]
async fn a80_sessions_and_pushed_requests_are_counted_by_address_and_known_browsers_are_not() {
    let door = door(SESSIONS).await;
    let mut known = Browser::default();
    assert_eq!(known.get(door.router(), &request(&[])).await.status, 303);
    for _ in 0..2 {
        assert_eq!(Browser::default().get(door.router(), &request(&[])).await.status, 303);
    }
    assert_slowed(&door.server, &Browser::default().get(door.router(), &request(&[])).await, "/authorize").await;
    assert_slowed(&door.server, &Browser::default().get(door.router(), "/account").await, "/account").await;
    assert_eq!(known.get(door.router(), &request(&[])).await.status, 303, "it has its session");
    // And the same for what a client without a secret pushes.
    let pushed = request(&[]).strip_prefix("/authorize?").unwrap().to_owned();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(pushed.as_bytes()).into_owned().collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let pushed = Browser::default().post_from(door.router(), "/par", &pairs, &[]).await;
    assert_eq!((pushed.status.as_u16(), pushed.json()["error"].as_str()), (429, Some("slow_down")), "{}", pushed.text);
}
