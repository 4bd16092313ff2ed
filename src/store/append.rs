//! Appending audit events at one stroke: what every answered token waits for.
//!
//! The one place with a text for each database (docs/decisions/0017): a transaction of four statements costs SQLite eight
//! switches of thread and PostgreSQL four round trips. Here it is one of each. Either way nothing is appended unless the
//! head of the chain is where the events begin.

use super::audit::{forked, texts_of};
use super::connection::{Lease, Pools, Renewal, TRANSACTION_AT_MOST};
use super::sql::searchable;
use super::{Store, StoreError};
use crate::domain::event::ChainedEvent;
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use std::sync::{Arc, OnceLock};

/// The most events at one stroke: there is a prepared text for each number.
pub(super) const AT_ONE_STROKE: usize = 64;

static SQLITE_TEXTS: [OnceLock<Arc<str>>; AT_ONE_STROKE] = [const { OnceLock::new() }; AT_ONE_STROKE];

/// `OR ROLLBACK` spares SQLite the journal of a statement that may have to be undone alone.
const SQLITE_START: &str = "BEGIN IMMEDIATE;
    UPDATE audit_chain SET seq = ?, hash = ? WHERE writer_id = ? AND seq = ? AND hash = ?;
    INSERT OR ROLLBACK INTO audit_event (writer_id, seq, prev_hash, hash, body,
    at_ms, request_id, outcome, reason, subject, client, resource, jti, txn) VALUES ";
/// Unless the head was moved, the first row has no writer, which the table does not take.
const SQLITE_FIRST_ROW: &str = "(CASE changes() WHEN 1 THEN ? END, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const SQLITE_ROW: &str = ", (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const SQLITE_NOT_MOVED: &str = "NOT NULL constraint failed: audit_event.writer_id";

const POSTGRES: &str = "WITH moved AS (
        UPDATE audit_chain SET seq = $1, hash = $2 WHERE writer_id = $3 AND seq = $4 AND hash = $5 RETURNING writer_id)
    INSERT INTO audit_event (writer_id, seq, prev_hash, hash, body,
    at_ms, request_id, outcome, reason, subject, client, resource, jti, txn)
    SELECT moved.writer_id, event.* FROM moved CROSS JOIN UNNEST($6::BIGINT[], $7::TEXT[], $8::TEXT[], $9::TEXT[],
    $10::BIGINT[], $11::TEXT[], $12::TEXT[], $13::TEXT[], $14::TEXT[], $15::TEXT[], $16::TEXT[], $17::TEXT[], $18::TEXT[])
    AS event";

impl Store {
    /// Appends 1 to [`AT_ONE_STROKE`] events that follow each other behind a head that is not the beginning.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] if the chain does not stand where the first event begins; nothing is appended.
    pub(super) async fn append_at_one_stroke(&self, events: &[ChainedEvent]) -> Result<(), StoreError> {
        let appended = async {
            match &self.pools {
                Pools::Sqlite { write, .. } => sqlite(write, events).await,
                Pools::Postgres { pool, renewal } => postgres(pool, renewal, events).await,
            }
        };
        self.within(TRANSACTION_AT_MOST, Box::pin(appended)).await
    }
}

async fn sqlite(pool: &SqlitePool, events: &[ChainedEvent]) -> Result<(), StoreError> {
    let (Some(first), Some(last), Some(text)) = (events.first(), events.last(), sqlite_text(events.len())) else {
        return Ok(());
    };
    let mut query = sqlx::query(text)
        .bind(last.seq)
        .bind(&last.hash)
        .bind(&first.writer_id)
        .bind(first.seq - 1)
        .bind(&first.prev_hash);
    for event in events {
        query = query
            .bind(&event.writer_id)
            .bind(event.seq)
            .bind(&event.prev_hash)
            .bind(&event.hash)
            .bind(&event.body)
            .bind(event.event.at_ms);
        for (_, text) in texts_of(&event.event) {
            query = query.bind(text);
        }
    }
    let mut lease = Lease::of(pool.acquire().await?);
    let result = query.execute(&mut *lease.connection).await.map(|_| ()).map_err(|error| {
        let not_moved = error.as_database_error().is_some_and(|refusal| refusal.message() == SQLITE_NOT_MOVED);
        if not_moved { forked(first) } else { error.into() }
    });
    lease.end(&result);
    result
}

/// The whole transaction for so many events; none if there are too many, or none.
fn sqlite_text(events: usize) -> Option<SqlStr> {
    let text = SQLITE_TEXTS.get(events.checked_sub(1)?)?;
    let text = text
        .get_or_init(|| format!("{SQLITE_START}{SQLITE_FIRST_ROW}{}; COMMIT", SQLITE_ROW.repeat(events - 1)).into());
    Some(AssertSqlSafe(Arc::clone(text)).into_sql_str())
}

async fn postgres(pool: &PgPool, renewal: &Renewal, events: &[ChainedEvent]) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Ok(());
    };
    let mut columns: [Vec<Option<String>>; 8] = [const { Vec::new() }; 8];
    for event in events {
        for (column, (_, text)) in columns.iter_mut().zip(texts_of(&event.event)) {
            column.push(text);
        }
    }
    let texts = |of: fn(&ChainedEvent) -> &str| events.iter().map(of).collect::<Vec<&str>>();
    let mut query = sqlx::query(POSTGRES)
        .bind(last.seq)
        .bind(&last.hash)
        .bind(searchable(&first.writer_id))
        .bind(first.seq - 1)
        .bind(&first.prev_hash)
        .bind(events.iter().map(|event| event.seq).collect::<Vec<_>>())
        .bind(texts(|event| &event.prev_hash))
        .bind(texts(|event| &event.hash))
        .bind(texts(|event| &event.body))
        .bind(events.iter().map(|event| event.event.at_ms).collect::<Vec<_>>());
    for column in columns {
        query = query.bind(column);
    }
    let mut lease = Lease::of(pool.acquire().await?);
    let result = match query.execute(&mut *lease.connection).await {
        // No row moved the head, so none was appended.
        Ok(done) if done.rows_affected() == 0 => Err(forked(first)),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    };
    lease.end(&result);
    renewal.after(&result);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_text_for_each_number_of_events_at_one_stroke() {
        assert!(sqlite_text(0).is_none());
        for events in 1..=AT_ONE_STROKE {
            assert_eq!(sqlite_text(events).unwrap().as_str().matches('?').count(), 5 + 14 * events);
        }
        assert!(sqlite_text(AT_ONE_STROKE + 1).is_none());
    }
}
