//! Setting up a verifier: what must be said, what may be, and what is refused before the first token comes.

use super::checks::{LONGEST_LIFE_SECONDS, OUR_ALGORITHMS};
use super::fetch::Fetch;
use super::jwk::KeySet;
use super::keys::{KeySource, Location};
use super::refusal::Challenges;
use super::signature;
use super::status::StatusSource;
use super::verifier::{Inner, Verifier};
use crate::clock::Clock;
use crate::domain::algorithm::VerificationAlgorithm;
use crate::domain::scope::Scope;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use url::{Host, Url};

/// What is wrong with a set-up, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SetupProblem(pub String);

/// How a verifier is to be; [`Verifier::builder`] begins it.
#[must_use = "a builder does nothing until build()"]
pub struct VerifierBuilder {
    issuer: String,
    audience: String,
    keys: Keys,
    fetch: Option<Arc<dyn Fetch>>,
    clock: Clock,
    algorithms: Vec<VerificationAlgorithm>,
    longest_life_seconds: i64,
    must_be_delegated: bool,
    required_status_age: Option<Duration>,
    realm: Option<String>,
    resource_metadata: Option<String>,
    scopes: Vec<String>,
}

/// Where the keys come from.
enum Keys {
    WellKnown,
    Metadata,
    Url(String),
    Fixed(String),
}

