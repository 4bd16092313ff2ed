//! Fetches a JSON document from an address that somebody else chose, without being turned against our own network.

use super::addresses::{Place, place};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AGE, CACHE_CONTROL, CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use url::{Host, Url};

/// A fetched document.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its bytes, within the size limit.
    pub body: Vec<u8>,
    /// `max-age` of its `Cache-Control` less its `Age`, if there is one; zero if it may not be kept.
    pub max_age: Option<Duration>,
    /// True if it was said to be JSON; see [`Fetcher::get_json`].
    pub says_json: bool,
    /// What the other side's clock said (`Date`), Unix seconds.
    pub answered_at: Option<i64>,
}

/// The answer to a form.
#[derive(Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its bytes, within the size limit. They may hold tokens, so they are never printed.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why a document could not be had. Never holds any of its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Not from there, however often it is tried: the address is not a public one, or it leads on to another.
    #[error("{0}")]
    NotAllowed(String),
    /// It did not work this time.
    #[error("{0}")]
    Failed(String),
}

/// How names become addresses, where not by the system: tests play an attacker's name server.
pub type Names = Arc<dyn Fn(&str) -> Vec<SocketAddr> + Send + Sync>;

/// Fetches documents. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
}

struct Inner {
    timeout: Duration,
    max_bytes: usize,
    names: Option<Names>,
    /// Made at the first use, since reading the system's CA certificates takes its time. Two, because what a resolver
    /// may answer, and what a kept-alive connection may lead to, differ.
    public_only: OnceLock<Result<reqwest::Client, FetchError>>,
    private_too: OnceLock<Result<reqwest::Client, FetchError>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("timeout", &self.timeout)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

impl Fetcher {
    /// A fetcher that gives up on a document after `timeout`, and past `max_bytes`.
    pub fn new(timeout: Duration, max_bytes: usize) -> Self {
        Self::by(None, timeout, max_bytes)
    }

    /// As [`Fetcher::new`], with names that are looked up so.
    pub fn with_names(names: Names, timeout: Duration, max_bytes: usize) -> Self {
        Self::by(Some(names), timeout, max_bytes)
    }

    fn by(names: Option<Names>, timeout: Duration, max_bytes: usize) -> Self {
        let (public_only, private_too) = (OnceLock::new(), OnceLock::new());
        Self { inner: Arc::new(Inner { timeout, max_bytes, names, public_only, private_too }) }
    }

    /// GETs a JSON document. Only status 200 counts and redirects are not followed. `https` only, to public addresses
    /// only, unless `allow_private` (then also loopback and private networks, and `http` on loopback).
    ///
    /// A host name is resolved once, every answer is checked, and only a checked address is connected to, so that a
    /// second answer cannot lead elsewhere. No proxy is used: it would resolve names by itself.
    ///
    /// # Errors
    /// [`FetchError`] in words, with the URL.
    pub async fn get_json(&self, url: &Url, allow_private: bool) -> Result<Document, FetchError> {
        check_url(url, allow_private)?;
        let client = self.client(allow_private)?;
        let fetched = tokio::time::timeout(self.inner.timeout, self.get(&client, url)).await;
        let seconds = self.inner.timeout.as_secs_f32();
        fetched.map_err(|_| FetchError::Failed(format!("{url} did not answer within {seconds} seconds")))?
    }

    fn client(&self, allow_private: bool) -> Result<reqwest::Client, FetchError> {
        let cell = if allow_private { &self.inner.private_too } else { &self.inner.public_only };
        cell.get_or_init(|| build_client(allow_private, self.inner.names.as_ref())).clone()
    }

    /// POSTs a form, under the same rules, and gives the answer whatever its status: a token endpoint says in JSON why it
    /// refuses. The body is a secret, and so is that of the answer.
    ///
    /// # Errors
    /// [`FetchError`] in words, with the URL.
    pub async fn post_form(
        &self,
        url: &Url,
        headers: HeaderMap,
        form: Vec<u8>,
        allow_private: bool,
    ) -> Result<Answer, FetchError> {
        check_url(url, allow_private)?;
        let client = self.client(allow_private)?;
        let request = client.post(url.clone()).headers(headers).body(form);
        let answered = tokio::time::timeout(self.inner.timeout, async {
            let mut response = request.send().await.map_err(|problem| failed(url, &problem))?;
            let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
            Ok(Answer { status, headers, body: self.body(url, response).await? })
        });
        let seconds = self.inner.timeout.as_secs_f32();
        answered.await.map_err(|_| FetchError::Failed(format!("{url} did not answer within {seconds} seconds")))?
    }

    /// POSTs a JSON document to an address that the operator chose: `https`, or `http` on loopback. The answer is read and
    /// forgotten.
    ///
    /// # Errors
    /// [`FetchError`] in words, with the URL: also if the status is not one of success.
    pub async fn post_json(&self, url: &Url, body: Vec<u8>) -> Result<(), FetchError> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let Answer { status, .. } = self.post_form(url, headers, body, true).await?;
        if (200..300).contains(&status) {
            return Ok(());
        }
        Err(FetchError::Failed(format!("{url} answered with status {status}")))
    }

