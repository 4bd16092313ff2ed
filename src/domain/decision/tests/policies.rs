//! Gate 10: what policy lets through, scope by scope.

use super::super::{Gate, GateResult, ReasonCode};
use super::fixture::{Ask, World, doctor, id_token, scopes};
use crate::domain::delegation::ActChain;
use crate::domain::policy::PolicyDefault;
use serde_json::json;

fn by_a_doctor(ask: Ask) -> Ask {
    let mut ask = ask;
    ask.subject().attributes = doctor();
    ask
}

#[test]
fn a_scope_with_roles_is_for_users_who_hold_one() {
    let ask = Ask::usual().scopes("records.delete");
    assert_eq!(
        World::new().refuses(&ask).detail,
        "records.delete needs one of the roles [\"doctor\"]; the user has the roles [\"nurse\"]",
        "the operator is told what is missing"
    );
    assert_eq!(World::new().grants(&by_a_doctor(ask)).policies, ["builtin.roles"]);
}

#[test]
fn an_explicit_scope_is_permitted_only_by_own_cedar_text() {
    let mut world = World::new();
    let medical = "model.medical".parse().unwrap();
    world.client("assistant").client.resources.get_mut(&"models".parse().unwrap()).unwrap().push(medical);
    world.consent("assistant", "models").scopes = scopes("model.general model.medical");
    let ask = Ask::exchange("assistant", id_token(), "models").scopes("model.medical");
    assert_eq!(
        world.refuses(&ask).detail,
        "model.medical needs a policy of its own that permits it, and doctors-use-medical-models did not; \
         the user has the roles [\"nurse\"]"
    );
    assert_eq!(world.grants(&by_a_doctor(ask)).policies, ["doctors-use-medical-models"]);
}

#[test]
fn some_scopes_of_several_are_permitted_and_the_gate_narrows() {
    let ask = Ask::usual().scopes("records.read records.delete");
    let decision = World::new().decide(&ask);
    let granted = decision.outcome.unwrap();
    assert_eq!(granted.scopes, scopes("records.read"));
    let line = decision.trace.lines().iter().find(|line| line.gate == Gate::Policy).unwrap();
    assert_eq!((line.result, line.reason), (GateResult::Narrowed, Some(ReasonCode::PolicyNotPermitted)));
    assert!(line.note.contains("records.delete needs one of the roles"), "{}", line.note);
}

#[test]
fn forbid_wins_for_its_scope_and_leaves_the_others() {
    let mut world = World::new();
    world.policy("no-writing", "forbid(principal, action, resource) when { resource.access == \"write\" };");
    let granted = world.grants(&Ask::usual().scopes("records.read records.write"));
    assert_eq!(granted.scopes, scopes("records.read"));
    assert_eq!(granted.cut.first().map(|cut| cut.reason), Some(ReasonCode::PolicyForbidden));
}

#[test]
fn a_forbid_that_cannot_be_evaluated_refuses() {
    let mut world = World::new();
    world.policy("broken", "forbid(principal, action, resource) when { context.now * 9000000000000000000 > 0 };");
    let refusal = world.refuses(&Ask::usual());
    assert_eq!(refusal.reason, ReasonCode::PolicyForbidden);
    assert_eq!(refusal.detail, "records.read is forbidden by broken");
}

#[test]
fn with_the_default_explicit_nothing_is_permitted_that_no_policy_or_role_permits() {
    let mut world = World::new();
    world.policy_default = PolicyDefault::Explicit;
    assert_eq!(world.refuses(&Ask::usual()).reason, ReasonCode::PolicyNotPermitted);
    world.grants(&by_a_doctor(Ask::usual().scopes("records.delete")));
    world.policy("readers", "permit(principal, action, resource == Scope::\"records#records.read\");");
    assert_eq!(world.grants(&Ask::usual()).policies, ["readers"]);
}

#[test]
fn a_policy_of_one_backend_does_not_reach_another() {
    let mut world = World::new();
    world.policy("closed", "forbid(principal, action, resource in Resource::\"models\");");
    world.grants(&Ask::usual());
    let ask = Ask::exchange("assistant", id_token(), "models");
    assert_eq!(world.refuses(&ask).reason, ReasonCode::PolicyForbidden);
}

#[test]
fn a_policy_may_look_at_the_sign_in_the_chain_and_the_client() {
    let mut world = World::new();
    world.policy(
        "strong-direct-vetted",
        "forbid(principal, action, resource) unless {
            context has acr && context.acr == \"2\" && context.amr.contains(\"otp\") && context has auth_time &&
            context.now - context.auth_time < 900 && context.depth == 1 && context.actors == [\"assistant\"] &&
            context.client == Client::\"assistant\" && context.client.assurance == \"vetted\" &&
            context.grant == \"token_exchange\"
        };",
    );
    world.grants(&Ask::usual());
    let mut weak = Ask::usual();
    weak.subject().acr = None;
    assert_eq!(world.refuses(&weak).reason, ReasonCode::PolicyForbidden);
}

#[test]
fn an_actor_of_another_issuer_does_not_pass_for_a_client_of_ours() {
    let mut world = World::new();
    world.policy(
        "through-the-orchestrator",
        "forbid(principal, action, resource) unless { context.actors.contains(\"orchestrator\") };",
    );
    let through = |act| {
        let mut ask = Ask::usual();
        ask.subject().act = Some(ActChain::parse(&act, 4).unwrap());
        ask
    };
    for foreign in [json!({"sub": "orchestrator"}), json!({"iss": "https://idp.example.com", "sub": "orchestrator"})] {
        assert_eq!(world.refuses(&through(foreign)).reason, ReasonCode::PolicyForbidden);
    }
    world.grants(&through(json!({"iss": super::fixture::ISSUER, "sub": "orchestrator"})));
}
