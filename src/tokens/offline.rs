//! Our tokens as a backend verifies them: with nothing but the JWKS, check by check (STANDARDS 8.4, RFC 9068 §4).
//!
//! Any JWT library can do this; the demo backend and `inspect` use it to show each check by name.

use super::claims::Claims;
use super::jose::{self, Unverified};
use super::jwk::{Found, KeySet};
use super::signing_keys::ACCESS_TOKEN_TYP;
use crate::domain::delegation::ActChain;
use crate::domain::identity_provider::VerificationAlgorithm;
use crate::domain::scope::ScopeSet;
use serde::Serialize;
use serde_json::{Map, Value};

/// The largest token that a backend should look at, in bytes: more does not fit into a header.
const MAX_BYTES: usize = 8 * 1024;

/// The longest life that a token of ours may have, in seconds.
const LONGEST_LIFE_SECONDS: i64 = 3600;

/// How far `iat` and `nbf` may lie in the future, in seconds.
const SKEW_SECONDS: i64 = 30;

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

/// What a token is checked against. An absent member is not checked.
#[derive(Debug, Default)]
pub struct Expectations {
    issuer: Option<String>,
    audience: Option<String>,
    keys: Option<KeySet>,
}

/// A token taken apart, with every check.
#[derive(Debug, Clone)]
pub struct Examination {
    /// The checks, in the order in which a verifier makes them.
    pub checks: Vec<Check>,
    /// The header; empty if the token cannot be read.
    pub header: Map<String, Value>,
    /// The claims, verified only as far as `checks` say.
    pub claims: Map<String, Value>,
}

impl Expectations {
    /// With the issuer, the audience and the JWKS (JSON), as far as they are known.
    ///
    /// # Errors
    /// The JWKS cannot be read.
    pub fn new(issuer: Option<&str>, audience: Option<&str>, jwks: Option<&str>) -> Result<Self, String> {
        let keys = jwks
            .map(|text| serde_json::from_str(text).map_err(|problem| format!("the JWKS is not JSON: {problem}")))
            .transpose()?
            .map(|jwks| KeySet::read(&jwks))
            .transpose()?;
        Ok(Self { issuer: issuer.map(str::to_owned), audience: audience.map(str::to_owned), keys })
    }

    /// Makes every check that can be made at `now`, also after one that failed.
    pub fn examine(&self, token: &str, now: i64) -> Examination {
        let mut checks = Checks(Vec::new());
        let parsed = match jose::parse(token) {
            Ok(parsed) => parsed,
            Err(problem) => {
                checks.fail("form", problem.to_string());
                return Examination { checks: checks.0, header: Map::new(), claims: Map::new() };
            }
        };
        if token.len() > MAX_BYTES {
            checks.fail("form", format!("{} bytes, which does not fit into a header", token.len()));
        } else {
            checks.pass("form", format!("compact JWS of {} bytes, no member repeated", token.len()));
        }
        checks.add(
            "typ",
            if parsed.typ().as_deref() == Some(ACCESS_TOKEN_TYP) {
                Ok("at+jwt: an access token".to_owned())
            } else {
                Err("not at+jwt, so not an access token (RFC 9068)".to_owned())
            },
        );
        self.check_signature(&parsed, &mut checks);
        self.check_claims(Claims(&parsed.claims), now, &mut checks);
        Examination { checks: checks.0, header: parsed.header, claims: parsed.claims }
    }

    fn check_signature(&self, token: &Unverified, checks: &mut Checks) {
        let alg: String = token.alg().chars().take(32).collect();
        let Some(algorithm) = VerificationAlgorithm::from_header(&alg) else {
            checks.fail("alg", format!("{alg:?} is never accepted"));
            checks.fail("signature", "there is no algorithm to check it by".to_owned());
            return;
        };
        checks.pass("alg", alg);
        let Some(keys) = &self.keys else {
            checks.not_checked("signature", "no keys are at hand");
            return;
        };
        let result = match (token.kid(), keys.find(token.kid(), algorithm)) {
            (None, _) => Err("the header has no kid".to_owned()),
            (Some(_), Found::Nothing) => Err("the JWKS has no key of its kid".to_owned()),
            (Some(_), Found::OtherAlgorithm) => Err("the key of its kid is for another algorithm".to_owned()),
            (Some(kid), Found::Key(key)) => {
                if key.verifies(token.signing_input.as_bytes(), &token.signature) {
                    Ok(format!("made by key {kid}"))
                } else {
                    Err("not made by the key of its kid: altered, or forged".to_owned())
                }
            }
        };
        checks.add("signature", result);
    }

