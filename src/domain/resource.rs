//! The resource: a backend that accepts our tokens, with its scopes (OAuth resource server).

use super::client::Assurance;
use super::names::{ClientId, ResourceId};
use super::scope::Scope;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use url::Url;

/// Shortest and longest lifetime of a token for a backend, in seconds.
pub const TOKEN_LIFETIME_SECONDS: std::ops::RangeInclusive<u32> = 60..=3600;
/// The same of a token that a client gets by a code or a refresh token: some clients renew it five minutes early, so a
/// short one would be renewed without end (rule CL-31).
pub const CONNECTOR_TOKEN_LIFETIME_SECONDS: std::ops::RangeInclusive<u32> = 900..=3600;

/// A text that cannot be the identifier of a backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAudience {
    /// Not an absolute URI (RFC 8707 §2).
    #[error("is not an absolute URI")]
    NotAbsolute,
    /// It has a fragment (RFC 8707 §2).
    #[error("has a fragment")]
    Fragment,
    /// Longer than 512 bytes.
    #[error("is longer than 512 bytes")]
    TooLong,
}

/// The identifier of a backend, the `aud` of its tokens: an absolute URI without fragment (RFC 8707 §2).
///
/// It is written into tokens exactly as registered; [`Audience::canonical`] is what requests are matched by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Audience(String);

impl Audience {
    /// As registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Scheme and host in lower case, default port removed, `https://host` and `https://host/` the same;
    /// path case and inner slashes stay as they are (rule RI-05).
    pub fn canonical(&self) -> String {
        canonical_uri(&self.0).unwrap_or_else(|_| self.0.clone())
    }
}

/// The canonical form of a URI by which targets are compared.
///
/// # Errors
/// [`InvalidAudience`] if it is not an absolute URI without fragment.
pub fn canonical_uri(text: &str) -> Result<String, InvalidAudience> {
    if text.len() > 512 {
        return Err(InvalidAudience::TooLong);
    }
    // The URL parser would silently trim or drop these.
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(InvalidAudience::NotAbsolute);
    }
    let url = Url::parse(text).map_err(|_| InvalidAudience::NotAbsolute)?;
    if url.fragment().is_some() {
        return Err(InvalidAudience::Fragment);
    }
    Ok(url.into())
}

impl FromStr for Audience {
    type Err = InvalidAudience;
    fn from_str(text: &str) -> Result<Self, InvalidAudience> {
        canonical_uri(text).map(|_| Self(text.to_owned()))
    }
}

impl TryFrom<String> for Audience {
    type Error = InvalidAudience;
    fn try_from(text: String) -> Result<Self, InvalidAudience> {
        text.parse()
    }
}

impl From<Audience> for String {
    fn from(audience: Audience) -> Self {
        audience.0
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The algorithm that signs a backend's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256.
    #[default]
    ES256,
    /// Ed25519 (RFC 8037).
    EdDSA,
    /// RSASSA-PKCS1-v1_5.
    RS256,
    /// RSASSA-PSS.
    PS256,
}

impl SigningAlgorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ES256, Self::EdDSA, Self::RS256, Self::PS256];

    /// The JOSE name (`alg`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
        }
    }
}

/// What a scope can do to the user's data; consent shows it in plain words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Can see.
    Read,
    /// Can change.
    Write,
    /// Can delete or do what cannot be undone.
    Destructive,
}

impl Access {
    /// The name in the registry file and in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destructive => "destructive",
        }
    }
}

/// Marks a scope that only own Cedar text can permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopePolicy {
    /// Neither the built-in permit nor roles apply.
    Explicit,
}

/// User claims that a backend may ask to find in its tokens; none by default (rule AT-11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleasedClaim {
    /// `roles` (RFC 9068 §2.2.3.1).
    Roles,
    /// `groups` (RFC 9068 §2.2.3.1).
    Groups,
    /// `email`.
    Email,
}

