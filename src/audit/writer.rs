//! The writer: one chain a server, group commit; an answer waits until its event is durable.
//!
//! One task owns the chain. It takes what waits, commits it at once, and answers; the next batch gathers meanwhile, so
//! that commits grow with the load and nobody waits for a timer.

use crate::clock::Clock;
use crate::config::AuditSettings;
use crate::domain::event::{AuditEvent, ChainHead, ChainedEvent, EventKind, EventOutcome};
use crate::domain::names::UserId;
use crate::domain::user::User;
use crate::secrets::random_id;
use crate::store::{Store, StoreError};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A database that does not answer for longer has failed: a dead connection must not hold up the chain for minutes.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// After a failed commit the writer tries again by itself this often: a server that is not ready gets no requests.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(1);

/// The event could not be made durable: no token may be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuditUnavailable(pub String);

/// Counts for metrics and `/readyz`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditHealth {
    /// Events made durable.
    pub written: u64,
    /// Events that could not be, those that found the queue full too.
    pub failed: u64,
    /// Events that wait, those of the commit under way too.
    pub waiting: usize,
    /// Commits that succeeded; with `written`, how many events one has.
    pub commits: u64,
    /// How long these commits took altogether, in microseconds.
    pub commit_micros: u64,
    /// True if the last commit succeeded and the writer runs.
    pub healthy: bool,
}

/// Where events are handed in. Cheap to clone. The task ends when the last clone is dropped, or by [`Self::close`].
#[derive(Debug, Clone)]
pub struct AuditWriter {
    queue: mpsc::Sender<Waiting>,
    writer_id: Arc<str>,
    counts: Arc<Counts>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

/// An event in the queue. Once here it is written, whether or not somebody still waits for the answer.
#[derive(Debug)]
struct Waiting {
    event: AuditEvent,
    user: Option<User>,
    answer: oneshot::Sender<Result<(), AuditUnavailable>>,
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    failed: AtomicU64,
    waiting: AtomicUsize,
    commits: AtomicU64,
    commit_micros: AtomicU64,
    last_commit_succeeded: AtomicBool,
}

impl AuditWriter {
    /// Begins a chain of its own, with a `WriterStarted` event, and starts the task that writes it.
    pub async fn start(store: Store, settings: &AuditSettings, clock: Clock) -> Result<Self, StoreError> {
        let writer_id: Arc<str> = random_id("w").into();
        let counts = Arc::new(Counts::default());
        let empty = ChainHead::empty(&*writer_id);
        let mut chain =
            Chain { store, clock, counts: Arc::clone(&counts), durable: empty.clone(), head: Some(empty), failed: 0 };
        let detail = format!("procura {} began this chain", env!("CARGO_PKG_VERSION"));
        let started = chain.own_event("writer_started", detail);
        chain.append(vec![started], &[]).await?;

        let (queue, events) = mpsc::channel(settings.queue.max(1));
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(chain.run(events, closing.clone(), settings.events_per_commit.max(1)));
        Ok(Self { queue, writer_id, counts, closing, tasks })
    }

    /// Returns once the event (and what it taught us of a user) is durable. An event handed in is written even if the
    /// caller goes away.
    ///
    /// # Errors
    /// At once if too many events wait; after the commit failed otherwise.
    pub async fn record(&self, event: AuditEvent, user: Option<User>) -> Result<(), AuditUnavailable> {
        let (answer, answered) = oneshot::channel();
        // Counted before it is handed in: the task must not count it off first.
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        if let Err(refused) = self.queue.try_send(Waiting { event, user, answer }) {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
            return Err(AuditUnavailable(match refused {
                mpsc::error::TrySendError::Full(_) => {
                    format!("the audit queue is full: {} events wait to be written", self.queue.max_capacity())
                }
                mpsc::error::TrySendError::Closed(_) => "the audit writer has ended".to_owned(),
            }));
        }
        answered.await.unwrap_or_else(|_| Err(AuditUnavailable("the audit writer has ended".to_owned())))
    }

