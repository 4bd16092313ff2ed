//! ID tokens of our own (OpenID Connect Core §2): who signed in, for a client that needs to know.

use super::signing_keys::{KeyProblem, SigningKeys};
use crate::domain::resource::SigningAlgorithm;
use crate::domain::scope::ScopeSet;
use crate::domain::user::UserAttributes;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// How long an ID token can be believed, in seconds.
const LIFETIME_SECONDS: i64 = 3600;

/// What signs them: the one algorithm that every OpenID client knows (OpenID Connect Discovery §3).
pub const ALGORITHM: SigningAlgorithm = SigningAlgorithm::RS256;

/// What an ID token says.
#[derive(Debug, Clone, Copy)]
pub struct IdTokenClaims<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `sub`: the same as in access tokens.
    pub sub: &'a str,
    /// `aud`.
    pub client: &'a str,
    /// `iat`, Unix seconds.
    pub now: i64,
    /// `nonce` of the authorization request.
    pub nonce: Option<&'a str>,
    /// `auth_time`.
    pub auth_time: Option<i64>,
    /// `acr`.
    pub acr: Option<&'a str>,
    /// `amr`.
    pub amr: &'a [String],
    /// `sid`: the grant family.
    pub sid: &'a str,
    /// Which of `openid`, `profile` and `email` the user let the client have.
    pub identity: &'a ScopeSet,
    /// What we know of the user.
    pub attributes: Option<&'a UserAttributes>,
    /// For `at_hash`.
    pub access_token: &'a str,
}

/// Signs an ID token.
///
/// # Errors
/// No RS256 key signs at this time.
pub fn mint(claims: &IdTokenClaims<'_>, keys: &SigningKeys) -> Result<String, KeyProblem> {
    let key = keys
        .signer(ALGORITHM, claims.now)
        .ok_or_else(|| KeyProblem(format!("there is no {} key that signs yet", ALGORITHM.as_str())))?;
    let mut members = user_claims(claims.sub, claims.identity, claims.attributes);
    let digest = Sha256::digest(claims.access_token);
    let half = digest.get(..16).unwrap_or_default();
    members.insert("iss".to_owned(), json!(claims.issuer));
    members.insert("aud".to_owned(), json!(claims.client));
    members.insert("iat".to_owned(), json!(claims.now));
    members.insert("exp".to_owned(), json!(claims.now.saturating_add(LIFETIME_SECONDS)));
    if let Some(auth_time) = claims.auth_time {
        members.insert("auth_time".to_owned(), json!(auth_time));
    }
    members.insert("at_hash".to_owned(), json!(URL_SAFE_NO_PAD.encode(half)));
    members.insert("sid".to_owned(), json!(claims.sid));
    for (name, value) in [("nonce", claims.nonce), ("acr", claims.acr)] {
        if let Some(value) = value {
            members.insert(name.to_owned(), json!(value));
        }
    }
    if !claims.amr.is_empty() {
        members.insert("amr".to_owned(), json!(claims.amr));
    }
    let bytes = serde_json::to_vec(&members).map_err(|problem| KeyProblem(problem.to_string()))?;
    key.sign("JWT", &bytes)
}

/// `sub`, and what the scopes `profile` and `email` open (OpenID Connect Core §5.4); also the answer of `/userinfo`.
pub fn user_claims(sub: &str, identity: &ScopeSet, attributes: Option<&UserAttributes>) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("sub".to_owned(), json!(sub));
    let has = |name: &str| identity.iter().any(|scope| scope.as_str() == name);
    let Some(attributes) = attributes else {
        return members;
    };
    if let (true, Some(name)) = (has("profile"), &attributes.name) {
        members.insert("name".to_owned(), json!(name));
    }
    if let (true, Some(email)) = (has("email"), &attributes.email) {
        members.insert("email".to_owned(), json!(email));
        if let Some(verified) = attributes.email_verified {
            members.insert("email_verified".to_owned(), json!(verified));
        }
    }
    members
}
