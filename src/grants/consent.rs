//! What a user agrees to, takes back or changes, each with its event in the same transaction.

use super::{Failure, Received};
use crate::app::App;
use crate::domain::change::Change;
use crate::domain::client::ClientEntry;
use crate::domain::consent::{Consent, ConsentAnswer, ConsentSource, ConsentingUser};
use crate::domain::event::{AuditEvent, EventKind, EventOutcome, EventSubject};
use crate::domain::resource::Resource;
use crate::domain::scope::ScopeSet;
use crate::domain::sign_in::SignIn;
use crate::secrets::{digest, random_id};
use crate::store::StoreError;

/// For how long a user agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// One hour.
    Hour,
    /// One day.
    Day,
    /// Thirty days.
    Month,
    /// Until it is taken back.
    UntilRevoked,
    /// As long as the agreement that this one replaces: until then, Unix seconds, or without an end.
    AsBefore(Option<i64>),
}

impl Lasts {
    /// Those that can be chosen for anything, the shortest first.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Month, Self::UntilRevoked];

    /// When it ends, Unix seconds; none without an end.
    pub fn ends_at(self, now: i64) -> Option<i64> {
        let seconds = match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Month => 30 * 86_400,
            Self::UntilRevoked => return None,
            Self::AsBefore(end) => return end,
        };
        Some(now.saturating_add(seconds))
    }
}

/// Who asks whom for what.
#[derive(Debug, Clone, Copy)]
pub struct Parties<'a> {
    /// Who was asked, signed in.
    pub user: &'a SignIn,
    /// Who asks.
    pub client: &'a ClientEntry,
    /// For which backend.
    pub resource: &'a Resource,
    /// Where the code goes, if there is one.
    pub redirect_uri: Option<&'a str>,
    /// The handle of the consent page, if the client waits for its answer.
    pub handle: Option<&'a str>,
}

/// Records that the user agrees, and has this server go by it at once. An earlier agreement for the same client and
/// backend is replaced.
pub async fn give(
    app: &App,
    received: &Received,
    parties: &Parties<'_>,
    scopes: ScopeSet,
    lasts: Lasts,
) -> Result<Consent, Failure> {
    let now = received.now();
    let consent = Consent {
        id: random_id("con"),
        user: ConsentingUser::One(parties.user.user.clone()),
        client: parties.client.client.id.clone(),
        resource: parties.resource.id.clone(),
        scopes,
        source: ConsentSource::User,
        granted_at: now,
        expires_at: lasts.ends_at(now),
        revoked_at: None,
        paused_at: None,
        fingerprint: Some(parties.client.client.fingerprint()),
        redirect_uri: parties.redirect_uri.map(str::to_owned),
    };
    let mut event = event_about(received, parties.user, &consent, "consent_given");
    event.granted = Some(consent.scopes.clone());
    event.detail = Some(until(consent.expires_at));
    let mut changes = vec![Change::GrantConsent(consent.clone())];
    changes.extend(answered(parties.handle, ConsentAnswer::Allowed));
    app.store.change(&changes, event, now).await?;
    take_in(app).await;
    Ok(consent)
}

/// Records that the user said no to what was asked.
pub async fn refuse(app: &App, received: &Received, parties: &Parties<'_>, scopes: ScopeSet) -> Result<(), Failure> {
    let mut event = event_of(received, parties.user, "consent_denied");
    event.client = Some(parties.client.client.id.clone());
    event.resource = Some(parties.resource.id.clone());
    event.asked = Some(scopes);
    let changes: Vec<Change> = answered(parties.handle, ConsentAnswer::Denied).into_iter().collect();
    if changes.is_empty() {
        app.audit.record(event, None).await?;
    } else {
        app.store.change(&changes, event, received.now()).await?;
    }
    Ok(())
}

/// What a user changes about an agreement of theirs. None of it lets the client do more than was agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amendment {
    /// It keeps these scopes, fewer than it has.
    Narrow(ScopeSet),
    /// It ends then (Unix seconds), sooner than it would.
    Shorten(i64),
    /// The client waits.
    Pause,
    /// The client goes on.
    Resume,
    /// It ends now.
    Revoke,
}

/// Changes an agreement of the user, with its event, and has this server go by it at once. False, and nothing is
/// changed, if that cannot be done as things stand: it is another user's, has ended, or was changed meanwhile.
pub async fn amend(
    app: &App,
    received: &Received,
    user: &SignIn,
    consent: &Consent,
    amendment: Amendment,
) -> Result<bool, Failure> {
    let now = received.now();
    if consent.user != ConsentingUser::One(user.user.clone()) || !consent.is_kept(now) {
        return Ok(false);
    }
    let id = consent.id.clone();
    let mut event = event_about(received, user, consent, "consent_changed");
    event.granted = Some(consent.scopes.clone());
    let change = match amendment {
        Amendment::Narrow(scopes) => {
            if scopes.is_empty() || scopes == consent.scopes || !scopes.is_subset(&consent.scopes) {
                return Ok(false);
            }
            event.detail = Some(format!("from {} to {scopes}", consent.scopes));
            event.granted = Some(scopes.clone());
            Change::NarrowConsent { id, before: consent.scopes.clone(), scopes }
        }
        Amendment::Shorten(expires_at) => {
            if expires_at <= now || consent.expires_at.is_some_and(|end| end <= expires_at) {
                return Ok(false);
            }
            event.detail = Some(until(Some(expires_at)));
            Change::ShortenConsent { id, expires_at }
        }
        Amendment::Pause => {
            "consent_paused".clone_into(&mut event.reason);
            Change::PauseConsent(id)
        }
        Amendment::Resume => {
            "consent_resumed".clone_into(&mut event.reason);
            Change::ResumeConsent(id)
        }
        Amendment::Revoke => {
            "consent_revoked".clone_into(&mut event.reason);
            Change::RevokeConsent(id)
        }
    };
    match app.store.change(&[change], event, now).await {
        Ok(()) => {}
        Err(StoreError::Rejected(why)) => {
            tracing::info!(why, "an agreement was changed meanwhile");
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    }
    take_in(app).await;
    Ok(true)
}

fn answered(handle: Option<&str>, answer: ConsentAnswer) -> Option<Change> {
    handle.map(|handle| Change::AnswerConsentRequest { handle_digest: digest(handle), answer })
}

/// The change is durable by now; if it cannot be taken in at once, upkeep does it within a second.
async fn take_in(app: &App) {
    if let Err(error) = app.refresh().await {
        tracing::warn!(%error, "a user's change could not be taken in at once");
    }
}

fn until(expires_at: Option<i64>) -> String {
    expires_at.map_or_else(
        || "until it is taken back".to_owned(),
        |end| format!("until {}", crate::audit::words::moment(end)),
    )
}

fn event_about(received: &Received, user: &SignIn, consent: &Consent, reason: &str) -> AuditEvent {
    let mut event = event_of(received, user, reason);
    event.client = Some(consent.client.clone());
    event.resource = Some(consent.resource.clone());
    event.grant_id = Some(consent.id.clone());
    event
}

fn event_of(received: &Received, user: &SignIn, reason: &str) -> AuditEvent {
    let mut event = received.event(EventKind::Consent, EventOutcome::Done, reason);
    event.subject = Some(EventSubject::user(&user.user, &user.idp, &user.idp_sub).in_session(user.idp_session.clone()));
    event
}
