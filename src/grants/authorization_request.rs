//! The authorization request (RFC 6749 §4.1.1, RFC 7636, RFC 8707, OpenID Connect Core §3.1.2.1): read once and strictly.
//!
//! Until the client and where it may be sent to are known, nothing is sent anywhere: the user sees a page (rule OA-03).

use super::params::{Params, decode};
use super::request::{IDENTITY_SCOPES, OFFLINE_ACCESS, scopes, without_identity};
use crate::config::RegistrationSettings;
use crate::domain::client::{ClientEntry, GrantType};
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::redirect_uri;
use crate::domain::registry::Registry;
use crate::domain::scope::ScopeSet;
use crate::domain::target::RequestedTargets;
use std::sync::Arc;

/// What is longer would not fit into the address that the user comes back to from their provider.
pub const MOST_BYTES: usize = 8192;
/// Longer ones are no state but a store.
const MOST_STATE_BYTES: usize = 4096;

/// What a client asks for, for a user it does not know yet.
#[derive(Debug, Clone)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client: Arc<ClientEntry>,
    /// Where the answer goes: one that the client registered.
    pub redirect_uri: String,
    /// Sent back as it came.
    pub state: Option<String>,
    /// For which backend.
    pub targets: RequestedTargets,
    /// To do what there; none leaves it open.
    pub scopes: Option<ScopeSet>,
    /// Which of `openid`, `profile` and `email`; and `offline_access`, if the client may have it.
    pub identity: ScopeSet,
    /// PKCE, S256.
    pub code_challenge: String,
    /// For the ID token.
    pub nonce: Option<String>,
    /// `prompt`.
    pub prompt: Prompt,
    /// The oldest sign-in that counts, in seconds.
    pub max_age: Option<u32>,
    /// How the user should sign in.
    pub acr_values: Option<String>,
    /// Who is probably meant; for the provider.
    pub login_hint: Option<String>,
}

/// `prompt` (OpenID Connect Core §3.1.2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the four words are independent of each other")]
pub struct Prompt {
    /// Show nothing.
    pub none: bool,
    /// Let the user sign in again.
    pub login: bool,
    /// Ask even what was agreed to.
    pub consent: bool,
    /// Let the user choose another account.
    pub select_account: bool,
}

/// Where an answer to a request goes, known before the rest of it is.
#[derive(Debug, Clone)]
pub struct ReturnAddress {
    /// Who asked.
    pub client: Arc<ClientEntry>,
    /// One that the client registered.
    pub redirect_uri: String,
    /// Sent back as it came.
    pub state: Option<String>,
}

impl AuthorizationRequest {
    /// Where the answer goes.
    pub fn return_address(&self) -> ReturnAddress {
        ReturnAddress {
            client: Arc::clone(&self.client),
            redirect_uri: self.redirect_uri.clone(),
            state: self.state.clone(),
        }
    }
}

impl ReturnAddress {
    /// Of a form whose client is known.
    ///
    /// # Errors
    /// `redirect_uri` is missing, sent twice, not one of this client, or at a denied host. Nothing may be sent anywhere
    /// then.
    pub fn read(client: &Arc<ClientEntry>, form: &[u8], settings: &RegistrationSettings) -> Result<Self, Refusal> {
        let refused = |detail: &str| Err(Refusal::new(ReasonCode::RedirectUriInvalid, detail));
        let registered = &client.client.redirect_uris;
        let redirect_uri = match single(form, "redirect_uri")? {
            Some(uri) if registered.iter().any(|registered| redirect_uri::matches(registered, &uri)) => uri,
            Some(_) => return refused("redirect_uri is not one of this client"),
            // The only one is meant (RFC 6749 §3.1.2.3); a loopback one has no port to be sent to.
            None => match registered.as_slice() {
                [only] if redirect_uri::kind(only) == Some(redirect_uri::RedirectKind::Https) => only.clone(),
                _ => return refused("redirect_uri is missing, and the client has not exactly one https one"),
            },
        };
        if !settings.lets_codes_go_to(&redirect_uri) {
            return refused("no code is sent to the host of redirect_uri (registration.deny)");
        }
        let state = single(form, "state")?.filter(|state| !state.is_empty());
        Ok(Self { client: Arc::clone(client), redirect_uri, state })
    }

    /// The URI that the browser goes to with these parameters: with `state`, and always with `iss` (RFC 9207 §2).
    pub fn with(&self, issuer: &str, parameters: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(parameters);
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        query.append_pair("iss", issuer);
        let separator = match self.redirect_uri.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        format!("{}{separator}{}", self.redirect_uri, query.finish())
    }
}

