//! Clients that are known by a document under their own domain, at the moment they come to `/authorize` or `/par`: their
//! document is read, or the copy of it that is at hand (Client ID Metadata Documents; rules CM-09 to CM-11, CM-18).

use super::clients::{ClientDirectory, Known};
use super::{App, Snapshot};
use crate::domain::client::{Assurance, Client, ClientAuthentication, ClientEntry, ConsentMode, GrantType};
use crate::domain::client_metadata;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::dynamic_client::{DynamicClient, is_document_id};
use crate::domain::event::{AuditEvent, EventKind, EventOutcome};
use crate::domain::names::ClientId;
use crate::domain::presets::{Pinned, pinned};
use crate::secrets::random_id;
use crate::store::StoreError;
use crate::tokens::json;
use crate::upstream::client_metadata::document_url;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use url::Url;

/// A copy serves so long after its time while the document cannot be had: a client that is gone must be gone some day.
const LAST_GOOD_SECONDS: i64 = 7 * 24 * 3600;
/// A pinned copy stands in for so long before the document is tried again.
const PINNED_SECONDS: i64 = 300;

/// Why there is no client to go on with.
#[derive(Debug)]
pub enum ResolveError {
    /// It is not let in, or its document cannot be used: a page, 400, and never a redirect (rule CM-10).
    Refused(Refusal),
    /// We could not look.
    Unavailable(StoreError),
}

impl From<StoreError> for ResolveError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error)
    }
}

