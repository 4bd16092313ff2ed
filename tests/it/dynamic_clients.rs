//! Clients that no administrator registered, in the store, on both databases.

use procura::domain::change::Change;
use procura::domain::client::{Assurance, ClientAuthentication};
use procura::domain::consent::{Consent, ConsentSource, ConsentingUser};
use procura::domain::dynamic_client::DynamicClient;
use procura::domain::event::{AuditEvent, EventKind, EventOutcome};
use procura::domain::names::ClientId;
use procura::store::{Store, StoreError};
use serde_json::json;

const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

fn id(text: &str) -> ClientId {
    text.parse().unwrap()
}

fn client(name: &str, assurance: Assurance) -> DynamicClient {
    let client = json!({
        "id": name, "name": "An app", "authentication": "none", "grants": ["authorization_code"],
        "redirect_uris": ["https://app.example/cb"],
    });
    DynamicClient {
        client: serde_json::from_value(client).unwrap(),
        assurance,
        other_authentication: vec![ClientAuthentication::PrivateKeyJwt],
        metadata: r#"{"client_name":"An app"}"#.to_owned(),
        secret_hash: Some("$argon2id$x".to_owned()),
        registration_token_digest: Some("digest".to_owned()),
        created_at: NOW,
        last_used_at: None,
        fetched_at: None,
        fresh_until: None,
        suspended_at: None,
    }
}

fn event(kind: EventKind) -> AuditEvent {
    AuditEvent::new(NOW * 1000, procura::secrets::random_id("req"), kind, EventOutcome::Done, "test")
}

async fn change(store: &Store, change: Change) -> Result<(), StoreError> {
    store.change(&[change], event(EventKind::Administration), NOW).await
}

async fn consent(store: &Store, client: &str, expires_at: Option<i64>) -> String {
    let resource = json!({"id": "records", "audience": "https://records.example.com", "name": "Records"});
    change(store, Change::PutResource(serde_json::from_value(resource).unwrap())).await.unwrap();
    let consent = Consent {
        id: procura::secrets::random_id("cns"),
        user: ConsentingUser::One("corp|alice".parse().unwrap()),
        client: id(client),
        resource: "records".parse().unwrap(),
        scopes: "records.read".parse().unwrap(),
        source: ConsentSource::User,
        granted_at: NOW,
        expires_at,
        revoked_at: None,
        paused_at: None,
        fingerprint: None,
        redirect_uri: None,
    };
    let id = consent.id.clone();
    change(store, Change::GrantConsent(consent)).await.unwrap();
    id
}

async fn names(store: &Store) -> Vec<String> {
    let mut names: Vec<String> =
        store.list_dynamic_clients(1000).await.unwrap().iter().map(|client| client.id().to_string()).collect();
    names.sort();
    names
}

