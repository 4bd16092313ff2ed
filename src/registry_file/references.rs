//! How declarations fit together: every name is declared, what must be unique is, and the policies compile.

use super::places::Kind;
use super::rules::Rules;
use super::{FileProblem, RegistryFile, Server, Whole};
use crate::domain::client::Client;
use crate::domain::identity_provider::IdentityProvider;
use crate::domain::names::ClientId;
use crate::domain::policy::PolicySet;
use crate::domain::resource::{Resource, canonical_uri};
use crate::mistake;
use std::collections::HashMap;

/// Checks the registry as it will be.
pub(super) fn check(file: &RegistryFile, whole: &Whole<'_>, server: Server<'_>) -> Vec<FileProblem> {
    let mut problems = Vec::new();
    let mut rules_of = |kind, id: &str, check: &dyn Fn(&mut Rules<'_>)| {
        check(&mut Rules::new(kind, id, &file.places, &mut problems));
    };
    let names = Names::of(whole);
    let own = canonical_uri(server.issuer);
    for (index, idp) in whole.identity_providers.iter().enumerate() {
        let others = whole.identity_providers.iter().enumerate().filter(|(other, _)| *other != index);
        let others: Vec<&IdentityProvider> = others.map(|(_, other)| *other).collect();
        let earlier = whole.identity_providers.get(..index).unwrap_or_default();
        rules_of(Kind::IdentityProvider, idp.id.as_str(), &|rules| {
            identity_provider(rules, idp, earlier, &others, &names);
            if idp.issuer == server.issuer {
                rules.problem("/issuer", "is this server's own issuer: its tokens need no identity provider");
            }
        });
    }
    let mut audiences: HashMap<String, &Resource> = HashMap::new();
    let mut default: Option<&Resource> = None;
    for declared in &whole.resources {
        let other_default = declared.is_default.then(|| default.replace(declared)).flatten();
        let same = audiences.insert(declared.audience.canonical(), declared);
        rules_of(Kind::Resource, declared.id.as_str(), &|rules| {
            resource(rules, declared, same, &names);
            if let Some(other) = other_default {
                rules.problem("/default", format!("`default` is also true of resource {}", other.id));
            }
            // Its tokens would pass for tokens that clients have for this server.
            if Ok(declared.audience.canonical()) == own {
                rules.problem("/audience", "is the issuer of this server; a backend needs a name of its own");
            }
        });
    }
    for declared in &whole.clients {
        rules_of(Kind::Client, declared.id.as_str(), &|rules| client(rules, declared, whole, &names));
    }
    let resources = whole.resources.iter().copied();
    if let Err(policy_problems) = PolicySet::compile(resources, whole.policies.iter().copied(), server.policy_default) {
        problems.extend(policy_problems.into_iter().map(|problem| FileProblem {
            place: file.places.find_cedar(problem.policy.as_str(), problem.line),
            problem: format!("policy {}: {}", problem.policy, problem.message),
        }));
    }
    problems
}

/// What can be referred to.
struct Names<'a> {
    clients: HashMap<&'a str, &'a Client>,
    resources: HashMap<&'a str, &'a Resource>,
}

impl<'a> Names<'a> {
    fn of(whole: &Whole<'a>) -> Self {
        Self {
            clients: whole.clients.iter().map(|client| (client.id.as_str(), *client)).collect(),
            resources: whole.resources.iter().map(|resource| (resource.id.as_str(), *resource)).collect(),
        }
    }

    fn known_clients(&self, rules: &mut Rules<'_>, path: &str, ids: impl Iterator<Item = impl AsRef<str>>) {
        for (index, id) in ids.enumerate().filter(|(_, id)| !self.clients.contains_key(id.as_ref())) {
            let id = id.as_ref();
            let hint = mistake::hint(id, sorted(self.clients.keys()));
            rules.problem(&format!("{path}/{index}"), format!("no client {id} is registered{hint}"));
        }
    }

    fn known_resource(&self, rules: &mut Rules<'_>, path: &str, id: &str) -> Option<&'a Resource> {
        let found = self.resources.get(id).copied();
        if found.is_none() {
            let hint = mistake::hint(id, sorted(self.resources.keys()));
            rules.problem(path, format!("no resource {id} is registered{hint}"));
        }
        found
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.copied().collect();
    names.sort_unstable();
    names
}

fn identity_provider(
    rules: &mut Rules<'_>,
    idp: &IdentityProvider,
    earlier: &[&IdentityProvider],
    others: &[&IdentityProvider],
    names: &Names<'_>,
) {
    if let Some(same) = earlier.iter().find(|other| other.issuer == idp.issuer) {
        rules.problem("/issuer", format!("`issuer` is also that of identity provider {}", same.id));
    }
    // Two prefixes of which one begins the other could make one `sub` of two people.
    let prefix = idp.prefix();
    if prefix.is_empty() && !others.is_empty() {
        rules.problem("/subject_prefix", "`subject_prefix` is \"\", which only a sole provider may have");
    } else if let Some(other) =
        others.iter().find(|other| prefix.starts_with(&other.prefix()) && !other.prefix().is_empty())
    {
        let problem =
            format!("`subject_prefix` {prefix:?} begins like {:?} of identity provider {}", other.prefix(), other.id);
        rules.problem("/subject_prefix", problem);
    }
    for (index, rule) in idp.subject_tokens.iter().enumerate() {
        let path = format!("/subject_token/{index}/clients");
        names.known_clients(rules, &path, rule.clients.iter().map(ClientId::as_str));
    }
}

fn resource(rules: &mut Rules<'_>, resource: &Resource, same_audience: Option<&Resource>, names: &Names<'_>) {
    if let Some(same) = same_audience {
        rules.problem("/audience", format!("`audience` is also that of resource {}", same.id));
    }
    for (index, next) in resource.may_exchange_to.iter().enumerate() {
        names.known_resource(rules, &format!("/may_exchange_to/{index}"), next.as_str());
    }
    names.known_clients(rules, "/clients", resource.clients.iter().map(ClientId::as_str));
}

fn client(rules: &mut Rules<'_>, client: &Client, whole: &Whole<'_>, names: &Names<'_>) {
    names.known_clients(rules, "/may_act_for", client.may_act_for.iter().map(ClientId::as_str));
    names.known_clients(rules, "/may_present", client.may_present.iter().map(ClientId::as_str));
    for (id, scopes) in &client.resources {
        let path = format!("/resources/{id}");
        let Some(resource) = names.known_resource(rules, &path, id.as_str()) else {
            continue;
        };
        for (index, scope) in scopes.iter().enumerate().filter(|(_, scope)| resource.scope(scope).is_none()) {
            let known: Vec<&str> = resource.scopes.iter().map(|scope| scope.name.as_str()).collect();
            let hint = mistake::hint(scope.as_str(), known);
            rules.problem(&format!("{path}/{index}"), format!("resource {id} has no scope {scope}{hint}"));
        }
    }
    // The `sub` of a client's own token is its id; it must never read as a user's.
    let taken = whole.identity_providers.iter().map(|idp| (idp.prefix(), idp));
    let taken = taken.filter(|(prefix, _)| !prefix.is_empty() && client.id.as_str().starts_with(prefix.as_str()));
    for (prefix, idp) in taken {
        let problem = format!("its id begins with {prefix:?}, as the users of identity provider {} do", idp.id);
        rules.problem("/id", problem);
    }
}
