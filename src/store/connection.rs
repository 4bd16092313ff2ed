//! Opening and closing the database, its schema, and the lock that keeps a SQLite file to one server.

use super::append::AT_ONE_STROKE;
use super::sql::describe;
use super::{Store, StoreError};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Database, Executor};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long a statement waits for a connection, or for another process that writes to the SQLite file.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// In a server, a read or a transaction that takes longer has failed.
pub(super) const READ_AT_MOST: Duration = Duration::from_secs(3);
pub(super) const TRANSACTION_AT_MOST: Duration = Duration::from_secs(10);
/// Everything that is declared may be much.
pub(super) const SNAPSHOT_AT_MOST: Duration = Duration::from_secs(30);
/// An idle connection that does not answer in this time is not used.
const PING_AT_MOST: Duration = Duration::from_secs(1);

/// A connection that was at work more recently is used without asking whether it is well: a round trip is a tenth of
/// what a commit takes.
const PING_AFTER: Duration = Duration::from_millis(500);
const SQLITE_READERS: u32 = 4;
/// One more listens for changes.
const POSTGRES_CONNECTIONS: u32 = 15;

/// PostgreSQL ends a transaction of ours that stands still: when the network swallows a connection, it would otherwise
/// keep its locks for hours, and the same rows could not be written from a new one.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '5s'";

/// The lock under which PostgreSQL runs migrations: `procura` in ASCII.
const MIGRATION_LOCK: i64 = 0x70_726f_6375_7261;

/// Embedded. Each run is one transaction that takes its own lock, for sqlx takes none on SQLite.
static MIGRATOR: Migrator = {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.locking = false;
    migrator
};

const LIST_APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";
const SQLITE_HAS_HISTORY: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations')";
const POSTGRES_HAS_HISTORY: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
const PING: &str = "SELECT registry FROM version WHERE id = 1";

/// The open connections. SQLite has one writer, so one connection writes and the others cannot.
#[derive(Debug, Clone)]
pub(super) enum Pools {
    Sqlite { write: SqlitePool, read: SqlitePool, file: Arc<Path> },
    Postgres { pool: PgPool, renewal: Renewal },
}

/// A connection for one transaction or read. Unless that ends in order, the connection is closed and never used again:
/// after an error, and when nobody waits for it any more.
///
/// A commit that failed can leave behind what nobody can undo: SQLite ends the transaction by itself when the disk is
/// full, sqlx goes on counting it, and every later transaction on the connection would fail.
#[derive(Debug)]
pub(super) struct Lease<DB: Database> {
    pub(super) connection: PoolConnection<DB>,
    ended_in_order: bool,
}

impl<DB: Database> Lease<DB> {
    pub(super) fn of(connection: PoolConnection<DB>) -> Self {
        Self { connection, ended_in_order: false }
    }

    /// A transaction that is undone because it was rejected has ended in order.
    pub(super) fn end<T>(&mut self, result: &Result<T, StoreError>) {
        self.ended_in_order = matches!(result, Ok(_) | Err(StoreError::Rejected(_)));
    }
}

impl<DB: Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        if self.ended_in_order {
            // The pool asks a connection whether it is well before it takes it back. One that no longer answers would
            // keep its place in the pool until TCP gives up, which takes a quarter of an hour.
            tokio::spawn(timeout(PATIENCE, self.connection.return_to_pool()));
        } else {
            self.connection.close_on_drop();
        }
    }
}

/// Since when connections to PostgreSQL must have been made.
///
/// A session is read-only or not from its beginning: after a failover, or after a database was set to read-only for a
/// while, the old ones stay so, however long they live. And where one stopped answering, the others did too, mostly:
/// each would cost the next request its time.
#[derive(Debug, Clone, Default)]
pub(super) struct Renewal(Arc<Mutex<Option<Instant>>>);

impl Renewal {
    /// If a session took no writes, no connection that there is now is used again.
    pub(super) fn after<T>(&self, result: &Result<T, StoreError>) {
        if let Err(StoreError::ReadOnly(_)) = result {
            self.begin();
        }
    }

    /// No connection that there is now is used again.
    fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// True for a connection of this age if it was made since.
    fn is_after(&self, age: Duration) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|renewed_at| age < renewed_at.elapsed())
    }
}

