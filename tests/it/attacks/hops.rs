//! Whatever stops a user, a client or a consent stops every hop that rests on it, at the second and at the third.
//!
//! assistant --records--> records-backend --models--> models-backend --billing-->

use super::{INVALID_CLIENT, INVALID_REQUEST, MODELS_AUDIENCE, RECORDS_AUDIENCE, refused, world};
use crate::server::{ACCESS_TOKEN, Answer, claims};
use crate::world::World;
use procura::domain::change::Change;
use procura::domain::client::{Assurance, Client, ConsentMode};
use procura::domain::decision::ReasonCode;
use serde_json::json;
use std::time::Duration;

/// Alice's delegation, two hops long.
struct Chain {
    world: World,
    first: String,
    second: String,
}

impl Chain {
    /// Both next hops are possible as long as nothing is stopped.
    async fn new() -> Self {
        let world = world().await;
        let first = world.records_token().await;
        let second = world.exchange_typed("records-backend", &first, ACCESS_TOKEN, &[("audience", "models")]).await;
        let chain = Self { second: second.token(), first, world };
        assert_eq!(claims(&chain.first)["aud"], RECORDS_AUDIENCE);
        assert_eq!(claims(&chain.second)["aud"], MODELS_AUDIENCE);
        let (second, third) = (chain.second_hop().await, chain.third_hop().await);
        chain.world.assert_granted(&second).await;
        chain.world.assert_granted(&third).await;
        chain
    }

    async fn second_hop(&self) -> Answer {
        self.world.exchange_typed("records-backend", &self.first, ACCESS_TOKEN, &[("audience", "models")]).await
    }

    async fn third_hop(&self) -> Answer {
        self.world.exchange_typed("models-backend", &self.second, ACCESS_TOKEN, &[("audience", "billing")]).await
    }

    async fn stop(&self, change: Change) {
        self.world.server.change(&[change]).await;
    }

    async fn second_hop_meets(&self, stated: (u16, &str), reason: ReasonCode) {
        refused(&self.world, &self.second_hop().await, stated, reason, &[&self.first]).await;
    }

    async fn third_hop_meets(&self, stated: (u16, &str), reason: ReasonCode) {
        refused(&self.world, &self.third_hop().await, stated, reason, &[&self.second]).await;
    }

    async fn second_hop_goes_on(&self) {
        self.world.assert_granted(&self.second_hop().await).await;
    }

    /// The consent that a token rests on.
    fn consent_of(token: &str) -> String {
        claims(token)["grant_id"].as_str().unwrap().to_owned()
    }

    /// A client's declaration with a change.
    fn declared(&self, id: &str, change: impl FnOnce(&mut Client)) -> Change {
        let mut client = self.world.server.app.snapshot().registry.client_by_name(id).unwrap().client.clone();
        change(&mut client);
        Change::PutClient(client, Assurance::Vetted)
    }
}

#[tokio::test]
async fn a_suspended_user_stops_both_next_hops_until_resumed() {
    let chain = Chain::new().await;
    chain.stop(Change::SuspendUser("corp|alice".parse().unwrap())).await;
    chain.second_hop_meets(INVALID_REQUEST, ReasonCode::UserSuspended).await;
    chain.third_hop_meets(INVALID_REQUEST, ReasonCode::UserSuspended).await;
    chain.stop(Change::ResumeUser("corp|alice".parse().unwrap())).await;
    chain.second_hop_goes_on().await;
    chain.world.assert_granted(&chain.third_hop().await).await;
}

#[tokio::test]
async fn a_removed_identity_provider_stops_both_next_hops() {
    let chain = Chain::new().await;
    chain.stop(Change::RemoveIdentityProvider("corp".parse().unwrap())).await;
    chain.second_hop_meets(INVALID_REQUEST, ReasonCode::SubjectSessionEnded).await;
    chain.third_hop_meets(INVALID_REQUEST, ReasonCode::SubjectSessionEnded).await;
}

#[tokio::test]
async fn a_suspended_client_of_the_first_hop_stops_both_next_hops_until_resumed() {
    let chain = Chain::new().await;
    chain.stop(Change::SuspendClient("assistant".parse().unwrap())).await;
    chain.second_hop_meets(INVALID_REQUEST, ReasonCode::SubjectActorStopped).await;
    chain.third_hop_meets(INVALID_REQUEST, ReasonCode::SubjectActorStopped).await;
    chain.stop(Change::ResumeClient("assistant".parse().unwrap())).await;
    chain.second_hop_goes_on().await;
    chain.world.assert_granted(&chain.third_hop().await).await;
}

#[tokio::test]
async fn a_removed_client_of_the_first_hop_stops_both_next_hops() {
    let chain = Chain::new().await;
    chain.stop(Change::RemoveClient("assistant".parse().unwrap())).await;
    chain.second_hop_meets(INVALID_REQUEST, ReasonCode::SubjectActorStopped).await;
    chain.third_hop_meets(INVALID_REQUEST, ReasonCode::SubjectActorStopped).await;
}

