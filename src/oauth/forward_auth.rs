//! `/forward-auth/{resource}`: a proxy asks of each request whether it may go on to the backend behind it (`auth_request`
//! of nginx, `forward_auth` of Caddy, ForwardAuth of Traefik, HTTP `ext_authz` of Envoy).

use super::form::{bearer, unavailable};
use crate::app::App;
use crate::domain::registry::Registry;
use crate::domain::resource::Resource;
use crate::domain::scope::{Scope, ScopeSet};
use crate::grants::forward_auth::{Denied, Wanted, caller};
use crate::grants::params::decode;
use crate::grants::{Failure, Received};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

/// The caller, signed. Not a name that anybody fills with an id.
const CALLER: HeaderName = HeaderName::from_static("x-procura-caller");

/// Where the path begins that the proxy's configuration says.
const PREFIX: &str = "/forward-auth/";

/// What a proxy is set up to ask: the first part of the path, which no caller can reach. The query and whatever follows
/// in the path are the caller's with some proxies, and count for nothing.
#[derive(Debug)]
struct Question<'a> {
    resource: &'a Arc<Resource>,
    wanted: Wanted,
}

/// Why the question cannot be understood: a mistake in the proxy's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    NoSuchResource,
    NoSuchSetting,
    NoSuchScope,
    /// `.` or `..` in what follows, however it is written: on another way it could have led to another resource.
    Dots,
}

/// Every method, with any further path.
pub async fn handle(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let mut response = answer(&app, &received, &uri, &headers).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn answer(app: &App, received: &Received, uri: &Uri, headers: &HeaderMap) -> Response {
    let snapshot = app.snapshot();
    let question = match Question::read(uri.path(), &snapshot.registry) {
        Ok(question) => question,
        Err(mistake) => {
            app.metrics.count_forward_auth("unavailable", "misconfigured");
            return mistake.into_response();
        }
    };
    let Some(token) = bearer(headers) else {
        app.metrics.count_forward_auth("refused", "no_token");
        return question.refuse(&app.config.issuer, None);
    };
    let Ok(_place) = app.in_flight.try_acquire() else {
        app.metrics.count_forward_auth("unavailable", "unavailable");
        return unavailable("too many requests at once").into_response();
    };
    let resource = question.resource.id.as_str();
    match caller(app, received, question.resource, &question.wanted, token).await {
        Ok(Ok(caller)) => match HeaderValue::try_from(caller) {
            Ok(caller) => {
                app.metrics.count_forward_auth("passed", "passed");
                tracing::debug!(request_id = received.request_id, resource, "a request was let through");
                (StatusCode::OK, [(CALLER, caller)]).into_response()
            }
            Err(problem) => unavailable(&problem.to_string()).into_response(),
        },
        Ok(Err(denied)) => {
            let reason = denied.as_str();
            app.metrics.count_forward_auth("refused", reason);
            tracing::debug!(request_id = received.request_id, resource, reason, "a request was not let through");
            question.refuse(&app.config.issuer, Some(&denied))
        }
        Err(Failure::Unavailable(cause)) => {
            app.metrics.count_forward_auth("unavailable", "unavailable");
            unavailable(&cause).into_response()
        }
        // Nothing here is decided about, or counted.
        Err(Failure::TooMany(_) | Failure::Refused { .. }) => {
            unavailable("an answer of another endpoint").into_response()
        }
    }
}

impl<'a> Question<'a> {
    /// `records,scope=records.read,clients`: commas part it, and what is in it is percent-encoded where it is not plain.
    fn read(path: &str, registry: &'a Registry) -> Result<Self, Mistake> {
        let said = path.split_once(PREFIX).map_or("", |(_, rest)| rest);
        let mut segments = said.split('/');
        let mut parts = segments.next().unwrap_or_default().split(',');
        let name = parts.next().unwrap_or_default();
        let resource = registry.resource_by_name(name).ok_or(Mistake::NoSuchResource)?;
        let (mut scopes, mut clients): (Vec<Scope>, _) = (Vec::new(), false);
        for part in parts {
            match part.split_once('=') {
                Some(("scope", name)) => {
                    let scope =
                        decode(name.as_bytes()).and_then(|name| name.parse().ok()).ok_or(Mistake::NoSuchScope)?;
                    resource.scope(&scope).ok_or(Mistake::NoSuchScope)?;
                    scopes.push(scope);
                }
                None if part == "clients" => clients = true,
                Some(_) | None => return Err(Mistake::NoSuchSetting),
            }
        }
        let is_dots = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
        let has_dots =
            |segment: &str| decode(segment.as_bytes()).is_none_or(|parts| parts.split(['/', '\\']).any(is_dots));
        if segments.any(has_dots) {
            return Err(Mistake::Dots);
        }
        Ok(Self { resource, wanted: Wanted { scopes: scopes.into_iter().collect::<ScopeSet>(), clients } })
    }

    /// 401, or 403 for a token that is good but not for this (RFC 6750 §3, RFC 9728 §5.1). All that is needed at once, so
    /// that a client asks its user once.
    fn refuse(&self, issuer: &str, denied: Option<&Denied>) -> Response {
        let (status, error) = match denied {
            // Nothing was tried, so there is no error (RFC 6750 §3.1).
            None => (StatusCode::UNAUTHORIZED, None),
            Some(Denied::InsufficientScope) => (StatusCode::FORBIDDEN, Some("insufficient_scope")),
            Some(
                Denied::Invalid | Denied::Expired | Denied::OtherBackend | Denied::Ended(_) | Denied::NotDelegated,
            ) => (StatusCode::UNAUTHORIZED, Some("invalid_token")),
        };
        let mut parameters = Vec::new();
        if let (Some(error), Some(denied)) = (error, denied) {
            parameters.push(format!("error=\"{error}\""));
            parameters.push(format!("error_description=\"{}\"", denied.public_description()));
        }
        if !self.wanted.scopes.is_empty() {
            parameters.push(format!("scope=\"{}\"", self.wanted.scopes));
        }
        let id = &self.resource.id;
        parameters.push(format!("resource_metadata=\"{issuer}/.well-known/oauth-protected-resource/{id}\""));
        let body = json!({
            "error": error.unwrap_or("unauthorized"),
            "error_description": denied.map_or("Send an access token.", Denied::public_description),
        });
        let fields = [
            (header::WWW_AUTHENTICATE, format!("Bearer {}", parameters.join(", "))),
            (header::CONTENT_TYPE, "application/json".to_owned()),
        ];
        (status, fields, body.to_string()).into_response()
    }
}

impl IntoResponse for Mistake {
    fn into_response(self) -> Response {
        let (status, error, description) = match self {
            Self::NoSuchResource => (StatusCode::NOT_FOUND, "not_found", "No resource of this id is registered."),
            Self::NoSuchSetting => {
                (StatusCode::BAD_REQUEST, "invalid_request", "Behind the resource come only scope=NAME and clients.")
            }
            Self::NoSuchScope => {
                (StatusCode::BAD_REQUEST, "invalid_request", "The resource has no scope of a name that is asked for.")
            }
            Self::Dots => {
                (StatusCode::BAD_REQUEST, "invalid_request", "The path has a segment of dots, or is damaged.")
            }
        };
        let json = [(header::CONTENT_TYPE, "application/json")];
        (status, json, json!({"error": error, "error_description": description}).to_string()).into_response()
    }
}
