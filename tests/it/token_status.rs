//! What ends a token that was issued: what a backend sees offline in its status list, what it hears at `/introspect`, and
//! what can still be exchanged.

use crate::database::Kind;
use crate::issuer::with;
use crate::node::Node;
use crate::server::{ACCESS_TOKEN, Answer, ISSUER, NOW, TestServer, basic_header, claims};
use crate::world::World;
use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use procura::audit::writer::With;
use procura::clock::Clock;
use procura::domain::change::{Change, RevocationTarget};
use procura::domain::client::{Assurance, ConsentMode};
use procura::domain::consent::Consent;
use procura::domain::decision::ReasonCode;
use procura::domain::event::{AuditEvent, EventKind, EventOutcome};
use procura::domain::resource::Resource;
use procura::domain::token_status::Support;
use procura::store::ProviderLogout;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const RECORDS: (&str, &str) = ("resource", "https://records.example.com/api");
const MODELS: (&str, &str) = ("resource", "https://models.example.com");
const BILLING: (&str, &str) = ("resource", "https://billing.example.com");
const VALID: u8 = 0;
const INVALID: u8 = 1;
const SUSPENDED: u8 = 2;

/// A world whose backends want to see offline what was revoked.
struct Listed<'a> {
    world: &'a World,
}

impl<'a> Listed<'a> {
    async fn new(world: &'a World) -> Self {
        let listed = Self { world };
        for id in ["records", "models", "billing"] {
            listed.with_list(id).await;
        }
        listed
    }

    async fn with_list(&self, id: &str) {
        self.put(id, true).await;
    }

    /// The target that it is.
    async fn without_list(&self, id: &str) -> (&'static str, &'static str) {
        self.put(id, false).await;
        [RECORDS, MODELS, BILLING].into_iter().find(|(_, audience)| audience.contains(id)).unwrap()
    }

    async fn put(&self, id: &str, status_list: bool) {
        let snapshot = self.server().app.snapshot();
        let mut resource = snapshot.registry.resource_by_name(id).unwrap().as_ref().clone();
        if id == "billing" {
            resource.clients = vec!["worker".parse().unwrap()].into_iter().collect();
        }
        self.server().change(&[Change::PutResource(Resource { status_list, ..resource })]).await;
    }

    /// Makes a list that is kept for two seconds more.
    async fn list_of_now(&self, token: &str) {
        let late = self.server().clock.now().rem_euclid(3);
        self.server().clock.advance(Duration::from_secs((3 - late).unsigned_abs()));
        assert_eq!(self.status(token).await, VALID);
    }

    /// What the provider says of one session of Alice's, or of all of them.
    fn logout(&self, session: Option<&str>) -> ProviderLogout {
        ProviderLogout {
            idp: "corp".parse().unwrap(),
            idp_sub: Some("alice".to_owned()),
            user: Some("corp|alice".to_owned()),
            idp_session: session.map(str::to_owned),
            jti: procura::secrets::random_id("out"),
            expires_at: self.server().clock.now() + 600,
        }
    }

    fn sign_out(&self) -> AuditEvent {
        let (at_ms, id) = (self.server().clock.now_ms(), procura::secrets::random_id("adm"));
        AuditEvent::new(at_ms, id, EventKind::SignOut, EventOutcome::Done, "backchannel_logout")
    }

    async fn provider_ends(&self, session: Option<&str>) {
        let (app, now) = (&self.server().app, self.server().clock.now());
        assert!(app.store.end_by_provider(&self.logout(session), self.sign_out(), now).await.unwrap());
        app.refresh().await.unwrap();
    }

    fn server(&self) -> &TestServer {
        &self.world.server
    }

    /// Past the second in which something ended, and past the lists of that moment.
    fn wait(&self) {
        self.server().clock.advance(Duration::from_secs(4));
    }

    /// What a backend finds at the place that the token names.
    async fn status(&self, token: &str) -> u8 {
        let entry = claims(token)["status"]["status_list"].clone();
        let list = self.list(entry["uri"].as_str().unwrap()).await;
        status_at(&list, usize::try_from(entry["idx"].as_u64().unwrap()).unwrap())
    }

    /// The claims of a list.
    async fn list(&self, uri: &str) -> Value {
        let answer = self.server().get(uri.strip_prefix(ISSUER).unwrap()).await;
        assert_eq!(answer.status, 200, "{uri}");
        claims(&answer.text)
    }

    async fn post(&self, path: &str, client: &str, token: &str) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::AUTHORIZATION, basic_header(client, self.world.secret(client)));
        self.server().send(request.body(Body::from(body)).unwrap()).await
    }

    async fn introspect(&self, client: &str, token: &str) -> Value {
        self.post("/introspect", client, token).await.json()
    }

    async fn revoke(&self, client: &str, token: &str) {
        let answer = self.post("/revoke", client, token).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
    }

    async fn hop(&self, client: &str, token: &str, target: (&str, &str)) -> Answer {
        self.world.exchange_typed(client, token, ACCESS_TOKEN, &[target]).await
    }

    async fn consent_of(&self, token: &str) -> Consent {
        let id = claims(token)["grant_id"].as_str().unwrap().to_owned();
        self.server().app.store.find_consent(&id).await.unwrap().unwrap()
    }
}

/// The two bits of a place: the lowest bits of a byte are its first entry.
fn status_at(list: &Value, place: usize) -> u8 {
    assert_eq!(list["status_list"]["bits"], 2);
    let zlib = URL_SAFE_NO_PAD.decode(list["status_list"]["lst"].as_str().unwrap()).unwrap();
    let bytes = miniz_oxide::inflate::decompress_to_vec_zlib(&zlib).unwrap();
    (bytes[place / 4] >> (place % 4 * 2)) & 0b11
}

fn all_of(target: RevocationTarget) -> Change {
    Change::RevokeAll { target, consents: false }
}