impl From<Refusal> for ResolveError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl ClientDirectory {
    /// The client of this id for `/authorize` and `/par`: as [`ClientDirectory::find`], and if it is known by a document,
    /// that is read when it is not at hand or has had its time. It takes three seconds at most. `source` is where the
    /// request came from. Notes the use.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn resolve(
        &self,
        app: &App,
        snapshot: &Snapshot,
        id: &ClientId,
        source: Option<IpAddr>,
        now: i64,
    ) -> Result<Option<Arc<ClientEntry>>, ResolveError> {
        if let Some(entry) = snapshot.registry.client(id) {
            return Ok(Some(Arc::clone(entry)));
        }
        let found = if is_document_id(id.as_str()) {
            self.read(app, snapshot, id, source, now).await?
        } else {
            self.known(&app.store, snapshot, id).await?
        };
        Ok(found.map(|known| {
            self.used(id, now);
            Arc::clone(&known.entry)
        }))
    }

    async fn read(
        &self,
        app: &App,
        snapshot: &Snapshot,
        id: &ClientId,
        source: Option<IpAddr>,
        now: i64,
    ) -> Result<Option<Arc<Known>>, ResolveError> {
        if !self.settings.metadata_documents {
            return Ok(None);
        }
        let url = document_url(id.as_str(), self.allow_loopback)
            .map_err(|why| Refusal::new(ReasonCode::ClientDocumentInvalid, format!("client id {id} {why}")))?;
        if !self.settings.lets_in(&url) {
            let detail = format!("{url} is not let in by the configuration (registration.allow, registration.deny)");
            return Err(Refusal::new(ReasonCode::ClientNotLetIn, detail).into());
        }
        let at_hand = self.known(&app.store, snapshot, id).await?;
        if let Some(known) = &at_hand
            && (known.stored.suspended_at.is_some() || known.stored.fresh_until.is_some_and(|until| now < until))
        {
            return Ok(at_hand);
        }
        if at_hand.is_none()
            && let Some(seconds) = app.limits.count_registration(source)
        {
            app.metrics.count_registration("document", "limited");
            let detail = "too many new client metadata documents were asked for from this address";
            let refusal = Refusal::new(ReasonCode::RegistrationsTooMany, detail);
            return Err(Refusal { retry_after_seconds: Some(seconds), ..refusal }.into());
        }
        match self.fetched(id, &url, now).await {
            Ok(new) => Ok(Some(self.keep(app, snapshot, new, at_hand.as_deref()).await?)),
            Err(refusal) => self.without(app, snapshot, id, at_hand, refusal, now).await,
        }
    }

    /// The client as its document has it now.
    async fn fetched(&self, id: &ClientId, url: &Url, now: i64) -> Result<DynamicClient, Refusal> {
        let document = self
            .documents
            .fetch(url, self.allow_loopback, now)
            .await
            .map_err(|error| Refusal::new(ReasonCode::ClientDocumentUnavailable, error.to_string()))?;
        let invalid =
            |why: String| Refusal::new(ReasonCode::ClientDocumentInvalid, format!("the document {url}: {why}"));
        let members = json::plain_object(&document.body).map_err(invalid)?;
        let described = client_metadata::document(id, &members, &self.settings.private_use_redirect_uris)
            .map_err(|problem| invalid(problem.to_string()))?;
        if let Some(jwks_uri) = &described.client.jwks_uri {
            self.may_have_keys_at(jwks_uri).map_err(invalid)?;
        }
        Ok(DynamicClient {
            metadata: serde_json::Value::Object(described.metadata).to_string(),
            client: described.client,
            other_authentication: described.other_authentication,
            fetched_at: Some(now),
            fresh_until: Some(now.saturating_add(document.fresh_seconds)),
            ..blank(id, now)
        })
    }

    /// Stores it. That a client is new here, or is another one than before, is on record.
    async fn keep(
        &self,
        app: &App,
        snapshot: &Snapshot,
        mut new: DynamicClient,
        before: Option<&Known>,
    ) -> Result<Arc<Known>, StoreError> {
        if let Some(before) = before {
            (new.created_at, new.last_used_at) = (before.stored.created_at, before.stored.last_used_at);
        }
        // What was there a moment ago may have been removed since, as one that nobody used.
        let is_new = app.store.insert_dynamic_client(&new).await?;
        if !is_new {
            app.store.put_client_document(&new).await?;
        }
        self.forget(snapshot, new.id()).await;
        let changed = before.map_or_else(Vec::new, |before| differences(&before.stored.client, &new.client));
        let (reason, detail) = match changed.as_slice() {
            [] if is_new && new.fetched_at.is_none() => {
                ("registered", "its metadata document cannot be fetched; a pinned copy stands in for it".to_owned())
            }
            [] if is_new => ("registered", "its metadata document was read for the first time".to_owned()),
            [] => return Ok(Arc::new(self.describe(snapshot, new))),
            changed => ("updated", format!("its metadata document has changed: {}", changed.join(", "))),
        };
        app.metrics.count_registration("document", "ok");
        let (id, at_ms) = (random_id("doc"), app.clock.now_ms());
        let mut event = AuditEvent::new(at_ms, id, EventKind::Registration, EventOutcome::Done, reason);
        event.client = Some(new.client.id.clone());
        event.detail = Some(detail);
        // The request that comes next has an event of its own, or is not answered; this one must not hold it up.
        if let Err(error) = app.audit.record(event, None).await {
            tracing::error!(%error, "that a client metadata document was read could not be recorded");
        }
        Ok(Arc::new(self.describe(snapshot, new)))
    }

    /// The document cannot be had: the copy that is at hand, else the one that is pinned.
    async fn without(
        &self,
        app: &App,
        snapshot: &Snapshot,
        id: &ClientId,
        at_hand: Option<Arc<Known>>,
        refusal: Refusal,
        now: i64,
    ) -> Result<Option<Arc<Known>>, ResolveError> {
        let is_good = |known: &Arc<Known>| {
            let stored = &known.stored;
            let good_until = stored.fresh_until.unwrap_or(0).saturating_add(LAST_GOOD_SECONDS);
            stored.fetched_at.is_some() && now < good_until
        };
        let detail = refusal.detail.clone();
        if at_hand.as_ref().is_some_and(is_good) {
            tracing::warn!(client.id = id.as_str(), detail, "the last good copy of a client metadata document is used");
            return Ok(at_hand);
        }
        if let Some(pinned) = pinned(id.as_str()) {
            let as_of = pinned.preset.as_of;
            tracing::warn!(
                client.id = id.as_str(),
                as_of,
                detail,
                "the pinned copy of a client metadata document is used"
            );
            return Ok(Some(self.keep(app, snapshot, from_pin(id, pinned, now), at_hand.as_deref()).await?));
        }
        app.metrics.count_registration("document", "refused");
        Err(refusal.into())
    }

    /// Whether keys may be fetched from there at all; each fetch then checks the addresses (rule RG-13).
    ///
    /// # Errors
    /// In words.
    pub fn may_have_keys_at(&self, jwks_uri: &Url) -> Result<(), String> {
        let allow_private = self.allow_loopback && crate::config::is_loopback(jwks_uri);
        crate::upstream::fetch::check_url(jwks_uri, allow_private).map_err(|error| format!("jwks_uri {error}"))
    }
}

