//! Every method of the store, on both databases. This suite stands in for the compiler, which checks no SQL.

use crate::database::{Kind, TestDatabase, id_made_at};
use procura::domain::change::{Change, StoredSecret};
use procura::domain::client::{Assurance, Client};
use procura::domain::consent::{Consent, ConsentAnswer, ConsentSource, ConsentingUser};
use procura::domain::event::{AuditEvent, ChainHead, ChainedEvent, EventKind, EventOutcome, EventSubject};
use procura::domain::identity_provider::IdentityProvider;
use procura::domain::names::{ClientId, IdpId, UserId};
use procura::domain::policy::PolicyText;
use procura::domain::resource::{Resource, SigningAlgorithm};
use procura::domain::signing_key::SigningKeyRecord;
use procura::domain::user::{User, UserAttributes};
use procura::store::{
    ADMINISTRATION_WRITER, ConsentRequest, ConsentUse, DayCount, EventFilter, Store, StoreError, StoredEvent,
    StoredRow, Versions, searchable,
};
use serde_json::json;
use std::fmt::Debug;
use std::str::FromStr;
use tokio::task::JoinSet;

const NOW: i64 = 1_800_000_000;

// What the tests declare.

fn name<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn client(id: &str) -> Client {
    serde_json::from_value(json!({
        "id": id, "name": format!("The {id}"), "authentication": "client_secret_basic",
        "grants": ["token_exchange"], "resources": {"records": ["records.read"]},
    }))
    .unwrap()
}

fn resource(id: &str) -> Resource {
    serde_json::from_value(json!({
        "id": id, "audience": format!("https://{id}.example.com/api"), "name": format!("The {id}"),
        "scope": [{"name": "records.read", "description": "See records", "access": "read"}],
    }))
    .unwrap()
}

fn identity_provider(id: &str) -> IdentityProvider {
    serde_json::from_value(json!({"id": id, "issuer": format!("https://{id}.example.com"), "name": id})).unwrap()
}

fn policy(id: &str) -> PolicyText {
    PolicyText { id: name(id), cedar: "forbid(principal, action, resource);".to_owned() }
}

fn secret(id: &str, client: &str, created_at: i64) -> StoredSecret {
    StoredSecret {
        id: id.to_owned(),
        client: name(client),
        hash: format!("$argon2id${id}"),
        created_at,
        last_used_at: None,
    }
}

fn consent(id: &str, user: Option<&str>, client: &str, resource: &str) -> Consent {
    Consent {
        id: id.to_owned(),
        user: user.map_or(ConsentingUser::Everyone, |user| ConsentingUser::One(name(user))),
        client: name(client),
        resource: name(resource),
        scopes: name("records.read records.write"),
        source: ConsentSource::Admin,
        granted_at: NOW,
        expires_at: Some(NOW + 1000),
        revoked_at: None,
        paused_at: None,
        fingerprint: None,
        redirect_uri: None,
    }
}

fn signing_key(kid: &str, generation: i64) -> SigningKeyRecord {
    SigningKeyRecord {
        kid: kid.to_owned(),
        algorithm: SigningAlgorithm::ES256,
        generation,
        public_jwk: "{}".to_owned(),
        sealed_private_jwk: "sealed".to_owned(),
        published_at: NOW + generation,
        signs_from: NOW + generation + 900,
        removed_at: None,
    }
}

fn user(id: &str, roles: &[&str], attributes_at: i64) -> User {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    User {
        id: name(id),
        idp: name("corp"),
        idp_sub: id.to_owned(),
        attributes: UserAttributes { roles, ..UserAttributes::default() },
        attributes_at,
        suspended_at: None,
    }
}

fn administration(request_id: &str) -> AuditEvent {
    AuditEvent::new(NOW * 1000, request_id.to_owned(), EventKind::Administration, EventOutcome::Done, "changed")
}

fn granted(number: i64, sub: &str) -> AuditEvent {
    let kind = EventKind::TokenExchange;
    let mut event = AuditEvent::new(NOW * 1000 + number, request(number), kind, EventOutcome::Granted, "granted");
    event.subject =
        Some(EventSubject { sub: sub.to_owned(), idp: Some(name("corp")), idp_sub: None, idp_session: None });
    event.client = Some(name("assistant"));
    event.resource = Some(name("records"));
    event.jti = Some(token(number));
    event.txn = Some("txn_1".to_owned());
    event
}

fn refused(number: i64, reason: &str) -> AuditEvent {
    let kind = EventKind::TokenExchange;
    AuditEvent::new(NOW * 1000 + number, request(number), kind, EventOutcome::Refused, reason)
}

/// The id of the request that was decided so many milliseconds after `NOW`.
fn request(number: i64) -> String {
    id_made_at("req", NOW * 1000 + number, number)
}

fn token(number: i64) -> String {
    id_made_at("dtk", NOW * 1000, number)
}

fn chain(head: &mut ChainHead, events: Vec<AuditEvent>) -> Vec<ChainedEvent> {
    events.into_iter().map(|event| ChainedEvent::append(head, event)).collect()
}

async fn apply(store: &Store, changes: &[Change]) {
    store.change(changes, administration("req_apply"), NOW).await.unwrap();
}

/// One client, `assistant`, and two backends, `records` and `models`.
async fn declare(store: &Store) {
    let changes = [
        Change::PutResource(resource("records")),
        Change::PutResource(resource("models")),
        Change::PutClient(client("assistant"), Assurance::Vetted),
    ];
    apply(store, &changes).await;
}

fn rejection<T: Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Rejected(problem)) => problem,
        other => panic!("not rejected: {other:?}"),
    }
}

fn unavailable<T: Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(problem)) => problem,
        other => panic!("not unavailable: {other:?}"),
    }
}

/// The events of a chain, after checking that each follows the one before.
async fn unbroken_chain(store: &Store, writer_id: &str) -> Vec<StoredEvent> {
    let events = store.read_chain(writer_id, 0, 100_000).await.unwrap();
    let mut last = ChainHead::empty(writer_id);
    for event in &events {
        assert_eq!((event.seq, &event.prev_hash), (last.seq + 1, &last.hash));
        assert_eq!(event.hash, ChainedEvent::hash(writer_id, event.seq, &event.prev_hash, &event.body));
        last = ChainHead { seq: event.seq, hash: event.hash.clone(), ..last };
    }
    assert_eq!(store.chain_head(writer_id).await.unwrap(), (last.seq > 0).then_some(last));
    let mut seen = 0;
    let mut see = |row: StoredRow<'_>| {
        seen += 1;
        let body: serde_json::Value = serde_json::from_str(row.body).unwrap();
        assert_eq!(body["at_ms"], row.at_ms);
        for (name, text) in StoredRow::TEXTS.into_iter().zip(row.texts) {
            let expected = if name == "subject" { &body[name]["sub"] } else { &body[name] };
            assert_eq!(text, expected.as_str().map(searchable).as_deref(), "{name}");
        }
    };
    let count = store.walk_chain(writer_id, 1, 100_000, &mut see).await.unwrap();
    assert_eq!((count, seen), (events.len(), events.len()));
    events
}

