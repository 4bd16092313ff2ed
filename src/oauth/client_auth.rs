//! Who the client is (RFC 6749 §2.3.1, RFC 7523 §2.2): one method a request, the one it is registered with.

use crate::app::{App, SecretVerdict, Snapshot};
use crate::domain::client::{ClientAuthentication, ClientEntry};
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::names::ClientId;
use crate::domain::sent::looks_secret;
use crate::grants::Caller;
use crate::grants::params::{Params, decode};
use crate::store::StoreError;
use crate::tokens::verify::claimed_client;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a request shows of its client; nothing in it is believed yet.
pub struct Credentials {
    client_id: Option<String>,
    proof: Proof,
}

enum Proof {
    Secret { secret: String, method: ClientAuthentication },
    Assertion(String),
    None,
}

/// Why there is no authenticated client.
#[derive(Debug)]
pub enum AuthenticationFailure {
    /// It did not prove who it is.
    Refused(Refusal),
    /// We could not look.
    Unavailable(StoreError),
}

impl From<Refusal> for AuthenticationFailure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for AuthenticationFailure {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error)
    }
}

impl Credentials {
    /// Reads the `Authorization` header and the form.
    ///
    /// # Errors
    /// Two methods, two clients, or a header that cannot be read (rule OA-04).
    pub fn read(headers: &HeaderMap, params: &Params) -> Result<Self, Refusal> {
        let header = basic(headers)?;
        let assertion = assertion(params)?;
        let posted = params.get("client_secret");
        if usize::from(header.is_some()) + usize::from(assertion.is_some()) + usize::from(posted.is_some()) > 1 {
            return Err(twice("two ways of authentication in one request"));
        }
        let named = params.get("client_id").map(str::to_owned);
        let (client_id, proof) = match (header, assertion, posted) {
            (Some((id, secret)), _, _) => {
                same_client(named.as_deref(), &id)?;
                // A public client that sends an empty password means no authentication (rule CL-34).
                let method = ClientAuthentication::ClientSecretBasic;
                let proof = if secret.is_empty() { Proof::None } else { Proof::Secret { secret, method } };
                (Some(id), proof)
            }
            (None, Some(assertion), _) => {
                let id = claimed_client(&assertion).map(String::from);
                if let Some(id) = &id {
                    same_client(named.as_deref(), id)?;
                }
                (id, Proof::Assertion(assertion))
            }
            (None, None, Some(secret)) => {
                let method = ClientAuthentication::ClientSecretPost;
                (named, Proof::Secret { secret: secret.to_owned(), method })
            }
            (None, None, None) => (named, Proof::None),
        };
        Ok(Self { client_id, proof })
    }

    /// The client that the request names, for the record of a refusal. None if the text does not look like a client id
    /// but like something that must not be written down.
    pub fn claimed(&self) -> Option<ClientId> {
        let id = self.client_id.as_deref()?;
        if looks_secret(id) { None } else { id.parse().ok() }
    }

    /// The method that was tried.
    pub fn method(&self) -> ClientAuthentication {
        match &self.proof {
            Proof::Secret { method, .. } => *method,
            Proof::Assertion(_) => ClientAuthentication::PrivateKeyJwt,
            Proof::None => ClientAuthentication::None,
        }
    }

    /// Proves who the client is. A suspended one is let through to the decision, which refuses it.
    pub async fn authenticate(
        &self,
        app: &App,
        snapshot: &Snapshot,
        now: i64,
    ) -> Result<Caller, AuthenticationFailure> {
        let entry = match self.registered(app, snapshot).await? {
            Ok(entry) => entry,
            Err(refusal) => {
                if let Proof::Secret { secret, .. } = &self.proof {
                    app.secret_check.pretend(&app.secrets_key, secret);
                }
                return Err(refusal.into());
            }
        };
        let registered = entry.client.authentication;
        if !entry.may_authenticate_by(self.method()) {
            if matches!(self.proof, Proof::None) {
                return Err(missing().into());
            }
            let detail = format!(
                "client {} is registered for {}, and used {}",
                entry.client.id,
                registered.as_str(),
                self.method().as_str()
            );
            return Err(Refusal::new(ReasonCode::ClientAuthenticationMethod, detail).into());
        }
        match &self.proof {
            Proof::Secret { secret, .. } => check_secret(app, snapshot, &entry, secret, now).await?,
            Proof::Assertion(assertion) => check_assertion(app, snapshot, &entry, assertion, now).await?,
            Proof::None => {}
        }
        app.clients.used(&entry.client.id, now);
        Ok(Caller { client: entry, authentication: self.method() })
    }

