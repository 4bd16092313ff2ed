//! The checks that a backend makes of an access token, each with its name, in the order of STANDARDS 8.4 (RFC 9068 §4).
//!
//! There is one set of them: [`super::Verifier`] stops at the first that fails, `procura inspect` shows them all.

use super::claims::Claims;
use super::jose::{self, Unverified};
use super::jwk::Found;
use super::status_list::StatusReference;
use crate::domain::algorithm::VerificationAlgorithm;
use crate::domain::delegation::ActChain;
use serde::Serialize;

/// The header `typ` of an access token (RFC 9068 §2.1).
pub(crate) const ACCESS_TOKEN_TYP: &str = "at+jwt";

/// The largest token that a backend should look at, in bytes: more does not fit into a header.
const MAX_BYTES: usize = 8 * 1024;

/// The longest life that a token of ours may have, in seconds.
pub(crate) const LONGEST_LIFE_SECONDS: i64 = 3600;

/// How far `iat` and `nbf` may lie in the future, in seconds.
const SKEW_SECONDS: i64 = 30;

/// What Procura signs with.
pub(crate) const OUR_ALGORITHMS: [VerificationAlgorithm; 4] = [
    VerificationAlgorithm::ES256,
    VerificationAlgorithm::EdDSA,
    VerificationAlgorithm::RS256,
    VerificationAlgorithm::PS256,
];

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// Refuse the token.
    Fail,
    /// What it would be compared with is not known here.
    NotChecked,
}

/// One check that a verifier makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, for example `signature`.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in words.
    pub detail: String,
}

/// What a token is compared with. What is absent is not checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) issuer: Option<&'a str>,
    pub(crate) audience: Option<&'a str>,
    pub(crate) algorithms: &'a [VerificationAlgorithm],
    pub(crate) longest_life_seconds: i64,
    /// A client's own token, without `act`, is refused.
    pub(crate) must_be_delegated: bool,
}

/// What came of the checks so far.
#[derive(Debug)]
pub(crate) struct Checks {
    pub(crate) all: Vec<Check>,
    /// Also what passed is written down, for people to read.
    tells_all: bool,
}

impl Checks {
    /// For people: every check, also those that pass.
    #[cfg(feature = "server")]
    pub(crate) fn telling_all() -> Self {
        Self { all: Vec::new(), tells_all: true }
    }

    /// For a request: only what fails.
    pub(crate) fn telling_failures() -> Self {
        Self { all: Vec::new(), tells_all: false }
    }

    /// The first check that failed.
    pub(crate) fn first_failure(&self) -> Option<&Check> {
        self.all.iter().find(|check| check.outcome == Outcome::Fail)
    }

    pub(crate) fn add<T>(&mut self, name: &'static str, result: Result<T, String>, detail: impl FnOnce(T) -> String) {
        match result {
            Ok(value) => self.pass(name, || detail(value)),
            Err(problem) => self.fail(name, problem),
        }
    }

    pub(crate) fn pass(&mut self, name: &'static str, detail: impl FnOnce() -> String) {
        if self.tells_all {
            self.all.push(Check { name, outcome: Outcome::Pass, detail: detail() });
        }
    }

    pub(crate) fn fail(&mut self, name: &'static str, detail: impl Into<String>) {
        self.all.push(Check { name, outcome: Outcome::Fail, detail: detail.into() });
    }

    pub(crate) fn not_checked(&mut self, name: &'static str, detail: &str) {
        self.all.push(Check { name, outcome: Outcome::NotChecked, detail: detail.to_owned() });
    }
}

/// Takes the token apart: form, `typ` and `alg`. None if it cannot be read at all. The algorithm is none if it is not one
/// of the rules.
pub(crate) fn read(
    token: &str,
    rules: &Rules<'_>,
    checks: &mut Checks,
) -> Option<(Unverified, Option<VerificationAlgorithm>)> {
    let parsed = match jose::parse(token) {
        Ok(parsed) => parsed,
        Err(problem) => {
            checks.fail("form", problem.to_string());
            return None;
        }
    };
    if token.len() > MAX_BYTES {
        checks.fail("form", format!("{} bytes, which does not fit into a header", token.len()));
    } else {
        checks.pass("form", || format!("compact JWS of {} bytes, no member repeated", token.len()));
    }
    if parsed.typ().as_deref() == Some(ACCESS_TOKEN_TYP) {
        checks.pass("typ", || "at+jwt: an access token".to_owned());
    } else {
        checks.fail("typ", "not at+jwt, so not an access token (RFC 9068)");
    }
    let algorithm = VerificationAlgorithm::from_header(parsed.alg()).filter(|alg| rules.algorithms.contains(alg));
    if let Some(algorithm) = algorithm {
        checks.pass("alg", || algorithm.as_str().to_owned());
    } else {
        let alg: String = parsed.alg().chars().take(32).collect();
        checks.fail("alg", format!("{alg:?} is never accepted"));
    }
    Some((parsed, algorithm))
}