fn ids<'a>(consents: impl IntoIterator<Item = &'a Consent>) -> Vec<&'a str> {
    consents.into_iter().map(|consent| consent.id.as_str()).collect()
}

store_test! {
    async fn what_is_put_is_loaded_as_it_was(db: TestDatabase) {
        let (before, at_first) = db.store.load_registry().await.unwrap();
        assert!(before.clients.is_empty() && before.resources.is_empty());
        assert_eq!(at_first, db.store.versions().await.unwrap());

        apply(&db.store, &[
            Change::PutIdentityProvider(identity_provider("corp")),
            Change::PutResource(resource("records")),
            Change::PutClient(client("assistant"), Assurance::Domain),
            Change::PutPolicy(policy("closed")),
            Change::AddSecret(secret("sec_1", "assistant", NOW)),
            Change::SuspendUser(name("corp|mallory")),
        ])
        .await;

        let (stored, versions) = db.store.load_registry().await.unwrap();
        assert_eq!(stored.identity_providers, [identity_provider("corp")]);
        assert_eq!(stored.resources, [resource("records")]);
        assert_eq!(stored.policies, [policy("closed")]);
        assert_eq!(stored.secrets, [secret("sec_1", "assistant", NOW)]);
        assert_eq!(stored.suspended_users, [name::<UserId>("corp|mallory")].into());
        let [entry] = stored.clients.as_slice() else { panic!("{:?}", stored.clients) };
        assert_eq!((&entry.client, entry.assurance, entry.suspended_at), (&client("assistant"), Assurance::Domain, None));
        let (registry, consents) = (at_first.registry + 1, at_first.consents + 1);
        assert_eq!(versions, Versions { registry, consents, ..at_first }, "a client may end what an earlier one held");
    }

    async fn what_is_removed_is_gone_and_its_consents_are_revoked(db: TestDatabase) {
        declare(&db.store).await;
        apply(&db.store, &[
            Change::PutIdentityProvider(identity_provider("corp")),
            Change::PutPolicy(policy("closed")),
            Change::AddSecret(secret("sec_1", "assistant", NOW)),
            Change::GrantConsent(consent("con_1", Some("corp|alice"), "assistant", "records")),
            Change::GrantConsent(consent("con_2", Some("corp|alice"), "assistant", "models")),
        ])
        .await;
        apply(&db.store, &[Change::RemoveResource(name("records"))]).await;
        assert_eq!(db.store.find_consent("con_1").await.unwrap().unwrap().revoked_at, Some(NOW));
        assert_eq!(db.store.find_consent("con_2").await.unwrap().unwrap().revoked_at, None);

        let before = db.store.versions().await.unwrap();
        let later = NOW + 5;
        let changes = [
            Change::RemoveClient(name("assistant")),
            Change::RemoveResource(name("models")),
            Change::RemovePolicy(name("closed")),
            Change::RemoveIdentityProvider(name("corp")),
        ];
        db.store.change(&changes, administration("req_2"), later).await.unwrap();

        let (stored, after) = db.store.load_registry().await.unwrap();
        assert!(stored.clients.is_empty() && stored.resources.is_empty() && stored.secrets.is_empty());
        assert!(stored.policies.is_empty() && stored.identity_providers.is_empty());
        assert_eq!(db.store.find_consent("con_1").await.unwrap().unwrap().revoked_at, Some(NOW));
        assert_eq!(db.store.find_consent("con_2").await.unwrap().unwrap().revoked_at, Some(later));
        assert_eq!((after.registry, after.consents), (before.registry + 1, before.consents + 1));
    }

    async fn a_client_that_is_put_again_keeps_its_secrets_and_its_suspension(db: TestDatabase) {
        declare(&db.store).await;
        let suspend = Change::SuspendClient(name("assistant"));
        apply(&db.store, &[Change::AddSecret(secret("sec_1", "assistant", NOW)), suspend.clone()]).await;
        db.store.change(&[suspend], administration("req_again"), NOW + 60).await.unwrap();
        let renamed = Client { name: "Renamed".to_owned(), ..client("assistant") };
        apply(&db.store, &[Change::PutClient(renamed.clone(), Assurance::SelfAsserted)]).await;

        let (stored, _) = db.store.load_registry().await.unwrap();
        assert_eq!(stored.clients[0].client, renamed);
        assert_eq!(stored.clients[0].assurance, Assurance::SelfAsserted);
        assert_eq!(stored.clients[0].suspended_at, Some(NOW));
        assert_eq!(stored.secrets.len(), 1);

        apply(&db.store, &[Change::ResumeClient(name("assistant"))]).await;
        assert_eq!(db.store.load_registry().await.unwrap().0.clients[0].suspended_at, None);
    }

    async fn of_three_secrets_the_two_newest_stay_even_if_made_in_one_second(db: TestDatabase) {
        declare(&db.store).await;
        apply(&db.store, &[Change::PutClient(client("other"), Assurance::Vetted)]).await;
        for id in ["sec_z", "sec_m", "sec_a"] {
            apply(&db.store, &[Change::AddSecret(secret(id, "assistant", NOW))]).await;
        }
        apply(&db.store, &[Change::AddSecret(secret("sec_other", "other", NOW))]).await;
        let (stored, _) = db.store.load_registry().await.unwrap();
        let left: Vec<_> = stored.secrets.iter().map(|secret| secret.id.as_str()).collect();
        assert_eq!(left, ["sec_m", "sec_a", "sec_other"]);
    }

    async fn the_last_use_of_a_secret_is_noted_to_the_minute_and_bumps_no_version(db: TestDatabase) {
        declare(&db.store).await;
        apply(&db.store, &[Change::AddSecret(secret("sec_1", "assistant", NOW))]).await;
        let before = db.store.versions().await.unwrap();
        for now in [NOW + 61, NOW] {
            db.store.touch_secrets(&["sec_1".to_owned(), "sec_gone".to_owned()], now).await.unwrap();
        }
        let (stored, after) = db.store.load_registry().await.unwrap();
        assert_eq!(stored.secrets[0].last_used_at, Some(NOW + 60));
        assert_eq!(after, before);
    }

    async fn a_change_of_what_is_not_there_is_rejected(db: TestDatabase) {
        declare(&db.store).await;
        let before = db.store.versions().await.unwrap();
        for (change, problem) in [
            (Change::RemoveIdentityProvider(name("nobody")), "there is no identity provider nobody"),
            (Change::RemoveResource(name("nothing")), "there is no resource nothing"),
            (Change::RemoveClient(name("nobody")), "there is no client nobody"),
            (Change::SuspendClient(name("nobody")), "there is no client nobody"),
            (Change::ResumeClient(name("nobody")), "there is no client nobody"),
            (Change::RemovePolicy(name("nothing")), "there is no policy nothing"),
            (Change::AddSecret(secret("sec_1", "nobody", NOW)), "there is no client nobody"),
            (Change::ResumeUser(name("corp|nobody")), "there is no user corp|nobody"),
            (Change::RevokeConsent("con_0".to_owned()), "there is no consent con_0"),
            (
                Change::GrantConsent(consent("con_1", None, "assistant", "nothing")),
                "there is no client assistant or no resource nothing to consent to",
            ),
        ] {
            let changes = [change];
            assert_eq!(rejection(db.store.change(&changes, administration("req_no"), NOW).await), problem);
        }
        assert_eq!(db.store.versions().await.unwrap(), before);
        assert!(db.store.events_of_request("req_no").await.unwrap().is_empty());
    }

    async fn nothing_is_changed_when_one_change_of_several_fails(db: TestDatabase) {
        declare(&db.store).await;
        apply(&db.store, &[Change::GrantConsent(consent("con_1", Some("corp|alice"), "assistant", "records"))]).await;
        let before = db.store.versions().await.unwrap();
        let changes = [
            Change::PutPolicy(policy("closed")),
            Change::RemoveResource(name("records")),
            Change::SuspendUser(name("corp|alice")),
            Change::RemoveClient(name("nobody")),
        ];
        rejection(db.store.change(&changes, administration("req_no"), NOW).await);

        let (stored, after) = db.store.load_registry().await.unwrap();
        assert_eq!((stored.policies.len(), stored.resources.len(), stored.suspended_users.len()), (0, 2, 0));
        assert_eq!(after, before);
        assert_eq!(db.store.find_consent("con_1").await.unwrap().unwrap().revoked_at, None);
        assert_eq!(unbroken_chain(&db.store, ADMINISTRATION_WRITER).await.len(), 2);
    }

    async fn a_database_works_with_the_secrets_key_it_was_made_with_and_no_other(db: TestDatabase) {
        assert!(!db.store.has_secrets_key().await.unwrap());
        db.store.claim_secrets_key("one").await.unwrap();
        db.store.claim_secrets_key("one").await.unwrap();
        assert!(db.store.has_secrets_key().await.unwrap());
        assert!(rejection(db.store.claim_secrets_key("other").await).contains("not the one that the database was made"));
    }

    async fn a_change_that_rests_on_a_registry_of_the_past_is_rejected(db: TestDatabase) {
        let seen = db.store.versions().await.unwrap().registry;
        let put = |id: &str| [Change::PutPolicy(policy(id))];
        db.store.change_since(seen, &put("first"), administration("req_1"), NOW).await.unwrap();
        let late = db.store.change_since(seen, &put("second"), administration("req_2"), NOW).await;
        assert!(rejection(late).contains("somebody else changed the registry"));
        let (stored, versions) = db.store.load_registry().await.unwrap();
        assert_eq!(stored.policies, [policy("first")]);
        db.store.change_since(versions.registry, &put("second"), administration("req_2"), NOW).await.unwrap();
    }

    async fn changes_at_the_same_time_keep_one_unbroken_chain(db: TestDatabase) {
        let others = [db.another_store().await, db.another_store().await];
        let before = db.store.versions().await.unwrap();
        let mut tasks = JoinSet::new();
        for number in 0..12 {
            let store = others[number % 2].clone();
            tasks.spawn(async move {
                let changes = [Change::PutPolicy(policy(&format!("policy-{number}")))];
                store.change(&changes, administration(&format!("req_{number}")), NOW).await.unwrap();
            });
        }
        tasks.join_all().await;
        assert_eq!(unbroken_chain(&db.store, ADMINISTRATION_WRITER).await.len(), 12);
        let (stored, after) = db.store.load_registry().await.unwrap();
        assert_eq!(stored.policies.len(), 12);
        assert_eq!(after.registry, before.registry + 12);
    }

    async fn a_consent_replaces_the_live_one_of_the_same_user_client_and_resource_only(db: TestDatabase) {
        declare(&db.store).await;
        let ended = Consent { expires_at: Some(NOW), ..consent("con_ended", Some("corp|alice"), "assistant", "records") };
        apply(&db.store, &[
            Change::GrantConsent(ended),
            Change::GrantConsent(consent("con_1", Some("corp|alice"), "assistant", "records")),
            Change::GrantConsent(consent("con_bob", Some("corp|bob"), "assistant", "records")),
            Change::GrantConsent(consent("con_all", None, "assistant", "records")),
            Change::GrantConsent(consent("con_models", Some("corp|alice"), "assistant", "models")),
        ])
        .await;
        let endless = Consent { expires_at: None, ..consent("con_2", Some("corp|alice"), "assistant", "records") };
        apply(&db.store, &[Change::GrantConsent(endless.clone())]).await;
        apply(&db.store, &[Change::GrantConsent(consent("con_all_2", None, "assistant", "records"))]).await;

        assert_eq!(db.store.find_consent("con_2").await.unwrap(), Some(endless));
        for (id, revoked_at) in [
            ("con_ended", None),
            ("con_1", Some(NOW)),
            ("con_bob", None),
            ("con_all", Some(NOW)),
            ("con_models", None),
            ("con_all_2", None),
        ] {
            assert_eq!(db.store.find_consent(id).await.unwrap().unwrap().revoked_at, revoked_at, "{id}");
        }
    }

    async fn a_revoked_consent_stays_revoked_since_the_first_time(db: TestDatabase) {
        declare(&db.store).await;
        apply(&db.store, &[Change::GrantConsent(consent("con_1", None, "assistant", "records"))]).await;
        let before = db.store.versions().await.unwrap();
        for now in [NOW + 1, NOW + 2] {
            let changes = [Change::RevokeConsent("con_1".to_owned())];
            db.store.change(&changes, administration("req_revoke"), now).await.unwrap();
        }
        assert_eq!(db.store.find_consent("con_1").await.unwrap().unwrap().revoked_at, Some(NOW + 1));
        let after = db.store.versions().await.unwrap();
        assert_eq!(after, Versions { consents: before.consents + 2, ..before });
    }

    async fn the_consents_of_a_user_are_their_own_and_those_for_everyone(db: TestDatabase) {
        declare(&db.store).await;
        let alice = || Some("corp|alice");
        apply(&db.store, &[
            Change::GrantConsent(Consent { granted_at: NOW - 3, ..consent("con_old", alice(), "assistant", "records") }),
            Change::GrantConsent(Consent { granted_at: NOW - 2, ..consent("con_all", None, "assistant", "records") }),
            Change::GrantConsent(consent("con_bob", Some("corp|bob"), "assistant", "records")),
            Change::GrantConsent(Consent { granted_at: NOW - 1, ..consent("con_new", alice(), "assistant", "records") }),
        ])
        .await;
        let consents = db.store.consents_of(&name("corp|alice")).await.unwrap();
        assert_eq!(ids(&consents), ["con_new", "con_all", "con_old"]);
        assert_eq!(consents[0], Consent { granted_at: NOW - 1, ..consent("con_new", alice(), "assistant", "records") });
        assert_eq!(consents[1].user, ConsentingUser::Everyone);
        assert_eq!(consents[2].revoked_at, Some(NOW));
        assert_eq!(ids(&db.store.consents_of(&name("corp|carol")).await.unwrap()), ["con_all"]);
    }

    async fn of_revoked_consents_a_user_sees_the_newest_hundred_and_every_other_one(db: TestDatabase) {
        declare(&db.store).await;
        let again = |number: i64| {
            let id = format!("con_{number:03}");
            Change::GrantConsent(Consent { granted_at: NOW + number, ..consent(&id, Some("corp|alice"), "assistant", "records") })
        };
        apply(&db.store, &[Change::GrantConsent(consent("con_models", Some("corp|alice"), "assistant", "models"))]).await;
        apply(&db.store, &(0..110).map(again).collect::<Vec<_>>()).await;
        let consents = db.store.consents_of(&name("corp|alice")).await.unwrap();
        assert_eq!(consents.len(), 102);
        assert_eq!(ids(consents.iter().filter(|consent| consent.revoked_at.is_none())), ["con_109", "con_models"]);
    }

    async fn consents_are_listed_newest_first_by_user_client_and_life(db: TestDatabase) {
        declare(&db.store).await;
        apply(&db.store, &[
            Change::PutClient(client("other"), Assurance::Vetted),
            Change::GrantConsent(Consent { expires_at: Some(NOW + 10), ..consent("con_1", Some("corp|alice"), "assistant", "records") }),
            Change::GrantConsent(Consent { granted_at: NOW + 1, ..consent("con_2", Some("corp|alice"), "other", "records") }),
            Change::GrantConsent(Consent { granted_at: NOW + 2, expires_at: None, ..consent("con_3", None, "other", "records") }),
        ])
        .await;
        for (user, client, live_only, now, expected) in [
            (None, None, false, NOW, &["con_3", "con_2", "con_1"][..]),
            (Some("corp|alice"), None, false, NOW, &["con_2", "con_1"]),
            (None, Some("other"), false, NOW, &["con_3", "con_2"]),
            (Some("corp|alice"), Some("other"), true, NOW, &["con_2"]),
            (None, None, true, NOW + 9, &["con_3", "con_2", "con_1"]),
            (None, None, true, NOW + 10, &["con_3", "con_2"]),
            (None, None, true, NOW + 1000, &["con_3"]),
            (Some("no\0body"), None, false, NOW, &[]),
        ] {
            let consents = db.store.list_consents(user, client, live_only, now).await.unwrap();
            assert_eq!(ids(&consents), expected, "{user:?} {client:?} {live_only} {now}");
        }
        assert_eq!(db.store.find_consent("con_0").await.unwrap(), None);
    }

    async fn the_first_consent_request_of_a_digest_stays(db: TestDatabase) {
        let first = ConsentRequest {
            user: name("corp|alice"),
            client: name("assistant"),
            resource: name("records"),
            scopes: name("records.read"),
            behind: Vec::new(),
            created_at: NOW,
            expires_at: NOW + 600,
            answer: None,
        };
        let second = ConsentRequest { scopes: name("records.delete"), ..first.clone() };
        db.store.insert_consent_request("digest", &first).await.unwrap();
        db.store.insert_consent_request("digest", &second).await.unwrap();
        assert_eq!(db.store.find_consent_request("digest").await.unwrap(), Some(first));
        assert_eq!(db.store.find_consent_request("another\0").await.unwrap(), None);
    }

    async fn an_answer_is_kept_with_its_request_and_the_last_one_counts(db: TestDatabase) {
        let request = ConsentRequest {
            user: name("corp|alice"),
            client: name("assistant"),
            resource: name("records"),
            scopes: name("records.read"),
            behind: Vec::new(),
            created_at: NOW,
            expires_at: NOW + 600,
            answer: None,
        };
        db.store.insert_consent_request("digest", &request).await.unwrap();
        let before = db.store.versions().await.unwrap();
        for answer in [ConsentAnswer::Denied, ConsentAnswer::Allowed] {
            apply(&db.store, &[Change::AnswerConsentRequest { handle_digest: "digest".to_owned(), answer }]).await;
            let stored = db.store.find_consent_request("digest").await.unwrap();
            assert_eq!(stored, Some(ConsentRequest { answer: Some(answer), ..request.clone() }));
        }
        assert_eq!(db.store.versions().await.unwrap(), before, "no server has to look for it");
        let unknown = Change::AnswerConsentRequest { handle_digest: "other".to_owned(), answer: ConsentAnswer::Denied };
        assert!(matches!(
            db.store.change(&[unknown], administration("req_1"), NOW).await,
            Err(StoreError::Rejected(_))
        ));
    }

    async fn a_consent_is_narrowed_from_what_it_was_and_never_gets_longer(db: TestDatabase) {
        declare(&db.store).await;
        apply(&db.store, &[Change::GrantConsent(consent("con_1", Some("corp|alice"), "assistant", "records"))]).await;
        let before = db.store.versions().await.unwrap().consents;
        let narrow = |before: &str, scopes: &str| {
            let (id, before, scopes) = ("con_1".to_owned(), name(before), name(scopes));
            Change::NarrowConsent { id, before, scopes }
        };
        let shorten = |expires_at| Change::ShortenConsent { id: "con_1".to_owned(), expires_at };
        let try_to = async |change: Change| db.store.change(&[change], administration("req_1"), NOW).await.is_ok();
        assert!(try_to(narrow("records.read records.write", "records.read")).await);
        assert!(!try_to(narrow("records.read records.write", "records.write")).await, "it was narrowed meanwhile");
        assert!(try_to(shorten(NOW + 500)).await);
        assert!(!try_to(shorten(NOW + 501)).await, "that would be later");
        let stored = db.store.find_consent("con_1").await.unwrap().unwrap();
        assert_eq!((stored.scopes.to_string().as_str(), stored.expires_at), ("records.read", Some(NOW + 500)));
        assert_eq!(db.store.versions().await.unwrap().consents, before + 2);
    }

    async fn a_consent_pauses_and_goes_on_until_it_is_taken_back(db: TestDatabase) {
        declare(&db.store).await;
        apply(&db.store, &[Change::GrantConsent(consent("con_1", Some("corp|alice"), "assistant", "records"))]).await;
        let (pause, resume) = (Change::PauseConsent("con_1".to_owned()), Change::ResumeConsent("con_1".to_owned()));
        for now in [NOW + 1, NOW + 2] {
            db.store.change(std::slice::from_ref(&pause), administration("req_1"), now).await.unwrap();
        }
        let paused_at = async || db.store.find_consent("con_1").await.unwrap().unwrap().paused_at;
        assert_eq!(paused_at().await, Some(NOW + 1));
        apply(&db.store, std::slice::from_ref(&resume)).await;
        assert_eq!(paused_at().await, None);
        apply(&db.store, &[Change::RevokeConsent("con_1".to_owned())]).await;
        for change in [pause, resume] {
            let refused = db.store.change(&[change], administration("req_1"), NOW).await;
            assert!(matches!(refused, Err(StoreError::Rejected(_))));
        }
    }

    async fn uses_of_consents_add_up_and_are_told_to_their_user(db: TestDatabase) {
        declare(&db.store).await;
        apply(&db.store, &[
            Change::GrantConsent(consent("con_1", Some("corp|alice"), "assistant", "records")),
            Change::GrantConsent(consent("con_2", Some("corp|bob"), "assistant", "records")),
        ])
        .await;
        let uses = |id: &str, uses, last_used_at| (id.to_owned(), ConsentUse { uses, last_used_at });
        let many = (0..600).map(|number| uses(&format!("other_{number}"), 1, NOW));
        let first = many.chain([uses("con_1", 2, NOW + 5), uses("con_2", 1, NOW)]).collect();
        db.store.note_consent_uses(&first).await.unwrap();
        db.store.note_consent_uses(&[uses("con_1", 3, NOW + 4)].into()).await.unwrap();
        db.store.note_consent_uses(&std::collections::BTreeMap::new()).await.unwrap();
        let told = db.store.consent_uses(&name("corp|alice")).await.unwrap();
        assert_eq!(told, [uses("con_1", 5, NOW + 5)].into());
    }

    async fn events_are_counted_by_day_and_outcome(db: TestDatabase) {
        const DAY_MS: i64 = 86_400_000;
        let midnight = NOW * 1000 - (NOW * 1000) % DAY_MS;
        let event = |at_ms, sub, outcome| AuditEvent { at_ms, outcome, ..granted(1, sub) };
        let events = [
            event(midnight - 1, "alice", EventOutcome::Granted),
            event(midnight, "alice", EventOutcome::Granted),
            event(midnight + 1, "alice", EventOutcome::Granted),
            event(midnight + 2, "alice", EventOutcome::Refused),
            event(midnight + 3, "bob", EventOutcome::Granted),
        ];
        let mut head = ChainHead::empty("w_1");
        let chained: Vec<_> = events.into_iter().map(|event| ChainedEvent::append(&mut head, event)).collect();
        db.store.append_events(&chained, &[]).await.unwrap();
        let filter = EventFilter { user: Some("alice".to_owned()), ..EventFilter::default() };
        let count = |day: i64, outcome: &str, count| DayCount { day, outcome: outcome.to_owned(), count };
        let today = midnight / DAY_MS;
        let expected = [count(today - 1, "granted", 1), count(today, "granted", 2), count(today, "refused", 1)];
        assert_eq!(db.store.count_events_by_day(&filter).await.unwrap(), expected);
        let since = EventFilter { user: None, since_ms: Some(midnight), ..filter };
        let expected = [count(today, "granted", 3), count(today, "refused", 1)];
        assert_eq!(db.store.count_events_by_day(&since).await.unwrap(), expected);
    }

    async fn newer_attributes_of_a_user_replace_older_ones_and_never_the_suspension(db: TestDatabase) {
        let remember = |users: Vec<User>| {
            let store = db.store.clone();
            async move { store.append_events(&[], &users).await.unwrap() }
        };
        let alice: UserId = name("corp|alice");
        assert_eq!(db.store.find_user(&alice).await.unwrap(), None);
        remember(vec![user("corp|alice", &["patient"], NOW), user("corp|alice", &["doctor"], NOW + 1)]).await;
        remember(vec![user("corp|alice", &["stale"], NOW + 1), user("corp|bob", &[], NOW)]).await;
        assert_eq!(db.store.find_user(&alice).await.unwrap(), Some(user("corp|alice", &["doctor"], NOW + 1)));

        apply(&db.store, &[Change::SuspendUser(alice.clone())]).await;
        remember(vec![user("corp|alice", &["nurse"], NOW + 2)]).await;
        let suspended = User { suspended_at: Some(NOW), ..user("corp|alice", &["nurse"], NOW + 2) };
        assert_eq!(db.store.find_user(&alice).await.unwrap(), Some(suspended.clone()));

        assert_eq!(db.store.list_users(false, 10).await.unwrap(), [suspended.clone(), user("corp|bob", &[], NOW)]);
        assert_eq!(db.store.list_users(true, 10).await.unwrap(), [suspended]);
        assert_eq!(db.store.list_users(false, 1).await.unwrap().len(), 1);

        apply(&db.store, &[Change::ResumeUser(alice.clone())]).await;
        assert_eq!(db.store.find_user(&alice).await.unwrap().unwrap().suspended_at, None);
    }

    async fn a_user_can_be_suspended_before_being_seen(db: TestDatabase) {
        let before = db.store.versions().await.unwrap();
        apply(&db.store, &[Change::SuspendUser(name("corp|mallory"))]).await;
        let unseen = db.store.find_user(&name("corp|mallory")).await.unwrap().unwrap();
        assert_eq!((unseen.idp.as_str(), unseen.suspended_at), (procura::store::UNSEEN_IDP, Some(NOW)));
        assert_eq!(db.store.versions().await.unwrap().registry, before.registry + 1);

        db.store.append_events(&[], &[user("corp|mallory", &["doctor"], NOW)]).await.unwrap();
        let seen = db.store.find_user(&name("corp|mallory")).await.unwrap();
        assert_eq!(seen, Some(User { suspended_at: Some(NOW), ..user("corp|mallory", &["doctor"], NOW) }));
    }

    async fn signing_keys_are_kept_and_removals_never_put_off(db: TestDatabase) {
        let before = db.store.versions().await.unwrap();
        assert!(db.store.add_signing_key(&signing_key("one", 1), &[], administration("req_1")).await.unwrap());
        let removal = [("one".to_owned(), NOW + 500)];
        assert!(db.store.add_signing_key(&signing_key("two", 2), &removal, administration("req_2")).await.unwrap());
        let later = [("one".to_owned(), NOW + 900)];
        assert!(db.store.add_signing_key(&signing_key("three", 3), &later, administration("req_3")).await.unwrap());

        let one = SigningKeyRecord { removed_at: Some(NOW + 500), ..signing_key("one", 1) };
        let expected = [one, signing_key("two", 2), signing_key("three", 3)];
        assert_eq!(db.store.list_signing_keys().await.unwrap(), expected);
        assert_eq!(db.store.versions().await.unwrap(), Versions { keys: before.keys + 3, ..before });
        assert_eq!(unbroken_chain(&db.store, ADMINISTRATION_WRITER).await.len(), 3);

        let unknown = [("none".to_owned(), NOW)];
        let result = db.store.add_signing_key(&signing_key("four", 4), &unknown, administration("req_4")).await;
        assert_eq!(rejection(result), "there is no signing key none");
        assert_eq!(db.store.list_signing_keys().await.unwrap().len(), 3);
    }

    async fn of_servers_that_add_the_same_generation_one_succeeds(db: TestDatabase) {
        db.store.add_signing_key(&signing_key("first", 1), &[], administration("req_0")).await.unwrap();
        let before = db.store.versions().await.unwrap();
        let others = [db.another_store().await, db.another_store().await];
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let store = others[number % 2].clone();
            tasks.spawn(async move {
                let removal = [("first".to_owned(), NOW + 1)];
                let key = signing_key(&format!("kid-{number}"), 2);
                store.add_signing_key(&key, &removal, administration(&format!("req_{number}"))).await.unwrap()
            });
        }
        assert_eq!(tasks.join_all().await.into_iter().filter(|added| *added).count(), 1);
        assert_eq!(db.store.list_signing_keys().await.unwrap().len(), 2);
        assert_eq!(db.store.versions().await.unwrap().keys, before.keys + 1);
        assert_eq!(unbroken_chain(&db.store, ADMINISTRATION_WRITER).await.len(), 2);
    }

    async fn the_same_jti_is_used_once_by_sixteen_at_the_same_time(db: TestDatabase) {
        let others = [db.another_store().await, db.another_store().await];
        let mut tasks = JoinSet::new();
        for number in 0..16 {
            let store = others[number % 2].clone();
            tasks.spawn(async move { store.use_assertion(&name("assistant"), "jti", NOW + 60).await.unwrap() });
        }
        assert_eq!(tasks.join_all().await.into_iter().filter(|first| *first).count(), 1);
    }

    async fn a_jti_is_used_once_by_kind_provider_and_client_whatever_is_in_it(db: TestDatabase) {
        let (assistant, other): (ClientId, ClientId) = (name("assistant"), name("other"));
        let (corp, lab): (IdpId, IdpId) = (name("corp"), name("lab"));
        let long = "x".repeat(100_000);
        for jti in ["jti", "", "j\0ti", long.as_str()] {
            for expected in [true, false] {
                assert_eq!(db.store.use_assertion(&assistant, jti, NOW).await.unwrap(), expected);
                assert_eq!(db.store.use_assertion(&other, jti, NOW).await.unwrap(), expected);
                assert_eq!(db.store.use_subject_token(&corp, &assistant, jti, NOW).await.unwrap(), expected);
                assert_eq!(db.store.use_subject_token(&lab, &assistant, jti, NOW).await.unwrap(), expected);
                assert_eq!(db.store.use_subject_token(&corp, &other, jti, NOW).await.unwrap(), expected);
            }
        }
    }

    async fn what_has_ended_is_purged_and_nothing_else(db: TestDatabase) {
        let client: ClientId = name("assistant");
        // A use is remembered ten minutes longer than its token lives.
        db.store.use_assertion(&client, "ended", NOW - 600).await.unwrap();
        db.store.use_assertion(&client, "live", NOW - 599).await.unwrap();
        for (digest, expires_at) in [("ended", NOW - 1), ("live", NOW + 1)] {
            let request = ConsentRequest {
                user: name("corp|alice"),
                client: client.clone(),
                resource: name("records"),
                scopes: name("records.read"),
                behind: Vec::new(),
                created_at: NOW - 600,
                expires_at,
                answer: None,
            };
            db.store.insert_consent_request(digest, &request).await.unwrap();
        }
        // More than one batch.
        let rows: Vec<_> = (0..1000).map(|row| format!("('digest-{row}', 'client_assertion', {NOW})")).collect();
        db.execute(&format!("INSERT INTO used_token (digest, kind, expires_at) VALUES {}", rows.join(","))).await;

        let gone = |purged: Vec<(&'static str, u64)>| purged.into_iter().filter(|(_, rows)| *rows > 0).collect::<Vec<_>>();
        assert_eq!(gone(db.store.purge(NOW).await.unwrap()), [("used_token", 1001), ("consent_request", 1)]);
        assert_eq!(gone(db.store.purge(NOW).await.unwrap()), []);
        assert!(!db.store.use_assertion(&client, "live", NOW - 599).await.unwrap());
        assert!(db.store.use_assertion(&client, "ended", NOW - 600).await.unwrap());
        assert!(db.store.find_consent_request("live").await.unwrap().is_some());
        assert!(db.store.find_consent_request("ended").await.unwrap().is_none());
    }

    async fn events_are_appended_in_order_in_batches_of_any_size(db: TestDatabase) {
        let mut head = ChainHead::empty("writer-1");
        assert_eq!(db.store.chain_head("writer-1").await.unwrap(), None);
        db.store.append_events(&[], &[]).await.unwrap();
        for size in [1, 256, 3, 300] {
            let events = (0..size).map(|number| granted(number, "corp|alice")).collect();
            db.store.append_events(&chain(&mut head, events), &[user("corp|alice", &[], NOW)]).await.unwrap();
        }
        for size in [1, 2, 16, 64, 65, 300] {
            let events = (0..size).map(|number| granted(number, "corp|alice")).collect();
            db.store.append_events(&chain(&mut head, events), &[]).await.unwrap();
        }
        assert_eq!(unbroken_chain(&db.store, "writer-1").await.len(), 1_008);
        assert_eq!(db.store.chain_head("writer-1").await.unwrap(), Some(head.clone()));

        let mut other = ChainHead::empty("writer-2");
        db.store.append_events(&chain(&mut other, vec![refused(1, "consent_required")]), &[]).await.unwrap();
        assert_eq!(db.store.chain_heads().await.unwrap(), [head, other]);

        let page = db.store.read_chain("writer-1", 100, 2).await.unwrap();
        assert_eq!(page.iter().map(|event| event.seq).collect::<Vec<_>>(), [101, 102]);
        assert!(db.store.read_chain("writer-3", 0, 10).await.unwrap().is_empty());
    }

    async fn a_chain_cannot_fork_and_what_was_refused_leaves_nothing(db: TestDatabase) {
        let mut head = ChainHead::empty("writer-1");
        let mut fork = head.clone();
        db.store.append_events(&chain(&mut head, vec![granted(1, "corp|alice")]), &[]).await.unwrap();
        let forked = chain(&mut fork, vec![granted(2, "corp|bob")]);
        let problem = rejection(db.store.append_events(&forked, &[user("corp|bob", &[], NOW)]).await);
        assert_eq!(problem, "the chain of writer-1 does not stand at event 0: another writer uses it");

        // With and without news of a user.
        for users in [vec![user("corp|bob", &[], NOW)], vec![]] {
            let forked = chain(&mut fork, vec![granted(3, "corp|bob"), granted(4, "corp|bob")]);
            let problem = rejection(db.store.append_events(&forked, &users).await);
            assert!(problem.starts_with("the chain of writer-1 does not stand at event "), "{problem}");
        }
        let unbegun = chain(&mut ChainHead { seq: 7, ..ChainHead::empty("writer-2") }, vec![granted(8, "corp|bob")]);
        rejection(db.store.append_events(&unbegun, &[]).await);

        let mut gap = chain(&mut head, vec![granted(4, "corp|bob"), granted(5, "corp|bob"), granted(6, "corp|bob")]);
        gap.remove(1);
        let problem = rejection(db.store.append_events(&gap, &[]).await);
        assert_eq!(problem, "the events for the chain of writer-1 do not follow each other");

        assert_eq!(unbroken_chain(&db.store, "writer-1").await.len(), 1);
        assert_eq!(db.store.chain_head("writer-2").await.unwrap(), None);
        assert!(db.store.read_chain("writer-2", 0, 10).await.unwrap().is_empty());
        assert_eq!(db.store.find_user(&name("corp|bob")).await.unwrap(), None);
    }

    async fn events_are_found_by_request_token_and_transaction(db: TestDatabase) {
        let (first, mut second) = (granted(2, "corp|alice"), granted(1, "corp|alice"));
        (second.request_id, second.at_ms) = (first.request_id.clone(), first.at_ms);
        let events = vec![first.clone(), second.clone(), refused(3, "consent_required"), administration("adm_1")];
        db.store.append_events(&chain(&mut ChainHead::empty("writer-1"), events), &[]).await.unwrap();

        let in_their_order = [first.clone(), second];
        assert_eq!(db.store.events_of_request(&request(2)).await.unwrap(), in_their_order);
        assert_eq!(db.store.events_of_request("adm_1").await.unwrap(), [administration("adm_1")]);
        assert_eq!(db.store.events_of_transaction("txn_1").await.unwrap(), in_their_order);
        assert_eq!(db.store.event_of_token(&token(2)).await.unwrap(), Some(first));
        for unknown in ["no\0thing", &token(3), &id_made_at("dtk", 0, 2), &request(2)] {
            assert_eq!(db.store.event_of_token(unknown).await.unwrap(), None, "{unknown:?}");
        }
        assert!(db.store.events_of_request("").await.unwrap().is_empty());
    }

    async fn events_are_listed_newest_first_by_every_filter(db: TestDatabase) {
        let mut elsewhere = granted(4, "corp|bob");
        elsewhere.client = Some(name("other"));
        elsewhere.resource = Some(name("models"));
        let events = vec![
            granted(1, "corp|alice"),
            refused(2, "consent_required"),
            refused(3, "policy"),
            elsewhere,
            administration("adm_5"),
        ];
        db.store.append_events(&chain(&mut ChainHead::empty("writer-1"), events), &[]).await.unwrap();

        let all = EventFilter { limit: 100, ..EventFilter::default() };
        let some = |text: &str| Some(text.to_owned());
        for (filter, expected) in [
            (all.clone(), &[4, 3, 2, 1, 5][..]),
            (EventFilter { limit: 2, ..all.clone() }, &[4, 3]),
            (EventFilter { user: some("corp|alice"), ..all.clone() }, &[1]),
            (EventFilter { client: some("other"), ..all.clone() }, &[4]),
            (EventFilter { resource: some("records"), ..all.clone() }, &[1]),
            (EventFilter { outcome: some("refused"), ..all.clone() }, &[3, 2]),
            (EventFilter { outcome: some("granted"), ..all.clone() }, &[4, 1]),
            (EventFilter { outcome: some("done"), ..all.clone() }, &[5]),
            (EventFilter { reason: some("policy"), ..all.clone() }, &[3]),
            (EventFilter { reason: some("granted"), ..all.clone() }, &[4, 1]),
            (EventFilter { since_ms: Some(NOW * 1000 + 3), ..all.clone() }, &[4, 3]),
            (EventFilter { until_ms: Some(NOW * 1000 + 2), ..all.clone() }, &[1, 5]),
            (EventFilter { user: some("corp|alice"), outcome: some("refused"), ..all.clone() }, &[]),
            (EventFilter { user: some("no\0body"), ..all.clone() }, &[]),
        ] {
            let events = db.store.list_events(&filter).await.unwrap();
            let found: Vec<_> = events.iter().map(|event| event.request_id.clone()).collect();
            let id = |number: &i64| if *number == 5 { "adm_5".to_owned() } else { request(*number) };
            assert_eq!(found, expected.iter().map(id).collect::<Vec<_>>(), "{filter:?}");
        }
    }

    async fn the_newest_events_of_a_user_are_found_however_many_there_are(db: TestDatabase) {
        let mut head = ChainHead::empty("writer-1");
        let mut events: Vec<_> = (0..10_000).map(|number| granted(number, "corp|alice")).collect();
        events[300] = granted(300, "corp|bob");
        db.store.append_events(&chain(&mut head, events), &[]).await.unwrap();
        let newest = async |user: &str, limit| {
            let filter = EventFilter { user: Some(user.to_owned()), limit, ..EventFilter::default() };
            let events = db.store.list_events(&filter).await.unwrap();
            events.into_iter().map(|event| event.request_id).collect::<Vec<_>>()
        };
        assert_eq!(newest("corp|alice", 2).await, [request(9_999), request(9_998)]);
        let more = (10_000..10_002).map(|number| granted(number, "corp|alice")).collect();
        db.store.append_events(&chain(&mut head, more), &[]).await.unwrap();
        assert_eq!(newest("corp|alice", 2).await, [request(10_001), request(10_000)]);
        assert_eq!(newest("corp|bob", 2).await, [request(300)]);
    }

    async fn an_event_with_texts_that_no_index_takes_is_stored_whole(db: TestDatabase) {
        let mut event = refused(1, "subject_token_invalid");
        event.request_id = format!("{}\0", request(1));
        event.subject = Some(EventSubject::named("é\0".repeat(5000)));
        db.store.append_events(&chain(&mut ChainHead::empty("writer-1"), vec![event.clone()]), &[]).await.unwrap();
        unbroken_chain(&db.store, "writer-1").await;
        assert_eq!(db.store.events_of_request(&event.request_id).await.unwrap(), [event.clone()]);
        let filter = EventFilter { user: event.subject_sub().map(str::to_owned), limit: 1, ..EventFilter::default() };
        assert_eq!(db.store.list_events(&filter).await.unwrap(), [event]);
    }

    async fn what_cannot_be_read_is_said_to_be_corrupt(db: TestDatabase) {
        declare(&db.store).await;
        apply(&db.store, &[Change::GrantConsent(consent("con_1", None, "assistant", "records"))]).await;
        db.execute("UPDATE consent SET source = 'nobody'").await;
        let problem = db.store.find_consent("con_1").await.unwrap_err().to_string();
        assert_eq!(problem, "stored consent cannot be read: an unknown source");
        db.execute("UPDATE client SET assurance = 'none'").await;
        let problem = db.store.load_registry().await.unwrap_err().to_string();
        assert_eq!(problem, "stored client cannot be read: an unknown assurance");
        db.execute("UPDATE resource SET document = '{}'").await;
        assert!(matches!(db.store.load_registry().await, Err(StoreError::Corrupt { what: "resource", .. })));
        db.execute("UPDATE audit_event SET body = 'x'").await;
        let everything = EventFilter { limit: 1, ..EventFilter::default() };
        assert!(matches!(db.store.list_events(&everything).await, Err(StoreError::Corrupt { what: "audit event", .. })));
    }

    async fn migrating_twice_does_nothing_and_a_newer_schema_is_refused(db: TestDatabase) {
        assert!(db.store.migrate().await.unwrap().is_empty());
        assert!(db.store.pending_migrations().await.unwrap().is_empty());
        db.execute("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 5").await;
        let newer = "the database has migration 9999, which this program does not know: it needs a newer program";
        assert_eq!(db.store.pending_migrations().await.unwrap_err().to_string(), newer);
        assert_eq!(db.store.migrate().await.unwrap_err().to_string(), newer);
        db.execute("UPDATE _sqlx_migrations SET version = 5 WHERE version = 9999").await;
        assert!(db.store.migrate().await.unwrap().is_empty());
    }

    async fn a_closed_store_answers_nothing(db: TestDatabase) {
        db.store.ping().await.unwrap();
        db.store.close().await;
        unavailable(db.store.ping().await);
        unavailable(db.store.versions().await);
    }
}

