//! One kind of token in the place of another (A14 to A18, A76), and keys that have gone (A68).

use super::{
    INVALID_CLIENT, INVALID_REQUEST, MODELS_AUDIENCE, RECORDS, RECORDS_AUDIENCE, refused, verify_at_backend, world,
};
use crate::issuer::with;
use crate::server::{ACCESS_TOKEN, ID_TOKEN, ISSUER, NOW, claims};
use crate::world::{World, signed, signed_with};
use procura::domain::change::Change;
use procura::domain::client::{Assurance, Client};
use procura::domain::decision::ReasonCode;
use procura::domain::event::{AuditEvent, EventKind, EventOutcome};
use procura::domain::resource::SigningAlgorithm;
use procura::tokens::signing_keys::rotate;
use serde_json::{Value, json};
use std::time::Duration;

/// Signed by this server's own key, as no request can have it: the kind is all that can tell.
fn signed_by_us(world: &World, typ: &str, claims: &Value) -> String {
    let keys = world.server.app.signing_keys();
    keys.signer(SigningAlgorithm::ES256, NOW).unwrap().sign(typ, claims.to_string().as_bytes()).unwrap()
}

const OTHER_KINDS: [&str; 9] = [
    "oauth-id-jag+jwt",
    "client-authentication+jwt",
    "logout+jwt",
    "dpop+jwt",
    "txntoken+jwt",
    "secevent+jwt",
    "token-introspection+jwt",
    "JWT",
    "",
];

#[tokio::test]
async fn a14_an_access_token_declared_as_id_token_and_the_reverse() {
    let world = world().await;
    let access = json!({"aud": ISSUER, "nonce": null, "client_id": "llm-app", "scope": "records.read"});
    let access = signed_with(&world.corp, json!({"typ": "at+jwt"}), &world.alice(access));
    world.assert_granted(&world.exchange_typed("assistant", &access, ACCESS_TOKEN, &[RECORDS]).await).await;
    let for_the_app = signed_with(&world.corp, json!({"typ": "at+jwt"}), &world.alice(json!({"nonce": null})));
    let shaped = json!({"nonce": null, "scope": "records.read", "client_id": "llm-app"});
    let shaped = signed(&world.corp, &world.alice(shaped));
    let own = world.records_token().await;
    for (token, declared) in [
        (&access, ID_TOKEN),
        (&for_the_app, ID_TOKEN),
        (&shaped, ID_TOKEN),
        (&world.id_token(json!({})), ACCESS_TOKEN),
        (&world.id_token(json!({"aud": ISSUER})), ACCESS_TOKEN),
        (&own, ID_TOKEN),
    ] {
        let answer = world.exchange_typed("assistant", token, declared, &[RECORDS]).await;
        refused(&world, &answer, INVALID_REQUEST, ReasonCode::SubjectTokenTypeMismatch, &[token]).await;
    }
}

#[tokio::test]
async fn a15_a_delegation_token_in_the_hands_of_a_client_it_does_not_name() {
    let world = world().await;
    let token = world.records_token().await;
    for client in ["models-backend", "stranger", "planner", "deep"] {
        let answer = world.exchange_typed(client, &token, ACCESS_TOKEN, &[RECORDS]).await;
        refused(&world, &answer, INVALID_REQUEST, ReasonCode::SubjectTokenNotAddressed, &[&token]).await;
    }
    let named = world.exchange_typed("records-backend", &token, ACCESS_TOKEN, &[("audience", "models")]).await;
    world.assert_granted(&named).await;
}

#[tokio::test]
async fn a16_an_inbound_token_passed_through_to_the_next_backend() {
    let world = world().await;
    let token = world.records_token().await;
    verify_at_backend(&world.server, RECORDS_AUDIENCE, &token, NOW).await.unwrap();
    let refusal = verify_at_backend(&world.server, MODELS_AUDIENCE, &token, NOW).await.unwrap_err();
    assert!(refusal.starts_with("aud: "), "{refusal}");
    let refusal =
        verify_at_backend(&world.server, RECORDS_AUDIENCE, &world.id_token(json!({})), NOW).await.unwrap_err();
    assert!(refusal.starts_with("typ: "), "{refusal}");
}

#[tokio::test]
async fn a17_another_kind_of_jwt_as_access_token() {
    let world = world().await;
    let good = claims(&world.records_token().await);
    let genuine = signed_by_us(&world, "at+jwt", &good);
    verify_at_backend(&world.server, RECORDS_AUDIENCE, &genuine, NOW).await.unwrap();
    for typ in OTHER_KINDS {
        let token = signed_by_us(&world, typ, &good);
        let refusal = verify_at_backend(&world.server, RECORDS_AUDIENCE, &token, NOW).await.unwrap_err();
        assert!(refusal.starts_with("typ: "), "{typ}: {refusal}");
        let answer = world.exchange_typed("assistant", &token, ACCESS_TOKEN, &[RECORDS]).await;
        refused(&world, &answer, INVALID_REQUEST, ReasonCode::SubjectTokenTypeMismatch, &[&token]).await;
    }
}

