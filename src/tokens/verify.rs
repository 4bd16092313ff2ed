//! From a text to a verified token: the only place where claims of a token become facts.
//!
//! Order: form, issuer, algorithm, key, signature, claims, times, type. Nothing of a token is believed before its
//! signature; only `iss`, `alg` and `kid` are looked at, to find the key.

mod assertion;
mod kind;
mod login;

pub use assertion::{ClientAssertion, claimed_client};
pub use kind::looks_like;
pub use login::LogoutToken;

use super::claims::{Claims, texts_of};
use super::issuer_keys::{IssuerKeys, KeyError};
use super::jose::{self, JoseProblem, Unverified};
use super::signing_keys::{ACCESS_TOKEN_TYP, SigningKeys, own_algorithm};
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::delegation::{ActChain, ChainProblem, MayAct};
use crate::domain::identity_provider::{ClaimPointers, IdentityProvider, SubjectTokenType, VerificationAlgorithm};
use crate::domain::registry::Registry;
use crate::domain::scope::ScopeSet;
use crate::domain::subject::{ActorToken, OwnToken, Subject, SubjectIssuer};
use crate::domain::token_status::index_of;
use crate::domain::user::UserAttributes;
use serde_json::{Map, Value};

/// After so many seconds a request may be sent again when keys could not be fetched.
const RETRY_AFTER_SECONDS: u64 = 5;

/// What verification needs.
#[derive(Clone, Copy)]
pub struct Verifier<'a> {
    /// Our issuer.
    pub issuer: &'a str,
    /// What is declared.
    pub registry: &'a Registry,
    /// Our keys.
    pub signing_keys: &'a SigningKeys,
    /// Everybody else's.
    pub issuer_keys: &'a IssuerKeys,
    /// The most actors in a chain.
    pub max_chain_depth: usize,
    /// How far `iat` and `nbf` may lie in the future (rule TX-32).
    ///
    /// `exp` gets no leeway: what is issued never outlives the subject token, so a token within the leeway could only
    /// give one that has already ended.
    pub clock_skew_seconds: u32,
    /// Unix seconds.
    pub now: i64,
}

/// The time claims of a token, within bounds at `now`.
struct Times {
    expires_at: i64,
    issued_at: Option<i64>,
}

fn claims_invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(ReasonCode::SubjectTokenClaimsInvalid, detail)
}

