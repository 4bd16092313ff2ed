//! What anybody may read: the metadata document (RFC 8414), the JWKS (RFC 7517), and what backends may publish
//! (RFC 9728).

use super::DOCUMENTS;
use crate::app::App;
use crate::domain::client::GrantType;
use crate::domain::registry::Registry;
use crate::domain::resource::{Resource, canonical_uri};
use crate::grants::request::IDENTITY_SCOPES;
use crate::tokens::id_token;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const CACHE: &str = "public, max-age=300";

/// `GET /.well-known/oauth-authorization-server` and `/.well-known/openid-configuration`: the same bytes on all forms
/// (rule DI-03). It lists exactly what is on.
pub async fn document(State(app): State<Arc<App>>) -> Response {
    let issuer = &app.config.issuer;
    let snapshot = app.snapshot();
    let scopes: BTreeSet<&str> = snapshot
        .registry
        .resources()
        .flat_map(|resource| resource.scopes.iter().map(|scope| scope.name.as_str()))
        .collect();
    let mut document = json!({
        "issuer": issuer,
        "token_endpoint": app.token_endpoint(),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "introspection_endpoint": format!("{issuer}/introspect"),
        "introspection_endpoint_auth_methods_supported": CONFIDENTIAL,
        "revocation_endpoint": format!("{issuer}/revoke"),
        "revocation_endpoint_auth_methods_supported": CONFIDENTIAL,
        "grant_types_supported": [GrantType::ClientCredentials.as_str(), GrantType::TokenExchange.as_str()],
        "token_endpoint_auth_methods_supported": CONFIDENTIAL,
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"],
        "ui_locales_supported": ["en"],
    });
    // An empty list is left out (RFC 8414 §3.2).
    if let (false, Some(members)) = (scopes.is_empty(), document.as_object_mut()) {
        members.insert("scopes_supported".to_owned(), json!(scopes));
    }
    if snapshot.registry.identity_providers().any(|idp| idp.login.is_some())
        && let (Some(members), Value::Object(more)) = (document.as_object_mut(), front_door(&app, &scopes))
    {
        members.extend(more);
    }
    json_document(&document)
}

/// How a confidential client may prove who it is.
const CONFIDENTIAL: [&str; 3] = ["private_key_jwt", "client_secret_basic", "client_secret_post"];

/// What is on once users can sign in: authorization in the browser, and what comes of it.
fn front_door(app: &App, scopes: &BTreeSet<&str>) -> Value {
    let issuer = &app.config.issuer;
    let grants =
        [GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::ClientCredentials, GrantType::TokenExchange];
    let with_public: Vec<&str> = ["none"].into_iter().chain(CONFIDENTIAL).collect();
    let all_scopes: Vec<&str> = IDENTITY_SCOPES.into_iter().chain(scopes.iter().copied()).collect();
    let mut members = json!({
        "authorization_endpoint": format!("{issuer}/authorize"),
        "pushed_authorization_request_endpoint": format!("{issuer}/par"),
        "revocation_endpoint_auth_methods_supported": with_public,
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "scopes_supported": all_scopes,
        "grant_types_supported": grants.map(GrantType::as_str),
        "token_endpoint_auth_methods_supported": with_public,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [id_token::ALGORITHM.as_str()],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "name", "email",
            "email_verified"],
    });
    if let Some(members) = members.as_object_mut() {
        if app.clients.reads_documents() {
            members.insert("client_id_metadata_document_supported".to_owned(), json!(true));
        }
        if app.clients.offers_registration() {
            members.insert("registration_endpoint".to_owned(), json!(format!("{issuer}/register")));
        }
    }
    members
}

/// `GET /.well-known/jwks.json`: our public keys, with an `ETag`.
pub async fn jwks(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let jwks = app.signing_keys().jwks(app.clock.now());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_known = known.split(',').any(|tag| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == jwks.etag);
    let fields = [(header::ETAG, jwks.etag.clone())];
    if is_known {
        finish((StatusCode::NOT_MODIFIED, fields).into_response())
    } else {
        let json = [(header::CONTENT_TYPE, "application/json")];
        finish((fields, json, jwks.body.clone()).into_response())
    }
}

/// `GET /.well-known/oauth-protected-resource/{id}`, and the same with the path of a backend in the place of the id: the
/// document that a backend may serve as its own (RFC 9728 §2).
///
/// It has no `jwks_uri`: that would be for keys of the backend, not for ours.
pub async fn protected_resource(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Response {
    let snapshot = app.snapshot();
    let Some(resource) = meant(&snapshot.registry, &app.config.issuer, uri.path(), &headers) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let scopes: Vec<&str> = resource.scopes.iter().map(|scope| scope.name.as_str()).collect();
    let mut document = json!({
        "resource": resource.audience.as_str(),
        "resource_name": resource.name,
        "authorization_servers": [app.config.issuer],
        "bearer_methods_supported": ["header"],
    });
    if let (false, Some(members)) = (scopes.is_empty(), document.as_object_mut()) {
        members.insert("scopes_supported".to_owned(), json!(scopes));
    }
    let mut response = json_document(&document);
    // The path alone does not say which backend it is of.
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Host"));
    response
}

/// The backend that a document is asked of: the one whose identifier the URL was made of, by the host that the proxy in
/// front of it passes on (RFC 9728 §3.1), or else the one of this id. At our own host it is the id first. The host only
/// chooses among documents that anybody may read.
fn meant<'a>(registry: &'a Registry, issuer: &str, path: &str, headers: &HeaderMap) -> Option<&'a Arc<Resource>> {
    let behind = path.split_once(PROTECTED_RESOURCE).map_or("", |(_, behind)| behind);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let by_id = || registry.resource_by_name(behind.strip_prefix('/')?);
    let by_url = || {
        let of = |scheme: &str| canonical_uri(&format!("{scheme}://{host}{behind}")).ok();
        ["https", "http"].into_iter().filter_map(of).find_map(|uri| registry.resource_by_audience(&uri))
    };
    let ours = issuer.split_once("://").and_then(|(_, rest)| rest.split('/').next());
    if ours == Some(host) { by_id().or_else(by_url) } else { by_url().or_else(by_id) }
}

const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";

fn json_document(document: &Value) -> Response {
    finish(([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response())
}

fn finish(mut response: Response) -> Response {
    let fields: [(HeaderName, HeaderValue); 1] = [(header::CACHE_CONTROL, HeaderValue::from_static(CACHE))];
    response.headers_mut().extend(fields);
    DOCUMENTS.allow(response.headers_mut());
    response
}