fn blank(id: &ClientId, now: i64) -> DynamicClient {
    DynamicClient {
        client: Client {
            id: id.clone(),
            name: String::new(),
            authentication: ClientAuthentication::None,
            jwks_uri: None,
            jwks: None,
            grants: Vec::new(),
            redirect_uris: Vec::new(),
            consent: ConsentMode::User,
            may_act_for: Vec::new(),
            may_present: Vec::new(),
            resources: BTreeMap::new(),
            default_resource: None,
        },
        assurance: Assurance::Domain,
        other_authentication: Vec::new(),
        metadata: "{}".to_owned(),
        secret_hash: None,
        registration_token_digest: None,
        created_at: now,
        last_used_at: None,
        fetched_at: None,
        fresh_until: None,
        suspended_at: None,
    }
}

fn from_pin(id: &ClientId, pinned: Pinned, now: i64) -> DynamicClient {
    let mut client = blank(id, now);
    let mut methods = pinned.preset.authentication.iter().copied();
    pinned.preset.client_name.clone_into(&mut client.client.name);
    client.client.authentication = methods.next().unwrap_or(ClientAuthentication::None);
    client.other_authentication = methods.collect();
    client.client.redirect_uris = pinned.redirect_uris;
    client.client.grants = vec![GrantType::AuthorizationCode, GrantType::RefreshToken];
    client.client.jwks_uri = pinned.preset.jwks_uri.and_then(|uri| Url::parse(uri).ok());
    client.fresh_until = Some(now.saturating_add(PINNED_SECONDS));
    client
}

/// What is another one than before, by name (rule CM-15).
fn differences(before: &Client, after: &Client) -> Vec<&'static str> {
    let pairs = [
        ("client_name", before.name == after.name),
        ("redirect_uris", before.redirect_uris == after.redirect_uris),
        ("token_endpoint_auth_method", before.authentication == after.authentication),
        ("grant_types", before.grants == after.grants),
        ("jwks_uri", before.jwks_uri == after.jwks_uri),
        ("jwks", before.jwks == after.jwks),
    ];
    pairs.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::{Config, ConfigSources};
    use crate::secrets::SecretsKey;
    use crate::store::Store;

    /// Without a fetch: what happens once one has failed.
    #[tokio::test]
    async fn the_pinned_copy_of_a_well_known_client_stands_in_for_its_document() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("procura.db").display());
        let sources = ConfigSources { file: None, environment: Vec::new(), database_url: Some(url.clone()) };
        let store = Store::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        let (config, clock) = (Config::load(&sources).unwrap(), Clock::set_to(1_800_000_000));
        let app = App::start(config, clock, store, SecretsKey::generate()).await.unwrap();
        let (snapshot, now) = (app.snapshot(), app.clock.now());
        let without = async |id: &str, now: i64| {
            let (id, refusal) =
                (id.parse().unwrap(), Refusal::new(ReasonCode::ClientDocumentUnavailable, "status 403"));
            let at_hand = app.clients.known(&app.store, &snapshot, &id).await.unwrap();
            app.clients.without(&app, &snapshot, &id, at_hand, refusal, now).await
        };
        let chatgpt = without("https://chatgpt.com/oauth/client.json", now).await.unwrap().unwrap();
        assert_eq!(chatgpt.entry.client.authentication, ClientAuthentication::PrivateKeyJwt);
        assert!(chatgpt.entry.may_authenticate_by(ClientAuthentication::None));
        assert_eq!(chatgpt.stored.fresh_until, Some(now + PINNED_SECONDS), "the document is soon tried again");
        let id = "https://claude.ai/oauth/claude-code-client-metadata";
        for at in [now, now + 400 * 86_400] {
            let code = without(id, at).await.unwrap().unwrap();
            assert_eq!(code.entry.client.name, "Claude Code");
            assert_eq!(code.entry.assurance, Assurance::Domain);
        }
        let found = app.clients.find(&app.store, &snapshot, &id.parse().unwrap()).await.unwrap();
        assert!(found.is_some(), "a token request finds it");
        let unknown = without("https://client.example/client.json", now).await;
        assert!(
            matches!(unknown, Err(ResolveError::Refused(refusal)) if refusal.reason.as_str() == "client_document_unavailable")
        );
    }
}
