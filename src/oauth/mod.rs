//! HOW CLIENTS TALK TO US: one file an endpoint.

pub mod audit_use;
mod body;
pub mod client_auth;
pub mod cors;
pub mod error;
mod form;
pub mod forward_auth;
pub mod metadata;
pub mod par;
mod refusal;
pub mod register;
pub mod status;
pub mod token;
pub mod token_state;
pub mod userinfo;

use crate::app::App;
use crate::oauth::cors::Cors;
use axum::Router;
use axum::routing::{any, get};
use std::sync::Arc;

/// Every route of this folder, below the path of the issuer.
pub fn routes() -> Router<Arc<App>> {
    let documents = Router::new()
        .route("/.well-known/jwks.json", get(metadata::jwks).fallback(cors::documents_only))
        .route("/.well-known/openid-configuration", get(metadata::document).fallback(cors::documents_only))
        .route("/status/{list}", get(status::list).fallback(cors::documents_only));
    Router::new()
        .merge(documents)
        .merge(resource_documents())
        .route("/forward-auth/{*question}", any(forward_auth::handle))
        .route("/token", any(token::handle))
        .route("/par", any(par::handle))
        .route("/userinfo", any(userinfo::handle))
        .route("/revoke", any(token_state::revoke))
        .route("/introspect", any(token_state::introspect))
        .route("/audit/use", any(audit_use::handle))
        .route("/register", any(register::handle))
        .route("/register/{id}", any(register::manage))
}

/// What backends may publish: below the issuer by the id of the backend; and as a proxy in front of a backend hands such a
/// request on, with the path of the backend behind the well-known name (RFC 9728 §3.1).
fn resource_documents() -> Router<Arc<App>> {
    let document = || get(metadata::protected_resource).fallback(cors::documents_only);
    Router::new()
        .route("/.well-known/oauth-protected-resource", document())
        .route("/.well-known/oauth-protected-resource/{*name}", document())
}

/// The routes that RFC 8414 §3.1 puts at the root of the host, with the path of the issuer behind the well-known name.
pub fn root_routes(issuer_path: &str) -> Router<Arc<App>> {
    let document = || get(metadata::document).fallback(cors::documents_only);
    let router = Router::new().route(&format!("/.well-known/oauth-authorization-server{issuer_path}"), document());
    if issuer_path.is_empty() {
        router
    } else {
        router.route(&format!("/.well-known/openid-configuration{issuer_path}"), document()).merge(resource_documents())
    }
}

/// What browsers are told about documents: anybody may read them.
pub(crate) const DOCUMENTS: Cors = Cors { methods: "GET, HEAD, OPTIONS" };
/// What browsers are told about the token endpoint.
pub(crate) const TOKEN: Cors = Cors { methods: "POST, OPTIONS" };
/// What browsers are told about who the user is.
pub(crate) const USERINFO: Cors = Cors { methods: "GET, HEAD, POST, OPTIONS" };
/// `Allow` of the introspection endpoint.
const INTROSPECT: &str = "POST";
