//! What never happens, for registries and requests that nobody chose.

use super::super::{Decision, Granted, GrantedSubject, Refusal};
use super::fixture::{Ask, Compiled, NOW, World, access_token, actor_token, alice, id_token, nightly_token, token_of};
use crate::domain::client::{ClientEntry, ConsentMode, GrantType};
use crate::domain::consent::{Consent, ConsentingUser};
use crate::domain::limits::LimitState;
use crate::domain::resource::{Resource, ResourceScope, ScopePolicy};
use crate::domain::scope::{Scope, ScopeSet};
use crate::domain::subject::{Subject, SubjectIssuer};
use crate::domain::target::Target;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const CLIENTS: [&str; 5] = ["assistant", "orchestrator", "records-backend", "models-backend", "nightly"];
const RESOURCES: [&str; 3] = ["records", "models", "billing"];
const SCOPES: [&str; 6] =
    ["records.read", "records.write", "records.delete", "usage", "model.general", "model.medical"];

/// Some of the names; most of them, so that much is granted.
fn most(names: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    vec(prop::bool::weighted(0.8), names.len())
        .prop_map(move |kept| names.iter().zip(kept).filter(|(_, kept)| *kept).map(|(name, _)| *name).collect())
}

fn some_scopes() -> impl Strategy<Value = Vec<Scope>> {
    most(&SCOPES).prop_map(|names| names.into_iter().map(|name| name.parse().unwrap()).collect())
}

/// A client drawn at random: its ceiling, and whether it is suspended.
fn client(name: &'static str) -> impl Strategy<Value = ClientEntry> {
    let ceiling = (most(&RESOURCES), vec(some_scopes(), RESOURCES.len()));
    (ceiling, prop::bool::weighted(0.03)).prop_map(move |((resources, scopes), suspended)| {
        let mut entry = World::new().client(name).clone();
        entry.client.resources = resources.iter().map(|name| name.parse().unwrap()).zip(scopes).collect();
        entry.client.grants = vec![GrantType::TokenExchange];
        entry.client.may_act_for = vec!["nightly".parse().unwrap()];
        entry.client.may_present = vec!["assistant".parse().unwrap()];
        entry.suspended_at = suspended.then_some(NOW - 1);
        entry
    })
}

/// A backend drawn at random: its scopes, lifetime, edges and clients.
fn resource(name: &'static str) -> impl Strategy<Value = Resource> {
    (most(&SCOPES), 60u32..=3600, most(&RESOURCES), most(&CLIENTS)).prop_map(
        move |(scopes, lifetime, edges, clients)| {
            let mut resource = World::new().resource(name).clone();
            let template = resource.scopes[0].clone();
            let declared = scopes.into_iter().map(|scope| ResourceScope {
                name: scope.parse().unwrap(),
                roles: if scope == "records.delete" { vec!["doctor".to_owned()] } else { Vec::new() },
                policy: (scope == "model.medical").then_some(ScopePolicy::Explicit),
                ..template.clone()
            });
            resource.scopes = declared.collect();
            resource.token_lifetime_seconds = lifetime;
            resource.may_exchange_to = edges.into_iter().map(|target| target.parse().unwrap()).collect();
            resource.clients = clients.into_iter().map(|client| client.parse().unwrap()).collect();
            resource
        },
    )
}

/// A consent of Alice or for everyone, drawn at random.
fn consent(client: &'static str, resource: &'static str) -> impl Strategy<Value = Consent> {
    (some_scopes(), -20i64..4_000, prop::bool::weighted(0.05), prop::bool::weighted(0.2)).prop_map(
        move |(scopes, ends_in, revoked, everyone)| {
            let template = World::new().consents.remove(0);
            Consent {
                id: format!("{client}-at-{resource}"),
                user: if everyone { ConsentingUser::Everyone } else { ConsentingUser::One(alice()) },
                client: client.parse().unwrap(),
                resource: resource.parse().unwrap(),
                scopes: scopes.into_iter().collect(),
                expires_at: (ends_in % 3 != 0).then_some(NOW + ends_in),
                revoked_at: revoked.then_some(NOW - 1),
                ..template
            }
        },
    )
}

fn policy() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        Just(None),
        Just(Some("forbid(principal, action, resource) when { context.depth > 2 };")),
        Just(Some("forbid(principal, action, resource) when { resource.access == \"write\" };")),
        Just(Some("permit(principal, action, resource);")),
    ]
}

