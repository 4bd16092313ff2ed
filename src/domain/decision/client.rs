//! Gates 1 and 2: the client is active, and may use the grant.

use super::{Gate, Question, ReasonCode, Refusal, Trace};
use crate::domain::client::GrantType;

pub(super) fn is_active(question: &Question<'_>, trace: &mut Trace) -> Result<(), Refusal> {
    let entry = question.client;
    if entry.suspended_at.is_some() {
        return Err(Refusal::new(ReasonCode::ClientSuspended, format!("client {} is suspended", entry.client.id)));
    }
    let note = format!("{} ({}, {})", entry.client.id, entry.client.authentication.as_str(), entry.assurance.as_str());
    trace.pass(Gate::Client, note);
    Ok(())
}

pub(super) fn may_use(question: &Question<'_>, grant: GrantType, trace: &mut Trace) -> Result<(), Refusal> {
    let client = &question.client.client;
    let may_use = client.may_use(grant) || (grant == GrantType::RefreshToken && question.client.may_renew());
    if !may_use {
        let detail = format!("{} is not among the grants of client {}", grant.as_str(), client.id);
        return Err(Refusal::new(ReasonCode::GrantNotAllowed, detail));
    }
    // A code and a refresh token are proof of their own; the other grants rest on the client alone.
    let proves_itself = match grant {
        GrantType::AuthorizationCode | GrantType::RefreshToken => true,
        GrantType::TokenExchange | GrantType::ClientCredentials => client.is_confidential(),
    };
    if !proves_itself {
        let detail = format!("client {} does not authenticate", client.id);
        return Err(Refusal::new(ReasonCode::ClientIsPublic, detail));
    }
    trace.pass(Gate::Grant, grant.as_str());
    Ok(())
}
