//! What must hold, whatever happened: read from the database and the JWKS afterwards.

use super::deployment::{AUDIENCE, Deployment, ISSUER, Server};
use super::load::Story;
use crate::server::claims;
use procura::clock::Clock;
use procura::domain::event::AuditEvent;
use procura::store::EventFilter;
use procura::tokens::offline::OfflineVerifier;
use std::collections::HashMap;

/// Every answered token has its one event, which says of it what the token says; every token still verifies with the
/// keys that are published; every chain is whole. Returns the events of granted tokens whose answer nobody got.
pub(super) async fn assert_whole(deployment: &Deployment, server: &Server, story: &Story) -> usize {
    let mut events: HashMap<String, Vec<AuditEvent>> = HashMap::new();
    for event in granted(deployment).await {
        events.entry(event.jti.clone().expect("a granted event names its token")).or_default().push(event);
    }
    let verifier = OfflineVerifier::new(ISSUER, AUDIENCE, &server.get("/.well-known/jwks.json").await).unwrap();
    let now = Clock::System.now();
    for (answer, token) in story.granted() {
        let claims = claims(token);
        let jti = claims["jti"].as_str().unwrap();
        let of_token = events.remove(jti).unwrap_or_else(|| panic!("token {jti} was answered and has no event"));
        assert_eq!(of_token.len(), 1, "one event for token {jti}");
        assert_eq!(of_token[0].subject_sub(), claims["sub"].as_str(), "{jti}");
        assert_eq!(claims["sub"], format!("corp|{}", answer.user), "{jti}");
        verifier.verify(token, now).unwrap_or_else(|problem| panic!("token {jti} does not verify: {problem}"));
    }
    let verdict = deployment.ok(&["audit", "verify"]);
    assert!(verdict.starts_with("whole: "), "{verdict}");
    events.len()
}

/// Every event of a granted token.
async fn granted(deployment: &Deployment) -> Vec<AuditEvent> {
    events(deployment, "granted").await
}

/// Every event that ended so.
pub(super) async fn events(deployment: &Deployment, outcome: &str) -> Vec<AuditEvent> {
    let store = deployment.store().await;
    let filter = EventFilter { outcome: Some(outcome.to_owned()), limit: i64::MAX, ..EventFilter::default() };
    let events = store.list_events(&filter).await.unwrap();
    store.close().await;
    events
}