/// A world drawn at random.
fn world() -> impl Strategy<Value = World> {
    let clients: Vec<_> = CLIENTS.iter().map(|name| client(name)).collect();
    let resources: Vec<_> = RESOURCES.iter().map(|name| resource(name)).collect();
    let pairs = CLIENTS.iter().flat_map(|client| RESOURCES.iter().map(move |resource| (client, resource)));
    let consents: Vec<_> = pairs.map(|(client, resource)| consent(client, resource)).collect();
    (clients, resources, consents, policy(), prop::bool::weighted(0.03), 2usize..=4).prop_map(
        |(clients, resources, consents, policy, user_is_suspended, max_chain_depth)| {
            let mut world = World { resources, clients, consents, max_chain_depth, ..World::new() };
            world.client("orchestrator").client.consent = ConsentMode::Admin;
            world.idps[0].subject_tokens[1].clients.push("orchestrator".parse().unwrap());
            world.policies.clear();
            if let Some(cedar) = policy {
                world.policy("drawn", cedar);
            }
            if user_is_suspended {
                world.suspended_users.insert(alice());
            }
            world
        },
    )
}

/// A first request: a provider's token, or a workload's own, by a client for a target with some scopes.
fn first_ask() -> impl Strategy<Value = Ask> {
    let subject = prop_oneof![
        3 => Just(id_token()),
        2 => (some_scopes(), any::<bool>()).prop_map(|(scopes, absent)| {
            let mut token = access_token();
            token.scope = (!absent).then(|| scopes.into_iter().collect());
            token
        }),
        1 => Just(nightly_token()),
    ];
    let actor = prop::option::weighted(0.3, select(vec!["assistant", "nightly"]));
    (subject, 0i64..4_000, select(vec!["assistant", "orchestrator"]), hop(), actor).prop_map(
        |(mut subject, lives, client, hop, actor)| {
            subject.expires_at = NOW + lives;
            Ask { actor: actor.map(|id| Ok(actor_token(id))), ..hop.ask(client, subject) }
        },
    )
}

/// A later request, apart from its subject token.
#[derive(Debug, Clone)]
struct Hop {
    target: &'static str,
    scopes: Option<ScopeSet>,
    client: &'static str,
    later: i64,
}

impl Hop {
    fn ask(&self, client: &str, subject: Subject) -> Ask {
        Ask { scopes: self.scopes.clone(), ..Ask::exchange(client, subject, self.target) }
    }
}

fn hop() -> impl Strategy<Value = Hop> {
    let scopes = prop::option::of(some_scopes().prop_map(|scopes| scopes.into_iter().collect()));
    (select(RESOURCES.to_vec()), scopes, select(CLIENTS.to_vec()), 0i64..200)
        .prop_map(|(target, scopes, client, later)| Hop { target, scopes, client, later })
}

/// Everything that must hold of a grant, whatever led to it.
fn holds(world: &World, ask: &Ask, granted: &Granted) -> Result<(), TestCaseError> {
    let Target::Resource(resource) = &granted.target else {
        return Err(TestCaseError::fail("an exchange is for a backend"));
    };
    let subject = ask.subject.as_ref().unwrap();
    let entry = |id: &str| world.clients.iter().find(|entry| entry.client.id.as_str() == id).unwrap();
    let chain = granted.chain.as_ref().expect("an exchange has an actor");
    let mut parties = vec![entry(&ask.client), entry(&chain.current().sub)];
    if let GrantedSubject::Client(id) = &granted.subject {
        parties.push(entry(id.as_str()));
    }

    prop_assert!(!granted.scopes.is_empty());
    for scope in &granted.scopes {
        if let Some(asked) = ask.scopes.as_ref().filter(|asked| !asked.is_empty()) {
            prop_assert!(asked.contains(scope), "{} was not asked for", scope);
        }
        prop_assert!(resource.scope(scope).is_some(), "{} is not of the backend", scope);
        for party in &parties {
            let ceiling = party.client.resources.get(&resource.id);
            prop_assert!(ceiling.is_some_and(|ceiling| ceiling.contains(scope)), "{} is beyond a ceiling", scope);
        }
        let stays = subject.audiences == [resource.audience.as_str()];
        if let Some(held) = &subject.scope
            && (matches!(subject.issuer, SubjectIssuer::Idp(_)) || stays)
        {
            prop_assert!(held.contains(scope), "{} is beyond the subject token", scope);
        }
    }

    prop_assert!(granted.expires_at > ask.now);
    prop_assert!(granted.expires_at <= subject.expires_at);
    prop_assert!(granted.expires_at <= ask.now + i64::from(resource.token_lifetime_seconds));

    if let GrantedSubject::User { id, .. } = &granted.subject {
        prop_assert!(!world.suspended_users.contains(id));
        let grant_id = granted.grant_id.as_ref().expect("a user's token rests on a consent");
        let consent = world.consents.iter().find(|consent| consent.id == *grant_id).unwrap();
        prop_assert!(consent.is_live(ask.now) && consent.speaks_for(id));
        prop_assert_eq!((consent.client.as_str(), &consent.resource), (ask.client.as_str(), &resource.id));
        prop_assert!(granted.scopes.is_subset(&consent.scopes));
        prop_assert!(consent.expires_at.is_none_or(|end| granted.expires_at <= end));
        if consent.user == ConsentingUser::Everyone {
            prop_assert_eq!(entry(consent.client.as_str()).client.consent, ConsentMode::Admin);
        }
    }

    prop_assert!(chain.actors().len() <= world.max_chain_depth);
    let earlier = subject.act.as_ref().map_or(&[][..], |act| act.actors());
    prop_assert!(chain.actors().ends_with(earlier), "an earlier actor was lost, moved or changed");
    prop_assert!(chain.actors().len() <= earlier.len() + 1);
    for party in parties.into_iter().chain(chain.actors().iter().map(|actor| entry(&actor.sub))) {
        prop_assert_eq!(party.suspended_at, None, "somebody suspended takes part");
    }
    Ok(())
}

