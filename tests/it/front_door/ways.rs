//! How the browser gets from page to page at `/authorize`, and what stands in the way.

use super::{CALLBACK, CLAIMS, Desk, LOGIN, REGISTRY, provider, refresh_token, request};
use crate::browser::{Browser, FrontDoor, field, leads_to, location, query};
use crate::database::Kind;
use crate::server::TestServer;
use axum::http::StatusCode;
use procura::domain::change::Change;
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
async fn a52_another_address_of_the_same_client_is_another_place() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let second = "https://mirror.example.net/callback";
    let corp = provider("corp", &desk.door.idp, LOGIN, CLAIMS);
    let two = REGISTRY.replacen(
        "redirect_uris = [\"https://desk.example.com/callback\",",
        &format!(
            "redirect_uris = [\"{second}\", \"https://vscode.dev/redirect\", \"https://desk.example.com/callback\","
        ),
        1,
    );
    desk.door.server.apply(&format!("{corp}{two}")).await;
    desk.code().await;
    assert!(query(&location(&desk.get(&request(&[])).await)).contains_key("code"));
    assert_eq!(desk.get(&request(&[("redirect_uri", second)])).await.status, 200, "the user is asked");
    desk.allowed(&[("redirect_uri", second)]).await;
    assert!(query(&location(&desk.get(&request(&[("redirect_uri", second)])).await)).contains_key("code"));
    // A page that hands the code on to any program is never silent (rule NA-04).
    let hands_on = [("redirect_uri", "https://vscode.dev/redirect")];
    desk.allowed(&hands_on).await;
    let page = desk.get(&request(&hands_on)).await;
    assert!(page.status == 200 && page.text.contains("a program on this device, by way of"), "{}", page.text);
}

#[tokio::test]
async fn no_code_goes_to_a_denied_host_however_the_client_is_known() {
    let variables = [("PROCURA_REGISTRATION__DENY", "desk.example.com")];
    let server = TestServer::configured(Kind::Sqlite, &variables).await;
    let door = FrontDoor { server, idp: crate::issuer::TestIssuer::start().await };
    door.server.apply(&format!("{}{REGISTRY}", provider("corp", &door.idp, LOGIN, CLAIMS))).await;
    for wish in [request(&[]), request(&[("code_challenge", "")])] {
        let answer = Browser::default().get(door.router(), &wish).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (400, ""));
        assert_eq!(door.server.event(&answer).await.reason, ReasonCode::RedirectUriInvalid.as_str());
    }
}

#[tokio::test]
async fn a_request_that_would_not_fit_into_the_way_back_is_refused_before_anybody_signs_in() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    // Within the limit of a state, but not of a request once it is encoded.
    let state = "\u{e9}".repeat(2000);
    let answer = desk.get(&request(&[("state", &state)])).await;
    let sent = query(&location(&answer));
    assert_eq!((sent["error"].as_str(), &sent["state"]), ("invalid_request", &state));
    // What is within it comes back whole from the provider.
    let state = "s".repeat(4096);
    let asked = location(&desk.get(&request(&[("state", &state), ("prompt", "login")])).await);
    let said = desk.door.alice(&asked, json!({}));
    let on = location(&desk.get(&desk.door.way_back(&asked, &said, "")).await);
    let on = format!("{}?{}", on.path(), on.query().unwrap_or_default());
    assert!(on.len() < 8192, "{}", on.len());
    let page = desk.get(&on).await;
    assert_eq!(query(&leads_to(&desk.answer(&page, "deny").await))["state"], state);
}

#[tokio::test]
async fn a_client_hears_at_once_what_is_wrong_with_a_request_that_it_pushes() {
    let desk = Desk::new(Kind::Sqlite).await;
    for (resource, error) in
        [("https://elsewhere.example.com", "invalid_target"), ("https://records.example.com/mcp#x", "invalid_target")]
    {
        let pushed = request(&[("resource", resource)]).strip_prefix("/authorize?").unwrap().to_owned();
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(pushed.as_bytes()).into_owned().collect();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = Browser::default().post_from(desk.door.router(), "/par", &pairs, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (400, Some(error)), "{resource}");
    }
}

#[tokio::test]
async fn offline_access_gets_a_refresh_token_for_an_app_that_nobody_registered() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let open =
        REGISTRY.replacen("name = \"Health records\"", "name = \"Health records\"\nopen_to = [\"self_asserted\"]", 1);
    desk.door.server.apply(&format!("{}{open}", provider("corp", &desk.door.idp, LOGIN, CLAIMS))).await;
    let body = json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"});
    let registered = crate::registration::register(&desk.door.server, &body).await;
    assert_eq!(registered.json()["grant_types"], json!(["authorization_code"]), "the default (RFC 7591)");
    let id = registered.json()["client_id"].as_str().unwrap().to_owned();
    for (scope, granted) in
        [("records.read offline_access", "offline_access records.read"), ("records.read openid", "openid records.read")]
    {
        let sent = desk.allowed(&[("client_id", &id), ("scope", scope)]).await;
        let answer = desk.redeem(&sent["code"], &[("client_id", &id)]).await;
        assert_eq!(answer.json()["scope"], granted, "{}", answer.text);
        let token = answer.json()["refresh_token"].as_str().map(str::to_owned);
        assert_eq!(token.is_some(), scope.contains("offline"), "{}", answer.text);
        if let Some(token) = token {
            let renewed = desk.refresh(&token, &[("client_id", &id)]).await;
            assert_eq!((renewed.status.as_u16(), renewed.json()["scope"].as_str()), (200, Some(granted)));
        }
    }
}

