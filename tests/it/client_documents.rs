//! Clients that are known by a document under their own domain: when it is fetched, and what stands in for it.

use crate::database::Kind;
use crate::documents::{DocumentHost, Reply};
use crate::server::{NOW, TestServer};
use procura::app::ResolveError;
use procura::domain::client::{Assurance, ClientEntry};
use procura::domain::decision::{ReasonCode, Refusal};
use procura::domain::event::{AuditEvent, EventKind};
use procura::domain::names::ClientId;
use procura::store::EventFilter;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A server on this machine, which may read documents from this machine.
pub(crate) const HERE: (&str, &str) = ("PROCURA_ISSUER", "http://127.0.0.1:8420");

pub(crate) const OPEN: &str = r#"
[[resource]]
id = "records"
audience = "https://records.example.com/api"
name = "Records"
open_to = ["domain", "self_asserted"]
[[resource.scope]]
name = "records.read"
description = "See records"
access = "read"
[[resource.scope]]
name = "records.delete"
description = "Delete records"
access = "destructive"
vetted_only = true
"#;

pub(crate) async fn resolve(server: &TestServer, id: &str) -> Result<Option<Arc<ClientEntry>>, ResolveError> {
    let (id, snapshot): (ClientId, _) = (id.parse().unwrap(), server.app.snapshot());
    server.app.clients.resolve(&server.app, &snapshot, &id, None, server.clock.now()).await
}

pub(crate) async fn find(server: &TestServer, id: &str) -> Option<Arc<ClientEntry>> {
    server.app.clients.find(&server.app.store, &server.app.snapshot(), &id.parse().unwrap()).await.unwrap()
}

pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, ResolveError>) -> Refusal {
    match result {
        Err(ResolveError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn document(id: &str, changes: Value) -> Value {
    let good = json!({
        "client_id": id, "client_name": "Test App", "redirect_uris": ["https://app.example/cb"],
        "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"],
    });
    crate::issuer::with(good, changes)
}

async fn events(server: &TestServer) -> Vec<AuditEvent> {
    let filter = EventFilter { limit: 100, ..EventFilter::default() };
    let mut events = server.app.store.list_events(&filter).await.unwrap();
    events.retain(|event| event.kind == EventKind::Registration);
    events
}

/// A server and a host of documents, with one good document.
async fn world(kind: Kind) -> (TestServer, DocumentHost, String) {
    let (server, host) = (TestServer::configured(kind, &[HERE]).await, DocumentHost::start().await);
    server.apply(OPEN).await;
    let id = host.url("/client.json");
    host.document("/client.json", &document(&id, json!({})));
    (server, host, id)
}

#[tokio::test]
async fn a_document_is_read_once_and_then_kept_for_its_time() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let (server, host, id) = world(kind).await;
        assert!(find(&server, &id).await.is_none(), "a token request fetches nothing");
        assert_eq!(host.connections(), 0);
        let entry = resolve(&server, &id).await.unwrap().unwrap();
        assert_eq!((entry.assurance, entry.client.name.as_str()), (Assurance::Domain, "Test App"));
        assert_eq!(json!(entry.client.resources), json!({"records": ["records.read"]}));
        for _ in 0..3 {
            assert!(resolve(&server, &id).await.unwrap().is_some());
            assert_eq!(find(&server, &id).await.unwrap().client, entry.client);
        }
        assert_eq!(host.connections(), 1);
        server.clock.advance(Duration::from_hours(1));
        assert!(find(&server, &id).await.is_some(), "rule CM-11: a copy past its time serves tokens");
        assert_eq!(host.connections(), 1);
        assert!(resolve(&server, &id).await.unwrap().is_some());
        assert_eq!(host.connections(), 2);
        let events = events(&server).await;
        assert_eq!(events.len(), 1, "that nothing has changed is no event");
        assert_eq!(
            (events[0].reason.as_str(), events[0].client.as_ref().unwrap().as_str()),
            ("registered", id.as_str())
        );
    }
}

