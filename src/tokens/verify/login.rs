//! What a provider tells us as its own client: the ID token of a sign-in (OpenID Connect Core §3.1.3.7, rule OC-01), and
//! that a session has ended (Back-Channel Logout 1.0 §2.6, rule SS-01).

use super::{Verifier, unreadable};
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::identity_provider::{IdentityProvider, Login, SubjectTokenType, VerificationAlgorithm};
use crate::domain::subject::Subject;
use crate::secrets::equal;
use crate::tokens::claims::Claims;
use crate::tokens::jose::{self, Unverified};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// The member of `events` in a logout token.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The longest `sub`, `sid` and `jti` of a logout token, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// A verified logout token. It names a user, a session of theirs, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutToken {
    /// `sub` at the provider.
    pub sub: Option<String>,
    /// `sid`.
    pub sid: Option<String>,
    /// `jti`.
    pub jti: String,
    /// `exp`, Unix seconds.
    pub expires_at: i64,
}

fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(ReasonCode::SubjectTokenClaimsInvalid, detail)
}

impl Verifier<'_> {
    /// The ID token that a code was redeemed for. `nonce` is that of the sign-in; the access token came with it.
    ///
    /// # Errors
    /// A refusal with the reason that the same token would have at an exchange; its detail says what is wrong.
    pub async fn login_token(
        &self,
        idp: &IdentityProvider,
        login: &Login,
        id_token: &str,
        nonce: &str,
        access_token: &str,
    ) -> Result<Subject, Refusal> {
        let token = self.of_login_provider(idp, id_token).await?;
        let subject = self.of_idp(&token, idp, SubjectTokenType::IdToken)?;
        let claims = Claims(&token.claims);
        check_audience(claims, &subject.audiences, login).map_err(invalid)?;
        let sent = claims.text("nonce").map_err(invalid)?.unwrap_or_default();
        if !equal(sent.as_bytes(), nonce.as_bytes()) {
            return Err(invalid("nonce is not that of this sign-in"));
        }
        if let Some(at_hash) = claims.text("at_hash").map_err(invalid)?
            && !half_hashes(token.alg(), access_token).iter().any(|hash| equal(hash.as_bytes(), at_hash.as_bytes()))
        {
            return Err(invalid("at_hash is not that of the access token"));
        }
        for (name, wanted) in &login.required_claims {
            if token.claims.get(name).and_then(Value::as_str) != Some(wanted) {
                return Err(invalid(format!("{name} is not what `login.required_claims` demands")));
            }
        }
        Ok(subject)
    }

    /// A logout token. That its `jti` is new is for the database to say.
    ///
    /// # Errors
    /// A refusal whose detail says what is wrong.
    pub async fn logout_token(
        &self,
        idp: &IdentityProvider,
        login: &Login,
        logout_token: &str,
    ) -> Result<LogoutToken, Refusal> {
        let token = self.of_login_provider(idp, logout_token).await?;
        match token.typ().as_deref() {
            None | Some("jwt" | "logout+jwt") => {}
            Some(_) => return Err(invalid("typ is not that of a logout token")),
        }
        let claims = Claims(&token.claims);
        let times = self.times(claims)?;
        times.issued_at.ok_or_else(|| invalid("iat is missing"))?;
        if !claims.audiences().map_err(invalid)?.contains(&login.client_id) {
            return Err(invalid("aud is not our client id"));
        }
        let events = claims.value("events").and_then(|events| events.get(LOGOUT_EVENT));
        if !events.is_some_and(Value::is_object) {
            return Err(invalid("events does not say that it is about a logout"));
        }
        // An ID token of a sign-in has one; nothing that does ends a session (Back-Channel Logout §2.4).
        if claims.has("nonce") {
            return Err(invalid("a logout token has no nonce"));
        }
        let (sub, sid) = (claims.owned_text("sub").map_err(invalid)?, claims.owned_text("sid").map_err(invalid)?);
        if sub.is_none() && sid.is_none() {
            return Err(invalid("it has neither sub nor sid"));
        }
        let jti = claims.required_text("jti").map_err(invalid)?.to_owned();
        if [sub.as_ref(), sid.as_ref(), Some(&jti)].into_iter().flatten().any(|text| text.len() > MAX_NAME_BYTES) {
            return Err(invalid(format!("sub, sid or jti is longer than {MAX_NAME_BYTES} bytes")));
        }
        Ok(LogoutToken { sub, sid, jti, expires_at: times.expires_at })
    }

    /// A token of this very provider whose signature is right; nothing else of it is checked.
    async fn of_login_provider(&self, idp: &IdentityProvider, token: &str) -> Result<Unverified, Refusal> {
        let token = jose::parse(token).map_err(|problem| unreadable(&problem))?;
        let iss = Claims(&token.claims).required_text("iss").map_err(invalid)?;
        if iss != idp.issuer {
            let iss: String = iss.chars().take(256).collect();
            let detail = format!("iss is {iss:?} and not {:?}", idp.issuer);
            return Err(Refusal::new(ReasonCode::SubjectTokenIssuerUnknown, detail));
        }
        self.check_foreign_signature(&token, idp).await?;
        Ok(token)
    }
}

