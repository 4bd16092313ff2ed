//! From `/authorize` to tokens: what a client gets by a user's sign-in, and what it does not get.

use crate::browser::{Browser, CLAIMS, FrontDoor, LOGIN, field, leads_to, location, provider, query};
use crate::database::Kind;
use crate::server::{Answer, ISSUER, claims};
use procura::domain::change::Change;
use procura::domain::decision::ReasonCode;
use procura::secrets::digest;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use url::Url;

const CALLBACK: &str = "https://desk.example.com/callback";
const RECORDS: &str = "https://records.example.com/mcp";
const VERIFIER: &str = "a-code-verifier-of-at-least-forty-three-characters";

const REGISTRY: &str = r#"
[[resource]]
id = "records"
audience = "https://records.example.com/mcp"
name = "Health records"
scope = [
    { name = "records.read", description = "See your records", access = "read" },
    { name = "records.write", description = "Change your records", access = "write" },
]
[[resource]]
id = "vault"
audience = "https://vault.example.com"
name = "Vault"
acr_values = ["phr"]
scope = [{ name = "vault.open", description = "Open the vault", access = "read" }]
[[client]]
id = "desk"
name = "Desk"
authentication = "none"
grants = ["authorization_code", "refresh_token"]
redirect_uris = ["https://desk.example.com/callback", "http://127.0.0.1/callback"]
resources = { records = ["records.read", "records.write"] }
[[client]]
id = "other"
name = "Other"
authentication = "none"
grants = ["authorization_code", "refresh_token"]
redirect_uris = ["https://other.example.com/callback"]
resources = { records = ["records.read"], vault = ["vault.open"] }
"#;

/// A test on each database.
macro_rules! on_both {
    ($(async fn $name:ident($kind:ident: Kind) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                async fn body($kind: Kind) $body

                #[tokio::test]
                async fn sqlite() {
                    body(Kind::Sqlite).await;
                }

                #[tokio::test]
                async fn postgres() {
                    body(Kind::Postgres).await;
                }
            }
        )*
    };
}

mod attacks;
mod sign_in;
mod standing;
mod strangers;
mod ways;

/// A request that is in order, with changes; an empty value takes a parameter out.
fn request(changes: &[(&str, &str)]) -> String {
    let challenge = digest(VERIFIER);
    let mut parameters = vec![
        ("client_id", "desk"),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("state", "the-state"),
        ("resource", RECORDS),
        ("scope", "records.read"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        parameters.retain(|(known, _)| known != name);
        parameters.push((name, value));
    }
    parameters.retain(|(_, value)| !value.is_empty());
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("/authorize?{query}")
}

struct Desk {
    door: FrontDoor,
    alice: Browser,
}

impl Desk {
    async fn new(kind: Kind) -> Self {
        let door = FrontDoor::open(kind).await;
        let text = format!("{}{REGISTRY}", provider("corp", &door.idp, LOGIN, CLAIMS));
        door.server.apply(&text).await;
        let mut alice = Browser::default();
        door.sign_in(&mut alice).await;
        Self { door, alice }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.alice.get(self.door.router(), path).await
    }

    /// Answers a consent page.
    async fn answer(&mut self, page: &Answer, decision: &str) -> Answer {
        let form = field(page, "form");
        let fields = [("form", form.as_str()), ("decision", decision), ("scope", "records.read"), ("lasts", "day")];
        self.alice.post(self.door.router(), "/authorize/decision", &fields).await
    }

    /// What the client is sent after Alice allowed it.
    async fn allowed(&mut self, changes: &[(&str, &str)]) -> HashMap<String, String> {
        let page = self.get(&request(changes)).await;
        assert_eq!(page.status, 200, "{} {}", page.text, page.header("location"));
        query(&leads_to(&self.answer(&page, "allow").await))
    }

    async fn code(&mut self) -> String {
        // Whoever agreed before is asked once more, so that each test sees the page.
        self.allowed(&[("prompt", "consent")]).await["code"].clone()
    }

    async fn redeem(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("client_id", "desk"),
            ("code", code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", CALLBACK),
        ];
        for (name, value) in changes {
            form.retain(|(known, _)| known != name);
            form.push((name, value));
        }
        form.retain(|(_, value)| !value.is_empty());
        self.door.server.token(&form, None).await
    }

    async fn refresh(&self, token: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        if !more.iter().any(|(name, _)| *name == "client_id") {
            form.push(("client_id", "desk"));
        }
        form.extend_from_slice(more);
        self.door.server.token(&form, None).await
    }

    async fn assert_refused(&self, answer: &Answer, reason: ReasonCode, error: &str) {
        assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (400, Some(error)), "{}", answer.text);
        let event = self.door.server.event(answer).await;
        assert_eq!(event.reason, reason.as_str(), "{:?}", event.detail);
        assert_eq!(event.error.as_deref(), Some(error));
        assert_eq!(answer.header("cache-control"), "no-store");
    }

    /// The parameters that an error redirect has.
    async fn assert_sent_back(&self, answer: &Answer, reason: ReasonCode, error: &str) {
        let target = location(answer);
        assert!(target.as_str().starts_with(CALLBACK), "{target}");
        let sent = query(&target);
        assert_eq!(
            (sent["error"].as_str(), sent["state"].as_str(), sent["iss"].as_str()),
            (error, "the-state", ISSUER)
        );
        assert!(!sent.contains_key("code"));
        assert_eq!(self.door.server.event(answer).await.reason, reason.as_str());
    }
}

