//! `procura client`.

mod add;
mod registered;

use super::registry::{Session, find, joined, must_be_unreferenced, time, time_or_dash, with_registry};
use super::{CliError, Context, output};
use crate::domain::change::{Change, StoredSecret};
use crate::domain::client::{Client, ClientAuthentication, ClientEntry, ConsentMode};
use crate::domain::dynamic_client::DynamicClient;
use crate::domain::names::ClientId;
use crate::registry_file;
use crate::secrets::{hash_client_secret, new_client_secret, random_id};
use crate::store::StoredRegistry;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Register a client; prints its id and, once, its secret.
    Add(Box<add::Add>),
    /// List clients; with `--registered` those that nobody here registered.
    List(List),
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
struct List {
    /// Those that registered themselves, or are known by a document under their own domain; newest first.
    #[arg(long)]
    registered: bool,
    /// With `--registered`: how many at most.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
}

/// Register and manage LLM clients.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    with_registry(context, async |session| match args.action {
        Action::Add(add) => add::add(context, session, *add).await,
        Action::List(List { registered: true, limit }) => {
            registered::list(session, &session.store.list_dynamic_clients(limit).await?);
            Ok(())
        }
        Action::List(List { registered: false, .. }) => {
            list(session);
            Ok(())
        }
        Action::Show(one) => match either(session, &one.id).await? {
            Either::Declared(entry) => {
                show(session, entry);
                Ok(())
            }
            Either::Registered(dynamic) => {
                registered::show(session, &dynamic);
                Ok(())
            }
        },
        Action::RotateSecret(one) => rotate_secret(context, session, &one.id).await,
        Action::Suspend(one) => match either(session, &one.id).await?.suspended_at() {
            None => session.change(&[Change::SuspendClient(one.id)], &[]).await,
            Some(_) => session.change(&[], &[]).await,
        },
        Action::Resume(one) => match either(session, &one.id).await?.suspended_at() {
            Some(_) => session.change(&[Change::ResumeClient(one.id)], &[]).await,
            None => session.change(&[], &[]).await,
        },
        Action::Remove(one) => {
            either(session, &one.id).await?;
            must_be_unreferenced("client", one.id.as_str(), &references(&session.current, &one.id))?;
            session.change(&[Change::RemoveClient(one.id)], &[]).await
        }
    })
    .await
}

/// A client, wherever it is known from.
enum Either<'a> {
    Declared(&'a ClientEntry),
    Registered(Box<DynamicClient>),
}

impl Either<'_> {
    fn suspended_at(&self) -> Option<i64> {
        match self {
            Self::Declared(entry) => entry.suspended_at,
            Self::Registered(dynamic) => dynamic.suspended_at,
        }
    }
}

async fn either<'a>(session: &'a Session, id: &ClientId) -> Result<Either<'a>, CliError> {
    if let Some(entry) = session.current.clients.iter().find(|entry| entry.client.id == *id) {
        return Ok(Either::Declared(entry));
    }
    match session.store.find_dynamic_client(id).await? {
        Some(dynamic) => Ok(Either::Registered(Box::new(dynamic))),
        // The nearest id is told.
        None => entry(session, id).map(Either::Declared),
    }
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

fn show(session: &Session, entry: &ClientEntry) {
    let id = &entry.client.id;
    let alone = StoredRegistry { clients: vec![entry.clone()], ..StoredRegistry::default() };
    let mut remarks = vec![format!("# assurance: {}", entry.assurance.as_str())];
    remarks.extend(entry.suspended_at.map(|at| format!("# suspended since {}", time(at))));
    for secret in session.current.secrets.iter().filter(|secret| secret.client == *id) {
        let (made, used) = (time(secret.created_at), secret.last_used_at.map_or("never".to_owned(), time));
        remarks.push(format!("# secret {}: made {made}, last used {used}", secret.id));
    }
    let text = format!("{}\n{}", registry_file::declarations(&alone), remarks.join("\n"));
    session.show(&text, &document(session, entry));
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