    async fn registered(
        &self,
        app: &App,
        snapshot: &Snapshot,
    ) -> Result<Result<Arc<ClientEntry>, Refusal>, StoreError> {
        let Some(id) = &self.client_id else {
            return Ok(Err(match self.proof {
                Proof::Assertion(_) => {
                    Refusal::new(ReasonCode::ClientAssertionInvalid, "the assertion names no client in its sub")
                }
                Proof::Secret { .. } | Proof::None => missing(),
            }));
        };
        let found = match id.parse() {
            Ok(id) => app.clients.find(&app.store, snapshot, &id).await?,
            Err(_) => None,
        };
        // No nearest name here: to look for it takes the longer the more clients there are, for any stranger that asks,
        // and its time would tell an unknown client from a wrong secret.
        Ok(found.ok_or_else(|| {
            let name = self.claimed().map_or_else(|| "of this id".to_owned(), String::from);
            Refusal::new(ReasonCode::ClientUnknown, format!("no client {name} is registered"))
        }))
    }
}

async fn check_secret(
    app: &App,
    snapshot: &Snapshot,
    entry: &ClientEntry,
    secret: &str,
    now: i64,
) -> Result<(), AuthenticationFailure> {
    let id = &entry.client.id;
    let live: &[_] = &app.clients.secrets_of(&app.store, snapshot, id).await?;
    let verdict = app.secret_check.check(&app.secrets_key, id, live, secret, now).await;
    let refusal = match verdict {
        SecretVerdict::Right(_) => return Ok(()),
        SecretVerdict::Busy => Refusal::new(
            ReasonCode::ClientCheckBusy,
            "too many secrets are being checked for the first time; this one may be sent again",
        ),
        SecretVerdict::Wrong if live.is_empty() => {
            Refusal::new(ReasonCode::ClientHasNoSecret, format!("client {id} has no secret yet"))
        }
        SecretVerdict::Wrong => {
            let detail = format!("the secret is none of the {} live ones of client {id}", live.len());
            Refusal::new(ReasonCode::ClientSecretWrong, detail)
        }
    };
    Err(refusal.into())
}

async fn check_assertion(
    app: &App,
    snapshot: &Snapshot,
    entry: &ClientEntry,
    assertion: &str,
    now: i64,
) -> Result<(), AuthenticationFailure> {
    let keys = app.signing_keys();
    let verifier = app.verifier(snapshot, &keys, now);
    let proof = verifier.client_assertion(&entry.client, assertion, &app.token_endpoint()).await?;
    // Decided by the database, so that a replay is one on every server (rule CA-02).
    let skew = i64::from(app.config.tokens.clock_skew_seconds);
    let remembered_until = proof.expires_at.saturating_add(skew);
    if app.store.use_assertion(&entry.client.id, &proof.jti, remembered_until).await? {
        Ok(())
    } else {
        let detail = format!("client {} used an assertion with this jti before", entry.client.id);
        Err(Refusal::new(ReasonCode::ClientAssertionReplayed, detail).into())
    }
}

fn missing() -> Refusal {
    Refusal::new(ReasonCode::ClientCredentialsMissing, "the request has no client credentials")
}

fn twice(detail: &str) -> Refusal {
    Refusal::new(ReasonCode::ClientAuthenticationTwice, detail)
}

fn same_client(named: Option<&str>, proven: &str) -> Result<(), Refusal> {
    match named {
        Some(named) if named != proven => Err(twice("client_id names another client than the credentials")),
        Some(_) | None => Ok(()),
    }
}

fn assertion(params: &Params) -> Result<Option<String>, Refusal> {
    match (params.get("client_assertion"), params.get("client_assertion_type")) {
        (Some(assertion), Some(JWT_BEARER)) => Ok(Some(assertion.to_owned())),
        (None, None) => Ok(None),
        (Some(_), _) => {
            Err(Refusal::new(ReasonCode::ClientAssertionInvalid, format!("client_assertion_type must be {JWT_BEARER}")))
        }
        (None, Some(_)) => Err(Refusal::new(
            ReasonCode::ClientAssertionInvalid,
            "client_assertion_type was sent without client_assertion",
        )),
    }
}

/// Id and secret of `Authorization: Basic`, both form-encoded before base64 (RFC 6749 §2.3.1).
///
/// # Errors
/// It is there, but is not one header that can be read so.
pub fn basic(headers: &HeaderMap) -> Result<Option<(String, String)>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(twice("two Authorization headers"));
    }
    let unreadable = |detail: &str| Refusal::new(ReasonCode::ClientCredentialsMissing, detail);
    let text = value.to_str().map_err(|_| unreadable("the Authorization header is not ASCII"))?;
    let (scheme, encoded) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(unreadable("the Authorization header is not of the Basic scheme"));
    }
    let decoded =
        STANDARD.decode(encoded.trim()).map_err(|_| unreadable("the Basic credentials are not valid base64"))?;
    let colon = decoded.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or_else(|| unreadable("the Basic credentials have no colon"))?;
    let (id, secret) = decoded.split_at(colon);
    let secret = secret.strip_prefix(b":").unwrap_or_default();
    decode(id)
        .zip(decode(secret))
        .map(Some)
        .ok_or_else(|| unreadable("the Basic credentials are not form-encoded UTF-8"))
}
