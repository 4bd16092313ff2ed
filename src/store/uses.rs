//! How often each consent was used: for its user to see, and for nothing else.

use super::sql::BatchInsert;
use super::{ConsentUse, Store, StoreError};
use crate::domain::names::UserId;
use std::collections::{BTreeMap, HashMap};

static NOTE_USES: BatchInsert = BatchInsert::new(
    "INSERT INTO consent_use (consent_id, uses, last_used_at) VALUES",
    3,
    "ON CONFLICT (consent_id) DO UPDATE SET uses = consent_use.uses + excluded.uses,
    last_used_at = CASE WHEN excluded.last_used_at > consent_use.last_used_at
        THEN excluded.last_used_at ELSE consent_use.last_used_at END",
);
const USES_OF: &str = "SELECT consent_id, uses, last_used_at FROM consent_use
    WHERE consent_id IN (SELECT id FROM consent WHERE user_id = $1)";

impl Store {
    /// Adds uses of consents, by id. In order of id, so that two servers never wait for each other in a circle.
    pub async fn note_consent_uses(&self, uses: &BTreeMap<String, ConsentUse>) -> Result<(), StoreError> {
        let row = |(id, of): (&String, &ConsentUse)| vec![id.as_str().into(), of.uses.into(), of.last_used_at.into()];
        self.commit(NOTE_USES.steps(uses.iter().map(row).collect())).await.map(|_| ())
    }

    /// How often the consents of this user were used, by id; those never used are not in it.
    pub async fn consent_uses(&self, user: &UserId) -> Result<HashMap<String, ConsentUse>, StoreError> {
        let rows: Vec<(String, i64, i64)> =
            on_db!(self, read db => sqlx::query_as(USES_OF).bind(user.as_str()).fetch_all(db))?;
        Ok(rows.into_iter().map(|(id, uses, last_used_at)| (id, ConsentUse { uses, last_used_at })).collect())
    }
}
