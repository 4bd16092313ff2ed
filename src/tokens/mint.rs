//! From a grant to a signed delegation token (RFC 9068, with `act` of RFC 8693 §4.1).

use super::signing_keys::{ACCESS_TOKEN_TYP, KeyProblem, SigningKeys};
use crate::domain::decision::{Granted, GrantedSubject};
use crate::domain::delegation::ActChain;
use crate::domain::resource::{ReleasedClaim, SigningAlgorithm};
use crate::domain::target::Target;
use crate::domain::token_status::{list_uri, place_of};
use crate::domain::user::UserAttributes;
use crate::secrets::ordered_id;
use serde::Serialize;
use serde_json::Value;

/// The most values of `roles`, and of `groups`, in a token.
const MAX_RELEASED_VALUES: usize = 100;

/// The most bytes of `roles` and `groups` together: a token must fit into a request header.
const MAX_RELEASED_BYTES: usize = 2048;

/// A signed token, and what audit says of it.
pub struct Minted {
    /// The compact JWS. Never logged.
    pub token: String,
    /// Its `jti`.
    pub jti: String,
    /// Its `txn`.
    pub txn: String,
    /// The key that signed it.
    pub kid: String,
    /// The number of its status entry, if it has one.
    pub status: Option<i64>,
}

impl std::fmt::Debug for Minted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { token: _, jti, txn, kid, status } = self;
        let mut debug = f.debug_struct("Minted");
        debug.field("jti", jti).field("txn", txn).field("kid", kid).field("status", status).finish_non_exhaustive()
    }
}

/// The claims of a delegation token; what is absent is left out.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: &'a str,
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Value>,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    amr: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    earlier_grants: &'a [String],
    txn: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    client_assurance: &'static str,
    policy: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

/// Where a backend finds offline whether the token still counts (draft-ietf-oauth-status-list, section 6.1).
#[derive(Serialize)]
struct Status {
    status_list: StatusList,
}

#[derive(Serialize)]
struct StatusList {
    idx: i64,
    uri: String,
}

impl Status {
    fn of(index: i64, issuer: &str) -> Self {
        let (list, place) = place_of(index);
        Self { status_list: StatusList { idx: place, uri: list_uri(issuer, list) } }
    }
}

/// Signs what was granted; `status` is the number of its status entry, if it has one.
///
/// # Errors
/// No key signs with the backend's algorithm at `issued_at`.
pub fn mint(granted: &Granted, issuer: &str, keys: &SigningKeys, status: Option<i64>) -> Result<Minted, KeyProblem> {
    let (audience, algorithm) = match &granted.target {
        Target::Resource(resource) => (resource.audience.as_str(), resource.signing_algorithm),
        Target::Issuer => (issuer, SigningAlgorithm::default()),
    };
    let key = keys
        .signer(algorithm, granted.issued_at)
        .ok_or_else(|| KeyProblem(format!("there is no {} key that signs yet", algorithm.as_str())))?;
    let issued_at_ms = granted.issued_at.saturating_mul(1000);
    let jti = ordered_id("dtk", issued_at_ms);
    let txn = granted.txn.clone().unwrap_or_else(|| ordered_id("txn", issued_at_ms));
    let scope = granted.scopes.to_string();
    let released = Released::of(granted);
    let claims = Claims {
        iss: issuer,
        sub: granted.subject.sub(),
        aud: audience,
        iat: granted.issued_at,
        exp: granted.expires_at,
        jti: &jti,
        client_id: granted.client.as_str(),
        act: granted.chain.as_ref().map(ActChain::to_claim),
        scope: &scope,
        auth_time: granted.auth_time,
        acr: granted.acr.as_deref(),
        amr: &granted.amr,
        roles: released.roles,
        groups: released.groups,
        email: released.email,
        grant_id: granted.grant_id.as_deref(),
        earlier_grants: &granted.earlier_grants,
        txn: &txn,
        sid: granted.sid.as_deref(),
        client_assurance: granted.assurance.as_str(),
        policy: &granted.policy_hash,
        status: status.map(|index| Status::of(index, issuer)),
    };
    let claims = serde_json::to_vec(&claims).map_err(|problem| KeyProblem(problem.to_string()))?;
    Ok(Minted { token: key.sign(ACCESS_TOKEN_TYP, &claims)?, kid: key.kid().to_owned(), jti, txn, status })
}

/// The user's attributes that the backend asks for, within the caps.
#[derive(Default)]
struct Released<'a> {
    roles: Vec<&'a str>,
    groups: Vec<&'a str>,
    email: Option<&'a str>,
}

impl<'a> Released<'a> {
    fn of(granted: &'a Granted) -> Self {
        match (&granted.subject, &granted.target) {
            (GrantedSubject::User { attributes, .. }, Target::Resource(resource)) => {
                Self::within_caps(attributes, &resource.release_claims)
            }
            (GrantedSubject::User { .. }, Target::Issuer) | (GrantedSubject::Client(_), _) => Self::default(),
        }
    }

    /// What does not fit is left out: a backend that does not see a role gives less, never more.
    fn within_caps(attributes: &'a UserAttributes, claims: &[ReleasedClaim]) -> Self {
        let mut bytes_left = MAX_RELEASED_BYTES;
        let mut fitting = |values: &'a [String], claim: ReleasedClaim| -> Vec<&'a str> {
            let values = if claims.contains(&claim) { values } else { &[] };
            let fits = |value: &&str| match bytes_left.checked_sub(value.len()) {
                Some(left) => {
                    bytes_left = left;
                    true
                }
                None => false,
            };
            values.iter().take(MAX_RELEASED_VALUES).map(String::as_str).take_while(fits).collect()
        };
        Self {
            roles: fitting(&attributes.roles, ReleasedClaim::Roles),
            groups: fitting(&attributes.groups, ReleasedClaim::Groups),
            email: attributes.email.as_deref().filter(|_| claims.contains(&ReleasedClaim::Email)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backend_does_not_ask_for_is_not_released() {
        let attributes = UserAttributes {
            roles: vec!["doctor".to_owned()],
            groups: vec!["staff".to_owned()],
            email: Some("a@example.com".to_owned()),
            email_verified: None,
            name: None,
        };
        let released = Released::within_caps(&attributes, &[]);
        assert!(released.roles.is_empty() && released.groups.is_empty() && released.email.is_none());
        let released = Released::within_caps(&attributes, &[ReleasedClaim::Roles]);
        assert_eq!((released.roles, released.groups.len(), released.email), (vec!["doctor"], 0, None));
    }

    #[test]
    fn a_user_with_a_thousand_roles_does_not_blow_up_the_token() {
        let attributes =
            UserAttributes { roles: (0..1000).map(|number| format!("role-{number}")).collect(), ..Default::default() };
        assert_eq!(Released::within_caps(&attributes, &[ReleasedClaim::Roles]).roles.len(), MAX_RELEASED_VALUES);
        let long = UserAttributes {
            roles: vec!["r".repeat(1500), "s".repeat(500), "t".repeat(100)],
            groups: vec!["g".repeat(48), "h".to_owned()],
            ..Default::default()
        };
        let released = Released::within_caps(&long, &[ReleasedClaim::Roles, ReleasedClaim::Groups]);
        assert_eq!((released.roles.len(), released.groups.len()), (2, 1));
    }
}
