//! The server: two listeners, what every request goes through, and an orderly end.

mod connection;
mod health;
mod received;

use crate::app::{App, StartError};
use crate::clock::Clock;
use crate::config::Config;
use crate::oauth;
use crate::pages;
use crate::secrets::SecretsKey;
use crate::store::{ServerLock, Store, StoreError};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long requests under way are given to end.
const DRAIN_AT_MOST: Duration = Duration::from_secs(20);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Anything else.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// Where clients connect.
    pub public_addr: SocketAddr,
    /// Where metrics are.
    pub admin_addr: SocketAddr,
    /// All that its requests use.
    pub app: Arc<App>,
    closing: CancellationToken,
    connections: TaskTracker,
    upkeep_stop: CancellationToken,
    upkeep: tokio::task::JoinHandle<()>,
    lock: ServerLock,
}

/// Starts the server. The schema is up to date, and the rustls provider installed.
///
/// With port 0 in `listen`, the issuer is taken as configured: whoever uses that knows the port beforehand.
pub async fn start(config: Config, clock: Clock, store: Store, secrets_key: SecretsKey) -> Result<Running, ServeError> {
    let lock = store.lock_for_server()?;
    let public = bind(config.listen).await?;
    let admin = bind(config.admin_listen).await?;
    start_on(config, clock, store, secrets_key, lock, public, admin).await
}

async fn start_on(
    config: Config,
    clock: Clock,
    store: Store,
    secrets_key: SecretsKey,
    lock: ServerLock,
    public: TcpListener,
    admin: TcpListener,
) -> Result<Running, ServeError> {
    let address = |listener: &TcpListener, asked: SocketAddr| {
        listener.local_addr().map_err(|cause| ServeError::Listen { address: asked, cause })
    };
    let (public_addr, admin_addr) = (address(&public, config.listen)?, address(&admin, config.admin_listen)?);
    let app = App::start(config, clock, store, secrets_key).await?;
    let closing = CancellationToken::new();
    let upkeep_stop = CancellationToken::new();
    let connections = TaskTracker::new();
    let upkeep = tokio::spawn(Arc::clone(&app).run_upkeep(upkeep_stop.clone()));
    connections.spawn(connection::accept(public, public_router(&app), connections.clone(), closing.clone()));
    connections.spawn(connection::accept(admin, admin_router(&app), connections.clone(), closing.clone()));
    Ok(Running { public_addr, admin_addr, app, closing, connections, upkeep_stop, upkeep, lock })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|cause| ServeError::Listen { address, cause })
}

impl Running {
    /// Unready, wait until load balancers have seen that, drain, write what the audit trail still waits for, close.
    pub async fn shutdown(self, unready_for: Duration) {
        self.app.drain();
        let _ = tokio::time::timeout(unready_for, std::future::pending::<()>()).await;
        self.closing.cancel();
        self.connections.close();
        if tokio::time::timeout(DRAIN_AT_MOST, self.connections.wait()).await.is_err() {
            tracing::warn!("some requests did not end in time and are cut off");
        }
        self.upkeep_stop.cancel();
        let _ = self.upkeep.await;
        self.app.audit.close().await;
        self.app.store.close().await;
        drop(self.lock);
    }
}

/// Every public route on one page.
pub fn public_router(app: &Arc<App>) -> Router {
    let path = issuer_path(&app.config.issuer);
    let ours = oauth::routes().merge(pages::routes(app));
    let placed = if path.is_empty() { ours } else { Router::new().nest(path, ours) };
    let router = placed
        .merge(oauth::root_routes(path))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(not_found);
    received::layers(router, app).with_state(Arc::clone(app))
}

async fn not_found(State(app): State<Arc<App>>, method: Method, headers: HeaderMap) -> Response {
    match pages::not_found(&app, &method, &headers) {
        Some(page) => page,
        None => health::not_found().await,
    }
}

/// The routes of the private listener.
pub fn admin_router(app: &Arc<App>) -> Router {
    let router = Router::new()
        .merge(pages::admin_routes(issuer_path(&app.config.issuer)))
        .route("/metrics", get(health::metrics))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(health::not_found);
    received::layers(router, app).with_state(Arc::clone(app))
}

/// The path of the issuer, without a trailing slash; empty for a plain origin.
fn issuer_path(issuer: &str) -> &str {
    let after_scheme = issuer.split_once("://").map_or("", |(_, rest)| rest);
    after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("")
}