async fn migrates_from_nothing(kind: Kind) {
    let db = TestDatabase::empty(kind).await;
    unavailable(db.store.ping().await);
    let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    assert_eq!(db.store.pending_migrations().await.unwrap(), files);
    let others = [db.another_store().await, db.another_store().await];
    let (one, two) = tokio::join!(others[0].migrate(), others[1].migrate());
    assert_eq!([one.unwrap(), two.unwrap()].concat(), files, "each is applied by one of the two");
    assert!(db.store.pending_migrations().await.unwrap().is_empty());
    db.store.ping().await.unwrap();
}

#[tokio::test]
async fn an_empty_sqlite_file_lists_every_migration_and_takes_each_once() {
    migrates_from_nothing(Kind::Sqlite).await;
}

#[tokio::test]
async fn an_empty_postgresql_database_lists_every_migration_and_takes_each_once() {
    migrates_from_nothing(Kind::Postgres).await;
}

#[tokio::test]
async fn another_name_of_a_sqlite_file_is_no_way_round_its_lock() {
    let db = TestDatabase::new(Kind::Sqlite).await;
    let (file, alias) = (db.directory.path().join("procura.db"), db.directory.path().join("alias.db"));
    std::os::unix::fs::symlink(&file, &alias).unwrap();
    let aliased = Store::connect(&format!("sqlite://{}", alias.display())).await.unwrap();
    let lock = db.store.lock_for_server().unwrap();
    assert!(matches!(aliased.lock_for_server(), Err(StoreError::Locked(_))));
    drop(lock);
    std::fs::hard_link(&file, db.directory.path().join("twin.db")).unwrap();
    let problem = db.store.lock_for_server().unwrap_err().to_string();
    assert!(problem.contains("has 2 names (hard links)"), "{problem}");
}

