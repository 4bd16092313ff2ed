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

/// With the columns that are copies from the body.
const WALK_CHAIN: &str = "SELECT seq, prev_hash, hash, body,
    at_ms, request_id, outcome, reason, subject, client, resource, jti, txn
    FROM audit_event WHERE writer_id = $1 AND seq >= $2 ORDER BY seq LIMIT $3";

/// The same as one text, since handing over a row costs more than reading it: each number ends with a comma, each text
/// begins with its length in bytes and a colon, and without a length it is nothing.
const WALK_CHAIN_AS_TEXT: &str = "SELECT string_agg(
        format('%s,%s,%s:%s%s:%s%s:%s%s:%s%s:%s%s:%s%s:%s%s:%s%s:%s%s:%s%s:', seq, at_ms,
        octet_length(prev_hash), prev_hash, octet_length(hash), hash, octet_length(request_id), request_id,
        octet_length(outcome), outcome, octet_length(reason), reason, octet_length(subject), subject,
        octet_length(client), client, octet_length(resource), resource, octet_length(jti), jti, octet_length(txn), txn,
        octet_length(body)) || body, '')
    FROM (SELECT seq, prev_hash, hash, body, at_ms, request_id, outcome, reason, subject, client, resource, jti, txn
        FROM audit_event WHERE writer_id = $1 AND seq >= $2 ORDER BY seq LIMIT $3) AS page";

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

    /// Shows events of a writer in order, from `seq` on, to `see`, without copying them; how many there were. Read from the
    /// stored columns, so that the caller can compare them with the body.
    pub async fn walk_chain(
        &self,
        writer_id: &str,
        from_seq: i64,
        limit: i64,
        see: &mut (dyn FnMut(StoredRow<'_>) + Send),
    ) -> Result<usize, StoreError> {
        let text: Result<Option<String>, StoreError> = on_db!(self, read db => sqlx::query_scalar(WALK_CHAIN_AS_TEXT)
            .bind(searchable(writer_id)).bind(from_seq).bind(limit.max(0)).fetch_one(db));
        if let Ok(text) = text
            && let Ok(rows) = rows_in(text.as_deref().unwrap_or_default())
        {
            let count = rows.len();
            for row in rows {
                see(row);
            }
            return Ok(count);
        }
        // Something is not of the type of its column, or the database fails: row by row it shows where.
        on_db!(self, read db => async {
            let query = sqlx::query(WALK_CHAIN).bind(searchable(writer_id)).bind(from_seq).bind(limit.max(0));
            let rows = query.fetch_all(db).await?;
            for row in &rows {
                see(row_seen(row));
            }
            Ok::<_, sqlx::Error>(rows.len())
        })
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

/// An event as it stands in the database, for a moment; nothing in it has been checked.
#[derive(Debug, Clone, Copy)]
pub struct StoredRow<'a> {
    /// Its place.
    pub seq: i64,
    /// As stored.
    pub prev_hash: &'a str,
    /// As stored.
    pub hash: &'a str,
    /// As stored.
    pub body: &'a str,
    /// The column of this name.
    pub at_ms: i64,
    /// The columns of text that are copies from the body, in the order of [`StoredRow::TEXTS`].
    pub texts: [Option<&'a str>; 8],
}

impl StoredRow<'_> {
    /// The names of `texts`.
    pub const TEXTS: [&'static str; 8] =
        ["request_id", "outcome", "reason", "subject", "client", "resource", "jti", "txn"];
}

/// By place, not by name: a million rows are read so. What is not of the type of its column was put there by somebody
/// else; it is shown as something that no event has, so that the fault has a place.
fn row_seen<'r, R>(row: &'r R) -> StoredRow<'r>
where
    R: sqlx::Row,
    usize: sqlx::ColumnIndex<R>,
    i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    &'r str: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    const NOT_TEXT: &str = "\u{fffd} (not a text)";
    let text = |place: usize| row.try_get(place).unwrap_or(NOT_TEXT);
    StoredRow {
        seq: row.try_get(0).unwrap_or(i64::MIN),
        prev_hash: text(1),
        hash: text(2),
        body: text(3),
        at_ms: row.try_get(4).unwrap_or(i64::MIN),
        texts: std::array::from_fn(|place| row.try_get(place + 5).unwrap_or(Some(NOT_TEXT))),
    }
}

/// A text that is not one of rows in order.
#[derive(Debug, PartialEq, Eq)]
struct NoRows;

/// The rows in a text of `WALK_CHAIN_AS_TEXT`.
fn rows_in(mut text: &str) -> Result<Vec<StoredRow<'_>>, NoRows> {
    let mut rows: Vec<StoredRow<'_>> = Vec::new();
    while !text.is_empty() {
        let (seq, at_ms) = (number(&mut text)?, number(&mut text)?);
        let (prev_hash, hash) = (counted(&mut text)?.ok_or(NoRows)?, counted(&mut text)?.ok_or(NoRows)?);
        let mut texts = [None; 8];
        for place in &mut texts {
            *place = counted(&mut text)?;
        }
        let body = counted(&mut text)?.ok_or(NoRows)?;
        if rows.last().is_some_and(|last| last.seq >= seq) {
            return Err(NoRows);
        }
        rows.push(StoredRow { seq, prev_hash, hash, body, at_ms, texts });
    }
    Ok(rows)
}

fn number(text: &mut &str) -> Result<i64, NoRows> {
    let (number, rest) = text.split_once(',').ok_or(NoRows)?;
    *text = rest;
    number.parse().map_err(|_| NoRows)
}

fn counted<'a>(text: &mut &'a str) -> Result<Option<&'a str>, NoRows> {
    let (length, rest) = text.split_once(':').ok_or(NoRows)?;
    if length.is_empty() {
        *text = rest;
        return Ok(None);
    }
    let (counted, rest) = length.parse().ok().and_then(|length| rest.split_at_checked(length)).ok_or(NoRows)?;
    *text = rest;
    Ok(Some(counted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_from_one_text() {
        let row = |seq: i64, body: &str| format!("{seq},-7,1:a2:\u{e9}3:r,:0::1:s::::{}:{body}", body.len());
        let text = row(-1, "5:x,-") + &row(2, "\u{e9}");
        let rows = rows_in(&text).unwrap();
        assert_eq!(
            rows.iter().map(|row| (row.seq, row.at_ms, row.body)).collect::<Vec<_>>(),
            [(-1, -7, "5:x,-"), (2, -7, "\u{e9}")]
        );
        assert_eq!((rows[0].prev_hash, rows[0].hash), ("a", "\u{e9}"));
        assert_eq!(rows[0].texts, [Some("r,:"), Some(""), None, Some("s"), None, None, None, None]);
        assert!(rows_in("").unwrap().is_empty());
        for other in ["x", "1,2,", "1,x,1:a1:b", &row(1, "a")[1..], &(row(2, "a") + &row(2, "a"))] {
            assert_eq!(rows_in(other).map(|rows| rows.len()), Err(NoRows), "{other}");
        }
    }
}