/// Ends one session by an administrator, another by its provider, and then all of the user's.
async fn ended_sessions(listed: &Listed<'_>) {
    let world = listed.world;
    let exchanged = async |sid: Value| world.exchange(json!({"sid": sid}), &[RECORDS]).await.token();
    let (one, two) = (exchanged(json!("s-1")).await, exchanged(json!("s-2")).await);
    let (three, unnamed) = (exchanged(json!("s-3")).await, exchanged(Value::Null).await);
    let later = listed.hop("records-backend", &one, MODELS).await.token();
    let bob = [MODELS, ("scope", "model.general")];
    let bob = world.exchange_as("assistant", &world.bobs_id_token(), &bob).await.token();
    let inactive = json!({"active": false});
    // The first exchange of each is after its end.
    listed.wait();
    let session = RevocationTarget::Session { idp: "corp".parse().unwrap(), session: "s-1".to_owned() };
    world.server.change(&[all_of(session)]).await;
    for (client, token, next) in [("records-backend", &one, MODELS), ("models-backend", &later, BILLING)] {
        assert_eq!(listed.introspect(client, token).await, inactive);
        world.assert_refused(&listed.hop(client, token, next).await, ReasonCode::SubjectSessionEnded).await;
    }
    for token in [&two, &three, &unnamed] {
        assert_eq!(listed.introspect("records-backend", token).await["active"], true);
    }
    listed.wait();
    listed.provider_ends(Some("s-2")).await;
    for token in [&two, &unnamed] {
        assert_eq!(listed.introspect("records-backend", token).await, inactive, "one that was not named may be it");
        let onward = listed.hop("records-backend", token, MODELS).await;
        world.assert_refused(&onward, ReasonCode::SubjectSessionEnded).await;
    }
    for sid in [json!("s-2"), Value::Null] {
        let again = world.exchange(json!({"sid": sid}), &[RECORDS]).await;
        world.assert_refused(&again, ReasonCode::SubjectSessionEnded).await;
    }
    let now = listed.server().clock.now();
    let later = world.exchange(json!({"sid": null, "iat": now + 1}), &[RECORDS]).await;
    assert_eq!(later.status, 200, "who signed in since then: {}", later.text);
    listed.wait();
    let later = listed.hop("records-backend", &three, MODELS).await.token();
    listed.wait();
    listed.provider_ends(None).await;
    for (client, token) in [("records-backend", &three), ("models-backend", &later)] {
        assert_eq!(listed.introspect(client, token).await, inactive, "all of the user's");
    }
    assert_eq!(listed.introspect("models-backend", &bob).await["active"], true, "another user");
}

