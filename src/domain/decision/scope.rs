//! Gate 8: asked ∩ the backend's list ∩ every client's ceiling ∩ the subject token's scope (rule TX-79).

use super::subject::ValidSubject;
use super::target::sources;
use super::{Cut, Gate, Question, ReasonCode, Refusal, Trace};
use crate::domain::client::ClientEntry;
use crate::domain::identity_provider::{SubjectScope, SubjectTokenRule};
use crate::domain::resource::Resource;
use crate::domain::scope::{Scope, ScopeSet};
use crate::domain::subject::SubjectIssuer;
use std::sync::Arc;

/// Scopes that survive, and those that were cut.
pub(super) fn within_ceilings(
    question: &Question<'_>,
    subject: &ValidSubject<'_>,
    rule: Option<&SubjectTokenRule>,
    actor: &ClientEntry,
    resource: &Resource,
    trace: &mut Trace,
) -> Result<(ScopeSet, Vec<Cut>), Refusal> {
    let mut cut = Vec::new();
    let mut scopes = narrow_to_client(question, question.client, resource, &mut cut);
    if actor.client.id != question.client.client.id {
        scopes = keep(scopes, ReasonCode::ScopeBeyondClient, &mut cut, |scope| has(actor, resource, scope));
    }
    if let Some(client) = subject.client(question) {
        scopes = keep(scopes, ReasonCode::ScopeBeyondSubject, &mut cut, |scope| has(client, resource, scope));
    }
    let sources: Vec<_> = sources(question, subject).collect();
    scopes = keep(scopes, ReasonCode::ScopeBeyondSubject, &mut cut, |scope| {
        subject_has(subject, rule, &sources, resource, scope)
    });
    finish(scopes, cut, trace)
}

/// The scopes of a client's own token.
pub(super) fn of_client(
    question: &Question<'_>,
    resource: &Resource,
    cut: &mut Vec<Cut>,
    trace: &mut Trace,
) -> Result<ScopeSet, Refusal> {
    let scopes = narrow_to_client(question, question.client, resource, cut);
    let (scopes, all_cut) = finish(scopes, std::mem::take(cut), trace)?;
    *cut = all_cut;
    Ok(scopes)
}

/// This server itself has no scopes to give.
pub(super) fn none_at_issuer(question: &Question<'_>, trace: &mut Trace) -> Result<(), Refusal> {
    if question.scopes.is_some_and(|asked| !asked.is_empty()) {
        let detail = "scopes were asked for, but no resource they could be for".to_owned();
        return Err(Refusal::new(ReasonCode::ScopeUnknown, detail));
    }
    trace.pass(Gate::Scope, "none");
    Ok(())
}

fn narrow_to_client(
    question: &Question<'_>,
    client: &ClientEntry,
    resource: &Resource,
    cut: &mut Vec<Cut>,
) -> ScopeSet {
    let asked = match question.scopes {
        Some(asked) if !asked.is_empty() => asked.clone(),
        Some(_) | None => client.client.resources.get(&resource.id).into_iter().flatten().cloned().collect(),
    };
    let known = keep(asked, ReasonCode::ScopeUnknown, cut, |scope| resource.scope(scope).is_some());
    keep(known, ReasonCode::ScopeBeyondClient, cut, |scope| has(client, resource, scope))
}

fn has(client: &ClientEntry, resource: &Resource, scope: &Scope) -> bool {
    client.client.resources.get(&resource.id).is_some_and(|ceiling| ceiling.contains(scope))
}

/// Whether the subject token leaves room for the scope.
///
/// A provider's token limits by its `scope` claim if it has one, and a sign-in by what the user let the client have. Our own token limits at its own backend; at another
/// one it limits the scopes whose names both backends know, so that none is gained on the way.
fn subject_has(
    subject: &ValidSubject<'_>,
    rule: Option<&SubjectTokenRule>,
    sources: &[&Arc<Resource>],
    resource: &Resource,
    scope: &Scope,
) -> bool {
    let claimed = |scope: &Scope| subject.token.scope.as_ref().is_some_and(|held| held.contains(scope));
    if matches!(subject.token.issuer, SubjectIssuer::SignIn(_)) {
        return subject.token.scope.is_none() || claimed(scope);
    }
    if let Some(rule) = rule {
        return subject.token.scope.is_none() || rule.scope == SubjectScope::Ignored || claimed(scope);
    }
    let shared = sources.iter().any(|source| source.id == resource.id || source.scope(scope).is_some());
    !shared || claimed(scope)
}

fn keep(scopes: ScopeSet, reason: ReasonCode, cut: &mut Vec<Cut>, test: impl FnMut(&Scope) -> bool) -> ScopeSet {
    let (kept, dropped) = scopes.partition(test);
    cut.extend(dropped.iter().map(|scope| Cut { scope: scope.clone(), reason }));
    kept
}

fn finish(scopes: ScopeSet, cut: Vec<Cut>, trace: &mut Trace) -> Result<(ScopeSet, Vec<Cut>), Refusal> {
    if scopes.is_empty() {
        // The ceiling nearest to a grant says most about what is in the way.
        let reason = cut.iter().map(|cut| cut.reason).max().unwrap_or(ReasonCode::ScopeBeyondClient);
        let names: Vec<&str> = cut.iter().map(|cut| cut.scope.as_str()).collect();
        return Err(Refusal::new(reason, format!("nothing is left of {names:?}")));
    }
    trace.pass_or_narrow(Gate::Scope, &cut, scopes.to_string());
    Ok((scopes, cut))
}
