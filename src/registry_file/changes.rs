//! What must change so that the registry is as declared: only real differences.

use super::RegistryFile;
use crate::domain::change::Change;
use crate::domain::client::{Assurance, Client, ClientEntry, ConsentMode};
use crate::domain::consent::{Consent, ConsentSource, ConsentingUser};
use crate::domain::names::ResourceId;
use crate::domain::scope::ScopeSet;
use crate::secrets::random_id;
use crate::store::StoredRegistry;
use std::collections::{HashMap, HashSet};

impl RegistryFile {
    /// The changes that make `current` as declared; with `prune` also the removal of what is not declared.
    ///
    /// Removals come first, so that a name that moves from one declaration to another is free. `consents` are those for
    /// everyone; of a client with `consent = "admin"` exactly one lives for each backend, with the client's ceiling.
    pub fn changes(&self, current: &StoredRegistry, prune: bool, consents: &[Consent], now: i64) -> Vec<Change> {
        let mut changes = if prune { self.removals(current) } else { Vec::new() };
        let idps = by_id(&current.identity_providers, |idp| idp.id.as_str());
        let new = self.identity_providers.iter().filter(|idp| idps.get(idp.id.as_str()) != Some(idp));
        changes.extend(new.cloned().map(Change::PutIdentityProvider));
        let resources = by_id(&current.resources, |resource| resource.id.as_str());
        let new = self.resources.iter().filter(|resource| resources.get(resource.id.as_str()) != Some(resource));
        changes.extend(new.cloned().map(Change::PutResource));
        let clients = by_id(&current.clients, |entry| entry.client.id.as_str());
        let is_same = |client: &Client| {
            clients
                .get(client.id.as_str())
                .is_some_and(|entry| entry.client == *client && entry.assurance == Assurance::Vetted)
        };
        let new = self.clients.iter().filter(|client| !is_same(client));
        changes.extend(new.map(|client| Change::PutClient(client.clone(), Assurance::Vetted)));
        let policies = by_id(&current.policies, |policy| policy.id.as_str());
        let new = self.policies.iter().filter(|policy| policies.get(policy.id.as_str()) != Some(policy));
        changes.extend(new.cloned().map(Change::PutPolicy));
        let removed: HashSet<&ResourceId> = current
            .resources
            .iter()
            .map(|resource| &resource.id)
            .filter(|id| prune && !self.resources.iter().any(|resource| resource.id == **id))
            .collect();
        for client in &self.clients {
            // The removal of a backend ends its consents.
            let given = consents.iter().filter(|consent| {
                consent.client == client.id
                    && consent.user == ConsentingUser::Everyone
                    && consent.is_live(now)
                    && !removed.contains(&consent.resource)
            });
            changes.extend(consents_for_everyone(client, given.collect(), now));
        }
        changes
    }

    fn removals(&self, current: &StoredRegistry) -> Vec<Change> {
        let declared = by_id(&self.policies, |policy| policy.id.as_str());
        let policies = current.policies.iter().filter(|policy| !declared.contains_key(policy.id.as_str()));
        let mut changes: Vec<Change> = policies.map(|policy| Change::RemovePolicy(policy.id.clone())).collect();
        let declared = by_id(&self.clients, |client| client.id.as_str());
        let clients = current.clients.iter().filter(|entry| is_pruned(entry));
        let clients = clients.filter(|entry| !declared.contains_key(entry.client.id.as_str()));
        changes.extend(clients.map(|entry| Change::RemoveClient(entry.client.id.clone())));
        let declared = by_id(&self.resources, |resource| resource.id.as_str());
        let resources = current.resources.iter().filter(|resource| !declared.contains_key(resource.id.as_str()));
        changes.extend(resources.map(|resource| Change::RemoveResource(resource.id.clone())));
        let declared = by_id(&self.identity_providers, |idp| idp.id.as_str());
        let idps = current.identity_providers.iter().filter(|idp| !declared.contains_key(idp.id.as_str()));
        changes.extend(idps.map(|idp| Change::RemoveIdentityProvider(idp.id.clone())));
        changes
    }
}

/// Files speak only of clients that an administrator registered; one that registered itself is not theirs to prune.
pub(super) fn is_pruned(entry: &ClientEntry) -> bool {
    entry.assurance == Assurance::Vetted
}

fn by_id<'a, T>(all: &'a [T], id: impl Fn(&'a T) -> &'a str) -> HashMap<&'a str, &'a T> {
    all.iter().map(|one| (id(one), one)).collect()
}

/// `given` are the live ones.
fn consents_for_everyone(client: &Client, given: Vec<&Consent>, now: i64) -> Vec<Change> {
    let wanted: Vec<(&ResourceId, ScopeSet)> = match client.consent {
        ConsentMode::User => Vec::new(),
        ConsentMode::Admin => client
            .resources
            .iter()
            .filter(|(_, scopes)| !scopes.is_empty())
            .map(|(resource, scopes)| (resource, scopes.iter().cloned().collect()))
            .collect(),
    };
    let is_wanted = |consent: &Consent| {
        consent.expires_at.is_none()
            && wanted.iter().any(|(resource, scopes)| **resource == consent.resource && *scopes == consent.scopes)
    };
    let mut kept: HashSet<&ResourceId> = HashSet::new();
    let mut changes = Vec::new();
    for consent in given {
        if !is_wanted(consent) || !kept.insert(&consent.resource) {
            changes.push(Change::RevokeConsent(consent.id.clone()));
        }
    }
    let missing = wanted.into_iter().filter(|(resource, _)| !kept.contains(resource));
    changes.extend(missing.map(|(resource, scopes)| {
        Change::GrantConsent(Consent {
            id: random_id("con"),
            user: ConsentingUser::Everyone,
            client: client.id.clone(),
            resource: resource.clone(),
            scopes,
            source: ConsentSource::Admin,
            granted_at: now,
            expires_at: None,
            revoked_at: None,
            paused_at: None,
            fingerprint: None,
            redirect_uri: None,
        })
    }));
    changes
}
