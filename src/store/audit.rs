//! The audit trail: appending to chains, and reading them in order.

use super::append::AT_ONE_STROKE;
use super::sql::{BatchInsert, Step, Value, searchable};
use super::token_status::entry_steps;
use super::users::remember_steps;
use super::{Store, StoreError, StoredEvent};
use crate::domain::event::{AuditEvent, ChainHead, ChainedEvent, EventOutcome};
use crate::domain::token_status::StatusEntry;
use crate::domain::user::User;

/// The head of one chain.
pub(super) const FIND_HEAD: &str = "SELECT seq, hash FROM audit_chain WHERE writer_id = $1";
const LIST_HEADS: &str = "SELECT writer_id, seq, hash FROM audit_chain ORDER BY writer_id";
const LIST_HEADLESS: &str = "SELECT DISTINCT writer_id FROM audit_event
    WHERE NOT EXISTS (SELECT 1 FROM audit_chain WHERE audit_chain.writer_id = audit_event.writer_id)
    ORDER BY writer_id";
const BEGIN_CHAIN: &str =
    "INSERT INTO audit_chain (writer_id, seq, hash) VALUES ($1, $2, $3) ON CONFLICT (writer_id) DO NOTHING";
const MOVE_HEAD: &str = "UPDATE audit_chain SET seq = $2, hash = $3 WHERE writer_id = $1 AND seq = $4 AND hash = $5";
const READ_CHAIN: &str = "SELECT writer_id, seq, prev_hash, hash, body
    FROM audit_event WHERE writer_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";

static INSERT_EVENTS: BatchInsert = BatchInsert::new(
    "INSERT INTO audit_event (writer_id, seq, prev_hash, hash, body,
    at_ms, request_id, outcome, reason, subject, client, resource, jti, txn) VALUES",
    14,
    "",
);

impl Store {
    /// Appends events of one writer, in their order, and remembers users: [`Self::append_with`] without status entries.
    pub async fn append_events(&self, events: &[ChainedEvent], users: &[User]) -> Result<(), StoreError> {
        self.append_with(events, users, &[]).await
    }

    /// Appends events of one writer, in their order, remembers users, and keeps the status entries of their tokens, in one
    /// transaction. A user's attributes are replaced only by newer ones; a suspension stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] if the events do not follow the head of the writer's chain; nothing is appended.
    pub async fn append_with(
        &self,
        events: &[ChainedEvent],
        users: &[User],
        entries: &[StatusEntry],
    ) -> Result<(), StoreError> {
        follow_each_other(events)?;
        let events_only = users.is_empty() && entries.is_empty();
        if events_only && events.len() <= AT_ONE_STROKE && events.first().is_some_and(|first| first.seq > 1) {
            return self.append_at_one_stroke(events).await;
        }
        let mut steps = append_steps(events)?;
        steps.extend(remember_steps(users));
        steps.extend(entry_steps(entries));
        self.commit(steps).await.map(|_| ())
    }

    /// Where a writer's chain stands.
    pub async fn chain_head(&self, writer_id: &str) -> Result<Option<ChainHead>, StoreError> {
        let row: Option<(i64, String)> =
            on_db!(self, read db => sqlx::query_as(FIND_HEAD).bind(searchable(writer_id)).fetch_optional(db))?;
        Ok(row.map(|(seq, hash)| ChainHead { writer_id: writer_id.to_owned(), seq, hash }))
    }

    /// Every chain's head, by writer.
    pub async fn chain_heads(&self) -> Result<Vec<ChainHead>, StoreError> {
        let rows: Vec<(String, i64, String)> = on_db!(self, read db => sqlx::query_as(LIST_HEADS).fetch_all(db))?;
        Ok(rows.into_iter().map(|(writer_id, seq, hash)| ChainHead { writer_id, seq, hash }).collect())
    }