    fn check_claims(&self, claims: Claims<'_>, now: i64, checks: &mut Checks) {
        let issuer = claims.required_text("iss");
        match (&self.issuer, issuer) {
            (None, Ok(_)) => checks.not_checked("iss", "which issuer to trust was not said"),
            (Some(expected), Ok(iss)) if expected != iss => checks.fail("iss", format!("not {expected}")),
            (Some(_), Ok(iss)) => checks.pass("iss", iss.to_owned()),
            (_, Err(problem)) => checks.fail("iss", problem),
        }
        match (&self.audience, claims.audiences()) {
            (None, Ok(_)) => checks.not_checked("aud", "which backend it is shown to was not said"),
            (Some(expected), Ok(audiences)) if !audiences.contains(expected) => {
                checks.fail("aud", format!("{} is not {expected}", audiences.join(" ")));
            }
            (Some(_), Ok(audiences)) => checks.pass("aud", audiences.join(" ")),
            (_, Err(problem)) => checks.fail("aud", problem),
        }
        checks.add("exp", check_expiry(claims, now));
        checks.add("iat", check_beginning(claims, now));
        for name in ["sub", "client_id", "jti"] {
            checks.add(name, claims.required_text(name).map(str::to_owned));
        }
        checks.add(
            "act",
            match claims.value("act").map(|act| ActChain::parse(act, ActChain::MAX_DEPTH)) {
                None => Ok("no actor: the subject speaks for itself".to_owned()),
                Some(Ok(chain)) => Ok(chain.current().sub.clone()),
                Some(Err(problem)) => Err(problem.to_string()),
            },
        );
        checks.add("scope", claims.scopes().map(|scopes| scopes.unwrap_or_default().to_string()));
        if claims.has("cnf") {
            checks.fail("cnf", "bound to a key, whose proof is not checked here".to_owned());
        }
    }
}

fn check_expiry(claims: Claims<'_>, now: i64) -> Result<String, String> {
    let expires_at = claims.time("exp")?.ok_or("exp is missing")?;
    let left = expires_at.saturating_sub(now);
    if left <= 0 {
        return Err(format!("ended {} ago", in_words(left.saturating_neg())));
    }
    if let Some(issued_at) = claims.time("iat")?
        && expires_at.saturating_sub(issued_at) > LONGEST_LIFE_SECONDS
    {
        return Err(format!("lives longer than {}", in_words(LONGEST_LIFE_SECONDS)));
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

struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, name: &'static str, result: Result<String, String>) {
        match result {
            Ok(detail) => self.pass(name, detail),
            Err(detail) => self.fail(name, detail),
        }
    }
    fn pass(&mut self, name: &'static str, detail: String) {
        self.0.push(Check { name, outcome: Outcome::Pass, detail });
    }
    fn fail(&mut self, name: &'static str, detail: String) {
        self.0.push(Check { name, outcome: Outcome::Fail, detail });
    }
    fn not_checked(&mut self, name: &'static str, detail: &str) {
        self.0.push(Check { name, outcome: Outcome::NotChecked, detail: detail.to_owned() });
    }
}

/// A verified token of ours, in the hands of a backend.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedAccessToken {
    /// `sub`: for whom.
    pub sub: String,
    /// `client_id`: who got it.
    pub client_id: String,
    /// `jti`.
    pub jti: String,
    /// Who acts; none if the subject speaks for itself. A backend that serves users only must insist on one.
    pub act: Option<ActChain>,
    /// What it is good for.
    pub scopes: ScopeSet,
    /// `exp`, Unix seconds.
    pub expires_at: i64,
    /// Every claim.
    pub claims: Map<String, Value>,
}

/// Verifies access tokens of one issuer for one backend.
#[derive(Debug)]
pub struct OfflineVerifier(Expectations);

impl OfflineVerifier {
    /// For tokens of `issuer` to `audience`, with the issuer's JWKS (JSON).
    ///
    /// # Errors
    /// The JWKS cannot be read.
    pub fn new(issuer: &str, audience: &str, jwks: &str) -> Result<Self, String> {
        Expectations::new(Some(issuer), Some(audience), Some(jwks)).map(Self)
    }

    /// The token, if every check passes at `now`.
    ///
    /// # Errors
    /// The first check that did not pass, in words.
    pub fn verify(&self, token: &str, now: i64) -> Result<VerifiedAccessToken, String> {
        let Examination { checks, claims, .. } = self.0.examine(token, now);
        if let Some(check) = checks.iter().find(|check| check.outcome != Outcome::Pass) {
            return Err(format!("{}: {}", check.name, check.detail));
        }
        let of = Claims(&claims);
        let act = of.value("act").map(|act| ActChain::parse(act, ActChain::MAX_DEPTH)).transpose();
        Ok(VerifiedAccessToken {
            sub: of.required_text("sub")?.to_owned(),
            client_id: of.required_text("client_id")?.to_owned(),
            jti: of.required_text("jti")?.to_owned(),
            act: act.map_err(|problem| problem.to_string())?,
            scopes: of.scopes()?.unwrap_or_default(),
            expires_at: of.time("exp")?.ok_or("exp is missing")?,
            claims,
        })
    }
}
