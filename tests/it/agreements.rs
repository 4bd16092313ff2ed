//! What users agree to, change and take back: its effect at the next exchange, its events, and what a client that waits
//! is told.

use crate::database::Kind;
use crate::server::{ISSUER, NOW, TestServer};
use crate::world::World;
use procura::domain::client::ClientEntry;
use procura::domain::consent::Consent;
use procura::domain::decision::ReasonCode;
use procura::domain::event::{AuditEvent, EventKind, EventOutcome};
use procura::domain::resource::Resource;
use procura::domain::scope::ScopeSet;
use procura::domain::sign_in::SignIn;
use procura::grants::Received;
use procura::grants::consent::{Amendment, Lasts, Parties, amend, give, refuse};
use procura::store::ConsentUse;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const RECORDS: (&str, &str) = ("resource", "https://records.example.com/api");

fn bob() -> SignIn {
    let document = json!({"user": "corp|bob", "idp": "corp", "idp_sub": "bob", "auth_time": NOW, "signed_in_at": NOW});
    serde_json::from_value(document).unwrap()
}

/// A request of its own each time: its id is where its event is found.
fn received(world: &World) -> Received {
    let at_ms = world.server.clock.now_ms();
    Received { request_id: procura::secrets::ordered_id("req", at_ms), source: None, trace_id: None, at_ms }
}

struct Asked {
    client: Arc<ClientEntry>,
    resource: Arc<Resource>,
}

impl Asked {
    fn of(world: &World) -> Self {
        let snapshot = world.server.app.snapshot();
        Self {
            client: Arc::clone(snapshot.registry.client_by_name("assistant").unwrap()),
            resource: Arc::clone(snapshot.registry.resource_by_name("records").unwrap()),
        }
    }

    fn parties<'a>(&'a self, user: &'a SignIn, handle: Option<&'a str>) -> Parties<'a> {
        Parties { user, client: &self.client, resource: &self.resource, redirect_uri: None, handle }
    }
}

fn scopes(text: &str) -> ScopeSet {
    text.parse().unwrap()
}

async fn agreed(world: &World, what: &str, lasts: Lasts) -> Consent {
    let asked = Asked::of(world);
    give(&world.server.app, &received(world), &asked.parties(&bob(), None), scopes(what), lasts).await.unwrap()
}

async fn amended(world: &World, user: &SignIn, consent: &Consent, amendment: Amendment) -> bool {
    amend(&world.server.app, &received(world), user, consent, amendment).await.unwrap()
}

/// What the consent of this id is by now.
async fn now(world: &World, consent: &Consent) -> Consent {
    world.server.app.store.find_consent(&consent.id).await.unwrap().unwrap()
}

async fn scope_of_bob(world: &World) -> Result<String, ReasonCode> {
    let answer = world.exchange_as("assistant", &world.bobs_id_token(), &[RECORDS]).await;
    match answer.json()["scope"].as_str() {
        Some(scope) => Ok(scope.to_owned()),
        None => Err(ReasonCode::from_code(&world.server.event(&answer).await.reason).unwrap()),
    }
}

async fn event(server: &TestServer, request: &Received) -> AuditEvent {
    server.app.store.events_of_request(&request.request_id).await.unwrap().pop().unwrap()
}

