//! Databases for tests: a fresh one of either kind, and a macro that runs a test on both.

use procura::store::Store;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection};
use std::str::FromStr;
use tempfile::TempDir;

/// The two kinds of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// A fresh database. SQLite is a temporary file; it goes when this does.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) store: Store,
    /// Where a SQLite file is; empty otherwise.
    pub(crate) directory: TempDir,
}

impl TestDatabase {
    /// With its schema.
    pub(crate) async fn new(kind: Kind) -> Self {
        let database = Self::empty(kind).await;
        database.store.migrate().await.unwrap();
        database
    }

    /// Without any schema.
    pub(crate) async fn empty(kind: Kind) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = match kind {
            Kind::Sqlite => format!("sqlite://{}", directory.path().join("procura.db").display()),
            Kind::Postgres => crate::postgres::database().await,
        };
        let store = Store::connect(&url).await.unwrap();
        Self { kind, url, store, directory }
    }

    /// Another process's view of the same database: connections of its own.
    pub(crate) async fn another_store(&self) -> Store {
        Store::connect(&self.url).await.unwrap()
    }

    /// Runs a statement behind the store's back, as somebody would who tampers; returns how many rows it touched.
    pub(crate) async fn execute(&self, sql: &str) -> u64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match self.kind {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                let touched = sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected();
                connection.close().await.unwrap();
                touched
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                let touched = sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected();
                connection.close().await.unwrap();
                touched
            }
        }
    }
}

impl TestDatabase {
    /// Runs several statements, as [`Self::execute`] does one.
    /// The statements may hold what is signed, and are not logged.
    pub(crate) async fn script(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match self.kind {
            Kind::Sqlite => {
                let options = SqliteConnectOptions::from_str(&self.url).unwrap().disable_statement_logging();
                // Nothing here has to survive a crash of the machine.
                let options = options.synchronous(SqliteSynchronous::Off);
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Kind::Postgres => {
                let options = PgConnectOptions::from_str(&self.url).unwrap().disable_statement_logging();
                let mut connection = PgConnection::connect_with(&options).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }
}

impl TestDatabase {
    /// The auditor of docs/how-to/find-out-who-did-it.md, and the URL by which it comes.
    pub(crate) async fn reader(&self) -> (String, String) {
        let role = procura::secrets::random_id("reader").replace('-', "_").to_lowercase();
        self.script(&format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA public TO {role}; GRANT SELECT ON audit_event, audit_chain, \
             audit_checkpoint, audit_segment, signing_key, version, consent, revocation, grant_family, _sqlx_migrations \
             TO {role}"
        ))
        .await;
        let mut url = url::Url::parse(&self.url).unwrap();
        url.set_username(&role).unwrap();
        (role, url.to_string())
    }
}

/// An id with this prefix as one made at this time would be, and the same for the same number.
pub(crate) fn id_made_at(prefix: &str, at_ms: i64, number: impl std::fmt::Display) -> String {
    let made = procura::secrets::ordered_id(prefix, at_ms);
    format!("{}{number:0>22}", &made[..prefix.len() + 10])
}

/// Keeps everybody else from appending events: SQLite's whole file, PostgreSQL's table. It ends when this does.
pub(crate) enum EventsLock {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl TestDatabase {
    /// Begins to hold up whoever appends events.
    pub(crate) async fn lock_events(&self) -> EventsLock {
        match self.kind {
            Kind::Sqlite => {
                let mut holder = SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::query("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
                EventsLock::Sqlite(holder)
            }
            Kind::Postgres => {
                let mut holder = PgConnection::connect(&self.url).await.unwrap();
                sqlx::raw_sql("BEGIN; LOCK TABLE audit_event IN EXCLUSIVE MODE").execute(&mut holder).await.unwrap();
                EventsLock::Postgres(holder)
            }
        }
    }
}

impl EventsLock {
    pub(crate) async fn release(self) {
        match self {
            Self::Sqlite(holder) => holder.close().await.unwrap(),
            Self::Postgres(holder) => holder.close().await.unwrap(),
        }
    }
}

/// Runs the body of each test on both databases: `async fn a_sentence(db: TestDatabase) { .. }` becomes the tests
/// `a_sentence::sqlite` and `a_sentence::postgres`.
macro_rules! store_test {
    ($($(#[$doc:meta])* async fn $name:ident($db:ident: TestDatabase) $body:block)*) => {
        $(
            mod $name {
                #[allow(unused_imports, clippy::allow_attributes, reason = "not every body uses something from around it")]
                use super::*;

                $(#[$doc])*
                async fn body($db: $crate::database::TestDatabase) $body

                #[tokio::test]
                async fn sqlite() {
                    body($crate::database::TestDatabase::new($crate::database::Kind::Sqlite).await).await;
                }

                #[tokio::test]
                async fn postgres() {
                    body($crate::database::TestDatabase::new($crate::database::Kind::Postgres).await).await;
                }
            }
        )*
    };
}
