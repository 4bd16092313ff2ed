//! Our side of a sign-in at an identity provider: where to send the browser, and a code for an ID token (OpenID Connect
//! Core §3.1; rules OC-01, OC-05).
//!
//! `openidconnect` writes the requests and reads the answer; our own fetcher sends them. The ID token is verified where
//! every token is, in `tokens/verify` (docs/decisions/0018).

use super::discovery::{self, Metadata};
use super::fetch::{FetchError, Fetcher};
use crate::config::is_loopback;
use crate::domain::identity_provider::{IdentityProvider, Login};
use crate::domain::names::IdpId;
use arc_swap::ArcSwapOption;
use openidconnect::core::{CoreAuthPrompt, CoreClient, CoreJsonWebKeySet, CoreResponseType, CoreTokenResponse};
use openidconnect::http;
use openidconnect::{
    AsyncHttpClient, AuthType, AuthUrl, AuthenticationContextClass, AuthenticationFlow, AuthorizationCode, ClientId,
    ClientSecret, CsrfToken, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl, LoginHint, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, TokenResponse,
    TokenUrl,
};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use url::Url;

/// How long metadata count as fresh if the answer does not say, and the bounds of what it may say, in seconds.
const DEFAULT_FRESH_SECONDS: i64 = 3600;
const FRESH_SECONDS: (i64, i64) = (60, 24 * 3600);
/// Metadata this much past their time still serve while the provider's document cannot be had.
const STALE_WHEN_UNREACHABLE_SECONDS: i64 = 24 * 3600;
/// After a failure the next attempt waits 1, 2, 4 ... seconds, at most this long.
const LONGEST_BACK_OFF_SECONDS: i64 = 60;

/// Why a sign-in cannot go on. Holds no code, token or secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// How the provider is declared, or our environment, is not complete; in words for operators.
    #[error("{0}")]
    NotSetUp(String),
    /// The provider cannot be reached, or does not answer as it should; in words for operators.
    #[error("{0}")]
    Unreachable(String),
    /// The provider refused the code; in words for operators.
    #[error("{0}")]
    Refused(String),
}

impl From<FetchError> for LoginError {
    fn from(error: FetchError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

/// What is asked of the provider.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Random; comes back with the browser.
    pub state: String,
    /// Random; comes back in the ID token.
    pub nonce: String,
    /// Random: 43 to 128 characters that prove, at the end, who began (RFC 7636).
    pub verifier: String,
    /// `prompt=login`.
    pub again: bool,
    /// The user may choose another account: `prompt=select_account` where it is known, else `prompt=login`.
    pub choose_account: bool,
    /// `max_age`, in seconds.
    pub max_age: Option<u32>,
    /// `acr_values`.
    pub acr_values: Option<String>,
    /// `login_hint`.
    pub login_hint: Option<String>,
}

/// What a code was redeemed for; nothing in it is verified.
pub struct Redeemed {
    /// The ID token.
    pub id_token: SecretString,
    /// The access token that came with it, only for `at_hash`.
    pub access_token: SecretString,
}

/// What is known of every provider, by its discovery document. Bounded by the registry.
#[derive(Debug)]
pub struct LoginProviders {
    fetcher: Fetcher,
    known: RwLock<HashMap<IdpId, Arc<Known>>>,
}

/// One provider as declared, and what it says of itself.
#[derive(Debug)]
struct Known {
    issuer: String,
    allow_private: bool,
    metadata: ArcSwapOption<Metadata>,
    state: Mutex<State>,
    /// Held by the one fetch that is under way.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    attempted_at: Option<i64>,
    fresh_until: i64,
    failures: u32,
    last_error: String,
}

impl State {
    fn may_try(&self, now: i64) -> bool {
        let Some(exponent) = self.failures.checked_sub(1) else {
            return true;
        };
        let wait = (1_i64 << exponent.min(6)).min(LONGEST_BACK_OFF_SECONDS);
        self.attempted_at.is_none_or(|at| now >= at.saturating_add(wait))
    }
}

type Client = CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet, EndpointNotSet>;

/// The one provider known to have no `prompt=login`.
const GOOGLE: &str = "https://accounts.google.com";

impl LoginProviders {
    /// Nothing is known, and nothing fetched, before the first sign-in.
    pub fn new(fetcher: Fetcher) -> Self {
        Self { fetcher, known: RwLock::default() }
    }

