//! The form as a typed request: which grant, and what it needs.

use super::authorization_code::CodeRequest;
use super::params::Params;
use super::refresh_token::RefreshRequest;
use crate::domain::client::GrantType;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::scope::ScopeSet;
use crate::domain::target::RequestedTargets;
use std::fmt;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What the client asks to be given (`requested_token_type`). Both are the same token, a JWT access token (RFC 9068),
/// and usable as a bearer token; only the name in `issued_token_type` differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedType {
    /// The default.
    AccessToken,
    /// Asked for by its format.
    Jwt,
}

impl RequestedType {
    /// The token type URI (RFC 8693 §3).
    pub fn uri(self) -> &'static str {
        match self {
            Self::AccessToken => ACCESS_TOKEN,
            Self::Jwt => JWT,
        }
    }
}

/// A request at `/token`.
#[derive(Debug)]
pub enum GrantRequest {
    /// RFC 8693 §2.1.
    TokenExchange(ExchangeRequest),
    /// RFC 6749 §4.4.2.
    ClientCredentials(ClientCredentialsRequest),
    /// RFC 6749 §4.1.3.
    AuthorizationCode(CodeRequest),
    /// RFC 6749 §6.
    RefreshToken(RefreshRequest),
}

/// A token exchange request (RFC 8693 §2.1).
pub struct ExchangeRequest {
    /// The token of the user.
    pub subject_token: String,
    /// Its declared type.
    pub subject_token_type: String,
    /// The token of the actor and its declared type.
    pub actor: Option<(String, String)>,
    /// What to be given.
    pub requested_type: RequestedType,
    /// For which backend.
    pub targets: RequestedTargets,
    /// To do what; none leaves it open.
    pub scopes: Option<ScopeSet>,
}

/// Without the tokens.
impl fmt::Debug for ExchangeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeRequest")
            .field("targets", &self.targets)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// A request of a client for a token of its own (RFC 6749 §4.4.2).
#[derive(Debug)]
pub struct ClientCredentialsRequest {
    /// For which backend; none means for this server.
    pub targets: RequestedTargets,
    /// To do what; none leaves it open.
    pub scopes: Option<ScopeSet>,
}

/// The grant that the form asks for.
///
/// # Errors
/// It is missing, or one we do not offer.
pub fn grant_type(params: &Params) -> Result<GrantType, Refusal> {
    let asked = params.require("grant_type")?;
    [GrantType::TokenExchange, GrantType::ClientCredentials, GrantType::AuthorizationCode, GrantType::RefreshToken]
        .into_iter()
        .find(|grant| grant.as_str() == asked)
        .ok_or_else(|| Refusal::new(ReasonCode::GrantTypeUnsupported, "grant_type is not one that is offered"))
}

impl GrantRequest {
    /// Reads what the grant needs.
    ///
    /// # Errors
    /// The first parameter that is missing or wrong (rules TX-02 to TX-12).
    pub fn parse(grant: GrantType, params: &Params) -> Result<Self, Refusal> {
        let targets = params.targets().clone();
        let scopes = scopes(params)?;
        match grant {
            GrantType::TokenExchange => Ok(Self::TokenExchange(ExchangeRequest {
                subject_token: params.require("subject_token")?.to_owned(),
                subject_token_type: params.require("subject_token_type")?.to_owned(),
                actor: actor(params)?,
                requested_type: requested_type(params)?,
                targets,
                scopes,
            })),
            GrantType::ClientCredentials => Ok(Self::ClientCredentials(ClientCredentialsRequest { targets, scopes })),
            GrantType::AuthorizationCode => Ok(Self::AuthorizationCode(CodeRequest {
                code: params.require("code")?.to_owned(),
                redirect_uri: params.get("redirect_uri").map(str::to_owned),
                code_verifier: params.get("code_verifier").map(verifier).transpose()?,
                targets,
            })),
            GrantType::RefreshToken => Ok(Self::RefreshToken(RefreshRequest {
                refresh_token: params.require("refresh_token")?.to_owned(),
                targets,
                scopes: scopes.map(without_identity).filter(|scopes| !scopes.is_empty()),
            })),
        }
    }
}

/// RFC 7636 §4.1: 43 to 128 unreserved characters.
fn verifier(text: &str) -> Result<String, Refusal> {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    if (43..=128).contains(&text.len()) && text.bytes().all(unreserved) {
        return Ok(text.to_owned());
    }
    let detail = "code_verifier is not 43 to 128 unreserved characters (RFC 7636 section 4.1)";
    Err(Refusal::new(ReasonCode::ParameterInvalid, detail))
}

