//! Attacks that only show at `/authorize`, with the answer that the list of attacks states.

use super::{CALLBACK, Desk, RECORDS, refresh_token, request};
use crate::browser::{Browser, CLAIMS, FrontDoor, LOGIN, leads_to, location, provider, query};
use crate::client_documents::{HERE, OPEN, document};
use crate::database::Kind;
use crate::documents::DocumentHost;
use crate::registration::register;
use crate::server::{Answer, TestServer, claims};
use axum::body::Body;
use axum::http::Request;
use procura::domain::decision::ReasonCode;
use serde_json::json;
use std::time::Duration;

/// 400 page `invalid_client`, no way on, and an event with the reason.
async fn assert_page(door: &FrontDoor, answer: &Answer, reason: ReasonCode, what: &str) {
    assert_eq!((answer.status.as_u16(), answer.header("location")), (400, ""), "{what}");
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8", "{what}");
    assert!(!answer.text.contains("http-equiv"), "{what}: {}", answer.text);
    let event = door.server.event(answer).await;
    assert_eq!((event.reason.as_str(), event.error.as_deref()), (reason.as_str(), Some("invalid_client")), "{what}");
}

/// A server where apps may come that nobody registered.
async fn open(variables: &[(&str, &str)]) -> FrontDoor {
    let mut all =
        vec![("PROCURA_REGISTRATION__PER_MINUTE", "0"), ("PROCURA_LIMITS__FAILED_AUTHENTICATIONS_PER_MINUTE", "0")];
    all.extend_from_slice(variables);
    let server = TestServer::configured(Kind::Sqlite, &all).await;
    let door = FrontDoor { server, idp: crate::issuer::TestIssuer::start().await };
    door.server.apply(&format!("{}{OPEN}", provider("corp", &door.idp, LOGIN, CLAIMS))).await;
    door
}

/// The request of an app at the backend that is open.
fn wish(client: &str, redirect_uri: &str) -> String {
    request(&[
        ("client_id", client),
        ("redirect_uri", redirect_uri),
        ("resource", "https://records.example.com/api"),
        ("scope", "records.read"),
    ])
}

#[tokio::test]
async fn a46_a_client_id_that_leads_into_our_own_network_is_a_page_and_no_connection() {
    let (door, host) = (open(&[]).await, DocumentHost::start().await);
    for id in [
        format!("http://127.0.0.1:{}/client.json", host.port),
        format!("https://127.0.0.1:{}/client.json", host.port),
        format!("https://localhost:{}/client.json", host.port),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://[::ffff:10.0.0.1]/client.json".to_owned(),
        "https://2130706433/client.json".to_owned(),
        "https://intranet/client.json".to_owned(),
        "https://client.example/..%2fx".to_owned(),
        "https://client.example/client.json#frag".to_owned(),
        "https://user@client.example/client.json".to_owned(),
    ] {
        let answer = Browser::default().get(door.router(), &wish(&id, "https://app.example/cb")).await;
        assert_page(&door, &answer, ReasonCode::ClientDocumentInvalid, &id).await;
    }
    assert_eq!(host.connections(), 0);
}

#[tokio::test]
async fn a47_a_document_that_is_not_the_clients_own_is_a_page() {
    let (door, host) = (open(&[HERE]).await, DocumentHost::start().await);
    host.document("/slash", &document(&host.url("/slash/"), json!({})));
    host.answer("/moved", "301 Moved Permanently", &[&format!("Location: {}", host.url("/good"))], b"");
    host.answer("/html", "200 OK", &["Content-Type: text/html"], b"<html>");
    for (path, reason) in [
        ("/slash", ReasonCode::ClientDocumentInvalid),
        ("/moved", ReasonCode::ClientDocumentUnavailable),
        ("/html", ReasonCode::ClientDocumentUnavailable),
        ("/missing", ReasonCode::ClientDocumentUnavailable),
    ] {
        let answer = Browser::default().get(door.router(), &wish(&host.url(path), "https://app.example/cb")).await;
        assert_page(&door, &answer, reason, path).await;
    }
}

