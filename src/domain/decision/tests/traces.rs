//! The trace: one line a gate, in order, and nothing after a refusal.

use super::super::{Decision, Gate, GateResult, ReasonCode, Refusal};
use super::fixture::{Ask, NOW, World, id_token, records_token};

fn gates(decision: &Decision) -> Vec<u8> {
    decision.trace.lines().iter().map(|line| line.gate.number()).collect()
}

fn results(decision: &Decision) -> Vec<GateResult> {
    decision.trace.lines().iter().map(|line| line.result).collect()
}

#[test]
fn a_grant_passes_twelve_gates_in_order() {
    let decision = World::new().decide(&Ask::usual());
    assert_eq!(gates(&decision), (1..=12).collect::<Vec<u8>>());
    assert!(results(&decision).iter().all(|result| *result == GateResult::Passed));
}

#[test]
fn a_second_hop_reads_as_a_story() {
    let ask = Ask::exchange("records-backend", records_token(), "models").scopes("model.general model.medical");
    let lines: Vec<String> = World::new().decide(&ask).trace.lines().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
     1  passed    client known, active, authenticated: records-backend (client_secret_basic, vetted)
     2  passed    grant allowed to the client: urn:ietf:params:oauth:grant-type:token-exchange
     3  passed    subject token valid: corp|alice of this server, 300 seconds left
     4  passed    subject token belongs to this client: records-backend is a client of its audience records
     5  passed    actor is this client, or one it may present: records-backend
     6  passed    delegation chain: records-backend for assistant
     7  passed    target known and reachable: models (https://models.example.com/api)
     8  passed    scopes within every ceiling: model.general model.medical
     9  passed    consent of the user: records-backend-at-models by the user
    10  narrowed  policy: model.general by builtin.default; model.medical needs a policy of its own that permits it, and doctors-use-medical-models did not; the user has the roles ["nurse"]; cut: model.medical (policy_not_permitted) [policy_not_permitted]
    11  passed    limits: within the limits
    12  passed    lifetime: 300 seconds, by the subject token
    "#);
}

#[test]
fn a_clients_own_token_skips_the_gates_that_are_about_a_user() {
    let decision = World::new().decide(&Ask::for_itself("nightly").at("records"));
    assert_eq!(gates(&decision), (1..=12).collect::<Vec<u8>>());
    let skipped: Vec<u8> = decision
        .trace
        .lines()
        .iter()
        .filter(|line| line.result == GateResult::Skipped)
        .map(|line| line.gate.number())
        .collect();
    assert_eq!(skipped, [3, 4, 5, 6, 9, 11]);
    let at_server = World::new().decide(&Ask::for_itself("nightly"));
    assert_eq!(gates(&at_server), (1..=12).collect::<Vec<u8>>());
}

#[test]
fn nothing_follows_a_refusal_at_any_gate() {
    type Change = fn(&mut World, &mut Ask);
    let asks: [(u8, Change); 12] = [
        (1, |world, _| world.client("assistant").suspended_at = Some(NOW)),
        (2, |world, _| world.client("assistant").client.grants.clear()),
        (3, |_, ask| ask.subject = Err(Refusal::new(ReasonCode::SubjectTokenExpired, "ended a minute ago"))),
        (4, |_, ask| ask.subject().audiences.clear()),
        (5, |_, ask| ask.actor = Some(Err(Refusal::new(ReasonCode::ActorTokenInvalid, "")))),
        (6, |world, ask| {
            *ask = Ask::exchange("records-backend", records_token(), "models");
            world.max_chain_depth = 1;
        }),
        (7, |_, ask| ask.targets = super::fixture::audiences(&["nowhere"])),
        (8, |_, ask| *ask = ask.clone().scopes("nothing")),
        (9, |world, _| world.consents.clear()),
        (10, |world, _| world.policy("closed", "forbid(principal, action, resource);")),
        (11, |_, ask| ask.limits = crate::domain::limits::LimitState::UserOver { retry_after_seconds: 1 }),
        (12, |_, ask| ask.subject().expires_at = NOW),
    ];
    for (gate, change) in asks {
        let (mut world, mut ask) = (World::new(), Ask::usual());
        change(&mut world, &mut ask);
        let decision = world.decide(&ask);
        assert_eq!(gates(&decision), (1..=gate).collect::<Vec<u8>>());
        let (last, before) = decision.trace.lines().split_last().unwrap();
        assert_eq!(last.result, GateResult::Refused, "gate {gate}");
        assert!(!last.note.is_empty(), "a refusal without a detail has the meaning of its code");
        assert!(before.iter().all(|line| line.result != GateResult::Refused), "gate {gate}");
    }
}

#[test]
fn a_gate_that_cuts_says_narrowed_even_when_no_scope_was_asked_for() {
    let decision = World::new().decide(&Ask::exchange("assistant", id_token(), "records"));
    let narrowed: Vec<Gate> = decision
        .trace
        .lines()
        .iter()
        .filter(|line| line.result == GateResult::Narrowed)
        .map(|line| line.gate)
        .collect();
    assert_eq!(narrowed, [Gate::Policy]);
}

#[test]
fn a_request_refused_before_the_gates_has_one_line() {
    let decision = Decision::refused_early(Refusal::new(ReasonCode::ParameterRepeated, "scope was sent twice"));
    let lines: Vec<String> = decision.trace.lines().iter().map(ToString::to_string).collect();
    assert_eq!(lines, [" 0  refused   request can be read: scope was sent twice [parameter_repeated]"]);
}

#[test]
fn a_refusal_by_what_only_the_database_knows_stands_at_its_own_gate() {
    let mut decision = World::new().decide(&Ask::usual());
    decision.refuse_after_all(Refusal::new(ReasonCode::SubjectTokenReplayed, "used before"));
    assert_eq!(gates(&decision), [1, 2, 3, 4]);
    assert_eq!(results(&decision).last(), Some(&GateResult::Refused));
    assert!(decision.outcome.is_err());
}
