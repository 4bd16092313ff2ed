//! Second hops: what becomes of a delegation token that is exchanged again.

use super::super::ReasonCode;
use super::fixture::{Ask, NOW, World, actors, doctor, id_token, is_for_user, records_token, scopes, token_of};
use crate::domain::client::ConsentMode;
use crate::domain::consent::{Consent, ConsentingUser};

#[test]
fn a_backend_goes_on_for_the_same_user_with_every_earlier_actor_kept() {
    let world = World::new();
    let first = world.grants(&Ask::exchange("assistant", id_token(), "records"));
    let second = world.grants(&Ask::exchange("records-backend", token_of(&first), "models").scopes("model.general"));
    assert!(is_for_user(&second));
    assert_eq!(second.subject.sub(), first.subject.sub());
    assert_eq!(actors(&second), ["records-backend", "assistant"]);
    assert_eq!(second.scopes, scopes("model.general"));
    assert_eq!(second.grant_id.as_deref(), Some("records-backend-at-models"));
    assert_eq!(second.earlier_grants, ["assistant-at-records"]);
    assert_eq!(second.txn.as_deref(), Some("txn-1"));
    assert_eq!(second.acr, first.acr);

    let third = world.grants(&Ask::exchange("models-backend", token_of(&second), "billing"));
    assert_eq!(actors(&third), ["models-backend", "records-backend", "assistant"]);
    assert_eq!(third.earlier_grants, ["assistant-at-records", "records-backend-at-models"]);
}

#[test]
fn the_consent_of_any_earlier_hop_ends_the_later_ones() {
    let mut world = World::new();
    let first = world.grants(&Ask::exchange("assistant", id_token(), "records"));
    let second = world.grants(&Ask::exchange("records-backend", token_of(&first), "models").scopes("model.general"));
    let third = Ask::exchange("models-backend", token_of(&second), "billing");
    world.grants(&third);
    world.consent("assistant", "records").revoked_at = Some(NOW);
    assert_eq!(world.refuses(&third).reason, ReasonCode::SubjectRevoked);
}

#[test]
fn a_consent_that_was_replaced_by_a_wider_one_carries_on_and_one_that_was_taken_back_does_not_come_back() {
    let mut world = World::new();
    let first = world.grants(&Ask::exchange("assistant", id_token(), "records"));
    let hop = Ask::exchange("records-backend", token_of(&first), "models").scopes("model.general");
    let earlier = world.consent("assistant", "records");
    earlier.revoked_at = Some(NOW - 5);
    let later = Consent { id: "later".to_owned(), granted_at: NOW - 5, revoked_at: None, ..earlier.clone() };
    world.consents.push(later.clone());
    world.grants(&hop);

    world.consents.last_mut().unwrap().granted_at = NOW - 4;
    assert_eq!(
        world.refuses(&hop).reason,
        ReasonCode::SubjectRevoked,
        "agreed to anew, a second after it was taken back"
    );
    *world.consents.last_mut().unwrap() = Consent { scopes: scopes("records.read"), ..later.clone() };
    assert_eq!(world.refuses(&hop).reason, ReasonCode::SubjectRevoked, "the user narrowed it");
    *world.consents.last_mut().unwrap() = Consent { revoked_at: Some(NOW - 5), ..later };
    assert_eq!(world.refuses(&hop).reason, ReasonCode::SubjectRevoked, "what replaced it was taken back");
}

#[test]
fn the_client_that_got_a_token_may_exchange_it_for_a_narrower_one_and_stays_one_actor() {
    let world = World::new();
    let first = world.grants(&Ask::exchange("assistant", id_token(), "records"));
    assert_eq!(first.scopes, scopes("records.read records.write"));
    let narrower = world.grants(&Ask::exchange("assistant", token_of(&first), "records").scopes("records.read"));
    assert_eq!((actors(&narrower), narrower.scopes.clone()), (vec!["assistant"], scopes("records.read")));
    assert_eq!(narrower.earlier_grants, Vec::<String>::new(), "it rests on the same consent still");
    let wider = Ask::exchange("assistant", token_of(&narrower), "records").scopes("records.write");
    assert_eq!(world.refuses(&wider).reason, ReasonCode::ScopeBeyondSubject);
}

#[test]
fn what_the_user_agreed_to_but_the_earlier_hop_was_not_given_is_not_given_later() {
    let world = World::new();
    let first = world.grants(&Ask::exchange("orchestrator", id_token(), "records").scopes("usage"));
    let held = Ask::exchange("records-backend", token_of(&first), "models").scopes("usage");
    assert_eq!(world.grants(&held).scopes, scopes("usage"), "the first hop has it");
    let not_held = Ask::exchange("records-backend", records_token(), "models").scopes("usage model.general");
    let granted = world.grants(&not_held);
    assert_eq!(granted.scopes, scopes("model.general"));
    assert_eq!(granted.cut.first().map(|cut| cut.reason), Some(ReasonCode::ScopeBeyondSubject));
}

#[test]
fn exchanging_again_and_again_never_outlives_the_first_subject_token() {
    let world = World::new();
    let mut subject = id_token();
    subject.expires_at = NOW + 200;
    let mut granted = world.grants(&Ask::exchange("assistant", subject, "records"));
    for later in [50, 100, 199] {
        let again = Ask { now: NOW + later, ..Ask::exchange("assistant", token_of(&granted), "records") };
        granted = world.grants(&again);
        assert_eq!(granted.expires_at, NOW + 200);
    }
    let over = Ask { now: NOW + 200, ..Ask::exchange("assistant", token_of(&granted), "records") };
    assert_eq!(world.refuses(&over).reason, ReasonCode::LifetimeExhausted);
}

#[test]
fn a_token_ends_with_the_consent_it_rests_on() {
    let mut world = World::new();
    world.consent("assistant", "records").expires_at = Some(NOW + 30);
    assert_eq!(world.grants(&Ask::usual()).expires_at, NOW + 30);
}

#[test]
fn policy_sees_the_newest_roles_of_the_user_at_a_later_hop() {
    let mut world = World::new();
    let ask = Ask::exchange("records-backend", records_token(), "models").scopes("model.medical");
    assert_eq!(world.refuses(&ask).reason, ReasonCode::PolicyNotPermitted);
    world.known_user.as_mut().unwrap().attributes = doctor();
    assert_eq!(world.grants(&ask).policies, ["doctors-use-medical-models"]);
}

#[test]
fn a_token_that_rests_on_consent_for_everyone_ends_when_the_client_has_to_ask() {
    let mut world = World::new();
    world.consent("assistant", "records").user = ConsentingUser::Everyone;
    world.client("assistant").client.consent = ConsentMode::Admin;
    let ask = Ask::exchange("records-backend", records_token(), "models").scopes("model.general");
    world.grants(&ask);
    world.client("assistant").client.consent = ConsentMode::User;
    assert_eq!(world.refuses(&ask).reason, ReasonCode::SubjectRevoked);
}

#[test]
fn an_actor_token_does_not_make_a_stranger_the_holder_of_our_token() {
    let mut world = World::new();
    world.client("stranger").client.may_present.push("assistant".parse().unwrap());
    let ask = Ask::exchange("stranger", records_token(), "records").acting(super::fixture::actor_token("assistant"));
    assert_eq!(world.refuses(&ask).reason, ReasonCode::SubjectTokenNotAddressed);
}
