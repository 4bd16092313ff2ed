//! The client: an LLM app or agent that acts for users (OAuth client; actor of RFC 8693).

use super::names::{ClientId, ResourceId};
use super::scope::Scope;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use url::Url;

/// How a client proves who it is at `/token`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// `Authorization: Basic` with form-encoded id and secret (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// `client_id` and `client_secret` in the form (RFC 6749 §2.3.1).
    ClientSecretPost,
    /// A JWT signed by the client (RFC 7523 §2.2).
    PrivateKeyJwt,
    /// A public client: no authentication.
    None,
}

impl ClientAuthentication {
    /// The name in metadata and in the registry file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::None => "none",
        }
    }
}

/// The ways to earn a token that a client can be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 8693.
    TokenExchange,
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §4.1.
    AuthorizationCode,
    /// RFC 6749 §6.
    RefreshToken,
}

impl GrantType {
    /// The `grant_type` value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::ClientCredentials => "client_credentials",
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
        }
    }
}

/// Who agrees that a client may act for a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentMode {
    /// Each user for themselves.
    #[default]
    User,
    /// An administrator agreed for everyone; recorded as such.
    Admin,
}

/// How a client came to be known; part of every token as `client_assurance`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assurance {
    /// An administrator registered it.
    #[default]
    Vetted,
    /// By a client metadata document under its own domain.
    Domain,
    /// By dynamic registration: whatever it says of itself.
    SelfAsserted,
}

impl Assurance {
    /// The value of the claim `client_assurance`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vetted => "vetted",
            Self::Domain => "domain",
            Self::SelfAsserted => "self_asserted",
        }
    }
}

/// A client as declared in the registry file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The OAuth `client_id`.
    pub id: ClientId,
    /// Name for people to read.
    pub name: String,
    /// How it proves who it is.
    pub authentication: ClientAuthentication,
    /// Where its public keys are, for `private_key_jwt`. An empty text counts as absent.
    #[serde(default, deserialize_with = "empty_is_absent", skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<Url>,
    /// Its public keys, for `private_key_jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<serde_json::Value>,
    /// The grants it may use.
    pub grants: Vec<GrantType>,
    /// Where `/authorize` may send a code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// Who agrees that it may act for a user.
    #[serde(default)]
    pub consent: ConsentMode,
    /// Clients whose own tokens it may exchange (workload subjects, no user).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub may_act_for: Vec<ClientId>,
    /// Clients whose own tokens it may present as `actor_token` (RFC 8693 §2.1; rule TX-39).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub may_present: Vec<ClientId>,
    /// Its ceiling: the most it may ever have at each backend.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<ResourceId, Vec<Scope>>,
    /// Which of them it means when it names none and several can be meant (rule RI-04).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_resource: Option<ResourceId>,
}

impl Client {
    /// True if the client may use this grant.
    pub fn may_use(&self, grant: GrantType) -> bool {
        self.grants.contains(&grant)
    }

    /// What the client is towards a user who agrees: a digest of where it may be sent to. If it changes, the user is
    /// asked again (rule CM-15).
    pub fn fingerprint(&self) -> String {
        use base64::Engine;
        use sha2::Digest;
        let mut uris: Vec<&str> = self.redirect_uris.iter().map(String::as_str).collect();
        uris.sort_unstable();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(uris.join("\n")))
    }

    /// True if the client can prove who it is.
    pub fn is_confidential(&self) -> bool {
        self.authentication != ClientAuthentication::None
    }
}

/// A client together with what changes without its declaration changing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientEntry {
    /// The declaration.
    pub client: Client,
    /// How it came to be known.
    pub assurance: Assurance,
    /// Unix seconds; set while an administrator keeps it from acting.
    pub suspended_at: Option<i64>,
    /// Ways to authenticate that count besides the declared one: a client metadata document can name several.
    pub other_authentication: Vec<ClientAuthentication>,
}

impl ClientEntry {
    /// True if the client may have refresh tokens where it asks for `offline_access` (rule MC-13). What nobody here
    /// registered need not have said so before: each user decides for how long.
    pub fn may_renew(&self) -> bool {
        let is_asked_for = self.assurance != Assurance::Vetted && self.client.may_use(GrantType::AuthorizationCode);
        is_asked_for || self.client.may_use(GrantType::RefreshToken)
    }

    /// True if the client may authenticate so.
    pub fn may_authenticate_by(&self, method: ClientAuthentication) -> bool {
        self.client.authentication == method || self.other_authentication.contains(&method)
    }
}

/// `jwks_uri = ""` means none, so that a template of a registry file can keep the line.
pub(super) fn empty_is_absent<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Url>, D::Error> {
    match Option::<String>::deserialize(input)? {
        Some(text) if !text.is_empty() => Url::parse(&text).map(Some).map_err(serde::de::Error::custom),
        Some(_) | None => Ok(None),
    }
}
