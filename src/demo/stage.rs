//! What the story is played on: the identity provider, Assistant, Procura and two backends, each with its own loopback
//! port, in one process; and a database in a directory of its own.

use super::assistant::{self, Assistant};
use super::backend::{self, BackendClock, NextHop, Published};
use super::desk;
use super::http::{self, FREE_PORT, Http};
use super::identity_provider::{self, App};
use super::people::Person;
use super::registry::{ASSISTANT, Addresses, PROCURA, RECORDS_BACKEND, STRANGER, registry_text};
use super::{DemoFailure, Options, Screen};
use crate::clock::Clock;
use crate::config::{Config, ConfigSources};
use crate::domain::change::{Change, StoredSecret};
use crate::domain::consent::{Consent, ConsentSource, ConsentingUser};
use crate::domain::event::AuditEvent;
use crate::registry_file::{self, ApplyOptions, Server, Source};
use crate::secrets::{self, SecretsKey};
use crate::server::{self, Running};
use crate::store::Store;
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Everything that runs.
pub(super) struct Stage {
    pub(super) http: Http,
    pub(super) addresses: Addresses,
    pub(super) assistant: Arc<Assistant>,
    /// Where Desk, the MCP-style client, is.
    pub(super) desk: String,
    /// Stranger's secret at Procura.
    pub(super) stranger_secret: String,
    /// The clock of the records backend.
    pub(super) records_clock: BackendClock,
    pub(super) clock: Clock,
    /// The database, for what commands would be asked.
    pub(super) store: Store,
    pub(super) database_url: String,
    pub(super) database_is_kept: bool,
    running: Running,
    ended: CancellationToken,
    /// Removed last.
    _directory: Directory,
}

impl Stage {
    /// Starts everything.
    pub(super) async fn set(options: &Options, screen: &Screen) -> Result<Self, DemoFailure> {
        let clock = Clock::System;
        let http = Http::new()?;
        let ended = CancellationToken::new();
        let directory = Directory::make(options.keep.as_deref())?;
        let database = directory.path.join("procura.db");
        let database_url = format!("sqlite://{}", database.display());

        let config = config(options.listen, &database_url).await?;
        screen.progress("Starting the identity provider");
        let (assistant_listener, assistant_at) = http::listen(FREE_PORT).await?;
        let assistant_url = format!("http://{assistant_at}");
        let idp_secret = secrets::random_id("idp");
        let app = App {
            client_id: ASSISTANT.to_owned(),
            name: "Assistant".to_owned(),
            redirect_uri: format!("{assistant_url}/callback"),
            secret: Some(idp_secret.clone()),
        };
        // Procura is a public client there: PKCE alone protects its codes.
        let procura = App {
            client_id: PROCURA.to_owned(),
            name: "Procura".to_owned(),
            redirect_uri: format!("{}/callback/demo", config.issuer),
            secret: None,
        };
        let identity_provider = identity_provider::start(FREE_PORT, vec![app, procura], clock.clone(), &ended).await?;

        screen.progress("Starting Procura");
        let (records_listener, records_at) = http::listen(FREE_PORT).await?;
        let (models_listener, models_at) = http::listen(FREE_PORT).await?;
        let addresses = Addresses {
            procura: config.issuer.clone(),
            identity_provider,
            assistant: assistant_url,
            records: format!("http://{records_at}/records"),
            models: format!("http://{models_at}/models"),
        };
        let store = Store::connect(&database_url).await.map_err(failed("the database"))?;
        store.migrate().await.map_err(failed("the database"))?;
        let secrets_key = config.secrets_key(true).map_err(failed("secrets_key"))?;
        declare(&store, registry_text(&addresses), Server::of(&config), &clock).await?;
        let client_secret = issue_secret(&store, &secrets_key, ASSISTANT, &clock).await?;
        let stranger_secret = issue_secret(&store, &secrets_key, STRANGER, &clock).await?;
        let backend_secret = issue_secret(&store, &secrets_key, RECORDS_BACKEND, &clock).await?;
        let running =
            server::start(config, clock.clone(), store.clone(), secrets_key).await.map_err(failed("Procura"))?;

        screen.progress("Starting the backends");
        let published = Published::fetch(&http, &addresses.procura).await?;
        let records_clock = BackendClock::default();
        let next = NextHop {
            http: http.clone(),
            token_endpoint: format!("{}/token", addresses.procura),
            client_id: RECORDS_BACKEND.to_owned(),
            client_secret: backend_secret,
            models: addresses.models.clone(),
        };
        let clock_of_records = records_clock.clone();
        backend::serve_records(records_listener, &addresses.records, &published, clock_of_records, next, &ended)?;
        backend::serve_models(models_listener, &addresses.models, &published, BackendClock::default(), &ended)?;
        let assistant =
            Arc::new(Assistant::new(http.clone(), addresses.clone(), idp_secret, client_secret, clock.clone()));
        assistant::serve(assistant_listener, &assistant, &ended);
        let (desk_listener, desk_at) = http::listen(FREE_PORT).await?;
        let desk = format!("http://{desk_at}");
        desk::serve(desk_listener, &desk, http.clone(), addresses.clone(), &ended);
        screen.progress("");
        Ok(Self {
            http,
            addresses,
            assistant,
            desk,
            stranger_secret,
            records_clock,
            clock,
            store,
            database_url,
            database_is_kept: directory.is_kept,
            running,
            ended,
            _directory: directory,
        })
    }

