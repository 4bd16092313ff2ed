//! Looking for audit events: by request, by token, by transaction, by filter.

use super::sql::{Search, read_document, searchable};
use super::{EventFilter, Store, StoreError};
use crate::domain::event::AuditEvent;

const OF_REQUEST: &str = "SELECT body FROM audit_event WHERE request_id = $1 ORDER BY at_ms, writer_id, seq LIMIT 1000";
const OF_TOKEN: &str = "SELECT body FROM audit_event WHERE jti = $1 ORDER BY at_ms, writer_id, seq LIMIT 1";
const OF_TRANSACTION: &str = "SELECT body FROM audit_event WHERE txn = $1 ORDER BY at_ms, writer_id, seq LIMIT 1000";
const LIST: &str = "SELECT body FROM audit_event WHERE TRUE";

impl Store {
    /// Events of a request, oldest first; the first thousand.
    pub async fn events_of_request(&self, request_id: &str) -> Result<Vec<AuditEvent>, StoreError> {
        self.events_by(OF_REQUEST, request_id).await
    }

    /// The event that issued a token.
    pub async fn event_of_token(&self, jti: &str) -> Result<Option<AuditEvent>, StoreError> {
        Ok(self.events_by(OF_TOKEN, jti).await?.into_iter().next())
    }

    /// Events of one transaction (`txn`), oldest first; the first thousand.
    pub async fn events_of_transaction(&self, txn: &str) -> Result<Vec<AuditEvent>, StoreError> {
        self.events_by(OF_TRANSACTION, txn).await
    }

    /// Events, newest first.
    pub async fn list_events(&self, filter: &EventFilter) -> Result<Vec<AuditEvent>, StoreError> {
        let (sql, values) = search(filter).finish();
        let bodies: Vec<String> = on_db!(self, read db => bind_all!(sqlx::query_scalar(sql), values).fetch_all(db))?;
        read_bodies(&bodies)
    }

    async fn events_by(&self, sql: &'static str, key: &str) -> Result<Vec<AuditEvent>, StoreError> {
        let bodies: Vec<String> = on_db!(self, read db => sqlx::query_scalar(sql).bind(searchable(key)).fetch_all(db))?;
        read_bodies(&bodies)
    }
}

/// Conditions are left out rather than made true, so that each question can use its index.
fn search(filter: &EventFilter) -> Search {
    let mut search = Search::new(LIST);
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
    search.push_with(" ORDER BY at_ms DESC, writer_id DESC, seq DESC LIMIT ", filter.limit.max(0));
    search
}

fn read_bodies(bodies: &[String]) -> Result<Vec<AuditEvent>, StoreError> {
    bodies.iter().map(|body| read_document("audit event", body)).collect()
}
