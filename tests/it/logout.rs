//! Signing out: here, at the provider, and by the provider's own message.

use crate::browser::{Browser, FrontDoor, field, leads_to, query};
use crate::database::Kind;
use crate::issuer::{sign, with};
use crate::server::{Answer, ISSUER};
use procura::domain::event::EventKind;
use serde_json::{Value, json};
use std::time::Duration;

const BOTH: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A logout token of the provider at the server's time; a null takes a claim away.
pub(crate) fn logout_token(door: &FrontDoor, jti: &str, changes: Value) -> String {
    let now = door.server.clock.now();
    let claims = json!({
        "iss": door.idp.issuer(), "aud": "procura-there", "iat": now, "exp": now + 120, "jti": jti,
        "events": {EVENT: {}}, "sub": "alice", "sid": "session-1",
    });
    sign(&door.idp.key(), Some("logout+jwt"), &with(claims, changes))
}

pub(crate) async fn tell(door: &FrontDoor, token: &str) -> Answer {
    let (mut nobody, form) = (Browser::default(), [("logout_token", token)]);
    let answer = nobody.post_from(door.router(), "/backchannel-logout/corp", &form, &[]).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    answer
}

async fn is_signed_in(door: &FrontDoor, browser: &Browser) -> bool {
    browser.clone().get(door.router(), "/account").await.status == 200
}

#[tokio::test]
async fn who_signs_out_here_is_led_to_the_provider_to_sign_out_there() {
    let door = FrontDoor::open(Kind::Sqlite).await;
    door.idp.also_say(json!({"end_session_endpoint": format!("{}/logout?x=1", door.idp.issuer())}));
    let mut browser = Browser::default();
    let asked = door.begin(&mut browser).await;
    let id_token = door.alice(&asked, json!({}));
    browser.get(door.router(), &door.way_back(&asked, &id_token, "")).await;
    let page = browser.get(door.router(), "/logout").await;
    assert!(page.text.contains("alice@example.com"), "{}", page.text);
    assert!(is_signed_in(&door, &browser).await, "a GET ends nothing");
    let before = browser.clone();
    let left = browser.post(door.router(), "/logout", &[("form", &field(&page, "form"))]).await;
    let there = leads_to(&left);
    assert_eq!(there.path(), "/logout");
    let parameters = query(&there);
    for (name, value) in [
        ("x", "1"),
        ("client_id", "procura-there"),
        ("post_logout_redirect_uri", &format!("{ISSUER}/logged-out")),
        ("id_token_hint", &id_token),
    ] {
        assert_eq!(parameters[name], value);
    }
    assert!(!is_signed_in(&door, &before).await, "the old cookie is worth nothing");
    let event = door.server.event(&left).await;
    assert_eq!(
        (event.kind, event.reason.as_str(), event.subject_sub()),
        (EventKind::SignOut, "signed_out", Some("corp|alice"))
    );
    let after = browser.get(door.router(), "/logged-out").await;
    assert!(after.status == 200 && after.text.contains("You are signed out"), "{}", after.text);
}

#[tokio::test]
async fn where_the_provider_has_no_place_for_it_signing_out_ends_here() {
    let door = FrontDoor::open(Kind::Sqlite).await;
    let mut browser = Browser::default();
    door.sign_in(&mut browser).await;
    let page = browser.get(door.router(), "/logout").await;
    let left = browser.post(door.router(), "/logout", &[("form", &field(&page, "form"))]).await;
    assert!(left.text.contains("You are signed out") && !left.text.contains("0;url="), "{}", left.text);
    assert!(!is_signed_in(&door, &browser).await);
}

