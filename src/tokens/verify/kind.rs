//! What kind of token it is: by its `typ`, by what the provider says in it, and by its shape; never by "it verified"
//! (rules TX-26, JW-11; RFC 8725 §3.11, §3.12).

use crate::domain::identity_provider::SubjectTokenType;
use crate::tokens::jose::Unverified;
use crate::tokens::signing_keys::ACCESS_TOKEN_TYP;
use serde_json::{Map, Value};

/// A token's own word on what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    IdToken,
    AccessToken,
    SomethingElse,
}

/// Claims that only ID tokens have (OpenID Connect Core §2, §3.3.2.11).
const ID_TOKEN_CLAIMS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];

/// Claims that say what a bearer may do, or which client got the token. `azp` is not one: ID tokens have it too.
const ACCESS_TOKEN_CLAIMS: [&str; 5] = ["scope", "scp", "client_id", "cid", "appid"];

/// Checks that the token is of the declared type; the problem in words if not.
///
/// An explicit word counts before the shape: `typ` of the header, then Keycloak's claim `typ` (`ID`, `Bearer`, ...) and
/// Cognito's `token_use`. Only where there is none do claims decide.
pub(super) fn check(token: &Unverified, declared: SubjectTokenType) -> Result<(), String> {
    let typ = token.typ();
    let is_plain = typ.as_deref().is_none_or(|typ| typ == "jwt");
    let is_access_token = typ.as_deref() == Some(ACCESS_TOKEN_TYP);
    let has_any = |names: &[&str]| names.iter().any(|name| token.claims.contains_key(*name));
    let is_shaped_for_access = has_any(&ACCESS_TOKEN_CLAIMS) && !has_any(&ID_TOKEN_CLAIMS);
    match declared {
        SubjectTokenType::IdToken => {
            if !is_plain {
                return Err("an ID token has no typ, or JWT".to_owned());
            }
            if !token.claims.contains_key("iat") {
                return Err("an ID token has iat".to_owned());
            }
            match said(token) {
                Some(Said::AccessToken | Said::SomethingElse) => Err("it says that it is not an ID token".to_owned()),
                None if is_shaped_for_access => Err("its claims are those of an access token".to_owned()),
                Some(Said::IdToken) | None => Ok(()),
            }
        }
        SubjectTokenType::AccessToken => {
            if !is_plain && !is_access_token {
                return Err("an access token has typ at+jwt, or else JWT or none".to_owned());
            }
            match said(token) {
                Some(Said::AccessToken) => Ok(()),
                Some(Said::IdToken | Said::SomethingElse) => Err("it says that it is not an access token".to_owned()),
                None if is_access_token || is_shaped_for_access => Ok(()),
                None => Err("its claims are not those of an access token".to_owned()),
            }
        }
        // An exclusive typ says that the token is for one protocol only; `JWT`, none, and names of the provider's own
        // do not.
        SubjectTokenType::Jwt => match (typ, said(token)) {
            (Some(typ), _) if is_exclusive(&typ) => Err("its typ is that of another kind of token".to_owned()),
            (_, Some(Said::SomethingElse)) => {
                Err("it says that it is neither an ID token nor an access token".to_owned())
            }
            (_, _) => Ok(()),
        },
    }
}

/// What a JWT of some issuer would be taken for; none if neither as an ID token nor as an access token. Nothing of it is
/// verified.
pub fn looks_like(header: &Map<String, Value>, claims: &Map<String, Value>) -> Option<SubjectTokenType> {
    let (header, claims) = (header.clone(), claims.clone());
    let token = Unverified { header, claims, signing_input: String::new(), signature: Vec::new() };
    [SubjectTokenType::IdToken, SubjectTokenType::AccessToken].into_iter().find(|kind| check(&token, *kind).is_ok())
}

/// True for the `typ` of a token that is made for one protocol.
fn is_exclusive(typ: &str) -> bool {
    matches!(
        typ,
        ACCESS_TOKEN_TYP
            | "oauth-id-jag+jwt"
            | "client-authentication+jwt"
            | "dpop+jwt"
            | "logout+jwt"
            | "procura-caller+jwt"
            | "secevent+jwt"
            | "token-introspection+jwt"
            | "statuslist+jwt"
            | "txntoken+jwt"
            | "oauth-authz-req+jwt"
            | "kb+jwt"
            | "dc+sd-jwt"
            | "vc+sd-jwt"
    )
}

fn said(token: &Unverified) -> Option<Said> {
    let claim = |name: &str| token.claims.get(name).and_then(Value::as_str);
    match (claim("typ"), claim("token_use")) {
        (Some("ID"), None) | (None, Some("id")) => Some(Said::IdToken),
        (Some("Bearer"), None) | (None, Some("access")) => Some(Said::AccessToken),
        // Keycloak's other kinds: they are not for showing to anybody.
        (Some("Refresh" | "Offline" | "Logout" | "Registration-Access" | "Initial-Access-Token"), _) => {
            Some(Said::SomethingElse)
        }
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SubjectTokenType::{AccessToken, IdToken, Jwt};
    use serde_json::json;

    fn accepted(typ: Option<&str>, claims: Value) -> Vec<SubjectTokenType> {
        let mut header = json!({"alg": "ES256"});
        if let Some(typ) = typ {
            header["typ"] = json!(typ);
        }
        let Value::Object(mut claims) = claims else { panic!("not an object") };
        claims.entry("iat").or_insert(json!(1));
        let token = Unverified {
            header: header.as_object().unwrap().clone(),
            claims,
            signing_input: String::new(),
            signature: Vec::new(),
        };
        [IdToken, AccessToken, Jwt].into_iter().filter(|declared| check(&token, *declared).is_ok()).collect()
    }

    #[test]
    fn an_explicit_typ_decides() {
        assert_eq!(accepted(Some("at+jwt"), json!({})), [AccessToken]);
        assert_eq!(accepted(Some("application/at+jwt"), json!({"nonce": "n"})), [AccessToken]);
        for typ in
            ["logout+jwt", "secevent+jwt", "dpop+jwt", "oauth-id-jag+jwt", "client-authentication+jwt", "txntoken+jwt"]
        {
            assert_eq!(accepted(Some(typ), json!({"scope": "a"})), [], "{typ}");
        }
    }

    #[test]
    fn a_typ_of_the_providers_own_is_a_jwt_only() {
        assert_eq!(accepted(Some("acme+jwt"), json!({"scope": "a"})), [Jwt]);
    }

    #[test]
    fn without_a_word_the_claims_decide() {
        for typ in [None, Some("JWT")] {
            assert_eq!(accepted(typ, json!({"azp": "app"})), [IdToken, Jwt]);
            assert_eq!(accepted(typ, json!({"nonce": "n", "scope": "a"})), [IdToken, Jwt]);
            for claim in ACCESS_TOKEN_CLAIMS {
                assert_eq!(accepted(typ, json!({claim: "a"})), [AccessToken, Jwt], "{claim}");
            }
        }
    }

    #[test]
    fn the_providers_word_counts_before_the_shape() {
        assert_eq!(accepted(None, json!({"typ": "Bearer", "nonce": "n"})), [AccessToken, Jwt]);
        assert_eq!(accepted(None, json!({"typ": "ID", "scope": "a"})), [IdToken, Jwt]);
        assert_eq!(accepted(None, json!({"token_use": "access"})), [AccessToken, Jwt]);
        assert_eq!(accepted(Some("at+jwt"), json!({"typ": "ID"})), []);
        assert_eq!(accepted(None, json!({"typ": "Refresh", "scope": "a"})), []);
    }
}
