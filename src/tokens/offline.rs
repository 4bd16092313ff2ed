//! Our tokens as a backend verifies them: with nothing but the JWKS, check by check. The checks are those of
//! [`crate::verify`]; here they are made of keys at hand, and all of them are told.
//!
//! `inspect` uses it to show each check by name.

pub use crate::verify::checks::{Check, Outcome, in_words};

use super::jwk::{self, KeySet};
use crate::domain::delegation::ActChain;
use crate::domain::scope::ScopeSet;
use crate::verify::checks::{Checks, LONGEST_LIFE_SECONDS, OUR_ALGORITHMS, Rules, check_claims, check_signature, read};
use crate::verify::claims::Claims;
use serde_json::{Map, Value};

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
            .map(|jwks| jwk::read(&jwks))
            .transpose()?;
        Ok(Self { issuer: issuer.map(str::to_owned), audience: audience.map(str::to_owned), keys })
    }

    /// Makes every check that can be made at `now`, also after one that failed.
    pub fn examine(&self, token: &str, now: i64) -> Examination {
        let rules = Rules {
            issuer: self.issuer.as_deref(),
            audience: self.audience.as_deref(),
            algorithms: &OUR_ALGORITHMS,
            longest_life_seconds: LONGEST_LIFE_SECONDS,
            must_be_delegated: false,
        };
        let mut checks = Checks::telling_all();
        let Some((token, algorithm)) = read(token, &rules, &mut checks) else {
            return Examination { checks: checks.all, header: Map::new(), claims: Map::new() };
        };
        match (algorithm, &self.keys) {
            (None, _) => checks.fail("signature", "there is no algorithm to check it by"),
            (Some(_), None) => checks.not_checked("signature", "no keys are at hand"),
            (Some(algorithm), Some(keys)) => {
                check_signature(&token, &keys.find(token.kid(), algorithm), &mut checks);
            }
        }
        check_claims(Claims(&token.claims), &rules, now, &mut checks);
        Examination { checks: checks.all, header: token.header, claims: token.claims }
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