/// OpenID Connect Core §3.1.3.7, 3 to 5: the token is for us, and where it is for others too, `azp` says that it was
/// made for us.
fn check_audience(claims: Claims<'_>, audiences: &[String], login: &Login) -> Result<(), String> {
    if !audiences.contains(&login.client_id) {
        return Err("aud is not our client id".to_owned());
    }
    match claims.text("azp")? {
        Some(azp) if azp != login.client_id => Err("azp is not our client id".to_owned()),
        None if audiences.len() > 1 => Err("aud has several values, and azp is missing".to_owned()),
        Some(_) | None => Ok(()),
    }
}

/// What `at_hash` may be: the left half of the hash that the signature's algorithm is made with (OpenID Connect Core
/// §3.1.3.6). For Ed25519 that is SHA-512; some providers take SHA-256 all the same.
fn half_hashes(alg: &str, access_token: &str) -> Vec<String> {
    let half = |hash: &[u8]| URL_SAFE_NO_PAD.encode(hash.get(..hash.len() / 2).unwrap_or_default());
    match VerificationAlgorithm::from_header(alg) {
        Some(VerificationAlgorithm::RS256 | VerificationAlgorithm::PS256 | VerificationAlgorithm::ES256) => {
            vec![half(&Sha256::digest(access_token))]
        }
        Some(VerificationAlgorithm::ES384) => vec![half(&Sha384::digest(access_token))],
        Some(VerificationAlgorithm::EdDSA) => {
            vec![half(&Sha512::digest(access_token)), half(&Sha256::digest(access_token))]
        }
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn at_hash_is_the_left_half_of_the_hash_of_the_algorithm() {
        // OpenID Connect Core, appendix A.3.
        let access_token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(half_hashes("RS256", access_token), ["77QmUPtjPfzWtF2AnpK9RQ"]);
        assert_eq!(half_hashes("ES384", "x")[0].len(), 32);
        assert_eq!(half_hashes("EdDSA", "x")[0].len(), 43);
        assert!(half_hashes("HS256", "x").is_empty());
    }

    #[test]
    fn a_token_for_several_says_for_whom_it_was_made() {
        let login: Login = serde_json::from_value(json!({"client_id": "us", "scopes": ["openid"]})).unwrap();
        let check = |claims: Value| {
            let claims = claims.as_object().unwrap().clone();
            let audiences = Claims(&claims).audiences().unwrap();
            check_audience(Claims(&claims), &audiences, &login)
        };
        assert!(check(json!({"aud": "us"})).is_ok());
        assert!(check(json!({"aud": ["us"], "azp": "us"})).is_ok());
        assert!(check(json!({"aud": ["us", "others"], "azp": "us"})).is_ok());
        for bad in [
            json!({"aud": "others"}),
            json!({"aud": ["us", "others"]}),
            json!({"aud": "us", "azp": "others"}),
            json!({"aud": "others", "azp": "us"}),
        ] {
            assert!(check(bad.clone()).is_err(), "{bad}");
        }
    }
}