/// Decides, twice, and checks what must hold.
fn checked(world: &World, compiled: &Compiled<'_>, ask: &Ask) -> Result<Result<Granted, Refusal>, TestCaseError> {
    let decision = compiled.decide(ask);
    prop_assert_eq!(&decision, &compiled.decide(ask), "the same question has one answer");
    let Decision { trace, outcome } = decision;
    let gates: Vec<u8> = trace.lines().iter().map(|line| line.gate.number()).collect();
    let last = u8::try_from(gates.len()).unwrap();
    prop_assert_eq!(gates, (1..=last).collect::<Vec<u8>>());
    prop_assert_eq!(outcome.is_ok(), last == 12 && trace.lines()[11].reason.is_none());
    if let Ok(granted) = &outcome {
        holds(world, ask, granted)?;
    }
    Ok(outcome)
}

/// Walks hop after hop until one is refused, checking each, and tells how many were granted.
fn walk(world: &World, ask: &Ask, hops: &[Hop]) -> Result<usize, TestCaseError> {
    let compiled = world.compiled();
    let mut now = NOW;
    let Ok(mut granted) = checked(world, &compiled, ask)? else {
        return Ok(0);
    };
    for (index, hop) in hops.iter().enumerate() {
        now += hop.later;
        let again = Ask { now, ..hop.ask(hop.client, token_of(&granted)) };
        let Ok(next) = checked(world, &compiled, &again)? else {
            return Ok(index + 1);
        };
        prop_assert!(next.expires_at <= granted.expires_at);
        prop_assert_eq!(&next.subject, &granted.subject);
        prop_assert_eq!(next.txn.as_deref(), Some("txn-1"));
        let kept = granted.earlier_grants.iter().chain(&granted.grant_id);
        for id in kept.filter(|id| Some(*id) != next.grant_id.as_ref()) {
            prop_assert!(next.earlier_grants.contains(id), "the consent {} is not looked at any more", id);
        }
        granted = next;
    }
    Ok(hops.len() + 1)
}

fn hops() -> impl Strategy<Value = Vec<Hop>> {
    vec(hop(), 0..4)
}

proptest! {
    #[test]
    fn nothing_is_granted_beyond_any_ceiling_over_any_number_of_hops(world in world(), ask in first_ask(), hops in hops()) {
        walk(&world, &ask, &hops)?;
    }

    #[test]
    fn what_a_later_gate_looks_at_does_not_change_an_earlier_refusal(world in world(), ask in first_ask(), other in world()) {
        if let Err(refusal) = world.decide(&ask).outcome {
            let gate = refusal.reason.gate().number();
            let changed = World {
                consents: if gate < 9 { other.consents } else { world.consents.clone() },
                policies: if gate < 10 { other.policies } else { world.policies.clone() },
                ..world
            };
            let limits = if gate < 11 { LimitState::UserOver { retry_after_seconds: 9 } } else { ask.limits };
            prop_assert_eq!(changed.decide(&Ask { limits, ..ask }).outcome.unwrap_err(), refusal);
        }
    }
}

/// The properties above say something only if much is granted, also at later hops.
#[test]
fn what_is_drawn_reaches_grants_at_the_first_and_at_later_hops() {
    let mut runner = TestRunner::deterministic();
    let mut reached = [0; 5];
    for _ in 0..200 {
        let (world, ask, hops) = (world(), first_ask(), hops()).new_tree(&mut runner).unwrap().current();
        reached[walk(&world, &ask, &hops).unwrap()] += 1;
    }
    assert!(
        reached[1..].iter().sum::<i32>() > 50 && reached[2..].iter().sum::<i32>() > 10,
        "hops granted: {reached:?}"
    );
}
