//! The agreements of a user that count or pause, in words.

use super::unavailable;
use crate::app::{App, Snapshot};
use crate::domain::client::{ClientEntry, ConsentMode, GrantType};
use crate::domain::consent::{Consent, ConsentSource, ConsentingUser};
use crate::domain::resource::{Access, Resource, TOKEN_LIFETIME_SECONDS};
use crate::domain::sign_in::SignIn;
use crate::pages::consent_view::description;
use crate::pages::who::{Who, runs_here, shown};
use crate::pages::words;
use crate::store::{ConsentUse, EventFilter, StoreError};
use axum::response::Response;
use std::sync::Arc;

/// One agreement.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) consent: Consent,
    pub(super) who: Who,
    pub(super) runs_here: bool,
    pub(super) client_id: String,
    pub(super) resource_name: String,
    pub(super) may: Vec<May>,
    /// Who agreed.
    pub(super) by: AgreedBy,
    pub(super) is_suspended: bool,
    pub(super) since: String,
    pub(super) until: String,
    pub(super) used: String,
    /// How long the passes that are out live at the longest.
    pub(super) pass_minutes: u32,
}

/// Who agreed to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AgreedBy {
    /// The user, on a page of ours.
    User,
    /// The user, as an administrator noted.
    UserAsRecorded,
    /// An administrator for everyone: not for this user to change.
    AdministratorForEveryone,
}

/// One scope of it.
#[derive(Debug)]
pub(super) struct May {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) access: Access,
}

/// All of the user's, by client and backend.
pub(super) async fn by(app: &App, user: &SignIn) -> Result<Vec<Held>, Response> {
    find(app, user, |_| true).await.map_err(|cause| unavailable(app, &cause.to_string()))
}

/// One of the user's own; none if it is not theirs, or has ended.
pub(super) async fn one(app: &App, user: &SignIn, id: &str) -> Result<Option<Held>, Response> {
    let is_it = |consent: &Consent| consent.id == id && consent.user != ConsentingUser::Everyone;
    let found = find(app, user, is_it).await.map_err(|cause| unavailable(app, &cause.to_string()))?;
    Ok(found.into_iter().next())
}

async fn find(app: &App, user: &SignIn, wanted: impl Fn(&Consent) -> bool) -> Result<Vec<Held>, StoreError> {
    let now = app.clock.now();
    let snapshot = app.snapshot();
    let consents = app.consents.of(&app.store, &user.user).await?;
    let counts = app.store.consent_uses(&user.user).await?;
    let mut found = Vec::new();
    for consent in consents.iter().filter(|consent| consent.is_kept(now) && wanted(consent)) {
        let client = app.clients.find(&app.store, &snapshot, &consent.client).await?;
        let is_for_everyone = consent.user == ConsentingUser::Everyone;
        let is_declared = client.as_ref().is_some_and(|entry| entry.client.consent == ConsentMode::Admin);
        if is_for_everyone && !is_declared {
            continue;
        }
        let count = if is_for_everyone {
            recorded_uses(app, user, consent).await?
        } else {
            let (written, unwritten) = (counts.get(&consent.id).copied(), app.uses.unwritten(&consent.id));
            let written = written.unwrap_or_default();
            ConsentUse {
                uses: written.uses.saturating_add(unwritten.uses),
                last_used_at: written.last_used_at.max(unwritten.last_used_at),
            }
        };
        found.push(held(app, &snapshot, consent, client.as_ref(), count));
    }
    found.sort_by(|a, b| {
        let key = |held: &Held| (held.who.in_text().to_lowercase(), held.resource_name.clone());
        key(a).cmp(&key(b))
    });
    Ok(found)
}

/// Of an agreement for everyone the user's own uses: what others do with it is not theirs to see.
async fn recorded_uses(app: &App, user: &SignIn, consent: &Consent) -> Result<ConsentUse, StoreError> {
    let filter = EventFilter {
        user: Some(user.user.as_str().to_owned()),
        client: Some(consent.client.as_str().to_owned()),
        resource: Some(consent.resource.as_str().to_owned()),
        outcome: Some("granted".to_owned()),
        limit: 1,
        ..EventFilter::default()
    };
    let counts = app.store.count_events_by_day(&filter).await?;
    let last = app.store.list_events(&filter).await?;
    Ok(ConsentUse {
        uses: counts.iter().map(|count| count.count).sum(),
        last_used_at: last.first().map_or(0, |event| event.at_ms.div_euclid(1000)),
    })
}

fn held(
    app: &App,
    snapshot: &Snapshot,
    consent: &Consent,
    client: Option<&Arc<ClientEntry>>,
    used: ConsentUse,
) -> Held {
    let resource = snapshot.registry.resource(&consent.resource);
    let by = match (&consent.user, consent.source) {
        (ConsentingUser::Everyone, _) => AgreedBy::AdministratorForEveryone,
        (ConsentingUser::One(_), ConsentSource::Admin) => AgreedBy::UserAsRecorded,
        (ConsentingUser::One(_), ConsentSource::User) => AgreedBy::User,
    };
    Held {
        who: client
            .map_or_else(|| nobody(consent), |entry| Who::of(entry, &snapshot.registry, &app.config.organisation.name)),
        runs_here: client.is_some_and(|entry| runs_here(entry, None)),
        client_id: consent.client.as_str().to_owned(),
        resource_name: shown(resource.map_or(consent.resource.as_str(), |resource| &resource.name), 60),
        may: may(consent, resource.map(Arc::as_ref)),
        by,
        is_suspended: client.is_some_and(|entry| entry.suspended_at.is_some()),
        since: words::day(consent.granted_at),
        until: consent
            .expires_at
            .map_or_else(|| "until it is taken back".to_owned(), |end| format!("until {}", words::minute(end))),
        used: match used.uses {
            0 => "Not used yet.".to_owned(),
            count => format!("Used {}, last on {}.", words::times(count), words::minute(used.last_used_at)),
        },
        pass_minutes: pass_seconds(client, resource.map(Arc::as_ref)).div_ceil(60),
        consent: consent.clone(),
    }
}

/// A client that is known no more: its agreements end with it, so this is seen only in passing.
fn nobody(consent: &Consent) -> Who {
    Who {
        headline: shown(consent.client.as_str(), 60),
        says: None,
        assurance: "self_asserted",
        trust: "It is no longer registered here.".to_owned(),
        imitates: None,
    }
}

/// How long its tokens live at the longest.
fn pass_seconds(client: Option<&Arc<ClientEntry>>, resource: Option<&Resource>) -> u32 {
    let connects = client.is_some_and(|entry| entry.client.may_use(GrantType::AuthorizationCode));
    resource.map_or(*TOKEN_LIFETIME_SECONDS.end(), |resource| {
        let connector = if connects { resource.connector_token_lifetime_seconds } else { 0 };
        resource.token_lifetime_seconds.max(connector)
    })
}

fn may(consent: &Consent, resource: Option<&Resource>) -> Vec<May> {
    let line = |name: &crate::domain::scope::Scope| {
        let declared = resource.and_then(|resource| resource.scope(name));
        May {
            name: name.as_str().to_owned(),
            description: declared.map_or_else(|| name.as_str().to_owned(), |scope| description(&scope.description)),
            access: declared.map_or(Access::Read, |scope| scope.access),
        }
    };
    let mut may: Vec<May> = consent.scopes.iter().map(line).collect();
    may.sort_by_key(|may| match may.access {
        Access::Read => 0,
        Access::Write => 1,
        Access::Destructive => 2,
    });
    may
}
