//! The identity provider: where users sign in, and whose tokens we accept as proof of it.

pub use super::algorithm::VerificationAlgorithm;
use super::client::empty_is_absent;
use super::names::{ClientId, IdpId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use url::Url;

/// The kinds of foreign token that a client may present (RFC 8693 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectTokenType {
    /// `urn:ietf:params:oauth:token-type:id_token`.
    IdToken,
    /// `urn:ietf:params:oauth:token-type:access_token`, as a JWT.
    AccessToken,
    /// `urn:ietf:params:oauth:token-type:jwt`.
    Jwt,
}

impl SubjectTokenType {
    /// The token type URI (RFC 8693 §3).
    pub fn uri(self) -> &'static str {
        match self {
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }

    /// The type of a token type URI; none for one that cannot be a subject here.
    pub fn from_uri(uri: &str) -> Option<Self> {
        [Self::IdToken, Self::AccessToken, Self::Jwt].into_iter().find(|kind| kind.uri() == uri)
    }
}

/// What the `scope` claim of a foreign token means for the exchange.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectScope {
    /// A ceiling: nothing beyond it is granted (rule TX-79).
    #[default]
    Limits,
    /// The provider's scopes speak of something else (`openid profile`), so they say nothing here.
    Ignored,
}

/// Which tokens of a provider may be presented, and by whom (rules TX-33, TX-34).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectTokenRule {
    /// The kind of token.
    #[serde(rename = "type")]
    pub token_type: SubjectTokenType,
    /// Accepted `aud` values, and `azp` when there is one.
    pub audiences: Vec<String>,
    /// The clients that may present such a token.
    pub clients: Vec<ClientId>,
    /// Oldest accepted `iat`, in seconds before now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u32>,
    /// What its `scope` claim means.
    #[serde(default)]
    pub scope: SubjectScope,
    /// Claims that must have exactly this text, for example `hd` or `tid` of a multi-tenant provider.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub required_claims: BTreeMap<String, String>,
    /// Each token, known by its `jti`, may be exchanged once per client (rule TX-42). Off by default, since LLM clients
    /// exchange one ID token many times.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single_use: bool,
}

/// Where in a token the user's attributes are: JSON pointers (RFC 6901).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimPointers {
    /// Role names: an array of texts, or one text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<String>,
    /// Group names: an array of texts, or one text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<String>,
    /// E-mail address: a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Name for people: a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Our own registration at the provider, for signing users in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Our `client_id` there.
    pub client_id: String,
    /// The environment variable that holds our secret there; the secret itself is never in the registry. Absent: we are
    /// a public client there, and PKCE alone protects the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_env: Option<String>,
    /// What to ask for.
    pub scopes: Vec<String>,
    /// Claims of the ID token that must have exactly this text, for example `hd` or `tid` of a multi-tenant provider.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub required_claims: BTreeMap<String, String>,
}

/// An identity provider as declared in the registry file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityProvider {
    /// The registry's name of it.
    pub id: IdpId,
    /// Its `iss`, compared byte for byte.
    pub issuer: String,
    /// Name for people to read.
    pub name: String,
    /// What may sign its tokens.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<VerificationAlgorithm>,
    /// Where its keys are; by discovery if absent. An empty text counts as absent.
    #[serde(default, deserialize_with = "empty_is_absent", skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<Url>,
    /// Lets its documents be fetched from loopback and private networks, and by `http` from loopback.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_private_addresses: bool,
    /// `sub` here is this prefix and `sub` there; empty only while it is the sole provider.
    /// Absent: the provider's id and `|`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_prefix: Option<String>,
    /// Our registration there, for signing users in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// Where the user's attributes are.
    #[serde(default)]
    pub claims: ClaimPointers,
    /// What may be presented, and by whom.
    #[serde(default, rename = "subject_token", skip_serializing_if = "Vec::is_empty")]
    pub subject_tokens: Vec<SubjectTokenRule>,
}

impl IdentityProvider {
    /// The prefix in force.
    pub fn prefix(&self) -> String {
        self.subject_prefix.clone().unwrap_or_else(|| format!("{}|", self.id))
    }
}

fn default_algorithms() -> Vec<VerificationAlgorithm> {
    vec![VerificationAlgorithm::RS256, VerificationAlgorithm::ES256]
}