    /// How it stands.
    pub fn health(&self) -> AuditHealth {
        AuditHealth {
            written: self.counts.written.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
            waiting: self.counts.waiting.load(Ordering::Relaxed),
            commits: self.counts.commits.load(Ordering::Relaxed),
            commit_micros: self.counts.commit_micros.load(Ordering::Relaxed),
            healthy: self.counts.last_commit_succeeded.load(Ordering::Relaxed) && !self.queue.is_closed(),
        }
    }

    /// The id of its chain.
    pub fn writer_id(&self) -> &str {
        &self.writer_id
    }

    /// Writes what waits, takes nothing more, and ends the task.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The chain, owned by the one task that appends to it.
struct Chain {
    store: Store,
    clock: Clock,
    counts: Arc<Counts>,
    /// The last event that we know is durable.
    durable: ChainHead,
    /// Where the next event goes; none after a failed commit, since what became of it is for the store to say.
    head: Option<ChainHead>,
    /// Events that could not be stored since the last commit that succeeded.
    failed: u64,
}

impl Chain {
    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>, closing: CancellationToken, most: usize) {
        let mut recovery = tokio::time::interval(RECOVERY_INTERVAL);
        recovery.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(most);
        loop {
            tokio::select! {
                () = closing.cancelled(), if !queue.is_closed() => queue.close(),
                taken = queue.recv_many(&mut batch, most) => match taken {
                    0 => return,
                    _ => self.commit(&mut batch).await,
                },
                _ = recovery.tick(), if self.head.is_none() => self.recover().await,
            }
        }
    }

    /// One transaction for the batch; then everyone in it hears how it went.
    async fn commit(&mut self, batch: &mut Vec<Waiting>) {
        let (mut events, mut answers) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let mut users = BTreeMap::new();
        for Waiting { event, user, answer } in batch.drain(..) {
            events.push(event);
            answers.push(answer);
            if let Some(user) = user {
                keep_newest(&mut users, user);
            }
        }
        // In the order of their ids, so that two servers that meet the same users cannot wait for each other.
        let users: Vec<User> = users.into_values().collect();
        let result = self.append(events, &users).await.map_err(|error| {
            let count = u64::try_from(answers.len()).unwrap_or(u64::MAX);
            self.failed = self.failed.saturating_add(count);
            self.counts.failed.fetch_add(count, Ordering::Relaxed);
            tracing::error!(audit.events = count, error = %error, "audit events could not be stored");
            AuditUnavailable(format!("the audit event could not be stored: {error}"))
        });
        self.counts.waiting.fetch_sub(answers.len(), Ordering::Relaxed);
        for answer in answers {
            // Whoever asked may have gone; the event is stored all the same.
            let _ = answer.send(result.clone());
        }
    }

    /// Tries to write after a failed commit although no event waits.
    async fn recover(&mut self) {
        if let Err(error) = self.append(Vec::new(), &[]).await {
            tracing::debug!(error = %error, "the audit trail still cannot be written");
        }
    }