#[tokio::test]
async fn the_provider_ends_one_session_or_all_of_a_user() {
    for kind in BOTH {
        let door = FrontDoor::open(kind).await;
        let (mut one, mut two, mut bobs) = (Browser::default(), Browser::default(), Browser::default());
        door.sign_in_as(&mut one, json!({"sid": "session-1"})).await;
        door.sign_in_as(&mut two, json!({"sid": "session-2"})).await;
        door.sign_in_as(&mut bobs, json!({"sid": "session-3", "sub": "bob"})).await;
        let states = async || {
            let mut states = Vec::new();
            for browser in [&one, &two, &bobs] {
                states.push(is_signed_in(&door, browser).await);
            }
            states
        };
        assert_eq!(states().await, [true, true, true]);

        let consents = door.server.app.store.versions().await.unwrap().consents;
        let answer = tell(&door, &logout_token(&door, "1", json!({"sub": null}))).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
        assert_eq!(states().await, [false, true, true], "whose session it was is known from the sign-in");
        assert_eq!(door.server.app.store.versions().await.unwrap().consents, consents + 1, "every server hears of it");
        let event = door.server.event(&answer).await;
        assert_eq!((event.reason.as_str(), event.subject_sub()), ("backchannel_logout", Some("corp|alice")));
        assert!(event.detail.unwrap().contains("one session"));

        let answer = tell(&door, &logout_token(&door, "2", json!({"sid": null}))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(states().await, [false, false, true]);
    }
}

#[tokio::test]
async fn a_logout_token_counts_once_and_only_if_it_is_one() {
    for kind in BOTH {
        let door = FrontDoor::open(kind).await;
        let mut browser = Browser::default();
        door.sign_in(&mut browser).await;
        let now = door.server.clock.now();
        let other = crate::issuer::TestIssuer::start().await;
        for (changes, why) in [
            (json!({"aud": "others"}), "aud"),
            (json!({"iss": other.issuer()}), "iss"),
            (json!({"exp": now}), "exp"),
            (json!({"exp": null}), "exp"),
            (json!({"iat": null}), "iat"),
            (json!({"iat": now + 31}), "iat"),
            (json!({"jti": null}), "jti"),
            (json!({"nonce": "n"}), "nonce"),
            (json!({"events": null}), "events"),
            (json!({"events": {"https://other.example/event": {}}}), "events"),
            (json!({"events": {EVENT: 1}}), "events"),
            (json!({"sub": null, "sid": null}), "neither sub nor sid"),
            (json!({"sid": 1}), "sid"),
            (json!({"sub": "x".repeat(300)}), "longer"),
        ] {
            let answer = tell(&door, &logout_token(&door, "bad", changes)).await;
            assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &json!("invalid_request")), "{why}");
            let event = door.server.event(&answer).await;
            assert_eq!((event.kind, event.reason.as_str()), (EventKind::SignOut, "logout_token_refused"));
            assert!(event.detail.as_ref().unwrap().contains(why), "{why}: {:?}", event.detail);
        }
        let claims = crate::issuer::claims_of(&logout_token(&door, "typ", json!({})));
        for bad in [sign(&door.idp.key(), Some("at+jwt"), &claims), sign(&other.key(), Some("logout+jwt"), &claims)] {
            assert_eq!(tell(&door, &bad).await.status, 400);
        }
        // An ID token of the sign-in is no message about its end.
        let asked = door.begin(&mut Browser::default()).await;
        assert_eq!(tell(&door, &door.alice(&asked, json!({}))).await.status, 400);
        assert!(is_signed_in(&door, &browser).await, "nothing of that ended anything");

        let good = logout_token(&door, "good", json!({}));
        assert_eq!(tell(&door, &good).await.status, 200);
        assert!(!is_signed_in(&door, &browser).await);
        let again = tell(&door, &good).await;
        assert_eq!(again.status, 400);
        assert!(door.server.event(&again).await.detail.unwrap().contains("received before"));
        for path in ["/backchannel-logout/nobody", "/backchannel-logout/no%20id"] {
            let answer = Browser::default().post_from(door.router(), path, &[("logout_token", &good)], &[]).await;
            assert_eq!(answer.status, 400, "{path}");
        }
        door.idp.rotate();
        door.idp.fail(true);
        door.server.clock.advance(Duration::from_hours(48));
        let later = tell(&door, &logout_token(&door, "later", json!({}))).await;
        assert_eq!(later.status, 503, "the provider may send it again when its keys can be had: {}", later.text);
    }
}

