//! Codes and refresh tokens: the same gates, on a sign-in instead of a token.

use super::fixture::{Ask, NOW, World, scopes, sign_in};
use crate::domain::client::{ClientAuthentication, GrantType};
use crate::domain::decision::{ErrorCode, ReasonCode};

fn refresh() -> (World, Ask) {
    let mut world = World::new();
    let client = &mut world.client("assistant").client;
    client.grants.extend([GrantType::AuthorizationCode, GrantType::RefreshToken]);
    let ask = Ask { grant: GrantType::RefreshToken, scopes: None, ..Ask::exchange("assistant", sign_in(), "records") };
    (world, ask)
}

#[test]
fn a_refresh_token_gives_what_the_user_let_the_client_have_and_no_more() {
    let (world, ask) = refresh();
    let granted = world.grants(&ask);
    assert_eq!(granted.scopes, scopes("records.read"));
    assert_eq!(granted.sid.as_deref(), Some("fam_1"));
    assert_eq!(granted.expires_at, NOW + 900, "a connector's token lives longer than an exchanged one");
    let wider = world.grants(&ask.clone().scopes("records.read records.write"));
    assert_eq!(wider.scopes, scopes("records.read"));
}

#[test]
fn it_is_good_for_its_own_backend_only() {
    let (world, ask) = refresh();
    let elsewhere = Ask { targets: super::fixture::audiences(&["models"]), ..ask };
    assert_eq!(world.refuses(&elsewhere).reason, ReasonCode::TargetNotReachable);
}

#[test]
fn a_public_client_may_use_it_and_nothing_else() {
    let (mut world, ask) = refresh();
    world.client("assistant").client.authentication = ClientAuthentication::None;
    assert!(world.decide(&ask).outcome.is_ok());
    let exchange = Ask { grant: GrantType::TokenExchange, ..ask };
    assert_eq!(world.refuses(&exchange).reason, ReasonCode::ClientIsPublic);
}

#[test]
fn consent_policy_and_user_are_asked_again_and_what_they_say_is_invalid_grant() {
    let (mut world, ask) = refresh();
    world.consent("assistant", "records").revoked_at = Some(NOW - 1);
    let refusal = world.refuses(&ask).of_stored_grant();
    assert_eq!((refusal.reason, refusal.error()), (ReasonCode::ConsentRevoked, ErrorCode::InvalidGrant));
    assert!(refusal.consent.is_none(), "a client of this grant starts again at /authorize");

    let (mut world, ask) = refresh();
    world.policy("closed", "forbid(principal, action, resource in Resource::\"records\");");
    let refusal = world.refuses(&ask).of_stored_grant();
    assert_eq!((refusal.reason, refusal.error()), (ReasonCode::PolicyForbidden, ErrorCode::InvalidGrant));

    let (mut world, ask) = refresh();
    world.suspended_users.insert(super::fixture::alice());
    let refusal = world.refuses(&ask).of_stored_grant();
    assert_eq!((refusal.reason, refusal.error()), (ReasonCode::UserSuspended, ErrorCode::InvalidGrant));
}

#[test]
fn what_a_new_authorization_cannot_mend_keeps_its_own_error() {
    let (mut world, ask) = refresh();
    world.client("assistant").client.grants.retain(|grant| *grant != GrantType::RefreshToken);
    let refusal = world.refuses(&ask).of_stored_grant();
    assert_eq!(refusal.error(), ErrorCode::UnauthorizedClient);
}
