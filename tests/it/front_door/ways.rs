//! How the browser gets from page to page at `/authorize`, and what stands in the way.

use super::{CALLBACK, CLAIMS, Desk, LOGIN, REGISTRY, provider, request};
use crate::browser::{Browser, FrontDoor, leads_to, location, query};
use crate::database::Kind;
use crate::server::TestServer;
use axum::http::StatusCode;
use procura::domain::decision::ReasonCode;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_sign_in_for_another_page_is_none_for_a_request_that_asks_for_more() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    for (wanted, value) in [("prompt", "login"), ("max_age", "60")] {
        desk.door.server.clock.advance(Duration::from_secs(1));
        desk.alice = Browser::default();
        let for_account = desk.door.begin(&mut desk.alice).await;
        let asked = location(&desk.get(&request(&[(wanted, value)])).await);
        // The provider knows Alice from before. For the request that is not enough, and the page that says so leads back
        // to the request.
        let before = json!({"auth_time": desk.door.server.clock.now() - 3600});
        let known = desk.door.alice(&asked, before.clone());
        let refused = desk.get(&desk.door.way_back(&asked, &known, "")).await;
        assert_eq!(refused.status, 400, "{wanted}");
        let on = refused.text.split_once("/authorize/continue?ticket=").unwrap().1;
        let path = format!("/authorize/continue?ticket={}", on.split_once('"').unwrap().0);
        // For her own page it is enough.
        let known = desk.door.alice(&for_account, before);
        assert_eq!(desk.get(&desk.door.way_back(&for_account, &known, "")).await.status, 303);
        desk.door.assert_signed_in(&mut desk.alice, "alice@example.com").await;
        let again = desk.get(&path).await;
        let asked = location(&again);
        assert!(asked.as_str().starts_with(desk.door.idp.issuer()), "{wanted}: {asked}");
        // Who proves it now goes on.
        let said = desk.door.alice(&asked, json!({"auth_time": desk.door.server.clock.now()}));
        let on = location(&desk.get(&desk.door.way_back(&asked, &said, "")).await);
        let page = desk.get(&format!("{}?{}", on.path(), on.query().unwrap_or_default())).await;
        assert!(page.status == 200 && page.text.contains("See your records"), "{wanted}: {}", page.text);
    }
}

#[tokio::test]
async fn after_a_form_an_error_goes_to_the_client_by_a_page_of_ours() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let page = desk.get(&request(&[])).await;
    let without =
        REGISTRY.replacen("grants = [\"authorization_code\", \"refresh_token\"]", "grants = [\"refresh_token\"]", 1);
    desk.door.server.apply(&format!("{}{without}", provider("corp", &desk.door.idp, LOGIN, CLAIMS))).await;
    let direct = desk.get(&request(&[])).await;
    desk.assert_sent_back(&direct, ReasonCode::GrantNotAllowed, "unauthorized_client").await;
    let answer = desk.answer(&page, "allow").await;
    // A redirect would be stopped by the form-action of the page that had the form.
    assert_eq!((answer.status, answer.header("location")), (StatusCode::OK, ""));
    let target = leads_to(&answer);
    assert!(target.as_str().starts_with(CALLBACK), "{target}");
    assert_eq!(query(&target)["error"], "unauthorized_client");
}

#[tokio::test]
async fn a_request_for_no_backend_is_for_the_only_one_or_the_default() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let page = desk.get(&request(&[("resource", "")])).await;
    assert!(page.text.contains("Health records"), "the only one of desk: {}", page.text);
    let other = [
        ("client_id", "other"),
        ("redirect_uri", "https://other.example.com/callback"),
        ("resource", ""),
        ("scope", "records.read"),
    ];
    let several = desk.get(&request(&other)).await;
    assert_eq!(query(&location(&several))["error"], "invalid_target");
    assert_eq!(desk.door.server.event(&several).await.reason, ReasonCode::TargetMissing.as_str());
    // The default of all clients, and the client's own before it.
    let corp = provider("corp", &desk.door.idp, LOGIN, CLAIMS);
    let of_all = REGISTRY.replacen("name = \"Health records\"", "name = \"Health records\"\ndefault = true", 1);
    desk.door.server.apply(&format!("{corp}{of_all}")).await;
    let page = desk.get(&request(&other)).await;
    assert!(page.status == 200 && page.text.contains("Health records"), "{}", page.text);
    let own = of_all.replacen("id = \"other\"", "id = \"other\"\ndefault_resource = \"vault\"", 1);
    desk.door.server.apply(&format!("{corp}{own}")).await;
    let unknown = desk.get(&request(&other)).await;
    assert_eq!(query(&location(&unknown))["error"], "invalid_scope", "records.read is no scope of the vault");
}

#[tokio::test]
async fn strangers_with_bad_requests_wait_and_fill_no_disk() {
    let variables = [("PROCURA_LIMITS__FAILED_AUTHENTICATIONS_PER_MINUTE", "3")];
    let wrong = request(&[("response_type", "token")]);
    let unknown = request(&[("request_uri", "urn:ietf:params:oauth:request_uri:x")]);
    let silent = request(&[("prompt", "none")]);
    for (path, status) in [(wrong.as_str(), 303), (unknown.as_str(), 400)] {
        let server = TestServer::configured(Kind::Sqlite, &variables).await;
        let door = FrontDoor { server, idp: crate::issuer::TestIssuer::start().await };
        door.server.apply(&format!("{}{REGISTRY}", provider("corp", &door.idp, LOGIN, CLAIMS))).await;
        let mut browser = Browser::default();
        for _ in 0..9 {
            let answer = browser.get(door.router(), &silent).await;
            assert_eq!(query(&location(&answer))["error"], "login_required", "who is not signed in did nothing wrong");
        }
        for _ in 0..3 {
            assert_eq!(browser.get(door.router(), path).await.status.as_u16(), status, "{path}");
        }
        let slowed = browser.get(door.router(), path).await;
        assert_eq!(slowed.status, 429, "{path}: {}", slowed.text);
        assert!(slowed.header("retry-after").parse::<u64>().unwrap() > 0);
        let events = door.server.app.store.events_of_request(slowed.request_id()).await.unwrap();
        assert_eq!(events, [], "{path}");
    }
}

#[tokio::test]
async fn strangers_at_the_endpoints_for_clients_wait_and_fill_no_disk() {
    for path in ["/par", "/revoke", "/introspect"] {
        let variables = [("PROCURA_LIMITS__FAILED_AUTHENTICATIONS_PER_MINUTE", "3")];
        let server = TestServer::configured(Kind::Sqlite, &variables).await;
        // Two ways to say who one is.
        let form = [("client_assertion", "x"), ("client_secret", "y"), ("client_id", "z")];
        let ask = async || Browser::default().post_from(&server.router, path, &form, &[]).await;
        for _ in 0..3 {
            let answer = ask().await;
            assert!(answer.status == 400 || answer.status == 401, "{path}: {} {}", answer.status, answer.text);
        }
        let slowed = ask().await;
        assert_eq!(slowed.status, 429, "{path}: {}", slowed.text);
        let events = server.app.store.events_of_request(slowed.request_id()).await.unwrap();
        assert_eq!(events, [], "{path}");
    }
}