impl Verifier<'_> {
    /// A subject token of the declared type (RFC 8693 §2.1).
    ///
    /// # Errors
    /// A refusal of the gate `SubjectToken`, or `ChainTooDeep`.
    pub async fn subject(&self, token: &str, token_type: &str) -> Result<Subject, Refusal> {
        let declared = SubjectTokenType::from_uri(token_type).ok_or_else(|| {
            let detail = "subject_token_type is not id_token, access_token or jwt";
            Refusal::new(ReasonCode::SubjectTokenTypeUnsupported, detail)
        })?;
        let token = jose::parse(token).map_err(|problem| unreadable(&problem))?;
        let iss = Claims(&token.claims).required_text("iss").map_err(claims_invalid)?;
        if iss == self.issuer {
            return self.own(&token, declared);
        }
        let idp = self.registry.idp_by_issuer(iss).ok_or_else(|| {
            let iss: String = iss.chars().take(256).collect();
            Refusal::new(ReasonCode::SubjectTokenIssuerUnknown, format!("{iss:?} is not a trusted issuer"))
        })?;
        self.check_foreign_signature(&token, idp).await?;
        self.of_idp(&token, idp, declared)
    }

    async fn check_foreign_signature(&self, token: &Unverified, idp: &IdentityProvider) -> Result<(), Refusal> {
        let algorithm = VerificationAlgorithm::from_header(token.alg());
        let algorithm = algorithm.filter(|algorithm| idp.algorithms.contains(algorithm)).ok_or_else(|| {
            let alg: String = token.alg().chars().take(32).collect();
            let detail = format!("{alg:?} is not among the algorithms of identity provider {}", idp.id);
            Refusal::new(ReasonCode::SubjectTokenAlgorithmRefused, detail)
        })?;
        let key = self.issuer_keys.of_provider(idp, token.kid(), algorithm, self.now).await;
        let key = key.map_err(|problem| match problem {
            KeyError::Unknown(detail) => Refusal::new(ReasonCode::SubjectTokenKeyUnknown, detail),
            KeyError::OtherAlgorithm(detail) => Refusal::new(ReasonCode::SubjectTokenAlgorithmRefused, detail),
            KeyError::Unavailable(detail) | KeyError::NotAllowed(detail) => Refusal {
                retry_after_seconds: Some(RETRY_AFTER_SECONDS),
                ..Refusal::new(ReasonCode::IssuerKeysUnavailable, detail)
            },
        })?;
        if key.verifies(token.signing_input.as_bytes(), &token.signature) {
            return Ok(());
        }
        let detail = format!("the signature is not that of the key of identity provider {}", idp.id);
        Err(Refusal::new(ReasonCode::SubjectTokenSignatureInvalid, detail))
    }

    /// The facts of a provider's token whose signature is right.
    fn of_idp(
        &self,
        token: &Unverified,
        idp: &IdentityProvider,
        declared: SubjectTokenType,
    ) -> Result<Subject, Refusal> {
        let mut subject = self.facts(token, SubjectIssuer::Idp(idp.id.clone()), declared)?;
        kind::check(token, declared).map_err(|detail| Refusal::new(ReasonCode::SubjectTokenTypeMismatch, detail))?;
        subject.attributes = attributes(&token.claims, &idp.claims).map_err(claims_invalid)?;
        let wanted = idp.subject_tokens.iter().filter(|rule| rule.token_type == declared);
        subject.named_claims = wanted
            .flat_map(|rule| rule.required_claims.keys())
            .filter_map(|name| Some((name.clone(), token.claims.get(name)?.as_str()?.to_owned())))
            .collect();
        Ok(subject)
    }

    /// One of our own tokens, as a subject.
    fn own(&self, token: &Unverified, declared: SubjectTokenType) -> Result<Subject, Refusal> {
        self.check_own_signature(token)?;
        let claims = Claims(&token.claims);
        let own = own_facts(claims, self.issuer).map_err(claims_invalid)?;
        let mut subject = self.facts(token, SubjectIssuer::Own(own), declared)?;
        claims.required_text("jti").map_err(claims_invalid)?;
        let mismatch = |detail: &str| Err(Refusal::new(ReasonCode::SubjectTokenTypeMismatch, detail));
        if token.typ().as_deref() != Some(ACCESS_TOKEN_TYP) {
            return mismatch("a token of this server is not an access token by its typ");
        }
        match declared {
            SubjectTokenType::AccessToken | SubjectTokenType::Jwt => {}
            SubjectTokenType::IdToken => return mismatch("a token of this server is not an ID token"),
        }
        // No scope means none, not any (rule TX-79).
        subject.scope.get_or_insert_with(ScopeSet::default);
        Ok(subject)
    }

    /// An access token of this server, with its claims. Whatever is sent, nobody is asked for keys.
    ///
    /// # Errors
    /// A refusal of the gate `SubjectToken`, or `ChainTooDeep`.
    pub fn own_access_token(&self, token: &str) -> Result<(Subject, Map<String, Value>), Refusal> {
        let token = jose::parse(token).map_err(|problem| unreadable(&problem))?;
        if Claims(&token.claims).text("iss").map_err(claims_invalid)? != Some(self.issuer) {
            let detail = "it is not a token of this server";
            return Err(Refusal::new(ReasonCode::SubjectTokenIssuerUnknown, detail));
        }
        let subject = self.own(&token, SubjectTokenType::AccessToken)?;
        Ok((subject, token.claims))
    }

    /// The signature of a token that says it is ours.
    fn check_own_signature(&self, token: &Unverified) -> Result<(), Refusal> {
        let refused = |reason, detail: &str| Err(Refusal::new(reason, detail));
        let Some(algorithm) = own_algorithm(token) else {
            return refused(ReasonCode::SubjectTokenAlgorithmRefused, "this server does not sign with its alg");
        };
        let Some(key) = token.kid().and_then(|kid| self.signing_keys.published(kid, self.now)) else {
            return refused(ReasonCode::SubjectTokenKeyUnknown, "this server has no key of its kid, or no longer");
        };
        if key.algorithm() != algorithm {
            return refused(ReasonCode::SubjectTokenAlgorithmRefused, "its alg is not that of the key");
        }
        if !key.verifies(token.signing_input.as_bytes(), &token.signature) {
            return refused(ReasonCode::SubjectTokenSignatureInvalid, "the signature is not that of this server's key");
        }
        Ok(())
    }

    /// What is read alike of every token; attributes and named claims are for the caller to add.
    fn facts(&self, token: &Unverified, issuer: SubjectIssuer, declared: SubjectTokenType) -> Result<Subject, Refusal> {
        let claims = Claims(&token.claims);
        let times = self.times(claims)?;
        let act = self.chain(claims)?;
        (|| {
            let may_act = match claims.value("may_act") {
                None => None,
                Some(claim) => Some(MayAct::parse(claim).ok_or("may_act is not an object")?),
            };
            Ok(Subject {
                issuer,
                token_type: declared,
                sub: claims.required_text("sub")?.to_owned(),
                audiences: claims.audiences()?,
                azp: claims.owned_text("azp")?,
                scope: claims.scopes()?,
                expires_at: times.expires_at,
                issued_at: times.issued_at,
                jti: claims.owned_text("jti")?,
                sid: claims.owned_text("sid")?,
                auth_time: claims.time("auth_time")?,
                acr: claims.owned_text("acr")?.map(|acr| short("acr", acr)).transpose()?,
                amr: methods(claims.texts("amr", false)?)?,
                act,
                may_act,
                attributes: UserAttributes::default(),
                named_claims: std::collections::BTreeMap::new(),
            })
        })()
        .map_err(|detail: String| claims_invalid(detail))
    }

    fn times(&self, claims: Claims<'_>) -> Result<Times, Refusal> {
        let expires_at = claims.time("exp").map_err(claims_invalid)?.ok_or_else(|| claims_invalid("exp is missing"))?;
        let issued_at = claims.time("iat").map_err(claims_invalid)?;
        let not_before = claims.time("nbf").map_err(claims_invalid)?;
        if self.now >= expires_at {
            let detail = format!("exp was {} seconds ago", self.now.saturating_sub(expires_at));
            return Err(Refusal::new(ReasonCode::SubjectTokenExpired, detail));
        }
        let latest = self.now.saturating_add(i64::from(self.clock_skew_seconds));
        for (name, time) in [("nbf", not_before), ("iat", issued_at)] {
            if let Some(time) = time.filter(|time| *time > latest) {
                let detail = format!("{name} is {} seconds in the future", time.saturating_sub(self.now));
                return Err(Refusal::new(ReasonCode::SubjectTokenNotYetValid, detail));
            }
        }
        Ok(Times { expires_at, issued_at })
    }

    fn chain(&self, claims: Claims<'_>) -> Result<Option<ActChain>, Refusal> {
        let chain = claims.value("act").map(|act| ActChain::parse(act, self.max_chain_depth)).transpose();
        chain.map_err(|problem| match problem {
            ChainProblem::TooDeep(_) => Refusal::new(ReasonCode::ChainTooDeep, problem.to_string()),
            ChainProblem::Malformed | ChainProblem::Cycle => claims_invalid(problem.to_string()),
        })
    }

    /// An actor token: a client's own token, issued by this server (RFC 8693 §2.1).
    ///
    /// # Errors
    /// `ActorTokenTypeUnsupported` or `ActorTokenInvalid`. Whom it stands for, and whether this client may present it,
    /// is for the decision.
    #[expect(clippy::unused_async, reason = "a foreign actor token would need its issuer's keys, as `subject` does")]
    pub async fn actor(&self, token: &str, token_type: &str) -> Result<ActorToken, Refusal> {
        match SubjectTokenType::from_uri(token_type) {
            Some(SubjectTokenType::AccessToken | SubjectTokenType::Jwt) => {}
            Some(SubjectTokenType::IdToken) | None => {
                let detail = "actor_token_type is not access_token or jwt";
                return Err(Refusal::new(ReasonCode::ActorTokenTypeUnsupported, detail));
            }
        }
        let invalid = |detail: String| Refusal::new(ReasonCode::ActorTokenInvalid, detail);
        let token = jose::parse(token).map_err(|problem| invalid(problem.to_string()))?;
        if Claims(&token.claims).text("iss").map_err(invalid)? != Some(self.issuer) {
            return Err(invalid("it is not a token of this server".to_owned()));
        }
        // An actor token is checked as a subject token of ours is; only the code of a refusal is its own.
        let subject = self.own(&token, SubjectTokenType::AccessToken).map_err(|refusal| invalid(refusal.detail))?;
        let SubjectIssuer::Own(own) = subject.issuer else {
            return Err(invalid("it is not a token of this server".to_owned()));
        };
        let is_delegated = subject.act.is_some() || own.grant_id.is_some() || own.client_id != subject.sub;
        Ok(ActorToken { is_delegated, sub: subject.sub, audiences: subject.audiences })
    }
}

