//! Client assertions: a client proves who it is with a JWT of its own (RFC 7523 §2.2, §3; rules CA-01 to CA-06).

use super::{RETRY_AFTER_SECONDS, Verifier};
use crate::domain::client::Client;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::identity_provider::VerificationAlgorithm;
use crate::domain::names::ClientId;
use crate::tokens::claims::Claims;
use crate::tokens::issuer_keys::KeyError;
use crate::tokens::jose::{self, Unverified};

/// The longest life of an assertion, in seconds (rule CA-05).
const LONGEST_LIFE_SECONDS: i64 = 600;

/// The longest `jti`, in bytes.
const MAX_JTI_BYTES: usize = 256;

/// A verified client assertion (RFC 7523 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAssertion {
    /// Its `jti`.
    pub jti: String,
    /// Its `exp`, Unix seconds.
    pub expires_at: i64,
}

fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(ReasonCode::ClientAssertionInvalid, detail)
}

impl Verifier<'_> {
    /// A client assertion of this client. Replay is not checked here.
    ///
    /// # Errors
    /// `ClientAssertionInvalid`, or `ClientKeysUnavailable` if the client's keys cannot be had.
    pub async fn client_assertion(
        &self,
        client: &Client,
        assertion: &str,
        token_endpoint: &str,
    ) -> Result<ClientAssertion, Refusal> {
        let token = jose::parse(assertion).map_err(|problem| invalid(problem.to_string()))?;
        check_typ(&token)?;
        let algorithm = match VerificationAlgorithm::from_header(token.alg()) {
            Some(
                algorithm @ (VerificationAlgorithm::RS256
                | VerificationAlgorithm::PS256
                | VerificationAlgorithm::ES256
                | VerificationAlgorithm::EdDSA),
            ) => algorithm,
            Some(VerificationAlgorithm::ES384) | None => {
                return Err(invalid("alg is not RS256, PS256, ES256 or EdDSA"));
            }
        };
        let key = self.issuer_keys.of_client(client, token.kid(), algorithm, self.now).await;
        let key = key.map_err(|problem| match problem {
            KeyError::Unknown(detail) | KeyError::OtherAlgorithm(detail) | KeyError::NotAllowed(detail) => {
                invalid(detail)
            }
            KeyError::Unavailable(detail) => Refusal {
                retry_after_seconds: Some(RETRY_AFTER_SECONDS),
                ..Refusal::new(ReasonCode::ClientKeysUnavailable, detail)
            },
        })?;
        if !key.verifies(token.signing_input.as_bytes(), &token.signature) {
            return Err(invalid("the signature is not that of the client's key"));
        }
        self.assertion_claims(client, Claims(&token.claims), token_endpoint).map_err(invalid)
    }

    fn assertion_claims(
        &self,
        client: &Client,
        claims: Claims<'_>,
        token_endpoint: &str,
    ) -> Result<ClientAssertion, String> {
        for name in ["iss", "sub"] {
            if claims.required_text(name)? != client.id.as_str() {
                return Err(format!("{name} is not the client id"));
            }
        }
        // One audience only: an assertion that is good at two servers could be passed on by one of them (rule CA-04).
        match claims.audiences()?.as_slice() {
            [only] if only == self.issuer || only == token_endpoint => {}
            [_] => return Err("aud is neither the issuer nor the token endpoint".to_owned()),
            several => return Err(format!("aud has {} values; one is accepted", several.len())),
        }
        let expires_at = claims.time("exp")?.ok_or("exp is missing")?;
        let skew = i64::from(self.clock_skew_seconds);
        if self.now >= expires_at {
            return Err(format!("exp was {} seconds ago", self.now.saturating_sub(expires_at)));
        }
        // The client's clock may be ahead by the skew.
        if expires_at.saturating_sub(self.now) > LONGEST_LIFE_SECONDS.saturating_add(skew) {
            return Err("exp is more than 10 minutes ahead".to_owned());
        }
        let issued_at = claims.time("iat")?;
        if issued_at.is_some_and(|issued_at| expires_at.saturating_sub(issued_at) > LONGEST_LIFE_SECONDS) {
            return Err("exp is more than 10 minutes after iat".to_owned());
        }
        for (name, time) in [("iat", issued_at), ("nbf", claims.time("nbf")?)] {
            if time.is_some_and(|time| time > self.now.saturating_add(skew)) {
                return Err(format!("{name} is in the future"));
            }
        }
        let jti = claims.required_text("jti")?;
        if jti.len() > MAX_JTI_BYTES {
            return Err(format!("jti is longer than {MAX_JTI_BYTES} bytes"));
        }
        Ok(ClientAssertion { jti: jti.to_owned(), expires_at })
    }
}

/// An access token, a DPoP proof or anything else that is signed with the same key is no assertion (rule JW-11).
fn check_typ(token: &Unverified) -> Result<(), Refusal> {
    match token.typ().as_deref() {
        None | Some("jwt" | "client-authentication+jwt") => Ok(()),
        Some(_) => Err(invalid("typ is not that of a client assertion")),
    }
}

/// The client that an assertion claims to be from: `sub`, unverified, only to find the key by.
pub fn claimed_client(assertion: &str) -> Option<ClientId> {
    jose::parse(assertion).ok()?.claims.get("sub")?.as_str()?.parse().ok()
}
