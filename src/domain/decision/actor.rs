//! Gates 5 and 6: who acts, and the chain of those who acted before.

use super::{Delegation, Gate, Question, ReasonCode, Refusal, Trace};
use crate::domain::client::ClientEntry;
use crate::domain::delegation::{ActChain, Actor, ChainProblem};
use crate::domain::subject::{ActorToken, Subject};

/// The client that acts: the one that asks, or one whose own token it may present (rules TX-36 to TX-39).
pub(super) fn permitted<'a>(
    question: &'a Question<'_>,
    asked: Delegation<'_>,
    subject: &Subject,
    trace: &mut Trace,
) -> Result<&'a ClientEntry, Refusal> {
    let entry = match asked.actor {
        None => question.client,
        Some(actor) => presented(question, actor.map_err(Clone::clone)?)?,
    };
    let actor = Actor::client(question.issuer, &entry.client.id);
    if let Some(may_act) = &subject.may_act
        && !may_act.allows(&actor)
    {
        let detail = format!("may_act of the subject token does not name {}", entry.client.id);
        return Err(Refusal::new(ReasonCode::MayActMismatch, detail));
    }
    trace.pass(Gate::Actor, entry.client.id.as_str());
    Ok(entry)
}

fn presented<'a>(question: &'a Question<'_>, token: &ActorToken) -> Result<&'a ClientEntry, Refusal> {
    if token.is_delegated {
        let detail = "the actor token has a user or an actor of its own".to_owned();
        return Err(Refusal::new(ReasonCode::ActorTokenDelegated, detail));
    }
    if token.audiences != [question.issuer] {
        let detail = format!("the actor token is for {:?}, not for this server", token.audiences);
        return Err(Refusal::new(ReasonCode::ActorTokenInvalid, detail));
    }
    let active = question.client_by_name(&token.sub).filter(|entry| entry.suspended_at.is_none());
    let entry = active.ok_or_else(|| {
        Refusal::new(ReasonCode::ActorStopped, "the actor is not a registered, active client".to_owned())
    })?;
    let client = &question.client.client;
    let id = &entry.client.id;
    if *id != client.id && !client.may_present.contains(id) {
        let detail = format!("{id} is not in may_present of client {}", client.id);
        return Err(Refusal::new(ReasonCode::ActorNotPermitted, detail));
    }
    Ok(entry)
}

/// The chain with the actor in front of the earlier ones.
pub(super) fn extended_chain(
    question: &Question<'_>,
    subject: &Subject,
    actor: &ClientEntry,
    trace: &mut Trace,
) -> Result<ActChain, Refusal> {
    let actor = Actor::client(question.issuer, &actor.client.id);
    let chain = match &subject.act {
        None => ActChain::new(actor),
        Some(earlier) => earlier.extend(actor, question.max_chain_depth).map_err(|problem| {
            let reason = match problem {
                ChainProblem::Cycle => ReasonCode::ChainCycle,
                ChainProblem::TooDeep(_) | ChainProblem::Malformed => ReasonCode::ChainTooDeep,
            };
            Refusal::new(reason, problem.to_string())
        })?,
    };
    let names: Vec<&str> = chain.actors().iter().map(|actor| actor.sub.as_str()).collect();
    trace.pass(Gate::Chain, names.join(" for "));
    Ok(chain)
}