/// Why a subject token cannot even be read.
fn unreadable(problem: &JoseProblem) -> Refusal {
    let reason = match problem {
        JoseProblem::Opaque => ReasonCode::SubjectTokenOpaque,
        JoseProblem::TooLarge => ReasonCode::SubjectTokenTooLarge,
        JoseProblem::Malformed(_) => ReasonCode::SubjectTokenMalformed,
        JoseProblem::HeaderRefused(_) => ReasonCode::SubjectTokenHeaderRefused,
        JoseProblem::ChainTooDeep => ReasonCode::ChainTooDeep,
    };
    Refusal::new(reason, problem.to_string())
}

/// What only our own tokens carry.
fn own_facts(claims: Claims<'_>, issuer: &str) -> Result<OwnToken, String> {
    Ok(OwnToken {
        client_id: claims.required_text("client_id")?.to_owned(),
        grant_id: claims.owned_text("grant_id")?,
        earlier_grants: claims.texts("earlier_grants", false)?,
        txn: claims.owned_text("txn")?,
        client_assurance: claims.owned_text("client_assurance")?,
        status: claims.value("status").and_then(|status| {
            let entry = status.get("status_list")?;
            index_of(issuer, entry.get("uri")?.as_str()?, entry.get("idx")?.as_i64()?)
        }),
    })
}

