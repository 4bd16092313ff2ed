//! The sign-in: who a user is by their identity provider, in one browser.

use super::names::{IdpId, UserId};
use serde::{Deserialize, Serialize};

/// A user who signed in here, through their provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// The `sub` of our tokens.
    pub user: UserId,
    /// The provider.
    pub idp: IdpId,
    /// The `sub` there.
    pub idp_sub: String,
    /// The provider's own session, for its logout messages (`sid`, OpenID Connect Back-Channel Logout §2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idp_session: Option<String>,
    /// Name for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// E-mail address, to show which account this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// When the user last proved who they are, Unix seconds; none if the provider does not say. Then it counts as too long
    /// ago wherever that matters: the provider may have known the user from before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// How well (`acr`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// By what (`amr`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// When this browser came back from the provider, Unix seconds.
    pub signed_in_at: i64,
}

impl SignIn {
    /// The account as its owner knows it: the e-mail address, else the name, else the provider's `sub`.
    pub fn account(&self) -> &str {
        self.email.as_deref().or(self.name.as_deref()).unwrap_or(&self.idp_sub)
    }
}
