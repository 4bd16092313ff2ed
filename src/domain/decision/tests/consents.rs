//! Gate 9: whose agreement a token rests on, and how far it goes.

use super::super::{ConsentNeeded, ReasonCode};
use super::fixture::{Ask, NOW, World, alice, id_token, scopes};
use crate::domain::client::ConsentMode;
use crate::domain::consent::{Consent, ConsentSource, ConsentingUser};

/// An administrator's consent that the assistant may read the records of everyone.
fn for_everyone() -> Consent {
    Consent {
        id: "everyone".to_owned(),
        user: ConsentingUser::Everyone,
        client: "assistant".parse().unwrap(),
        resource: "records".parse().unwrap(),
        scopes: scopes("records.read"),
        source: ConsentSource::Admin,
        granted_at: NOW - 10,
        expires_at: None,
        revoked_at: None,
        paused_at: None,
        fingerprint: None,
        redirect_uri: None,
    }
}

fn note_of_consent(world: &World, ask: &Ask) -> String {
    let decision = world.decide(ask);
    let line = decision.trace.lines().iter().find(|line| line.gate == super::super::Gate::Consent).unwrap();
    line.note.clone()
}

#[test]
fn missing_consent_says_what_the_user_would_agree_to_and_no_more_than_could_be_granted() {
    let mut world = World::new();
    world.consents.clear();
    let refusal = world.refuses(&Ask::exchange("assistant", id_token(), "records").scopes("records.read usage"));
    let needed = ConsentNeeded {
        user: alice(),
        client: "assistant".parse().unwrap(),
        resource: "records".parse().unwrap(),
        scopes: scopes("records.read"),
        behind: Vec::new(),
    };
    assert_eq!(refusal.consent, Some(Box::new(needed)));
}

#[test]
fn a_backend_that_asks_for_another_one_says_for_which_app() {
    let mut world = World::new();
    world.consents.retain(|consent| consent.client.as_str() != "records-backend");
    let refusal = world.refuses(&Ask::exchange("records-backend", super::fixture::records_token(), "models"));
    let needed = refusal.consent.expect("it can be asked for");
    assert_eq!((needed.client.as_str(), needed.behind), ("records-backend", vec!["assistant".parse().unwrap()]));
}

#[test]
fn a_client_that_the_user_paused_waits_and_has_no_link_to_show() {
    let mut world = World::new();
    world.consent("assistant", "records").paused_at = Some(NOW - 1);
    let refusal = world.refuses(&Ask::usual());
    assert_eq!((refusal.reason, refusal.consent), (ReasonCode::ConsentPaused, None));
    // For what was never agreed to it waits as well.
    world.consent("assistant", "records").scopes = scopes("records.read");
    let refusal = world.refuses(&Ask::usual().scopes("records.write"));
    assert_eq!((refusal.reason, refusal.consent), (ReasonCode::ConsentPaused, None));
    world.consent("assistant", "records").revoked_at = Some(NOW - 1);
    assert_eq!(world.refuses(&Ask::usual()).reason, ReasonCode::ConsentRevoked);
}

#[test]
fn a_user_who_agreed_to_a_part_gets_that_part() {
    let mut world = World::new();
    world.consent("assistant", "records").scopes = scopes("records.read");
    let granted = world.grants(&Ask::usual().scopes("records.read records.write"));
    assert_eq!(granted.scopes, scopes("records.read"));
    assert_eq!(granted.cut.first().map(|cut| cut.reason), Some(ReasonCode::ConsentMissing));
    let refusal = world.refuses(&Ask::usual().scopes("records.write"));
    assert_eq!(refusal.consent.map(|needed| needed.scopes), Some(scopes("records.write")));
}

#[test]
fn consent_at_one_backend_says_nothing_of_another() {
    let mut world = World::new();
    world.consents.retain(|consent| consent.resource.as_str() == "models");
    assert_eq!(world.refuses(&Ask::usual()).reason, ReasonCode::ConsentMissing);
}

#[test]
fn an_administrator_agrees_for_everyone_only_where_the_client_is_declared_so() {
    let mut world = World::new();
    world.consents = vec![for_everyone()];
    assert_eq!(world.refuses(&Ask::usual()).reason, ReasonCode::ConsentMissing);
    world.client("assistant").client.consent = ConsentMode::Admin;
    assert_eq!(world.grants(&Ask::usual()).grant_id.as_deref(), Some("everyone"));
    assert_eq!(note_of_consent(&world, &Ask::usual()), "everyone by an administrator for everyone");
}

#[test]
fn a_token_rests_on_the_consent_that_covers_most_and_then_on_the_users_own() {
    let mut world = World::new();
    world.client("assistant").client.consent = ConsentMode::Admin;
    world.consents.push(for_everyone());
    assert_eq!(world.grants(&Ask::usual()).grant_id.as_deref(), Some("assistant-at-records"));
    world.consent("assistant", "records").scopes = scopes("records.write");
    assert_eq!(world.grants(&Ask::usual()).grant_id.as_deref(), Some("everyone"));
}

#[test]
fn two_partial_consents_are_not_added_up() {
    let mut world = World::new();
    world.client("assistant").client.consent = ConsentMode::Admin;
    world.consents.push(for_everyone());
    world.consent("assistant", "records").scopes = scopes("records.write");
    let granted = world.grants(&Ask::usual().scopes("records.read records.write"));
    assert_eq!(granted.scopes.len(), 1, "a token has one grant_id, and taking that one back must end all of it");
}

#[test]
fn a_newer_consent_counts_though_an_older_one_was_taken_back() {
    let mut world = World::new();
    let renewed = Consent { id: "renewed".to_owned(), ..world.consent("assistant", "records").clone() };
    world.consent("assistant", "records").revoked_at = Some(NOW - 1);
    world.consents.push(renewed);
    assert_eq!(world.grants(&Ask::usual()).grant_id.as_deref(), Some("renewed"));
}

#[test]
fn the_trace_tells_who_recorded_the_consent() {
    let mut world = World::new();
    assert_eq!(note_of_consent(&world, &Ask::usual()), "assistant-at-records by the user");
    world.consent("assistant", "records").source = ConsentSource::Admin;
    assert_eq!(note_of_consent(&world, &Ask::usual()), "assistant-at-records recorded by an administrator");
}
