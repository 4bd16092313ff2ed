//! Which sign-in counts for a request, and what stands between a client and the provider.

use super::{CALLBACK, CLAIMS, Desk, LOGIN, REGISTRY, provider, request};
use crate::browser::{Browser, field, leads_to, location, query};
use crate::database::Kind;
use crate::issuer::TestIssuer;
use crate::registration::register;
use crate::server::Answer;
use procura::domain::decision::ReasonCode;
use serde_json::json;
use url::Url;

const OPEN: &str = r#"
[[resource]]
id = "open"
audience = "https://open.example.com"
name = "Open house"
open_to = ["self_asserted"]
acr_values = ["phr"]
scope = [{ name = "open.read", description = "See the house", access = "read" }]
"#;

/// The path and query of an answer's location.
fn path(answer: &Answer) -> String {
    let on = location(answer);
    format!("{}?{}", on.path(), on.query().unwrap_or_default())
}

impl Desk {
    /// Back from the provider with these claims, and on to wherever that leads.
    async fn back(&mut self, asked: &Url, claims: serde_json::Value) -> Answer {
        let id_token = self.door.alice(asked, claims);
        let back = self.get(&self.door.way_back(asked, &id_token, "")).await;
        self.get(&path(&back)).await
    }

    /// The id of an app that registered itself.
    async fn newcomer(&self) -> String {
        let file = format!("{}{REGISTRY}{OPEN}", provider("corp", &self.door.idp, LOGIN, CLAIMS));
        self.door.server.apply(&file).await;
        let body = json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"});
        register(&self.door.server, &body).await.json()["client_id"].as_str().unwrap().to_owned()
    }

    /// Lets the app go on to the provider, past the page that says who it is.
    async fn connect(&mut self, page: &Answer) -> Url {
        let form = field(page, "form");
        let fields = [("form", form.as_str()), ("decision", "allow")];
        leads_to(&self.alice.post(self.door.router(), "/authorize/connect", &fields).await)
    }
}

#[tokio::test]
async fn a_stronger_sign_in_is_by_the_provider_that_the_user_is_signed_in_at() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let partner = TestIssuer::start().await;
    let file = format!(
        "{}{}{REGISTRY}",
        provider("corp", &desk.door.idp, LOGIN, CLAIMS),
        provider("partner", &partner, LOGIN, CLAIMS)
    );
    desk.door.server.apply(&file).await;
    let vault = [
        ("client_id", "other"),
        ("redirect_uri", "https://other.example.com/callback"),
        ("resource", "https://vault.example.com"),
        ("scope", "vault.open"),
    ];
    let asked = location(&desk.get(&request(&vault)).await);
    assert!(asked.as_str().starts_with(desk.door.idp.issuer()), "{asked}");
    // Whoever is not signed in chooses.
    let page = Browser::default().get(desk.door.router(), &request(&vault)).await;
    assert!(page.text.contains("The corp") && page.text.contains("The partner"), "{}", page.text);
}

#[tokio::test]
async fn a_request_that_asks_for_a_new_sign_in_gets_one_even_in_the_second_of_the_last_one() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    // The clock stands still: Alice signed in this very second.
    for (name, value) in [("prompt", "login"), ("prompt", "select_account")] {
        let asked = location(&desk.get(&request(&[(name, value)])).await);
        assert!(asked.as_str().starts_with(desk.door.idp.issuer()), "{value}: {asked}");
        let page = desk.back(&asked, json!({})).await;
        assert!(page.status == 200 && page.text.contains("See your records"), "{value}: {}", page.text);
    }
}

#[tokio::test]
async fn a_ticket_of_another_browser_proves_nothing() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let asked = location(&desk.get(&request(&[("prompt", "login")])).await);
    let carol = std::mem::take(&mut desk.alice);
    // Carol signs in for her request, and carries the way on to the browser of Alice, who is signed in, but not for it.
    let id_token = desk.door.alice(&asked, json!({"sub": "carol"}));
    desk.alice = carol;
    let back = desk.get(&desk.door.way_back(&asked, &id_token, "")).await;
    desk.alice = Browser::default();
    desk.door.sign_in(&mut desk.alice).await;
    let again = location(&desk.get(&path(&back)).await);
    assert!(again.as_str().starts_with(desk.door.idp.issuer()), "{again}");
}