/// The signature, by what was found under the token's `kid`.
pub(crate) fn check_signature(token: &Unverified, found: &Found, checks: &mut Checks) {
    let result = match (token.kid(), found) {
        (None, _) => Err("the header has no kid"),
        (Some(_), Found::Nothing) => Err("the JWKS has no key of its kid"),
        (Some(_), Found::OtherAlgorithm) => Err("the key of its kid is for another algorithm"),
        (Some(kid), Found::Key(key)) if key.verifies(token.signing_input.as_bytes(), &token.signature) => Ok(kid),
        (Some(_), Found::Key(_)) => Err("not made by the key of its kid: altered, or forged"),
    };
    checks.add("signature", result.map_err(str::to_owned), |kid| format!("made by key {kid}"));
}

/// Everything that the claims must say.
pub(crate) fn check_claims(claims: Claims<'_>, rules: &Rules<'_>, now: i64, checks: &mut Checks) {
    match (rules.issuer, claims.required_text("iss")) {
        (None, Ok(_)) => checks.not_checked("iss", "which issuer to trust was not said"),
        (Some(expected), Ok(iss)) if expected != iss => checks.fail("iss", format!("not {expected}")),
        (Some(_), Ok(iss)) => checks.pass("iss", || iss.to_owned()),
        (_, Err(problem)) => checks.fail("iss", problem),
    }
    match (rules.audience, claims.audiences()) {
        (None, Ok(_)) => checks.not_checked("aud", "which backend it is shown to was not said"),
        (Some(expected), Ok(audiences)) if !audiences.iter().any(|audience| audience == expected) => {
            checks.fail("aud", format!("{} is not {expected}", audiences.join(" ")));
        }
        (Some(_), Ok(audiences)) => checks.pass("aud", || audiences.join(" ")),
        (_, Err(problem)) => checks.fail("aud", problem),
    }
    let in_full = |detail: String| detail;
    checks.add("exp", check_expiry(claims, rules.longest_life_seconds, now), in_full);
    checks.add("iat", check_beginning(claims, now), in_full);
    for name in ["sub", "client_id", "jti"] {
        checks.add(name, claims.required_text(name), str::to_owned);
    }
    checks.add("act", check_actor(claims, rules), in_full);
    checks.add("scope", claims.scopes(), |scopes| scopes.unwrap_or_default().to_string());
    if claims.has("cnf") {
        checks.fail("cnf", "bound to a key, whose proof is not checked here");
    }
    if claims.has("status") {
        checks.add("status", StatusReference::read(claims, rules.issuer), |reference| {
            reference
                .map(|at| format!("number {} of {}, which is not asked here", at.index, at.uri))
                .unwrap_or_default()
        });
    }
}

/// Who acts. Without `act` the subject must be the client itself: Procura issues no token for a user that names nobody to
/// answer for it.
fn check_actor(claims: Claims<'_>, rules: &Rules<'_>) -> Result<String, String> {
    if let Some(act) = claims.value("act") {
        let chain = ActChain::parse(act, ActChain::MAX_DEPTH).map_err(|problem| problem.to_string())?;
        return Ok(chain.current().sub.clone());
    }
    if rules.must_be_delegated {
        return Err("no actor: a client's own token, and this backend serves users only".to_owned());
    }
    match (claims.text("sub"), claims.text("client_id")) {
        (Ok(Some(sub)), Ok(Some(client_id))) if sub != client_id => Err("no actor, though it is for a user".to_owned()),
        (_, _) => Ok("no actor: the subject speaks for itself".to_owned()),
    }
}

fn check_expiry(claims: Claims<'_>, longest_life_seconds: i64, now: i64) -> Result<String, String> {
    let expires_at = claims.time("exp")?.ok_or("exp is missing")?;
    let left = expires_at.saturating_sub(now);
    if left <= 0 {
        return Err(format!("ended {} ago", in_words(left.saturating_neg())));
    }
    if let Some(issued_at) = claims.time("iat")?
        && expires_at.saturating_sub(issued_at) > longest_life_seconds
    {
        return Err(format!("lives longer than {}", in_words(longest_life_seconds)));
    }
    Ok(format!("{} left", in_words(left)))
}

fn check_beginning(claims: Claims<'_>, now: i64) -> Result<String, String> {
    let issued_at = claims.time("iat")?.ok_or("iat is missing")?;
    for (name, time) in [("iat", Some(issued_at)), ("nbf", claims.time("nbf")?)] {
        if time.is_some_and(|time| time > now.saturating_add(SKEW_SECONDS)) {
            return Err(format!("{name} is in the future"));
        }
    }
    Ok(format!("issued {} ago", in_words(now.saturating_sub(issued_at).max(0))))
}

/// A length of time as people say it.
pub fn in_words(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