    /// Writers that have events and no head: somebody deleted it. Reads the key of every event.
    pub async fn chains_without_head(&self) -> Result<Vec<String>, StoreError> {
        Ok(on_db!(self, read db => sqlx::query_scalar(LIST_HEADLESS).fetch_all(db))?)
    }

    /// Events of a writer in order, after `seq`, as they are stored.
    pub async fn read_chain(
        &self,
        writer_id: &str,
        after_seq: i64,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(on_db!(self, read db => sqlx::query_as(READ_CHAIN)
            .bind(searchable(writer_id)).bind(after_seq).bind(limit.max(0)).fetch_all(db))?)
    }
}

/// The steps that append events of one writer behind the head they were made for. No event, no step.
pub(super) fn append_steps(events: &[ChainedEvent]) -> Result<Vec<Step>, StoreError> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Ok(Vec::new());
    };
    follow_each_other(events)?;
    let writer = first.writer_id.as_str();
    let (seq, hash) = (last.seq, last.hash.as_str());
    let head = if first.seq == 1 {
        Step::new(BEGIN_CHAIN, [writer.into(), seq.into(), hash.into()])
    } else {
        let (seq_before, hash_before) = (first.seq - 1, first.prev_hash.as_str());
        Step::new(MOVE_HEAD, [writer.into(), seq.into(), hash.into(), seq_before.into(), hash_before.into()])
    };
    let mut steps = vec![head.or_reject(forked(first).to_string())];
    steps.extend(INSERT_EVENTS.steps(events.iter().map(row_of).collect()));
    Ok(steps)
}

fn follow_each_other(events: &[ChainedEvent]) -> Result<(), StoreError> {
    let follows = |(before, after): (&ChainedEvent, &ChainedEvent)| {
        before.writer_id == after.writer_id && before.seq + 1 == after.seq && before.hash == after.prev_hash
    };
    match events.first() {
        Some(ChainedEvent { writer_id, .. }) if !events.iter().zip(events.iter().skip(1)).all(follows) => {
            Err(StoreError::Rejected(format!("the events for the chain of {writer_id} do not follow each other")))
        }
        Some(_) | None => Ok(()),
    }
}

/// The chain does not stand where this event begins.
pub(super) fn forked(first: &ChainedEvent) -> StoreError {
    let (writer, before) = (&first.writer_id, first.seq - 1);
    StoreError::Rejected(format!("the chain of {writer} does not stand at event {before}: another writer uses it"))
}

fn row_of(chained: &ChainedEvent) -> Vec<Value> {
    let mut row: Vec<Value> = vec![
        chained.writer_id.as_str().into(),
        chained.seq.into(),
        chained.prev_hash.as_str().into(),
        chained.hash.as_str().into(),
        chained.body.as_str().into(),
        chained.event.at_ms.into(),
    ];
    row.extend(texts_of(&chained.event).into_iter().map(|(_, text)| Value::Text(text)));
    row
}

/// The columns of text beside a body, in the order of the table.
pub(super) fn texts_of(event: &AuditEvent) -> [(&'static str, Option<String>); 8] {
    let text = |text: &str| Some(searchable(text).into_owned());
    [
        ("request_id", text(&event.request_id)),
        ("outcome", text(outcome_name(event.outcome))),
        ("reason", text(&event.reason)),
        ("subject", event.subject_sub().and_then(text)),
        ("client", event.client.as_ref().and_then(|client| text(client.as_str()))),
        ("resource", event.resource.as_ref().and_then(|resource| text(resource.as_str()))),
        ("jti", event.jti.as_deref().and_then(text)),
        ("txn", event.txn.as_deref().and_then(text)),
    ]
}

/// The name of an outcome in the column; the same as in the body.
fn outcome_name(outcome: EventOutcome) -> &'static str {
    match outcome {
        EventOutcome::Granted => "granted",
        EventOutcome::Refused => "refused",
        EventOutcome::Done => "done",
    }
}