#[tokio::test]
async fn sign_ins_in_two_windows_of_one_browser_do_not_end_each_other() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    desk.alice = Browser::default();
    let first = desk.door.begin(&mut desk.alice).await;
    let second = location(&desk.get(&request(&[])).await);
    let page = desk.back(&second, json!({})).await;
    assert!(page.text.contains("See your records"), "{}", page.text);
    let page = desk.back(&first, json!({})).await;
    assert!(page.status == 200 && page.text.contains("Apps that act for you"), "{}", page.text);
}

#[tokio::test]
async fn the_provider_is_not_asked_for_an_unknown_app_before_the_user_was() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let id = desk.newcomer().await;
    let wish = |more: (&'static str, &'static str)| {
        request(&[("client_id", &id), ("resource", "https://open.example.com"), ("scope", "open.read"), more])
    };
    // Alice is signed in, and would have to sign in again.
    for more in [("prompt", "login"), ("prompt", "select_account"), ("max_age", "0")] {
        let page = desk.get(&wish(more)).await;
        assert!(page.status == 200 && page.text.contains("wants to connect"), "{more:?}: {}", page.text);
        assert!(page.text.contains("See the house"), "the page says what for: {}", page.text);
    }
}

#[tokio::test]
async fn a85_a_stronger_sign_in_is_asked_for_once_whoever_asks() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let id = desk.newcomer().await;
    let wish = request(&[("client_id", &id), ("resource", "https://open.example.com"), ("scope", "open.read")]);
    // Nobody is signed in: first as the client asks, then as the backend wants it, each past the page.
    desk.alice = Browser::default();
    let page = desk.get(&wish).await;
    let asked = desk.connect(&page).await;
    let page = desk.back(&asked, json!({})).await;
    assert!(page.text.contains("wants to connect"), "{}", page.text);
    let asked = desk.connect(&page).await;
    assert_eq!(query(&asked)["acr_values"], "phr", "{asked}");
    let strong = desk.back(&asked, json!({"acr": "phr", "auth_time": desk.door.server.clock.now()})).await;
    assert!(strong.status == 200 && strong.text.contains("See the house"), "{}", strong.text);
    // Whose provider cannot is not asked without end.
    desk.alice = Browser::default();
    let mut page = desk.get(&wish).await;
    for _ in 0..2 {
        let asked = desk.connect(&page).await;
        page = desk.back(&asked, json!({})).await;
    }
    assert!(page.text.contains("needs a stronger or newer sign-in"), "{}", page.text);
    assert_eq!(desk.door.server.event(&page).await.reason, ReasonCode::SignInInsufficient.as_str());
}

#[tokio::test]
async fn a_user_whom_the_provider_refused_can_let_the_client_know() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    desk.alice = Browser::default();
    let asked = location(&desk.get(&request(&[])).await);
    let no = format!("/callback/corp?error=access_denied&state={}", query(&asked)["state"]);
    let page = desk.get(&no).await;
    assert!(page.status == 400 && page.text.contains("Try again"), "{}", page.text);
    assert!(page.text.contains(page.request_id()), "the page has the number of its request: {}", page.text);
    let on = page.text.split_once("/authorize/stop?ticket=").unwrap().1.split_once('"').unwrap().0;
    let answer = desk.get(&format!("/authorize/stop?ticket={on}")).await;
    desk.assert_sent_back(&answer, ReasonCode::ConsentDenied, "access_denied").await;
    assert_eq!(desk.get("/authorize/stop?ticket=made-up").await.status, 400);
}

#[tokio::test]
async fn a_form_of_another_site_takes_nobodys_session_away() {
    let mut desk = Desk::new(Kind::Sqlite).await;
    let form = request(&[]).strip_prefix("/authorize?").unwrap().to_owned();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // The cookie is Lax: it does not come with the form.
    let other_site = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    let router = desk.door.router().clone();
    let answer = Browser::default().post_from(&router, "/authorize", &pairs, &other_site).await;
    assert_eq!((answer.status.as_u16(), answer.header("set-cookie")), (303, ""), "{}", answer.text);
    // As a GET it does, and the request goes on for whoever is signed in.
    let page = desk.get(answer.header("location")).await;
    assert!(page.status == 200 && page.text.contains("See your records"), "{}", page.text);
    let large = "x".repeat(9000);
    assert_eq!(Browser::default().post_from(&router, "/authorize", &[("state", &large)], &[]).await.status, 400);
}
