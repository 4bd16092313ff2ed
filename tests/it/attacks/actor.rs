//! Actors that are not what they say (A37 to A41).

use super::{Backend, INVALID_REQUEST, RECORDS, exchange_changed, holds_nothing_of, refused, world};
use crate::database::Kind;
use crate::issuer::sign_text;
use crate::server::{ACCESS_TOKEN, ID_TOKEN, ISSUER, NOW};
use crate::world::World;
use procura::domain::decision::ReasonCode;
use procura::domain::resource::SigningAlgorithm;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn with_actor(world: &World, token: &str, token_type: &str, reason: ReasonCode) {
    let subject = world.id_token(json!({}));
    let more = [RECORDS, ("actor_token", token), ("actor_token_type", token_type)];
    let answer = world.exchange_as("assistant", &subject, &more).await;
    refused(world, &answer, INVALID_REQUEST, reason, &[token, &subject]).await;
}

#[tokio::test]
async fn a37_an_actor_that_is_forged_borrowed_or_the_subject_itself() {
    let world = world().await;
    // What is not a parameter changes nothing.
    let forged = [
        RECORDS,
        ("act", r#"{"sub":"root"}"#),
        ("may_act", r#"{"sub":"root"}"#),
        ("actor", "root"),
        ("sub", "corp|bob"),
        ("requested_subject", "bob"),
    ];
    let answer = world.exchange(json!({}), &forged).await;
    let token = world.assert_granted(&answer).await;
    assert_eq!((&token["sub"], &token["act"]), (&json!("corp|alice"), &json!({"iss": ISSUER, "sub": "assistant"})));
    // Tokens of others.
    with_actor(&world, &world.own_token("stranger", &[]).await, ACCESS_TOKEN, ReasonCode::ActorNotPermitted).await;
    with_actor(&world, &world.records_token().await, ACCESS_TOKEN, ReasonCode::ActorTokenDelegated).await;
    let for_a_backend = world.own_token("planner", &[RECORDS]).await;
    with_actor(&world, &for_a_backend, ACCESS_TOKEN, ReasonCode::ActorTokenInvalid).await;
    with_actor(&world, &world.bobs_id_token(), ACCESS_TOKEN, ReasonCode::ActorTokenInvalid).await;
    with_actor(&world, &world.bobs_id_token(), ID_TOKEN, ReasonCode::ActorTokenTypeUnsupported).await;
    // The same token twice.
    let subject = world.id_token(json!({}));
    let more = [RECORDS, ("actor_token", subject.as_str()), ("actor_token_type", ACCESS_TOKEN)];
    let answer = world.exchange_as("assistant", &subject, &more).await;
    refused(&world, &answer, INVALID_REQUEST, ReasonCode::ActorTokenIsSubjectToken, &[&subject]).await;
}

/// `act` in `act`, so many times, as text: no JSON library is asked to nest it.
fn bomb(claims: &Value, depth: usize) -> String {
    let (open, close) = (r#"{"sub":"a","act":"#.repeat(depth), "}".repeat(depth));
    let claims = claims.to_string();
    format!(r#"{},"act":{open}{{"sub":"a"}}{close}}}"#, claims.trim_end_matches('}'))
}

#[tokio::test]
async fn a38_a_bomb_of_nested_actors() {
    // Without a limit of the body, so that the largest one gets as far as the token itself.
    let world = World::configured(Kind::Sqlite, &[("PROCURA_LIMITS__BODY_BYTES", "0")]).await;
    let backend = Backend::new(SigningAlgorithm::ES256);
    let started = Instant::now();
    for (depth, reason) in [
        (4, ReasonCode::ChainTooDeep),
        (5, ReasonCode::ChainTooDeep),
        (500, ReasonCode::ChainTooDeep),
        (1_000, ReasonCode::SubjectTokenTooLarge),
        (100_000, ReasonCode::SubjectTokenTooLarge),
    ] {
        let key = world.corp.key();
        let header = json!({"alg": "ES256", "kid": key.kid(), "typ": "JWT"}).to_string();
        let token = sign_text(&key, &header, &bomb(&world.alice(json!({})), depth));
        let answer = world.exchange_as("assistant", &token, &[RECORDS]).await;
        refused(&world, &answer, INVALID_REQUEST, reason, &[&token]).await;

        let mut genuine = backend.genuine();
        genuine.claims.as_object_mut().unwrap().remove("act");
        let token = sign_text(&genuine.key, &genuine.header().to_string(), &bomb(&genuine.claims, depth));
        let seen = backend.verify(&token).map(|token| token.act.unwrap().actors().len());
        assert_eq!(seen, if depth < 16 { Ok(depth + 1) } else { Err("form".to_owned()) }, "a backend reads to 16");
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());

    // With the limit that is set otherwise, the largest one is not even read.
    let world = super::world().await;
    let answer = world.server.raw_token(format!("subject_token={}", "a".repeat(1_000_000)), None).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (413, &json!("invalid_request")));
}

#[tokio::test]
async fn a39_an_act_that_is_no_actor() {
    let world = world().await;
    let backend = Backend::new(SigningAlgorithm::ES256);
    for act in [
        json!([]),
        json!([{"sub": "assistant"}]),
        json!("assistant"),
        json!(1),
        json!(true),
        json!({}),
        json!({"sub": 1}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": "a", "iss": 1}),
        json!({"sub": "a", "act": []}),
        json!({"sub": "a", "act": {"iss": ISSUER}}),
    ] {
        let (answer, token) = exchange_changed(&world, json!({ "act": act })).await;
        refused(&world, &answer, INVALID_REQUEST, ReasonCode::SubjectTokenClaimsInvalid, &[&token]).await;
        assert_eq!(backend.verify(&backend.genuine().with_claims(json!({ "act": act }))).unwrap_err(), "act", "{act}");
    }
}

#[tokio::test]
async fn a40_a_may_act_that_names_another_actor() {
    let world = world().await;
    for may_act in [
        json!({"sub": "planner"}),
        json!({"sub": "assistant", "iss": "https://elsewhere.example"}),
        json!({"sub": "assistant", "client_id": "planner"}),
        json!({"sub": "assistant", "department": "x"}),
        json!({"sub": ["assistant"]}),
        json!({}),
    ] {
        let (answer, token) = exchange_changed(&world, json!({ "may_act": may_act })).await;
        refused(&world, &answer, INVALID_REQUEST, ReasonCode::MayActMismatch, &[&token]).await;
    }
    for malformed in [json!([]), json!("assistant"), json!(1)] {
        let (answer, token) = exchange_changed(&world, json!({ "may_act": malformed })).await;
        refused(&world, &answer, INVALID_REQUEST, ReasonCode::SubjectTokenClaimsInvalid, &[&token]).await;
    }
    // It counts for the one that will act, not for the one that asks.
    let planner = world.own_token("planner", &[]).await;
    let subject = world.id_token(json!({"may_act": {"sub": "assistant"}}));
    let more = [RECORDS, ("actor_token", planner.as_str()), ("actor_token_type", ACCESS_TOKEN)];
    let answer = world.exchange_as("assistant", &subject, &more).await;
    refused(&world, &answer, INVALID_REQUEST, ReasonCode::MayActMismatch, &[&subject, &planner]).await;
}

#[tokio::test]
async fn a41_no_request_gets_a_token_without_its_actor() {
    let world = world().await;
    for more in [
        vec![],
        vec![("actor_token", ""), ("actor_token_type", "")],
        vec![("act", ""), ("impersonate", "true"), ("requested_subject", "alice")],
        vec![("requested_token_type", "urn:ietf:params:oauth:token-type:jwt")],
    ] {
        let mut form = vec![RECORDS];
        form.extend(more);
        let subject = world.id_token(json!({}));
        let answer = world.exchange_as("assistant", &subject, &form).await;
        let token = world.assert_granted(&answer).await;
        assert_eq!(token["act"], json!({"iss": ISSUER, "sub": "assistant"}), "{form:?}");
        holds_nothing_of(&world.server, &answer, &[&subject]).await;
    }
    // The user's token for this server, from a provider whose tokens have no actor: still one of ours does.
    let access = json!({"aud": ISSUER, "nonce": null, "client_id": "llm-app", "scope": "records.read", "iat": NOW});
    let access = crate::world::signed_with(&world.corp, json!({"typ": "at+jwt"}), &world.alice(access));
    let answer = world.exchange_typed("assistant", &access, ACCESS_TOKEN, &[RECORDS]).await;
    assert_eq!(world.assert_granted(&answer).await["act"]["sub"], "assistant");
}