impl VerifierBuilder {
    pub(super) fn new(issuer: &str, audience: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            keys: Keys::WellKnown,
            fetch: None,
            clock: Clock::System,
            algorithms: OUR_ALGORITHMS.to_vec(),
            longest_life_seconds: LONGEST_LIFE_SECONDS,
            must_be_delegated: true,
            required_status_age: None,
            realm: None,
            resource_metadata: None,
            scopes: Vec::new(),
        }
    }

    /// Only these algorithms. By default all that Procura signs with; each key is good for the one that the issuer
    /// published it for.
    pub fn algorithms(mut self, algorithms: &[VerificationAlgorithm]) -> Self {
        self.algorithms = algorithms.to_vec();
        self
    }

    /// Keys from this URL, not from `<issuer>/.well-known/jwks.json`.
    pub fn jwks_url(mut self, url: &str) -> Self {
        self.keys = Keys::Url(url.to_owned());
        self
    }

    /// Keys from where the issuer's metadata says (RFC 8414).
    pub fn keys_from_metadata(mut self) -> Self {
        self.keys = Keys::Metadata;
        self
    }

    /// These keys (a JWKS as JSON), and no others, ever: for a backend that gets them in another way. Status lists are
    /// fetched nevertheless, if there is anything to fetch with.
    pub fn fixed_keys(mut self, jwks: &str) -> Self {
        self.keys = Keys::Fixed(jwks.to_owned());
        self
    }

    /// Another HTTP client, or none: whatever fetches.
    pub fn fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    /// Another clock than the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The longest life of a token, `exp` less `iat`: an hour by default, which is the longest that Procura gives. A
    /// backend that gets tokens of five minutes may say so.
    pub fn longest_life(mut self, life: Duration) -> Self {
        self.longest_life_seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        self
    }

    /// Lets in clients that speak for themselves: tokens without `act`, whose `sub` is the client (`client_credentials`).
    /// Then ask [`super::Caller::is_delegated`] before you take `user` for a person.
    pub fn accept_clients_own_tokens(mut self) -> Self {
        self.must_be_delegated = false;
        self
    }

    /// Refuses a token that names no status list, and any token if no list that the issuer signed within `max_age` can be
    /// had. By default the last known list counts, and without any the token is good until it ends. Give more than the
    /// list's `ttl`.
    pub fn require_status(mut self, max_age: Duration) -> Self {
        self.required_status_age = Some(max_age);
        self
    }

    /// The `realm` of challenges; the audience by default.
    pub fn realm(mut self, realm: &str) -> Self {
        self.realm = Some(realm.to_owned());
        self
    }

    /// The URL of this backend's protected-resource metadata (RFC 9728): with it, a client that has no token finds the
    /// way to one. MCP servers must have it.
    pub fn resource_metadata(mut self, url: &str) -> Self {
        self.resource_metadata = Some(url.to_owned());
        self
    }

    /// The scopes that a client without a token should ask for at first: some ask for nothing else than what the
    /// challenge names.
    pub fn challenge_scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self
    }

    /// The verifier. Nothing is fetched yet: see [`Verifier::prefetch`].
    ///
    /// # Errors
    /// What was said does not make a verifier, in words.
    pub fn build(self) -> Result<Verifier, SetupProblem> {
        let refused = |problem: String| Err(SetupProblem(problem));
        if let Err(problem) = check_url(&self.issuer) {
            return refused(format!("the issuer {:?} {problem}", self.issuer));
        }
        if self.issuer.ends_with('/') || self.issuer.contains(['?', '#']) {
            return refused(format!(
                "the issuer {:?} ends with a slash, or has a query: write it as its tokens do",
                self.issuer
            ));
        }
        if self.audience.is_empty() {
            return refused("the audience is empty: every token would be for somebody else".to_owned());
        }
        if self.algorithms.is_empty() {
            return refused("no algorithm is left: no token could be verified".to_owned());
        }
        if let Some(foreign) = self.algorithms.iter().find(|algorithm| !OUR_ALGORITHMS.contains(algorithm)) {
            return refused(format!("Procura does not sign with {}", foreign.as_str()));
        }
        if !(1..=LONGEST_LIFE_SECONDS).contains(&self.longest_life_seconds) {
            return refused(format!("the longest life is not between 1 and {LONGEST_LIFE_SECONDS} seconds"));
        }
        let challenges = Arc::new(self.challenges()?);
        let fetch = self.fetch.or_else(default_fetch);
        let keys = match (&self.keys, &fetch) {
            (Keys::Fixed(jwks), _) => {
                let jwks: Value = serde_json::from_str(jwks)
                    .map_err(|problem| SetupProblem(format!("the fixed keys are not JSON: {problem}")))?;
                let keys = KeySet::read_with(&jwks, &signature::by_ring).map_err(SetupProblem)?;
                if keys.is_empty() {
                    return refused(format!("none of the fixed keys can be used: {}", keys.skipped.join("; ")));
                }
                KeySource::fixed(keys)
            }
            (Keys::WellKnown | Keys::Metadata | Keys::Url(_), None) => {
                return refused(
                    "nothing can be fetched: give fetch(), or build with the feature verify-http".to_owned(),
                );
            }
            (Keys::WellKnown, Some(fetch)) => {
                let url = format!("{}/.well-known/jwks.json", self.issuer);
                KeySource::fetched(Location::Url(url), Arc::clone(fetch))
            }
            (Keys::Metadata, Some(fetch)) => {
                KeySource::fetched(Location::Metadata(self.issuer.clone()), Arc::clone(fetch))
            }
            (Keys::Url(url), Some(fetch)) => {
                check_url(url).map_err(|problem| SetupProblem(format!("the URL of the keys {problem}")))?;
                KeySource::fetched(Location::Url(url.clone()), Arc::clone(fetch))
            }
        };
        let keys = Arc::new(keys);
        let required = self.required_status_age.map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        let status = fetch.map(|fetch| Arc::new(StatusSource::new(&self.issuer, fetch, Arc::clone(&keys), required)));
        if status.is_none() && required.is_some() {
            return refused("status lists are required, and nothing can be fetched: give fetch()".to_owned());
        }
        Ok(Verifier::from(Inner {
            issuer: self.issuer,
            audience: self.audience,
            algorithms: self.algorithms,
            longest_life_seconds: self.longest_life_seconds,
            must_be_delegated: self.must_be_delegated,
            clock: self.clock,
            keys,
            status,
            challenges,
        }))
    }

    fn challenges(&self) -> Result<Challenges, SetupProblem> {
        let is_quotable =
            |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !matches!(byte, b'"' | b'\\'));
        let realm = self.realm.clone().unwrap_or_else(|| self.audience.clone());
        for (what, text) in [("realm", Some(&realm)), ("resource metadata URL", self.resource_metadata.as_ref())] {
            if text.is_some_and(|text| !is_quotable(text)) {
                return Err(SetupProblem(format!("the {what} has a character that cannot stand in a header")));
            }
        }
        if let Some(problem) = self.resource_metadata.as_deref().and_then(|url| check_url(url).err()) {
            return Err(SetupProblem(format!("the resource metadata URL {problem}")));
        }
        for scope in &self.scopes {
            scope.parse::<Scope>().map_err(|problem| SetupProblem(format!("{scope:?}: {problem}")))?;
        }
        let scopes = (!self.scopes.is_empty()).then(|| self.scopes.join(" "));
        Ok(Challenges { realm, resource_metadata: self.resource_metadata.clone(), scopes })
    }
}

#[cfg(feature = "verify-http")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature there is none")]
fn default_fetch() -> Option<Arc<dyn Fetch>> {
    Some(Arc::new(super::http_fetch::HttpFetch::new()))
}

#[cfg(not(feature = "verify-http"))]
fn default_fetch() -> Option<Arc<dyn Fetch>> {
    None
}

/// https, or http on loopback, without a user name in it.
pub(super) fn check_url(text: &str) -> Result<(), &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("has no host"),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user name in it");
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        _ => Err("is not https, nor http on loopback"),
    }
}