    /// Where to send the browser (OpenID Connect Core §3.1.2.1).
    pub async fn authorization_url(
        &self,
        idp: &IdentityProvider,
        callback: &str,
        ask: Ask,
        now: i64,
    ) -> Result<Url, LoginError> {
        let (login, metadata) = (login_of(idp)?, self.metadata(idp, now).await?);
        let client = client(idp, login, &metadata, callback)?;
        let (state, nonce) = (ask.state, ask.nonce);
        let mut request = client
            .authorize_url(
                AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
                || CsrfToken::new(state),
                || Nonce::new(nonce),
            )
            // The library adds `openid` by itself.
            .add_scopes(login.scopes.iter().filter(|scope| *scope != "openid").cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(ask.verifier)));
        // `select_account` is an error at providers that do not know it. All but Google know `login`, whose page is for
        // any account.
        let chooses = ask.choose_account && idp.issuer == GOOGLE;
        if ask.again || (ask.choose_account && !chooses) {
            request = request.add_prompt(CoreAuthPrompt::Login);
        }
        if chooses {
            request = request.add_prompt(CoreAuthPrompt::SelectAccount);
        }
        if let Some(seconds) = ask.max_age {
            request = request.set_max_age(Duration::from_secs(seconds.into()));
        }
        for class in ask.acr_values.iter().flat_map(|values| values.split(' ')).filter(|class| !class.is_empty()) {
            request = request.add_auth_context_value(AuthenticationContextClass::new(class.to_owned()));
        }
        if let Some(hint) = ask.login_hint {
            request = request.set_login_hint(LoginHint::new(hint));
        }
        Ok(request.url().0)
    }

    /// Whether each answer of the provider to the browser has `iss` (RFC 9207 §3).
    pub async fn sends_iss(&self, idp: &IdentityProvider, now: i64) -> Result<bool, LoginError> {
        Ok(self.metadata(idp, now).await?.authorization_response_iss_parameter_supported)
    }

    /// Redeems a code (OpenID Connect Core §3.1.3).
    pub async fn redeem(
        &self,
        idp: &IdentityProvider,
        callback: &str,
        code: String,
        verifier: String,
        now: i64,
    ) -> Result<Redeemed, LoginError> {
        let (login, metadata) = (login_of(idp)?, self.metadata(idp, now).await?);
        let client = client(idp, login, &metadata, callback)?;
        let request =
            client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(PkceCodeVerifier::new(verifier));
        let http = Http { fetcher: &self.fetcher, allow_private: idp.allow_private_addresses };
        let answer: CoreTokenResponse = request.request_async(&http).await.map_err(|error| told(idp, &error))?;
        let id_token = answer.id_token().ok_or_else(|| {
            LoginError::Unreachable(format!("{} answered without an ID token: is openid among `scopes`?", idp.issuer))
        })?;
        Ok(Redeemed {
            id_token: id_token.to_string().into(),
            access_token: answer.access_token().secret().clone().into(),
        })
    }

    /// Where the browser signs out at the provider, if it has such a place (OpenID Connect RP-Initiated Logout 1.0 §2).
    pub async fn end_session_url(
        &self,
        idp: &IdentityProvider,
        id_token: Option<&str>,
        afterwards: &str,
        now: i64,
    ) -> Result<Option<Url>, LoginError> {
        let (login, metadata) = (login_of(idp)?, self.metadata(idp, now).await?);
        let Some(endpoint) = &metadata.end_session_endpoint else {
            return Ok(None);
        };
        let mut url = endpoint_url(idp, "end_session_endpoint", endpoint)?;
        {
            let mut query = url.query_pairs_mut();
            if let Some(id_token) = id_token {
                query.append_pair("id_token_hint", id_token);
            }
            query.append_pair("client_id", &login.client_id).append_pair("post_logout_redirect_uri", afterwards);
        }
        Ok(Some(url))
    }