#[tokio::test]
async fn a18_an_access_token_as_client_assertion_or_as_id_jag() {
    let world = world().await;
    let assertion = json!({"iss": "signer", "sub": "signer", "aud": ISSUER, "exp": NOW + 60, "jti": "a18"});
    let of_typ = |typ: &str| signed_with(&world.signer, json!({ "typ": typ }), &assertion);
    let ours = json!({"client_id": "signer", "iat": NOW});
    let own_access_token = signed_by_us(&world, "at+jwt", &with(assertion.clone(), with(ours, json!({"iss": ISSUER}))));
    for token in [of_typ("at+jwt"), of_typ("application/at+jwt"), of_typ("dpop+jwt"), own_access_token] {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", token.as_str()),
        ];
        let answer = world.server.token(&form, None).await;
        refused(&world, &answer, INVALID_CLIENT, ReasonCode::ClientAssertionInvalid, &[&token]).await;
    }
    // The grant that takes an ID-JAG is not offered.
    let token = world.records_token().await;
    let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", token.as_str())];
    let answer = world.server.token(&form, Some(("assistant", world.secret("assistant")))).await;
    let stated = (400, "unsupported_grant_type");
    refused(&world, &answer, stated, ReasonCode::GrantTypeUnsupported, &[&token, world.secret("assistant")]).await;
}

#[tokio::test]
async fn a76_a_client_that_is_taken_for_a_user_and_the_reverse() {
    let world = world().await;
    // A client's own token says of itself that nobody acts for anybody: a backend for users sees no actor.
    let own = world.own_token("worker", &[RECORDS]).await;
    let seen = verify_at_backend(&world.server, RECORDS_AUDIENCE, &own, NOW).await.unwrap();
    assert_eq!((seen.sub.as_str(), seen.act), ("worker", None));
    // As a subject it is a workload, for those only who may act for it.
    let answer = world.exchange_typed("planner", &own, ACCESS_TOKEN, &[RECORDS]).await;
    refused(&world, &answer, INVALID_REQUEST, ReasonCode::WorkloadNotPermitted, &[&own]).await;
    // A client registered under the name of a user: the user is not acted for any more, rather than mixed up.
    let token = world.id_token(json!({}));
    world.assert_granted(&world.exchange_as("assistant", &token, &[RECORDS]).await).await;
    let entry = world.server.app.snapshot().registry.client_by_name("worker").unwrap().client.clone();
    let twin = Client { id: "corp|alice".parse().unwrap(), ..entry };
    world.server.change(&[Change::PutClient(twin, Assurance::SelfAsserted)]).await;
    let answer = world.exchange_as("assistant", &token, &[RECORDS]).await;
    refused(&world, &answer, INVALID_REQUEST, ReasonCode::UserUnknown, &[&token]).await;
}

#[tokio::test]
async fn a68_a_token_of_a_retired_key_counts_while_the_key_is_published_and_guessed_keys_fetch_nothing() {
    let world = world().await;
    let rotate = async |emergency: bool| {
        let (store, app) = (&world.server.app.store, &world.server.app);
        let records = store.list_signing_keys().await.unwrap();
        let now = world.server.clock.now();
        let made = rotate(&records, SigningAlgorithm::ES256, 900, emergency, &app.secrets_key, now).unwrap();
        let (kind, outcome) = (EventKind::Administration, EventOutcome::Done);
        let event = AuditEvent::new(now * 1000, "adm_test".to_owned(), kind, outcome, "signing_key_rotated");
        assert!(store.add_signing_key(&made.key, &made.removals, event).await.unwrap());
        app.refresh().await.unwrap();
    };
    rotate(false).await;
    // Signed by the old key just before the new one takes over, and used after that.
    world.server.clock.advance(Duration::from_secs(899));
    let token = world.records_token().await;
    world.server.clock.advance(Duration::from_mins(1));
    let onward = async |token: &str| {
        world.exchange_typed("records-backend", token, ACCESS_TOKEN, &[("audience", "models")]).await
    };
    let signer = world
        .server
        .app
        .signing_keys()
        .signer(SigningAlgorithm::ES256, world.server.clock.now())
        .unwrap()
        .kid()
        .to_owned();
    assert_ne!(kid(&token), signer, "the old key signs no more");
    assert_eq!(onward(&token).await.status, 200);
    // In an emergency the old keys are gone at once.
    rotate(true).await;
    let refused_now = onward(&token).await;
    refused(&world, &refused_now, INVALID_REQUEST, ReasonCode::SubjectTokenKeyUnknown, &[&token]).await;
    // A flood of unknown keys of a provider: fetched again twice a minute at most.
    let fetched = world.corp.jwks_requests();
    for number in 0..50 {
        let token = signed_with(&world.corp, json!({"kid": format!("guess-{number}")}), &world.alice(json!({})));
        let answer = world.exchange_as("assistant", &token, &[RECORDS]).await;
        assert_eq!(answer.status, 400);
    }
    assert!(world.corp.jwks_requests() <= fetched + 1, "{} fetches", world.corp.jwks_requests() - fetched);
}

fn kid(token: &str) -> String {
    use base64::Engine;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}