fn refresh_token(answer: &Answer) -> String {
    answer.json()["refresh_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
}

on_both! {
    async fn a_user_lets_a_client_in_and_it_gets_what_they_ticked(kind: Kind) {
        let mut desk = Desk::new(kind).await;
        let page = desk.get(&request(&[("scope", "records.read records.write openid email")])).await;
        assert!(page.text.contains("See your records") && page.text.contains("Change your records"), "{}", page.text);
        let sent = query(&leads_to(&desk.answer(&page, "allow").await));
        assert_eq!((sent["state"].as_str(), sent["iss"].as_str()), ("the-state", ISSUER));
        let answer = desk.redeem(&sent["code"], &[]).await;
        let token = claims(&answer.token());
        assert_eq!((token["sub"].as_str(), token["aud"].as_str()), (Some("corp|alice"), Some(RECORDS)));
        assert_eq!(token["act"], json!({"iss": ISSUER, "sub": "desk"}));
        assert_eq!((answer.json()["scope"].as_str(), answer.json()["expires_in"].as_i64()), (Some("email openid records.read"), Some(900)));
        assert_eq!(answer.json()["token_type"], "Bearer");
        let id_token = claims(answer.json()["id_token"].as_str().unwrap());
        assert_eq!((id_token["sub"].as_str(), id_token["aud"].as_str()), (Some("corp|alice"), Some("desk")));
        assert_eq!((id_token["email"].as_str(), id_token.get("name")), (Some("alice@example.com"), None));
        let renewed = desk.refresh(&refresh_token(&answer), &[]).await;
        assert_eq!(claims(&renewed.token())["sid"], token["sid"]);
        assert_ne!(refresh_token(&renewed), refresh_token(&answer));
    }

    async fn a22_a_code_used_twice_ends_all_that_came_of_it(kind: Kind) {
        let mut desk = Desk::new(kind).await;
        let code = desk.code().await;
        let first = desk.redeem(&code, &[]).await;
        let second = desk.redeem(&code, &[]).await;
        desk.assert_refused(&second, ReasonCode::CodeReplayed, "invalid_grant").await;
        let renewed = desk.refresh(&refresh_token(&first), &[]).await;
        desk.assert_refused(&renewed, ReasonCode::SubjectSessionEnded, "invalid_grant").await;
    }

    async fn a23_of_fifty_requests_with_one_code_one_gets_a_token(kind: Kind) {
        let mut desk = Desk::new(kind).await;
        let code = desk.code().await;
        let answers = futures_util::future::join_all((0..50).map(|_| desk.redeem(&code, &[]))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        let won = answers.iter().find(|answer| answer.status == 200).unwrap();
        let renewed = desk.refresh(&refresh_token(won), &[]).await;
        desk.assert_refused(&renewed, ReasonCode::SubjectSessionEnded, "invalid_grant").await;
    }

    async fn a24_a27_a_code_is_for_its_client_its_address_its_verifier_and_a_minute(kind: Kind) {
        let mut desk = Desk::new(kind).await;
        let code = desk.code().await;
        let wrong = "b-code-verifier-of-at-least-forty-three-characters";
        for changes in [("client_id", "other"), ("redirect_uri", "http://127.0.0.1/callback"), ("code_verifier", ""), ("code_verifier", wrong)] {
            desk.assert_refused(&desk.redeem(&code, &[changes]).await, ReasonCode::CodeInvalid, "invalid_grant").await;
        }
        desk.assert_refused(&desk.redeem("pac_x.y", &[]).await, ReasonCode::CodeInvalid, "invalid_grant").await;
        for length in [42, 129] {
            let answer = desk.redeem(&code, &[("code_verifier", &"v".repeat(length))]).await;
            desk.assert_refused(&answer, ReasonCode::ParameterInvalid, "invalid_request").await;
        }
        desk.door.server.clock.advance(Duration::from_mins(1));
        desk.assert_refused(&desk.redeem(&code, &[]).await, ReasonCode::CodeExpired, "invalid_grant").await;
    }

    async fn a61_a63_a_lost_answer_can_be_fetched_again_and_there_is_one_successor(kind: Kind) {
        let mut desk = Desk::new(kind).await;
        let code = desk.code().await;
        let first = refresh_token(&desk.redeem(&code, &[]).await);
        let answers = futures_util::future::join_all((0..20).map(|_| desk.refresh(&first, &[]))).await;
        let successors: std::collections::HashSet<String> = answers.iter().map(refresh_token).collect();
        assert_eq!(successors.len(), 1, "{successors:?}");
        desk.door.server.clock.advance(Duration::from_mins(1));
        assert_eq!(refresh_token(&desk.refresh(&first, &[]).await), *successors.iter().next().unwrap());
    }

    async fn a62_a_refresh_token_used_long_after_it_was_replaced_ends_its_family(kind: Kind) {
        let mut desk = Desk::new(kind).await;
        let code = desk.code().await;
        let first = refresh_token(&desk.redeem(&code, &[]).await);
        let foreign = desk.refresh(&first, &[("client_id", "other")]).await;
        desk.assert_refused(&foreign, ReasonCode::RefreshTokenInvalid, "invalid_grant").await;
        let second = refresh_token(&desk.refresh(&first, &[]).await);
        desk.door.server.clock.advance(Duration::from_secs(61));
        desk.assert_refused(&desk.refresh(&first, &[]).await, ReasonCode::RefreshTokenReused, "invalid_grant").await;
        desk.assert_refused(&desk.refresh(&second, &[]).await, ReasonCode::SubjectSessionEnded, "invalid_grant").await;
    }

    async fn a64_a_refresh_gives_less_and_never_more(kind: Kind) {
        let mut desk = Desk::new(kind).await;
        let code = desk.code().await;
        let token = refresh_token(&desk.redeem(&code, &[]).await);
        let wider = desk.refresh(&token, &[("scope", "records.read records.write")]).await;
        desk.assert_refused(&wider, ReasonCode::ScopeBeyondSubject, "invalid_scope").await;
        let elsewhere = desk.refresh(&token, &[("resource", "https://vault.example.com")]).await;
        assert_eq!(elsewhere.json()["error"], "invalid_target", "{}", elsewhere.text);
        assert_eq!(desk.refresh(&token, &[("scope", "records.read"), ("resource", RECORDS)]).await.status, 200);
    }

    async fn a_refresh_token_that_nobody_uses_ends(kind: Kind) {
        let mut desk = Desk::new(kind).await;
        let code = desk.code().await;
        let token = refresh_token(&desk.redeem(&code, &[]).await);
        desk.door.server.clock.advance(Duration::from_hours(720));
        desk.assert_refused(&desk.refresh(&token, &[]).await, ReasonCode::RefreshTokenExpired, "invalid_grant").await;
    }

    async fn a67_what_was_taken_back_is_over_at_once_and_does_not_come_to_life_again(kind: Kind) {
        let mut desk = Desk::new(kind).await;
        let code = desk.code().await;
        let answer = desk.redeem(&code, &[]).await;
        let consent = claims(&answer.token())["grant_id"].as_str().unwrap().to_owned();
        desk.door.server.change(&[Change::RevokeConsent(consent)]).await;
        let refused = desk.refresh(&refresh_token(&answer), &[]).await;
        desk.assert_refused(&refused, ReasonCode::SubjectSessionEnded, "invalid_grant").await;
        desk.code().await;
        let again = desk.refresh(&refresh_token(&answer), &[]).await;
        desk.assert_refused(&again, ReasonCode::SubjectSessionEnded, "invalid_grant").await;
        let suspended = desk.code().await;
        desk.door.server.change(&[Change::SuspendUser("corp|alice".parse().unwrap())]).await;
        desk.assert_refused(&desk.redeem(&suspended, &[]).await, ReasonCode::UserSuspended, "invalid_grant").await;
    }

    async fn a65_only_its_own_client_can_give_a_token_back(kind: Kind) {
        let mut desk = Desk::new(kind).await;
        let code = desk.code().await;
        let token = refresh_token(&desk.redeem(&code, &[]).await);
        let router = desk.door.router().clone();
        let revoke = async |token: &str, client: &str| {
            let form = [("token", token), ("client_id", client)];
            Browser::default().post_from(&router, "/revoke", &form, &[]).await
        };
        for (text, client) in [(token.as_str(), "other"), ("garbage", "desk")] {
            let answer = revoke(text, client).await;
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
        }
        let token = refresh_token(&desk.refresh(&token, &[]).await);
        for _ in 0..2 {
            assert_eq!(revoke(&token, "desk").await.status, 200);
        }
        desk.assert_refused(&desk.refresh(&token, &[]).await, ReasonCode::SubjectSessionEnded, "invalid_grant").await;
        // An access token stands for all of its sign-in, to its own client alone, and may be given back twice.
        let code = desk.code().await;
        let answer = desk.redeem(&code, &[]).await;
        assert_eq!(revoke(&answer.token(), "other").await.status, 200);
        let refreshed = desk.refresh(&refresh_token(&answer), &[]).await;
        for _ in 0..2 {
            assert_eq!(revoke(&answer.token(), "desk").await.status, 200);
        }
        let ended = desk.refresh(&refresh_token(&refreshed), &[]).await;
        desk.assert_refused(&ended, ReasonCode::SubjectSessionEnded, "invalid_grant").await;
    }

    async fn a_pushed_request_counts_once_and_for_its_client(kind: Kind) {
        let mut desk = Desk::new(kind).await;
        let pushed = request(&[]);
        let body = pushed.strip_prefix("/authorize?").unwrap().to_owned();
        let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = Browser::default().post_from(desk.door.router(), "/par", &form, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.json()["expires_in"].as_i64()), (201, Some(90)), "{}", answer.text);
        let uri = answer.json()["request_uri"].as_str().unwrap().to_owned();
        let path = |client: &str| {
            let query = [("client_id", client), ("request_uri", uri.as_str())];
            format!("/authorize?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish())
        };
        let foreign = desk.get(&path("other")).await;
        assert_eq!((foreign.status.as_u16(), foreign.header("location")), (400, ""));
        assert_eq!(desk.door.server.event(&foreign).await.reason, ReasonCode::RequestUriInvalid.as_str());
        assert_eq!(desk.get(&path("desk")).await.status, 200);
        assert_eq!(desk.get(&path("desk")).await.status, 400, "a71: it was used");
    }
}

#[tokio::test]
async fn a25_a32_what_a_client_asks_wrongly_goes_back_to_it_with_iss_and_state() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let long = "c".repeat(44);
    for (changes, reason, error) in [
        (vec![("code_challenge", "")], ReasonCode::PkceMissing, "invalid_request"),
        (vec![("code_challenge_method", "plain")], ReasonCode::PkceMissing, "invalid_request"),
        (vec![("code_challenge_method", "")], ReasonCode::PkceMissing, "invalid_request"),
        (vec![("code_challenge", long.as_str())], ReasonCode::PkceMissing, "invalid_request"),
        (vec![("response_type", "token")], ReasonCode::ResponseTypeUnsupported, "unsupported_response_type"),
        (vec![("scope", "records.burn")], ReasonCode::ScopeUnknown, "invalid_scope"),
        (vec![("resource", "https://elsewhere.example.com")], ReasonCode::TargetUnknown, "invalid_target"),
        (vec![("resource", "https://vault.example.com")], ReasonCode::TargetNotAllowed, "invalid_target"),
        (vec![("prompt", "none")], ReasonCode::PageRequired, "interaction_required"),
    ] {
        let answer = desk.get(&request(&changes)).await;
        desk.assert_sent_back(&answer, reason, error).await;
    }
    let stranger = Browser::default().get(desk.door.router(), &request(&[("prompt", "none")])).await;
    desk.assert_sent_back(&stranger, ReasonCode::SignInRequired, "login_required").await;
    let page = desk.get(&request(&[])).await;
    let denied: Url = leads_to(&desk.answer(&page, "deny").await);
    let sent = query(&denied);
    assert_eq!(
        (sent["error"].as_str(), sent["state"].as_str(), sent["iss"].as_str()),
        ("access_denied", "the-state", ISSUER)
    );
}

#[tokio::test]
async fn a28_a29_nothing_is_sent_to_an_address_that_is_not_registered() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    for wrong in [
        "https://desk.example.com/callback/",
        "https://desk.example.com/Callback",
        "https://desk.example.com/callback?x=1",
        "https://desk.example.com/%63allback",
        "https://desk.example.com@evil.example/callback",
        "https://desk.example.com\\@evil.example/callback",
        "https://desk.example.com:8443/callback",
        "http://desk.example.com/callback",
        "https://evil.desk.example.com/callback",
        "http://127.0.0.2/callback",
        "http://localhost.evil.test/callback",
        "http://127.1/callback",
        "http://0.0.0.0/callback",
        "http://127.0.0.1:4000/other",
    ] {
        let answer = desk.get(&request(&[("redirect_uri", wrong)])).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (400, ""), "{wrong}");
        assert_eq!(desk.door.server.event(&answer).await.reason, ReasonCode::RedirectUriInvalid.as_str(), "{wrong}");
    }
    let page = desk.get(&request(&[("redirect_uri", "http://127.0.0.1:4000/callback")])).await;
    assert_eq!(page.status, 200, "only the port may differ, and then the user is asked");
    let unknown = desk.get(&request(&[("client_id", "nobody")])).await;
    assert_eq!((unknown.status.as_u16(), unknown.header("location")), (400, ""));
}

