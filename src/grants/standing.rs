//! Whether one of our own tokens still counts: what a backend hears at `/introspect` and at `/forward-auth`, what
//! `inspect` says, and whether `/userinfo` answers.

use super::footing;
use crate::app::Remembered;
use crate::domain::decision::carries_on;
use crate::domain::delegation::ActChain;
use crate::domain::names::{ClientId, IdpId, UserId};
use crate::domain::scope::ScopeSet;
use crate::domain::subject::{OwnToken, Subject};
use crate::domain::token_status::{TokenStatus, is_session_id};
use crate::store::StoreError;

/// A token of ours, as far as it matters here.
#[derive(Debug, Clone)]
pub(super) struct Held<'a> {
    /// `sub`.
    pub(super) sub: &'a str,
    /// The client that got it.
    pub(super) client_id: &'a str,
    /// The consent that it rests on; none for a client's own token.
    pub(super) grant_id: Option<&'a str>,
    /// The consents of earlier hops.
    pub(super) earlier_grants: &'a [String],
    /// `sid`: the grant family that it is of, or an id of the session at a provider.
    pub(super) sid: Option<&'a str>,
    /// What it is good for.
    pub(super) scopes: ScopeSet,
    /// The backends that it is for (`aud`).
    pub(super) audiences: &'a [String],
    /// Who acts and who acted before.
    pub(super) act: Option<&'a ActChain>,
    /// The transaction.
    pub(super) txn: Option<&'a str>,
    /// `iat`, Unix seconds; 0 if it does not say, since it could be from before anything.
    pub(super) issued_at: i64,
    /// The number of its status entry.
    pub(super) status: Option<i64>,
    /// Our issuer.
    pub(super) issuer: &'a str,
}

impl<'a> Held<'a> {
    pub(super) fn of(subject: &'a Subject, own: &'a OwnToken, issuer: &'a str) -> Self {
        Self {
            sub: &subject.sub,
            client_id: &own.client_id,
            grant_id: own.grant_id.as_deref(),
            earlier_grants: &own.earlier_grants,
            sid: subject.sid.as_deref(),
            scopes: subject.scope.clone().unwrap_or_default(),
            audiences: &subject.audiences,
            act: subject.act.as_ref(),
            txn: own.txn.as_deref(),
            issued_at: subject.issued_at.unwrap_or(0),
            status: own.status,
            issuer,
        }
    }
}

impl Held<'_> {
    /// The client that got it, and those that acted before. An actor that another issuer named is no client here.
    fn clients(&self) -> impl Iterator<Item = &str> {
        let actors = self.act.into_iter().flat_map(ActChain::actors);
        let ours = actors.filter(|actor| actor.iss.as_deref() == Some(self.issuer)).map(|actor| actor.sub.as_str());
        std::iter::once(self.client_id).chain(ours.filter(|name| *name != self.client_id))
    }
}

/// Why a token counts no more, before its `exp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// A client that got it, or acted before, is not known any more.
    ClientGone(String),
    /// A client that got it, or acted before, is suspended.
    ClientSuspended(ClientId),
    /// The provider that vouched for its user is not registered any more.
    ProviderGone(IdpId),
    /// The sign-in that it came of has ended; how, in words.
    SessionEnded(String),
    /// It was revoked, by its client or by an administrator; how, in words.
    Revoked(String),
    /// Its entry in the status list says so.
    InStatusList(TokenStatus),
    /// The user is suspended.
    UserSuspended,
    /// A consent on the way was taken back, has expired or pauses.
    ConsentEnded,
    /// The consent goes on, for nothing that the token is good for.
    NothingLeft,
}

