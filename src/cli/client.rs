//! `procura client`.

use super::registry::{
    Session, find, joined, must_be_new, must_be_unreferenced, read_one, time, time_or_dash, with_registry, word,
};
use super::{CliError, Context, output};
use crate::domain::change::{Change, StoredSecret};
use crate::domain::client::{Client, ClientAuthentication, ClientEntry, ConsentMode, GrantType};
use crate::domain::names::{ClientId, ResourceId};
use crate::domain::scope::Scope;
use crate::registry_file::{self, RegistryFile};
use crate::secrets::{hash_client_secret, new_client_secret, random_id};
use crate::store::StoredRegistry;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use url::Url;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Register a client; prints its id and, once, its secret.
    Add(Box<Add>),
    /// List clients.
    List,
    /// Show a client and what is known of its secrets.
    Show(One),
    /// Make a new secret and print it once; the one before keeps working until the next time.
    RotateSecret(One),
    /// Keep a client from acting.
    Suspend(One),
    /// Let a suspended client act again.
    Resume(One),
    /// Remove a client, its secrets and every consent given to it.
    Remove(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The `client_id`.
    id: ClientId,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The `client_id`.
    #[arg(required_unless_present = "file")]
    id: Option<ClientId>,
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

/// Register and manage LLM clients.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    with_registry(context, async |session| match args.action {
        Action::Add(add) => self::add(context, session, *add).await,
        Action::List => {
            list(session);
            Ok(())
        }
        Action::Show(one) => show(session, &one.id),
        Action::RotateSecret(one) => rotate_secret(context, session, &one.id).await,
        Action::Suspend(one) => match entry(session, &one.id)?.suspended_at {
            None => session.change(&[Change::SuspendClient(one.id)], &[]).await,
            Some(_) => session.change(&[], &[]).await,
        },
        Action::Resume(one) => match entry(session, &one.id)?.suspended_at {
            Some(_) => session.change(&[Change::ResumeClient(one.id)], &[]).await,
            None => session.change(&[], &[]).await,
        },
        Action::Remove(one) => {
            entry(session, &one.id)?;
            must_be_unreferenced("client", one.id.as_str(), &references(&session.current, &one.id))?;
            session.change(&[Change::RemoveClient(one.id)], &[]).await
        }
    })
    .await
}

fn entry<'a>(session: &'a Session, id: &ClientId) -> Result<&'a ClientEntry, CliError> {
    find("client", id.as_str(), &session.current.clients, |entry| entry.client.id.as_str())
}

/// Who names the client.
fn references(current: &StoredRegistry, id: &ClientId) -> Vec<String> {
    let mut references = Vec::new();
    for idp in current.identity_providers.iter().filter(|idp| idp.subject_tokens.iter().any(|r| r.clients.contains(id)))
    {
        references.push(format!("identity provider {} (subject_token)", idp.id));
    }
    for resource in current.resources.iter().filter(|resource| resource.clients.contains(id)) {
        references.push(format!("resource {} (clients)", resource.id));
    }
    for other in current.clients.iter().map(|entry| &entry.client).filter(|other| other.id != *id) {
        if other.may_act_for.contains(id) {
            references.push(format!("client {} (may_act_for)", other.id));
        }
        if other.may_present.contains(id) {
            references.push(format!("client {} (may_present)", other.id));
        }
    }
    references
}

async fn add(context: &Context, session: &Session, add: Add) -> Result<(), CliError> {
    let file = match &add.file {
        Some(path) => read_one(path, "client", |file| file.clients.len())?,
        None => RegistryFile::declared(Vec::new(), Vec::new(), vec![declared(add)?], Vec::new())?,
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
    Ok(())
}

fn declared(add: Add) -> Result<Client, CliError> {
    let id = add.id.ok_or_else(|| CliError::new("a client needs an id"))?;
    let jwks = add.jwks_file.map(|path| {
        let problem = |error: &dyn std::fmt::Display| CliError::new(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|error| problem(&error))?;
        serde_json::from_str::<Value>(&text).map_err(|error| problem(&error))
    });
    // A backend may be named again for more of its scopes.
    let mut resources: BTreeMap<ResourceId, Vec<Scope>> = BTreeMap::new();
    for (resource, scopes) in add.resource {
        resources.entry(resource).or_default().extend(scopes);
    }
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
        resources,
    })
}

