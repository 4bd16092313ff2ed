//! What a text is, whoever made it: many things look like a token of ours.

use crate::domain::identity_provider::SubjectTokenType;
use crate::tokens::caller::CALLER_TYP;
use crate::tokens::verify::looks_like;
use serde::Serialize;
use serde_json::{Map, Value};

/// What it is, by what it says of itself. Nothing of it is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A JWT access token (RFC 9068), as ours are.
    AccessToken,
    /// What `/forward-auth` gives to a proxy.
    CallerHeader,
    /// An access token as other issuers make them, without `typ`.
    OtherAccessToken,
    /// An ID token (OpenID Connect).
    IdToken,
    /// A logout token (OpenID Connect Back-Channel Logout).
    LogoutToken,
    /// A token status list.
    StatusList,
    /// A JWT by which a client proves who it is.
    ClientAssertion,
    /// Another JWT.
    OtherJwt,
    /// An authorization code of ours.
    AuthorizationCode,
    /// A refresh token of ours.
    RefreshToken,
    /// A client secret of ours.
    ClientSecret,
    /// A registration access token of ours.
    RegistrationToken,
    /// An encrypted JWT (JWE).
    Encrypted,
    /// None of these.
    Unknown,
}

impl Kind {
    pub(super) fn of(token: &str, header: &Map<String, Value>, claims: &Map<String, Value>) -> Self {
        if header.is_empty() {
            return Self::of_text(token);
        }
        let typ = header.get("typ").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
        match typ.strip_prefix("application/").unwrap_or(&typ) {
            "at+jwt" => Self::AccessToken,
            CALLER_TYP => Self::CallerHeader,
            "logout+jwt" => Self::LogoutToken,
            "statuslist+jwt" => Self::StatusList,
            "client-authentication+jwt" => Self::ClientAssertion,
            "" | "jwt" => match looks_like(header, claims) {
                Some(SubjectTokenType::IdToken) if Self::is_assertion(claims) => Self::ClientAssertion,
                Some(SubjectTokenType::IdToken) => Self::IdToken,
                Some(SubjectTokenType::AccessToken) => Self::OtherAccessToken,
                Some(SubjectTokenType::Jwt) | None => Self::OtherJwt,
            },
            _ => Self::OtherJwt,
        }
    }

    /// A client says of itself who it is, so its name is in both places (RFC 7523 §3).
    fn is_assertion(claims: &Map<String, Value>) -> bool {
        claims.contains_key("iss") && claims.get("iss") == claims.get("sub")
    }

    fn of_text(text: &str) -> Self {
        let begins = |start: &str| text.starts_with(start);
        if begins("pac_") {
            Self::AuthorizationCode
        } else if begins("prf_") {
            Self::RefreshToken
        } else if begins("pcs_") {
            Self::ClientSecret
        } else if begins("prt_") {
            Self::RegistrationToken
        } else if begins("eyJ") && text.split('.').count() == 5 {
            Self::Encrypted
        } else {
            Self::Unknown
        }
    }

    /// True if the audit trail has an event of its `jti`.
    pub(super) fn has_event(self) -> bool {
        matches!(self, Self::AccessToken | Self::CallerHeader)
    }

    /// For people, with its article.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::AccessToken => "a JWT access token (RFC 9068)",
            Self::CallerHeader => "the caller's header that /forward-auth gives to a proxy",
            Self::OtherAccessToken => "an access token",
            Self::IdToken => "an ID token",
            Self::LogoutToken => "a logout token",
            Self::StatusList => "a token status list",
            Self::ClientAssertion => "a JWT by which a client proves who it is",
            Self::OtherJwt => "a JWT of another kind",
            Self::AuthorizationCode => "an authorization code",
            Self::RefreshToken => "a refresh token",
            Self::ClientSecret => "a client secret",
            Self::RegistrationToken => "a registration access token",
            Self::Encrypted => "an encrypted JWT (JWE)",
            Self::Unknown => "no token that can be read",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kind(typ: Option<&str>, claims: &Value) -> Kind {
        let mut header = json!({"alg": "RS256"});
        if let Some(typ) = typ {
            header["typ"] = json!(typ);
        }
        Kind::of("eyJ", header.as_object().unwrap(), claims.as_object().unwrap())
    }

    #[test]
    fn a_jwt_is_told_by_its_typ_and_else_by_its_claims() {
        assert_eq!(kind(Some("at+jwt"), &json!({"nonce": "n"})), Kind::AccessToken);
        assert_eq!(kind(Some("application/AT+JWT"), &json!({})), Kind::AccessToken);
        assert_eq!(kind(Some("procura-caller+jwt"), &json!({})), Kind::CallerHeader);
        assert_eq!(kind(Some("logout+jwt"), &json!({})), Kind::LogoutToken);
        assert_eq!(kind(Some("statuslist+jwt"), &json!({})), Kind::StatusList);
        let id = json!({"iss": "https://idp.example", "sub": "alice", "aud": "app", "iat": 1, "nonce": "n"});
        assert_eq!(kind(None, &id), Kind::IdToken);
        assert_eq!(kind(Some("JWT"), &id), Kind::IdToken);
        assert_eq!(kind(Some("JWT"), &json!({"iss": "i", "sub": "a", "scope": "x"})), Kind::OtherAccessToken);
        assert_eq!(kind(None, &json!({"iss": "agent", "sub": "agent", "aud": "a", "iat": 1})), Kind::ClientAssertion);
        assert_eq!(kind(Some("dpop+jwt"), &json!({})), Kind::OtherJwt);
    }

    #[test]
    fn what_is_no_jwt_is_told_by_how_it_begins() {
        let of = |text: &str| Kind::of(text, &Map::new(), &Map::new());
        assert_eq!(of("prf_x.1.y"), Kind::RefreshToken);
        assert_eq!(of("pac_x.y"), Kind::AuthorizationCode);
        assert_eq!(of("pcs_x"), Kind::ClientSecret);
        assert_eq!(of("prt_x"), Kind::RegistrationToken);
        assert_eq!(of("eyJh.b.c.d.e"), Kind::Encrypted);
        assert_eq!(of("eyJh.b"), Kind::Unknown);
        assert_eq!(of("opaque"), Kind::Unknown);
    }
}