    /// Appends behind the head, which after a failure is read again first: a commit whose answer was lost may have
    /// happened. Should it happen later still, its places in the chain are taken and one of the two commits fails.
    async fn append(&mut self, events: Vec<AuditEvent>, users: &[User]) -> Result<(), StoreError> {
        let started = Instant::now();
        let known = self.head.take();
        let resumed = known.is_none();
        let mut head = match known {
            Some(head) => head,
            None => self.stored_head().await?,
        };
        let notice = resumed.then(|| self.own_event("writer_resumed", self.what_happened(&head)));
        let chained: Vec<ChainedEvent> =
            notice.into_iter().chain(events).map(|event| ChainedEvent::append(&mut head, event)).collect();
        let result = within_timeout(self.store.append_events(&chained, users)).await;
        self.counts.last_commit_succeeded.store(result.is_ok(), Ordering::Relaxed);
        result?;

        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counts.commits.fetch_add(1, Ordering::Relaxed);
        self.counts.commit_micros.fetch_add(micros, Ordering::Relaxed);
        self.counts.written.fetch_add(u64::try_from(chained.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if resumed {
            tracing::info!(audit.seq = head.seq, "the audit trail is written again");
        }
        self.failed = 0;
        self.durable.clone_from(&head);
        self.head = Some(head);
        Ok(())
    }

    async fn stored_head(&self) -> Result<ChainHead, StoreError> {
        let stored = within_timeout(self.store.chain_head(&self.durable.writer_id)).await?;
        Ok(stored.unwrap_or_else(|| ChainHead::empty(&self.durable.writer_id)))
    }

    /// Why the chain was interrupted, for the event that says so. If durable events are gone (a restored backup, a
    /// replica that had fallen behind) the chain goes on behind what is left, and this is the trace they leave.
    fn what_happened(&self, stored: &ChainHead) -> String {
        let durable = &self.durable;
        if stored.seq < durable.seq {
            tracing::error!(audit.seq = stored.seq, audit.durable_seq = durable.seq, "the database lost audit events");
            format!(
                "the database lost events of this chain that had been stored: {} to {}, the last with hash {}",
                stored.seq.saturating_add(1),
                durable.seq,
                durable.hash
            )
        } else if stored.seq == durable.seq && stored.hash != durable.hash {
            tracing::error!(audit.seq = durable.seq, "a stored audit event was changed");
            format!(
                "event {} of this chain was changed after it had been stored with hash {}",
                durable.seq, durable.hash
            )
        } else {
            format!("after a failed commit; events that failed, and for which no token was answered: {}", self.failed)
        }
    }

    /// An event of the writer itself; its request id is the chain's.
    fn own_event(&self, reason: &str, detail: String) -> AuditEvent {
        let writer_id = self.durable.writer_id.clone();
        let mut event =
            AuditEvent::new(self.clock.now_ms(), writer_id, EventKind::WriterStarted, EventOutcome::Done, reason);
        event.detail = Some(detail);
        event
    }
}

/// Of several sightings of a user in one batch the newest counts, the later one if equally old.
fn keep_newest(users: &mut BTreeMap<UserId, User>, user: User) {
    match users.entry(user.id.clone()) {
        Entry::Vacant(place) => {
            place.insert(user);
        }
        Entry::Occupied(mut place) => {
            if place.get().attributes_at <= user.attributes_at {
                place.insert(user);
            }
        }
    }
}

async fn within_timeout<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(STORE_TIMEOUT, answer).await.unwrap_or_else(|_| {
        Err(StoreError::Unavailable(format!("the database did not answer within {} seconds", STORE_TIMEOUT.as_secs())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: &str, role: &str, at: i64) -> User {
        User {
            id: id.parse().unwrap(),
            idp: "corp".parse().unwrap(),
            idp_sub: id.to_owned(),
            attributes: crate::domain::user::UserAttributes { roles: vec![role.to_owned()], ..Default::default() },
            attributes_at: at,
            suspended_at: None,
        }
    }

    #[test]
    fn of_several_sightings_of_a_user_the_newest_is_kept() {
        let mut users = BTreeMap::new();
        for user in [seen("b", "nurse", 5), seen("a", "one", 7), seen("b", "doctor", 9), seen("b", "student", 8)] {
            keep_newest(&mut users, user);
        }
        keep_newest(&mut users, seen("a", "two", 7));
        let kept: Vec<_> = users.into_values().map(|user| (user.id.to_string(), user.attributes.roles)).collect();
        assert_eq!(kept, [("a".to_owned(), vec!["two".to_owned()]), ("b".to_owned(), vec!["doctor".to_owned()])]);
    }
}
