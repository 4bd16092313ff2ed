//! The writer: one chain a server, group commit; an answer waits until its event is durable.
//!
//! One task owns the chain. It takes what waits and what is about to come, commits it, and answers; the next batch
//! gathers meanwhile, so that commits grow with the load and nobody waits for a timer.

use crate::clock::Clock;
use crate::config::AuditSettings;
use crate::domain::event::{AuditEvent, ChainHead, ChainedEvent, EventKind, EventOutcome};
use crate::domain::names::UserId;
use crate::domain::token_status::StatusEntry;
use crate::domain::user::User;
use crate::secrets::random_id;
use crate::store::{Store, StoreError};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A commit that takes longer has failed: a dead connection must not hold up the chain for minutes.
const COMMIT_AT_MOST: Duration = Duration::from_secs(10);

/// A batch is not gathered for longer.
const GATHERING: Duration = Duration::from_millis(2);

/// While a commit takes longer than this, no event is taken: nobody queues behind a database that stands still.
const LATE_AFTER: Duration = Duration::from_secs(2);

/// After a failed commit the writer tries again by itself this often.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(1);

/// A try to recover that takes longer is given up for the next one, which may have a better connection.
const RECOVERY_AT_MOST: Duration = Duration::from_secs(3);

/// The event could not be made durable: no token may be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuditUnavailable(pub String);

/// Counts for metrics and `/readyz`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditHealth {
    /// Events made durable.
    pub written: u64,
    /// Events that could not be, those that were not even taken too.
    pub failed: u64,
    /// Events that wait, those of the commit under way too.
    pub waiting: usize,
    /// Commits that succeeded; with `written`, how many events one has.
    pub commits: u64,
    /// How long these commits took altogether, in microseconds.
    pub commit_micros: u64,
    /// True if an event is taken: the last commit succeeded, none under way is late, and the writer runs.
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

/// What becomes durable together with an event.
#[derive(Debug, Default)]
pub struct With {
    /// What it taught us of a user.
    pub user: Option<User>,
    /// The status entry of its token, if that is a new one.
    pub entry: Option<StatusEntry>,
}

/// An event in the queue. Once here it is written, whether or not somebody still waits for the answer.
#[derive(Debug)]
struct Waiting {
    event: AuditEvent,
    with: With,
    answer: oneshot::Sender<Result<(), AuditUnavailable>>,
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    failed: AtomicU64,
    waiting: AtomicUsize,
    commits: AtomicU64,
    commit_micros: AtomicU64,
    takes_events: AtomicBool,
}

impl AuditWriter {
    /// Begins a chain of its own, with a `WriterStarted` event, and starts the task that writes it.
    pub async fn start(store: Store, settings: &AuditSettings, clock: Clock) -> Result<Self, StoreError> {
        let writer_id: Arc<str> = random_id("w").into();
        let counts = Arc::new(Counts::default());
        let mut chain = Chain {
            store,
            clock,
            counts: Arc::clone(&counts),
            durable: ChainHead::empty(&*writer_id),
            head: None,
            told: 0,
        };
        chain.begin().await?;

        let (queue, events) = mpsc::channel(settings.queue.max(1));
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(chain.run(events, closing.clone(), settings.events_per_commit.max(1)));
        Ok(Self { queue, writer_id, counts, closing, tasks })
    }

    /// Whether an event is taken now; if not, the event that its request would have had counts as failed.
    ///
    /// # Errors
    /// From a commit that failed or is late until the next one that succeeds; the writer tries by itself.
    pub fn admit(&self) -> Result<(), AuditUnavailable> {
        if self.counts.takes_events.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        Err(AuditUnavailable("audit events cannot be written at the moment".to_owned()))
    }

    /// Returns once the event (and what it taught us of a user) is durable. An event handed in is written even if the
    /// caller goes away.
    ///
    /// # Errors
    /// See [`Self::record_with`].
    pub async fn record(&self, event: AuditEvent, user: Option<User>) -> Result<(), AuditUnavailable> {
        self.record_with(event, With { user, entry: None }).await
    }

