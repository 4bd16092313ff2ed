//! Authorization code (RFC 6749 §4.1.3, with PKCE): what the user agreed to in the browser becomes a token.

use super::stored_grant::StoredGrant;
use super::{Caller, Failure, FamilyEnd, Issued, Received, ended_family, unproven};
use crate::app::App;
use crate::domain::client::GrantType;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::grant_family::GrantFamily;
use crate::domain::target::RequestedTargets;
use crate::secrets::{digest, equal};
use std::fmt;

/// A request with a code (RFC 6749 §4.1.3).
pub struct CodeRequest {
    /// The code.
    pub code: String,
    /// `redirect_uri`; may be left out, since PKCE binds the code (rule OA-13).
    pub redirect_uri: Option<String>,
    /// `code_verifier` (RFC 7636 §4.5), of the form that the RFC asks for.
    pub code_verifier: Option<String>,
    /// `resource`: the one that the code is for, if any.
    pub targets: RequestedTargets,
}

/// Without the code and its verifier.
impl fmt::Debug for CodeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeRequest").field("targets", &self.targets).finish_non_exhaustive()
    }
}

/// Redeems the code, or says why not. Either way the event is durable before this returns.
pub async fn redeem(app: &App, received: &Received, caller: &Caller, request: CodeRequest) -> Result<Issued, Failure> {
    let now = received.now();
    let grant = StoredGrant::new(app, received, caller, GrantType::AuthorizationCode, &request.targets, None);
    let family = match app.grant_tokens.family_of_code(&request.code) {
        Some(id) => app.store.find_family(&id).await?,
        None => None,
    };
    if family.as_ref().is_none_or(|family| family.client != caller.client.client.id) {
        unproven(app, received, caller)?;
    }
    let checked = check(family.as_ref(), caller, &request, now);
    let mut decided = grant.decide(checked.as_ref().map(|family| *family)).await?;
    let mut replayed = matches!(&checked, Err(refusal) if refusal.reason == ReasonCode::CodeReplayed);
    if let (Ok(_), Ok(family)) = (&decided.decision.outcome, &checked) {
        // The database says which of several requests was first.
        if !app.store.redeem_code(&family.id, now, grant.idle_end(family)).await? {
            // Used by another request, or ended, by a logout perhaps.
            let ended = app.store.find_family(&family.id).await?.and_then(|family| family.revoked_because);
            replayed = ended.is_none();
            decided.decision.refuse_after_all(ended.map_or_else(used_before, |because| {
                let detail = format!("grant family {} was ended: {because}", family.id);
                Refusal::new(ReasonCode::SubjectSessionEnded, detail)
            }));
        }
    }
    if let (true, Some(family)) = (replayed, &family) {
        ended_family(app, received, family, FamilyEnd::CodeReplayed).await?;
    }
    let renewable = family.as_ref().filter(|family| family.terms.renewable && caller.client.may_renew());
    let refresh_token = renewable.map(|family| app.grant_tokens.refresh_token(&family.id, 0));
    grant.finish(family.as_ref(), decided, refresh_token).await
}

/// The family, if this client may redeem its code so. A client learns nothing of another's code, and cannot use it up.
fn check<'a>(
    family: Option<&'a GrantFamily>,
    caller: &Caller,
    request: &CodeRequest,
    now: i64,
) -> Result<&'a GrantFamily, Refusal> {
    let invalid = |detail: &str| Err(Refusal::new(ReasonCode::CodeInvalid, detail));
    let Some(family) = family else {
        return invalid("no such code was given");
    };
    if family.client != caller.client.client.id {
        return invalid("the code was given to another client");
    }
    if request.redirect_uri.as_ref().is_some_and(|uri| *uri != family.terms.redirect_uri) {
        return invalid("redirect_uri is not the one that the code was sent to");
    }
    let Some(verifier) = &request.code_verifier else {
        return invalid("code_verifier is missing");
    };
    if !equal(digest(verifier).as_bytes(), family.terms.code_challenge.as_bytes()) {
        return invalid("code_verifier does not fit the code_challenge");
    }
    if family.redeemed_at.is_some() {
        return Err(used_before());
    }
    if now >= family.code_ends_at {
        let detail = format!("the code ended {} seconds ago", now.saturating_sub(family.code_ends_at));
        return Err(Refusal::new(ReasonCode::CodeExpired, detail));
    }
    Ok(family)
}

fn used_before() -> Refusal {
    Refusal::new(ReasonCode::CodeReplayed, "the code was used before; its grant family is ended")
}
