//! Status entries of tokens, and what ended: see `domain::token_status`.

use super::sql::{BatchInsert, Step, Value, corrupt};
use super::{Store, StoreError, Versions};
use crate::domain::event::AuditEvent;
use crate::domain::names::{ClientId, UserId};
use crate::domain::token_status::{ENTRY_ISSUES_SECONDS, Revocation, Revocations, StatusEntry, Support, TokenStatus};
use crate::secrets::random_id;
use std::ops::Range;

/// No token lives longer, in seconds.
pub(crate) const LONGEST_LIFE_SECONDS: i64 = 3600;

/// An end is remembered for so long, in seconds: by then no token can live that was given an entry from before. Clocks of
/// servers may differ by a minute.
const REMEMBERED_SECONDS: i64 = ENTRY_ISSUES_SECONDS + LONGEST_LIFE_SECONDS + 60;

const RESERVE: &str = "UPDATE status_counter SET next_idx = next_idx + $1 WHERE id = 1 RETURNING next_idx";
static INSERT_ENTRIES: BatchInsert =
    BatchInsert::new("INSERT INTO status_entry (idx, made_at, ends_at) VALUES", 3, "ON CONFLICT DO NOTHING");
static INSERT_SUPPORTS: BatchInsert =
    BatchInsert::new("INSERT INTO status_support (idx, kind, value, made_at) VALUES", 4, "ON CONFLICT DO NOTHING");
/// What came of a token was asked for later, and has ended if the token has: it rests on what that rests on since then. What
/// it rests on besides is its own, and as young as it.
const INHERIT: &str = "INSERT INTO status_support (idx, kind, value, made_at)
    SELECT $1, kind, value, made_at FROM status_support WHERE idx = $2
    ON CONFLICT (idx, kind, value) DO UPDATE SET made_at =
    CASE WHEN excluded.made_at < status_support.made_at THEN excluded.made_at ELSE status_support.made_at END";
/// A kind that no support has.
const REMOVED_CLIENT: &str = "removed_client";

// The row of versions is locked, and has the new version already: who reads a version sees all that is of it.
const REVOKE: &str = "INSERT INTO revocation (id, kind, value, ended_at, ends_at, version)
    VALUES ($1, $2, $3, $4, $5, (SELECT consents FROM version WHERE id = 1))
    ON CONFLICT (kind, value) DO UPDATE SET version = excluded.version,
    ended_at = CASE WHEN excluded.ended_at > revocation.ended_at THEN excluded.ended_at ELSE revocation.ended_at END,
    ends_at = CASE WHEN excluded.ends_at > revocation.ends_at THEN excluded.ends_at ELSE revocation.ends_at END";
const REVOKE_OF_REMOVED_CLIENT: &str = "INSERT INTO revocation (id, kind, value, ended_at, ends_at, version)
    SELECT $3, 'client', value, ended_at, ends_at, (SELECT consents FROM version WHERE id = 1)
    FROM revocation WHERE kind = $1 AND value = $2
    ON CONFLICT (kind, value) DO UPDATE SET version = excluded.version,
    ended_at = CASE WHEN excluded.ended_at > revocation.ended_at THEN excluded.ended_at ELSE revocation.ended_at END,
    ends_at = CASE WHEN excluded.ends_at > revocation.ends_at THEN excluded.ends_at ELSE revocation.ends_at END";
const FORGET_REMOVED: &str = "DELETE FROM revocation WHERE kind = $1 AND value = $2";
const LIST_REVOCATIONS: &str =
    "SELECT kind, value, ended_at, ends_at FROM revocation WHERE ends_at > $1 AND version > $2";

const HAS_ENTRIES: &str = "SELECT COUNT(*) FROM (SELECT idx FROM status_entry
    WHERE idx >= $1 AND idx < $2 AND ends_at > $3 LIMIT 1) AS one";
/// What has ended for good: by a revocation, with its sign-in, or because its client is gone.
const ENDED: &str = "SELECT entry.idx FROM status_entry AS entry
    JOIN status_support AS support ON support.idx = entry.idx
    JOIN revocation ON revocation.kind = support.kind AND revocation.value = support.value
    AND revocation.ended_at >= support.made_at
    WHERE entry.idx >= $1 AND entry.idx < $2
    UNION SELECT support.idx FROM status_support AS support
    JOIN grant_family ON grant_family.id = support.value AND grant_family.revoked_at IS NOT NULL
    WHERE support.kind = 'family' AND support.idx >= $1 AND support.idx < $2
    UNION SELECT support.idx FROM status_support AS support
    WHERE support.kind = 'client' AND support.idx >= $1 AND support.idx < $2
    AND NOT EXISTS (SELECT 1 FROM client WHERE client.id = support.value)
    AND NOT EXISTS (SELECT 1 FROM dynamic_client WHERE dynamic_client.id = support.value)";
