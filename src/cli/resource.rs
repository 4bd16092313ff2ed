//! `procura resource`.

use super::registry::{Session, find, joined, must_be_new, must_be_unreferenced, read_one, with_registry, word};
use super::{CliError, Context};
use crate::domain::change::Change;
use crate::domain::client::Assurance;
use crate::domain::names::{ClientId, ResourceId};
use crate::domain::resource::{Access, Audience, ReleasedClaim, Resource, ResourceScope, SigningAlgorithm};
use crate::registry_file::{self, RegistryFile};
use crate::store::StoredRegistry;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Register a backend.
    Add(Box<Add>),
    /// List backends.
    List,
    /// Show a backend.
    Show(One),
    /// Remove a backend and every consent for it.
    Remove(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The registry's name of it.
    id: ResourceId,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The registry's name of it.
    #[arg(required_unless_present = "file")]
    id: Option<ResourceId>,
    /// A registry file that declares the one backend, instead of the other arguments.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "audience", "name", "scope"])]
    file: Option<PathBuf>,
    /// The `aud` of its tokens: an absolute URI.
    #[arg(long, value_name = "URI", required_unless_present = "file")]
    audience: Option<Audience>,
    /// Name for people to read; by default the id.
    #[arg(long)]
    name: Option<String>,
    /// A scope: its name, `=`, `read`, `write` or `destructive`, `=`, and what a user reads at consent. Roles and
    /// explicit policies need a file.
    #[arg(long, num_args = 1.., value_name = "NAME=ACCESS=DESCRIPTION", value_parser = scope)]
    scope: Vec<ResourceScope>,
    /// How long its tokens live, from 60 to 3600.
    #[arg(long, default_value_t = 300)]
    token_lifetime_seconds: u32,
    /// How long a token lives that a client gets by a code or a refresh token, from 900 to 3600.
    #[arg(long, default_value_t = 900)]
    connector_token_lifetime_seconds: u32,
    /// `ES256`, `EdDSA`, `RS256` or `PS256`.
    #[arg(long, value_parser = word::<SigningAlgorithm>, default_value = "ES256")]
    signing_algorithm: SigningAlgorithm,
    /// A user claim that goes into its tokens: `roles`, `groups` or `email`.
    #[arg(long, num_args = 1.., value_name = "CLAIM", value_parser = word::<ReleasedClaim>)]
    release_claim: Vec<ReleasedClaim>,
    /// A backend for which its tokens may be exchanged.
    #[arg(long, num_args = 1.., value_name = "RESOURCE")]
    may_exchange_to: Vec<ResourceId>,
    /// A client identity of the backend itself.
    #[arg(long, num_args = 1.., value_name = "CLIENT")]
    client: Vec<ClientId>,
    /// Which clients may come that nobody registered here: `domain`, `self_asserted`.
    #[arg(long, num_args = 1.., value_name = "ASSURANCE", value_parser = word::<Assurance>)]
    open_to: Vec<Assurance>,
    /// Clients that name no backend mean this one, if several can be meant and they have no default of their own.
    #[arg(long)]
    default: bool,
    /// Its tokens say where it sees offline that one was revoked.
    #[arg(long)]
    status_list: bool,
}

fn scope(text: &str) -> Result<ResourceScope, String> {
    let mut parts = text.splitn(3, '=');
    let (Some(name), Some(access), Some(description)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("is a name, an access and a description: records.read=read=See your records".to_owned());
    };
    Ok(ResourceScope {
        name: name.parse().map_err(|error| format!("{error}"))?,
        description: description.to_owned(),
        access: word::<Access>(access)?,
        roles: Vec::new(),
        policy: None,
        vetted_only: false,
        optional: false,
    })
}

/// Register and manage backends.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    with_registry(context, async |session| match args.action {
        Action::Add(add) => self::add(session, *add).await,
        Action::List => {
            list(session);
            Ok(())
        }
        Action::Show(one) => {
            let resource = known(session, &one.id)?;
            let alone = StoredRegistry { resources: vec![resource.clone()], ..StoredRegistry::default() };
            session.show(&registry_file::declarations(&alone), &json!(resource));
            Ok(())
        }
        Action::Remove(one) => {
            known(session, &one.id)?;
            must_be_unreferenced("resource", one.id.as_str(), &references(&session.current, &one.id))?;
            session.change(&[Change::RemoveResource(one.id)], &[]).await
        }
    })
    .await
}

fn known<'a>(session: &'a Session, id: &ResourceId) -> Result<&'a Resource, CliError> {
    find("resource", id.as_str(), &session.current.resources, |resource| resource.id.as_str())
}

/// Who names the backend.
fn references(current: &StoredRegistry, id: &ResourceId) -> Vec<String> {
    let clients = current.clients.iter().filter(|entry| entry.client.resources.contains_key(id));
    let mut references: Vec<String> = clients.map(|entry| format!("client {} (resources)", entry.client.id)).collect();
    let others = current.resources.iter().filter(|other| other.id != *id && other.may_exchange_to.contains(id));
    references.extend(others.map(|other| format!("resource {} (may_exchange_to)", other.id)));
    let names = [format!("Resource::\"{id}\""), format!("Scope::\"{id}#")];
    let policies = current.policies.iter().filter(|policy| names.iter().any(|name| policy.cedar.contains(name)));
    references.extend(policies.map(|policy| format!("policy {}", policy.id)));
    references
}

async fn add(session: &Session, add: Add) -> Result<(), CliError> {
    let file = match &add.file {
        Some(path) => read_one(path, "resource", |file| file.resources.len())?,
        None => RegistryFile::declared(Vec::new(), vec![declared(add)?], Vec::new(), Vec::new())?,
    };
    for resource in &file.resources {
        must_be_new("resource", resource.id.as_str(), &session.current.resources, |other| other.id.as_str())?;
    }
    session.add(&file).await
}

fn declared(add: Add) -> Result<Resource, CliError> {
    let (Some(id), Some(audience)) = (add.id, add.audience) else {
        return Err(CliError::new("a resource needs an id and an audience"));
    };
    Ok(Resource {
        name: add.name.unwrap_or_else(|| id.as_str().to_owned()),
        id,
        audience,
        token_lifetime_seconds: add.token_lifetime_seconds,
        connector_token_lifetime_seconds: add.connector_token_lifetime_seconds,
        max_auth_age_seconds: None,
        acr_values: Vec::new(),
        signing_algorithm: add.signing_algorithm,
        release_claims: add.release_claim,
        may_exchange_to: add.may_exchange_to,
        clients: add.client,
        open_to: add.open_to,
        is_default: add.default,
        status_list: add.status_list,
        scopes: add.scope,
    })
}

fn list(session: &Session) {
    let resources = &session.current.resources;
    let rows = resources.iter().map(|resource| {
        vec![
            resource.id.to_string(),
            resource.audience.to_string(),
            resource.name.clone(),
            resource.token_lifetime_seconds.to_string(),
            resource.signing_algorithm.as_str().to_owned(),
            joined(resource.scopes.iter().map(|scope| &scope.name)),
        ]
    });
    let documents: Vec<Value> = resources.iter().map(|resource| json!(resource)).collect();
    session.list(&["id", "audience", "name", "lifetime", "algorithm", "scopes"], rows.collect(), &documents);
}
