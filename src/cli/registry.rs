//! What the commands of the registry share: one opening, one way to change, one way to name what is unknown.

use super::{CliError, Context, output};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::change::Change;
use crate::domain::consent::Consent;
use crate::domain::registry::Registry;
use crate::mistake;
use crate::registry_file::{RegistryFile, Server, Source, commit, consents_for_everyone, describe, parse};
use crate::store::{Store, StoredRegistry, Versions};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Display;
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The registry, opened for one command.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) current: StoredRegistry,
    /// What the database was at when it was read.
    pub(super) versions: Versions,
    pub(super) clock: Clock,
    json: bool,
}

/// Opens the registry, acts, and closes the database whatever came of it.
pub(super) async fn with_registry(
    context: &Context,
    act: impl AsyncFnOnce(&Session) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let config = context.config()?;
    let store = context.store(&config).await?;
    let result = match store.load_registry().await {
        Ok((current, versions)) => {
            let session =
                Session { config, store: store.clone(), current, versions, clock: Clock::System, json: context.json };
            act(&session).await
        }
        Err(error) => Err(error.into()),
    };
    store.close().await;
    result
}

impl Session {
    /// What is declared, to look things up in.
    pub(super) fn registry(&self) -> Registry {
        let StoredRegistry { identity_providers, resources, clients, policies, suspended_users, .. } = &self.current;
        Registry::new(
            identity_providers.clone(),
            resources.clone(),
            clients.clone(),
            policies.clone(),
            suspended_users.clone(),
        )
    }

    /// Carries out changes with their audit event, and tells them.
    pub(super) async fn change(&self, changes: &[Change], consents: &[Consent]) -> Result<(), CliError> {
        let lines = self.change_quietly(changes, consents).await?;
        self.tell(&lines);
        Ok(())
    }

    /// Carries out changes with their audit event, and returns them in words.
    pub(super) async fn change_quietly(
        &self,
        changes: &[Change],
        consents: &[Consent],
    ) -> Result<Vec<String>, CliError> {
        let lines = describe(changes, &self.current, consents);
        commit(&self.store, changes, &lines, consents, Some(self.versions.registry), &self.clock).await?;
        Ok(lines)
    }

    /// What adding these declarations changes, checked exactly as `apply` would.
    pub(super) async fn additions(&self, file: &RegistryFile) -> Result<(Vec<Change>, Vec<Consent>), CliError> {
        let now = self.clock.now();
        file.check(&self.current, false, Server::of(&self.config))?;
        let consents = consents_for_everyone(&self.store, now).await?;
        Ok((file.changes(&self.current, false, &consents, now), consents))
    }

    /// Adds declarations.
    pub(super) async fn add(&self, file: &RegistryFile) -> Result<(), CliError> {
        let (changes, consents) = self.additions(file).await?;
        self.change(&changes, &consents).await
    }

    /// Prints changes in words.
    pub(super) fn tell(&self, lines: &[String]) {
        if self.json {
            output::json(&json!({ "changes": lines }));
        } else if lines.is_empty() {
            output::text("nothing to change");
        } else {
            output::text(&lines.join("\n"));
        }
    }

    /// Prints declarations as `export` does, or as JSON with what else is known.
    pub(super) fn show(&self, declaration: &str, document: &serde_json::Value) {
        if self.json {
            output::json(document);
        } else {
            output::text(declaration.trim_end());
        }
    }

    /// Prints a table, or the rows as JSON.
    pub(super) fn list(&self, head: &[&str], rows: Vec<Vec<String>>, documents: &[serde_json::Value]) {
        if self.json {
            output::json(&documents);
        } else {
            let head = head.iter().map(|name| (*name).to_owned()).collect();
            output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
        }
    }
}

/// The one of this id.
///
/// # Errors
/// There is none; the nearest id is told.
pub(super) fn find<'a, T>(kind: &str, id: &str, all: &'a [T], id_of: impl Fn(&T) -> &str) -> Result<&'a T, CliError> {
    all.iter().find(|one| id_of(one) == id).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(&id_of).collect();
        CliError::new(format!("no {kind} {id} is registered{}", mistake::hint(id, known)))
    })
}

/// Refuses an id that is taken.
pub(super) fn must_be_new<T>(kind: &str, id: &str, all: &[T], id_of: impl Fn(&T) -> &str) -> Result<(), CliError> {
    if all.iter().any(|one| id_of(one) == id) {
        return Err(CliError::new(format!("{kind} {id} is already registered; procura apply changes it")));
    }
    Ok(())
}

/// Refuses to remove what others refer to.
pub(super) fn must_be_unreferenced(kind: &str, id: &str, references: &[String]) -> Result<(), CliError> {
    if references.is_empty() {
        return Ok(());
    }
    Err(CliError::new(format!("{kind} {id} is still referred to by {}", references.join(", "))))
}

/// A registry file that declares one thing.
pub(super) fn read_one(
    path: &Path,
    kind: &str,
    count: impl Fn(&RegistryFile) -> usize,
) -> Result<RegistryFile, CliError> {
    let file = parse(&[Source::read(path)?])?;
    let all = [file.identity_providers.len(), file.resources.len(), file.clients.len(), file.policies.len()];
    if all.iter().sum::<usize>() != 1 || count(&file) != 1 {
        let problem = format!("{}: must declare one {kind} and nothing else; procura apply takes any", path.display());
        return Err(CliError::new(problem));
    }
    Ok(file)
}

/// One of the words of the registry file, as an argument.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Unix seconds as people read them.
pub(super) fn time(at: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(at).ok().and_then(|time| time.format(&Rfc3339).ok());
    time.unwrap_or_else(|| at.to_string())
}

/// Unix seconds as people read them, or a dash.
pub(super) fn time_or_dash(at: Option<i64>) -> String {
    at.map_or_else(|| "-".to_owned(), time)
}

/// Several values in one cell.
pub(super) fn joined<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(" ")
}
