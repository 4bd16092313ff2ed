//! The user: a person known by the pair (identity provider, `sub` there).

use super::names::{IdpId, UserId};
use serde::{Deserialize, Serialize};

/// What the identity provider said of a user, and what policies may look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserAttributes {
    /// Role names, as found at the provider's `roles` pointer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Group names, as found at the provider's `groups` pointer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// E-mail address. Never a key: providers reuse and change them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the provider says that the address is the user's (`email_verified`); none if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// Name for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What we remember of a user between requests: whom the provider meant, and the newest attributes seen.
///
/// A later hop of a delegation presents our own token, which does not carry roles; policy reads them here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The `sub` of our tokens.
    pub id: UserId,
    /// Which provider vouches for this user.
    pub idp: IdpId,
    /// The `sub` at that provider.
    pub idp_sub: String,
    /// Newest attributes seen.
    pub attributes: UserAttributes,
    /// `iat` of the token that told us, Unix seconds: an older token never replaces newer attributes.
    pub attributes_at: i64,
    /// Unix seconds; set while an administrator keeps the user from being acted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<i64>,
}