    /// Records that a user agreed, as the command does; returns once the server goes by it.
    pub(super) async fn record_consent(
        &self,
        user: &Person,
        resource: &str,
        scopes: &str,
    ) -> Result<String, DemoFailure> {
        let id = secrets::random_id("con");
        let consent = Consent {
            id: id.clone(),
            user: ConsentingUser::One(user.sub.parse().map_err(failed("user"))?),
            client: ASSISTANT.parse().map_err(failed("client"))?,
            resource: resource.parse().map_err(failed("resource"))?,
            scopes: scopes.parse().map_err(failed("scopes"))?,
            source: ConsentSource::Admin,
            granted_at: self.clock.now(),
            expires_at: None,
            revoked_at: None,
            paused_at: None,
            fingerprint: None,
            redirect_uri: None,
        };
        let line = format!("+ consent {id} of {} to {scopes} at {resource} for {ASSISTANT}", user.sub);
        registry_file::commit(&self.store, &[Change::GrantConsent(consent)], &[line], &[], None, &self.clock)
            .await
            .map_err(failed("the consent"))?;
        // The server looks for changes every second; the story does not wait for that.
        self.running.app.refresh().await.map_err(failed("the consent"))?;
        Ok(id)
    }

    /// The audit event of a request.
    pub(super) async fn event_of_request(&self, request_id: &str) -> Result<AuditEvent, DemoFailure> {
        let events = self.store.events_of_request(request_id).await.map_err(failed("the audit trail"))?;
        events.into_iter().next().ok_or_else(|| DemoFailure(format!("request {request_id} is not in the audit trail")))
    }

    /// Ends everything, and removes the database unless it is kept.
    pub(super) async fn strike(self) {
        self.ended.cancel();
        self.running.shutdown(std::time::Duration::ZERO).await;
    }
}

/// The configuration of the demo: nothing from a file or from the environment.
async fn config(listen: Option<SocketAddr>, database_url: &str) -> Result<Config, DemoFailure> {
    // The issuer is part of every token, so the port is chosen before the server takes it.
    let listen = match listen {
        Some(address) if address.port() != 0 => address,
        Some(address) => free_port(address).await?,
        None => free_port(FREE_PORT).await?,
    };
    let admin_listen = free_port(FREE_PORT).await?;
    let set = |name: &str, value: String| (name.to_owned(), value);
    let environment = vec![
        set("PROCURA_ISSUER", format!("http://{listen}")),
        set("PROCURA_LISTEN", listen.to_string()),
        set("PROCURA_ADMIN_LISTEN", admin_listen.to_string()),
        set("PROCURA_ORGANISATION__NAME", "Demo Hospital".to_owned()),
    ];
    let sources = ConfigSources { file: None, environment, database_url: Some(database_url.to_owned()) };
    Config::load(&sources).map_err(failed("the configuration"))
}

async fn free_port(address: SocketAddr) -> Result<SocketAddr, DemoFailure> {
    http::listen(address).await.map(|(_, bound)| bound)
}

/// As `procura apply`.
async fn declare(store: &Store, text: String, server: Server<'_>, clock: &Clock) -> Result<(), DemoFailure> {
    let source = Source { name: "demo.toml".to_owned(), text, directory: PathBuf::new() };
    registry_file::apply(store, &[source], ApplyOptions::default(), server, clock)
        .await
        .map(drop)
        .map_err(failed("the registry"))
}

/// As `procura client rotate-secret`.
async fn issue_secret(store: &Store, key: &SecretsKey, client: &str, clock: &Clock) -> Result<String, DemoFailure> {
    let secret = secrets::new_client_secret(key);
    let hashed = secret.clone();
    let hash = tokio::task::spawn_blocking(move || secrets::hash_client_secret(&hashed))
        .await
        .map_err(failed("the client secret"))?;
    let stored = StoredSecret {
        id: secrets::random_id("sec"),
        client: client.parse().map_err(failed("client"))?,
        hash,
        created_at: clock.now(),
        last_used_at: None,
    };
    let line = format!("+ a secret of client {client}");
    registry_file::commit(store, &[Change::AddSecret(stored)], &[line], &[], None, clock)
        .await
        .map_err(failed("the client secret"))?;
    Ok(secret.expose_secret().to_owned())
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> DemoFailure {
    move |problem| DemoFailure(format!("{what}: {problem}"))
}

/// A directory that only its owner can enter; removed at the end unless it is kept.
struct Directory {
    path: PathBuf,
    is_kept: bool,
}

impl Directory {
    fn make(keep: Option<&Path>) -> Result<Self, DemoFailure> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(secrets::random_id("procura-demo")),
        };
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700).recursive(keep.is_some());
        builder
            .create(&path)
            .map_err(|problem| DemoFailure(format!("{} cannot be made: {problem}", path.display())))?;
        let database = path.join("procura.db");
        if database.exists() {
            return Err(DemoFailure(format!("{} exists: the demo begins with an empty database", database.display())));
        }
        Ok(Self { path, is_kept: keep.is_some() })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_directory_is_private_and_goes_with_the_demo() {
        let directory = Directory::make(None).unwrap();
        let path = directory.path.clone();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn a_kept_database_is_neither_removed_nor_written_over() {
        let parent = tempfile::tempdir().unwrap();
        let keep = parent.path().join("kept");
        drop(Directory::make(Some(&keep)).unwrap());
        assert!(keep.exists());
        std::fs::write(keep.join("procura.db"), "x").unwrap();
        assert!(Directory::make(Some(&keep)).is_err());
    }
}
