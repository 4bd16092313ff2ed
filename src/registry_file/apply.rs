//! Applying files to a database: read, check, compare, change, in one transaction.

use super::{FileProblem, Server, Source, describe, lines, parse};
use crate::clock::Clock;
use crate::domain::change::{Change, RevocationTarget};
use crate::domain::consent::{Consent, ConsentingUser};
use crate::domain::event::{AuditEvent, EventKind, EventOutcome, EventSubject};
use crate::domain::names::{ClientId, ResourceId, UserId};
use crate::domain::scope::ScopeSet;
use crate::secrets::random_id;
use crate::store::{Store, StoreError};

/// How to apply.
#[derive(Debug, Clone, Copy, Default)]
pub struct ApplyOptions {
    /// Tell what would change, and change nothing.
    pub dry_run: bool,
    /// Remove what the files do not declare.
    pub prune: bool,
}

/// What was changed, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// One line a change; empty if the registry already was as declared.
    pub lines: Vec<String>,
}

/// Why files were not applied. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The files have mistakes.
    #[error("{}", lines(.0))]
    Problems(Vec<FileProblem>),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the registry as the files declare it. A second time changes nothing, and leaves no event.
///
/// # Errors
/// [`ApplyError`]; nothing was changed then.
pub async fn apply(
    store: &Store,
    sources: &[Source],
    options: ApplyOptions,
    server: Server<'_>,
    clock: &Clock,
) -> Result<Applied, ApplyError> {
    let file = parse(sources).map_err(ApplyError::Problems)?;
    let (current, versions) = store.load_registry().await?;
    file.check(&current, options.prune, server).map_err(ApplyError::Problems)?;
    let now = clock.now();
    let consents = consents_for_everyone(store, now).await?;
    let changes = file.changes(&current, options.prune, &consents, now);
    let told = describe(&changes, &current, &consents);
    if !options.dry_run {
        commit(store, &changes, &told, &consents, Some(versions.registry), clock).await?;
    }
    Ok(Applied { lines: told })
}

/// The live consents that an administrator gave for everyone.
pub(crate) async fn consents_for_everyone(store: &Store, now: i64) -> Result<Vec<Consent>, StoreError> {
    // Every user's consents have those for everyone among them, and asking for one user's reads no other's.
    let anybody: UserId = "anybody".parse().expect("a plain word is a user id");
    let consents = store.consents_of(&anybody).await?;
    Ok(consents
        .into_iter()
        .filter(|consent| consent.user == ConsentingUser::Everyone && consent.is_live(now))
        .collect())
}

/// Carries out changes together with the event that tells of them; without changes there is no event.
///
/// `consents` are those that changes may name by id. `registry_version`: what the changes were checked against, if that
/// matters to them.
///
/// # Errors
/// As [`Store::change_since`].
pub async fn commit(
    store: &Store,
    changes: &[Change],
    lines: &[String],
    consents: &[Consent],
    registry_version: Option<i64>,
    clock: &Clock,
) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let abouts: Vec<About<'_>> = changes.iter().map(|change| about(change, consents)).collect();
    let (id, kind) = (random_id("adm"), EventKind::Administration);
    let mut event = AuditEvent::new(clock.now_ms(), id, kind, EventOutcome::Done, "administration");
    event.detail = Some(lines.join("\n"));
    event.client = the_one(abouts.iter().map(|about| about.client));
    event.resource = the_one(abouts.iter().map(|about| about.resource));
    let user = the_one(abouts.iter().map(|about| about.user));
    event.subject = user.map(|user| EventSubject::named(user.as_str()));
    if let ([only], Some(_)) = (abouts.as_slice(), &event.subject) {
        only.reason.unwrap_or("administration").clone_into(&mut event.reason);
        event.granted = only.granted.cloned();
    }
    match registry_version {
        Some(version) => store.change_since(version, changes, event, clock.now()).await,
        None => store.change(changes, event, clock.now()).await,
    }
}

/// What all have in common.
fn the_one<'a, T: Clone + PartialEq + 'a>(mut all: impl Iterator<Item = Option<&'a T>>) -> Option<T> {
    let first = all.next().flatten()?;
    all.all(|other| other == Some(first)).then(|| first.clone())
}

/// Whom and what a change concerns, where that is one.
#[derive(Default)]
struct About<'a> {
    user: Option<&'a UserId>,
    client: Option<&'a ClientId>,
    resource: Option<&'a ResourceId>,
    granted: Option<&'a ScopeSet>,
    /// What it is to the user, as their own page tells them.
    reason: Option<&'static str>,
}

impl<'a> About<'a> {
    fn consent(consent: &'a Consent) -> Self {
        let user = match &consent.user {
            ConsentingUser::One(user) => Some(user),
            ConsentingUser::Everyone => None,
        };
        Self { user, client: Some(&consent.client), resource: Some(&consent.resource), ..Self::default() }
    }
}

/// `consents` are those that the change may name by id.
fn about<'a>(change: &'a Change, consents: &'a [Consent]) -> About<'a> {
    let of = |id: &str| consents.iter().find(|consent| consent.id == id).map(About::consent).unwrap_or_default();
    match change {
        Change::PutClient(client, _) => About { client: Some(&client.id), ..About::default() },
        Change::RemoveClient(id)
        | Change::SuspendClient(id)
        | Change::ResumeClient(id)
        | Change::RevokeAll { target: RevocationTarget::Client(id), .. } => {
            About { client: Some(id), ..About::default() }
        }
        Change::AddSecret(secret) => About { client: Some(&secret.client), ..About::default() },
        Change::PutResource(resource) => About { resource: Some(&resource.id), ..About::default() },
        Change::RemoveResource(id) | Change::RevokeAll { target: RevocationTarget::Resource(id), .. } => {
            About { resource: Some(id), ..About::default() }
        }
        Change::SuspendUser(id) => About { user: Some(id), reason: Some("user_suspended"), ..About::default() },
        Change::ResumeUser(id) => About { user: Some(id), reason: Some("user_resumed"), ..About::default() },
        Change::GrantConsent(consent) => {
            let (granted, reason) = (Some(&consent.scopes), Some("consent_given"));
            About { granted, reason, ..About::consent(consent) }
        }
        Change::RevokeConsent(id) => About { reason: Some("consent_revoked"), ..of(id) },
        Change::NarrowConsent { id, .. }
        | Change::ShortenConsent { id, .. }
        | Change::PauseConsent(id)
        | Change::ResumeConsent(id) => of(id),
        Change::RevokeAll { target: RevocationTarget::User(id), .. } => {
            About { user: Some(id), reason: Some("everything_revoked"), ..About::default() }
        }
        Change::RevokeAll { target: RevocationTarget::Session { .. }, .. }
        | Change::PutIdentityProvider(_)
        | Change::RemoveIdentityProvider(_)
        | Change::PutPolicy(_)
        | Change::RemovePolicy(_)
        | Change::AnswerConsentRequest { .. } => About::default(),
    }
}