#[tokio::test]
async fn a_second_server_on_one_sqlite_file_is_refused_while_commands_still_write() {
    let db = TestDatabase::new(Kind::Sqlite).await;
    let second = db.another_store().await;
    let lock = db.store.lock_for_server().unwrap();
    let Err(StoreError::Locked(problem)) = second.lock_for_server() else { panic!("not locked") };
    let file = db.directory.path().join("procura.db");
    let expected =
        format!("another server is running on {}; a SQLite file serves one, PostgreSQL serves several", file.display());
    assert_eq!(problem, expected);
    declare(&second).await;
    drop(lock);
    second.lock_for_server().unwrap();
}

#[tokio::test]
async fn several_servers_may_run_on_one_postgresql_database() {
    let db = TestDatabase::new(Kind::Postgres).await;
    let _first = db.store.lock_for_server().unwrap();
    let _second = db.another_store().await.lock_for_server().unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn every_file_of_a_sqlite_database_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let db = TestDatabase::new(Kind::Sqlite).await;
    let _lock = db.store.lock_for_server().unwrap();
    for name in ["procura.db", "procura.db-wal", "procura.db-shm", "procura.db.lock"] {
        let mode = std::fs::metadata(db.directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn what_was_committed_to_a_sqlite_file_is_there_after_it_was_closed() {
    let db = TestDatabase::new(Kind::Sqlite).await;
    declare(&db.store).await;
    db.store.close().await;
    assert!(!db.directory.path().join("procura.db-wal").exists(), "the log was copied into the file");
    assert_eq!(db.another_store().await.load_registry().await.unwrap().0.clients.len(), 1);
}

#[tokio::test]
async fn a_url_that_leads_nowhere_is_explained_in_one_line_without_the_password() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("text"), "not a database, ".repeat(100)).unwrap();
    let closed_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (url, problem) in [
        (
            "mysql://root:hunter2@localhost/x".to_owned(),
            "a database URL begins with sqlite:// or postgres://".to_owned(),
        ),
        ("sqlite://".to_owned(), "the SQLite URL names no file: sqlite://FILE".to_owned()),
        (
            "sqlite::memory:".to_owned(),
            "a SQLite database is a file, and its URL has no parameters: sqlite://FILE".to_owned(),
        ),
        (
            format!("sqlite://{}", path("none/procura.db")),
            format!("cannot open {}: there is no directory {}", path("none/procura.db"), path("none")),
        ),
        (
            format!("sqlite://{}", path("text")),
            format!("cannot open {}: the database refused: file is not a database", path("text")),
        ),
        (format!("sqlite://{}", path("")), format!("cannot create {}: Is a directory (os error 21)", path(""))),
        (
            "postgres://procura:hunter2@localhost:port/x".to_owned(),
            "not a PostgreSQL URL: postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned(),
        ),
        (
            format!("postgres://procura:hunter2@127.0.0.1:{closed_port}/x"),
            format!(
                "cannot connect to PostgreSQL at 127.0.0.1:{closed_port}: the connection to the database failed: \
                 Connection refused (os error 111)"
            ),
        ),
    ] {
        let answer = unavailable(Store::connect(&url).await);
        assert_eq!(answer, problem);
        assert!(!answer.contains("hunter2") && !answer.contains('\n'), "{answer}");
    }
}

#[tokio::test]
async fn a_postgresql_database_that_is_not_there_is_named() {
    let url = crate::postgres::database().await.replace("/test_", "/nothing_");
    let problem = unavailable(Store::connect(&url).await);
    assert!(problem.starts_with("cannot connect to PostgreSQL at "), "{problem}");
    assert!(problem.contains("the database refused: database \"nothing_"), "{problem}");
}