world_test! {
    async fn a_list_is_a_signed_token_that_says_how_long_one_may_go_by_it(world: World) {
        let listed = Listed::new(&world).await;
        let token = world.records_token().await;
        let uri = claims(&token)["status"]["status_list"]["uri"].as_str().unwrap().to_owned();
        assert_eq!(uri, format!("{ISSUER}/status/0"));
        let answer = listed.server().get("/status/0").await;
        assert_eq!(answer.header("content-type"), "application/statuslist+jwt");
        assert_eq!(answer.header("cache-control"), "public, max-age=15");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        let list = claims(&answer.text);
        assert_eq!((list["iss"].as_str(), list["sub"].as_str()), (Some(ISSUER), Some(uri.as_str())));
        assert_eq!((list["iat"].as_i64(), list["exp"].as_i64(), list["ttl"].as_i64()), (Some(NOW), Some(NOW + 3600), Some(15)));
        // The same key set verifies it, under a type of its own.
        let mut parts = answer.text.rsplitn(2, '.');
        let (signature, signed) = (parts.next().unwrap(), parts.next().unwrap());
        let head = URL_SAFE_NO_PAD.decode(signed.split('.').next().unwrap()).unwrap();
        let head: Value = serde_json::from_slice(&head).unwrap();
        assert_eq!((head["typ"].as_str(), head["alg"].as_str()), (Some("statuslist+jwt"), Some("ES256")));
        let keys = listed.server().app.signing_keys();
        let key = keys.signer(procura::domain::resource::SigningAlgorithm::ES256, NOW).unwrap();
        assert_eq!(head["kid"], key.kid());
        assert!(key.verifies(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()));

        let again = Request::get("/status/0").header(header::IF_NONE_MATCH, answer.header("etag"));
        let again = listed.server().send(again.body(Body::empty()).unwrap()).await;
        assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
        listed.server().clock.advance(Duration::from_secs(2));
        let older = listed.server().get("/status/0").await;
        assert_eq!((older.text.as_str(), older.header("cache-control")), (answer.text.as_str(), "public, max-age=13"));
        listed.server().clock.advance(Duration::from_secs(2));
        let newer = listed.server().get("/status/0").await;
        assert_ne!(newer.header("etag"), answer.header("etag"));
        assert_eq!(claims(&newer.text)["iat"], NOW + 4);
        let head = listed.server().send(Request::head("/status/0").body(Body::empty()).unwrap()).await;
        assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    }

    async fn a_client_that_is_declared_again_does_not_get_back_what_it_held(world: World) {
        let listed = Listed::new(&world).await;
        let (id, snapshot) = ("worker".parse().unwrap(), world.server.app.snapshot());
        let declared = snapshot.registry.client(&id).unwrap().client.clone();
        let secret = snapshot.secrets_of(&id)[0].clone();
        let own = world.own_token("worker", &[RECORDS]).await;
        listed.wait();
        assert_eq!(listed.introspect("records-backend", &own).await["active"], true);
        world.server.change(&[Change::RemoveClient(id)]).await;
        assert_eq!(listed.introspect("records-backend", &own).await, json!({"active": false}));
        listed.wait();
        assert_eq!(listed.status(&own).await, INVALID);
        let again = [Change::PutClient(declared, Assurance::Vetted), Change::AddSecret(secret)];
        world.server.change(&again).await;
        let new = world.own_token("worker", &[RECORDS]).await;
        for _ in 0..2 {
            assert_eq!(listed.introspect("records-backend", &own).await, json!({"active": false}));
            assert_eq!(listed.introspect("records-backend", &new).await["active"], true);
            listed.wait();
            assert_eq!((listed.status(&own).await, listed.status(&new).await), (INVALID, VALID));
        }
        // To declare it once more as it is ends nothing.
        world.server.change(&again[..1]).await;
        assert_eq!(listed.introspect("records-backend", &new).await["active"], true);
    }

    async fn there_is_no_list_where_no_token_has_an_entry(world: World) {
        let listed = Listed::new(&world).await;
        for path in ["/status/0", "/status/1", "/status/00", "/status/-1", "/status/x", "/status/9223372036854775807"] {
            assert_eq!(listed.server().get(path).await.status, 404, "{path}");
        }
        listed.server().clock.advance(Duration::from_secs(4));
        world.records_token().await;
        assert_eq!(listed.server().get("/status/0").await.status, 200);
        assert_eq!(listed.server().get("/status/00").await.status, 404);
        assert_eq!(listed.server().get("/status/1").await.status, 404);
        let posted = listed.server().send(Request::post("/status/0").body(Body::empty()).unwrap()).await;
        assert_eq!((posted.status.as_u16(), posted.header("allow")), (405, "GET, HEAD, OPTIONS"));
        // Two hours after the last token of it there is nothing more to tell, nor to keep.
        listed.server().clock.advance(Duration::from_hours(2));
        let gone = listed.server().app.store.purge(listed.server().clock.now()).await.unwrap();
        let count = |table: &str| gone.iter().find(|(name, _)| *name == table).unwrap().1;
        assert_eq!(count("status_entry"), 1);
        assert!(count("status_support") >= 5);
        assert_eq!(listed.server().get("/status/0").await.status, 404);
    }

    async fn tokens_that_rest_on_the_same_things_have_one_entry(world: World) {
        let listed = Listed::new(&world).await;
        let entry = |token: &str| claims(token)["status"]["status_list"]["idx"].as_u64().unwrap();
        let first = entry(&world.records_token().await);
        assert_eq!(entry(&world.records_token().await), first);
        let other_place = world.exchange(json!({}), &[MODELS, ("scope", "model.general")]).await.token();
        assert_ne!(entry(&other_place), first);
        let other_session = world.exchange(json!({"sid": "s-2"}), &[RECORDS]).await.token();
        assert_ne!(entry(&other_session), first);
        listed.server().clock.advance(Duration::from_hours(1));
        let next_hour = world.exchange(json!({"iat": NOW + 3590, "exp": NOW + 7000}), &[RECORDS]).await.token();
        assert_ne!(entry(&next_hour), first, "an entry does not gather tokens for ever");
    }

    async fn a_backend_that_wants_none_has_no_status_in_its_tokens(world: World) {
        assert_eq!(claims(&world.records_token().await)["status"], Value::Null);
        assert_eq!(world.server.get("/status/0").await.status, 404);
    }

    async fn what_ends_a_token_shows_in_its_list_and_at_introspection_and_nothing_else_does(world: World) {
        let listed = Listed::new(&world).await;
        let bob = world.exchange_as("assistant", &world.bobs_id_token(), &[MODELS, ("scope", "model.general")]).await.token();
        let id = |text: &str| text.parse().unwrap();
        let alice = || "corp|alice".parse().unwrap();
        for (back, status) in [
            (vec![Change::SuspendUser(alice()), Change::ResumeUser(alice())], SUSPENDED),
            (vec![Change::SuspendClient(id("assistant")), Change::ResumeClient(id("assistant"))], SUSPENDED),
        ] {
            let token = world.records_token().await;
            world.server.change(&back[..1]).await;
            listed.wait();
            assert_eq!(listed.status(&token).await, status, "{:?}", back[0]);
            assert_eq!(listed.introspect("records-backend", &token).await, json!({"active": false}));
            world.server.change(&back[1..]).await;
            listed.wait();
            assert_eq!(listed.status(&token).await, VALID, "{:?}", back[1]);
            assert_eq!(listed.introspect("records-backend", &token).await["active"], true);
        }
        let token = world.records_token().await;
        let consent = listed.consent_of(&token).await.id;
        world.server.change(&[Change::PauseConsent(consent.clone())]).await;
        listed.wait();
        assert_eq!(listed.status(&token).await, SUSPENDED);
        world.server.change(&[Change::ResumeConsent(consent)]).await;
        listed.wait();
        assert_eq!(listed.status(&token).await, VALID);

        for end in [
            all_of(RevocationTarget::User(alice())),
            all_of(RevocationTarget::Client(id("assistant"))),
            all_of(RevocationTarget::Resource("records".parse().unwrap())),
        ] {
            let token = world.records_token().await;
            assert_eq!(listed.status(&token).await, VALID, "before {end:?}");
            world.server.change(std::slice::from_ref(&end)).await;
            assert_eq!(listed.introspect("records-backend", &token).await, json!({"active": false}), "at once: {end:?}");
            world.assert_refused(&listed.hop("records-backend", &token, MODELS).await, ReasonCode::SubjectSessionEnded).await;
            listed.wait();
            assert_eq!(listed.status(&token).await, INVALID, "{end:?}");
            let next = world.records_token().await;
            assert_eq!(listed.status(&next).await, VALID, "what was asked for after {end:?}");
            assert_eq!(listed.introspect("records-backend", &next).await["active"], true);
        }
        let token = world.records_token().await;
        let consent = listed.consent_of(&token).await.id;
        world.server.change(&[Change::RevokeConsent(consent)]).await;
        listed.wait();
        assert_eq!(listed.status(&token).await, INVALID);
        assert_eq!(listed.introspect("records-backend", &token).await, json!({"active": false}));
        let ended_with_its_client = claims(&bob)["status"]["status_list"]["idx"].clone();
        assert!(ended_with_its_client.is_u64());
        // Bob's token ended with all of the assistant's, and with nothing of Alice's.
        let bob = world.exchange_as("assistant", &world.bobs_id_token(), &[MODELS, ("scope", "model.general")]).await.token();
        world.server.change(&[all_of(RevocationTarget::User(alice()))]).await;
        listed.wait();
        assert_eq!(listed.status(&bob).await, VALID);
        world.server.change(&[Change::RemoveClient(id("assistant"))]).await;
        listed.wait();
        assert_eq!(listed.status(&bob).await, INVALID);
    }

    async fn a_wider_agreement_ends_nothing_and_a_narrower_one_ends_what_is_wider(world: World) {
        let listed = Listed::new(&world).await;
        let narrow = world.exchange(json!({"sub": "carol"}), &[RECORDS]).await;
        world.assert_refused(&narrow, ReasonCode::ConsentMissing).await;
        world.server.consent("corp|carol", "assistant", "records", "records.read").await;
        let carol = |world: &'_ World| world.id_token(json!({"sub": "carol"}));
        let token = world.exchange_as("assistant", &carol(&world), &[RECORDS]).await.token();
        listed.wait();
        world.server.consent("corp|carol", "assistant", "records", "records.read records.write").await;
        listed.wait();
        assert_eq!(listed.status(&token).await, VALID, "who agrees to more takes nothing back");
        let wide = world.exchange_as("assistant", &carol(&world), &[RECORDS]).await.token();
        let consent = listed.consent_of(&wide).await;
        let narrowed = Change::NarrowConsent {
            id: consent.id,
            before: consent.scopes,
            scopes: "records.read".parse().unwrap(),
        };
        world.server.change(&[narrowed]).await;
        listed.wait();
        assert_eq!(listed.status(&wide).await, INVALID, "a list cannot say that it is good for less");
        let next = world.exchange_as("assistant", &carol(&world), &[RECORDS]).await.token();
        assert_eq!((listed.status(&next).await, claims(&next)["scope"].as_str()), (VALID, Some("records.read")));
        world.server.consent("corp|carol", "assistant", "records", "records.write").await;
        listed.wait();
        assert_eq!(listed.status(&next).await, INVALID, "another agreement without what it is good for");
    }

    async fn a_token_that_was_given_back_takes_with_it_what_came_of_it(world: World) {
        let listed = Listed::new(&world).await;
        let first = world.records_token().await;
        let second = listed.hop("records-backend", &first, MODELS).await.token();
        let third = listed.hop("models-backend", &second, BILLING).await.token();
        // Of the same user and client, but another exchange.
        let apart = world.exchange(json!({"sid": "s-2"}), &[RECORDS]).await.token();
        listed.revoke("assistant", &second).await;
        assert_eq!(listed.introspect("models-backend", &second).await["active"], true, "it is not the assistant's");
        listed.revoke("records-backend", &second).await;
        listed.wait();
        assert_eq!([listed.status(&first).await, listed.status(&second).await, listed.status(&third).await], [VALID, INVALID, INVALID]);
        assert_eq!(listed.introspect("records-backend", &first).await["active"], true, "what it came of goes on");
        assert_eq!(listed.introspect("models-backend", &second).await, json!({"active": false}));
        world.assert_refused(&listed.hop("models-backend", &second, BILLING).await, ReasonCode::SubjectSessionEnded).await;
        world.assert_refused(&listed.hop("records-backend", &second, BILLING).await, ReasonCode::SubjectSessionEnded).await;
        let anew = listed.hop("records-backend", &first, MODELS).await;
        assert_eq!(anew.status, 200, "{}", anew.text);

        listed.wait();
        listed.revoke("assistant", &first).await;
        listed.revoke("assistant", &first).await;
        listed.wait();
        let anew = anew.token();
        assert_eq!([listed.status(&first).await, listed.status(&anew).await], [INVALID, INVALID]);
        for token in [&first, &anew] {
            let (client, next) = if token == &first { ("records-backend", MODELS) } else { ("models-backend", BILLING) };
            assert_eq!(listed.introspect(client, token).await, json!({"active": false}));
            let reason = if token == &first { ReasonCode::SubjectSessionEnded } else { ReasonCode::SubjectRevoked };
            world.assert_refused(&listed.hop(client, token, next).await, reason).await;
        }
        assert_eq!(listed.status(&apart).await, VALID, "another session of the same user");
        assert_eq!(listed.introspect("records-backend", &apart).await["active"], true);
        let event = world.server.app.store.list_events(&procura::store::EventFilter {
            reason: Some("token_returned".to_owned()), limit: 10, ..Default::default()
        }).await.unwrap();
        assert_eq!(event.len(), 2, "what has ended is not ended again");
        assert_eq!(event[0].subject_jti.as_deref(), claims(&first)["jti"].as_str());
        assert_eq!((event[0].client.as_ref().unwrap().as_str(), event[0].subject_sub()), ("assistant", Some("corp|alice")));
    }

    async fn a_token_given_back_ends_where_backends_want_no_list_too(world: World) {
        let listed = Listed { world: &world };
        let first = world.records_token().await;
        let second = listed.hop("records-backend", &first, MODELS).await.token();
        let own = world.own_token("assistant", &[RECORDS]).await;
        listed.revoke("assistant", &first).await;
        assert_eq!(listed.introspect("records-backend", &first).await, json!({"active": false}));
        assert_eq!(listed.introspect("models-backend", &second).await, json!({"active": false}));
        world.assert_refused(&listed.hop("records-backend", &first, MODELS).await, ReasonCode::SubjectSessionEnded).await;
        assert_eq!(listed.introspect("records-backend", &own).await["active"], true);
        listed.revoke("assistant", &own).await;
        assert_eq!(listed.introspect("records-backend", &own).await, json!({"active": false}));
    }

    async fn a_token_of_an_ended_session_counts_nowhere_and_is_not_exchanged(world: World) {
        ended_sessions(&Listed { world: &world }).await;
    }

    async fn a_token_of_an_ended_session_is_not_exchanged_where_backends_read_lists(world: World) {
        ended_sessions(&Listed::new(&world).await).await;
    }

    async fn what_a_server_exchanged_that_had_not_heard_of_the_end_has_ended_too(world: World) {
        let listed = Listed::new(&world).await;
        let plain = listed.without_list("billing").await;
        let first = world.exchange(json!({"sid": "s-1"}), &[RECORDS]).await.token();
        let bill = listed.hop("records-backend", &first, plain).await.token();
        listed.list_of_now(&first).await;
        let event = || listed.sign_out();
        let store = &world.server.app.store;
        assert!(store.end_by_provider(&listed.logout(Some("s-1")), event(), world.server.clock.now()).await.unwrap());
        // It has not looked yet.
        listed.server().clock.advance(Duration::from_secs(1));
        let again = world.exchange(json!({"sid": "s-1"}), &[RECORDS]).await.token();
        world.server.app.refresh().await.unwrap();
        for (client, token) in [("worker", &bill), ("records-backend", &again)] {
            assert_eq!(listed.introspect(client, token).await, json!({"active": false}), "{client}");
        }
        listed.wait();
        assert_eq!(listed.status(&again).await, INVALID);
        // All of the user's: what was exchanged a second later by a token from before.
        let other = world.exchange(json!({"sid": "s-2"}), &[RECORDS]).await.token();
        assert!(store.end_by_provider(&listed.logout(None), event(), world.server.clock.now()).await.unwrap());
        listed.server().clock.advance(Duration::from_secs(1));
        // For another backend, so that it gets an entry of its own.
        let late = world.exchange(json!({"sid": "s-2"}), &[MODELS, ("scope", "model.general")]).await.token();
        world.server.app.refresh().await.unwrap();
        listed.wait();
        assert_eq!([listed.status(&other).await, listed.status(&late).await], [INVALID, INVALID]);
    }

    async fn our_token_that_has_ended_is_not_exchanged_by_a_server_that_has_not_looked_yet(world: World) {
        let listed = Listed::new(&world).await;
        let plain = listed.without_list("billing").await;
        let first = world.records_token().await;
        let bill = listed.hop("records-backend", &first, plain).await.token();
        listed.list_of_now(&first).await;
        let store = &world.server.app.store;
        let alice = [Support::User("corp|alice".parse().unwrap())];
        store.revoke_tokens(&alice, listed.sign_out(), world.server.clock.now()).await.unwrap();
        listed.server().clock.advance(Duration::from_secs(1));
        for (client, token, next) in [("records-backend", &first, MODELS), ("records-backend", &bill, MODELS)] {
            world.assert_refused(&listed.hop(client, token, next).await, ReasonCode::SubjectSessionEnded).await;
        }
    }

    async fn a_later_hop_rests_on_what_it_came_of_since_that_was_there_and_on_its_own_since_then(world: World) {
        let listed = Listed::new(&world).await;
        let first = world.records_token().await;
        let parent = i64::try_from(claims(&first)["status"]["status_list"]["idx"].as_u64().unwrap()).unwrap();
        let (app, store) = (&world.server.app, &world.server.app.store);
        let support = |id: &str| Support::User(id.parse().unwrap());
        let end = async |support: Support| {
            store.revoke_tokens(&[support], listed.sign_out(), world.server.clock.now()).await.unwrap();
        };
        listed.wait();
        // Both end while the entry of a later hop is on its way: what it inherits, and what is its own.
        end(support("corp|alice")).await;
        end(support("its-own")).await;
        listed.server().clock.advance(Duration::from_secs(1));
        let now = world.server.clock.now();
        let mut entries = Vec::new();
        for supports in [vec![support("corp|alice")], vec![support("its-own")]] {
            let parent = Some(parent).filter(|_| supports != [support("its-own")]);
            let given = app.status_entries.give(store, supports, parent, now).await.unwrap();
            let with = With { user: None, entry: given.new.clone() };
            app.audit.record_with(listed.sign_out(), with).await.unwrap();
            entries.push(given.index);
        }
        app.refresh().await.unwrap();
        listed.wait();
        let list = listed.list(&format!("{ISSUER}/status/0")).await;
        let statuses: Vec<u8> = entries.iter().map(|index| status_at(&list, usize::try_from(*index).unwrap())).collect();
        assert_eq!(statuses, [INVALID, VALID]);
    }

    async fn a_token_that_a_suspended_client_had_a_part_in_counts_at_no_backend(world: World) {
        let listed = Listed { world: &world };
        let first = world.records_token().await;
        let second = listed.hop("records-backend", &first, MODELS).await.token();
        assert_eq!(listed.introspect("models-backend", &second).await["active"], true);
        let assistant = || "assistant".parse().unwrap();
        world.server.change(&[Change::SuspendClient(assistant())]).await;
        assert_eq!(listed.introspect("models-backend", &second).await, json!({"active": false}));
        world.server.change(&[Change::ResumeClient(assistant())]).await;
        assert_eq!(listed.introspect("models-backend", &second).await["active"], true);
        world.server.change(&[Change::RemoveClient(assistant())]).await;
        assert_eq!(listed.introspect("models-backend", &second).await, json!({"active": false}));
    }

    async fn what_came_of_a_backends_tokens_ends_with_them_whatever_backends_want(world: World) {
        let plain = Listed { world: &world };
        plain.without_list("billing").await;
        let chain = async |listed: &Listed<'_>| {
            let first = world.records_token().await;
            let second = listed.hop("records-backend", &first, MODELS).await.token();
            let third = listed.hop("models-backend", &second, BILLING).await.token();
            (first, second, third)
        };
        let all_of_models = all_of(RevocationTarget::Resource("models".parse().unwrap()));
        let (first, second, third) = chain(&plain).await;
        plain.wait();
        world.server.change(std::slice::from_ref(&all_of_models)).await;
        let states = async |(first, second, third): (&str, &str, &str)| {
            let mut active = Vec::new();
            for (client, token) in [("records-backend", first), ("models-backend", second), ("worker", third)] {
                active.push(plain.introspect(client, token).await["active"] == true);
            }
            active
        };
        assert_eq!(states((&first, &second, &third)).await, [true, false, false]);
        plain.wait();
        // Only the last one wants a list: it sees there that a backend on the way was meant.
        plain.with_list("billing").await;
        let (first, second, third) = chain(&plain).await;
        plain.wait();
        world.server.change(&[all_of_models]).await;
        plain.wait();
        assert_eq!(plain.status(&third).await, INVALID);
        assert_eq!(states((&first, &second, &third)).await, [true, false, false]);
    }

    async fn a_token_that_is_given_back_ends_in_its_list_whatever_was_given_back_before(world: World) {
        let listed = Listed::new(&world).await;
        let plain = listed.without_list("billing").await;
        let first = world.records_token().await;
        let model = listed.hop("records-backend", &first, MODELS).await.token();
        let bill = listed.hop("records-backend", &first, plain).await.token();
        listed.wait();
        // Of the same transaction and actors: where a list tells, only what is meant ends.
        listed.revoke("records-backend", &bill).await;
        assert_eq!(listed.introspect("worker", &bill).await, json!({"active": false}));
        assert_eq!(listed.introspect("models-backend", &model).await["active"], true);
        let who = |token: &str| said(&command(&world, &["who", claims(token)["jti"].as_str().unwrap()]));
        assert!(who(&bill).contains("Ended early   it, or a token that it came of, was revoked"), "{}", who(&bill));
        assert!(!who(&model).contains("Ended early"), "{}", who(&model));
        listed.wait();
        assert_eq!(listed.status(&model).await, VALID);
        listed.revoke("records-backend", &model).await;
        assert!(who(&model).contains("Ended early   what it rests on was revoked"), "{}", who(&model));
        assert_eq!(listed.introspect("models-backend", &model).await, json!({"active": false}));
        listed.wait();
        assert_eq!([listed.status(&model).await, listed.status(&first).await], [INVALID, VALID]);
    }

    async fn what_is_asked_for_after_a_kill_counts_at_later_hops_too(world: World) {
        let listed = Listed::new(&world).await;
        let first = world.records_token().await;
        let old = listed.hop("records-backend", &first, MODELS).await.token();
        listed.wait();
        for end in [RevocationTarget::Resource("models".parse().unwrap()), RevocationTarget::Client("records-backend".parse().unwrap())] {
            world.server.change(&[all_of(end.clone())]).await;
            listed.wait();
            assert_eq!([listed.status(&first).await, listed.status(&old).await], [VALID, INVALID], "{end}");
            for _ in 0..2 {
                let new = listed.hop("records-backend", &first, MODELS).await.token();
                listed.wait();
                assert_eq!(listed.status(&new).await, VALID, "{end}");
                assert_eq!(listed.introspect("models-backend", &new).await["active"], true, "{end}");
            }
        }
    }

    async fn with_a_provider_ends_what_its_users_tokens_are_good_for(world: World) {
        let listed = Listed::new(&world).await;
        listed.without_list("billing").await;
        let first = world.exchange(json!({"sid": "s-1"}), &[RECORDS]).await.token();
        let unnamed = world.exchange(json!({"sid": null}), &[RECORDS]).await.token();
        let second = listed.hop("records-backend", &first, BILLING).await.token();
        let own = world.own_token("worker", &[RECORDS]).await;
        let all = [("records-backend", &first), ("records-backend", &unnamed), ("worker", &second)];
        listed.wait();
        let corp = world.server.app.snapshot().registry.idp(&"corp".parse().unwrap()).unwrap().as_ref().clone();
        world.server.change(&[Change::RemoveIdentityProvider(corp.id.clone())]).await;
        for _ in 0..2 {
            for (client, token) in all {
                assert_eq!(listed.introspect(client, token).await, json!({"active": false}), "{client}");
            }
            assert_eq!(listed.hop("records-backend", &first, MODELS).await.status, 400);
            assert_eq!(listed.introspect("records-backend", &own).await["active"], true);
            listed.wait();
            assert_eq!([listed.status(&first).await, listed.status(&unnamed).await], [INVALID, INVALID]);
            // Who declares it again brings nothing back.
            world.server.change(&[Change::PutIdentityProvider(corp.clone())]).await;
        }
        let new = world.exchange(json!({"sid": "s-1"}), &[RECORDS]).await.token();
        assert_eq!(listed.introspect("records-backend", &new).await["active"], true);
    }

    async fn who_gives_back_what_has_ended_writes_nothing(world: World) {
        let listed = Listed::new(&world).await;
        let token = world.records_token().await;
        listed.revoke("assistant", &token).await;
        let written = async || {
            let store = &world.server.app.store;
            let filter = procura::store::EventFilter { limit: 100, ..Default::default() };
            let events = store.list_events(&filter).await.unwrap().len();
            let rows = store.revocations_since(-1, NOW).await.unwrap().len();
            (store.versions().await.unwrap(), events, rows)
        };
        let before = written().await;
        for _ in 0..3 {
            listed.revoke("assistant", &token).await;
            listed.server().clock.advance(Duration::from_secs(1));
        }
        assert_eq!(written().await, before);
        // What ends again later is one row, with the later end.
        let alice = || all_of(RevocationTarget::User("corp|alice".parse().unwrap()));
        world.server.change(&[alice()]).await;
        let rows = written().await.2;
        listed.server().clock.advance(Duration::from_secs(5));
        let token = world.records_token().await;
        world.server.change(&[alice()]).await;
        assert_eq!(written().await.2, rows);
        assert_eq!(listed.introspect("records-backend", &token).await, json!({"active": false}));
    }

    async fn a_token_that_has_ended_in_its_list_alone_is_not_exchanged(world: World) {
        let listed = Listed::new(&world).await;
        let (one, other) = (world.records_token().await, world.records_token().await);
        let onward = listed.hop("records-backend", &other, MODELS).await.token();
        listed.revoke("assistant", &one).await;
        listed.wait();
        assert_eq!([listed.status(&other).await, listed.status(&onward).await], [INVALID, INVALID], "they share an entry");
        world.assert_refused(&listed.hop("records-backend", &other, MODELS).await, ReasonCode::SubjectSessionEnded).await;
        world.assert_refused(&listed.hop("models-backend", &onward, BILLING).await, ReasonCode::SubjectRevoked).await;
        assert_eq!(listed.introspect("models-backend", &onward).await, json!({"active": false}));
        let next = world.records_token().await;
        assert_eq!(listed.hop("records-backend", &next, MODELS).await.status, 200);
    }

    async fn the_first_token_of_a_list_counts_though_somebody_asked_for_the_list_before(world: World) {
        let listed = Listed::new(&world).await;
        assert_eq!(listed.server().get("/status/0").await.status, 404);
        let token = world.records_token().await;
        assert_eq!(listed.introspect("records-backend", &token).await["active"], true);
        assert_eq!(listed.status(&token).await, VALID);
    }

    async fn a_later_hop_ends_with_what_the_earlier_one_rests_on(world: World) {
        let listed = Listed::new(&world).await;
        let first = world.records_token().await;
        let second = listed.hop("records-backend", &first, MODELS).await.token();
        assert_eq!(listed.status(&second).await, VALID);
        let consent = listed.consent_of(&first).await.id;
        world.server.change(&[Change::RevokeConsent(consent)]).await;
        listed.wait();
        assert_eq!([listed.status(&first).await, listed.status(&second).await], [INVALID, INVALID]);
        world.server.change(&[Change::SuspendClient("assistant".parse().unwrap())]).await;
        let apart = world.own_token("records-backend", &[MODELS]).await;
        listed.wait();
        assert_eq!(listed.status(&apart).await, VALID, "no token of the assistant's is behind it");
    }

    async fn what_an_administrator_agreed_to_for_all_ends_when_each_must_be_asked(world: World) {
        let listed = Listed::new(&world).await;
        let first = world.records_token().await;
        let second = listed.hop("records-backend", &first, MODELS).await.token();
        let snapshot = world.server.app.snapshot();
        let mut client = snapshot.registry.client_by_name("records-backend").unwrap().client.clone();
        client.consent = ConsentMode::User;
        world.server.change(&[Change::PutClient(client, Assurance::Vetted)]).await;
        listed.wait();
        assert_eq!([listed.status(&first).await, listed.status(&second).await], [VALID, INVALID]);
    }

    async fn the_provider_ends_what_was_exchanged_in_a_session_of_its_own(world: World) {
        let listed = Listed::new(&world).await;
        let exchanged = async |sid: Value| {
            world.exchange(json!({"sid": sid}), &[RECORDS]).await.token()
        };
        let (one, two, unnamed) = (exchanged(json!("s-1")).await, exchanged(json!("s-2")).await, exchanged(Value::Null).await);
        let bob = world.exchange_as("assistant", &world.bobs_id_token(), &[MODELS, ("scope", "model.general")]).await.token();
        listed.provider_ends(Some("s-1")).await;
        listed.wait();
        let statuses = [listed.status(&one).await, listed.status(&two).await, listed.status(&unnamed).await];
        assert_eq!(statuses, [INVALID, VALID, INVALID], "a session that was not named may be the one");
        assert_eq!(listed.introspect("records-backend", &one).await, json!({"active": false}));
        listed.provider_ends(None).await;
        listed.wait();
        assert_eq!([listed.status(&two).await, listed.status(&bob).await], [INVALID, VALID]);
    }

    async fn introspection_has_the_claims_that_the_token_has(world: World) {
        let listed = Listed::new(&world).await;
        let first = world.exchange(json!({}), &[RECORDS]).await.token();
        for (token, client) in [
            (listed.hop("records-backend", &first, MODELS).await.token(), "models-backend"),
            (first, "records-backend"),
        ] {
            let told = listed.introspect(client, &token).await;
            let mut expected = claims(&token);
            expected["active"] = json!(true);
            expected["token_type"] = json!("Bearer");
            assert_eq!(told, expected);
            assert!(told["act"]["sub"].is_string() && told["grant_id"].is_string() && told["txn"].is_string());
        }
    }

    async fn a_server_that_starts_later_knows_what_was_revoked(world: World) {
        let listed = Listed::new(&world).await;
        let token = world.records_token().await;
        world.server.change(&[all_of(RevocationTarget::User("corp|alice".parse().unwrap()))]).await;
        let old = &world.server.app;
        let later = procura::app::App::start(
            old.config.clone(), world.server.clock.clone(), world.server.database.store.clone(), old.secrets_key.clone(),
        ).await.unwrap();
        let alice = Support::User("corp|alice".parse().unwrap());
        assert!(later.status_entries.ended(&[alice], NOW).is_some());
        let snapshot = later.snapshot();
        let list = later.status_lists.list(later.remembered(&snapshot), 0, NOW).await.unwrap().unwrap();
        let list = list.signed(ISSUER, &later.signing_keys()).await.unwrap();
        let place = claims(&token)["status"]["status_list"]["idx"].as_u64().unwrap();
        assert_eq!(status_at(&claims(&list.token), usize::try_from(place).unwrap()), INVALID);
        let _ = listed;
    }
}