#[tokio::test]
async fn many_users_at_once_lead_to_one_fetch() {
    let (server, host, id) = world(Kind::Sqlite).await;
    let all = futures_util::future::join_all((0..50).map(|_| resolve(&server, &id))).await;
    assert!(all.into_iter().all(|one| one.unwrap().is_some()));
    assert_eq!(host.connections(), 1);
    assert_eq!(events(&server).await.len(), 1);
}

#[tokio::test]
async fn the_cache_headers_of_a_document_count_between_five_minutes_and_a_day() {
    for (header, seconds) in
        [("no-store", 300), ("max-age=1", 300), ("max-age=600", 600), ("max-age=999999", 86_400), ("public", 3600)]
    {
        let (server, host, id) = world(Kind::Sqlite).await;
        let cache = format!("Cache-Control: {header}");
        let headers = ["Content-Type: application/json", cache.as_str()];
        host.answer("/client.json", "200 OK", &headers, document(&id, json!({})).to_string().as_bytes());
        resolve(&server, &id).await.unwrap().unwrap();
        let stored = server.app.store.find_dynamic_client(&id.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(stored.fresh_until, Some(NOW + seconds), "{header}");
    }
}

#[tokio::test]
async fn the_last_good_copy_serves_while_the_document_cannot_be_had_but_not_for_ever() {
    let (server, host, id) = world(Kind::Sqlite).await;
    resolve(&server, &id).await.unwrap().unwrap();
    host.answer("/client.json", "503 Service Unavailable", &[], b"");
    server.clock.advance(Duration::from_hours(24));
    assert!(resolve(&server, &id).await.unwrap().is_some());
    assert_eq!(host.connections(), 2);
    assert!(resolve(&server, &id).await.unwrap().is_some());
    assert_eq!(host.connections(), 2, "a moment later it is not tried again");
    server.clock.advance(Duration::from_hours(24 * 8));
    assert_eq!(refusal(resolve(&server, &id).await).reason, ReasonCode::ClientDocumentUnavailable);
}

#[tokio::test]
async fn a_failure_is_forgotten_after_seconds_and_a_silent_server_costs_three() {
    let (server, host, _) = world(Kind::Sqlite).await;
    let id = host.url("/other.json");
    host.reply("/other.json", Reply::Silence);
    let started = std::time::Instant::now();
    assert_eq!(refusal(resolve(&server, &id).await).reason, ReasonCode::ClientDocumentUnavailable);
    assert!(started.elapsed() < Duration::from_millis(3500), "{:?}", started.elapsed());
    host.document("/other.json", &document(&id, json!({})));
    assert_eq!(refusal(resolve(&server, &id).await).reason, ReasonCode::ClientDocumentUnavailable);
    server.clock.advance(Duration::from_secs(5));
    assert!(resolve(&server, &id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_client_that_an_administrator_registered_under_its_url_is_never_fetched() {
    let (server, host, id) = world(Kind::Sqlite).await;
    server
        .apply(&format!(
            "[[client]]\nid = \"{id}\"\nname = \"Vetted\"\nauthentication = \"none\"\ngrants = [\"authorization_code\"]\n\
             redirect_uris = [\"https://app.example/cb\"]\n"
        ))
        .await;
    let entry = resolve(&server, &id).await.unwrap().unwrap();
    assert_eq!((entry.assurance, entry.client.name.as_str()), (Assurance::Vetted, "Vetted"));
    assert_eq!(host.connections(), 0);
}

#[tokio::test]
async fn who_is_not_let_in_is_not_fetched_and_what_is_denied_later_is_unknown() {
    let host = DocumentHost::start().await;
    let id = host.url("/client.json");
    host.document("/client.json", &document(&id, json!({})));
    let allowed = [HERE, ("PROCURA_REGISTRATION__ALLOW", "claude.ai")];
    let denied = [HERE, ("PROCURA_REGISTRATION__DENY", "127.0.0.1")];
    for variables in [allowed, denied] {
        let server = TestServer::configured(Kind::Sqlite, &variables).await;
        assert_eq!(refusal(resolve(&server, &id).await).reason, ReasonCode::ClientNotLetIn);
    }
    let off = [HERE, ("PROCURA_REGISTRATION__METADATA_DOCUMENTS", "off")];
    let server = TestServer::configured(Kind::Sqlite, &off).await;
    assert!(resolve(&server, &id).await.unwrap().is_none());
    assert_eq!(host.connections(), 0);
}

#[tokio::test]
async fn keys_of_a_client_are_fetched_from_this_machine_only_by_a_server_on_this_machine() {
    use procura::domain::identity_provider::VerificationAlgorithm::ES256;
    let issuer = crate::issuer::TestIssuer::start().await;
    let (here, host, _) = world(Kind::Sqlite).await;
    let id = host.url("/signer.json");
    let keys = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": issuer.jwks_uri()});
    host.document("/signer.json", &document(&id, keys));
    let entry = resolve(&here, &id).await.unwrap().unwrap();
    assert!(here.app.issuer_keys.of_client(&entry.client, None, ES256, NOW).await.is_ok());
    assert_eq!(issuer.jwks_requests(), 1);
    let elsewhere = TestServer::start(Kind::Sqlite).await;
    assert!(elsewhere.app.issuer_keys.of_client(&entry.client, None, ES256, NOW).await.is_err());
    assert_eq!(issuer.jwks_requests(), 1);
}

#[tokio::test]
async fn a_client_that_was_removed_as_unused_comes_back_with_its_document() {
    let (server, host, id) = world(Kind::Sqlite).await;
    resolve(&server, &id).await.unwrap().unwrap();
    server.clock.advance(Duration::from_hours(25));
    let (settings, now) = (server.app.clients.settings(), server.clock.now());
    let gone = server.app.store.reap_dynamic_clients(settings.unused_since(now), settings.idle_since(now), now).await;
    assert_eq!(gone.unwrap(), 1);
    // Still remembered here for a moment, so that it looks like one that is refreshed.
    assert!(resolve(&server, &id).await.unwrap().is_some());
    assert!(server.app.store.find_dynamic_client(&id.parse().unwrap()).await.unwrap().is_some());
    assert_eq!(host.connections(), 2);
}

#[tokio::test]
async fn a_suspended_client_stays_suspended_whatever_its_document_says() {
    let (server, host, id) = world(Kind::Sqlite).await;
    resolve(&server, &id).await.unwrap().unwrap();
    server.change(&[procura::domain::change::Change::SuspendClient(id.parse().unwrap())]).await;
    server.clock.advance(Duration::from_hours(24 * 30));
    assert!(resolve(&server, &id).await.unwrap().unwrap().suspended_at.is_some());
    assert!(find(&server, &id).await.unwrap().suspended_at.is_some());
    assert_eq!(host.connections(), 1);
}

#[tokio::test]
async fn new_documents_for_one_address_are_limited_and_known_ones_are_not() {
    let (server, host, id) = world(Kind::Sqlite).await;
    let source = Some("192.0.2.7".parse().unwrap());
    let snapshot = server.app.snapshot();
    let ask = async |id: &str| {
        let id = id.parse().unwrap();
        server.app.clients.resolve(&server.app, &snapshot, &id, source, NOW).await
    };
    assert!(ask(&id).await.unwrap().is_some());
    let mut limited = 0;
    for number in 0..40 {
        let refusal = refusal(ask(&host.url(&format!("/{number}.json"))).await);
        if refusal.reason == ReasonCode::RegistrationsTooMany {
            assert!(refusal.retry_after_seconds.is_some());
            limited += 1;
        }
    }
    assert!((20..=22).contains(&limited), "{limited}");
    assert!(ask(&id).await.unwrap().is_some(), "who is known already is let through");
}