#[tokio::test]
async fn what_the_provider_ended_is_known_for_thirty_days() {
    for kind in BOTH {
        let door = FrontDoor::open(kind).await;
        let store = &door.server.app.store;
        let corp = "corp".parse().unwrap();
        let now = door.server.clock.now();
        let ended = async |sub: &str, sid: Option<&str>, issued_at: i64| {
            store.what_ended(&corp, sub, sid).await.unwrap().covers(Some(issued_at))
        };
        assert!(!ended("alice", Some("session-1"), now).await);
        assert!(!store.has_ended_sessions().await.unwrap());
        tell(&door, &logout_token(&door, "1", json!({"sub": null}))).await;
        assert!(ended("alice", Some("session-1"), now + 100).await, "a session that nobody here had seen");
        assert!(!ended("alice", Some("session-2"), now - 100).await);
        assert!(!ended("alice", None, now - 100).await);
        tell(&door, &logout_token(&door, "2", json!({"sid": null}))).await;
        assert!(ended("alice", Some("session-2"), now).await, "issued in the second of the logout");
        assert!(!ended("alice", Some("session-2"), now + 1).await, "a later sign-in counts");
        assert!(!ended("bob", None, now).await);
        assert!(store.has_ended_sessions().await.unwrap());
        assert!(
            store.what_ended(&corp, "alice", None).await.unwrap().covers(None),
            "what does not say when it was issued"
        );
        store.purge(now + 30 * 86_400 - 1).await.unwrap();
        assert!(ended("alice", None, now).await);
        let gone = store.purge(now + 30 * 86_400).await.unwrap();
        assert!(gone.contains(&("ended_session", 2)), "{gone:?}");
        assert!(!ended("alice", None, now).await);
    }
}

#[tokio::test]
async fn an_id_token_of_a_session_that_the_provider_ended_signs_nobody_in() {
    let door = FrontDoor::open(Kind::Sqlite).await;
    let mut browser = Browser::default();
    let asked = door.begin(&mut browser).await;
    let back = door.way_back(&asked, &door.alice(&asked, json!({})), "");
    assert_eq!(tell(&door, &logout_token(&door, "1", json!({}))).await.status, 200);
    let answer = browser.get(door.router(), &back).await;
    door.assert_failed(&mut browser, &answer, 400, "this session has ended").await;
}

#[tokio::test]
async fn a_request_under_way_does_not_bring_an_ended_session_back() {
    for kind in BOTH {
        let door = FrontDoor::open(kind).await;
        let store = &door.server.app.store;
        let now = door.server.clock.now();
        assert!(store.create_session("d1", "{}", None, now + 10).await.unwrap());
        assert!(!store.create_session("d1", "{\"a\":1}", None, now + 10).await.unwrap(), "ids do not collide");
        assert_eq!(store.find_session("d1", now + 9).await.unwrap().as_deref(), Some("{}"));
        assert_eq!(store.find_session("d1", now + 10).await.unwrap(), None);
        store.save_session("d1", "{\"a\":2}", None).await.unwrap();
        assert_eq!(store.find_session("d1", now).await.unwrap().as_deref(), Some("{\"a\":2}"));
        store.delete_session("d1").await.unwrap();
        store.save_session("d1", "{\"a\":3}", None).await.unwrap();
        assert_eq!(store.find_session("d1", now).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_sign_in_that_is_stored_while_its_session_is_being_ended_does_not_count() {
    for kind in BOTH {
        let door = FrontDoor::open(kind).await;
        let (store, now) = (&door.server.app.store, door.server.clock.now());
        let mut browser = Browser::default();
        door.sign_in(&mut browser).await;
        let id = browser.cookie.clone().unwrap().split_once('=').unwrap().1.to_owned();
        let stored_as = procura::secrets::digest(&id);
        let document = store.find_session(&stored_as, now).await.unwrap().unwrap();
        for end in [json!({}), json!({"sid": null})] {
            assert_eq!(tell(&door, &logout_token(&door, &end.to_string(), end)).await.status, 200);
            store.create_session(&stored_as, &document, None, now + 3600).await.unwrap();
            assert!(!is_signed_in(&door, &browser).await);
        }
    }
}