#[tokio::test]
async fn a49_a_code_stays_bound_to_its_address_when_the_document_changes_and_the_next_request_asks_again() {
    let (door, host) = (open(&[HERE]).await, DocumentHost::start().await);
    let id = host.url("/client.json");
    host.document("/client.json", &document(&id, json!({})));
    let mut desk = Desk { door, alice: Browser::default() };
    desk.door.sign_in(&mut desk.alice).await;
    let page = desk.get(&wish(&id, "https://app.example/cb")).await;
    let sent = query(&leads_to(&desk.answer(&page, "allow").await));
    // The document says something else from now on, and this server has read it.
    let elsewhere = "https://evil.example/cb";
    host.document("/client.json", &document(&id, json!({"redirect_uris": [elsewhere]})));
    desk.door.server.clock.advance(Duration::from_secs(30));
    let moved = desk.redeem(&sent["code"], &[("client_id", &id), ("redirect_uri", elsewhere)]).await;
    desk.assert_refused(&moved, ReasonCode::CodeInvalid, "invalid_grant").await;
    let code = desk.redeem(&sent["code"], &[("client_id", &id), ("redirect_uri", "https://app.example/cb")]).await;
    assert_eq!(code.status, 200, "{}", code.text);
    desk.door.server.clock.advance(Duration::from_hours(1));
    assert_eq!(desk.get(&wish(&id, "https://app.example/cb")).await.status, 400, "the old address is none any more");
    let again = desk.get(&wish(&id, elsewhere)).await;
    assert!(again.status == 200 && again.text.contains("evil.example"), "the user is asked: {}", again.text);
}

#[tokio::test]
async fn a57_what_a_stranger_calls_itself_is_escaped_cut_marked_and_cannot_end_its_quotes() {
    let door = open(&[]).await;
    let mut alice = Browser::default();
    door.sign_in(&mut alice).await;
    let long = "x".repeat(5000);
    for (name, shown, warned) in [
        ("Claude", "Claude", true),
        ("\u{1d402}\u{1d425}\u{1d41a}\u{1d42e}\u{1d41d}\u{1d41e}", "\u{1d402}", true),
        ("The corp", "The corp", true),
        ("Records", "Records", true),
        ("<img src=x onerror=alert(1)>", "&#60;img", false),
        (
            "Claude\u{201d} Approved by the administrator \u{201c}",
            "Claude&#39; Approved by the administrator &#39;",
            true,
        ),
    ] {
        let body = json!({"client_name": name, "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"});
        let id = register(&door.server, &body).await.json()["client_id"].as_str().unwrap().to_owned();
        let page = alice.get(door.router(), &wish(&id, CALLBACK)).await;
        assert!(page.status == 200 && page.text.contains("A new app"), "{name}: {}", page.text);
        assert!(page.text.contains(shown) && page.text.contains("not verified"), "{name}: {}", page.text);
        assert!(page.text.contains("desk.example.com"), "where the code goes: {}", page.text);
        assert!(!page.text.contains("<img src=x"), "{}", page.text);
        assert_eq!(page.text.contains("Its name looks like"), warned, "{name}: {}", page.text);
    }
    let body = json!({"client_name": long, "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"});
    assert_eq!(register(&door.server, &body).await.status, 400, "a name of 5 KB");
}

#[tokio::test]
async fn a58_line_breaks_at_authorize_split_no_header() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    desk.code().await;
    let split = "x\r\nSet-Cookie: owned=1";
    let silent = desk.get(&request(&[("state", split)])).await;
    assert_eq!(query(&location(&silent))["state"], split, "as it came");
    let raw = silent.header("location");
    assert!(raw.contains("%0D%0A") && !raw.contains(['\r', '\n']), "{raw}");
    assert_eq!(
        silent.headers.get_all("set-cookie").iter().filter(|set| set.to_str().unwrap().contains("owned")).count(),
        0
    );
    let elsewhere = desk.get(&request(&[("redirect_uri", &format!("{CALLBACK}\r\nSet-Cookie: owned=1"))])).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.header("location")), (400, ""));
    let wrong = desk.get(&request(&[("resource", &format!("{RECORDS}\r\nX: y"))])).await;
    assert_eq!(query(&location(&wrong))["error"], "invalid_target");
}