store_test! {
    async fn a_client_is_stored_whole_and_once(db: TestDatabase) {
        let stored = DynamicClient {
            last_used_at: Some(NOW), fetched_at: Some(NOW), fresh_until: Some(NOW + 1), suspended_at: Some(NOW),
            ..client("dcr_1", Assurance::SelfAsserted)
        };
        assert!(db.store.insert_dynamic_client(&stored).await.unwrap());
        assert_eq!(db.store.find_dynamic_client(&id("dcr_1")).await.unwrap(), Some(stored));
        assert!(!db.store.insert_dynamic_client(&client("dcr_1", Assurance::SelfAsserted)).await.unwrap());
        assert_eq!(db.store.find_dynamic_client(&id("dcr_2")).await.unwrap(), None);
        assert_eq!(names(&db.store).await, ["dcr_1"]);
        assert!(db.store.list_dynamic_clients(0).await.unwrap().is_empty());
    }

    async fn a76_an_id_of_the_registry_is_taken(db: TestDatabase) {
        let vetted = client("assistant", Assurance::Vetted).client;
        change(&db.store, Change::PutClient(vetted, Assurance::Vetted)).await.unwrap();
        assert!(!db.store.insert_dynamic_client(&client("assistant", Assurance::SelfAsserted)).await.unwrap());
    }

    async fn of_two_fetches_the_later_counts_and_uses_and_suspension_stay(db: TestDatabase) {
        let first = DynamicClient { fetched_at: Some(NOW), ..client("https://a.example/c", Assurance::Domain) };
        assert!(db.store.insert_dynamic_client(&first).await.unwrap());
        db.store.touch_dynamic_clients(&[(id("https://a.example/c"), NOW + 5), (id("dcr_gone"), NOW)]).await.unwrap();
        change(&db.store, Change::SuspendClient(id("https://a.example/c"))).await.unwrap();
        let put = async |name: &str, fetched_at: Option<i64>| {
            let mut new = DynamicClient { fetched_at, fresh_until: Some(NOW + 10), ..first.clone() };
            new.client.name = name.to_owned();
            db.store.put_client_document(&new).await.unwrap();
            db.store.find_dynamic_client(first.id()).await.unwrap().unwrap()
        };
        assert_eq!(put("Later", Some(NOW + 3)).await.client.name, "Later");
        assert_eq!(put("Earlier", Some(NOW + 2)).await.client.name, "Later");
        let last = put("Pinned", None).await;
        assert_eq!((last.client.name.as_str(), last.last_used_at, last.suspended_at), ("Later", Some(NOW + 5), Some(NOW)));
    }

    async fn a_registration_is_changed_and_ended_by_the_holder_of_its_token_only(db: TestDatabase) {
        let stored = client("dcr_1", Assurance::SelfAsserted);
        db.store.insert_dynamic_client(&stored).await.unwrap();
        let given = consent(&db.store, "dcr_1", None).await;
        let mut new = DynamicClient { secret_hash: None, ..stored.clone() };
        "Another".clone_into(&mut new.client.name);
        let before = db.store.versions().await.unwrap();
        let replace = async |digest: &str| {
            db.store.replace_registration(&new, digest, event(EventKind::Registration)).await.unwrap()
        };
        assert!(!replace("another digest").await);
        assert_eq!(db.store.find_dynamic_client(&id("dcr_1")).await.unwrap(), Some(stored));
        assert!(replace("digest").await);
        assert_eq!(db.store.find_dynamic_client(&id("dcr_1")).await.unwrap(), Some(new));
        assert_eq!(db.store.versions().await.unwrap(), before);
        let end = async |digest: &str| {
            let event = event(EventKind::Registration);
            db.store.end_registration(&id("dcr_1"), digest, event, NOW).await.unwrap()
        };
        assert!(!end("another digest").await);
        assert_eq!(db.store.find_consent(&given).await.unwrap().unwrap().revoked_at, None);
        assert!(end("digest").await);
        assert_eq!(db.store.find_dynamic_client(&id("dcr_1")).await.unwrap(), None);
        assert_eq!(db.store.find_consent(&given).await.unwrap().unwrap().revoked_at, Some(NOW));
        assert_eq!(db.store.versions().await.unwrap().consents, before.consents + 1);
        assert!(!end("digest").await);
    }

    async fn administrators_suspend_resume_and_remove_such_clients_like_any_other(db: TestDatabase) {
        db.store.insert_dynamic_client(&client("dcr_1", Assurance::SelfAsserted)).await.unwrap();
        let given = consent(&db.store, "dcr_1", None).await;
        let suspended = async || db.store.find_dynamic_client(&id("dcr_1")).await.unwrap().unwrap().suspended_at;
        let before = db.store.versions().await.unwrap().registry;
        change(&db.store, Change::SuspendClient(id("dcr_1"))).await.unwrap();
        assert_eq!(suspended().await, Some(NOW));
        change(&db.store, Change::ResumeClient(id("dcr_1"))).await.unwrap();
        assert_eq!(suspended().await, None);
        assert_eq!(db.store.versions().await.unwrap().registry, before + 2);
        change(&db.store, Change::RemoveClient(id("dcr_1"))).await.unwrap();
        assert_eq!(db.store.find_dynamic_client(&id("dcr_1")).await.unwrap(), None);
        assert_eq!(db.store.find_consent(&given).await.unwrap().unwrap().revoked_at, Some(NOW));
        for gone in [Change::SuspendClient(id("dcr_1")), Change::ResumeClient(id("dcr_1")), Change::RemoveClient(id("dcr_1"))] {
            let rejected = change(&db.store, gone).await;
            assert!(matches!(rejected, Err(StoreError::Rejected(text)) if text == "there is no client dcr_1"));
        }
    }

    async fn the_dead_are_removed_and_the_living_stay(db: TestDatabase) {
        let at = |name: &str, created_at: i64, last_used_at: Option<i64>| DynamicClient {
            created_at, last_used_at, ..client(name, Assurance::SelfAsserted)
        };
        let document = |name: &str, last_used_at| DynamicClient {
            last_used_at: Some(last_used_at), ..client(name, Assurance::Domain)
        };
        let old = NOW - 200 * DAY;
        for (stored, agreed) in [
            (at("dcr_new", NOW - HOUR, None), None),
            (at("dcr_unused", NOW - 25 * HOUR, None), None),
            (at("dcr_unused_agreed", NOW - 25 * HOUR, None), Some(None)),
            (at("dcr_used", old, Some(NOW - 80 * DAY)), None),
            (at("dcr_idle", old, Some(NOW - 91 * DAY)), None),
            (at("dcr_idle_agreed", old, Some(NOW - 91 * DAY)), Some(None)),
            (at("dcr_idle_agreed_once", old, Some(NOW - 91 * DAY)), Some(Some(NOW))),
            (DynamicClient { suspended_at: Some(old), ..at("dcr_idle_suspended", old, Some(old)) }, None),
            (document("https://a.example/used", NOW - HOUR), None),
            (document("https://a.example/idle", NOW - 25 * HOUR), None),
            (document("https://a.example/idle_agreed", NOW - 25 * HOUR), Some(None)),
            (at("dcr_idle_granted", old, Some(NOW - 91 * DAY)), None),
            (at("dcr_idle_revoked", old, Some(NOW - 91 * DAY)), None),
            (at("dcr_idle_ended", old, Some(NOW - 91 * DAY)), None),
        ] {
            db.store.insert_dynamic_client(&stored).await.unwrap();
            if let Some(expires_at) = agreed {
                consent(&db.store, stored.id().as_str(), expires_at).await;
            }
        }
        for (name, ends_at, revoked_at) in [
            ("dcr_idle_granted", NOW + 1, "NULL"), ("dcr_idle_revoked", NOW + 1, "1"), ("dcr_idle_ended", NOW, "NULL"),
        ] {
            db.execute(&format!(
                "INSERT INTO grant_family (id, user_id, client_id, resource_id, idp, idp_sub, terms, created_at,
                code_ends_at, generation, rotations, used_at, ends_at, revoked_at) VALUES
                ('family-{name}', 'corp|alice', '{name}', 'records', 'corp', 'alice', '', 1, 1, 1, '', 1, {ends_at},
                {revoked_at})"
            )).await;
        }
        let reaped = db.store.reap_dynamic_clients(NOW - 24 * HOUR, NOW - 90 * DAY, NOW).await.unwrap();
        assert_eq!(names(&db.store).await, [
            "dcr_idle_agreed", "dcr_idle_granted", "dcr_idle_suspended", "dcr_new", "dcr_unused_agreed", "dcr_used",
            "https://a.example/idle_agreed", "https://a.example/used",
        ]);
        assert_eq!(reaped, 6);
        assert_eq!(db.store.reap_dynamic_clients(NOW - 24 * HOUR, NOW - 90 * DAY, NOW).await.unwrap(), 0);
    }

    async fn a_later_use_is_kept_and_an_earlier_one_is_not(db: TestDatabase) {
        db.store.insert_dynamic_client(&client("dcr_1", Assurance::SelfAsserted)).await.unwrap();
        for (at, expected) in [(NOW, NOW), (NOW - 60, NOW), (NOW + 60, NOW + 60)] {
            db.store.touch_dynamic_clients(&[(id("dcr_1"), at)]).await.unwrap();
            let stored = db.store.find_dynamic_client(&id("dcr_1")).await.unwrap().unwrap();
            assert_eq!(stored.last_used_at, Some(expected));
        }
        db.store.touch_dynamic_clients(&[]).await.unwrap();
    }
}