/// Held by a server as long as it runs on a SQLite file; the operating system takes it back if the server dies.
#[derive(Debug)]
pub struct ServerLock {
    _file: Option<File>,
}

impl Store {
    /// Connects to `sqlite://FILE` or `postgres://...`. A SQLite file is made if absent, readable by its owner only.
    ///
    /// # Errors
    /// One line that names the file or the server, never a password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::open(url, Access::Write).await
    }

    /// Connects to what is there, to read it: no SQLite file is made, and nothing in one is changed, not even its header.
    /// What writes all the same fails.
    ///
    /// # Errors
    /// As for [`Store::connect`]; and there is no such SQLite file.
    pub async fn connect_to_read(url: &str) -> Result<Self, StoreError> {
        Self::open(url, Access::Read).await
    }

    async fn open(url: &str, access: Access) -> Result<Self, StoreError> {
        let pools = if url.starts_with("sqlite:") {
            open_sqlite(url, access).await?
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            open_postgres(url, access).await?
        } else {
            return Err(unavailable("a database URL begins with sqlite:// or postgres://"));
        };
        Ok(Self { pools, is_limited: false })
    }

    /// For a server: what the database does not answer in a few seconds has failed. Commands wait, since theirs may be a
    /// long read, and whoever typed them can end it.
    #[must_use]
    pub fn limited(self) -> Self {
        Self { is_limited: true, ..self }
    }

    /// Runs what has a time limit in a server.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if !self.is_limited {
            return work.await;
        }
        timeout(limit, work).await.unwrap_or_else(|_| Err(self.gives_up(limit)))
    }

    /// The error of whoever stops waiting for the database. Connections that there are now are not used again.
    pub fn gives_up(&self, waited: Duration) -> StoreError {
        match &self.pools {
            Pools::Sqlite { .. } => {}
            Pools::Postgres { renewal, .. } => renewal.begin(),
        }
        unavailable(format!("the database did not answer within {} seconds", waited.as_secs()))
    }

    /// Makes sure no other server runs on the same SQLite file; nothing to do with PostgreSQL.
    ///
    /// Commands still write while it is held.
    pub fn lock_for_server(&self) -> Result<ServerLock, StoreError> {
        let Pools::Sqlite { file, .. } = &self.pools else {
            return Ok(ServerLock { _file: None });
        };
        // By whichever name it is reached, it is one file and has one lock.
        let real = file.canonicalize().map_err(|problem| unavailable(format!("{}: {problem}", file.display())))?;
        let links = real.metadata().map_or(0, |metadata| metadata.nlink());
        if links > 1 {
            return Err(unavailable(format!(
                "{} has {links} names (hard links), and another server could use another one: leave it one name",
                real.display()
            )));
        }
        let mut lock_path = real.into_os_string();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let cannot = |problem: std::io::Error| unavailable(format!("cannot lock {}: {problem}", lock_path.display()));
        // The file stays when the lock goes: deleting it would let two servers hold two files of one name.
        let lock = private_file().create(true).truncate(false).open(&lock_path).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => Ok(ServerLock { _file: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(format!(
                "another server is running on {}; a SQLite file serves one, PostgreSQL serves several",
                file.display()
            ))),
            Err(TryLockError::Error(problem)) => Err(cannot(problem)),
        }
    }

    /// Brings the schema up to date; returns the names of the migrations that were applied.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        let applied = match &self.pools {
            Pools::Sqlite { write, .. } => {
                let mut tx = write.begin_with("BEGIN IMMEDIATE").await?;
                let has_history = sqlx::query_scalar(SQLITE_HAS_HISTORY).fetch_one(&mut *tx).await?;
                let known =
                    if has_history { sqlx::query_scalar(LIST_APPLIED).fetch_all(&mut *tx).await? } else { vec![] };
                MIGRATOR.run_direct(None, &mut *tx, false).await.map_err(|error| migration_problem(&error))?;
                tx.commit().await?;
                known
            }
            Pools::Postgres { pool, .. } => {
                let mut tx = pool.begin().await?;
                sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATION_LOCK).execute(&mut *tx).await?;
                let has_history = sqlx::query_scalar(POSTGRES_HAS_HISTORY).fetch_one(&mut *tx).await?;
                let known =
                    if has_history { sqlx::query_scalar(LIST_APPLIED).fetch_all(&mut *tx).await? } else { vec![] };
                MIGRATOR.run_direct(None, &mut *tx, false).await.map_err(|error| migration_problem(&error))?;
                tx.commit().await?;
                known
            }
        };
        Ok(names_missing_from(&applied))
    }

    /// The names of migrations not yet applied. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Migration`] if the schema is newer than this program.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        let has_history: bool = match &self.pools {
            Pools::Sqlite { read, .. } => sqlx::query_scalar(SQLITE_HAS_HISTORY).fetch_one(read).await?,
            Pools::Postgres { pool, .. } => sqlx::query_scalar(POSTGRES_HAS_HISTORY).fetch_one(pool).await?,
        };
        let applied: Vec<i64> =
            if has_history { on_db!(self, read db => sqlx::query_scalar(LIST_APPLIED).fetch_all(db))? } else { vec![] };
        match applied.iter().find(|version| !MIGRATOR.version_exists(**version)) {
            Some(version) => Err(migration_problem(&MigrateError::VersionMissing(*version))),
            None => Ok(names_missing_from(&applied)),
        }
    }

    /// Closes every connection.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { write, read, .. } => {
                // The last connection to close copies the log into the file, and only a writer can.
                read.close().await;
                write.close().await;
            }
            Pools::Postgres { pool, .. } => pool.close().await,
        }
    }

    /// Connections that are at work, of every pool together.
    pub fn connections_in_use(&self) -> u64 {
        let in_use = |size: u32, idle: usize| u64::from(size).saturating_sub(u64::try_from(idle).unwrap_or(u64::MAX));
        match &self.pools {
            Pools::Sqlite { write, read, .. } => {
                in_use(write.size(), write.num_idle()).saturating_add(in_use(read.size(), read.num_idle()))
            }
            Pools::Postgres { pool, .. } => in_use(pool.size(), pool.num_idle()),
        }
    }

    /// The least the database must do for `/readyz`: answer a statement that reads our schema.
    ///
    /// It does not write. Whether commits succeed is what `AuditWriter::health` knows.
    pub async fn ping(&self) -> Result<(), StoreError> {
        on_db!(self, read db => sqlx::query_scalar::<_, i64>(PING).fetch_one(db))?;
        Ok(())
    }
}