#[tokio::test]
async fn a62_a_token_of_an_older_generation_ends_the_family_too() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let code = desk.code().await;
    let mut tokens = vec![refresh_token(&desk.redeem(&code, &[]).await)];
    for _ in 0..3 {
        desk.door.server.clock.advance(Duration::from_secs(61));
        let renewed = desk.refresh(tokens.last().unwrap(), &[]).await;
        tokens.push(refresh_token(&renewed));
    }
    desk.assert_refused(&desk.refresh(&tokens[1], &[]).await, ReasonCode::RefreshTokenReused, "invalid_grant").await;
    let newest = desk.refresh(&tokens[3], &[]).await;
    desk.assert_refused(&newest, ReasonCode::SubjectSessionEnded, "invalid_grant").await;
    assert_eq!(
        newest.json()["error_description"],
        "The grant does not allow this, or not any more; a new authorization is needed."
    );
}

#[tokio::test]
async fn a26_a_verifier_for_a_code_that_had_no_challenge_is_worth_nothing() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    // The challenge is stripped on the way: no code is given for such a request.
    let stripped = desk.get(&request(&[("code_challenge", ""), ("code_challenge_method", "")])).await;
    desk.assert_sent_back(&stripped, ReasonCode::PkceMissing, "invalid_request").await;
    // And a code that was made for another challenge does not open by the verifier that the victim has.
    let other = procura::secrets::digest("a-code-verifier-of-somebody-else-who-is-not-the-victim");
    let sent = desk.allowed(&[("prompt", "consent"), ("code_challenge", &other)]).await;
    desk.assert_refused(&desk.redeem(&sent["code"], &[]).await, ReasonCode::CodeInvalid, "invalid_grant").await;
}

#[tokio::test]
async fn a67_a_token_of_a_grant_that_was_ended_is_not_exchanged_any_more() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let text = format!(
        "{}{}{}",
        provider("corp", &desk.door.idp, LOGIN, CLAIMS),
        super::REGISTRY.replacen(
            "name = \"Health records\"",
            "name = \"Health records\"\nclients = [\"records-server\"]\nmay_exchange_to = [\"models\"]",
            1
        ),
        r#"
[[resource]]
id = "models"
audience = "https://models.example.com"
name = "Models"
scope = [{ name = "records.read", description = "Read for the model", access = "read" }]
[[client]]
id = "records-server"
name = "Records server"
authentication = "client_secret_post"
grants = ["token_exchange"]
consent = "admin"
[client.resources]
models = ["records.read"]
"#
    );
    desk.door.server.apply(&text).await;
    let secret = desk.door.server.new_secret("records-server").await;
    let code = desk.code().await;
    let answer = desk.redeem(&code, &[]).await;
    let token = answer.token();
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", token.as_str()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("resource", "https://models.example.com"),
        ("client_id", "records-server"),
        ("client_secret", secret.as_str()),
    ];
    let exchanged = desk.door.server.token(&form, None).await.token();
    assert_eq!(claims(&exchanged)["act"]["sub"], "records-server");
    // What the exchange gave is its client's to end, and the sign-in that it came of goes on.
    let alone = [("token", exchanged.as_str()), form[4], form[5]];
    assert_eq!(Browser::default().post_from(desk.door.router(), "/revoke", &alone, &[]).await.status, 200);
    desk.door.server.clock.advance(Duration::from_secs(1));
    assert_eq!(desk.door.server.token(&form, None).await.status, 200);
    let revoke = [("token", answer.json()["refresh_token"].as_str().unwrap().to_owned())];
    let revoke = [("token", revoke[0].1.as_str()), ("client_id", "desk")];
    assert_eq!(Browser::default().post_from(desk.door.router(), "/revoke", &revoke, &[]).await.status, 200);
    let refused = desk.door.server.token(&form, None).await;
    desk.assert_refused(&refused, ReasonCode::SubjectSessionEnded, "invalid_request").await;
}

#[tokio::test]
async fn a75_no_answer_of_authorize_is_for_another_origin() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    for origin in ["null", "https://evil.example"] {
        for (method, path) in
            [("GET", request(&[])), ("POST", "/authorize".to_owned()), ("POST", "/authorize/decision".to_owned())]
        {
            let asked = Request::builder().method(method).uri(&path).header("origin", origin);
            let asked = asked.header("content-type", "application/x-www-form-urlencoded");
            let answer = desk.alice.send(desk.door.router(), asked.body(Body::from("form=x")).unwrap()).await;
            for name in ["access-control-allow-origin", "access-control-allow-credentials"] {
                assert_eq!(answer.header(name), "", "{method} {path} {origin}");
            }
        }
    }
}
