//! What goes on, and what has ended: what a backend and a client hear of a token after things have changed.

use super::{CLAIMS, Desk, LOGIN, RECORDS, REGISTRY, provider, refresh_token, request};
use crate::browser::Browser;
use crate::database::Kind;
use crate::logout::{logout_token, tell};
use crate::server::{Answer, claims};
use axum::body::Body;
use axum::http::{Request, header};
use procura::domain::change::{Change, RevocationTarget};
use procura::domain::decision::ReasonCode;
use serde_json::{Value, json};

on_both! {
    async fn a67_a_grant_that_is_stored_while_its_session_is_being_ended_gives_nothing(kind: Kind) {
        for end in [json!({}), json!({"sid": null})] {
            let mut desk = Desk::new(kind).await;
            let code = desk.code().await;
            let app = &desk.door.server.app;
            let family = app.grant_tokens.family_of_code(&code).unwrap();
            let mut late = app.store.find_family(&family).await.unwrap().unwrap();
            assert_eq!(tell(&desk.door, &logout_token(&desk.door, "1", end)).await.status, 200);
            desk.assert_refused(&desk.redeem(&code, &[]).await, ReasonCode::SubjectSessionEnded, "invalid_grant").await;
            late.id = procura::secrets::random_id("fam");
            app.store.insert_family(&late).await.unwrap();
            let answer = desk.redeem(&app.grant_tokens.code(&late.id), &[]).await;
            desk.assert_refused(&answer, ReasonCode::SubjectSessionEnded, "invalid_grant").await;
        }
    }

    async fn a_provider_that_is_removed_and_declared_again_brings_no_sign_in_back(kind: Kind) {
        let mut desk = Desk::new(kind).await;
        let code = desk.code().await;
        let refresh = refresh_token(&desk.redeem(&code, &[]).await);
        let server = &desk.door.server;
        let corp = server.app.snapshot().registry.idp(&"corp".parse().unwrap()).unwrap().as_ref().clone();
        let target = RevocationTarget::User("corp|alice".parse().unwrap());
        let held = async || {
            let held = server.app.store.held_by(&target, server.app.clock.now()).await.unwrap();
            (held.families, held.sessions)
        };
        assert_eq!(held().await, (1, 1));
        server.change(&[Change::RemoveIdentityProvider(corp.id.clone())]).await;
        assert_eq!(held().await, (0, 0));
        server.change(&[Change::PutIdentityProvider(corp)]).await;
        let answer = desk.refresh(&refresh, &[]).await;
        desk.assert_refused(&answer, ReasonCode::SubjectSessionEnded, "invalid_grant").await;
    }

    async fn a_logout_of_one_session_ends_what_may_be_of_it(kind: Kind) {
        let mut desk = Desk::new(kind).await;
        let code = desk.code().await;
        let of_session_1 = refresh_token(&desk.redeem(&code, &[]).await);
        desk.alice = Browser::default();
        desk.door.sign_in_as(&mut desk.alice, json!({"sid": null})).await;
        let code = desk.code().await;
        let of_no_session = refresh_token(&desk.redeem(&code, &[]).await);
        let told = tell(&desk.door, &logout_token(&desk.door, "1", json!({"sid": "session-2"}))).await;
        assert_eq!(told.status, 200, "{}", told.text);
        assert_eq!(desk.refresh(&of_session_1, &[]).await.status, 200, "it is of another session");
        let answer = desk.refresh(&of_no_session, &[]).await;
        desk.assert_refused(&answer, ReasonCode::SubjectSessionEnded, "invalid_grant").await;
    }
}

/// What one backend and one client hear of a token.
struct Standing {
    desk: Desk,
    backend: String,
}

impl Standing {
    async fn new() -> Self {
        let desk = Desk::new(Kind::Sqlite).await;
        let text = format!(
            "{}{}{}",
            provider("corp", &desk.door.idp, LOGIN, CLAIMS),
            REGISTRY.replace("name = \"Health records\"", "name = \"Health records\"\nclients = [\"backend\"]"),
            "[[client]]\nid = \"backend\"\nname = \"B\"\nauthentication = \"client_secret_post\"\ngrants = [\"token_exchange\"]\n\
             [[client]]\nid = \"nosy\"\nname = \"N\"\nauthentication = \"client_secret_post\"\ngrants = [\"token_exchange\"]\n"
        );
        desk.door.server.apply(&text).await;
        let backend = desk.door.server.new_secret("backend").await;
        Self { desk, backend }
    }