/// The user's attributes at the provider's pointers.
///
/// An absent one is no attribute. One of the wrong kind is a problem, since leaving it out could take the user out of
/// reach of a policy that forbids.
fn attributes(claims: &Map<String, Value>, pointers: &ClaimPointers) -> Result<UserAttributes, String> {
    let texts = |pointer: Option<&String>| match pointer.and_then(|pointer| Some((pointer, at(claims, pointer)?))) {
        None | Some((_, Value::Null)) => Ok(Vec::new()),
        Some((name, value)) => texts_of(name, value, true),
    };
    let text = |pointer: Option<&String>| match pointer.and_then(|pointer| Some((pointer, at(claims, pointer)?))) {
        None | Some((_, Value::Null)) => Ok(None),
        Some((_, Value::String(text))) => Ok(Some(text.clone())),
        Some((name, _)) => Err(format!("{name} is not a text")),
    };
    Ok(UserAttributes {
        roles: texts(pointers.roles.as_ref())?,
        groups: texts(pointers.groups.as_ref())?,
        email: text(pointers.email.as_ref())?,
        // Where the address is: beside it (OpenID Connect Core §5.1). Some providers write it as a text.
        email_verified: pointers.email.as_ref().and_then(|pointer| {
            let beside = format!("{}/email_verified", pointer.rsplit_once('/')?.0);
            match at(claims, &beside)? {
                Value::Bool(verified) => Some(*verified),
                Value::String(text) => text.parse().ok(),
                Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
            }
        }),
        name: text(pointers.name.as_ref())?,
    })
}

/// The value at a JSON pointer (RFC 6901) into the claims.
fn at<'a>(claims: &'a Map<String, Value>, pointer: &str) -> Option<&'a Value> {
    let path = pointer.strip_prefix('/')?;
    let first = path.split('/').next().unwrap_or_default();
    let rest = path.get(first.len()..).unwrap_or_default();
    claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
}

/// What goes on into our own token has to stay small: it travels in a header.
fn short(name: &str, text: String) -> Result<String, String> {
    const BYTES: usize = 256;
    if text.len() > BYTES { Err(format!("{name} is longer than {BYTES} bytes")) } else { Ok(text) }
}

fn methods(amr: Vec<String>) -> Result<Vec<String>, String> {
    const METHODS: usize = 8;
    if amr.len() > METHODS {
        return Err(format!("amr has more than {METHODS} values"));
    }
    amr.into_iter().map(|method| short("amr", method)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(claims: &Value, roles: &str) -> Result<Vec<String>, String> {
        let pointers = ClaimPointers { roles: Some(roles.to_owned()), ..ClaimPointers::default() };
        attributes(claims.as_object().unwrap(), &pointers).map(|attributes| attributes.roles)
    }

    #[test]
    fn roles_are_found_where_the_provider_puts_them() {
        let claims = json!({"realm_access": {"roles": ["a", "b"]}, "https://acme.example/roles": "c", "x": null});
        assert_eq!(read(&claims, "/realm_access/roles").unwrap(), ["a", "b"]);
        assert_eq!(read(&claims, "/https:~1~1acme.example~1roles").unwrap(), ["c"]);
        for absent in ["/realm_access/groups", "/other", "/x", "roles", ""] {
            assert_eq!(read(&claims, absent).unwrap(), [""; 0], "{absent}");
        }
    }

    #[test]
    fn what_goes_on_into_our_token_stays_small() {
        assert!(short("acr", "x".repeat(256)).is_ok());
        assert!(short("acr", "x".repeat(257)).is_err());
        assert!(methods(vec!["otp".to_owned(); 8]).is_ok());
        assert!(methods(vec!["otp".to_owned(); 9]).is_err());
        assert!(methods(vec!["x".repeat(257)]).is_err());
    }

    #[test]
    fn an_attribute_of_the_wrong_kind_is_a_problem() {
        for wrong in [json!({"roles": 1}), json!({"roles": {"a": true}}), json!({"roles": ["a", 1]})] {
            assert!(read(&wrong, "/roles").is_err(), "{wrong}");
        }
    }
}