    async fn get(&self, client: &reqwest::Client, url: &Url) -> Result<Document, FetchError> {
        let request = client.get(url.clone()).header(ACCEPT, "application/json, application/jwk-set+json");
        let response = request.send().await.map_err(|problem| failed(url, &problem))?;
        if response.status() != reqwest::StatusCode::OK {
            let told = format!("{url} answered with status {}", response.status().as_u16());
            let leads_on = response.status().is_redirection();
            return Err(if leads_on { FetchError::NotAllowed(told) } else { FetchError::Failed(told) });
        }
        check_content_type(url, response.headers())?;
        let says_json = response.headers().contains_key(CONTENT_TYPE);
        let (max_age, answered_at) = (max_age(response.headers()), date(response.headers()));
        Ok(Document { body: self.body(url, response).await?, max_age, says_json, answered_at })
    }

    /// What arrives is counted; a Content-Length would only be a promise.
    async fn body(&self, url: &Url, mut response: reqwest::Response) -> Result<Vec<u8>, FetchError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|problem| failed(url, &problem))? {
            if body.len().saturating_add(chunk.len()) > self.inner.max_bytes {
                return Err(FetchError::Failed(format!("{url} is larger than {} bytes", self.inner.max_bytes)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn failed(url: &Url, problem: &reqwest::Error) -> FetchError {
    let cause = innermost(problem);
    let told = format!("{url} cannot be fetched: {cause}");
    match cause.downcast_ref::<FetchError>() {
        Some(FetchError::NotAllowed(_)) => FetchError::NotAllowed(told),
        Some(FetchError::Failed(_)) | None => FetchError::Failed(told),
    }
}

/// The system's CA certificates are trusted, so that a company's own CA works; those of Mozilla if it has none.
fn build_client(allow_private: bool, names: Option<&Names>) -> Result<reqwest::Client, FetchError> {
    let builder = || {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("procura/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(CheckedResolver { allow_private, names: names.cloned() })
    };
    builder().build().or_else(|_| builder().tls_backend_preconfigured(mozilla_roots()?).build().map_err(unusable))
}

fn mozilla_roots() -> Result<rustls::ClientConfig, FetchError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(unusable)?.with_root_certificates(roots).with_no_client_auth())
}

fn unusable(problem: impl std::fmt::Display) -> FetchError {
    FetchError::Failed(format!("documents cannot be fetched: {problem}"))
}

/// Everything about a URL that can be told without asking anybody: whether [`Fetcher::get_json`] would try. Hosts in
/// decimal, octal or hexadecimal form were turned into addresses by the URL parser.
///
/// # Errors
/// [`FetchError`] in words, with the URL.
pub fn check_url(url: &Url, allow_private: bool) -> Result<(), FetchError> {
    let refused = |why: &str| Err(FetchError::NotAllowed(format!("{} is not fetched: {why}", without_user(url))));
    if !url.username().is_empty() || url.password().is_some() {
        return refused("it holds a user name or password");
    }
    // No name of the public Internet is without a dot; those of a network of our own are.
    if !allow_private && matches!(url.host(), Some(Host::Domain(name)) if !name.trim_end_matches('.').contains('.')) {
        return refused("its host is not a name of the public Internet");
    }
    let (address, is_loopback) = match url.host() {
        None => return refused("it has no host"),
        Some(Host::Domain(name)) => (None, name == "localhost"),
        Some(Host::Ipv4(address)) => (Some(IpAddr::V4(address)), address.is_loopback()),
        Some(Host::Ipv6(address)) => (Some(IpAddr::V6(address)), address.is_loopback()),
    };
    match url.scheme() {
        "https" => {}
        "http" if allow_private && is_loopback => {}
        "http" if allow_private => return refused("http is for loopback only"),
        _ => return refused("it is not https"),
    }
    // The name of this machine needs no resolver to be known (RFC 6761 §6.3).
    let is_here = is_loopback || url.host_str().is_some_and(|name| name.ends_with(".localhost"));
    if (is_here && !allow_private) || address.is_some_and(|address| !place(address).is_allowed(allow_private)) {
        return refused("its address is not a public one");
    }
    Ok(())
}

fn without_user(url: &Url) -> Url {
    let mut url = url.clone();
    // Fails only for URLs that cannot have a user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

/// JSON in one of its media types. A document without Content-Type passes: what counts is whether it parses, and some
/// file servers send none; HTML error pages and the like always say what they are.
fn check_content_type(url: &Url, headers: &HeaderMap) -> Result<(), FetchError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let media_type =
        value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = media_type == "application/json"
        || media_type.strip_prefix("application/").is_some_and(|subtype| subtype.ends_with("+json"));
    if is_json { Ok(()) } else { Err(FetchError::Failed(format!("{url} is not JSON by its Content-Type"))) }
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut max_age = None;
    for directive in directives.flat_map(|value| value.split(',')).map(|text| text.trim().to_ascii_lowercase()) {
        if directive == "no-store" || directive == "no-cache" {
            return Some(Duration::ZERO);
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            max_age = seconds.trim_matches('"').parse().ok();
        }
    }
    let age: u64 = headers.get(AGE).and_then(|value| value.to_str().ok()?.trim().parse().ok()).unwrap_or(0);
    max_age.map(|seconds: u64| Duration::from_secs(seconds.saturating_sub(age)))
}

fn date(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(DATE)?.to_str().ok()?;
    OffsetDateTime::parse(text, &Rfc2822).ok().map(OffsetDateTime::unix_timestamp)
}

/// The cause that says what happened: the outer ones only say that a request failed.
fn innermost(error: &reqwest::Error) -> &(dyn Error + 'static) {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

/// Resolves by the system, and lets nothing through unless every answer is allowed.
struct CheckedResolver {
    allow_private: bool,
    names: Option<Names>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (allow_private, names) = (self.allow_private, self.names.clone());
        Box::pin(async move {
            let found: Vec<SocketAddr> = match names {
                Some(names) => names(name.as_str()),
                None => tokio::net::lookup_host((name.as_str(), 0)).await?.collect(),
            };
            Ok(checked(name.as_str(), found, allow_private)?)
        })
    }
}

fn checked(name: &str, found: Vec<SocketAddr>, allow_private: bool) -> Result<Addrs, FetchError> {
    let places = || found.iter().map(|address| place(address.ip()));
    if found.is_empty() {
        return Err(FetchError::Failed(format!("{name} has no address")));
    }
    if !places().all(|place| place.is_allowed(allow_private)) {
        return Err(FetchError::NotAllowed(format!("{name} has an address that is not a public one")));
    }
    // http is let through for this name alone, so it must be this machine (RFC 6761 §6.3).
    if name == "localhost" && !places().all(|place| place == Place::Loopback) {
        return Err(FetchError::NotAllowed("localhost is not this machine".to_owned()));
    }
    Ok(Box::new(found.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, allow_private: bool) -> Result<(), FetchError> {
        check_url(&Url::parse(url).unwrap(), allow_private)
    }

    #[test]
    fn only_https_to_public_hosts_is_fetched() {
        assert!(check("https://idp.example.com/jwks", false).is_ok());
        for url in [
            "http://idp.example.com/",
            "ftp://idp.example.com/",
            "file:///etc/passwd",
            "https://user@idp.example.com/",
            "https://u:p@idp.example.com/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://169.254.169.254/",
            "https://10.0.0.1/",
            "http://localhost/",
            "https://localhost/",
            "https://x.localhost/",
            "https://intranet/",
            "https://intranet./",
            "data:application/json,{}",
        ] {
            assert!(check(url, false).is_err(), "{url}");
        }
    }

    #[test]
    fn private_addresses_are_fetched_only_where_allowed_and_http_only_on_loopback() {
        for url in
            ["https://10.0.0.1/", "https://127.0.0.1/", "http://127.0.0.1:9/", "http://[::1]:9/", "http://localhost/"]
        {
            assert!(check(url, true).is_ok(), "{url}");
        }
        for url in
            ["http://10.0.0.1/", "http://idp.example.com/", "https://169.254.169.254/", "https://user@127.0.0.1/"]
        {
            assert!(check(url, true).is_err(), "{url}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        assert!(!check("https://user:hunter2@a.example/", false).unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn one_forbidden_answer_among_many_refuses_the_name() {
        let answers = |texts: &[&str]| texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect();
        assert!(checked("a.example", answers(&["1.1.1.1", "2606:4700::1"]), false).is_ok());
        assert!(checked("a.example", answers(&["1.1.1.1", "127.0.0.1"]), false).is_err());
        assert!(checked("a.example", answers(&["1.1.1.1", "127.0.0.1"]), true).is_ok());
        assert!(checked("a.example", answers(&["169.254.169.254"]), true).is_err());
        assert!(checked("localhost", answers(&["1.1.1.1"]), true).is_err());
        assert!(checked("a.example", Vec::new(), false).is_err());
    }

    #[test]
    fn the_age_of_a_document_counts() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            max_age(&headers)
        };
        assert_eq!(headers(&[]), None);
        assert_eq!(headers(&[("cache-control", "public, Max-Age=600")]), Some(Duration::from_mins(10)));
        assert_eq!(headers(&[("cache-control", "max-age=600"), ("age", "100")]), Some(Duration::from_secs(500)));
        assert_eq!(headers(&[("cache-control", "max-age=600, no-store")]), Some(Duration::ZERO));
        assert_eq!(headers(&[("cache-control", "max-age=soon")]), None);
    }

    #[test]
    fn json_is_known_by_its_media_type() {
        let accepts = |value: &'static str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
            check_content_type(&Url::parse("https://a.example").unwrap(), &headers).is_ok()
        };
        for value in ["application/json", "Application/JSON; charset=utf-8", "application/jwk-set+json"] {
            assert!(accepts(value), "{value}");
        }
        for value in ["text/html", "text/json", "application/jsonp", "image/svg+json", ""] {
            assert!(!accepts(value), "{value}");
        }
        assert!(check_content_type(&Url::parse("https://a.example").unwrap(), &HeaderMap::new()).is_ok());
    }
}
