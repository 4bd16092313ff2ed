//! The registry file: what `procura apply` reads and `procura export` prints.

mod apply;
mod changes;
mod describe;
mod export;
mod places;
mod read;
mod references;
mod rules;
mod table;
mod uris;

pub(crate) use apply::consents_for_everyone;
pub use apply::{Applied, ApplyError, ApplyOptions, apply, commit};
pub use describe::describe;
pub use export::{declarations, to_toml};
pub use read::{KNOWN_KEYS, parse};

use crate::config::Config;
use crate::domain::client::Client;
use crate::domain::identity_provider::IdentityProvider;
use crate::domain::policy::{PolicyDefault, PolicyText};
use crate::domain::resource::Resource;
use crate::store::StoredRegistry;
use places::{Kind, Places};
use std::path::{Path, PathBuf};

/// One file, read.
#[derive(Debug, Clone)]
pub struct Source {
    /// What errors call it.
    pub name: String,
    /// Its text.
    pub text: String,
    /// What the paths in it are relative to.
    pub directory: PathBuf,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// One line with the file's name.
    pub fn read(path: &Path) -> Result<Self, FileProblem> {
        let name = path.display().to_string();
        let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self { name, text, directory }),
            Err(error) => Err(FileProblem { place: name, problem: format!("cannot be read: {error}") }),
        }
    }
}

/// What is wrong with a registry file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct FileProblem {
    /// File and line; without a line if the registry or a command says it.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

/// Several problems, one a line.
pub(crate) fn lines(problems: &[FileProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl FileProblem {
    /// The order of the files' names, of their lines, and for one line of the words: Cedar tells its problems in no
    /// order.
    fn by_place(&self, other: &Self) -> std::cmp::Ordering {
        let key = |problem: &Self| match problem.place.rsplit_once(':') {
            Some((file, line)) => (file.to_owned(), line.parse().unwrap_or(0)),
            None => (problem.place.clone(), 0_usize),
        };
        key(self).cmp(&key(other)).then_with(|| self.problem.cmp(&other.problem))
    }
}

/// What one or several files declare. Each declaration is well formed by itself; see [`RegistryFile::check`].
#[derive(Debug, Clone, Default)]
pub struct RegistryFile {
    /// In the order of the files.
    pub identity_providers: Vec<IdentityProvider>,
    /// In the order of the files.
    pub resources: Vec<Resource>,
    /// In the order of the files.
    pub clients: Vec<Client>,
    /// In the order of the files.
    pub policies: Vec<PolicyText>,
    places: Places,
}

impl RegistryFile {
    /// What a command declares with its arguments, checked as a file would be.
    ///
    /// # Errors
    /// Every problem of a declaration by itself.
    pub fn declared(
        identity_providers: Vec<IdentityProvider>,
        resources: Vec<Resource>,
        clients: Vec<Client>,
        policies: Vec<PolicyText>,
    ) -> Result<Self, Vec<FileProblem>> {
        let mut places = Places::default();
        let ids = identity_providers.iter().map(|idp| (Kind::IdentityProvider, idp.id.as_str()));
        let ids = ids.chain(resources.iter().map(|resource| (Kind::Resource, resource.id.as_str())));
        let ids = ids.chain(clients.iter().map(|client| (Kind::Client, client.id.as_str())));
        for (kind, id) in ids.chain(policies.iter().map(|policy| (Kind::Policy, policy.id.as_str()))) {
            places.insert(kind, id, String::new(), "command line".to_owned());
        }
        let file = Self { identity_providers, resources, clients, policies, places };
        let problems = rules::check(&file);
        if problems.is_empty() { Ok(file) } else { Err(problems) }
    }

    /// Checks how the declarations fit together, and that the policies compile: the file and, unless it is to be
    /// `prune`d, what is registered beside it.
    ///
    /// # Errors
    /// Every problem found.
    pub fn check(&self, current: &StoredRegistry, prune: bool, server: Server<'_>) -> Result<(), Vec<FileProblem>> {
        let mut problems = references::check(self, &Whole::of(self, current, prune), server);
        problems.sort_by(FileProblem::by_place);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn declares_client(&self, id: &str) -> bool {
        self.clients.iter().any(|client| client.id.as_str() == id)
    }
}

/// What of a server's configuration its registry must fit.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// Its issuer: nobody else's name, and no backend's.
    pub issuer: &'a str,
    /// What policies are compiled with.
    pub policy_default: PolicyDefault,
}

impl<'a> Server<'a> {
    /// Of the server that runs with this configuration.
    pub fn of(config: &'a Config) -> Self {
        Self { issuer: &config.issuer, policy_default: config.policy_default }
    }
}

/// The registry as it will be.
#[derive(Debug)]
struct Whole<'a> {
    identity_providers: Vec<&'a IdentityProvider>,
    resources: Vec<&'a Resource>,
    clients: Vec<&'a Client>,
    policies: Vec<&'a PolicyText>,
}

impl<'a> Whole<'a> {
    fn of(file: &'a RegistryFile, current: &'a StoredRegistry, prune: bool) -> Self {
        let mut whole = Self {
            identity_providers: file.identity_providers.iter().collect(),
            resources: file.resources.iter().collect(),
            clients: file.clients.iter().collect(),
            policies: file.policies.iter().collect(),
        };
        let kept_clients = current.clients.iter().filter(|entry| !file.declares_client(entry.client.id.as_str()));
        whole
            .clients
            .extend(kept_clients.filter(|entry| !prune || !changes::is_pruned(entry)).map(|entry| &entry.client));
        if !prune {
            add_others(&mut whole.identity_providers, &current.identity_providers, |idp| idp.id.as_str());
            add_others(&mut whole.resources, &current.resources, |resource| resource.id.as_str());
            add_others(&mut whole.policies, &current.policies, |policy| policy.id.as_str());
        }
        whole
    }
}

/// Adds those whose id is not there yet.
fn add_others<'a, T>(declared: &mut Vec<&'a T>, current: &'a [T], id: impl Fn(&T) -> &str) {
    let ids: std::collections::HashSet<&str> = declared.iter().map(|one| id(one)).collect();
    let others: Vec<&T> = current.iter().filter(|one| !ids.contains(id(one))).collect();
    declared.extend(others);
}