/// The real clock of a real server cannot be moved.
pub(crate) async fn after(milliseconds: u64) {
    let _ = tokio::time::timeout(Duration::from_millis(milliseconds), std::future::pending::<()>()).await;
}

/// A command on the database of the world.
fn command(world: &World, arguments: &[&str]) -> std::process::Output {
    let key = world.server.app.secrets_key.to_base64();
    let variables = [
        ("PROCURA_DATABASE_URL", world.server.database.url.as_str()),
        ("PROCURA_ISSUER", ISSUER),
        ("PROCURA_SECRETS_KEY", secrecy::ExposeSecret::expose_secret(&key)),
    ];
    crate::node::run(arguments, &variables)
}

fn said(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

#[tokio::test]
async fn the_kill_switch_counts_what_it_ends_and_ends_it() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let world = World::at(Clock::System, kind, &[]).await;
        let listed = Listed::new(&world).await;
        let now = world.server.clock.now();
        let fresh = |changes: Value| {
            let times = json!({"iat": now - 5, "exp": now + 3000, "auth_time": now - 60});
            world.id_token(with(times, changes))
        };
        let token = world.exchange_as("assistant", &fresh(json!({"sid": "s-1"})), &[RECORDS]).await.token();
        let hop = listed.hop("records-backend", &token, MODELS).await.token();
        let bob = fresh(json!({"sub": "bob", "roles": ["patient"]}));
        let bob = world.exchange_as("assistant", &bob, &[MODELS, ("scope", "model.general")]).await.token();
        let consent = listed.consent_of(&token).await.id;

        let preview = said(&command(&world, &["consent", "revoke", &consent, "--preview"]));
        assert!(preview.ends_with("would end with it: 0 sign-ins, 1 live token, 1 of later hops"), "{preview}");
        for (target, counts) in [
            (["--user", "corp|alice"], "2 consents, 0 sign-ins, 0 browser sessions, 2 live tokens"),
            (["--client", "assistant"], "3 consents, 0 sign-ins, 0 browser sessions, 3 live tokens"),
            (["--resource", "models"], "2 consents, 0 sign-ins, 0 browser sessions, 2 live tokens"),
            // And what its client exchanged from one of them.
            (["--resource", "records"], "1 consent, 0 sign-ins, 0 browser sessions, 2 live tokens"),
        ] {
            let preview = said(&command(&world, &[&["revoke"], &target[..], &["--preview"]].concat()));
            assert!(preview.starts_with("would end of ") && preview.ends_with(counts), "{preview}");
        }
        for (session, counts) in [("s-1", "2 live tokens"), ("s-2", "0 live tokens")] {
            let preview = said(&command(&world, &["revoke", "--session", "corp", session, "--preview"]));
            let whole = format!("session {session} at corp: 0 consents, 0 sign-ins, 0 browser sessions, {counts}");
            assert!(preview.ends_with(&whole), "{preview}");
        }
        let jti = claims(&hop)["jti"].as_str().unwrap().to_owned();
        let who = said(&command(&world, &["who", &jti]));
        assert!(who.contains("s-1 at the identity provider corp"), "{who}");
        assert!(who.contains(", given by an administrator ") && !who.contains("Ended early"), "{who}");
        for token in [&token, &hop, &bob] {
            assert_eq!(listed.status(token).await, VALID, "a preview ends nothing");
        }

        let ended: Value =
            serde_json::from_str(&said(&command(&world, &["--json", "revoke", "--user", "corp|alice"]))).unwrap();
        assert_eq!((ended["consents"].as_i64(), ended["tokens"].as_i64()), (Some(2), Some(2)));
        let who = said(&command(&world, &["who", claims(&token)["jti"].as_str().unwrap()]));
        assert!(who.contains("Ended early   all tokens of user corp|alice were revoked"), "{who}");
        assert!(who.contains("; taken back or replaced "), "{who}");
        for (target, counts) in [
            (["--user", "corp|alice"], "0 live tokens"),
            (["--client", "assistant"], "1 live token"),
            (["--resource", "records"], "0 live tokens"),
        ] {
            let preview = said(&command(&world, &[&["revoke"], &target[..], &["--preview"]].concat()));
            assert!(preview.ends_with(counts), "what has ended is not counted again: {preview}");
        }
        world.server.app.refresh().await.unwrap();
        assert_eq!(listed.introspect("records-backend", &token).await, json!({"active": false}));
        assert_eq!(listed.introspect("models-backend", &bob).await["active"], true);
        let refused = world.exchange_as("assistant", &fresh(json!({})), &[RECORDS]).await;
        world.assert_refused(&refused, ReasonCode::ConsentRevoked).await;

        let kept = said(&command(&world, &["revoke", "--client", "assistant", "--keep-consents"]));
        assert!(kept.starts_with("ended of client assistant: 0 consents,"), "{kept}");
        assert!(kept.contains("procura client suspend assistant"), "{kept}");
        world.server.app.refresh().await.unwrap();
        assert_eq!(listed.introspect("models-backend", &bob).await, json!({"active": false}));
        after(1100).await;
        let bob = fresh(json!({"sub": "bob", "roles": ["patient"]}));
        let bob = world.exchange_as("assistant", &bob, &[MODELS, ("scope", "model.general")]).await.token();
        assert_eq!(listed.introspect("models-backend", &bob).await["active"], true, "the agreement was kept");
    }
}