#[tokio::test]
async fn a_suspended_client_of_the_second_hop_stops_itself_and_the_third() {
    let chain = Chain::new().await;
    chain.stop(Change::SuspendClient("records-backend".parse().unwrap())).await;
    chain.second_hop_meets(INVALID_CLIENT, ReasonCode::ClientSuspended).await;
    chain.third_hop_meets(INVALID_REQUEST, ReasonCode::SubjectActorStopped).await;
}

#[tokio::test]
async fn a_revoked_consent_of_the_first_hop_stops_both_next_hops_and_a_new_one_revives_neither() {
    let chain = Chain::new().await;
    chain.stop(Change::RevokeConsent(Chain::consent_of(&chain.first))).await;
    chain.second_hop_meets(INVALID_REQUEST, ReasonCode::SubjectRevoked).await;
    chain.third_hop_meets(INVALID_REQUEST, ReasonCode::SubjectRevoked).await;
    chain.world.server.clock.advance(Duration::from_secs(1));
    chain.world.server.consent("corp|alice", "assistant", "records", "records.read records.write records.delete").await;
    chain.second_hop_meets(INVALID_REQUEST, ReasonCode::SubjectRevoked).await;
    chain.third_hop_meets(INVALID_REQUEST, ReasonCode::SubjectRevoked).await;
}

#[tokio::test]
async fn an_ended_consent_of_the_first_hop_stops_both_next_hops() {
    let chain = Chain::new().await;
    let ends_at = chain.world.server.clock.now() + 10;
    let of_bob =
        chain.world.server.consent_until("corp|bob", "assistant", "records", "records.read", Some(ends_at)).await;
    let bobs = chain.world.exchange_as("assistant", &chain.world.bobs_id_token(), &[super::RECORDS]).await.token();
    assert_eq!((Chain::consent_of(&bobs), claims(&bobs)["exp"].as_i64().unwrap()), (of_bob, ends_at));
    let second = chain.world.exchange_typed("records-backend", &bobs, ACCESS_TOKEN, &[("audience", "models")]).await;
    assert!(claims(&second.token())["exp"].as_i64().unwrap() <= ends_at, "no hop outlives it");
    chain.world.server.clock.advance(Duration::from_secs(10));
    let chain = Chain { first: bobs, second: second.token(), world: chain.world };
    chain.second_hop_meets(INVALID_REQUEST, ReasonCode::SubjectTokenExpired).await;
    chain.third_hop_meets(INVALID_REQUEST, ReasonCode::SubjectTokenExpired).await;
}

#[tokio::test]
async fn a_revoked_consent_of_the_second_hop_stops_it_and_the_third() {
    let chain = Chain::new().await;
    chain.stop(Change::RevokeConsent(Chain::consent_of(&chain.second))).await;
    chain.second_hop_meets((400, "consent_required"), ReasonCode::ConsentRevoked).await;
    chain.third_hop_meets(INVALID_REQUEST, ReasonCode::SubjectRevoked).await;
}

#[tokio::test]
async fn an_administrators_consent_that_is_declared_no_more_stops_the_second_hop_and_the_third() {
    let chain = Chain::new().await;
    let change = chain.declared("records-backend", |client| client.consent = ConsentMode::User);
    chain.stop(change).await;
    assert_eq!(chain.second_hop().await.json()["error"], "consent_required");
    chain.third_hop_meets(INVALID_REQUEST, ReasonCode::SubjectRevoked).await;
}

#[tokio::test]
async fn an_edge_or_a_ceiling_that_is_taken_away_stops_the_hop_that_needs_it() {
    let chain = Chain::new().await;
    let registry = &chain.world.server.app.snapshot().registry;
    let mut models = (**registry.resource_by_name("models").unwrap()).clone();
    models.may_exchange_to.clear();
    chain.stop(Change::PutResource(models)).await;
    chain.third_hop_meets((400, "invalid_target"), ReasonCode::TargetNotReachable).await;
    chain.second_hop_goes_on().await;
    let change = chain.declared("records-backend", |client| client.resources.clear());
    chain.stop(change).await;
    chain.second_hop_meets((400, "invalid_target"), ReasonCode::TargetNotAllowed).await;
}

#[tokio::test]
async fn a_removed_backend_stops_the_hops_that_came_from_it() {
    let chain = Chain::new().await;
    chain.stop(Change::RemoveResource("records".parse().unwrap())).await;
    // The consents for it went with it.
    chain.second_hop_meets(INVALID_REQUEST, ReasonCode::SubjectRevoked).await;
    chain.third_hop_meets(INVALID_REQUEST, ReasonCode::SubjectRevoked).await;
}

#[tokio::test]
async fn what_concerns_somebody_else_stops_nothing() {
    let chain = Chain::new().await;
    chain.stop(Change::SuspendUser("corp|bob".parse().unwrap())).await;
    chain.stop(Change::SuspendClient("planner".parse().unwrap())).await;
    let consents = chain.world.server.app.store.consents_of(&"corp|alice".parse().unwrap()).await.unwrap();
    let other =
        consents.iter().find(|consent| consent.client.as_str() == "assistant" && consent.resource.as_str() == "models");
    chain.stop(Change::RevokeConsent(other.unwrap().id.clone())).await;
    chain.second_hop_goes_on().await;
    let third = chain.third_hop().await;
    assert_eq!(chain.world.assert_granted(&third).await["sub"], json!("corp|alice"));
}