impl Ended {
    /// For people.
    pub fn in_words(&self) -> String {
        match self {
            Self::ClientGone(name) => {
                format!("client {name}, which got it or acted before, is not registered any more")
            }
            Self::ClientSuspended(id) => format!("client {id}, which got it or acted before, is suspended"),
            Self::ProviderGone(id) => {
                format!("identity provider {id}, which vouched for its user, is not registered any more")
            }
            Self::SessionEnded(how) | Self::Revoked(how) => how.clone(),
            Self::InStatusList(TokenStatus::Suspended) => "its status list says that it is suspended".to_owned(),
            Self::InStatusList(TokenStatus::Valid | TokenStatus::Invalid) => {
                "its status list says that it has ended".to_owned()
            }
            Self::UserSuspended => "its user is suspended".to_owned(),
            Self::ConsentEnded => "a consent that it rests on was taken back, has expired, or pauses".to_owned(),
            Self::NothingLeft => "its user agrees to nothing any more that it is good for".to_owned(),
        }
    }
}

/// Which of its scopes the token is still good for, or why it counts no more. The session, the user, the client that got
/// it and every consent on the way must go on, by the same rules by which it would be taken as a subject token.
pub(super) async fn still_good_for(
    known: Remembered<'_>,
    now: i64,
    held: &Held<'_>,
) -> Result<Result<ScopeSet, Ended>, StoreError> {
    let scopes = match agreed_to(known, now, held).await? {
        Ok(scopes) => scopes,
        Err(ended) => return Ok(Err(ended)),
    };
    // What a backend sees offline is not contradicted here.
    let status = match held.status {
        Some(index) => known.status_lists.status(known, index, now).await?,
        None => TokenStatus::Valid,
    };
    Ok(if status == TokenStatus::Valid { Ok(scopes) } else { Err(Ended::InStatusList(status)) })
}

async fn agreed_to(known: Remembered<'_>, now: i64, held: &Held<'_>) -> Result<Result<ScopeSet, Ended>, StoreError> {
    for name in held.clients() {
        let entry = match name.parse() {
            Ok(id) => known.clients.find(known.store, known.snapshot, &id).await?,
            Err(_) => None,
        };
        match entry {
            None => return Ok(Err(Ended::ClientGone(name.to_owned()))),
            Some(entry) if entry.suspended_at.is_some() => {
                return Ok(Err(Ended::ClientSuspended(entry.client.id.clone())));
            }
            Some(_) => {}
        }
    }
    let user = match held.grant_id.and_then(|_| held.sub.parse::<UserId>().ok()) {
        Some(id) => known.users.find(known.store, &id).await?,
        None => None,
    };
    if let Some(how) = footing::ended(known, held, user.as_deref()) {
        return Ok(Err(Ended::Revoked(how)));
    }
    if let Some(user) = user.filter(|user| known.snapshot.registry.idp(&user.idp).is_none()) {
        return Ok(Err(Ended::ProviderGone(user.idp.clone())));
    }
    if let Some(family) = held.sid.filter(|sid| !is_session_id(sid))
        && let Some(how) = known.consents.family_ended(known.store, family).await?
    {
        return Ok(Err(Ended::SessionEnded(how)));
    }
    let mut scopes = held.scopes.clone();
    // The token of a client that acts for itself rests on no consent.
    let Some(grant_id) = held.grant_id else {
        return Ok(Ok(scopes));
    };
    let registry = &known.snapshot.registry;
    let user: UserId = match held.sub.parse() {
        Ok(user) => user,
        Err(_) => return Ok(Err(Ended::ConsentEnded)),
    };
    if registry.is_suspended(&user) {
        return Ok(Err(Ended::UserSuspended));
    }
    let consents = known.consents.of(known.store, &user).await?;
    let goes_on = |id: &str| carries_on(registry, &consents, &user, id, now);
    if !held.earlier_grants.iter().map(String::as_str).chain([grant_id]).all(goes_on) {
        return Ok(Err(Ended::ConsentEnded));
    }
    // A consent that was narrowed is the same consent, with fewer scopes.
    let kept = consents.iter().find(|consent| consent.id == grant_id);
    if let Some(consent) = kept.filter(|consent| consent.is_live(now)) {
        scopes = scopes.iter().filter(|scope| consent.scopes.contains(scope)).cloned().collect();
        if scopes.is_empty() {
            return Ok(Err(Ended::NothingLeft));
        }
    }
    Ok(Ok(scopes))
}