world_test! {
    async fn what_a_user_allows_counts_at_the_next_exchange_for_as_long_as_they_said(world: World) {
        assert_eq!(scope_of_bob(&world).await, Err(ReasonCode::ConsentMissing));
        let (asked, user, request) = (Asked::of(&world), bob(), received(&world));
        let what = scopes("records.read records.write");
        let given = give(&world.server.app, &request, &asked.parties(&user, None), what.clone(), Lasts::Hour).await;
        let given = given.unwrap();
        assert_eq!(given.fingerprint, Some(asked.client.client.fingerprint()));
        assert_eq!(scope_of_bob(&world).await.as_deref(), Ok("records.read records.write"));
        let told = event(&world.server, &request).await;
        assert_eq!((told.kind, told.outcome, told.reason.as_str()), (EventKind::Consent, EventOutcome::Done, "consent_given"));
        assert_eq!((told.user(), told.granted, told.grant_id), (Some(user.user), Some(what), Some(given.id.clone())));
        assert_eq!(given.expires_at, Some(NOW + 3_600));
        assert_eq!(agreed(&world, "records.read", Lasts::UntilRevoked).await.expires_at, None);
    }

    async fn a_later_answer_replaces_the_earlier_one(world: World) {
        let first = agreed(&world, "records.read records.write", Lasts::UntilRevoked).await;
        let second = agreed(&world, "records.read", Lasts::Month).await;
        assert_eq!(scope_of_bob(&world).await.as_deref(), Ok("records.read"));
        assert!(now(&world, &first).await.revoked_at.is_some());
        assert_eq!(now(&world, &second).await, second);
    }

    async fn a_no_is_on_record_and_leaves_what_was_agreed_before(world: World) {
        agreed(&world, "records.read", Lasts::Month).await;
        let (asked, user, request) = (Asked::of(&world), bob(), received(&world));
        refuse(&world.server.app, &request, &asked.parties(&user, None), scopes("records.write")).await.unwrap();
        assert_eq!(scope_of_bob(&world).await.as_deref(), Ok("records.read"));
        let told = event(&world.server, &request).await;
        assert_eq!((told.reason.as_str(), told.asked), ("consent_denied", Some(scopes("records.write"))));
    }

    async fn users_take_away_and_never_add(world: World) {
        let consent = agreed(&world, "records.read records.write", Lasts::Month).await;
        for more in ["records.read records.write", "records.read records.write records.delete", "records.delete", ""] {
            assert!(!amended(&world, &bob(), &consent, Amendment::Narrow(scopes(more))).await, "{more}");
        }
        let narrow = Amendment::Narrow(scopes("records.read"));
        assert!(amended(&world, &bob(), &consent, narrow.clone()).await);
        assert_eq!(scope_of_bob(&world).await.as_deref(), Ok("records.read"));
        let other = Amendment::Narrow(scopes("records.write"));
        assert!(!amended(&world, &bob(), &consent, other).await, "it is not what the page showed any more");

        let consent = now(&world, &consent).await;
        assert!(!amended(&world, &bob(), &consent, Amendment::Shorten(consent.expires_at.unwrap() + 1)).await);
        assert!(!amended(&world, &bob(), &consent, Amendment::Shorten(NOW)).await, "that is no end to come");
        assert!(amended(&world, &bob(), &consent, Amendment::Shorten(NOW + 60)).await);
        world.server.clock.advance(Duration::from_mins(1));
        assert_eq!(scope_of_bob(&world).await, Err(ReasonCode::ConsentExpired));
    }

    async fn a_user_pauses_a_client_and_lets_it_go_on(world: World) {
        let consent = agreed(&world, "records.read", Lasts::UntilRevoked).await;
        assert!(amended(&world, &bob(), &consent, Amendment::Pause).await);
        assert_eq!(scope_of_bob(&world).await, Err(ReasonCode::ConsentPaused));
        let paused = now(&world, &consent).await;
        assert!(amended(&world, &bob(), &paused, Amendment::Resume).await);
        assert_eq!(scope_of_bob(&world).await.as_deref(), Ok("records.read"));
        let resumed = now(&world, &consent).await;
        assert!(amended(&world, &bob(), &resumed, Amendment::Revoke).await);
        assert_eq!(scope_of_bob(&world).await, Err(ReasonCode::ConsentRevoked));
        let ended = now(&world, &consent).await;
        assert!(!amended(&world, &bob(), &ended, Amendment::Resume).await, "what has ended does not come back");
    }

    async fn nobody_changes_what_another_agreed_to(world: World) {
        let consent = agreed(&world, "records.read", Lasts::UntilRevoked).await;
        let alice = SignIn { user: "corp|alice".parse().unwrap(), ..bob() };
        for amendment in [Amendment::Pause, Amendment::Revoke, Amendment::Shorten(NOW + 60)] {
            assert!(!amended(&world, &alice, &consent, amendment).await);
        }
        assert_eq!(now(&world, &consent).await, consent);
    }

    async fn a_client_that_waits_hears_what_the_user_said(world: World) {
        let answer = world.exchange_as("assistant", &world.bobs_id_token(), &[RECORDS]).await;
        let uri = answer.json()["consent_uri"].as_str().unwrap().to_owned();
        let path = uri.strip_prefix(ISSUER).unwrap().to_owned();
        let handle = path.strip_prefix("/consent/").unwrap().to_owned();
        let status = async || {
            let answer = world.server.get(&format!("{path}/status")).await;
            assert_eq!((answer.header("cache-control"), &answer.json()["interval"]), ("no-store", &json!(5)));
            assert!(!answer.text.contains("bob"), "{}", answer.text);
            (answer.status.as_u16(), answer.json()["status"].as_str().unwrap().to_owned())
        };
        assert_eq!(status().await, (200, "pending".to_owned()));
        let (asked, user) = (Asked::of(&world), bob());
        let parties = asked.parties(&user, Some(&handle));
        refuse(&world.server.app, &received(&world), &parties, scopes("records.read")).await.unwrap();
        assert_eq!(status().await, (200, "denied".to_owned()));
        give(&world.server.app, &received(&world), &parties, scopes("records.read"), Lasts::Day).await.unwrap();
        assert_eq!(status().await, (200, "allowed".to_owned()));
        let unknown = world.server.get("/consent/nothing/status").await;
        assert_eq!((unknown.status.as_u16(), &unknown.json()["status"]), (404, &json!("expired")));
    }

    async fn who_asks_after_an_answer_asks_anew(world: World) {
        let asks = async || {
            let answer = world.exchange_as("assistant", &world.bobs_id_token(), &[RECORDS]).await;
            answer.json()["consent_uri"].as_str().unwrap().strip_prefix(ISSUER).unwrap().to_owned()
        };
        let status = async |path: &str| {
            world.server.get(&format!("{path}/status")).await.json()["status"].as_str().unwrap().to_owned()
        };
        let first = asks().await;
        assert_eq!(asks().await, first, "until it is answered");
        let (asked, user) = (Asked::of(&world), bob());
        let handle = first.strip_prefix("/consent/").unwrap();
        let parties = asked.parties(&user, Some(handle));
        refuse(&world.server.app, &received(&world), &parties, scopes("records.read")).await.unwrap();
        let second = asks().await;
        assert_eq!((status(&first).await, status(&second).await), ("denied".to_owned(), "pending".to_owned()));
        // He allows it, and takes it back.
        let parties = asked.parties(&user, second.strip_prefix("/consent/"));
        let app = &world.server.app;
        let consent = give(app, &received(&world), &parties, scopes("records.read"), Lasts::Day).await.unwrap();
        assert_eq!(status(&second).await, "allowed");
        assert!(amended(&world, &user, &consent, Amendment::Revoke).await);
        let third = asks().await;
        assert!(third != second && third != first);
        assert_eq!(status(&third).await, "pending");
    }

    async fn a_client_that_waits_hears_of_an_agreement_made_elsewhere_and_of_the_end(world: World) {
        let answer = world.exchange_as("assistant", &world.bobs_id_token(), &[RECORDS]).await;
        let uri = answer.json()["consent_uri"].as_str().unwrap().to_owned();
        let path = format!("{}/status", uri.strip_prefix(ISSUER).unwrap());
        agreed(&world, "records.read", Lasts::Hour).await;
        assert_eq!(world.server.get(&path).await.json()["status"], "allowed");
        world.server.clock.advance(Duration::from_hours(1));
        assert_eq!(world.server.get(&path).await.json()["status"], "expired");
    }

    async fn each_issued_token_counts_for_its_consent(world: World) {
        let consent = agreed(&world, "records.read", Lasts::Month).await;
        for _ in 0..3 {
            scope_of_bob(&world).await.unwrap();
        }
        let (app, user) = (&world.server.app, bob().user);
        assert_eq!(app.uses.unwritten(&consent.id), ConsentUse { uses: 3, last_used_at: NOW });
        app.uses.write(&app.store).await.unwrap();
        assert_eq!(app.uses.unwritten(&consent.id), ConsentUse::default());
        let written = app.store.consent_uses(&user).await.unwrap();
        assert_eq!(written.get(&consent.id), Some(&ConsentUse { uses: 3, last_used_at: NOW }));
    }
}

#[tokio::test]
async fn the_logo_is_served_as_what_it_is_and_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logo");
    std::fs::write(&file, "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>").unwrap();
    let settings =
        [("PROCURA_ORGANISATION__LOGO_FILE", file.to_str().unwrap()), ("PROCURA_ORGANISATION__NAME", "Acme <b>")];
    let server = TestServer::configured(Kind::Sqlite, &settings).await;
    let logo = server.get("/static/logo").await;
    assert_eq!((logo.status.as_u16(), logo.header("content-type")), (200, "image/svg+xml"));
    let policy = logo.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{policy}");
    let page = server.get("/consent/nothing").await;
    assert!(page.text.contains("Acme &#60;b&#62;") && page.text.contains("/static/logo"), "{}", page.text);
    let policy = page.header("content-security-policy");
    for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
    let without = TestServer::start(Kind::Sqlite).await;
    assert_eq!(without.get("/static/logo").await.status, 404);
    let page = without.get("/consent/nothing").await.text;
    assert!(page.contains("auth.example.com") && page.contains(r#"href="/static/icon.svg""#), "{page}");
    let icon = without.get("/static/icon.svg").await;
    assert_eq!((icon.status.as_u16(), icon.header("content-type")), (200, "image/svg+xml"));
}
