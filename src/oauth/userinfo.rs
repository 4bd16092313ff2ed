//! `/userinfo` (OpenID Connect Core §5.3): a client with an access token asks who the user is.

use super::USERINFO;
use super::error::OAuthError;
use super::form::{bearer, unavailable};
use crate::app::App;
use crate::grants::userinfo::{Unknown, claims};
use crate::grants::{Failure, Received};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::sync::Arc;

/// Every method of `/userinfo`.
pub async fn handle(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let mut response = match method {
        Method::GET | Method::POST | Method::HEAD => answer(&app, &received, &headers).await,
        Method::OPTIONS => return USERINFO.preflight(),
        _ => USERINFO.wrong_method(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    USERINFO.allow(response.headers_mut());
    response
}

async fn answer(app: &App, received: &Received, headers: &HeaderMap) -> Response {
    let Some(token) = bearer(headers) else {
        return refuse(StatusCode::UNAUTHORIZED, "Bearer");
    };
    match claims(app, received, token).await {
        Ok(Ok(claims)) => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (json, Value::Object(claims).to_string()).into_response()
        }
        Ok(Err(Unknown::Invalid)) => refuse(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\""),
        Ok(Err(Unknown::NoOpenid)) => {
            refuse(StatusCode::FORBIDDEN, "Bearer error=\"insufficient_scope\", scope=\"openid\"")
        }
        Err(Failure::TooMany(seconds)) => OAuthError::slow_down(seconds).into_response(),
        Err(Failure::Unavailable(cause)) => unavailable(&cause).into_response(),
        Err(Failure::Refused { refusal, .. }) => unavailable(&refusal.detail).into_response(),
    }
}

fn refuse(status: StatusCode, challenge: &'static str) -> Response {
    (status, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
}
