//! Cross-origin answers (STANDARDS section 7): open where browsers of other origins must read, never with credentials.

use super::DOCUMENTS;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The cross-origin rule of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Cors {
    /// `Allow` and `Access-Control-Allow-Methods`.
    pub methods: &'static str,
}

const ALLOW_HEADERS: &str = "Authorization, Content-Type, MCP-Protocol-Version, DPoP, Mcp-Method, Mcp-Name";
const EXPOSE_HEADERS: &str = "WWW-Authenticate, Retry-After, X-Request-Id";

impl Cors {
    /// Adds what lets a page of another origin read an answer.
    pub fn allow(self, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSE_HEADERS));
    }

    /// The answer to a preflight: 204, without authentication.
    pub fn preflight(self) -> Response {
        let fields: [(HeaderName, &'static str); 5] = [
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (header::ACCESS_CONTROL_ALLOW_METHODS, self.methods),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, "600"),
            (header::ALLOW, self.methods),
        ];
        (StatusCode::NO_CONTENT, fields).into_response()
    }

    /// 405 with `Allow`.
    pub fn wrong_method(self) -> Response {
        let mut response = (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, self.methods)]).into_response();
        self.allow(response.headers_mut());
        response
    }
}

/// Every method of a document but GET and HEAD.
pub async fn documents_only(method: Method) -> Response {
    if method == Method::OPTIONS { DOCUMENTS.preflight() } else { DOCUMENTS.wrong_method() }
}