/// What waits: its user or one of its clients is suspended.
const WAITING: &str = "SELECT support.idx FROM status_support AS support
    JOIN client ON client.id = support.value AND client.suspended_at IS NOT NULL
    WHERE support.kind = 'client' AND support.idx >= $1 AND support.idx < $2
    UNION SELECT support.idx FROM status_support AS support
    JOIN dynamic_client ON dynamic_client.id = support.value AND dynamic_client.suspended_at IS NOT NULL
    WHERE support.kind = 'client' AND support.idx >= $1 AND support.idx < $2
    UNION SELECT support.idx FROM status_support AS support
    JOIN known_user ON known_user.id = support.value AND known_user.suspended_at IS NOT NULL
    WHERE support.kind = 'user' AND support.idx >= $1 AND support.idx < $2";
/// Consents that were taken back, replaced or paused. Whether the tokens go on is for the decision to say.
const DOUBTFUL: &str = "SELECT support.idx, consent.id, consent.revoked_at, holder.value
    FROM status_support AS support
    JOIN consent ON consent.id = support.value AND (consent.revoked_at IS NOT NULL OR consent.paused_at IS NOT NULL)
    LEFT JOIN status_support AS holder ON holder.idx = support.idx AND holder.kind = 'user'
    WHERE support.kind = 'consent' AND support.idx >= $1 AND support.idx < $2";
/// Consents for everyone, each with its client.
const FOR_EVERYONE: &str = "SELECT id, client_id FROM consent WHERE user_id IS NULL AND revoked_at IS NULL";
const RESTING_ON: &str =
    "SELECT idx FROM status_support WHERE kind = 'consent' AND value = $3 AND idx >= $1 AND idx < $2";

/// An entry whose consent may not hold any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoubtfulConsent {
    /// The entry.
    pub index: i64,
    /// The consent.
    pub consent: String,
    /// True if it was taken back or replaced; else it is paused.
    pub is_revoked: bool,
    /// Whose token it is; none if no user is involved.
    pub user: Option<UserId>,
}

/// Entries of a range that may not be valid, as far as the database can tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryState {
    /// What has ended, or waits.
    pub known: Vec<(i64, TokenStatus)>,
    /// What depends on a consent that was taken back, replaced or paused.
    pub doubtful: Vec<DoubtfulConsent>,
}

impl Store {
    /// Takes a block of indices for this server alone.
    pub async fn reserve_status_indices(&self, count: i64) -> Result<Range<i64>, StoreError> {
        let next: i64 = in_tx!(self, tx => sqlx::query_scalar(RESERVE).bind(count).fetch_one(&mut *tx).await?)?;
        Ok(next.saturating_sub(count)..next)
    }

    /// Ends the tokens that rest on these things and were asked for by `now`, with the event that says so. Every server
    /// knows within a second.
    pub async fn revoke_tokens(&self, ended: &[Support], event: AuditEvent, now: i64) -> Result<(), StoreError> {
        let touched = Versions { consents: 1, ..Versions::default() };
        let steps = ended.iter().map(|support| revoke_step(support, now)).collect();
        self.administer(touched, steps, event).await.map(|_| ())
    }

    /// What ended and is not forgotten at `now`.
    pub async fn revocations(&self, now: i64) -> Result<Revocations, StoreError> {
        let mut revocations = Revocations::default();
        revocations.add(self.revocations_since(-1, now).await?);
        Ok(revocations)
    }

    /// What ended after this version of all consents, and is not forgotten at `now`.
    pub async fn revocations_since(&self, version: i64, now: i64) -> Result<Vec<Revocation>, StoreError> {
        let rows: Vec<(String, String, i64, i64)> =
            on_db!(self, read db => sqlx::query_as(LIST_REVOCATIONS).bind(now).bind(version).fetch_all(db))?;
        let revocation = |(kind, value, until, forget_at)| Revocation { kind, value, until, forget_at };
        Ok(rows.into_iter().map(revocation).collect())
    }

    /// True if one of these entries can still be that of a live token.
    pub async fn has_status_entries(&self, range: &Range<i64>, now: i64) -> Result<bool, StoreError> {
        let (from, to) = (range.start, range.end);
        let any: i64 = on_db!(self, read db =>
            sqlx::query_scalar(HAS_ENTRIES).bind(from).bind(to).bind(now).fetch_one(db))?;
        Ok(any > 0)
    }

