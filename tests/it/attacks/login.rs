//! Attacks on signing in and out: mix-up, open redirects, forged forms, fixed sessions, foreign codes.

use crate::browser::{Browser, CLAIMS, FrontDoor, LOGIN, field, location, provider, query};
use crate::database::Kind;
use crate::issuer::TestIssuer;
use crate::server::{Answer, ISSUER, NOW};
use axum::body::Body;
use axum::http::{Method, Request};
use procura::domain::decision::ReasonCode;
use serde_json::json;
use std::time::Duration;

async fn door() -> FrontDoor {
    FrontDoor::open(Kind::Sqlite).await
}

#[tokio::test]
async fn a31_an_answer_of_another_issuer_signs_nobody_in() {
    let door = door().await;
    let evil = TestIssuer::start().await;
    door.server.apply(&provider("evil", &evil, LOGIN, CLAIMS)).await;
    // With two providers the user chooses; the attacker's answers with what belongs to the other.
    let begin = async |browser: &mut Browser| {
        let page = browser.get(door.router(), "/account").await;
        let form = field(&page, "form");
        crate::browser::leads_to(&browser.post(door.router(), "/login", &[("form", &form), ("provider", "corp")]).await)
    };
    let iss =
        |issuer: &str| format!("&iss={}", url::form_urlencoded::byte_serialize(issuer.as_bytes()).collect::<String>());
    let (right, wrong) = (iss(door.idp.issuer()), iss(evil.issuer()));
    for (metadata, more, status) in [
        (json!({}), "", 303),
        (json!({}), right.as_str(), 303),
        (json!({}), &wrong, 400),
        (json!({}), "&iss=", 400),
        (json!({"authorization_response_iss_parameter_supported": true}), &right, 303),
        (json!({"authorization_response_iss_parameter_supported": true}), &wrong, 400),
        (json!({"authorization_response_iss_parameter_supported": true}), "", 400),
    ] {
        door.idp.also_say(metadata.clone());
        door.server.clock.advance(Duration::from_secs(3601));
        let mut browser = Browser::default();
        let asked = begin(&mut browser).await;
        let back = door.way_back(&asked, &door.alice(&asked, json!({})), more);
        let codes = door.idp.redeemed().len();
        let answer = browser.get(door.router(), &back).await;
        assert_eq!(answer.status, status, "{metadata} {more}");
        assert_eq!(door.idp.redeemed().len() > codes, status == 303, "a code of a wrong answer is sent nowhere");
    }
    // One redirect URI for each provider: the state of one is nothing at the other's.
    let mut browser = Browser::default();
    let asked = begin(&mut browser).await;
    let back = door.way_back(&asked, &door.alice(&asked, json!({})), "").replace("/callback/corp", "/callback/evil");
    let answer = browser.get(door.router(), &back).await;
    assert_eq!(answer.status, 400);
    assert_eq!(door.server.event(&answer).await.reason, "sign_in_failed");
    assert_eq!(evil.redeemed().len(), 0);
}

