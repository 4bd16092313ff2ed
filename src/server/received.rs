//! What every request goes through: an id, its source, a time limit, one log line.

use crate::app::App;
use crate::grants::Received;
use crate::secrets::ordered_id;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tower_http::catch_panic::CatchPanicLayer;

#[derive(Clone)]
struct Bounds {
    app: Arc<App>,
    at_most: Duration,
}

/// Wraps a router in them.
pub(super) fn layers(router: Router<Arc<App>>, app: &Arc<App>) -> Router<Arc<App>> {
    let limits = &app.config.limits;
    let seconds = if limits.request_seconds == 0 { u64::from(u32::MAX) } else { u64::from(limits.request_seconds) };
    let bounds = Bounds { app: Arc::clone(app), at_most: Duration::from_secs(seconds) };
    router.layer(CatchPanicLayer::new()).layer(from_fn_with_state(bounds, receive))
}

async fn receive(State(bounds): State<Bounds>, mut request: Request<Body>, next: Next) -> Response {
    let started = Instant::now();
    let received = received(&bounds.app, &request);
    let request_id = received.request_id.clone();
    let method = known_method(request.method());
    // The pattern, not the path: a path can hold a handle, and would make a label without bound.
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", |path| known(path.as_str()));
    request.extensions_mut().insert(received);
    let mut response = match tokio::time::timeout(bounds.at_most, next.run(request)).await {
        Ok(response) => response,
        Err(_) => too_slow(),
    };
    finish(response.headers_mut(), &request_id, bounds.app.config.issuer.starts_with("https:"));
    let (status, took) = (response.status().as_u16(), started.elapsed());
    bounds.app.metrics.count_request(route, status, took);
    tracing::debug!(request_id, method, route, status, duration_ms = took.as_secs_f64() * 1000.0, "request");
    response
}

fn finish(headers: &mut HeaderMap, request_id: &str, is_https: bool) {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_https {
        headers
            .insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains"));
    }
}

fn too_slow() -> Response {
    let fields =
        [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store"), (header::RETRY_AFTER, "1")];
    let body = r#"{"error":"temporarily_unavailable","error_description":"The request took too long."}"#;
    (StatusCode::SERVICE_UNAVAILABLE, fields, body).into_response()
}

/// Routes by their pattern below the issuer's path, as a fixed set of labels.
fn known(pattern: &str) -> &'static str {
    const ROUTES: [&str; 28] = [
        "/token",
        "/authorize",
        "/par",
        "/userinfo",
        "/revoke",
        "/introspect",
        "/forward-auth",
        "/inspect",
        "/audit/use",
        "/status",
        "/register",
        "/.well-known/jwks.json",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource",
        "/consent",
        "/account",
        "/login",
        "/callback",
        "/backchannel-logout",
        "/logout",
        "/logged-out",
        "/static/icon.svg",
        "/static/logo",
        "/static/procura.css",
        "/healthz",
        "/readyz",
        "/metrics",
    ];
    ROUTES.into_iter().find(|route| pattern.contains(route)).unwrap_or("unmatched")
}

/// Methods as a fixed set of names: any word is a method to HTTP, also a token in the wrong place.
fn known_method(method: &Method) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    METHODS.into_iter().find(|known| method.as_str() == *known).unwrap_or("other")
}

fn received(app: &App, request: &Request<Body>) -> Received {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    let at_ms = app.clock.now_ms();
    Received {
        request_id: ordered_id("req", at_ms),
        source: peer.map(|peer| source(app, peer, request.headers())),
        trace_id: trace_id(request.headers()),
        at_ms,
    }
}

/// The address that a request came from: through trusted proxies, the last one that is not a trusted proxy itself.
fn source(app: &App, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_trusted = |address: &IpAddr| app.config.trusted_proxies.iter().any(|net| net.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let mut hops: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut nearest = peer;
    while let Some(hop) = hops.pop() {
        let Ok(address) = hop.parse::<IpAddr>() else {
            break;
        };
        nearest = address.to_canonical();
        if !is_trusted(&nearest) {
            break;
        }
    }
    nearest
}

/// The trace id of a W3C `traceparent`: 32 hex digits, not all zero.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("traceparent")?.to_str().ok()?.split('-').nth(1)?;
    let is_id =
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && id.bytes().any(|byte| byte != b'0');
    is_id.then(|| id.to_ascii_lowercase())
}