/// What connections are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Write,
    Read,
}

async fn open_sqlite(url: &str, access: Access) -> Result<Pools, StoreError> {
    if url.contains('?') || url.contains(":memory:") {
        return Err(unavailable("a SQLite database is a file, and its URL has no parameters: sqlite://FILE"));
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|_| unavailable("not a SQLite URL: sqlite://FILE"))?;
    let file: Arc<Path> = options.get_filename().into();
    let name = file.display();
    if file.as_os_str().is_empty() {
        return Err(unavailable("the SQLite URL names no file: sqlite://FILE"));
    }
    if let Some(directory) = file.parent().filter(|path| !path.as_os_str().is_empty() && !path.is_dir()) {
        return Err(unavailable(format!("cannot open {name}: there is no directory {}", directory.display())));
    }
    if access == Access::Read {
        return read_sqlite(options.foreign_keys(true).busy_timeout(PATIENCE), file).await;
    }
    // SQLite gives its log the mode that the file has.
    if let Err(problem) = private_file().create_new(true).open(&file)
        && problem.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(unavailable(format!("cannot create {name}: {problem}")));
    }
    let cannot = |error: sqlx::Error| unavailable(format!("cannot open {name}: {}", describe(&error)));
    let pool = || SqlitePoolOptions::new().acquire_timeout(PATIENCE).idle_timeout(None).max_lifetime(None);
    let options = options.foreign_keys(true).busy_timeout(PATIENCE);
    let writer = options.clone().journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    // In pages: a page of an index that many commits touch is copied into the file once for all of them; but the commit
    // that has to copy makes its requests wait, and with 4,000 that was each hundredth.
    let writer = writer.pragma("wal_autocheckpoint", "2000");
    // One text for each number of events at one stroke, and all others.
    let writer = writer.statement_cache_capacity(AT_ONE_STROKE + 100);
    let write = pool().max_connections(1).test_before_acquire(false).connect_with(writer).await.map_err(cannot)?;
    let read = pool().max_connections(SQLITE_READERS).test_before_acquire(false);
    let read = read.connect_with(options.read_only(true)).await.map_err(cannot)?;
    Ok(Pools::Sqlite { write, read, file })
}

