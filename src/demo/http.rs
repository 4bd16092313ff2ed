//! HTTP on loopback, both ends: a small client that shows what it sends, and a listener that ends with the demo.

use super::DemoFailure;
use axum::Router;
use serde_json::{Map, Value};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Any free port of 127.0.0.1.
pub(super) const FREE_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A client that neither follows redirects nor uses a proxy: each answer of the story is one answer.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: reqwest::Client,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `Location`, if there is one.
    pub(super) location: Option<String>,
    /// `WWW-Authenticate`, if there is one.
    pub(super) challenge: Option<String>,
    /// `X-Request-Id`, if there is one.
    pub(super) request_id: Option<String>,
    pub(super) body: String,
}

impl Answer {
    /// The body as a JSON object; empty if it is not one.
    pub(super) fn json(&self) -> Map<String, Value> {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Status, error and description; never a token.
    pub(super) fn in_short(&self) -> String {
        format!("{} {} {}", self.status, self.text("error"), self.text("error_description")).trim_end().to_owned()
    }

    /// A text member of the JSON body; empty if absent.
    pub(super) fn text(&self, member: &str) -> String {
        self.json().get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

/// What a request carries to prove something.
#[derive(Debug, Clone, Copy)]
pub(super) enum Credentials<'a> {
    Nothing,
    /// `client_id` and secret, form-encoded as RFC 6749 §2.3.1 asks.
    Basic(&'a str, &'a str),
    Bearer(&'a str),
}

impl Http {
    pub(super) fn new() -> Result<Self, DemoFailure> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(20))
            .build()
            .map_err(|problem| DemoFailure(format!("no HTTP client: {problem}")))?;
        Ok(Self { client })
    }

    pub(super) async fn get(&self, url: &str, credentials: Credentials<'_>) -> Result<Answer, DemoFailure> {
        self.get_with(url, credentials, &[]).await
    }

    /// A GET with further headers.
    pub(super) async fn get_with(
        &self,
        url: &str,
        credentials: Credentials<'_>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, DemoFailure> {
        let request = headers.iter().fold(self.client.get(url), |request, (name, value)| request.header(*name, *value));
        send(url, request, credentials).await
    }

    /// A POST of a form, as OAuth sends it.
    pub(super) async fn post(
        &self,
        url: &str,
        credentials: Credentials<'_>,
        form: &[(&str, &str)],
    ) -> Result<Answer, DemoFailure> {
        let request = self.client.post(url).header("content-type", "application/x-www-form-urlencoded");
        send(url, request.body(encode(form)), credentials).await
    }
}

async fn send(
    url: &str,
    request: reqwest::RequestBuilder,
    credentials: Credentials<'_>,
) -> Result<Answer, DemoFailure> {
    let request = match credentials {
        Credentials::Nothing => request,
        Credentials::Basic(id, secret) => request.basic_auth(encode_value(id), Some(encode_value(secret))),
        Credentials::Bearer(token) => request.bearer_auth(token),
    };
    let failed = |problem: reqwest::Error| DemoFailure(format!("{url} does not answer: {problem}"));
    let response = request.send().await.map_err(failed)?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (location, challenge, request_id) = (header("location"), header("www-authenticate"), header("x-request-id"));
    let status = response.status().as_u16();
    Ok(Answer { status, location, challenge, request_id, body: response.text().await.map_err(failed)? })
}

/// `a=1&b=2`, form-encoded.
pub(super) fn encode(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

fn encode_value(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The value of a form or query parameter that is there exactly once.
pub(super) fn parameter(encoded: &str, name: &str) -> Option<String> {
    let mut values = url::form_urlencoded::parse(encoded.as_bytes()).filter(|(key, _)| key == name);
    let value = values.next()?.1.into_owned();
    values.next().is_none().then_some(value)
}

/// Text that may stand in HTML, between tags and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Enough to read the demo's pages by day and by night, on a desk and on a phone.
const STYLE: &str = ":root { color-scheme: light dark } \
    body { margin: 0; background: #fff; color: #16202c; font: 1rem/1.5 system-ui, sans-serif } \
    main { max-width: 40rem; margin: 0 auto; padding: 1rem } \
    a { color: #0b57a8 } button { font: inherit; padding: .5rem 1rem } \
    pre { white-space: pre-wrap; overflow-wrap: anywhere } \
    @media (prefers-color-scheme: dark) { body { background: #10151b; color: #e7ecf1 } a { color: #8cc1ff } }";

/// A page of the demo, marked as such.
pub(super) fn page(title: &str, body: &str) -> axum::response::Response {
    use axum::response::IntoResponse;
    let title = escape(title);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><link rel=\"icon\" href=\"data:,\">\
         <style>{STYLE}</style></head>\n<body><main>\
         <p><strong>Demo, not for production.</strong></p>\n<h1>{title}</h1>\n{body}\n</main></body></html>\n"
    );
    let headers = [
        ("cache-control", "no-store"),
        // A page of the demo loads nothing, runs nothing, and cannot be framed.
        (
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
        ),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ];
    (headers, axum::response::Html(html)).into_response()
}

/// Binds a loopback address, and nothing else.
pub(super) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), DemoFailure> {
    if !address.ip().is_loopback() {
        return Err(DemoFailure(format!("{address} is not a loopback address")));
    }
    let failed = |problem: std::io::Error| DemoFailure(format!("cannot listen on {address}: {problem}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Serves until `ended`.
pub(super) fn serve(listener: TcpListener, router: Router, ended: &CancellationToken) -> tokio::task::JoinHandle<()> {
    let ended = ended.clone().cancelled_owned();
    tokio::spawn(async move {
        let _ = axum::serve(listener, router).with_graceful_shutdown(ended).await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_is_repeated_has_no_value() {
        assert_eq!(parameter("code=a%20b&state=c", "code").as_deref(), Some("a b"));
        assert_eq!(parameter("code=a&code=b", "code"), None);
        assert_eq!(parameter("state=c", "code"), None);
    }

    #[test]
    fn text_cannot_leave_its_place_in_a_page() {
        assert_eq!(escape(r#"<a href="x">'&"#), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }

    #[tokio::test]
    async fn an_address_that_others_can_reach_is_not_listened_on() {
        let refused = listen("0.0.0.0:0".parse().unwrap()).await.unwrap_err();
        assert_eq!(refused.0, "0.0.0.0:0 is not a loopback address");
    }
}
