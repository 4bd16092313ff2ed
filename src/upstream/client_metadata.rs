//! Documents by which clients are known under their own domain (Client ID Metadata Documents; rules CM-01 to CM-09):
//! which URLs there can be one under, and fetching it.

use super::fetch::{FetchError, Fetcher, check_url};
use crate::config::is_loopback;
use moka::future::Cache;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::{Host, Url};

/// A user waits for it, so little time and few bytes (rule CM-08).
const AT_MOST: Duration = Duration::from_secs(3);
const MOST_BYTES: usize = 10 * 1024;
/// Fetches at once.
const FETCHES: usize = 16;
/// For so long what came of a fetch stands, good or bad: nobody can have us hammer a server (rule CM-09 lets no error be
/// kept as a document; this keeps it as an error, for a moment).
const ATTEMPT_STANDS_SECONDS: i64 = 5;
/// The most attempts that are remembered.
const ATTEMPTS: u64 = 1000;
/// What a document may say of how long it is good, in seconds (rule CM-09), and what counts if it does not.
const FRESH_SECONDS: (i64, i64) = (5 * 60, 24 * 3600);
const DEFAULT_FRESH_SECONDS: i64 = 3600;

/// A document as it was fetched; nothing in it has been looked at.
#[derive(Debug, Clone)]
pub struct ClientDocument {
    /// Its bytes.
    pub body: Vec<u8>,
    /// For how many seconds it need not be fetched again.
    pub fresh_seconds: i64,
}

type Attempt = Result<Arc<ClientDocument>, FetchError>;

/// Fetches documents.
#[derive(Debug)]
pub struct ClientDocuments {
    fetcher: Fetcher,
    slots: Semaphore,
    /// By URL and the time of the attempt. What is asked for meanwhile waits for the one fetch.
    attempts: Cache<(String, i64), Attempt>,
}

impl Default for ClientDocuments {
    fn default() -> Self {
        let attempts = Cache::builder().max_capacity(ATTEMPTS).time_to_live(Duration::from_secs(5)).build();
        Self { fetcher: Fetcher::new(AT_MOST, MOST_BYTES), slots: Semaphore::new(FETCHES), attempts }
    }
}

impl ClientDocuments {
    /// The document under a URL of [`document_url`]. With `allow_loopback`, which such a URL must have been checked with
    /// too, also from this machine.
    ///
    /// # Errors
    /// In words, without anything of the document: after three seconds at the latest.
    pub async fn fetch(&self, url: &Url, allow_loopback: bool, now: i64) -> Result<Arc<ClientDocument>, FetchError> {
        let key = (url.as_str().to_owned(), now.div_euclid(ATTEMPT_STANDS_SECONDS));
        self.attempts.get_with(key, self.attempt(url, allow_loopback && is_loopback(url))).await
    }

    async fn attempt(&self, url: &Url, allow_private: bool) -> Attempt {
        let fetched = timeout(AT_MOST, async {
            let _slot = self
                .slots
                .acquire()
                .await
                .map_err(|_| FetchError::Failed("no more documents are fetched".to_owned()))?;
            self.fetcher.get_json(url, allow_private).await
        });
        let document =
            fetched.await.map_err(|_| FetchError::Failed(format!("{url} could not be fetched within 3 seconds")))??;
        if !document.says_json {
            return Err(FetchError::Failed(format!("{url} is not JSON by its Content-Type")));
        }
        let said = document.max_age.map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        let fresh_seconds = said.unwrap_or(DEFAULT_FRESH_SECONDS).clamp(FRESH_SECONDS.0, FRESH_SECONDS.1);
        Ok(Arc::new(ClientDocument { body: document.body, fresh_seconds }))
    }
}

/// The URL of a document, if the client id can be one: `https` on its usual port, a DNS name, a path, and one spelling,
/// without query, fragment, user and dot segments (rule CM-01). With `allow_loopback`, which is for a server that itself
/// is on loopback, also `http` or `https` on this machine, on any port.
///
/// # Errors
/// In words that follow the id.
pub fn document_url(client_id: &str, allow_loopback: bool) -> Result<Url, &'static str> {
    let url = Url::parse(client_id).map_err(|_| "is not a URL")?;
    // What the parser would write in another way is not compared byte for byte by everybody who compares.
    if url.as_str() != client_id {
        return Err("is not written as a URL parser writes it");
    }
    if url.fragment().is_some() {
        return Err("has a fragment");
    }
    if url.query().is_some() {
        return Err("has a query");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password");
    }
    let path = url.path().to_ascii_lowercase();
    if ["%2f", "%5c", "%2e", "%00"].iter().any(|code| path.contains(code)) {
        return Err("has an encoded slash or dot in its path");
    }
    if allow_loopback && matches!(url.scheme(), "http" | "https") && is_loopback(&url) {
        return Ok(url);
    }
    if url.scheme() != "https" {
        return Err("is not https");
    }
    if url.port().is_some() {
        return Err("names a port");
    }
    match url.host() {
        Some(Host::Domain(name)) if name.contains('.') && !name.ends_with('.') && !name.ends_with(".localhost") => {}
        Some(Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_)) | None => return Err("has no DNS name as its host"),
    }
    check_url(&url, false).map_err(|_| "is not fetched from")?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_one_spelling_of_a_public_https_url() {
        for good in [
            "https://claude.ai/oauth/mcp-oauth-client-metadata",
            "https://chatgpt.com/oauth/conn_1/client.json",
            "https://client.example/",
        ] {
            assert_eq!(document_url(good, false).map(String::from), Ok(good.to_owned()));
        }
        for bad in [
            "https://client.example",
            "http://client.example/c",
            "https://Client.example/c",
            "HTTPS://client.example/c",
            "https://client.example:443/c",
            "https://client.example:8443/c",
            "https://client.example/a/../c",
            "https://client.example/a/./c",
            "https://client.example/..%2fx",
            "https://client.example/a/%2e%2e/c",
            "https://client.example/a%5cb",
            "https://client.example\\c",
            "https://client.example/c#frag",
            "https://client.example/c#",
            "https://client.example/c?x=1",
            "https://client.example/c?",
            "https://user@client.example/c",
            "https://user:p@client.example/c",
            "https://localhost/c",
            "https://x.localhost/c",
            "https://intranet/c",
            "https://client.example./c",
            "https://127.0.0.1/c",
            "https://2130706433/c",
            "https://0x7f.0.0.1/c",
            "https://0177.0.0.1/c",
            "https://[::1]/c",
            "https://[::ffff:10.0.0.1]/c",
            "https://169.254.169.254/c",
            "ftp://client.example/c",
            "dcr_1",
            "",
        ] {
            assert!(document_url(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn this_machine_is_for_servers_on_this_machine() {
        for url in ["http://127.0.0.1:9000/c", "http://localhost:9000/c", "https://[::1]:9000/c"] {
            assert!(document_url(url, true).is_ok(), "{url}");
            assert!(document_url(url, false).is_err(), "{url}");
        }
        for url in ["http://client.example/c", "http://10.0.0.1/c", "https://10.0.0.1/c", "https://client.example:1/c"]
        {
            assert!(document_url(url, true).is_err(), "{url}");
        }
    }
}
