//! What a token rests on: its status entry when it is issued, and whether something of it has ended since.

use super::standing::Held;
use crate::app::{App, GivenEntry, Remembered};
use crate::audit::writer::{AuditUnavailable, With};
use crate::domain::decision::{Granted, GrantedSubject};
use crate::domain::delegation::ActChain;
use crate::domain::event::AuditEvent;
use crate::domain::names::{ClientId, ResourceId};
use crate::domain::registry::Registry;
use crate::domain::resource::canonical_uri;
use crate::domain::subject::{OwnToken, Subject};
use crate::domain::target::Target;
use crate::domain::token_status::{self, Support, sign_in_supports};
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
    if let GrantedSubject::User { id, idp, idp_sub, .. } = &granted.subject {
        supports.push(Support::User(id.clone()));
        supports.extend(sign_in_supports(granted.sid.as_deref(), Some((idp, idp_sub))));
    }
    supports.extend(clients_of(granted.chain.as_ref(), &app.config.issuer).map(Support::Client));
    supports.extend(granted.earlier_grants.iter().chain(&granted.grant_id).cloned().map(Support::Consent));
    let mut parent = None;
    if let Some((subject, own)) = subject.and_then(|subject| Some((subject, subject.own()?))) {
        // What the token before rests on is what this one rests on too.
        parent = own.status;
        if parent.is_none() {
            let registry = &app.snapshot().registry;
            supports.extend(branches(own.txn.as_deref(), subject.act.as_ref()));
            supports.extend(backends_of(registry, &subject.audiences).map(Support::Resource));
            supports.extend(backends_before(registry, subject.act.as_ref()).map(Support::Resource));
        }
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
/// `user`: what is known of its user.
///
/// A token with a status entry rests on what is written down there, and its list says when something that it came of has
/// ended: what can be told at once is only told sooner. What a token without one came of is told by its actors.
pub(super) fn ended(known: Remembered<'_>, held: &Held<'_>, user: Option<&User>) -> Option<String> {
    // Mostly there is nothing to compare with.
    if known.status_entries.knows_of_no_end() {
        return None;
    }
    let registry = &known.snapshot.registry;
    let mut supports: Vec<Support> = held.sub.parse().map(Support::User).into_iter().collect();
    supports.extend(held.client_id.parse().map(Support::Client));
    supports.extend(clients_of(held.act, held.issuer).map(Support::Client));
    supports.extend(backends_of(registry, held.audiences).map(Support::Resource));
    supports.extend(held.status.map(Support::Entry));
    if held.status.is_none() {
        supports.extend(backends_before(registry, held.act).map(Support::Resource));
        supports.extend(branches(held.txn, held.act));
    }
    if held.grant_id.is_some() {
        supports.extend(sign_in_supports(held.sid, user.map(|user| (&user.idp, user.idp_sub.as_str()))));
    }
    known.status_entries.ended(&supports, held.issued_at).map(Support::end_in_words)
}

/// The backends of these audiences.
fn backends_of<'a>(registry: &'a Registry, audiences: &'a [String]) -> impl Iterator<Item = ResourceId> + 'a {
    let uris = audiences.iter().filter_map(|audience| canonical_uri(audience).ok());
    uris.filter_map(|uri| registry.resource_by_audience(&uri)).map(|resource| resource.id.clone())
}

/// The backends whose tokens were exchanged on the way to a token, as far as its actors tell: each but the first showed
/// one for a backend that it is a client of. One that is a client of several stands for each of them.
fn backends_before<'a>(registry: &'a Registry, act: Option<&'a ActChain>) -> impl Iterator<Item = ResourceId> + 'a {
    let actors: Vec<&str> = act.into_iter().flat_map(ActChain::actors).map(|actor| actor.sub.as_str()).collect();
    let exchanged = actors.split_last().map(|(_, later)| later.to_vec()).unwrap_or_default();
    // Most tokens are of a first hop.
    let resources = (!exchanged.is_empty()).then(|| registry.resources()).into_iter().flatten();
    resources
        .filter(move |resource| resource.clients.iter().any(|client| exchanged.contains(&client.as_str())))
        .map(|resource| resource.id.clone())
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
pub(super) fn clients_of<'a>(chain: Option<&'a ActChain>, issuer: &'a str) -> impl Iterator<Item = ClientId> + 'a {
    let ours = move |iss: &Option<String>| iss.as_deref().is_none_or(|iss| iss == issuer);
    let actors = chain.into_iter().flat_map(ActChain::actors).filter(move |actor| ours(&actor.iss));
    actors.filter_map(|actor| actor.sub.parse().ok())
}
