//! Looking for audit events: by request, by token, by transaction, by filter.

use super::sql::{Search, Value, read_document, searchable};
use super::{DayCount, EventFilter, Store, StoreError};
use crate::domain::event::AuditEvent;
use crate::secrets::made_at_ms;

/// The event of a request has the time that is in the request's id.
const OF_REQUEST: &str =
    "SELECT body FROM audit_event WHERE at_ms = $1 AND request_id = $2 ORDER BY at_ms, writer_id, seq LIMIT 1000";
/// What administrators and writers did has ids without a time.
const OF_DEED: &str =
    "SELECT body FROM audit_event WHERE outcome = 'done' AND request_id = $1 ORDER BY at_ms, writer_id, seq LIMIT 1000";
/// A `jti` has the second of its event.
const OF_TOKEN: &str = "SELECT body FROM audit_event WHERE at_ms >= $1 AND at_ms < $1 + 1000 AND jti = $2
    AND outcome = 'granted' ORDER BY at_ms, writer_id, seq LIMIT 10";
/// The same, read from the table alone: no index serves such a condition, and so none can hide a row.
const OF_TOKEN_BY_TABLE: &str = "SELECT body FROM audit_event WHERE jti || '' = $1 AND outcome || '' = 'granted'
    ORDER BY writer_id, seq LIMIT 10";
const USES_OF_TOKEN: &str =
    "SELECT body FROM audit_event WHERE jti = $1 AND reason = 'used' ORDER BY at_ms, writer_id, seq LIMIT $2";
const COUNT_USES_OF_TOKEN: &str =
    "SELECT COUNT(*) FROM (SELECT 1 FROM audit_event WHERE jti = $1 AND reason = 'used' LIMIT $2) AS found";
const OF_TRANSACTION: &str = "SELECT body FROM audit_event WHERE txn = $1 ORDER BY at_ms, writer_id, seq LIMIT 1000";

/// Events are found by time, until there is a better condition.
const LIST: &str = "SELECT body FROM audit_event WHERE TRUE";
/// Events of a user are looked for in each segment of 256 events of a chain (`audit_event_subject`).
const LIST_OF_USER: &str = "WITH RECURSIVE segment (number) AS (
        SELECT CAST(0 AS BIGINT)
        UNION ALL SELECT number + 1 FROM segment WHERE number < (SELECT MAX(seq) / 256 FROM audit_chain))
    SELECT body FROM segment CROSS JOIN audit_event WHERE seq / 256 = number";
const COUNT_OF_USER: &str = "WITH RECURSIVE segment (number) AS (
        SELECT CAST(0 AS BIGINT)
        UNION ALL SELECT number + 1 FROM segment WHERE number < (SELECT MAX(seq) / 256 FROM audit_chain))
    SELECT COUNT(*) FROM (
        SELECT 1 FROM segment CROSS JOIN audit_event WHERE seq / 256 = number AND subject = $1 LIMIT $2) AS found";
const PARTIES_OF_USER: &str = "WITH RECURSIVE segment (number) AS (
        SELECT CAST(0 AS BIGINT)
        UNION ALL SELECT number + 1 FROM segment WHERE number < (SELECT MAX(seq) / 256 FROM audit_chain))
    SELECT DISTINCT client, resource FROM (
        SELECT client, resource FROM segment CROSS JOIN audit_event
        WHERE seq / 256 = number AND subject = $1 LIMIT $2) AS found";
/// The same two ways, without what the events say.
const PLACES: &str = "SELECT writer_id, seq FROM audit_event WHERE TRUE";
const PLACES_OF_USER: &str = "WITH RECURSIVE segment (number) AS (
        SELECT CAST(0 AS BIGINT)
        UNION ALL SELECT number + 1 FROM segment WHERE number < (SELECT MAX(seq) / 256 FROM audit_chain))
    SELECT writer_id, seq FROM segment CROSS JOIN audit_event WHERE seq / 256 = number";