#[tokio::test]
async fn a50_nothing_that_a_request_says_leads_off_this_server() {
    let door = door().await;
    let evil = "https%3A%2F%2Fevil.example";
    for name in ["next", "return_to", "redirect_uri", "url", "post_logout_redirect_uri"] {
        let mut browser = Browser::default();
        let asked = location(&browser.get(door.router(), &format!("/account?{name}={evil}")).await);
        assert!(!asked.as_str().contains("evil"), "{asked}");
        let more = format!("&{name}={evil}");
        let back = browser.get(door.router(), &door.way_back(&asked, &door.alice(&asked, json!({})), &more)).await;
        assert_eq!(location(&back).as_str(), format!("{ISSUER}/account"));
        for path in ["/logout", "/logged-out"] {
            let page = browser.get(door.router(), &format!("{path}?{name}={evil}")).await;
            assert!(page.status == 200 && !page.text.contains("evil"), "{path}: {}", page.text);
        }
        let answer = browser.get(door.router(), &format!("/callback/corp?error=x&state=y&{name}={evil}")).await;
        assert!(answer.status == 400 && !answer.text.contains("evil"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a51_only_the_browser_that_was_shown_a_form_can_send_it_and_once() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let door = FrontDoor::open(kind).await;
        let (mut victim, mut attacker) = (Browser::default(), Browser::default());
        door.sign_in(&mut victim).await;
        door.sign_in_as(&mut attacker, json!({"sub": "mallory"})).await;
        let form = field(&victim.get(door.router(), "/logout").await, "form");
        let stolen = field(&attacker.get(door.router(), "/logout").await, "form");
        let refused = async |what: &str, browser: &Browser, form: &[(&str, &str)], headers: &[(&str, &str)]| {
            let answer = browser.clone().post_from(door.router(), "/logout", form, headers).await;
            assert_eq!(answer.status, 403, "{what}: {}", answer.text);
            assert!(answer.text.contains("This form cannot be used"), "{what}");
            assert_eq!(browser.clone().get(door.router(), "/account").await.status, 200, "{what}: still signed in");
        };
        let same = [("sec-fetch-site", "same-origin")];
        refused("no token", &victim, &[], &same).await;
        refused("an empty token", &victim, &[("form", "")], &same).await;
        refused("twice the token", &victim, &[("form", &form), ("form", &form)], &same).await;
        refused("a made-up token", &victim, &[("form", "a.b.c.d.e")], &same).await;
        let (head, tag) = form.rsplit_once('.').unwrap();
        let altered = format!("{head}.{}{}", if tag.starts_with('A') { "B" } else { "A" }, &tag[1..]);
        refused("an altered token", &victim, &[("form", &altered)], &same).await;
        refused("the attacker's own token", &victim, &[("form", &stolen)], &same).await;
        for headers in [
            [("sec-fetch-site", "cross-site")].as_slice(),
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://evil.example")],
        ] {
            refused("a page of another site, with the cookies", &victim, &[("form", &form)], headers).await;
        }
        let without_cookie = Browser::default().post(door.router(), "/logout", &[("form", &form)]).await;
        assert_eq!(without_cookie.status, 403);

        let replay = victim.clone();
        assert_eq!(victim.post(door.router(), "/logout", &[("form", &form)]).await.status, 200);
        let mut again = replay.clone();
        assert_eq!(again.post(door.router(), "/logout", &[("form", &form)]).await.status, 403, "the session is gone");
    }
}

#[tokio::test]
async fn a51_a_form_is_good_once_and_for_half_an_hour() {
    let door = door().await;
    let other = TestIssuer::start().await;
    door.server.apply(&provider("partner", &other, LOGIN, CLAIMS)).await;
    let mut browser = Browser::default();
    let form = field(&browser.get(door.router(), "/account").await, "form");
    let chosen = [("form", form.as_str()), ("provider", "corp")];
    let parallel = [0, 1, 2, 3].map(|_| {
        let (router, mut browser, form) = (door.router().clone(), browser.clone(), form.clone());
        tokio::spawn(async move {
            browser.post(&router, "/login", &[("form", &form), ("provider", "corp")]).await.status.as_u16()
        })
    });
    let mut statuses = Vec::new();
    for answer in parallel {
        statuses.push(answer.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403, 403, 403], "of several at the same moment one counts");
    assert_eq!(browser.post(door.router(), "/login", &chosen).await.status, 403);

    let form = field(&browser.get(door.router(), "/account").await, "form");
    // A form of one kind is nothing to another.
    assert_eq!(browser.post(door.router(), "/logout", &[("form", &form)]).await.status, 403);
    door.server.clock.advance(Duration::from_mins(30));
    let late = browser.post(door.router(), "/login", &[("form", &form), ("provider", "corp")]).await;
    assert_eq!(late.status, 400);
    assert!(late.text.contains("This form has expired"), "{}", late.text);
}

/// What comes back without a sign-in that this browser began: 400, an event, and no cookie.
async fn goes_nowhere(door: &FrontDoor, browser: &mut Browser, path: &str) -> Answer {
    let redeemed = door.idp.redeemed().len();
    let answer = browser.get(door.router(), path).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert_eq!(answer.header("set-cookie"), "");
    assert_eq!(door.idp.redeemed().len(), redeemed, "the code was not sent to the provider");
    door.assert_failed(browser, &answer, 400, "state is not that of a sign-in").await;
    answer
}

#[tokio::test]
async fn a53_a_callback_that_our_page_did_not_begin_is_refused() {
    let door = door().await;
    let mut attacker = Browser::default();
    let asked = door.begin(&mut attacker).await;
    let back = door.way_back(&asked, &door.alice(&asked, json!({})), "");
    goes_nowhere(&door, &mut Browser::default(), &back).await;
    goes_nowhere(&door, &mut Browser::default(), "/callback/corp?code=c&state=guessed").await;
    goes_nowhere(&door, &mut Browser::default(), "/callback/corp?code=c").await;
    // A cookie that was planted is worth no more than none.
    let mut planted = Browser { cookie: Some("__Host-procura=AAAAAAAAAAAAAAAAAAAAAA".to_owned()) };
    let answer = planted.get(door.router(), &back).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn a54_no_page_of_signing_in_or_out_can_be_framed() {
    let door = door().await;
    let other = TestIssuer::start().await;
    let mut browser = Browser::default();
    let redirect = browser.get(door.router(), "/account").await;
    let asked = location(&redirect);
    let back = browser.get(door.router(), &door.way_back(&asked, &door.alice(&asked, json!({})), "")).await;
    let logout = browser.get(door.router(), "/logout").await;
    door.server.apply(&provider("partner", &other, LOGIN, CLAIMS)).await;
    let choice = Browser::default().get(door.router(), "/account").await;
    let mut pages = vec![redirect, back, logout, choice];
    for path in ["/callback/corp?error=x", "/callback/nobody", "/logged-out", "/login"] {
        pages.push(Browser::default().get(door.router(), path).await);
    }
    pages.push(Browser::default().post(door.router(), "/login", &[]).await);
    for page in pages.iter().filter(|page| page.status != 405) {
        assert_eq!(page.header("x-frame-options"), "DENY", "{} {}", page.status, page.text);
        assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
    }
}

#[tokio::test]
async fn a55_a_session_that_somebody_planted_is_not_the_one_that_is_signed_in() {
    let door = door().await;
    let mut attacker = Browser::default();
    door.begin(&mut attacker).await;
    let planted = attacker.cookie.clone().unwrap();
    let mut victim = Browser { cookie: Some(planted.clone()) };
    door.sign_in(&mut victim).await;
    assert_ne!(victim.cookie.as_ref(), Some(&planted), "a new id at the sign-in");
    door.assert_signed_in(&mut victim, "alice@example.com").await;
    assert_eq!(attacker.get(door.router(), "/account").await.status, 303, "the old id is nothing");
    let digest = procura::secrets::digest(planted.split_once('=').unwrap().1);
    let now = door.server.clock.now();
    assert_eq!(door.server.app.store.find_session(&digest, now).await.unwrap(), None);
    // Nor is an id taken that we never gave.
    let invented = "__Host-procura=AAAAAAAAAAAAAAAAAAAAAA".to_owned();
    let mut victim = Browser { cookie: Some(invented.clone()) };
    door.begin(&mut victim).await;
    assert_ne!(victim.cookie, Some(invented));
    // Another sign-in in the same browser, of somebody else, leaves nothing of the first.
    let mut shared = Browser::default();
    door.sign_in(&mut shared).await;
    let alices = shared.clone();
    let asked = location(&Browser::get(&mut Browser::default(), door.router(), "/account").await);
    assert!(query(&asked).contains_key("state"));
    assert_eq!(alices.cookie, shared.cookie);
}

#[tokio::test]
async fn a56_a_code_of_the_attacker_is_not_taken_in_the_victims_browser() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let door = FrontDoor::open(kind).await;
        let (mut attacker, mut victim) = (Browser::default(), Browser::default());
        let attackers = door.begin(&mut attacker).await;
        let victims = door.begin(&mut victim).await;
        let mallory = door.alice(&attackers, json!({"sub": "mallory"}));
        let back = door.way_back(&attackers, &mallory, "");
        goes_nowhere(&door, &mut victim, &back).await;
        // With the victim's own state, the attacker's code has another challenge and another nonce.
        let state = |url| query(url)["state"].clone();
        let mixed = back.replace(&format!("&state={}", state(&attackers)), &format!("&state={}", state(&victims)));
        let answer = victim.get(door.router(), &mixed).await;
        assert_eq!(answer.status, 503, "the provider does not take the code: {}", answer.text);
        assert_eq!(victim.get(door.router(), "/account").await.status, 303);
        // A state counts once, and for ten minutes.
        let asked = door.begin(&mut victim).await;
        let back = door.way_back(&asked, &door.alice(&asked, json!({})), "");
        let mut twice = victim.clone();
        assert_eq!(victim.get(door.router(), &back).await.status, 303);
        assert_eq!(twice.get(door.router(), &back).await.status, 400);
        let asked = door.begin(&mut twice).await;
        let back = door.way_back(&asked, &door.alice(&asked, json!({})), "");
        door.server.clock.advance(Duration::from_mins(10));
        assert_eq!(twice.get(door.router(), &back).await.status, 400);
    }
}

#[tokio::test]
async fn a75_no_other_origin_may_read_the_pages_of_signing_in_or_out() {
    let door = door().await;
    for (method, path) in [
        (Method::GET, "/callback/corp?state=x"),
        (Method::OPTIONS, "/callback/corp"),
        (Method::POST, "/login"),
        (Method::OPTIONS, "/login"),
        (Method::GET, "/logout"),
        (Method::POST, "/logout"),
        (Method::OPTIONS, "/logout"),
        (Method::GET, "/logged-out"),
        (Method::POST, "/backchannel-logout/corp"),
        (Method::OPTIONS, "/backchannel-logout/corp"),
    ] {
        for origin in ["https://evil.example", "null"] {
            let request = Request::builder()
                .method(method.clone())
                .uri(path)
                .header("origin", origin)
                .header("access-control-request-method", "POST")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::empty())
                .unwrap();
            let answer = Browser::default().send(door.router(), request).await;
            let told = answer.headers.keys().any(|name| name.as_str().starts_with("access-control-"));
            assert!(!told, "{method} {path}: {:?}", answer.headers);
        }
    }
}

