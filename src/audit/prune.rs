//! Removing old events in order: whole beginnings of chains, up to a signed checkpoint, after that was signed as well.

use super::chain::Chain;
use super::checkpoint::{CheckpointProblem, Notary};
use super::signed::Signed;
use super::words::moment;
use crate::domain::event::{AuditEvent, EventKind, EventOutcome};
use crate::secrets::random_id;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// How many events go in one transaction: few enough that no writer waits long.
const BATCH: i64 = 500;
/// Between two of them, so that writers come in between.
const PAUSE: Duration = Duration::from_millis(10);
/// How many chains the event names one by one.
const NAMED_AT_MOST: usize = 20;

/// Why nothing is removed.
#[derive(Debug, thiserror::Error)]
pub enum PruneProblem {
    /// The database, or checkpoints.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointProblem),
    /// What would be removed is not whole: it is evidence.
    #[error("{0}; nothing is removed from a trail that is not whole: procura audit verify says more")]
    NotWhole(String),
}

impl From<crate::store::StoreError> for PruneProblem {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Checkpoint(error.into())
    }
}

/// What is removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Up to which checkpoint; 0 if there is nothing so old.
    pub checkpoint: i64,
    /// How many events.
    pub events: u64,
    /// Where each chain is cut.
    pub chains: Vec<Cut>,
}

/// Where a chain is cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// Whose chain.
    pub writer_id: String,
    /// The last event that goes.
    pub seq: i64,
    /// Its hash, in hex.
    pub hash: String,
    /// How many events go.
    pub events: u64,
}

impl Notary<'_> {
    /// What could be removed: events signed by checkpoints that were made before this time (Unix seconds), and what an
    /// earlier removal left. Changes nothing.
    ///
    /// # Errors
    /// What would be removed is not whole.
    pub async fn prunable(&self, before: i64) -> Result<Pruned, PruneProblem> {
        let checkpoint = self.store.newest_checkpoint_before(before).await?;
        let signed = Signed::read(self.store, self.reader, &BTreeMap::new()).await?;
        if let Some(fault) = signed.faults.first() {
            return Err(PruneProblem::NotWhole(format!("checkpoint {}: {}", fault.number, fault.problem)));
        }
        let checkpoint = checkpoint.max(signed.standing.pruned);
        let mut pruned = Pruned { checkpoint, events: 0, chains: Vec::new() };
        for (writer_id, seq) in self.store.cuts(checkpoint).await? {
            let events = u64::try_from(self.store.count_events_up_to(&writer_id, seq).await?).unwrap_or(0);
            let expected = signed.expected(&writer_id, None);
            let gone = expected.cut.as_ref().map_or(0, |cut| cut.segment.last);
            if events == 0 && seq <= gone {
                continue;
            }
            let mut chain = Chain::new(&writer_id, expected);
            let problem = chain.first_fault(self.store, seq).await?;
            if problem.is_some() || chain.last.seq != seq {
                let problem = problem.unwrap_or_else(|| "missing".to_owned());
                let place = chain.last.seq.saturating_add(1);
                return Err(PruneProblem::NotWhole(format!("chain {writer_id} event {place}: {problem}")));
            }
            pruned.events = pruned.events.saturating_add(events);
            pruned.chains.push(Cut { writer_id, seq, hash: chain.last.hash, events });
        }
        Ok(pruned)
    }

    /// Removes it. First an event of the administrators and a checkpoint say so: from then on it may be missing.
    ///
    /// # Errors
    /// See [`PruneProblem`]. What was removed before the error is gone; the next time goes on.
    pub async fn prune(&self, before: i64, by: &str, now_ms: i64) -> Result<Pruned, PruneProblem> {
        let started = Instant::now();
        let pruned = self.prunable(before).await?;
        // To look through all of it takes its time, and the event is of the moment in which it is written.
        let now_ms = now_ms.saturating_add(i64::try_from(started.elapsed().as_millis()).unwrap_or(0));
        let now = now_ms.div_euclid(1000);
        if pruned.checkpoint > self.standing().await?.pruned && !pruned.chains.is_empty() {
            self.store.change(&[], event(&pruned, before, by, now_ms), now).await?;
            self.make(now, Some(pruned.checkpoint)).await?;
        }
        let mut pause = tokio::time::interval(PAUSE);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for cut in &pruned.chains {
            loop {
                pause.tick().await;
                let removed = self.store.remove_events_up_to(&cut.writer_id, cut.seq, BATCH).await?;
                if removed < BATCH.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(pruned)
    }
}

/// The event that says what goes.
fn event(pruned: &Pruned, before: i64, by: &str, now_ms: i64) -> AuditEvent {
    let mut event =
        AuditEvent::new(now_ms, random_id("adm"), EventKind::Administration, EventOutcome::Done, "audit_pruned");
    let named = pruned.chains.iter().take(NAMED_AT_MOST);
    let mut cuts: Vec<String> =
        named.map(|cut| format!("{} up to event {} with hash {}", cut.writer_id, cut.seq, cut.hash)).collect();
    if let Some(more) = pruned.chains.len().checked_sub(NAMED_AT_MOST).filter(|more| *more > 0) {
        cuts.push(format!("and {more} more chains"));
    }
    event.detail = Some(format!(
        "{by}: {} events, all from before {} and signed up to checkpoint {}, are removed: {}",
        pruned.events,
        moment(before),
        pruned.checkpoint,
        cuts.join("; ")
    ));
    event
}