/// The same two ways, counted by day.
const COUNT: &str = "SELECT at_ms / 86400000, outcome, COUNT(*) FROM audit_event WHERE TRUE";
const COUNT_OF_USER_BY_DAY: &str = "WITH RECURSIVE segment (number) AS (
        SELECT CAST(0 AS BIGINT)
        UNION ALL SELECT number + 1 FROM segment WHERE number < (SELECT MAX(seq) / 256 FROM audit_chain))
    SELECT at_ms / 86400000, outcome, COUNT(*) FROM segment CROSS JOIN audit_event WHERE seq / 256 = number";
/// A user with more events has some everywhere: reading back through time finds the newest sooner than sorting all.
const FREQUENT: i64 = 10_000;

impl Store {
    /// Events of a request, oldest first; the first thousand.
    pub async fn events_of_request(&self, request_id: &str) -> Result<Vec<AuditEvent>, StoreError> {
        match made_at_ms("req", request_id) {
            Some(at_ms) => self.events_by(OF_REQUEST, vec![at_ms.into(), searchable(request_id).as_ref().into()]).await,
            None => self.events_by(OF_DEED, vec![searchable(request_id).as_ref().into()]).await,
        }
    }

    /// The event that issued a token.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if several say so: one of them was put there.
    pub async fn event_of_token(&self, jti: &str) -> Result<Option<AuditEvent>, StoreError> {
        let mut events = self.issues_of_token(jti).await?;
        if events.len() > 1 {
            let problem = format!("{} events say that they issued it: see procura audit verify", events.len());
            return Err(StoreError::Corrupt { what: "issue of a token", problem });
        }
        Ok(events.pop())
    }

    /// The events that say that they issued a token; more than one if somebody put one there. The first ten.
    pub async fn issues_of_token(&self, jti: &str) -> Result<Vec<AuditEvent>, StoreError> {
        let Some(at_ms) = made_at_ms("dtk", jti) else {
            return Ok(Vec::new());
        };
        self.events_by(OF_TOKEN, vec![at_ms.into(), searchable(jti).as_ref().into()]).await
    }

    /// The same, by reading every event. An index that somebody made anew to lack a row hides it from every other look-up.
    pub async fn issues_of_token_by_table(&self, jti: &str) -> Result<Vec<AuditEvent>, StoreError> {
        self.events_by(OF_TOKEN_BY_TABLE, vec![searchable(jti).as_ref().into()]).await
    }

    /// What backends reported of a token's use, oldest first; the first `limit`.
    pub async fn uses_of_token(&self, jti: &str, limit: i64) -> Result<Vec<AuditEvent>, StoreError> {
        self.events_by(USES_OF_TOKEN, vec![searchable(jti).as_ref().into(), limit.max(0).into()]).await
    }

    /// How often that was, counted up to `most`.
    pub async fn count_uses_of_token(&self, jti: &str, most: i64) -> Result<i64, StoreError> {
        Ok(on_db!(self, read db => sqlx::query_scalar(COUNT_USES_OF_TOKEN)
            .bind(searchable(jti)).bind(most.max(0)).fetch_one(db))?)
    }

    /// Events of one transaction (`txn`), oldest first; the first thousand.
    pub async fn events_of_transaction(&self, txn: &str) -> Result<Vec<AuditEvent>, StoreError> {
        self.events_by(OF_TRANSACTION, vec![searchable(txn).as_ref().into()]).await
    }

    /// Events, newest first.
    pub async fn list_events(&self, filter: &EventFilter) -> Result<Vec<AuditEvent>, StoreError> {
        let start = match &filter.user {
            Some(user) if !self.is_frequent(user).await? => LIST_OF_USER,
            Some(_) | None => LIST,
        };
        let mut search = search(start, filter);
        search.push_with(" ORDER BY at_ms DESC, writer_id DESC, seq DESC LIMIT ", filter.limit.max(0));
        let (sql, values) = search.finish();
        let bodies: Vec<String> = on_db!(self, read db => bind_all!(sqlx::query_scalar(sql), values).fetch_all(db))?;
        read_bodies(&bodies)
    }