/// The value of a parameter by which it is known whom to answer.
///
/// # Errors
/// It was sent more than once, or is not form-encoded UTF-8.
pub fn single(form: &[u8], name: &str) -> Result<Option<String>, Refusal> {
    let mut found = None;
    for pair in form.split(|byte| *byte == b'&') {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        if decode(halves.next().unwrap_or_default()).as_deref() != Some(name) {
            continue;
        }
        let value = decode(halves.next().unwrap_or_default())
            .ok_or_else(|| Refusal::new(ReasonCode::ParameterInvalid, format!("{name} is not form-encoded UTF-8")))?;
        if found.replace(value).is_some() {
            return Err(Refusal::new(ReasonCode::ParameterRepeated, format!("{name} was sent more than once")));
        }
    }
    Ok(found)
}

/// The rest of a request whose client and return address are known. A backend that there is not is told here, before
/// anybody signs in for nothing.
///
/// # Errors
/// The first thing that is missing or wrong; it is told to the client.
pub fn read(
    address: &ReturnAddress,
    form: &[u8],
    registry: &Registry,
    issuer: &str,
) -> Result<AuthorizationRequest, Refusal> {
    let request = parse(address, form)?;
    let target = request.targets.resolve(registry, issuer);
    target.map(|_| request).map_err(|problem| Refusal::new(problem.reason(), problem.to_string()))
}

fn parse(address: &ReturnAddress, form: &[u8]) -> Result<AuthorizationRequest, Refusal> {
    if form.len() > MOST_BYTES {
        return Err(Refusal::new(ReasonCode::ParameterInvalid, "the request is longer than 8192 bytes"));
    }
    let params = Params::parse(form)?;
    let invalid = |detail: &str| Refusal::new(ReasonCode::ParameterInvalid, detail);
    if address.state.as_ref().is_some_and(|state| state.len() > MOST_STATE_BYTES) {
        return Err(invalid("state is longer than 4096 bytes"));
    }
    if params.get("request").is_some() {
        return Err(invalid("request objects are not supported"));
    }
    if params.require("response_type")? != "code" {
        return Err(Refusal::new(ReasonCode::ResponseTypeUnsupported, "response_type is not code"));
    }
    if params.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(invalid("response_mode is not query"));
    }
    let client = &address.client.client;
    if !client.may_use(GrantType::AuthorizationCode) {
        let detail = format!("authorization_code is not among the grants of client {}", client.id);
        return Err(Refusal::new(ReasonCode::GrantNotAllowed, detail));
    }
    let asked = scopes(&params)?;
    let identity = |scopes: &ScopeSet| -> ScopeSet {
        let told = scopes.iter().filter(|scope| IDENTITY_SCOPES.contains(&scope.as_str()));
        told.filter(|scope| scope.as_str() != OFFLINE_ACCESS || address.client.may_renew()).cloned().collect()
    };
    Ok(AuthorizationRequest {
        client: Arc::clone(&address.client),
        redirect_uri: address.redirect_uri.clone(),
        state: address.state.clone(),
        targets: params.targets().clone(),
        identity: asked.as_ref().map(identity).unwrap_or_default(),
        // With nothing but identity scopes, all is meant that the client may have (rule CL-09).
        scopes: asked.map(without_identity).filter(|scopes| !scopes.is_empty()),
        code_challenge: code_challenge(&params)?,
        nonce: params.get("nonce").map(str::to_owned),
        prompt: prompt(params.get("prompt"))?,
        max_age: params
            .get("max_age")
            .map(|text| text.parse().map_err(|_| invalid("max_age is not a whole number of seconds")))
            .transpose()?,
        acr_values: params.get("acr_values").map(str::to_owned),
        login_hint: params.get("login_hint").map(str::to_owned),
    })
}

/// RFC 7636 §4.2, §4.3: S256 only. Without a method `plain` would be meant.
fn code_challenge(params: &Params) -> Result<String, Refusal> {
    let missing = |detail: &str| Err(Refusal::new(ReasonCode::PkceMissing, detail));
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match (params.get("code_challenge"), params.get("code_challenge_method")) {
        (None, _) => missing("code_challenge is missing"),
        (Some(_), None) => missing("code_challenge_method is missing, and without it plain would be meant"),
        (Some(_), Some(method)) if method != "S256" => missing("code_challenge_method is not S256"),
        (Some(challenge), Some(_)) if challenge.len() == 43 && challenge.bytes().all(is_base64url) => {
            Ok(challenge.to_owned())
        }
        (Some(_), Some(_)) => missing("code_challenge is not 43 base64url characters"),
    }
}

fn prompt(text: Option<&str>) -> Result<Prompt, Refusal> {
    let mut prompt = Prompt::default();
    for word in text.unwrap_or_default().split(' ').filter(|word| !word.is_empty()) {
        match word {
            "none" => prompt.none = true,
            "login" => prompt.login = true,
            "consent" => prompt.consent = true,
            "select_account" => prompt.select_account = true,
            _ => return Err(Refusal::new(ReasonCode::ParameterInvalid, "prompt has an unknown value")),
        }
    }
    if prompt.none && (prompt.login || prompt.consent || prompt.select_account) {
        return Err(Refusal::new(ReasonCode::ParameterInvalid, "prompt has none beside another value"));
    }
    Ok(prompt)
}
