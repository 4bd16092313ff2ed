//! Work in the background: taking in changes, keys that are due, secrets' last uses, rows that have ended.

use super::{App, StartError, evidence};
use crate::config::KeySettings;
use crate::domain::event::{AuditEvent, EventKind, EventOutcome};
use crate::domain::registry::Registry;
use crate::domain::resource::SigningAlgorithm;
use crate::domain::signing_key::SigningKeyRecord;
use crate::secrets::{SecretsKey, random_id};
use crate::store::Store;
use crate::tokens::id_token;
use crate::tokens::signing_keys::{SigningKeys, rotate};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How old what is in force may be, whatever PostgreSQL tells: twice a second the database is asked what changed.
const REFRESH_EVERY: Duration = Duration::from_millis(500);
/// News that come faster are taken in together, so that many changes in a row do not keep every server loading.
const NEWS_EVERY: Duration = Duration::from_millis(50);
/// Every how many refreshes the slower work is done: once a minute.
const REFRESHES_PER_CHORE: u64 = 120;

pub(super) async fn run(app: Arc<App>, stop: CancellationToken) {
    let news = Notify::new();
    tokio::select! {
        never = app.store.watch(|| news.notify_one()) => match never {},
        () = Box::pin(evidence::run(&app)) => {}
        () = work(&app, &news, &stop) => {}
    }
    note_uses(&app).await;
    note_client_uses(&app).await;
    note_consent_uses(&app).await;
}

async fn work(app: &App, news: &Notify, stop: &CancellationToken) {
    let every = |period| {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let (mut ticks, mut news_ticks) = (every(REFRESH_EVERY), every(NEWS_EVERY));
    let mut count: u64 = 0;
    loop {
        let is_tick = tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => true,
            // If a tick comes in between, its refresh takes in the news as well.
            () = async { news.notified().await; news_ticks.tick().await; } => false,
        };
        if let Err(error) = app.refresh().await {
            tracing::warn!(%error, "what changed in the database could not be taken in");
        }
        if is_tick {
            count = count.wrapping_add(1);
            if count.is_multiple_of(REFRESHES_PER_CHORE) {
                chores(app).await;
            }
        }
    }
}

async fn chores(app: &App) {
    note_uses(app).await;
    // Before the dead are removed: what was used meanwhile is not dead.
    note_client_uses(app).await;
    remove_dead_clients(app).await;
    note_consent_uses(app).await;
    app.limits.tidy();
    app.use_reports.tidy();
    let registry = &app.snapshot().registry;
    let now_ms = app.clock.now_ms();
    if let Err(error) = ensure_signing_keys(&app.store, registry, &app.config.keys, &app.secrets_key, now_ms).await {
        tracing::error!(%error, "signing keys could not be seen to");
    }
    match app.store.purge(app.clock.now()).await {
        Ok(rows) => app.metrics.count_cleanup(&rows),
        Err(error) => tracing::warn!(%error, "ended rows could not be removed"),
    }
}

/// Writes down when secrets were last used.
async fn note_uses(app: &App) {
    let uses = app.secret_check.take_uses();
    let Some(latest) = uses.values().max() else {
        return;
    };
    let ids: Vec<String> = uses.keys().cloned().collect();
    if let Err(error) = app.store.touch_secrets(&ids, *latest).await {
        tracing::warn!(%error, "the last use of client secrets could not be noted");
    }
}

/// Writes down when clients that nobody registered here were last used.
async fn note_client_uses(app: &App) {
    let uses = app.clients.take_uses();
    if let Err(error) = app.store.touch_dynamic_clients(&uses).await {
        tracing::warn!(%error, "the last use of clients could not be noted");
        // They are noted at the next time, unless there was a later use.
        for (id, at) in &uses {
            app.clients.used(id, *at);
        }
    }
}

/// Removes clients that nobody registered here and nobody uses.
async fn remove_dead_clients(app: &App) {
    let (settings, now) = (app.clients.settings(), app.clock.now());
    match app.store.reap_dynamic_clients(settings.unused_since(now), settings.idle_since(now), now).await {
        Ok(count) => app.metrics.count_cleanup(&[("dynamic_client", count)]),
        Err(error) => tracing::warn!(%error, "clients that nobody uses could not be removed"),
    }
}

/// Writes down how often consents were used.
async fn note_consent_uses(app: &App) {
    if let Err(error) = app.uses.write(&app.store).await {
        tracing::warn!(%error, "how often consents were used could not be noted; it is tried again");
    }
}

/// Makes the first key of every algorithm that is in use, and the successor of every key that is old enough.
///
/// Several servers may try at once: the database lets one of them win.
pub(super) async fn ensure_signing_keys(
    store: &Store,
    registry: &Registry,
    settings: &KeySettings,
    secrets_key: &SecretsKey,
    now_ms: i64,
) -> Result<(), StartError> {
    let records = store.list_signing_keys().await?;
    let now = now_ms.div_euclid(1000);
    for algorithm in algorithms(registry) {
        if !is_due(&records, algorithm, settings, now) {
            continue;
        }
        let rotation = rotate(&records, algorithm, settings.publish_before_use_seconds, false, secrets_key, now)
            .map_err(|problem| StartError::Keys(problem.to_string()))?;
        let mut event = AuditEvent::new(
            now_ms,
            random_id("upk"),
            EventKind::Administration,
            EventOutcome::Done,
            "signing_key_added",
        );
        event.kid = Some(rotation.key.kid.clone());
        event.detail = Some(format!("a new {} signing key", algorithm.as_str()));
        if store.add_signing_key(&rotation.key, &rotation.removals, event).await? {
            tracing::info!(kid = rotation.key.kid, algorithm = algorithm.as_str(), "a signing key was added");
        }
    }
    Ok(())
}

/// ES256 signs what is for this server itself, the ID tokens' algorithm what clients are told of users where users can sign
/// in; the others only what a backend asks for.
fn algorithms(registry: &Registry) -> BTreeSet<SigningAlgorithm> {
    let users_sign_in = registry.identity_providers().any(|idp| idp.login.is_some());
    let asked_for = registry.resources().map(|resource| resource.signing_algorithm);
    asked_for.chain([SigningAlgorithm::ES256]).chain(users_sign_in.then_some(id_token::ALGORITHM)).collect()
}

fn is_due(records: &[SigningKeyRecord], algorithm: SigningAlgorithm, settings: &KeySettings, now: i64) -> bool {
    let live = records.iter().filter(|key| key.algorithm == algorithm && key.removed_at.is_none_or(|end| now < end));
    let Some(newest) = live.max_by_key(|key| key.generation) else {
        return true;
    };
    let lifetime = i64::from(settings.rotate_after_days).saturating_mul(86_400);
    lifetime > 0 && now.saturating_sub(newest.signs_from) >= lifetime
}

pub(super) async fn open_signing_keys(
    store: &Store,
    secrets_key: &SecretsKey,
    now: i64,
) -> Result<SigningKeys, StartError> {
    let records = store.list_signing_keys().await?;
    SigningKeys::open(&records, secrets_key, now).map_err(|problem| StartError::Keys(problem.to_string()))
}
