//! Gate 7: the backend is known, and can be reached by this client and from the subject token's audience.

use super::subject::{ValidSubject, is_holder};
use super::{Gate, Question, ReasonCode, Refusal, Trace};
use crate::domain::client::ClientEntry;
use crate::domain::resource::{Resource, canonical_uri};
use crate::domain::subject::SubjectIssuer;
use crate::domain::target::{Target, TargetProblem, meant};
use std::sync::Arc;

/// The one backend of an exchange.
pub(super) fn reachable(
    question: &Question<'_>,
    subject: &ValidSubject<'_>,
    actor: &ClientEntry,
    trace: &mut Trace,
) -> Result<Arc<Resource>, Refusal> {
    let resource = match named(question)? {
        Some(Target::Resource(resource)) => resource,
        Some(Target::Issuer) => {
            let detail = "this server is not a backend that a user can be acted for at".to_owned();
            return Err(Refusal::new(ReasonCode::TargetNotAllowed, detail));
        }
        None => unnamed(question, |resource| within_reach(question, subject, actor, resource).is_ok())?,
    };
    within_reach(question, subject, actor, &resource)?;
    trace.pass(Gate::Target, format!("{} ({})", resource.id, resource.audience));
    Ok(resource)
}

/// Whoever takes part as a client must have the backend in its ceiling, and an edge must lead there.
fn within_reach(
    question: &Question<'_>,
    subject: &ValidSubject<'_>,
    actor: &ClientEntry,
    resource: &Resource,
) -> Result<(), Refusal> {
    for client in [question.client, actor].into_iter().chain(subject.client(question)) {
        in_ceiling(client, resource)?;
    }
    edge(question, subject, resource)
}

/// The target of a client's own token: a backend, or this server if none is named.
pub(super) fn of_client(question: &Question<'_>, trace: &mut Trace) -> Result<Target, Refusal> {
    let target = named(question)?.unwrap_or(Target::Issuer);
    match &target {
        Target::Issuer => trace.pass(Gate::Target, "this server"),
        Target::Resource(resource) => {
            in_ceiling(question.client, resource)?;
            trace.pass(Gate::Target, format!("{} ({})", resource.id, resource.audience));
        }
    }
    Ok(target)
}

fn named(question: &Question<'_>) -> Result<Option<Target>, Refusal> {
    question.targets.resolve(question.registry, question.issuer).map_err(|problem| {
        let detail = match &problem {
            TargetProblem::Unknown(name) => format!("{problem}{}", nearest(question, name)),
            TargetProblem::Malformed(_) | TargetProblem::Several(_) => problem.to_string(),
        };
        Refusal::new(problem.reason(), detail)
    })
}

/// The nearest registered name, for the trace only: the wire does not tell which targets exist (rule TX-61).
fn nearest(question: &Question<'_>, name: &str) -> String {
    let known = question.registry.resources().flat_map(|resource| [resource.id.as_str(), resource.audience.as_str()]);
    known
        .map(|known| (strsim::jaro_winkler(known, name), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| format!("; did the client mean {known}?"))
        .unwrap_or_default()
}

fn unnamed(question: &Question<'_>, can_reach: impl Fn(&Resource) -> bool) -> Result<Arc<Resource>, Refusal> {
    let client = &question.client.client;
    let declared = client.resources.keys().filter_map(|id| question.registry.resource(id));
    let candidates: Vec<_> = declared.filter(|resource| can_reach(resource)).collect();
    meant(client, &candidates).map(Arc::clone).ok_or_else(|| {
        let count = if candidates.is_empty() { "none".to_owned() } else { candidates.len().to_string() };
        let detail =
            format!("no target named, and of the client's resources {count} can be meant; none is its default");
        Refusal::new(ReasonCode::TargetMissing, detail)
    })
}

fn in_ceiling(entry: &ClientEntry, resource: &Resource) -> Result<(), Refusal> {
    if entry.client.resources.contains_key(&resource.id) {
        Ok(())
    } else {
        let detail = format!("{} is not among the resources of client {}", resource.id, entry.client.id);
        Err(Refusal::new(ReasonCode::TargetNotAllowed, detail))
    }
}

/// Our own token moves only along a configured edge (rule TX-80), or stays where it is with the client that holds it.
fn edge(question: &Question<'_>, subject: &ValidSubject<'_>, target: &Resource) -> Result<(), Refusal> {
    let sources: Vec<_> = sources(question, subject).collect();
    let Some(own) = subject.own() else {
        // What a user agreed to in the browser is for one backend (rule RI-03).
        let elsewhere = matches!(subject.token.issuer, SubjectIssuer::SignIn(_))
            && !subject.token.audiences.is_empty()
            && !sources.iter().any(|source| source.id == target.id);
        if elsewhere {
            let detail = format!("the grant is for {:?}, not for {}", subject.token.audiences, target.id);
            return Err(Refusal::new(ReasonCode::TargetNotReachable, detail));
        }
        return Ok(());
    };
    if subject.user().is_none() && subject.token.audiences == [question.issuer] {
        return Ok(());
    }
    let stays = sources.iter().any(|source| source.id == target.id) && is_holder(question, subject.token, own);
    if stays || sources.iter().any(|source| source.id != target.id && source.may_exchange_to.contains(&target.id)) {
        return Ok(());
    }
    let names: Vec<&str> = sources.iter().map(|source| source.id.as_str()).collect();
    let detail = format!("no edge leads from {:?} to {}", names, target.id);
    Err(Refusal::new(ReasonCode::TargetNotReachable, detail))
}

/// The backends that our own subject token is for.
pub(super) fn sources<'a>(
    question: &Question<'a>,
    subject: &ValidSubject<'_>,
) -> impl Iterator<Item = &'a Arc<Resource>> {
    let registry = question.registry;
    let canonical: Vec<String> = subject.token.audiences.iter().filter_map(|aud| canonical_uri(aud).ok()).collect();
    canonical.into_iter().filter_map(move |aud| registry.resource_by_audience(&aud))
}