    /// The entries of a range that may not be valid, all as of one moment.
    pub async fn entry_state(&self, range: &Range<i64>) -> Result<EntryState, StoreError> {
        let (from, to) = (range.start, range.end);
        let (ended, waiting, doubtful) = in_snapshot!(self, tx => {
            let ended: Vec<i64> = sqlx::query_scalar(ENDED).bind(from).bind(to).fetch_all(&mut *tx).await?;
            let waiting: Vec<i64> = sqlx::query_scalar(WAITING).bind(from).bind(to).fetch_all(&mut *tx).await?;
            let doubtful: Vec<(i64, String, Option<i64>, Option<String>)> =
                sqlx::query_as(DOUBTFUL).bind(from).bind(to).fetch_all(&mut *tx).await?;
            (ended, waiting, doubtful)
        })?;
        let waiting = waiting.into_iter().map(|index| (index, TokenStatus::Suspended));
        let known = ended.into_iter().map(|index| (index, TokenStatus::Invalid)).chain(waiting).collect();
        let doubtful = doubtful.into_iter().map(|(index, consent, revoked_at, user)| {
            let user = user.map(UserId::try_from).transpose().map_err(corrupt("status entry"))?;
            Ok(DoubtfulConsent { index, consent, is_revoked: revoked_at.is_some(), user })
        });
        Ok(EntryState { known, doubtful: doubtful.collect::<Result<_, StoreError>>()? })
    }

    /// The live consents for everyone, each with its client.
    pub async fn consents_for_everyone(&self) -> Result<Vec<(String, ClientId)>, StoreError> {
        let rows: Vec<(String, String)> = on_db!(self, read db => sqlx::query_as(FOR_EVERYONE).fetch_all(db))?;
        let client = |(id, client): (String, String)| Ok((id, client.try_into().map_err(corrupt("consent"))?));
        rows.into_iter().map(client).collect()
    }

    /// The entries of a range that rest on a consent.
    pub async fn entries_resting_on(&self, range: &Range<i64>, consent: &str) -> Result<Vec<i64>, StoreError> {
        let (from, to) = (range.start, range.end);
        Ok(on_db!(self, read db => sqlx::query_scalar(RESTING_ON).bind(from).bind(to).bind(consent).fetch_all(db))?)
    }
}

/// The steps that keep new entries.
pub(super) fn entry_steps(entries: &[StatusEntry]) -> Vec<Step> {
    let row = |entry: &StatusEntry| vec![entry.index.into(), entry.made_at.into(), entry.ends_at.into()];
    let mut steps = INSERT_ENTRIES.steps(entries.iter().map(row).collect());
    let supports = entries.iter().flat_map(|entry| {
        let row = |support: &Support| -> Vec<Value> {
            vec![entry.index.into(), support.kind().into(), support.value().as_ref().into(), entry.made_at.into()]
        };
        entry.supports.iter().map(row)
    });
    steps.extend(INSERT_SUPPORTS.steps(supports.collect()));
    let parents = entries.iter().filter_map(|entry| Some((entry.index, entry.parent?)));
    steps.extend(parents.map(|(index, parent)| Step::new(INHERIT, [index.into(), parent.into()])));
    steps
}

/// The step that ends what rests on a thing and was asked for by `now`.
pub(super) fn revoke_step(support: &Support, now: i64) -> Step {
    Step::new(REVOKE, revocation(support.kind(), &support.value(), support.ends_until(now), now))
}

/// The step that notes when a client is removed. While it is gone, that alone is why its tokens count no more.
pub(super) fn note_removed(id: &ClientId, now: i64) -> Step {
    Step::new(REVOKE, revocation(REMOVED_CLIENT, id.as_str(), now, now))
}

/// The steps with which a client is declared: what another of its name held when it was removed has ended.
pub(super) fn end_removed(id: &ClientId) -> [Step; 2] {
    let of_it = || [REMOVED_CLIENT.into(), id.as_str().into()];
    let [kind, value] = of_it();
    let ended = Step::new(REVOKE_OF_REMOVED_CLIENT, [kind, value, random_id("rev").into()]);
    [ended, Step::new(FORGET_REMOVED, of_it())]
}

fn revocation(kind: &str, value: &str, until: i64, now: i64) -> [Value; 5] {
    let forget_at = now.saturating_add(REMEMBERED_SECONDS);
    [random_id("rev").into(), kind.into(), value.into(), until.into(), forget_at.into()]
}