fn has_secret(client: &Client) -> bool {
    match client.authentication {
        ClientAuthentication::ClientSecretBasic | ClientAuthentication::ClientSecretPost => true,
        ClientAuthentication::PrivateKeyJwt | ClientAuthentication::None => false,
    }
}

async fn new_secret(session: &Session, client: &ClientId) -> Result<(SecretString, Change), CliError> {
    let key = super::secrets_key(&session.config, &session.store).await?;
    let secret = new_client_secret(&key);
    let stored = StoredSecret {
        id: random_id("sec"),
        client: client.clone(),
        hash: hash_client_secret(&secret),
        created_at: session.clock.now(),
        last_used_at: None,
    };
    Ok((secret, Change::AddSecret(stored)))
}

async fn rotate_secret(context: &Context, session: &Session, id: &ClientId) -> Result<(), CliError> {
    let client = &entry(session, id)?.client;
    if !has_secret(client) {
        let problem = format!("client {id} has no secret: its authentication is {}", client.authentication.as_str());
        return Err(CliError::new(problem));
    }
    let (secret, change) = new_secret(session, id).await?;
    session.change_quietly(&[change], &[]).await?;
    tell_credentials(context, client, Some(&secret));
    Ok(())
}

/// The only time that a secret is shown.
fn tell_credentials(context: &Context, client: &Client, secret: Option<&SecretString>) {
    let mut members = vec![("client_id", client.id.as_str())];
    members.extend(secret.map(|secret| ("client_secret", secret.expose_secret())));
    if context.json {
        output::json(&members.into_iter().collect::<BTreeMap<_, _>>());
        return;
    }
    let rows: Vec<_> = members.iter().map(|(name, value)| vec![(*name).to_owned(), (*value).to_owned()]).collect();
    output::table(&rows);
    if secret.is_some() {
        output::note("The secret is shown this once. At most two work at a time, the newest ones.");
    }
}

fn list(session: &Session) {
    let head = ["id", "name", "authentication", "consent", "resources", "assurance", "suspended"];
    let rows = session.current.clients.iter().map(|entry| {
        let client = &entry.client;
        vec![
            client.id.to_string(),
            client.name.clone(),
            client.authentication.as_str().to_owned(),
            match client.consent {
                ConsentMode::User => "user".to_owned(),
                ConsentMode::Admin => "admin".to_owned(),
            },
            joined(client.resources.keys()),
            entry.assurance.as_str().to_owned(),
            time_or_dash(entry.suspended_at),
        ]
    });
    let documents: Vec<Value> = session.current.clients.iter().map(|entry| document(session, entry)).collect();
    session.list(&head, rows.collect(), &documents);
}

fn show(session: &Session, id: &ClientId) -> Result<(), CliError> {
    let entry = entry(session, id)?;
    let alone = StoredRegistry { clients: vec![entry.clone()], ..StoredRegistry::default() };
    let mut remarks = vec![format!("# assurance: {}", entry.assurance.as_str())];
    remarks.extend(entry.suspended_at.map(|at| format!("# suspended since {}", time(at))));
    for secret in session.current.secrets.iter().filter(|secret| secret.client == *id) {
        let (made, used) = (time(secret.created_at), secret.last_used_at.map_or("never".to_owned(), time));
        remarks.push(format!("# secret {}: made {made}, last used {used}", secret.id));
    }
    let text = format!("{}\n{}", registry_file::declarations(&alone), remarks.join("\n"));
    session.show(&text, &document(session, entry));
    Ok(())
}

fn document(session: &Session, entry: &ClientEntry) -> Value {
    let secrets = session.current.secrets.iter().filter(|secret| secret.client == entry.client.id);
    let secrets: Vec<Value> = secrets
        .map(|secret| json!({ "id": secret.id, "created_at": secret.created_at, "last_used_at": secret.last_used_at }))
        .collect();
    let mut document = json!(entry.client);
    if let Some(members) = document.as_object_mut() {
        members.insert("assurance".to_owned(), json!(entry.assurance));
        members.insert("suspended_at".to_owned(), json!(entry.suspended_at));
        members.insert("secrets".to_owned(), json!(secrets));
    }
    document
}