#[tokio::test]
async fn a52_only_what_was_agreed_to_goes_without_a_page() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    desk.code().await;
    let silent = desk.get(&request(&[])).await;
    assert!(query(&location(&silent)).contains_key("code"), "agreed before, at a https address of a vetted client");
    for changes in [
        ("scope", "records.read records.write"),
        ("redirect_uri", "http://127.0.0.1:4000/callback"),
        ("prompt", "consent"),
    ] {
        assert_eq!(desk.get(&request(&[changes])).await.status, 200, "the user is asked: {changes:?}");
    }
    // Neither is the client told silently who the user is.
    let known = request(&[("scope", "records.read openid email")]);
    let page = desk.get(&known).await;
    assert_eq!(page.status, 200, "who the user is was not told before");
    let sent = query(&leads_to(&desk.answer(&page, "allow").await));
    assert_eq!(desk.redeem(&sent["code"], &[]).await.status, 200);
    assert_eq!(desk.get(&known).await.status, 303, "as much was told before");
    let more = desk.get(&request(&[("scope", "records.read openid profile")])).await;
    assert_eq!(more.status, 200, "the name was not");
}

#[tokio::test]
async fn no_on_one_page_is_no_whatever_was_said_on_another() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let (one, other) = (desk.get(&request(&[])).await, desk.get(&request(&[])).await);
    assert!(query(&leads_to(&desk.answer(&one, "allow").await)).contains_key("code"));
    let answer = desk.answer(&other, "deny").await;
    let sent = query(&leads_to(&answer));
    assert_eq!((sent["error"].as_str(), sent.contains_key("code")), ("access_denied", false));
    assert_eq!(desk.door.server.event(&answer).await.reason, ReasonCode::ConsentDenied.as_str());
}

