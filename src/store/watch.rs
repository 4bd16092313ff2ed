//! Being told of changes. PostgreSQL tells at the commit; SQLite has nobody who could tell another process.

use super::connection::{PATIENCE, Pools, READ_AT_MOST};
use super::sql::Step;
use super::{Store, StoreError};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, timeout};

const CHANNEL: &str = "procura_change";
/// It is sent when the transaction commits, and not at all if it does not.
const NOTIFY: &str = "NOTIFY procura_change";
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Silence for so long may be that of a host that is gone.
const ASK_AFTER: Duration = Duration::from_secs(30);

impl Store {
    /// Calls `on_change` as soon as a change by whomever is committed, until it is dropped.
    ///
    /// It says that something may have changed, not what. What is committed while the connection is lost is not told,
    /// and a SQLite file tells nothing: whoever must know looks at [`Store::versions`] from time to time as well.
    pub async fn watch(&self, on_change: impl Fn()) -> Infallible {
        let Pools::Postgres { pool, .. } = &self.pools else {
            return std::future::pending().await;
        };
        let mut tries = tokio::time::interval(RETRY_EVERY);
        tries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_told = false;
        loop {
            tries.tick().await;
            let Err(error) = listen(pool, &on_change, &mut is_told).await;
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(%error, "PostgreSQL cannot tell of changes; they are looked for until it can");
            }
        }
    }

    /// The step that tells the others, for a transaction that changes what they have in memory.
    pub(super) fn notice(&self) -> Option<Step> {
        match &self.pools {
            Pools::Sqlite { .. } => None,
            Pools::Postgres { .. } => Some(Step::new(NOTIFY, [])),
        }
    }
}

/// Listens until it cannot. A new connection counts as a change, for one may have been missed without it.
async fn listen(pool: &PgPool, on_change: &impl Fn(), is_told: &mut bool) -> Result<Infallible, StoreError> {
    // By itself: the connection of a listener that hears nothing any more is not closed before TCP gives up.
    let alone = PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE);
    let alone = alone.connect_lazy_with(PgConnectOptions::clone(&pool.connect_options()));
    let mut listener = PgListener::connect_with(&alone).await?;
    answered(listener.listen(CHANNEL)).await?;
    *is_told = false;
    loop {
        on_change();
        loop {
            match timeout(ASK_AFTER, listener.try_recv()).await {
                // Without news in it: the connection was lost, and there is another one by now.
                Ok(news) => break drop(news?),
                Err(_) => answered(sqlx::query("SELECT 1").execute(&mut listener)).await?,
            }
        }
    }
}

async fn answered<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<(), StoreError> {
    timeout(READ_AT_MOST, answer).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(drop).map_err(StoreError::from)
}