#[tokio::test]
async fn who_paused_a_client_is_told_so_and_led_to_where_it_can_go_on() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let code = desk.code().await;
    let token = refresh_token(&desk.redeem(&code, &[]).await);
    let consents = desk.door.server.app.store.list_consents(Some("corp|alice"), None, true, 0).await.unwrap();
    desk.door.server.change(&[Change::PauseConsent(consents[0].id.clone())]).await;
    // Whatever it asks for: the answer to another question would replace what she paused.
    for scope in ["records.read", "records.write", "records.read records.write"] {
        let page = desk.get(&request(&[("scope", scope)])).await;
        assert!(page.status == 400 && page.text.contains("You had paused it"), "{scope}: {}", page.text);
        assert!(page.text.contains("/account\""), "{}", page.text);
    }
    // Its refresh token still is one: clients throw it away at invalid_grant, and it goes on once she lets it.
    desk.assert_refused(&desk.refresh(&token, &[]).await, ReasonCode::ConsentPaused, "access_denied").await;
    // Whoever asks in a frame that nobody sees hears it at once.
    let silent = desk.get(&request(&[("prompt", "none")])).await;
    assert_eq!(query(&location(&silent))["error"], "access_denied");
    desk.door.server.change(&[Change::ResumeConsent(consents[0].id.clone())]).await;
    assert_eq!(desk.refresh(&token, &[]).await.status, 200);
}

#[tokio::test]
async fn who_says_no_hears_whether_what_was_allowed_before_goes_on() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let page = desk.get(&request(&[])).await;
    let first = desk.answer(&page, "deny").await;
    assert!(first.text.contains("Nothing was allowed.") && !first.text.contains("goes on; see"), "{}", first.text);
    let code = desk.code().await;
    let token = refresh_token(&desk.redeem(&code, &[]).await);
    let page = desk.get(&request(&[("scope", "records.write")])).await;
    let again = desk.answer(&page, "deny").await;
    assert!(again.text.contains("Nothing new was allowed") && again.text.contains("/account\""), "{}", again.text);
    assert_eq!(desk.refresh(&token, &[]).await.status, 200);
}

#[tokio::test]
async fn of_two_open_pages_the_later_answer_counts_though_it_allows_less() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let both = [("scope", "records.read records.write")];
    let (narrow, wide) = (desk.get(&request(&both)).await, desk.get(&request(&both)).await);
    let form = field(&wide, "form");
    let all = [
        ("form", form.as_str()),
        ("decision", "allow"),
        ("scope", "records.read"),
        ("scope", "records.write"),
        ("lasts", "month"),
    ];
    desk.alice.post(desk.door.router(), "/authorize/decision", &all).await;
    let code = query(&leads_to(&desk.answer(&narrow, "allow").await))["code"].clone();
    assert_eq!(desk.redeem(&code, &[]).await.json()["scope"], "records.read");
    let consents = desk.door.server.app.store.list_consents(Some("corp|alice"), None, true, 0).await.unwrap();
    assert_eq!(consents[0].scopes, "records.read".parse().unwrap());
    assert_eq!(consents[0].expires_at, Some(consents[0].granted_at + 86_400), "for a day, as she said last");
}

#[tokio::test]
async fn a_form_that_can_no_longer_be_sent_leads_to_its_page_again() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let page = desk.get(&request(&[])).await;
    // She signs in once more, in another window: the form is of the session before.
    let asked = location(&desk.get(&request(&[("prompt", "login")])).await);
    let id_token = desk.door.alice(&asked, json!({"auth_time": desk.door.server.clock.now()}));
    desk.get(&desk.door.way_back(&asked, &id_token, "")).await;
    let refused = desk.answer(&page, "allow").await;
    assert_eq!(refused.status, 403);
    let (_, rest) = refused.text.split_once("href=\"/authorize/continue").expect("a way to the page");
    let path = format!("/authorize/continue{}", rest.split_once('"').unwrap().0);
    let page = desk.get(&path).await;
    assert!(page.text.contains("See your records"), "{}", page.text);
    assert!(query(&leads_to(&desk.answer(&page, "allow").await)).contains_key("code"));
    // What was answered is no question any more, and a request lasts half an hour.
    desk.door.server.clock.advance(Duration::from_mins(31));
    let late = desk.answer(&page, "allow").await;
    assert!(late.status == 400 && late.text.contains("start again"), "{}", late.text);
    assert!(!late.text.contains("/authorize/continue"), "{}", late.text);
}
