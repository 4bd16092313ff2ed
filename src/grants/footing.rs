//! What a token rests on: its status entry when it is issued, and whether something of it has ended since.

use super::standing::Held;
use crate::app::{App, GivenEntry, Remembered};
use crate::audit::writer::{AuditUnavailable, With};
use crate::domain::decision::{Granted, GrantedSubject};
use crate::domain::delegation::ActChain;
use crate::domain::event::AuditEvent;
use crate::domain::names::ClientId;
use crate::domain::resource::canonical_uri;
use crate::domain::subject::{OwnToken, Subject, SubjectIssuer};
use crate::domain::target::Target;
use crate::domain::token_status::{self, Support};
use crate::domain::user::User;
use crate::store::StoreError;

/// The status entry for what was granted; none if the backend wants none. `asked_at`: when the request came, Unix seconds.
/// Whatever ends at that moment or later ends the token.
pub(super) async fn entry(
    app: &App,
    granted: &Granted,
    subject: Option<&Subject>,
    asked_at: i64,
) -> Result<Option<GivenEntry>, StoreError> {
    let Target::Resource(resource) = &granted.target else { return Ok(None) };
    if !resource.status_list {
        return Ok(None);
    }
    let mut supports = vec![Support::Resource(resource.id.clone()), Support::Client(granted.client.clone())];
    if let GrantedSubject::User { id, .. } = &granted.subject {
        supports.push(Support::User(id.clone()));
    }
    supports.extend(clients_of(granted.chain.as_ref(), &app.config.issuer).map(Support::Client));
    supports.extend(granted.earlier_grants.iter().chain(&granted.grant_id).cloned().map(Support::Consent));
    supports.extend(granted.family.clone().map(Support::Family));
    let mut parent = None;
    match subject.map(|subject| (&subject.issuer, subject)) {
        Some((SubjectIssuer::Idp(idp), subject)) => {
            supports.push(Support::Login(idp.clone(), subject.sub.clone()));
            supports.push(match &subject.sid {
                Some(session) => Support::Session(idp.clone(), session.clone()),
                None => Support::UnnamedSession(idp.clone(), subject.sub.clone()),
            });
        }
        // What the token before rests on is what this one rests on too; if it has no entry, its branches say so.
        Some((SubjectIssuer::Own(own), subject)) => match own.status {
            Some(index) => parent = Some(index),
            None => supports.extend(branches(own.txn.as_deref(), subject.act.as_ref())),
        },
        // A grant family stands for the sign-in.
        Some((SubjectIssuer::SignIn(_), _)) | None => {}
    }
    app.status_entries.give(&app.store, supports, parent, asked_at).await.map(Some)
}

/// Makes the event of a token durable, with its status entry and what it taught us of a user.
pub(super) async fn record(
    app: &App,
    event: AuditEvent,
    user: Option<User>,
    entry: Option<&GivenEntry>,
) -> Result<(), AuditUnavailable> {
    let new = entry.and_then(|entry| entry.new.clone());
    app.audit.record_with(event, With { user, entry: new }).await?;
    if let Some(entry) = entry {
        app.status_entries.is_durable(entry);
    }
    Ok(())
}

/// What ended of one of our own tokens since it was asked for, in words; none if it goes on as far as revocations say.
pub(super) fn ended(known: Remembered<'_>, held: &Held<'_>) -> Option<String> {
    let mut supports: Vec<Support> = held.sub.parse().map(Support::User).into_iter().collect();
    supports.extend(held.client_id.parse().map(Support::Client));
    supports.extend(clients_of(held.act, held.issuer).map(Support::Client));
    let backends = held.audiences.iter().filter_map(|audience| canonical_uri(audience).ok());
    let backends = backends.filter_map(|audience| known.snapshot.registry.resource_by_audience(&audience));
    supports.extend(backends.map(|resource| Support::Resource(resource.id.clone())));
    supports.extend(branches(held.txn, held.act));
    let revocations = known.status_entries.revocations();
    let ended = revocations.ended(&supports, held.issued_at)?;
    Some(match ended {
        Support::Branch(..) => "it, or a token that it came of, was revoked".to_owned(),
        Support::User(id) => format!("all tokens of user {id} were revoked"),
        Support::Client(id) => format!("all tokens of client {id} were revoked"),
        Support::Resource(id) => format!("all tokens for backend {id} were revoked"),
        Support::Consent(_)
        | Support::Family(_)
        | Support::Session(..)
        | Support::Login(..)
        | Support::UnnamedSession(..)
        | Support::Entry(_) => "what it rests on was revoked".to_owned(),
    })
}

/// A token and every token that it came of, each as the root of its own branch.
fn branches(txn: Option<&str>, act: Option<&ActChain>) -> Vec<Support> {
    let Some(txn) = txn else { return Vec::new() };
    let actors: Vec<String> = act.into_iter().flat_map(ActChain::actors).map(|actor| actor.sub.clone()).collect();
    token_status::branches(txn, &actors).collect()
}

/// The branch that a token is the root of: it and all that came of it.
pub(super) fn branch(own: &OwnToken, act: Option<&ActChain>) -> Option<Support> {
    branches(own.txn.as_deref(), act).into_iter().next()
}

/// Those actors that are clients of ours.
fn clients_of<'a>(chain: Option<&'a ActChain>, issuer: &'a str) -> impl Iterator<Item = ClientId> + 'a {
    let ours = move |iss: &Option<String>| iss.as_deref().is_none_or(|iss| iss == issuer);
    let actors = chain.into_iter().flat_map(ActChain::actors).filter(move |actor| ours(&actor.iss));
    actors.filter_map(|actor| actor.sub.parse().ok())
}