/// Scopes that ask for something of this server and not of a backend (OpenID Connect Core §5.4, §11).
pub const IDENTITY_SCOPES: [&str; 4] = ["openid", "profile", "email", OFFLINE_ACCESS];
/// Asks for a refresh token (OpenID Connect Core §11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// The scopes that are for a backend.
pub(super) fn without_identity(scopes: ScopeSet) -> ScopeSet {
    scopes.partition(|scope| !IDENTITY_SCOPES.contains(&scope.as_str())).0
}

pub(super) fn scopes(params: &Params) -> Result<Option<ScopeSet>, Refusal> {
    params
        .get("scope")
        .map(|text| text.parse().map_err(|problem| Refusal::new(ReasonCode::ScopeMalformed, format!("{problem}"))))
        .transpose()
}

/// `actor_token_type` is required with `actor_token`, and forbidden without it (rule TX-03).
fn actor(params: &Params) -> Result<Option<(String, String)>, Refusal> {
    match (params.get("actor_token"), params.get("actor_token_type")) {
        (Some(token), Some(token_type)) => Ok(Some((token.to_owned(), token_type.to_owned()))),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(Refusal::new(ReasonCode::ParameterMissing, "actor_token was sent without actor_token_type"))
        }
        (None, Some(_)) => {
            Err(Refusal::new(ReasonCode::ParameterInvalid, "actor_token_type was sent without actor_token"))
        }
    }
}

fn requested_type(params: &Params) -> Result<RequestedType, Refusal> {
    match params.get("requested_token_type") {
        None | Some(ACCESS_TOKEN) => Ok(RequestedType::AccessToken),
        Some(JWT) => Ok(RequestedType::Jwt),
        Some(_) => Err(Refusal::new(
            ReasonCode::RequestedTokenTypeUnsupported,
            "requested_token_type is neither the access_token nor the jwt type",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<GrantRequest, ReasonCode> {
        let params = Params::parse(body.as_bytes()).unwrap();
        let grant = grant_type(&params).map_err(|refusal| refusal.reason)?;
        GrantRequest::parse(grant, &params).map_err(|refusal| refusal.reason)
    }

    const EXCHANGE: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";

    #[test]
    fn an_exchange_needs_a_subject_token_and_its_type() {
        assert_eq!(parse("scope=a").unwrap_err(), ReasonCode::ParameterMissing);
        assert_eq!(parse(EXCHANGE).unwrap_err(), ReasonCode::ParameterMissing);
        assert_eq!(parse(&format!("{EXCHANGE}&subject_token=a")).unwrap_err(), ReasonCode::ParameterMissing);
        assert!(parse(&format!("{EXCHANGE}&subject_token=a&subject_token_type=b")).is_ok());
    }

    #[test]
    fn an_actor_token_and_its_type_go_together() {
        let base = format!("{EXCHANGE}&subject_token=a&subject_token_type=b");
        assert_eq!(parse(&format!("{base}&actor_token=c")).unwrap_err(), ReasonCode::ParameterMissing);
        assert_eq!(parse(&format!("{base}&actor_token_type=c")).unwrap_err(), ReasonCode::ParameterInvalid);
        assert!(parse(&format!("{base}&actor_token=c&actor_token_type=d")).is_ok());
    }

    #[test]
    fn grants_that_are_not_offered_and_types_that_are_not_issued_are_refused() {
        for grant in ["password", "implicit", "CLIENT_CREDENTIALS"] {
            assert_eq!(parse(&format!("grant_type={grant}")).unwrap_err(), ReasonCode::GrantTypeUnsupported);
        }
        let saml = "urn:ietf:params:oauth:token-type:saml2";
        let base = format!("{EXCHANGE}&subject_token=a&subject_token_type=b&requested_token_type={saml}");
        assert_eq!(parse(&base).unwrap_err(), ReasonCode::RequestedTokenTypeUnsupported);
    }

    #[test]
    fn a_scope_with_doubled_spaces_or_quotes_is_malformed() {
        for scope in ["a++b", "+a", "a%22", "a%0ab"] {
            let body = format!("grant_type=client_credentials&scope={scope}");
            assert_eq!(parse(&body).unwrap_err(), ReasonCode::ScopeMalformed, "{scope}");
        }
    }
}