#[tokio::test]
async fn what_goes_on_with_a_wider_agreement_is_counted_with_it() {
    let world = World::at(Clock::System, Kind::Sqlite, &[]).await;
    let now = world.server.clock.now();
    world.server.consent("corp|carol", "assistant", "records", "records.read").await;
    let carol = world.id_token(json!({"sub": "carol", "iat": now - 5, "exp": now + 3000, "auth_time": now - 60}));
    let token = world.exchange_as("assistant", &carol, &[RECORDS]).await.token();
    world.server.consent("corp|carol", "assistant", "records", "records.read records.write").await;
    let later = world.exchange_as("assistant", &carol, &[RECORDS]).await.token();
    let grant = |token: &str| claims(token)["grant_id"].as_str().unwrap().to_owned();
    assert_ne!(grant(&token), grant(&later));
    let preview = said(&command(&world, &["revoke", "--user", "corp|carol", "--preview"]));
    assert!(preview.ends_with(", 2 live tokens"), "{preview}");
    let preview = said(&command(&world, &["consent", "revoke", &grant(&later), "--preview"]));
    assert!(preview.ends_with("would end with it: 0 sign-ins, 2 live tokens, 0 of later hops"), "{preview}");
    said(&command(&world, &["consent", "revoke", &grant(&later)]));
    let preview = said(&command(&world, &["revoke", "--user", "corp|carol", "--preview"]));
    assert!(preview.ends_with(", 0 live tokens"), "{preview}");
    world.server.app.refresh().await.unwrap();
    let listed = Listed { world: &world };
    for token in [&token, &later] {
        assert_eq!(listed.introspect("records-backend", token).await, json!({"active": false}));
    }
}