    async fn metadata(&self, idp: &IdentityProvider, now: i64) -> Result<Arc<Metadata>, LoginError> {
        let known = self.known(idp);
        let at_hand = |known: &Known| known.metadata.load_full();
        let is_fresh = |known: &Known| now < known.state().fresh_until;
        if let Some(metadata) = at_hand(&known).filter(|_| is_fresh(&known)) {
            return Ok(metadata);
        }
        let _flight = known.flight.lock().await;
        if let Some(metadata) = at_hand(&known).filter(|_| is_fresh(&known)) {
            return Ok(metadata);
        }
        if known.state().may_try(now) {
            let fetched = discovery::metadata(&self.fetcher, &known.issuer, known.allow_private).await;
            let mut state = known.state();
            state.attempted_at = Some(now);
            match fetched {
                Ok((metadata, max_age)) => {
                    let seconds = max_age.map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
                    let fresh = seconds.unwrap_or(DEFAULT_FRESH_SECONDS).clamp(FRESH_SECONDS.0, FRESH_SECONDS.1);
                    state.fresh_until = now.saturating_add(fresh);
                    state.failures = 0;
                    known.metadata.store(Some(Arc::new(metadata)));
                }
                Err(problem) => {
                    tracing::warn!(issuer = known.issuer, %problem, "what a provider says of itself cannot be fetched");
                    state.failures = state.failures.saturating_add(1);
                    state.last_error = problem.to_string();
                }
            }
        }
        let state = known.state();
        let is_usable = now < state.fresh_until.saturating_add(STALE_WHEN_UNREACHABLE_SECONDS);
        at_hand(&known).filter(|_| is_usable).ok_or_else(|| LoginError::Unreachable(state.last_error.clone()))
    }

    /// What is known of this provider, anew if it is declared otherwise.
    fn known(&self, idp: &IdentityProvider) -> Arc<Known> {
        let is_same = |known: &Known| known.issuer == idp.issuer && known.allow_private == idp.allow_private_addresses;
        let found = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&idp.id).cloned();
        if let Some(known) = found.filter(|known| is_same(known)) {
            return known;
        }
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&idp.id).filter(|known| is_same(known)) {
            return Arc::clone(known);
        }
        let known = Arc::new(Known {
            issuer: idp.issuer.clone(),
            allow_private: idp.allow_private_addresses,
            metadata: ArcSwapOption::empty(),
            state: Mutex::default(),
            flight: tokio::sync::Mutex::default(),
        });
        all.insert(idp.id.clone(), Arc::clone(&known));
        known
    }
}

impl Known {
    /// Held for moments only, never while waiting.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our secret at the provider, from the environment; none if we are a public client there.
///
/// # Errors
/// [`LoginError::NotSetUp`] if the variable that is named is not set.
pub fn secret_of(login: &Login) -> Result<Option<SecretString>, LoginError> {
    let Some(name) = &login.client_secret_env else {
        return Ok(None);
    };
    match std::env::var(name).ok().filter(|value| !value.is_empty()) {
        Some(secret) => Ok(Some(secret.into())),
        None => Err(LoginError::NotSetUp(format!(
            "the variable {name} (`login.client_secret_env`) is not set where the server runs"
        ))),
    }
}

fn login_of(idp: &IdentityProvider) -> Result<&Login, LoginError> {
    idp.login.as_ref().ok_or_else(|| LoginError::NotSetUp(format!("identity provider {} has no `login`", idp.id)))
}

fn endpoint_url(idp: &IdentityProvider, name: &str, text: &str) -> Result<Url, LoginError> {
    let invalid = |problem: &str| LoginError::Unreachable(format!("{name} of {}: {problem}", idp.issuer));
    let url = Url::parse(text).map_err(|problem| invalid(&problem.to_string()))?;
    match url.scheme() {
        "https" => Ok(url),
        // As its documents: without TLS only on this machine, where that is allowed. The browser is sent there too.
        "http" if idp.allow_private_addresses && is_loopback(&url) => Ok(url),
        "http" if idp.allow_private_addresses => Err(invalid("http is for loopback only")),
        _ => Err(invalid("it is not https")),
    }
}

fn client(idp: &IdentityProvider, login: &Login, metadata: &Metadata, callback: &str) -> Result<Client, LoginError> {
    let invalid = |what: &str| LoginError::Unreachable(format!("{what} of {} is not a URL", idp.issuer));
    let endpoint = |name: &str, text: Option<&String>| {
        let text = text.ok_or_else(|| LoginError::Unreachable(format!("{} names no {name}", idp.issuer)))?;
        endpoint_url(idp, name, text)
    };
    let authorization = endpoint("authorization_endpoint", metadata.authorization_endpoint.as_ref())?;
    let token = endpoint("token_endpoint", metadata.token_endpoint.as_ref())?;
    let issuer = IssuerUrl::new(idp.issuer.clone()).map_err(|_| invalid("issuer"))?;
    let redirect = RedirectUrl::new(callback.to_owned()).map_err(|_| invalid("redirect URI"))?;
    // The keys stay with `tokens/issuer_keys`, which verifies.
    let client = CoreClient::new(ClientId::new(login.client_id.clone()), issuer, CoreJsonWebKeySet::new(Vec::new()))
        .set_auth_uri(AuthUrl::from_url(authorization))
        .set_token_uri(TokenUrl::from_url(token))
        .set_redirect_uri(redirect)
        .set_auth_type(auth_type(metadata));
    Ok(match secret_of(login)? {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())),
        None => client,
    })
}

