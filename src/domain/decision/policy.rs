//! Gate 10: Cedar policy, scope by scope.

use super::subject::ValidSubject;
use super::{Asked, Cut, Gate, GrantedSubject, Question, ReasonCode, Refusal, Trace};
use crate::domain::client::GrantType;
use crate::domain::delegation::{ActChain, Actor};
use crate::domain::policy::{PolicyQuestion, Principal, Verdict};
use crate::domain::resource::Resource;
use crate::domain::scope::{Scope, ScopeSet};
use std::collections::BTreeSet;

/// What policy permits, and which policies did.
#[derive(Debug)]
pub(super) struct Permitted {
    pub(super) scopes: ScopeSet,
    pub(super) policies: Vec<String>,
}

/// For the subject of an asked.
pub(super) fn permitted(
    question: &Question<'_>,
    subject: &ValidSubject<'_>,
    chain: Option<&ActChain>,
    resource: &Resource,
    scopes: ScopeSet,
    cut: &mut Vec<Cut>,
    trace: &mut Trace,
) -> Result<Permitted, Refusal> {
    let principal = match &subject.party {
        GrantedSubject::User { id, idp, attributes, .. } => Principal::User { id, idp: idp.as_str(), attributes },
        GrantedSubject::Client(id) => match subject.client(question) {
            Some(entry) => Principal::Client(entry),
            None => return Err(Refusal::new(ReasonCode::PolicyNotPermitted, format!("client {id} is gone"))),
        },
    };
    let actors: Vec<String> =
        chain.iter().flat_map(|chain| chain.actors()).map(|actor| name_of(question.issuer, actor)).collect();
    let policy_question = PolicyQuestion {
        principal,
        client: question.client,
        resource,
        actors: &actors,
        grant: grant(question),
        acr: subject.token.acr.as_deref(),
        amr: &subject.token.amr,
        auth_time: subject.token.auth_time,
        now: question.now,
    };
    ask(question, &policy_question, scopes, cut, trace)
}

/// For a client that speaks for itself.
pub(super) fn permitted_to_client(
    question: &Question<'_>,
    resource: &Resource,
    scopes: ScopeSet,
    cut: &mut Vec<Cut>,
    trace: &mut Trace,
) -> Result<Permitted, Refusal> {
    let policy_question = PolicyQuestion {
        principal: Principal::Client(question.client),
        client: question.client,
        resource,
        actors: &[],
        grant: grant(question),
        acr: None,
        amr: &[],
        auth_time: None,
        now: question.now,
    };
    ask(question, &policy_question, scopes, cut, trace)
}

/// An actor as policies name it. One in somebody else's words is named with its issuer and a space, which no client
/// id has, so that it cannot pass for a client of ours.
fn name_of(issuer: &str, actor: &Actor) -> String {
    match &actor.iss {
        Some(iss) if iss == issuer => actor.sub.clone(),
        Some(_) | None => format!("{} {}", actor.iss.as_deref().unwrap_or_default(), actor.sub),
    }
}

fn grant(question: &Question<'_>) -> GrantType {
    match question.asked {
        Asked::Delegation(asked) => asked.grant,
        Asked::ClientCredentials => GrantType::ClientCredentials,
    }
}

fn ask(
    question: &Question<'_>,
    policy_question: &PolicyQuestion<'_>,
    scopes: ScopeSet,
    cut: &mut Vec<Cut>,
    trace: &mut Trace,
) -> Result<Permitted, Refusal> {
    let prepared = question.policies.prepare(policy_question);
    let mut permitting = BTreeSet::new();
    let mut dropped = Vec::new();
    let mut notes = Vec::new();
    let (kept, _) = scopes.partition(|scope| {
        let (reason, note) = match prepared.verdict(scope) {
            Verdict::Permitted(policies) => {
                permitting.extend(policies);
                return true;
            }
            Verdict::NotPermitted => {
                let candidates = prepared.candidates(scope);
                (ReasonCode::PolicyNotPermitted, needs(policy_question.resource, scope, &candidates))
            }
            Verdict::Forbidden(policies) => {
                (ReasonCode::PolicyForbidden, format!("{scope} is forbidden by {}", policies.join(", ")))
            }
        };
        notes.push(note);
        dropped.push(Cut { scope: scope.clone(), reason });
        false
    });
    if dropped.iter().any(|cut| cut.reason == ReasonCode::PolicyNotPermitted) {
        notes.extend(held_roles(policy_question.principal));
    }
    if kept.is_empty() {
        let reason = dropped.iter().map(|cut| cut.reason).max().unwrap_or(ReasonCode::PolicyNotPermitted);
        return Err(Refusal::new(reason, notes.join("; ")));
    }
    let policies: Vec<String> = permitting.into_iter().collect();
    let mut note = format!("{kept} by {}", policies.join(", "));
    if !notes.is_empty() {
        note = format!("{note}; {}", notes.join("; "));
    }
    trace.pass_or_narrow(Gate::Policy, &dropped, note);
    cut.extend(dropped);
    Ok(Permitted { scopes: kept, policies })
}

/// Why no policy permits a scope: what its declaration asks for, and the own policies that were asked in vain.
fn needs(resource: &Resource, scope: &Scope, candidates: &[String]) -> String {
    let needs = match resource.scope(scope) {
        Some(declared) if declared.policy.is_some() => format!("{scope} needs a policy of its own that permits it"),
        Some(declared) if !declared.roles.is_empty() => format!("{scope} needs one of the roles {:?}", declared.roles),
        Some(_) | None => format!("no policy permits {scope}"),
    };
    if candidates.is_empty() { needs } else { format!("{needs}, and {} did not", candidates.join(", ")) }
}

/// What the user has instead; nothing for a client, which never has roles.
fn held_roles(principal: Principal<'_>) -> Option<String> {
    match principal {
        Principal::User { attributes, .. } if attributes.roles.is_empty() => Some("the user has no roles".to_owned()),
        Principal::User { attributes, .. } => Some(format!("the user has the roles {:?}", attributes.roles)),
        Principal::Client(_) => None,
    }
}
