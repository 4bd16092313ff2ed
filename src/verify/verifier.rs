//! The verifier: one token, step by step as STANDARDS 8.4 has them.

use super::caller::Caller;
use super::checks::{Checks, Rules, check_claims, check_signature, read};
use super::claims::Claims;
use super::jwk::Found;
use super::keys::KeySource;
use super::refusal::{Challenges, Reason, Refused};
use super::setup::VerifierBuilder;
use super::status::{Standing, StatusSource};
use crate::clock::Clock;
use crate::domain::algorithm::VerificationAlgorithm;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::fmt;
use std::sync::Arc;

/// Verifies access tokens of one issuer for one backend. Cheap to clone; the clones share keys and lists.
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) algorithms: Vec<VerificationAlgorithm>,
    pub(super) longest_life_seconds: i64,
    pub(super) must_be_delegated: bool,
    pub(super) clock: Clock,
    pub(super) keys: Arc<KeySource>,
    /// None if nothing can be fetched.
    pub(super) status: Option<Arc<StatusSource>>,
    pub(super) challenges: Arc<Challenges>,
}

impl From<Inner> for Verifier {
    fn from(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("issuer", &self.inner.issuer)
            .field("audience", &self.inner.audience)
            .finish_non_exhaustive()
    }
}

/// How a verifier stands, for a health check or metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// When the keys were last fetched, Unix seconds; none if never.
    pub keys_fetched_at: Option<i64>,
    /// Why the last attempt to fetch them failed; none if it did not.
    pub keys_problem: Option<String>,
    /// The status lists that tokens named.
    pub status_lists: Vec<StatusListHealth>,
}

/// How one status list stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusListHealth {
    /// Its address.
    pub uri: String,
    /// When the issuer signed the list at hand, Unix seconds; none if there is none.
    pub issued_at: Option<i64>,
    /// Why the last attempt to fetch it failed; none if it did not.
    pub problem: Option<String>,
}

impl Verifier {
    /// Begins a verifier of tokens that `issuer` made for `audience`, this backend. Both are compared byte for byte, and
    /// neither can be left out.
    pub fn builder(issuer: &str, audience: &str) -> VerifierBuilder {
        VerifierBuilder::new(issuer, audience)
    }

    /// Fetches the issuer's keys, so that the first token need not wait for them. Call it when the backend starts; if it
    /// fails, the backend can start nevertheless: tokens are answered 503 until the keys can be had.
    ///
    /// # Errors
    /// Why there are no keys, in words.
    pub async fn prefetch(&self) -> Result<(), String> {
        self.inner.keys.prefetch(self.inner.clock.now()).await.map_err(|problem| problem.0)
    }

    /// How it stands.
    pub fn health(&self) -> Health {
        let (keys_fetched_at, keys_problem) = self.inner.keys.health();
        let lists = self.inner.status.as_ref().map(|status| status.health()).unwrap_or_default();
        let of_list = |(uri, issued_at, problem)| StatusListHealth { uri, issued_at, problem };
        Health { keys_fetched_at, keys_problem, status_lists: lists.into_iter().map(of_list).collect() }
    }

    /// The caller of a request, by its `Authorization` header and by nothing else. `query` is the query of its URL, in
    /// which a token is refused (RFC 6750 section 2.3 is not for us).
    ///
    /// # Errors
    /// Why it is not served, with the right answer.
    pub async fn authenticate(&self, headers: &HeaderMap, query: Option<&str>) -> Result<Caller, Refused> {
        self.verify(self.token_of(headers, query)?).await
    }

    /// The one token of a request, not verified.
    pub(super) fn token_of<'a>(&self, headers: &'a HeaderMap, query: Option<&str>) -> Result<&'a str, Refused> {
        bearer(headers, query).map_err(|reason| self.refused(reason))
    }

    /// The caller by a token, without the scheme `Bearer`.
    ///
    /// # Errors
    /// Why it is not served, with the right answer.
    pub async fn verify(&self, token: &str) -> Result<Caller, Refused> {
        self.check(token).await.map_err(|reason| self.refused(reason))
    }

    /// The steps of STANDARDS 8.4: 2 form, `typ` and `alg`; 3 the key; 4 the signature; 5 to 7 the claims; 8 the status.
    async fn check(&self, token: &str) -> Result<Caller, Reason> {
        let Inner { keys, status, challenges, .. } = &*self.inner;
        let now = self.inner.clock.now();
        let rules = self.rules();
        let mut checks = Checks::telling_failures();
        let read = read(token, &rules, &mut checks);
        let (Some((token, Some(algorithm))), None) = (read, checks.first_failure()) else {
            return Err(failed(&checks));
        };
        let found = match token.kid() {
            Some(kid) => keys.find(kid, algorithm, now).await.map_err(|problem| Reason::Unavailable(problem.0))?,
            None => Found::Nothing,
        };
        check_signature(&token, &found, &mut checks);
        if checks.first_failure().is_some() {
            return Err(failed(&checks));
        }
        check_claims(Claims(&token.claims), &rules, now, &mut checks);
        if checks.first_failure().is_some() {
            return Err(failed(&checks));
        }
        let unreadable = |detail| Reason::InvalidToken { check: "form", detail };
        let (caller, reference) = Caller::read(token.claims, challenges, now).map_err(unreadable)?;
        let Some(status) = status else { return Ok(caller) };
        if let Some(reference) = reference {
            match status.standing(&reference, now).await {
                Standing::Good => {}
                Standing::Refused(why) => {
                    return Err(Reason::InvalidToken { check: "status", detail: why.to_owned() });
                }
                Standing::Unknown(problem) => return Err(Reason::Unavailable(problem)),
            }
        } else if status.is_required() {
            let detail = "it names no status list: does the backend have status_list = true in the registry?";
            return Err(Reason::InvalidToken { check: "status", detail: detail.to_owned() });
        }
        Ok(caller)
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            issuer: Some(&self.inner.issuer),
            audience: Some(&self.inner.audience),
            algorithms: &self.inner.algorithms,
            longest_life_seconds: self.inner.longest_life_seconds,
            must_be_delegated: self.inner.must_be_delegated,
        }
    }

    fn refused(&self, reason: Reason) -> Refused {
        Refused::new(reason, &self.inner.challenges)
    }
}

fn failed(checks: &Checks) -> Reason {
    // What could not be read has said so.
    let (check, detail) =
        checks.first_failure().map_or(("form", String::new()), |check| (check.name, check.detail.clone()));
    Reason::InvalidToken { check, detail }
}

/// The one token of a request.
fn bearer<'a>(headers: &'a HeaderMap, query: Option<&str>) -> Result<&'a str, Reason> {
    let in_query = query.is_some_and(|query| {
        url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name.eq_ignore_ascii_case("access_token"))
    });
    if in_query {
        return Err(Reason::Malformed("Send the token in the Authorization header, not in the URL."));
    }
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let value = match (sent.next(), sent.next()) {
        (None, _) => return Err(Reason::NoToken),
        (Some(_), Some(_)) => return Err(Reason::Malformed("Send one Authorization header.")),
        (Some(value), None) => {
            value.to_str().map_err(|_| Reason::Malformed("The Authorization header is not text."))?
        }
    };
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        // Another scheme is none of ours: the challenge says which one is.
        return Err(Reason::NoToken);
    }
    if token.is_empty() || token.contains([' ', ',', '\t']) {
        return Err(Reason::Malformed("The Authorization header is not Bearer and one token."));
    }
    Ok(token)
}