    /// Returns once the event, and what belongs to it, is durable.
    ///
    /// # Errors
    /// At once if no event is taken (see [`Self::admit`]) or too many wait; after the commit failed otherwise.
    pub async fn record_with(&self, event: AuditEvent, with: With) -> Result<(), AuditUnavailable> {
        self.admit()?;
        let (answer, answered) = oneshot::channel();
        // Counted before it is handed in: the task must not count it off first.
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        if let Err(refused) = self.queue.try_send(Waiting { event, with, answer }) {
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
            healthy: self.counts.takes_events.load(Ordering::Relaxed) && !self.queue.is_closed(),
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
    /// How many of the events that failed were told of by a `writer_resumed`.
    told: u64,
}

impl Chain {
    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>, closing: CancellationToken, most: usize) {
        let mut recovery = tokio::time::interval(RECOVERY_INTERVAL);
        recovery.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(most);
        loop {
            tokio::select! {
                () = closing.cancelled(), if !queue.is_closed() => queue.close(),
                taken = queue.recv_many(&mut batch, most) => {
                    if taken == 0 {
                        return;
                    }
                    gather(&mut queue, &mut batch, most).await;
                    self.commit(&mut batch, &mut queue).await;
                }
                _ = recovery.tick(), if self.head.is_none() => self.recover().await,
            }
        }
    }

    /// One transaction for the batch; then everyone in it hears how it went. If it failed, so does everyone behind it.
    async fn commit(&mut self, batch: &mut Vec<Waiting>, queue: &mut mpsc::Receiver<Waiting>) {
        let Some(mut head) = self.head.take() else {
            // They came in just when the commit before them failed.
            return self.counts.refuse(batch.drain(..), "the last commit failed");
        };
        let started = Instant::now();
        let (mut chained, mut answers) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let (mut users, mut entries) = (BTreeMap::new(), Vec::new());
        for Waiting { event, with, answer } in batch.drain(..) {
            chained.push(ChainedEvent::append(&mut head, event));
            answers.push(answer);
            if let Some(user) = with.user {
                keep_newest(&mut users, user);
            }
            entries.extend(with.entry);
        }
        // In the order of their ids, so that two servers that meet the same users cannot wait for each other.
        let users: Vec<User> = users.into_values().collect();
        let result = match self.append(&chained, &users, &entries, queue).await {
            Ok(()) => {
                self.is_durable(head, chained.len(), started);
                Ok(())
            }
            Err(error) => {
                let count = u64::try_from(answers.len()).unwrap_or(u64::MAX);
                tracing::error!(audit.events = count, error = %error, "audit events could not be stored");
                self.counts.takes_events.store(false, Ordering::Relaxed);
                self.counts.failed.fetch_add(count, Ordering::Relaxed);
                self.counts.refuse(drain(queue), "the commit before it failed");
                Err(AuditUnavailable(format!("the audit event could not be stored: {error}")))
            }
        };
        self.counts.waiting.fetch_sub(answers.len(), Ordering::Relaxed);
        for answer in answers {
            // Whoever asked may have gone; the event is stored all the same.
            let _ = answer.send(result.clone());
        }
    }

    /// Stores them. As long as that is late, nothing is taken, and what waits is refused: it was not tried.
    async fn append(
        &self,
        chained: &[ChainedEvent],
        users: &[User],
        entries: &[StatusEntry],
        queue: &mut mpsc::Receiver<Waiting>,
    ) -> Result<(), StoreError> {
        let mut commit = pin!(self.within(COMMIT_AT_MOST, self.store.append_with(chained, users, entries)));
        if let Ok(result) = timeout(LATE_AFTER, &mut commit).await {
            return result;
        }
        tracing::warn!(audit.events = chained.len(), "the database takes long to store audit events");
        self.counts.takes_events.store(false, Ordering::Relaxed);
        self.counts.refuse(drain(queue), "the commit before it takes too long");
        commit.await
    }

    /// The first event of the chain.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let started = Instant::now();
        let mut head = self.durable.clone();
        let detail = format!("procura {} began this chain", env!("CARGO_PKG_VERSION"));
        let event = ChainedEvent::append(&mut head, self.own_event("writer_started", detail));
        self.within(COMMIT_AT_MOST, self.store.append_events(&[event], &[])).await?;
        self.is_durable(head, 1, started);
        Ok(())
    }