/// One scope of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceScope {
    /// The scope token.
    pub name: Scope,
    /// Shown to the user at consent.
    pub description: String,
    /// What it can do.
    pub access: Access,
    /// Short form of a policy: the user needs one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// `explicit`: only own Cedar text can permit it. Not together with `roles`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ScopePolicy>,
    /// Only clients that an administrator registered can have it, whomever else the backend is open to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vetted_only: bool,
    /// The user ticks it themselves: on the consent page it is not ticked yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// A backend as declared in the registry file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// The registry's name of it; a client may also name it so in `audience`.
    pub id: ResourceId,
    /// The `aud` of its tokens.
    pub audience: Audience,
    /// Name for people to read.
    pub name: String,
    /// The longest its tokens live, in seconds; see [`TOKEN_LIFETIME_SECONDS`].
    #[serde(default = "default_token_lifetime")]
    pub token_lifetime_seconds: u32,
    /// The longest a token lives that a client gets by a code or a refresh token, in seconds: clients renew it some
    /// minutes early, so it is longer (rule CL-31).
    #[serde(default = "default_connector_token_lifetime")]
    pub connector_token_lifetime_seconds: u32,
    /// How long ago the user may have signed in, in seconds (RFC 9470); any time if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_auth_age_seconds: Option<u32>,
    /// How the user must have signed in: one of these `acr` values (RFC 9470); in any way if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acr_values: Vec<String>,
    /// What signs its tokens.
    #[serde(default)]
    pub signing_algorithm: SigningAlgorithm,
    /// User claims that go into its tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub release_claims: Vec<ReleasedClaim>,
    /// Backends for which a token of this one may be exchanged (audience edges, rule TX-80).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub may_exchange_to: Vec<ResourceId>,
    /// This backend's own client identities: may exchange its tokens onward.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<ClientId>,
    /// Which clients may come that no administrator registered: `domain`, `self_asserted`. None by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_to: Vec<Assurance>,
    /// Clients without a default of their own mean this backend when they name none and several can be meant (rule
    /// RI-04). One of all backends at most.
    #[serde(default, rename = "default", skip_serializing_if = "std::ops::Not::not")]
    pub is_default: bool,
    /// Its tokens say where a backend sees offline that one was revoked (claim `status`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub status_list: bool,
    /// What a token can be good for here.
    #[serde(default, rename = "scope", skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<ResourceScope>,
}

impl Resource {
    /// The declaration of one scope.
    pub fn scope(&self, name: &Scope) -> Option<&ResourceScope> {
        self.scopes.iter().find(|scope| scope.name == *name)
    }

    /// The most that a client which no administrator registered may have here; none if the backend is not open to it.
    pub fn ceiling_of(&self, assurance: Assurance) -> Option<Vec<Scope>> {
        let open = || self.scopes.iter().filter(|scope| !scope.vetted_only).map(|scope| scope.name.clone()).collect();
        self.open_to.contains(&assurance).then(open)
    }
}

fn default_token_lifetime() -> u32 {
    300
}

fn default_connector_token_lifetime() -> u32 {
    900
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_of_scheme_host_port_and_root_slash_does_not_matter() {
        let registered = "https://api.example.com/mcp".parse::<Audience>().unwrap().canonical();
        for spelling in ["HTTPS://API.Example.com/mcp", "https://api.example.com:443/mcp"] {
            assert_eq!(canonical_uri(spelling).unwrap(), registered);
        }
        assert_eq!(canonical_uri("https://api.example.com"), canonical_uri("https://api.example.com/"));
        assert_ne!(canonical_uri("https://api.example.com/mcp/").unwrap(), registered);
        assert_ne!(canonical_uri("https://api.example.com/MCP").unwrap(), registered);
    }

    #[test]
    fn a_fragment_a_relative_uri_and_white_space_are_refused() {
        assert_eq!(canonical_uri("https://a.example/#x"), Err(InvalidAudience::Fragment));
        assert_eq!(canonical_uri("records"), Err(InvalidAudience::NotAbsolute));
        assert_eq!(canonical_uri(" https://a.example/"), Err(InvalidAudience::NotAbsolute));
        assert_eq!(canonical_uri("https://a.example/\r\nX: y"), Err(InvalidAudience::NotAbsolute));
    }
}