#[tokio::test]
async fn a85_a_weak_sign_in_leads_to_the_provider_once_and_then_back_to_the_client() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let vault = [
        ("client_id", "other"),
        ("redirect_uri", "https://other.example.com/callback"),
        ("resource", "https://vault.example.com"),
        ("scope", "vault.open"),
    ];
    // A sign-in of the same second would count as one for this request.
    desk.door.server.clock.advance(Duration::from_secs(1));
    let page = desk.get(&request(&vault)).await;
    // Nothing is decided about consent before the user has agreed: the page comes first where it is needed.
    let asked = if page.status == 200 {
        let form = field(&page, "form");
        let fields = [("form", form.as_str()), ("decision", "allow"), ("scope", "vault.open"), ("lasts", "day")];
        leads_to(&desk.alice.post(desk.door.router(), "/authorize/decision", &fields).await)
    } else {
        location(&page)
    };
    assert_eq!(query(&asked)["acr_values"], "phr", "{asked}");
    let back = desk.door.way_back(&asked, &desk.door.alice(&asked, json!({})), "");
    let home = desk.get(&back).await;
    let on = location(&home);
    let path = format!("{}?{}", on.path(), on.query().unwrap_or_default());
    let answer = desk.get(&path).await;
    let sent = query(&location(&answer));
    assert_eq!(sent["error"], "unmet_authentication_requirements");
    assert_eq!(desk.door.server.event(&answer).await.reason, ReasonCode::SignInInsufficient.as_str());
}

#[tokio::test]
async fn a85_max_age_counts_from_what_the_provider_says_and_not_from_the_sign_in_here() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    desk.door.server.clock.advance(Duration::from_secs(1));
    // Alice is signed in, but her provider did not say when she last proved who she is.
    let asked = location(&desk.get(&request(&[("max_age", "3600")])).await);
    assert_eq!(query(&asked)["max_age"], "3600", "{asked}");
    let said = desk.door.alice(&asked, json!({"auth_time": desk.door.server.clock.now() - 10}));
    let on = location(&desk.get(&desk.door.way_back(&asked, &said, "")).await);
    let page = desk.get(&format!("{}?{}", on.path(), on.query().unwrap_or_default())).await;
    assert!(page.status == 200 && page.text.contains("See your records"), "{}", page.text);
    // Now it is known, and new enough.
    assert_eq!(desk.get(&request(&[("max_age", "3600")])).await.status, 200);
}