    async fn ask(&self, client: &str, secret: &str, token: &str) -> Answer {
        let form = [("token", token), ("client_id", client), ("client_secret", secret)];
        Browser::default().post_from(self.desk.door.router(), "/introspect", &form, &[]).await
    }

    async fn state(&self, token: &str) -> Value {
        self.ask("backend", &self.backend, token).await.json()
    }

    async fn userinfo(&self, token: &str) -> Answer {
        let request = Request::get("/userinfo").header(header::AUTHORIZATION, format!("Bearer {token}"));
        Browser::default().send(self.desk.door.router(), request.body(Body::empty()).unwrap()).await
    }

    /// Whether both say that the token counts; they must not differ.
    async fn counts(&self, token: &str) -> bool {
        let (active, told) = (self.state(token).await["active"] == true, self.userinfo(token).await);
        assert_eq!(told.status == 200, active, "{}", told.text);
        active || {
            assert_eq!(told.status, 401);
            assert!(told.header("www-authenticate").contains("invalid_token"));
            false
        }
    }
}

#[tokio::test]
async fn a66_introspection_tells_a_backend_of_its_own_tokens_only() {
    let mut all = Standing::new().await;
    let nosy = all.desk.door.server.new_secret("nosy").await;
    let code = all.desk.code().await;
    let token = all.desk.redeem(&code, &[]).await.token();
    let active = all.state(&token).await;
    assert_eq!((active["active"].as_bool(), active["sub"].as_str()), (Some(true), Some("corp|alice")));
    assert_eq!((active["act"]["sub"].as_str(), active["scope"].as_str()), (Some("desk"), Some("records.read")));
    assert_eq!(all.ask("nosy", &nosy, &token).await.text, r#"{"active":false}"#);
    assert_eq!(all.ask("backend", &all.backend, "garbage").await.text, r#"{"active":false}"#);
    assert_eq!(all.ask("backend", "wrong", &token).await.status, 401);
}

#[tokio::test]
async fn a_token_counts_while_its_consent_its_client_and_its_user_do() {
    let mut all = Standing::new().await;
    let sent = all.desk.allowed(&[("scope", "records.read openid email")]).await;
    let token = all.desk.redeem(&sent["code"], &[]).await.token();
    assert!(all.counts(&token).await);
    let told = all.userinfo(&token).await.json();
    assert_eq!((told["sub"].as_str(), told["email"].as_str()), (Some("corp|alice"), Some("alice@example.com")));
    let consent = claims(&token)["grant_id"].as_str().unwrap().to_owned();
    let desk = || "desk".parse().unwrap();
    let alice = || "corp|alice".parse().unwrap();
    for (stops, goes_on) in [
        (Change::PauseConsent(consent.clone()), Change::ResumeConsent(consent.clone())),
        (Change::SuspendClient(desk()), Change::ResumeClient(desk())),
        (Change::SuspendUser(alice()), Change::ResumeUser(alice())),
    ] {
        all.desk.door.server.change(std::slice::from_ref(&stops)).await;
        assert!(!all.counts(&token).await, "{stops:?}");
        all.desk.door.server.change(&[goes_on]).await;
        assert!(all.counts(&token).await, "what stopped went on: {stops:?}");
    }
    all.desk.door.server.change(&[Change::RevokeConsent(consent)]).await;
    assert!(!all.counts(&token).await);
    all.desk.door.server.clock.advance(std::time::Duration::from_secs(1));
    all.desk.code().await;
    assert!(!all.counts(&token).await, "a later consent does not bring an earlier token back");
}

#[tokio::test]
async fn a_backend_hears_only_of_the_scopes_that_the_user_still_agrees_to() {
    let mut all = Standing::new().await;
    let page = all.desk.get(&request(&[("scope", "records.read records.write")])).await;
    let form = crate::browser::field(&page, "form");
    let both = [
        ("form", form.as_str()),
        ("decision", "allow"),
        ("scope", "records.read"),
        ("scope", "records.write"),
        ("lasts", "day"),
    ];
    let allowed = all.desk.alice.post(all.desk.door.router(), "/authorize/decision", &both).await;
    let code = crate::browser::query(&crate::browser::leads_to(&allowed))["code"].clone();
    let token = all.desk.redeem(&code, &[("resource", RECORDS)]).await.token();
    assert_eq!(all.state(&token).await["scope"], "records.read records.write");
    let consent = claims(&token)["grant_id"].as_str().unwrap().to_owned();
    let (before, scopes) = ("records.read records.write".parse().unwrap(), "records.read".parse().unwrap());
    all.desk.door.server.change(&[Change::NarrowConsent { id: consent, before, scopes }]).await;
    assert_eq!(all.state(&token).await["scope"], "records.read");
}