    /// The places of events, by chain, in order; `limit` does not count.
    pub async fn find_places(&self, filter: &EventFilter) -> Result<Vec<(String, i64)>, StoreError> {
        let start = match &filter.user {
            Some(user) if !self.is_frequent(user).await? => PLACES_OF_USER,
            Some(_) | None => PLACES,
        };
        let mut search = search(start, filter);
        search.push(" ORDER BY writer_id, seq");
        let (sql, values) = search.finish();
        Ok(on_db!(self, read db => bind_all!(sqlx::query_as(sql), values).fetch_all(db))?)
    }

    /// How many events there are of each outcome on each day that has some; `limit` does not count.
    pub async fn count_events_by_day(&self, filter: &EventFilter) -> Result<Vec<DayCount>, StoreError> {
        let start = match &filter.user {
            Some(user) if !self.is_frequent(user).await? => COUNT_OF_USER_BY_DAY,
            Some(_) | None => COUNT,
        };
        let mut search = search(start, filter);
        search.push(" GROUP BY at_ms / 86400000, outcome ORDER BY at_ms / 86400000, outcome");
        let (sql, values) = search.finish();
        let rows: Vec<(i64, String, i64)> =
            on_db!(self, read db => bind_all!(sqlx::query_as(sql), values).fetch_all(db))?;
        Ok(rows.into_iter().map(|(day, outcome, count)| DayCount { day, outcome, count }).collect())
    }

    /// The pairs of client and backend in a user's events, each once; of a user with very many events those of ten
    /// thousand.
    pub async fn parties_in_events_of(&self, user: &str) -> Result<Vec<(Option<String>, Option<String>)>, StoreError> {
        on_db!(self, read db => sqlx::query_as(PARTIES_OF_USER)
            .bind(searchable(user)).bind(FREQUENT).fetch_all(db))
    }

    async fn is_frequent(&self, user: &str) -> Result<bool, StoreError> {
        let count: i64 = on_db!(self, read db => sqlx::query_scalar(COUNT_OF_USER)
            .bind(searchable(user)).bind(FREQUENT).fetch_one(db))?;
        Ok(count == FREQUENT)
    }

    async fn events_by(&self, sql: &'static str, keys: Vec<Value>) -> Result<Vec<AuditEvent>, StoreError> {
        let bodies: Vec<String> = on_db!(self, read db => bind_all!(sqlx::query_scalar(sql), keys).fetch_all(db))?;
        read_bodies(&bodies)
    }
}

/// Conditions are left out rather than made true, so that each question can use its index.
fn search(start: &'static str, filter: &EventFilter) -> Search {
    let mut search = Search::new(start);
    let not_granted = |text: &Option<String>| text.as_deref().is_some_and(|text| text != "granted");
    if not_granted(&filter.outcome) || not_granted(&filter.reason) {
        // Implied by the other conditions, but only a constant lets the databases use the partial indexes.
        search.push(" AND outcome <> 'granted'");
    }
    search.narrow(" AND subject = ", filter.user.as_deref().map(searchable).as_deref());
    search.narrow(" AND client = ", filter.client.as_deref().map(searchable).as_deref());
    search.narrow(" AND resource = ", filter.resource.as_deref().map(searchable).as_deref());
    search.narrow(" AND outcome = ", filter.outcome.as_deref().map(searchable).as_deref());
    search.narrow(" AND reason = ", filter.reason.as_deref().map(searchable).as_deref());
    search.narrow(" AND at_ms >= ", filter.since_ms);
    search.narrow(" AND at_ms < ", filter.until_ms);
    search
}

fn read_bodies(bodies: &[String]) -> Result<Vec<AuditEvent>, StoreError> {
    bodies.iter().map(|body| read_document("audit event", body)).collect()
}