    /// Tries to go on after a failed commit. No event waits for it.
    async fn recover(&mut self) {
        let started = Instant::now();
        match self.within(RECOVERY_AT_MOST, self.resume()).await {
            Ok((head, told)) => {
                tracing::info!(audit.seq = head.seq, "the audit trail is written again");
                self.told = told;
                self.is_durable(head, 1, started);
            }
            Err(error) => tracing::debug!(error = %error, "the audit trail still cannot be written"),
        }
    }

    /// Appends behind the stored head an event that says what happened: a commit whose answer was lost may have
    /// happened. Should it happen later still, its places in the chain are taken and one of the two commits fails.
    ///
    /// Returns the new head, and how many failed events have been told of by now. Those that are refused while this is
    /// under way are for the next time.
    async fn resume(&self) -> Result<(ChainHead, u64), StoreError> {
        let writer_id = &self.durable.writer_id;
        let mut head = self.store.chain_head(writer_id).await?.unwrap_or_else(|| ChainHead::empty(writer_id));
        let failed = self.counts.failed.load(Ordering::Relaxed);
        let notice = self.what_happened(&head, failed.saturating_sub(self.told));
        let notice = ChainedEvent::append(&mut head, self.own_event("writer_resumed", notice));
        self.store.append_events(&[notice], &[]).await?;
        Ok((head, failed))
    }

    /// Notes a commit that succeeded. Events are taken from now on.
    fn is_durable(&mut self, head: ChainHead, events: usize, started: Instant) {
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counts.commits.fetch_add(1, Ordering::Relaxed);
        self.counts.commit_micros.fetch_add(micros, Ordering::Relaxed);
        self.counts.written.fetch_add(u64::try_from(events).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.durable.clone_from(&head);
        self.head = Some(head);
        self.counts.takes_events.store(true, Ordering::Relaxed);
    }

    /// After the time limit the connection is closed, whatever it was doing, and others like it are not used again.
    async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        timeout(limit, answer).await.unwrap_or_else(|_| Err(self.store.gives_up(limit)))
    }

    /// Why the chain was interrupted, for the event that says so. If durable events are gone (a restored backup, a
    /// replica that had fallen behind) the chain goes on behind what is left, and this is the trace they leave.
    fn what_happened(&self, stored: &ChainHead, failed: u64) -> String {
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
            format!("after a failed commit; events that failed, and for which no token was answered: {failed}")
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

/// Lets the requests that are about to be decided join the batch: as long as each turn of the scheduler brings some, and
/// for [`GATHERING`]. A commit costs much the same for one event as for twenty; a request that is alone waits for nobody.
async fn gather(queue: &mut mpsc::Receiver<Waiting>, batch: &mut Vec<Waiting>, most: usize) {
    let started = Instant::now();
    loop {
        let before = batch.len();
        tokio::task::yield_now().await;
        while batch.len() < most
            && let Ok(waiting) = queue.try_recv()
        {
            batch.push(waiting);
        }
        if batch.len() == before || batch.len() >= most || started.elapsed() >= GATHERING {
            return;
        }
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

/// What waits at this moment.
fn drain(queue: &mut mpsc::Receiver<Waiting>) -> impl Iterator<Item = Waiting> {
    std::iter::from_fn(|| queue.try_recv().ok())
}

impl Counts {
    /// Answers events that were not tried.
    fn refuse(&self, waiting: impl Iterator<Item = Waiting>, why: &str) {
        for Waiting { answer, .. } in waiting {
            self.failed.fetch_add(1, Ordering::Relaxed);
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            let _ = answer.send(Err(AuditUnavailable(format!("the audit event was not stored: {why}"))));
        }
    }
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
