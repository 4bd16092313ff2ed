//! Refresh token (RFC 6749 §6): a new access token on the terms of an earlier one, and a successor of the refresh token.
//!
//! Consent, policy, client and user are looked at again each time. A replaced token gives the same successor again for a
//! while, since clients run several processes on one token and answers get lost; later it ends its family (rule CL-30).

use super::stored_grant::{Decided, StoredGrant};
use super::{Caller, Failure, FamilyEnd, Issued, Received, ended_family, unproven};
use crate::app::App;
use crate::domain::client::GrantType;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::grant_family::{GrantFamily, Presented};
use crate::domain::scope::ScopeSet;
use crate::domain::target::RequestedTargets;
use crate::store::StoreError;
use std::fmt;

/// A request with a refresh token (RFC 6749 §6).
pub struct RefreshRequest {
    /// The refresh token.
    pub refresh_token: String,
    /// `resource`: the one of the grant, if any.
    pub targets: RequestedTargets,
    /// Fewer scopes for this access token; those of the grant if absent.
    pub scopes: Option<ScopeSet>,
}

/// Without the token.
impl fmt::Debug for RefreshRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshRequest")
            .field("targets", &self.targets)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// Renews, or says why not. Either way the event is durable before this returns.
pub async fn renew(
    app: &App,
    received: &Received,
    caller: &Caller,
    request: RefreshRequest,
) -> Result<Issued, Failure> {
    let now = received.now();
    let scopes = request.scopes.as_ref();
    let grant = StoredGrant::new(app, received, caller, GrantType::RefreshToken, &request.targets, scopes);
    let named = app.grant_tokens.family_of_refresh_token(&request.refresh_token);
    let mut family = match &named {
        Some((id, _)) => app.store.find_family(id).await?,
        None => None,
    };
    if family.as_ref().is_none_or(|family| family.client != caller.client.client.id) {
        unproven(app, received, caller)?;
    }
    let generation = named.map_or(0, |(_, generation)| generation);
    let checked = check(app, family.as_ref(), caller, generation, now);
    let reused = matches!(&checked, Err(refusal) if refusal.reason == ReasonCode::RefreshTokenReused);
    let mut decided = grant.decide(checked.as_ref().map(|family| *family)).await?;
    narrower_only(&mut decided, scopes, family.as_ref());
    if let (true, Some(family)) = (reused, &family) {
        ended_family(app, received, family, FamilyEnd::RefreshTokenReused).await?;
    }
    let mut successor = None;
    if let (Ok(_), Some(found)) = (&decided.decision.outcome, &family) {
        match rotate(&grant, found, generation).await? {
            Ok(rotated) => {
                successor = Some(app.grant_tokens.refresh_token(&rotated.id, rotated.generation));
                family = Some(rotated);
            }
            Err(refusal) => {
                if refusal.reason == ReasonCode::RefreshTokenReused {
                    ended_family(app, received, found, FamilyEnd::RefreshTokenReused).await?;
                }
                decided.decision.refuse_after_all(refusal);
            }
        }
    }
    grant.finish(family.as_ref(), decided, successor).await
}

/// The family, if this client may use this refresh token of it.
fn check<'a>(
    app: &App,
    family: Option<&'a GrantFamily>,
    caller: &Caller,
    generation: i64,
    now: i64,
) -> Result<&'a GrantFamily, Refusal> {
    let invalid = |detail: &str| Err(Refusal::new(ReasonCode::RefreshTokenInvalid, detail));
    let Some(family) = family else {
        return invalid("no such refresh token was given");
    };
    // Another client's try says nothing of whether the token is in wrong hands: its family goes on (A62).
    if family.client != caller.client.client.id {
        return invalid("the refresh token was given to another client");
    }
    if let Some(because) = &family.revoked_because {
        let detail = format!("grant family {} was ended: {because}", family.id);
        return Err(Refusal::new(ReasonCode::SubjectSessionEnded, detail));
    }
    if !family.is_live(now) {
        let detail = format!("it was last used {} seconds ago", now.saturating_sub(family.used_at));
        return Err(Refusal::new(ReasonCode::RefreshTokenExpired, detail));
    }
    match family.presented(generation, now, i64::from(app.config.tokens.refresh_grace_seconds)) {
        Presented::Newest | Presented::Late => Ok(family),
        Presented::Reused => Err(reused(family, generation)),
    }
}

fn reused(family: &GrantFamily, generation: i64) -> Refusal {
    let detail = format!(
        "refresh token {generation} of grant family {} was replaced long ago, the newest is {}; the family is ended",
        family.id, family.generation
    );
    Refusal::new(ReasonCode::RefreshTokenReused, detail)
}

/// More than the grant has is an error, not less (RFC 6749 §6).
fn narrower_only(decided: &mut Decided, scopes: Option<&ScopeSet>, family: Option<&GrantFamily>) {
    if let (Ok(_), Some(asked), Some(family)) = (&decided.decision.outcome, scopes, family)
        && !asked.is_subset(&family.terms.scopes)
    {
        let detail = format!("{asked} is more than the grant's {}", family.terms.scopes);
        decided.decision.refuse_after_all(Refusal::new(ReasonCode::ScopeBeyondSubject, detail));
    }
}

/// The family as it stands after this request: with a new generation, or with the one that another request has just made.
async fn rotate(
    grant: &StoredGrant<'_>,
    family: &GrantFamily,
    generation: i64,
) -> Result<Result<GrantFamily, Refusal>, StoreError> {
    let (store, now) = (&grant.app.store, grant.received.now());
    let grace = i64::from(grant.app.config.tokens.refresh_grace_seconds);
    if family.presented(generation, now, grace) == Presented::Newest {
        let rotations = family.rotations.with(generation, now, grace);
        let ends_at = grant.idle_end(family);
        if store.rotate_refresh_token(&family.id, generation, &rotations, now, ends_at).await? {
            tracing::debug!(family = family.id, generation, "a refresh token was replaced");
            return Ok(Ok(GrantFamily { generation: generation.saturating_add(1), rotations, ..family.clone() }));
        }
    }
    // Replaced a moment ago, maybe by a request at another server: all of them get the same successor.
    let current = store.find_family(&family.id).await?;
    let Some(current) = current.filter(|current| current.is_live(now)) else {
        let detail = format!("grant family {} was ended at the same time", family.id);
        return Ok(Err(Refusal::new(ReasonCode::SubjectSessionEnded, detail)));
    };
    Ok(match current.presented(generation, now, grace) {
        Presented::Late => {
            tracing::info!(family = family.id, generation, "a replaced refresh token was used once more in time");
            Ok(current)
        }
        Presented::Newest | Presented::Reused => Err(reused(&current, generation)),
    })
}