/// `client_secret_basic`, unless the provider says that it takes only `client_secret_post` (Discovery §3).
fn auth_type(metadata: &Metadata) -> AuthType {
    let methods = metadata.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
    let has = |method: &str| methods.iter().any(|known| known == method);
    if has("client_secret_post") && !has("client_secret_basic") { AuthType::RequestBody } else { AuthType::BasicAuth }
}

/// Sends the requests of the library by our fetcher, which checks where they go.
struct Http<'a> {
    fetcher: &'a Fetcher,
    allow_private: bool,
}

impl<'c> AsyncHttpClient<'c> for Http<'_> {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let (parts, form) = request.into_parts();
            let url = Url::parse(&parts.uri.to_string()).map_err(|problem| FetchError::Failed(problem.to_string()))?;
            let answer = self.fetcher.post_form(&url, parts.headers, form, self.allow_private).await?;
            let mut response = http::Response::new(answer.body);
            *response.status_mut() =
                http::StatusCode::from_u16(answer.status).map_err(|problem| FetchError::Failed(problem.to_string()))?;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

/// In words. What the provider sent is not repeated, but for the `error` code, which is one of a few words.
fn told<T>(idp: &IdentityProvider, error: &RequestTokenError<FetchError, T>) -> LoginError
where
    T: openidconnect::ErrorResponse + std::fmt::Display,
{
    let issuer = &idp.issuer;
    match error {
        RequestTokenError::ServerResponse(answer) => {
            let said: String = answer.to_string().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            LoginError::Refused(format!("{issuer} refused the code: {said}"))
        }
        RequestTokenError::Request(problem) => LoginError::Unreachable(problem.to_string()),
        RequestTokenError::Parse(problem, _) => LoginError::Unreachable(format!(
            "the answer of the token endpoint of {issuer} cannot be read, at {}",
            problem.path()
        )),
        RequestTokenError::Other(_) => {
            LoginError::Unreachable(format!("the token endpoint of {issuer} did not answer with JSON"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_back_off_to_a_minute_after_failures() {
        let waits = |failures: u32| {
            let state = State { failures, attempted_at: Some(1000), ..State::default() };
            (0..100).find(|wait| state.may_try(1000 + wait)).unwrap()
        };
        assert_eq!([0, 1, 2, 3, 6, 7, 8, 1000].map(waits), [0, 1, 2, 4, 32, 60, 60, 60]);
    }

    #[test]
    fn users_are_sent_to_https_and_to_http_only_on_this_machine() {
        let leads = |url: &str, allow_private: bool| {
            let idp = serde_json::json!({
                "id": "corp", "issuer": "https://idp.example", "name": "Corp", "allow_private_addresses": allow_private,
            });
            endpoint_url(&serde_json::from_value(idp).unwrap(), "authorization_endpoint", url).is_ok()
        };
        assert!(leads("https://idp.example/authorize", false) && leads("https://idp.internal/authorize", true));
        assert!(leads("http://127.0.0.1:8080/authorize", true) && leads("http://localhost/authorize", true));
        for url in
            ["http://idp.internal/authorize", "http://10.0.0.1/", "javascript:alert(1)", "data:text/html,x", "/x"]
        {
            assert!(!leads(url, true) && !leads(url, false), "{url}");
        }
        assert!(!leads("http://127.0.0.1:8080/authorize", false));
    }

    #[test]
    fn the_secret_is_posted_only_where_nothing_else_is_taken() {
        let type_of = |methods: Option<&[&str]>| {
            let methods = methods.map(|methods| methods.iter().map(|method| (*method).to_owned()).collect());
            let document = serde_json::json!({"issuer": "i", "jwks_uri": "j"});
            let metadata: Metadata = serde_json::from_value(document).unwrap();
            auth_type(&Metadata { token_endpoint_auth_methods_supported: methods, ..metadata })
        };
        assert!(matches!(type_of(None), AuthType::BasicAuth));
        assert!(matches!(type_of(Some(&["client_secret_post", "client_secret_basic"])), AuthType::BasicAuth));
        assert!(matches!(type_of(Some(&["client_secret_post"])), AuthType::RequestBody));
        assert!(matches!(type_of(Some(&["private_key_jwt"])), AuthType::BasicAuth));
    }
}
