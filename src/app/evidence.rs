//! Evidence in the background: checkpoints when they are due, their copies outside, and what is too old. No request
//! waits for any of it.

use super::App;
use super::copies::Copies;
use crate::audit::checkpoint::{CheckpointProblem, Made, Notary};
use crate::audit::prune::PruneProblem;
use crate::tokens::checkpoint::{EvidenceKeys, sign_checkpoint};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often it is seen whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Every how many looks it is seen whether something is too old: once an hour.
const LOOKS_PER_PRUNING: u64 = 1_800;
/// What is kept is removed a day's worth at a time.
const DAY_SECONDS: i64 = 86_400;

/// Never ends.
pub(super) async fn run(app: &App) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut copies = Copies::new(&app.config.evidence);
    let mut looks: u64 = 0;
    loop {
        ticks.tick().await;
        match is_due(app).await {
            Ok(false) => {}
            Ok(true) => match make(app).await {
                Ok(made) => {
                    app.metrics.count_checkpoints("ok", u64::try_from(made.checkpoints.len()).unwrap_or(u64::MAX));
                    for (writer_id, problem) in made.broken {
                        app.metrics.count_checkpoints("failed", 1);
                        tracing::error!(
                            writer_id,
                            problem,
                            "a chain of events is broken and is not signed any further"
                        );
                    }
                }
                Err(problem) => failed(app, &problem.to_string()),
            },
            Err(problem) => tracing::warn!(%problem, "whether a checkpoint is due could not be seen"),
        }
        copies.deliver(app).await;
        if looks.is_multiple_of(LOOKS_PER_PRUNING) {
            prune(app).await;
        }
        looks = looks.wrapping_add(1);
    }
}

fn failed(app: &App, problem: &str) {
    app.metrics.count_checkpoints("failed", 1);
    tracing::error!(problem, "no checkpoint of the audit trail could be made; it is tried again");
}

/// Whether enough came, or enough time passed, since the newest checkpoint, whoever made it.
async fn is_due(app: &App) -> Result<bool, CheckpointProblem> {
    let settings = &app.config.evidence;
    let unsigned = app.store.unsigned_chains().await?;
    if unsigned.is_empty() {
        return Ok(false);
    }
    let events = unsigned.iter().fold(0_i64, |sum, chain| sum.saturating_add(chain.seq.saturating_sub(chain.covered)));
    if settings.checkpoint_events > 0 && events >= i64::from(settings.checkpoint_events) {
        return Ok(true);
    }
    let made_at = app.store.newest_checkpoint().await?.map_or(i64::MIN, |stored| stored.made_at);
    let passed = app.clock.now().saturating_sub(made_at);
    // A clock that was set back must not put checkpoints off.
    let is_late = passed >= i64::from(settings.checkpoint_seconds) || passed < 0;
    Ok(settings.checkpoint_seconds > 0 && is_late)
}

/// Signs what is new.
pub(super) async fn make(app: &App) -> Result<Made, CheckpointProblem> {
    let keys = evidence_keys(app).await?;
    let signing = app.signing_keys();
    notary(app, &keys, &|checkpoint| sign_checkpoint(&signing, checkpoint)).make(app.clock.now(), None).await
}

async fn evidence_keys(app: &App) -> Result<EvidenceKeys, CheckpointProblem> {
    Ok(EvidenceKeys::of_records(&app.store.list_signing_keys().await?, Some(&app.secrets_key)))
}

fn notary<'a>(
    app: &'a App,
    keys: &'a EvidenceKeys,
    sign: &'a (dyn Fn(&crate::domain::checkpoint::Checkpoint) -> Result<String, String> + Sync),
) -> Notary<'a> {
    Notary { store: &app.store, issuer: &app.config.issuer, reader: keys, seen: &app.seen_checkpoint, sign }
}

/// Removes what is older than it is to be kept, and says so.
async fn prune(app: &App) {
    match remove_old(app).await {
        Ok(0) => {}
        Ok(events) => {
            tracing::info!(events, "audit events that were kept long enough were removed");
            app.metrics.count_cleanup(&[("audit_event", events)]);
        }
        Err(problem) => tracing::error!(%problem, "old audit events could not be removed; it is tried again"),
    }
}

/// Removes what is older than it is to be kept, if that is a day's worth.
pub(super) async fn remove_old(app: &App) -> Result<u64, PruneProblem> {
    let keep_days = i64::from(app.config.evidence.keep_days);
    if keep_days == 0 {
        return Ok(0);
    }
    let before = app.clock.now().saturating_sub(keep_days.saturating_mul(DAY_SECONDS));
    let keys = evidence_keys(app).await?;
    let signing = app.signing_keys();
    let sign = |checkpoint: &crate::domain::checkpoint::Checkpoint| sign_checkpoint(&signing, checkpoint);
    let notary = notary(app, &keys, &sign);
    let a_day_earlier = app.store.newest_checkpoint_before(before.saturating_sub(DAY_SECONDS)).await?;
    if a_day_earlier <= notary.standing().await?.pruned {
        return Ok(0);
    }
    let by = format!("audit.keep_days = {keep_days}");
    Ok(notary.prune(before, &by, app.clock.now_ms()).await?.events)
}
