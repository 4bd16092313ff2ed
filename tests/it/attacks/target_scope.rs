//! More scope, or another backend (A33 to A35, A58, A81).

use super::{INVALID_SCOPE, INVALID_TARGET, MODELS_AUDIENCE, RECORDS, RECORDS_AUDIENCE, refused, world};
use crate::server::{ACCESS_TOKEN, ISSUER};
use procura::domain::decision::ReasonCode;
use serde_json::json;

#[tokio::test]
async fn a33_a_scope_that_the_subject_token_does_not_have() {
    let world = world().await;
    let first = world.exchange(json!({}), &[RECORDS, ("scope", "records.read")]).await.token();
    for (scope, reason) in [
        ("records.write", ReasonCode::ScopeBeyondSubject),
        ("records.write records.delete", ReasonCode::ScopeBeyondSubject),
        ("records.nonsense", ReasonCode::ScopeUnknown),
        ("model.general", ReasonCode::ScopeUnknown),
        ("RECORDS.READ", ReasonCode::ScopeUnknown),
        ("*", ReasonCode::ScopeUnknown),
    ] {
        let answer = world.exchange_typed("assistant", &first, ACCESS_TOKEN, &[RECORDS, ("scope", scope)]).await;
        refused(&world, &answer, INVALID_SCOPE, reason, &[&first]).await;
    }
    // What is left of a mixed request, and no more.
    for scope in [Some("records.read records.write model.general"), None] {
        let more: Vec<_> = [Some(RECORDS), scope.map(|scope| ("scope", scope))].into_iter().flatten().collect();
        let answer = world.exchange_typed("assistant", &first, ACCESS_TOKEN, &more).await;
        assert_eq!(world.assert_granted(&answer).await["scope"], "records.read");
    }
}

#[tokio::test]
async fn a34_a_scope_that_the_hop_before_was_not_given() {
    let world = world().await;
    let first = world.records_token().await;
    let models = ("audience", "models");
    // Alice agreed to model.medical for the assistant; the backend in between never had it.
    let ask = [models, ("scope", "model.medical")];
    let answer = world.exchange_typed("records-backend", &first, ACCESS_TOKEN, &ask).await;
    refused(&world, &answer, INVALID_SCOPE, ReasonCode::ScopeBeyondClient, &[&first]).await;
    let ask = [models, ("scope", "model.general model.medical")];
    let answer = world.exchange_typed("records-backend", &first, ACCESS_TOKEN, &ask).await;
    assert_eq!(world.assert_granted(&answer).await["scope"], "model.general");
    let second = answer.token();
    // The third hop asks for what the first had, and for what nobody gave.
    for scope in ["records.read", "model.general", "model.medical"] {
        let ask = [("audience", "billing"), ("scope", scope)];
        let answer = world.exchange_typed("models-backend", &second, ACCESS_TOKEN, &ask).await;
        refused(&world, &answer, INVALID_SCOPE, ReasonCode::ScopeUnknown, &[&second]).await;
    }
    // The holder of a token cannot widen it in place, either.
    let ask = [models, ("scope", "model.medical")];
    let answer = world.exchange_typed("records-backend", &second, ACCESS_TOKEN, &ask).await;
    refused(&world, &answer, INVALID_SCOPE, ReasonCode::ScopeBeyondClient, &[&second]).await;
}

#[tokio::test]
async fn a35_a_backend_that_was_not_given_to_the_client() {
    let world = world().await;
    let mut told = Vec::new();
    for (targets, reason) in [
        (vec![("audience", "billing")], ReasonCode::TargetNotAllowed),
        (vec![("resource", "https://billing.example.com")], ReasonCode::TargetNotAllowed),
        (vec![("audience", "nowhere")], ReasonCode::TargetUnknown),
        (vec![("resource", "https://nowhere.example")], ReasonCode::TargetUnknown),
        (vec![("audience", ISSUER)], ReasonCode::TargetNotAllowed),
        (vec![("resource", ISSUER)], ReasonCode::TargetNotAllowed),
        (vec![RECORDS, ("audience", "nowhere")], ReasonCode::TargetUnknown),
    ] {
        let answer = world.exchange(json!({}), &targets).await;
        refused(&world, &answer, INVALID_TARGET, reason, &[]).await;
        told.push(answer.text);
    }
    told.dedup();
    assert_eq!(told.len(), 1, "nothing tells a backend that exists from one that does not: {told:?}");
    for targets in [
        vec![("audience", "records"), ("audience", "models")],
        vec![RECORDS, ("resource", MODELS_AUDIENCE)],
        vec![RECORDS, ("audience", "models")],
        vec![RECORDS, ("audience", ISSUER)],
    ] {
        let answer = world.exchange(json!({}), &targets).await;
        refused(&world, &answer, INVALID_TARGET, ReasonCode::TargetSeveral, &[]).await;
    }
    // A token of ours moves along a declared edge only, never back.
    let models = world.exchange(json!({}), &[("audience", "models"), ("scope", "model.general")]).await.token();
    let answer = world.exchange_typed("assistant", &models, ACCESS_TOKEN, &[RECORDS]).await;
    refused(&world, &answer, INVALID_TARGET, ReasonCode::TargetNotReachable, &[&models]).await;
}

