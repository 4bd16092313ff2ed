//! Whether a request may go on to a backend that knows nothing of tokens: what its proxy asks of each request.
//!
//! The token is verified as the backend would, and its state is looked up as for introspection. The answer is the caller,
//! signed anew for that backend.

use super::standing::{Ended, Held, still_good_for};
use super::{Failure, Received};
use crate::app::App;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::resource::{Resource, canonical_uri};
use crate::domain::scope::ScopeSet;
use crate::domain::subject::SubjectIssuer;
use crate::tokens::caller::sign_caller;

/// What the proxy wants of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Every one of these.
    pub scopes: ScopeSet,
    /// Also a client that speaks for itself may come.
    pub clients: bool,
}

/// Why the request must not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// It is no access token of ours, or was altered.
    Invalid,
    /// It is over.
    Expired,
    /// It is for another backend.
    OtherBackend,
    /// It was taken back, or what it rests on was.
    Ended(Ended),
    /// It is a client's own, and only users are served.
    NotDelegated,
    /// It is good, but not for this.
    InsufficientScope,
}

impl Denied {
    /// What the caller hears; nothing of it was sent.
    pub fn public_description(&self) -> &'static str {
        match self {
            Self::Invalid => "This is not an access token of the authorization server.",
            Self::Expired => "The token has expired.",
            Self::OtherBackend => "The token is for another backend.",
            Self::Ended(_) => "The token was taken back.",
            Self::NotDelegated => "The token acts for no user.",
            Self::InsufficientScope => "The token does not have every scope that this needs.",
        }
    }

    /// For metrics and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Invalid => "token_invalid",
            Self::Expired => "token_expired",
            Self::OtherBackend => "audience_foreign",
            Self::Ended(_) => "token_ended",
            Self::NotDelegated => "not_delegated",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

/// The caller as a signed header, or why there is none. Nothing is written down: see docs/decisions/0038.
///
/// # Errors
/// What was taken back cannot be told at the moment, or nothing can be signed.
pub async fn caller(
    app: &App,
    received: &Received,
    resource: &Resource,
    wanted: &Wanted,
    token: &str,
) -> Result<Result<String, Denied>, Failure> {
    let (snapshot, keys) = (app.snapshot(), app.signing_keys());
    let now = received.now();
    let (subject, claims) = match app.verifier(&snapshot, &keys, now).own_access_token(token) {
        Ok(verified) => verified,
        Err(refusal) => return Ok(Err(why_not(&refusal))),
    };
    let SubjectIssuer::Own(own) = &subject.issuer else {
        return Ok(Err(Denied::Invalid));
    };
    let is_for_it = match subject.audiences.as_slice() {
        [audience] => canonical_uri(audience).is_ok_and(|audience| audience == resource.audience.canonical()),
        _ => false,
    };
    if !is_for_it {
        return Ok(Err(Denied::OtherBackend));
    }
    if subject.act.is_none() && !wanted.clients {
        return Ok(Err(Denied::NotDelegated));
    }
    // What somebody took back may not have come here yet: then nobody is let through.
    if app.is_behind() {
        return Err(Failure::Unavailable("what changed in the database could not be taken in".to_owned()));
    }
    let held = Held::of(&subject, own, &app.config.issuer);
    let scopes = match still_good_for(app.remembered(&snapshot), now, &held).await? {
        Ok(scopes) => scopes,
        Err(ended) => return Ok(Err(Denied::Ended(ended))),
    };
    if !wanted.scopes.is_subset(&scopes) {
        return Ok(Err(Denied::InsufficientScope));
    }
    Ok(Ok(sign_caller(claims, (&scopes, subject.expires_at), resource, &keys, now)?))
}

fn why_not(refusal: &Refusal) -> Denied {
    if refusal.reason == ReasonCode::SubjectTokenExpired { Denied::Expired } else { Denied::Invalid }
}
