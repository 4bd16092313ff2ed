//! The registry: every provider, backend, client and policy, as one immutable snapshot with its look-ups.

use super::client::{Assurance, Client, ClientEntry};
use super::identity_provider::IdentityProvider;
use super::look_alike::imitated;
use super::names::{ClientId, IdpId, PolicyId, ResourceId, UserId};
use super::policy::PolicyText;
use super::presets::{PRESETS, pinned};
use super::resource::Resource;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// All that was declared, ready for look-ups. Replaced as a whole when something changes.
#[derive(Debug, Default, Clone)]
pub struct Registry {
    identity_providers: BTreeMap<IdpId, Arc<IdentityProvider>>,
    resources: BTreeMap<ResourceId, Arc<Resource>>,
    clients: BTreeMap<ClientId, Arc<ClientEntry>>,
    policies: BTreeMap<PolicyId, PolicyText>,
    suspended_users: HashSet<UserId>,
    by_issuer: HashMap<String, IdpId>,
    by_audience: HashMap<String, ResourceId>,
}

impl Registry {
    /// Builds the look-ups. What is declared was checked before (`registry_file::check`).
    pub fn new(
        identity_providers: Vec<IdentityProvider>,
        resources: Vec<Resource>,
        clients: Vec<ClientEntry>,
        policies: Vec<PolicyText>,
        suspended_users: HashSet<UserId>,
    ) -> Self {
        let by_issuer = identity_providers.iter().map(|idp| (idp.issuer.clone(), idp.id.clone())).collect();
        let by_audience =
            resources.iter().map(|resource| (resource.audience.canonical(), resource.id.clone())).collect();
        Self {
            identity_providers: identity_providers.into_iter().map(|idp| (idp.id.clone(), Arc::new(idp))).collect(),
            resources: resources.into_iter().map(|resource| (resource.id.clone(), Arc::new(resource))).collect(),
            clients: clients.into_iter().map(|entry| (entry.client.id.clone(), Arc::new(entry))).collect(),
            policies: policies.into_iter().map(|policy| (policy.id.clone(), policy)).collect(),
            suspended_users,
            by_issuer,
            by_audience,
        }
    }

    /// The provider with exactly this `iss`.
    pub fn idp_by_issuer(&self, issuer: &str) -> Option<&Arc<IdentityProvider>> {
        self.by_issuer.get(issuer).and_then(|id| self.identity_providers.get(id))
    }

    /// The provider of this id.
    pub fn idp(&self, id: &IdpId) -> Option<&Arc<IdentityProvider>> {
        self.identity_providers.get(id)
    }

    /// The backend whose identifier has this canonical form.
    pub fn resource_by_audience(&self, canonical: &str) -> Option<&Arc<Resource>> {
        self.by_audience.get(canonical).and_then(|id| self.resources.get(id))
    }

    /// The backend of this id, given as text.
    pub fn resource_by_name(&self, name: &str) -> Option<&Arc<Resource>> {
        name.parse::<ResourceId>().ok().and_then(|id| self.resources.get(&id))
    }

    /// The backend of this id.
    pub fn resource(&self, id: &ResourceId) -> Option<&Arc<Resource>> {
        self.resources.get(id)
    }

    /// The client of this id, suspended or not.
    pub fn client(&self, id: &ClientId) -> Option<&Arc<ClientEntry>> {
        self.clients.get(id)
    }

    /// The client of this id, given as text.
    pub fn client_by_name(&self, name: &str) -> Option<&Arc<ClientEntry>> {
        name.parse::<ClientId>().ok().and_then(|id| self.clients.get(&id))
    }

    /// The client that this one could be taken for by its name: one that an administrator registered, or a well-known one.
    /// None for a client that was registered by an administrator, and for a well-known one under its own URL. It need not
    /// be an imitation; where it is shown, it must be said that nobody checked (STANDARDS A57).
    ///
    /// Who runs this server, its identity providers and backends count too: their names on an app would say that it is
    /// theirs.
    pub fn imitated_by<'a>(&'a self, client: &Client, assurance: Assurance, organisation: &'a str) -> Option<&'a str> {
        let ours = self.identity_providers.values().map(|idp| idp.name.as_str());
        let ours = ours.chain(self.resources.values().map(|resource| resource.name.as_str()));
        let vetted = self.clients.values().map(|entry| entry.client.name.as_str());
        let vetted = vetted.chain(ours).chain(std::iter::once(organisation).filter(|name| !name.is_empty()));
        match assurance {
            Assurance::Vetted => None,
            Assurance::Domain if pinned(client.id.as_str()).is_some() => imitated(&client.name, vetted),
            Assurance::Domain | Assurance::SelfAsserted => {
                imitated(&client.name, vetted.chain(PRESETS.iter().map(|preset| preset.client_name)))
            }
        }
    }

    /// True while an administrator keeps this user from being acted for.
    pub fn is_suspended(&self, user: &UserId) -> bool {
        self.suspended_users.contains(user)
    }

    /// All providers, by id.
    pub fn identity_providers(&self) -> impl Iterator<Item = &Arc<IdentityProvider>> {
        self.identity_providers.values()
    }

    /// All backends, by id.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// All clients, by id.
    pub fn clients(&self) -> impl Iterator<Item = &Arc<ClientEntry>> {
        self.clients.values()
    }

    /// All policies, by id.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyText> {
        self.policies.values()
    }
}
