//! What is declared, compiled for look-ups, as one immutable value.

use crate::domain::change::StoredSecret;
use crate::domain::names::ClientId;
use crate::domain::policy::{PolicyDefault, PolicySet};
use crate::domain::registry::Registry;
use crate::domain::resource::canonical_uri;
use crate::store::{StoredRegistry, Versions};
use std::collections::HashMap;
use std::sync::Arc;

/// Everything a decision rests on, but for users and consents.
#[derive(Debug)]
pub struct Snapshot {
    /// Providers, backends, clients.
    pub registry: Registry,
    /// Compiled policies.
    pub policies: PolicySet,
    /// Live secrets of each client, oldest first.
    pub secrets: HashMap<ClientId, Arc<[StoredSecret]>>,
    /// What the database was at.
    pub versions: Versions,
}

impl Snapshot {
    /// Compiles what is stored.
    ///
    /// # Errors
    /// Policies that do not compile, each with its place. They were checked when they were applied, so this means that
    /// another version of this program applied them. A backend whose audience is our own issuer: its tokens would pass
    /// for tokens that clients have for this server.
    pub fn new(
        stored: StoredRegistry,
        versions: Versions,
        default: PolicyDefault,
        issuer: &str,
    ) -> Result<Self, Vec<String>> {
        let own = canonical_uri(issuer);
        if let Some(resource) = stored.resources.iter().find(|resource| Ok(resource.audience.canonical()) == own) {
            return Err(vec![format!("the audience of resource {} is the issuer of this server", resource.id)]);
        }
        let mut secrets: HashMap<ClientId, Vec<StoredSecret>> = HashMap::new();
        for secret in stored.secrets {
            secrets.entry(secret.client.clone()).or_default().push(secret);
        }
        let registry = Registry::new(
            stored.identity_providers,
            stored.resources,
            stored.clients,
            stored.policies,
            stored.suspended_users,
        );
        let policies = PolicySet::of(&registry, default)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let secrets = secrets.into_iter().map(|(client, live)| (client, live.into())).collect();
        Ok(Self { registry, policies, secrets, versions })
    }

    /// The live secrets of a client.
    pub fn secrets_of(&self, client: &ClientId) -> Arc<[StoredSecret]> {
        self.secrets.get(client).map_or_else(|| Arc::from([]), Arc::clone)
    }
}
