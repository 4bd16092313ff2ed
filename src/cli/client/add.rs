//! `procura client add`: a client from arguments, from a file, or a well-known one by its name.

use super::super::registry::{Session, must_be_new, read_one, word};
use super::super::{CliError, Context, output};
use super::{has_secret, new_secret, tell_credentials};
use crate::domain::client::{Client, ClientAuthentication, ConsentMode, GrantType};
use crate::domain::names::{ClientId, ResourceId};
use crate::domain::presets::{PRESETS, Preset, preset};
use crate::domain::scope::Scope;
use crate::registry_file::RegistryFile;
use crate::secrets::random_id;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use url::Url;

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// The `client_id`.
    #[arg(required_unless_present_any = ["file", "preset"])]
    id: Option<ClientId>,
    /// A well-known client: `chatgpt`, `codex`, `claude`, `claude-code`, `vscode` or `cursor`. Its redirect URIs and its
    /// authentication come with the name; its id too, if it has one of its own.
    #[arg(long, value_name = "NAME", value_parser = known_preset,
        conflicts_with_all = ["file", "authentication", "jwks_uri", "jwks_file", "grant", "redirect_uri"])]
    preset: Option<&'static Preset>,
    /// A registry file that declares the one client, instead of the other arguments.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "name", "authentication", "grant", "resource"])]
    file: Option<PathBuf>,
    /// Name for people to read; by default the id.
    #[arg(long)]
    name: Option<String>,
    /// `client_secret_basic`, `client_secret_post`, `private_key_jwt` or `none`.
    #[arg(long, value_parser = word::<ClientAuthentication>, default_value = "client_secret_basic")]
    authentication: ClientAuthentication,
    /// Where its public keys are, for `private_key_jwt`.
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<Url>,
    /// A file with its public keys, for `private_key_jwt`.
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    jwks_file: Option<PathBuf>,
    /// A grant it may use: `token_exchange`, `client_credentials`, `authorization_code` or `refresh_token`.
    #[arg(long, num_args = 1.., value_parser = word::<GrantType>, default_value = "token_exchange")]
    grant: Vec<GrantType>,
    /// The most it may have at a backend: its id, a colon, and scopes with commas between.
    #[arg(long, num_args = 1.., value_name = "ID:SCOPE,...", value_parser = ceiling)]
    resource: Vec<(ResourceId, Vec<Scope>)>,
    /// The backend that it means when it names none and several can be meant.
    #[arg(long, value_name = "RESOURCE")]
    default_resource: Option<ResourceId>,
    /// Where `/authorize` may send a code.
    #[arg(long, num_args = 1.., value_name = "URI")]
    redirect_uri: Vec<String>,
    /// Who agrees that it may act for a user: `user` or `admin`.
    #[arg(long, value_parser = word::<ConsentMode>, default_value = "user")]
    consent: ConsentMode,
    /// A client whose own tokens it may exchange.
    #[arg(long, num_args = 1.., value_name = "CLIENT")]
    may_act_for: Vec<ClientId>,
    /// A client whose own tokens it may present as actor token.
    #[arg(long, num_args = 1.., value_name = "CLIENT")]
    may_present: Vec<ClientId>,
}

fn ceiling(text: &str) -> Result<(ResourceId, Vec<Scope>), String> {
    let (id, scopes) = text.split_once(':').ok_or("is a resource, a colon and scopes: records:records.read")?;
    let scopes = scopes.split(',').map(|scope| scope.parse().map_err(|error| format!("{scope:?}: {error}")));
    Ok((id.parse().map_err(|error| format!("{error}"))?, scopes.collect::<Result<_, String>>()?))
}

pub(super) async fn add(context: &Context, session: &Session, add: Add) -> Result<(), CliError> {
    let preset = add.preset;
    let file = if let Some(path) = &add.file {
        read_one(path, "client", |file| file.clients.len())?
    } else {
        let client = match preset {
            Some(preset) => of_preset(preset, add)?,
            None => declared(add)?,
        };
        RegistryFile::declared(Vec::new(), Vec::new(), vec![client], Vec::new())?
    };
    let client = file.clients.first().ok_or_else(|| CliError::new("no client is declared"))?;
    must_be_new("client", client.id.as_str(), &session.current.clients, |entry| entry.client.id.as_str())?;
    let (mut changes, consents) = session.additions(&file).await?;
    let mut secret = None;
    if has_secret(client) {
        let (plain, change) = new_secret(session, &client.id).await?;
        changes.push(change);
        secret = Some(plain);
    }
    session.change_quietly(&changes, &consents).await?;
    tell_credentials(context, client, secret.as_ref());
    if let Some(preset) = preset {
        output::note(&format!("{}, as of {}. {}", preset.client_name, preset.as_of, preset.note));
    }
    Ok(())
}

fn known_preset(name: &str) -> Result<&'static Preset, String> {
    preset(name).ok_or_else(|| {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        format!("there is no such preset; there are {}", names.join(", "))
    })
}

/// A well-known client, vetted by whoever calls this.
fn of_preset(preset: &Preset, add: Add) -> Result<Client, CliError> {
    let own_id = preset.client_id.map(str::parse).transpose().map_err(|error| CliError::new(format!("{error}")))?;
    let id = match (add.id, own_id) {
        (Some(id), None) | (None, Some(id)) => id,
        // With an id of our own it could not be the client that the preset is about.
        (Some(given), Some(id)) if given == id => id,
        (Some(_), Some(id)) => return Err(CliError::new(format!("{} has an id of its own: {id}", preset.client_name))),
        (None, None) => random_id(preset.name).parse().map_err(|error| CliError::new(format!("{error}")))?,
    };
    let jwks_uri = preset.jwks_uri.map(Url::parse).transpose().map_err(|error| CliError::new(error.to_string()))?;
    Ok(Client {
        id,
        name: add.name.unwrap_or_else(|| preset.client_name.to_owned()),
        authentication: preset.authentication.first().copied().unwrap_or(ClientAuthentication::None),
        jwks_uri,
        jwks: None,
        grants: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        redirect_uris: preset.redirect_uris.iter().map(|uri| (*uri).to_owned()).collect(),
        consent: add.consent,
        may_act_for: add.may_act_for,
        may_present: add.may_present,
        resources: ceilings(add.resource),
        default_resource: add.default_resource,
    })
}

/// A backend may be named again for more of its scopes.
fn ceilings(named: Vec<(ResourceId, Vec<Scope>)>) -> BTreeMap<ResourceId, Vec<Scope>> {
    let mut resources: BTreeMap<ResourceId, Vec<Scope>> = BTreeMap::new();
    for (resource, scopes) in named {
        resources.entry(resource).or_default().extend(scopes);
    }
    resources
}

fn declared(add: Add) -> Result<Client, CliError> {
    let id = add.id.ok_or_else(|| CliError::new("a client needs an id"))?;
    let jwks = add.jwks_file.map(|path| {
        let problem = |error: &dyn std::fmt::Display| CliError::new(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|error| problem(&error))?;
        serde_json::from_str::<Value>(&text).map_err(|error| problem(&error))
    });
    Ok(Client {
        name: add.name.unwrap_or_else(|| id.as_str().to_owned()),
        id,
        authentication: add.authentication,
        jwks_uri: add.jwks_uri,
        jwks: jwks.transpose()?,
        grants: add.grant,
        redirect_uris: add.redirect_uri,
        consent: add.consent,
        may_act_for: add.may_act_for,
        may_present: add.may_present,
        resources: ceilings(add.resource),
        default_resource: add.default_resource,
    })
}
