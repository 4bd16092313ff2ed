//! The ready-made [`Fetch`], by reqwest: no redirects, no proxy, bounded bodies.

use super::fetch::{Document, Fetch, FetchProblem, FetchRequest, Fetched, Fetching};
use reqwest::header::{ACCEPT, AGE, CACHE_CONTROL, ETAG, HeaderMap, HeaderName, IF_NONE_MATCH};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long a connection may take; the whole fetch is bounded by the verifier.
const CONNECT_SECONDS: u64 = 3;

/// Fetches by HTTP/1.1 over rustls, with the system's certificates, or Mozilla's where it has none.
#[derive(Debug, Default)]
pub struct HttpFetch {
    /// Made at the first use, since reading the system's certificates takes its time.
    client: OnceLock<Result<reqwest::Client, FetchProblem>>,
}

impl HttpFetch {
    /// One that has no connection yet.
    pub fn new() -> Self {
        Self::default()
    }

    async fn fetch(&self, request: FetchRequest<'_>) -> Result<Fetched, FetchProblem> {
        let client = self.client.get_or_init(client).as_ref().map_err(FetchProblem::clone)?;
        let mut get = client.get(request.url).header(ACCEPT, request.accept);
        if let Some(etag) = request.if_none_match {
            get = get.header(IF_NONE_MATCH, etag);
        }
        let failed = |problem: reqwest::Error| FetchProblem(format!("{}: {}", request.url, problem.without_url()));
        let mut response = get.send().await.map_err(failed)?;
        match response.status().as_u16() {
            200 => {}
            304 => return Ok(Fetched::NotModified),
            status => return Err(FetchProblem(format!("{} answered {status}", request.url))),
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len().saturating_add(piece.len()) > request.max_bytes {
                return Err(FetchProblem(format!("{} is larger than {} bytes", request.url, request.max_bytes)));
            }
            body.extend_from_slice(&piece);
        }
        let headers = response.headers();
        let etag = text(headers, ETAG).map(str::to_owned);
        Ok(Fetched::Document(Document { body, etag, max_age: max_age(headers) }))
    }
}

impl Fetch for HttpFetch {
    fn get<'a>(&'a self, request: FetchRequest<'a>) -> Fetching<'a> {
        Box::pin(self.fetch(request))
    }
}

/// The provider is the program's, if it chose one: it need not, and ours is never made everybody's.
fn client() -> Result<reqwest::Client, FetchProblem> {
    let unusable = |problem: &dyn std::fmt::Display| FetchProblem(format!("nothing can be fetched: {problem}"));
    let chosen = rustls::crypto::CryptoProvider::get_default().cloned();
    let provider = chosen.unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
    let tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|problem| unusable(&problem))?;
    let tls = match rustls_platform_verifier::Verifier::new(provider) {
        Ok(verifier) => tls.dangerous().with_custom_certificate_verifier(Arc::new(verifier)),
        // A small image has no certificates.
        Err(_) => tls.with_root_certificates(rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }),
    };
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(Duration::from_secs(CONNECT_SECONDS))
        .user_agent(concat!("procura-verify/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls.with_no_client_auth())
        .build()
        .map_err(|problem| unusable(&problem))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Seconds for which the answer may be kept: zero with `no-store` or `no-cache`, none if nothing is said.
fn max_age(headers: &HeaderMap) -> Option<u64> {
    let directives = text(headers, CACHE_CONTROL)?.to_ascii_lowercase();
    let mut directives = directives.split(',').map(str::trim);
    if directives.clone().any(|directive| matches!(directive, "no-store" | "no-cache")) {
        return Some(0);
    }
    let seconds: u64 =
        directives.find_map(|directive| directive.strip_prefix("max-age=")?.trim_matches('"').parse().ok())?;
    let age = text(headers, AGE).and_then(|age| age.parse().ok()).unwrap_or(0);
    Some(seconds.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(HeaderName, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn an_answer_is_as_old_as_the_caches_on_its_way_say() {
        assert_eq!(max_age(&headers(&[])), None);
        assert_eq!(max_age(&headers(&[(CACHE_CONTROL, "public")])), None);
        assert_eq!(max_age(&headers(&[(CACHE_CONTROL, "public, Max-Age=300")])), Some(300));
        assert_eq!(max_age(&headers(&[(CACHE_CONTROL, "max-age=300"), (AGE, "100")])), Some(200));
        assert_eq!(max_age(&headers(&[(CACHE_CONTROL, "max-age=300"), (AGE, "301")])), Some(0));
        assert_eq!(max_age(&headers(&[(CACHE_CONTROL, "max-age=300, no-cache")])), Some(0));
    }
}
