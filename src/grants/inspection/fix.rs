//! What to do about each check that failed, or could not be made.

use super::Against;
use super::kind::Kind;
use crate::domain::identity_provider::VerificationAlgorithm;
use crate::domain::resource::canonical_uri;
use serde_json::{Map, Value};

/// All that the advice depends on.
pub(super) struct Circumstances<'a> {
    pub(super) against: Against<'a>,
    /// The audience that it was compared with.
    pub(super) audience: Option<&'a str>,
    pub(super) kind: Kind,
    pub(super) header: &'a Map<String, Value>,
    pub(super) claims: &'a Map<String, Value>,
    pub(super) now: i64,
}

const MADE_ELSEWHERE: &str = "Procura always writes it, and so: the token is from somewhere else, or was changed. \
                              Get a new one at the token endpoint.";

impl Circumstances<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// For a check that failed, as `detail` says.
    pub(super) fn mend(&self, check: &str, detail: &str) -> String {
        match check {
            "form" => self.form(detail),
            "typ" => self.typ(),
            "alg" => {
                "Ours are signed with ES256, EdDSA, RS256 or PS256. `none` and HMAC (HS256) say that somebody made \
                 the token up, or that it is another issuer's. Let no backend accept them."
                    .to_owned()
            }
            "signature" => self.signature(),
            "iss" => self.iss(),
            "aud" => self.aud(),
            "exp" => self.exp(),
            "iat" if self.claims.get("iat").is_none_or(|iat| !iat.is_i64()) => MADE_ELSEWHERE.to_owned(),
            "iat" => {
                "A clock is wrong: set this machine's by NTP, and the issuer's. 30 seconds are forgiven.".to_owned()
            }
            "act" => {
                "`act` names who acts, and is an object with a text as `sub`, at most so deep as the chain may be. \
                 Procura writes it so: get a new token at the token endpoint."
                    .to_owned()
            }
            "cnf" => {
                "It counts only together with a proof of the key that it names, which Procura does not issue. Get a \
                 bearer token at the token endpoint."
                    .to_owned()
            }
            "scope" => {
                "`scope` is one text, with a space between each two. Get a new token at the token endpoint.".to_owned()
            }
            "status" => "`status` names a place in a status list of the issuer. Get a new token at the token endpoint."
                .to_owned(),
            _ if self.kind == Kind::AccessToken => MADE_ELSEWHERE.to_owned(),
            _ => "Other kinds of tokens need not have it: see typ.".to_owned(),
        }
    }

    /// For a check that could not be made.
    pub(super) fn say(&self, check: &str) -> String {
        match check {
            "signature" => {
                let issuer = self.text("iss").unwrap_or("ISSUER");
                format!(
                    "Give the issuer's keys: --jwks FILE, with what {issuer}/.well-known/jwks.json answers; or run \
                     it where the server's configuration and database are."
                )
            }
            "iss" => "Say which issuer the backend trusts: --issuer URL.".to_owned(),
            "aud" => "Say which backend it is shown to: --audience URI, or choose it on the page.".to_owned(),
            _ => "Run it where the server's configuration and database are.".to_owned(),
        }
    }

    fn form(&self, detail: &str) -> String {
        let was_cut = detail == "not a compact JWS"
            || ["base64url", "larger", "segments"].iter().any(|word| detail.contains(word));
        match self.kind {
            Kind::Unknown if !was_cut => {
                "Procura writes no such token: whoever reads it could be misled, so no verifier does. Get one at the \
                 token endpoint, and find out where this one came from."
            }
            Kind::AuthorizationCode => "Redeem it at the token endpoint (grant_type=authorization_code), once.",
            Kind::RefreshToken => {
                "It is for the token endpoint alone (grant_type=refresh_token). Show it to nobody else: whoever has \
                 it, and the client's secret, gets tokens."
            }
            Kind::ClientSecret => {
                "Show it to nobody. If it was seen where it does not belong, replace it: procura client rotate-secret CLIENT_ID"
            }
            Kind::RegistrationToken => "It is for /register/{id} alone, where a client changes its own registration.",
            Kind::Encrypted => {
                "Only whoever has the key can read it, and Procura makes none. At the provider, turn the encryption \
                 of tokens for this app off."
            }
            Kind::AccessToken
            | Kind::CallerHeader
            | Kind::OtherAccessToken
            | Kind::IdToken
            | Kind::LogoutToken
            | Kind::StatusList
            | Kind::ClientAssertion
            | Kind::OtherJwt => {
                "It is too large for a header. Release fewer roles and groups to this backend: release_claims of the resource."
            }
            Kind::Unknown => {
                "Take the whole token: three parts with dots between them, as the token endpoint gave it. If that is \
                 how it came, it is opaque and only its issuer can read it: ask there for JWT access tokens."
            }
        }
        .to_owned()
    }

    fn typ(&self) -> String {
        match self.kind {
            Kind::IdToken => {
                "An ID token says who signed in, to the app that asked. Exchange it at the token endpoint \
                 (subject_token), and send the backend what comes back."
            }
            Kind::CallerHeader => {
                "It is for the backend behind the proxy, in X-Procura-Caller. A backend that verifies it looks for \
                 typ procura-caller+jwt."
            }
            Kind::OtherAccessToken => {
                "It is another issuer's access token. Exchange it at the token endpoint (subject_token), and send \
                 the backend what comes back."
            }
            Kind::ClientAssertion => "It is for the token endpoint alone (client_assertion).",
            Kind::LogoutToken => "It is for /backchannel-logout alone, from the provider.",
            Kind::StatusList => "It is the list by which verifiers learn what was taken back, and lets nobody in.",
            Kind::AccessToken
            | Kind::OtherJwt
            | Kind::AuthorizationCode
            | Kind::RefreshToken
            | Kind::ClientSecret
            | Kind::RegistrationToken
            | Kind::Encrypted
            | Kind::Unknown => "Send the access token that the token endpoint gave, and no other JWT.",
        }
        .to_owned()
    }

    fn signature(&self) -> String {
        let algorithm = self.header.get("alg").and_then(Value::as_str).unwrap_or_default();
        if VerificationAlgorithm::from_header(algorithm).is_none() {
            return "See alg: by that there is nothing to check.".to_owned();
        }
        let Some(kid) = self.header.get("kid").and_then(Value::as_str) else {
            return "Procura always names its key: the token is from somewhere else. Get one at the token endpoint."
                .to_owned();
        };
        let keys = self.against.jwks.and_then(|jwks| serde_json::from_str::<Value>(jwks).ok()).unwrap_or_default();
        let keys = keys.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if keys.iter().any(|key| key.get("kid").and_then(Value::as_str) == Some(kid)) {
            return "Somebody changed it, or it was cut or changed when it was copied. Get a new one at the token \
                    endpoint, and find out where this one came from."
                .to_owned();
        }
        match (self.against.issuer, self.text("iss")) {
            (Some(expected), Some(iss)) if iss != expected => {
                format!("These are not the keys of {iss}. If you trust it, take the keys that it publishes.")
            }
            (_, _) => "Its key is not published any more: keys rotate, and are removed at once in an emergency \
                       (procura keys list). Get a new token. If new tokens are refused so, the backend keeps an old \
                       JWKS: let it fetch again for an unknown kid."
                .to_owned(),
        }
    }

    fn iss(&self) -> String {
        let (iss, expected) = (self.text("iss").unwrap_or_default(), self.against.issuer.unwrap_or_default());
        if iss.is_empty() {
            MADE_ELSEWHERE.to_owned()
        } else if iss.trim_end_matches('/') == expected.trim_end_matches('/') {
            format!("They differ by a slash at the end. Set the backend's issuer to {iss}, byte for byte.")
        } else {
            format!(
                "It is a token of {iss}. Send a token of {expected}: exchange this one there if it may be; or, if \
                 the backend is to trust {iss}, set that as its issuer."
            )
        }
    }

    fn aud(&self) -> String {
        let Some(expected) = self.audience else {
            return MADE_ELSEWHERE.to_owned();
        };
        let same = |audience: &str| canonical_uri(audience).is_ok_and(|uri| canonical_uri(expected) == Ok(uri));
        match self.text("aud") {
            Some(audience) if same(audience) => {
                format!(
                    "It is the same place, written in another way. Set the backend's audience to {audience}, byte for byte."
                )
            }
            Some(_) | None => format!(
                "A token is for one backend. Let the client ask the token endpoint for this one: \
                 resource={expected}. If this is the backend that it is for, set the backend's audience to that of \
                 its registry entry."
            ),
        }
    }

    fn exp(&self) -> String {
        let expires_at = self.claims.get("exp").and_then(Value::as_f64);
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit for a hundred million years")]
        let now = self.now as f64;
        match expires_at {
            Some(expires_at) if expires_at <= now => {
                "It is over, as every token is after some minutes. Let the client get a new one: exchange again, or \
                 refresh. If it was new, a clock is wrong."
                    .to_owned()
            }
            Some(_) if self.claims.get("iat").is_none_or(|iat| !iat.is_i64()) => {
                "How long it lives counts from iat: see there.".to_owned()
            }
            Some(_) => "No token of Procura lives so long: it is from somewhere else. Get one at the token endpoint."
                .to_owned(),
            None => MADE_ELSEWHERE.to_owned(),
        }
    }
}