#[tokio::test]
async fn a58_line_breaks_in_parameters_and_paths_split_no_header() {
    let world = world().await;
    let split = "https://records.example.com/api\r\nSet-Cookie: owned=1";
    let answer = world.exchange(json!({}), &[("resource", split)]).await;
    refused(&world, &answer, INVALID_TARGET, ReasonCode::TargetMalformed, &[]).await;
    assert_eq!(answer.header("set-cookie"), "");
    for (name, reason) in [("audience", ReasonCode::TargetUnknown), ("scope", ReasonCode::ScopeMalformed)] {
        let answer = world.exchange(json!({}), &[RECORDS, (name, "x\r\nSet-Cookie: owned=1")]).await;
        assert_eq!(answer.status, 400);
        world.assert_refused(&answer, reason).await;
        assert_eq!(answer.header("set-cookie"), "");
        let detail = world.server.event(&answer).await.detail.unwrap_or_default();
        assert!(!detail.contains(char::is_control), "{detail:?}");
    }
    let answer = world.exchange(json!({}), &[RECORDS, ("state", "x\r\nSet-Cookie: owned=1")]).await;
    world.assert_granted(&answer).await;
    assert_eq!(answer.header("set-cookie"), "");
    let form = [("grant_type", "x\r\nSet-Cookie: owned=1")];
    let answer = world.server.token(&form, Some(("assistant", world.secret("assistant")))).await;
    refused(&world, &answer, (400, "unsupported_grant_type"), ReasonCode::GrantTypeUnsupported, &[]).await;
    for path in
        ["/consent/x%0d%0aSet-Cookie:%20owned=1", "/.well-known/oauth-protected-resource/%0d%0aSet-Cookie:owned"]
    {
        let answer = world.server.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("set-cookie")), (404, ""), "{path}");
        assert!(!answer.text.contains("owned"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a81_spellings_of_a_backend() {
    let world = world().await;
    for (spelling, audience) in [
        ("HTTPS://Records.Example.COM/api", RECORDS_AUDIENCE),
        ("https://records.example.com:443/api", RECORDS_AUDIENCE),
        ("https://models.example.com/", MODELS_AUDIENCE),
        ("https://MODELS.example.com:443", MODELS_AUDIENCE),
    ] {
        let answer = world.exchange(json!({}), &[("resource", spelling)]).await;
        assert_eq!(world.assert_granted(&answer).await["aud"], audience, "as registered, whatever was asked");
    }
    for (spelling, reason) in [
        ("https://records.example.com/api#x", ReasonCode::TargetMalformed),
        ("https://records.example.com/api#", ReasonCode::TargetMalformed),
        ("records", ReasonCode::TargetMalformed),
        (" https://records.example.com/api", ReasonCode::TargetMalformed),
        ("https://records.example.com/api/", ReasonCode::TargetUnknown),
        ("https://records.example.com/API", ReasonCode::TargetUnknown),
        ("https://records.example.com/api?x=1", ReasonCode::TargetUnknown),
        ("https://records.example.com/api%2F", ReasonCode::TargetUnknown),
        ("https://records.example.com:8443/api", ReasonCode::TargetUnknown),
        ("http://records.example.com/api", ReasonCode::TargetUnknown),
        ("https://user@records.example.com/api", ReasonCode::TargetUnknown),
        ("https://records.example.com.evil.example/api", ReasonCode::TargetUnknown),
        ("https://records.example.com./api", ReasonCode::TargetUnknown),
        ("https://r\u{435}cords.example.com/api", ReasonCode::TargetUnknown),
    ] {
        let answer = world.exchange(json!({}), &[("resource", spelling)]).await;
        refused(&world, &answer, INVALID_TARGET, reason, &[]).await;
    }
}