#[tokio::test]
async fn a_client_that_gives_back_too_much_is_told_to_wait_and_what_has_ended_is_not_counted() {
    let world = World::at(Clock::System, Kind::Sqlite, &[("PROCURA_LIMITS__REVOCATIONS_PER_MINUTE", "2")]).await;
    let listed = Listed { world: &world };
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(world.own_token("worker", &[RECORDS]).await);
    }
    for token in &tokens[..2] {
        for _ in 0..3 {
            listed.revoke("worker", token).await;
        }
    }
    let answer = listed.post("/revoke", "worker", &tokens[2]).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (429, Some("slow_down")), "{}", answer.text);
    assert!((1..=60).contains(&answer.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(listed.introspect("records-backend", &tokens[2]).await["active"], true, "it was not ended");
    let other = world.own_token("records-backend", &[MODELS]).await;
    listed.revoke("records-backend", &other).await;
    assert_eq!(listed.introspect("models-backend", &other).await, json!({"active": false}), "another client");
}

#[tokio::test]
async fn the_kill_switch_says_what_is_wrong() {
    let world = World::at(Clock::System, Kind::Sqlite, &[]).await;
    for (arguments, code, problem) in [
        (&["revoke"][..], 2, "required"),
        (&["revoke", "--user", "a", "--client", "b"], 2, "cannot be used with"),
        (&["revoke", "--client", "asistant"], 1, "no client asistant is registered; did you mean `assistant`?"),
        (&["revoke", "--resource", "recods"], 1, "no resource recods is registered; did you mean `records`?"),
        (&["revoke", "--session", "crop", "x"], 1, "no identity provider crop is registered; did you mean `corp`?"),
        (&["revoke", "--session", "corp"], 2, "values"),
    ] {
        let output = command(&world, arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(problem), "{arguments:?}: {told}");
    }
    let unseen = command(&world, &["revoke", "--user", "corp|nobody", "--preview"]);
    assert!(unseen.status.success());
    assert!(String::from_utf8_lossy(&unseen.stderr).contains("corp|nobody was never seen here"));
}

#[tokio::test]
async fn what_is_revoked_counts_on_both_of_two_servers_within_a_second_and_in_a_list_within_its_ttl() {
    let world = World::at(Clock::System, Kind::Postgres, &[]).await;
    let listed = Listed::new(&world).await;
    let variables = [("PROCURA_TOKENS__STATUS_LIST_TTL_SECONDS", "4")];
    let start = || {
        let (url, key) = (world.server.database.url.clone(), world.server.app.secrets_key.clone());
        tokio::task::spawn_blocking(move || Node::start(&url, &key, &variables))
    };
    let nodes = [start().await.unwrap(), start().await.unwrap()];
    let now = world.server.clock.now();
    let id_token = world.id_token(json!({"iat": now - 5, "exp": now + 3000, "auth_time": now - 60}));
    let token = world.exchange_as("assistant", &id_token, &[RECORDS]).await.token();
    let place = usize::try_from(claims(&token)["status"]["status_list"]["idx"].as_u64().unwrap()).unwrap();
    let is_active = async |node: &Node| {
        let secret = world.secret("records-backend");
        let answer =
            node.public.post("/introspect", &[("token", token.as_str())], Some(("records-backend", secret))).await;
        answer.json()["active"] == true
    };
    let in_list = async |node: &Node| status_at(&claims(&node.public.get("/status/0").await.text), place);
    for node in &nodes {
        assert!(is_active(node).await);
        assert_eq!(in_list(node).await, VALID);
    }
    listed.revoke("assistant", &token).await;
    let revoked = Instant::now();
    for node in &nodes {
        while is_active(node).await {
            assert!(revoked.elapsed() < Duration::from_secs(20), "it stays active");
        }
    }
    let introspected = revoked.elapsed();
    assert!(introspected < Duration::from_secs(1), "{introspected:?}");
    for node in &nodes {
        while in_list(node).await == VALID {
            assert!(revoked.elapsed() < Duration::from_secs(20), "it stays valid in the list");
            after(20).await;
        }
    }
    let listed = revoked.elapsed();
    eprintln!("revoked: inactive after {} ms, in both lists after {} ms", introspected.as_millis(), listed.as_millis());
    assert!(listed < Duration::from_secs(2), "a list is made anew each second with a ttl of 4: {listed:?}");
}