#[tokio::test]
async fn a67_an_id_token_of_a_session_that_the_provider_ended_is_not_exchanged_any_more() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let world = crate::world::World::new(kind).await;
        let server = &world.server;
        // The same provider, where users sign in here too.
        super::change_corp(&world, |idp| {
            idp.login = serde_json::from_value(json!({"client_id": "procura-there", "scopes": ["openid"]})).unwrap();
        })
        .await;
        let records = [super::RECORDS];
        let granted = world.exchange(json!({"sid": "session-1"}), &records).await;
        world.assert_granted(&granted).await;
        let tell = async |jti: &str, changes: serde_json::Value| {
            let claims = json!({
                "iss": world.corp.issuer(), "aud": "procura-there", "iat": NOW, "exp": NOW + 120, "jti": jti,
                "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            });
            let claims = crate::issuer::with(claims, changes);
            let token = crate::issuer::sign(&world.corp.key(), Some("logout+jwt"), &claims);
            let form = [("logout_token", token.as_str())];
            let path = "/backchannel-logout/corp";
            let answer = Browser::default().post_from(&server.router, path, &form, &[]).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        };
        tell("1", json!({"sid": "session-1"})).await;
        let refused = world.exchange(json!({"sid": "session-1"}), &records).await;
        world.assert_refused(&refused, ReasonCode::SubjectSessionEnded).await;
        let other = world.exchange(json!({"sid": "session-2"}), &records).await;
        world.assert_granted(&other).await;
        tell("2", json!({"sub": "alice"})).await;
        for changes in [json!({"sid": "session-2"}), json!({}), json!({"iat": NOW})] {
            let refused = world.exchange(changes, &records).await;
            world.assert_refused(&refused, ReasonCode::SubjectSessionEnded).await;
        }
        let later = world.exchange(json!({"iat": NOW + 1, "sid": "session-4"}), &records).await;
        world.assert_granted(&later).await;
        let bobs = world.bobs_id_token();
        let bobs = world.exchange_as("assistant", &bobs, &[("resource", "https://models.example.com")]).await;
        world.assert_granted(&bobs).await;
    }
}