/// Reads a file that is there: also one that may not be written to, or in a directory that may not.
async fn read_sqlite(options: SqliteConnectOptions, file: Arc<Path>) -> Result<Pools, StoreError> {
    let name = file.display();
    if !file.is_file() {
        return Err(unavailable(format!("there is no database {name}")));
    }
    // SQLite looks for the log beside the file itself, and not beside a link to it.
    let itself = file.canonicalize().map_err(|problem| unavailable(format!("cannot open {name}: {problem}")))?;
    let options = options.read_only(true).filename(&itself);
    // A log is read together with the file, which needs a place for an index of it. Without a log there is nothing but the
    // file, and whoever cannot write beside it can read it as one that nobody changes.
    let mut log = itself.into_os_string();
    log.push("-wal");
    let log = PathBuf::from(log);
    let has_log = log.metadata().is_ok_and(|log| log.len() > 0);
    let read = |options: SqliteConnectOptions| {
        let pool = SqlitePoolOptions::new().acquire_timeout(PATIENCE).idle_timeout(None).max_lifetime(None);
        let pool = pool.max_connections(SQLITE_READERS).test_before_acquire(false);
        async move {
            let pool = pool.connect_with(options).await?;
            sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM sqlite_schema").fetch_one(&pool).await.map(|_| pool)
        }
    };
    let opened = match read(options.clone()).await {
        Err(_) if !has_log => read(options.immutable(true)).await,
        other => other,
    };
    let pool = opened.map_err(|error| {
        let log = if has_log {
            "; it has a log (-wal), which is read only where its index can be written beside it"
        } else {
            ""
        };
        unavailable(format!("cannot open {name}: {}{log}", describe(&error)))
    })?;
    Ok(Pools::Sqlite { write: pool.clone(), read: pool, file })
}

async fn open_postgres(url: &str, access: Access) -> Result<Pools, StoreError> {
    // What cannot be read may hold a password anywhere, so nothing of it is repeated.
    let mut options = PgConnectOptions::from_str(url)
        .map_err(|_| unavailable("not a PostgreSQL URL: postgres://USER:PASSWORD@HOST:PORT/DATABASE"))?;
    if options.get_application_name().is_none() {
        options = options.application_name("procura");
    }
    if access == Access::Read {
        options = options.options([("default_transaction_read_only", "on")]);
    }
    let server = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let cannot = |problem: &str| unavailable(format!("cannot connect to PostgreSQL at {server}: {problem}"));
    // A pool tries again until it has no time left, and then says only that.
    match timeout(PATIENCE, PgConnection::connect_with(&options)).await {
        Err(_) => return Err(cannot("no answer in 5 seconds")),
        Ok(Err(error)) => return Err(cannot(&describe(&error))),
        Ok(Ok(connection)) => connection.close().await?,
    }
    let renewal = Renewal::default();
    let renewed = renewal.clone();
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| Box::pin(async move { connection.execute(SESSION).await.map(|_| ()) }))
        // Ours, since the pool's own test waits for the answer however long it takes.
        .test_before_acquire(false)
        .before_acquire(move |connection, used| {
            let is_current = renewed.is_after(used.age);
            let is_fresh = used.idle_for < PING_AFTER;
            Box::pin(async move {
                if !is_current {
                    return Ok(false);
                }
                if !is_fresh {
                    timeout(PING_AT_MOST, connection.ping()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
                }
                Ok(true)
            })
        });
    Ok(Pools::Postgres { pool: pool.connect_lazy_with(options), renewal })
}

/// Opens files that only their owner can read.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn names_missing_from(applied: &[i64]) -> Vec<String> {
    let missing = MIGRATOR.iter().filter(|migration| !applied.contains(&migration.version));
    missing.map(|migration| format!("{:04}_{}", migration.version, migration.description.replace(' ', "_"))).collect()
}

fn migration_problem(error: &MigrateError) -> StoreError {
    StoreError::Migration(if let MigrateError::VersionMissing(version) = error {
        format!("the database has migration {version}, which this program does not know: it needs a newer program")
    } else if let MigrateError::VersionMismatch(version) = error {
        format!("migration {version} was applied to the database with another text than this program has")
    } else {
        format!("the schema cannot be brought up to date: {error}")
    })
}

fn unavailable(problem: impl Into<String>) -> StoreError {
    StoreError::Unavailable(problem.into())
}
