//! The only way to the database: a transaction that PostgreSQL knows to be one user's.

use procura::verify::Caller;
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool, Postgres};
use std::error::Error;
use std::time::Duration;

/// The policies of schema.sql read the three settings. `true` makes them end with the transaction; with `false` they would
/// stay with the connection, for whoever gets it next.
const SET_CALLER: &str = "SELECT set_config('request.jwt.claims', $1, true), set_config('app.user_id', $2, true), \
    set_config('app.agent_id', $3, true)";

/// One row.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Record {
    id: i64,
    note: String,
    written_by: String,
}

/// A small pool, so connections go from one user to the next all the time: nothing of a user may stay with one.
#[derive(Debug, Clone)]
pub(crate) struct Records(PgPool);

impl Records {
    /// Connects when it is first needed.
    pub(crate) fn new(url: &str) -> Result<Self, sqlx::Error> {
        PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(10)).connect_lazy(url).map(Self)
    }

    /// Refuses a role to whom no policy applies: every user would get every row.
    pub(crate) async fn check(&self) -> Result<(), Box<dyn Error>> {
        const FREE: &str = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user";
        let is_free: bool = sqlx::query_scalar(FREE).fetch_one(&self.0).await?;
        if is_free { Err("the role of DATABASE_URL bypasses row-level security".into()) } else { Ok(()) }
    }

    /// One transaction, for this caller. Unless it is committed, it is rolled back.
    pub(crate) async fn of(&self, caller: &Caller) -> Result<Transaction, sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        sqlx::query(SET_CALLER)
            .bind(Value::Object(caller.claims.clone()).to_string())
            .bind(&caller.user.sub)
            .bind(caller.agent.as_ref().map_or("", |agent| &agent.sub))
            .execute(&mut *transaction)
            .await?;
        Ok(Transaction { inner: transaction, comment: comment(&caller.token_id), has_failed: false })
    }
}

/// What a caller may run.
pub(crate) struct Transaction {
    inner: sqlx::Transaction<'static, Postgres>,
    comment: String,
    has_failed: bool,
}

impl Transaction {
    /// Runs one statement of this program, with a comment that leads from a line of PostgreSQL's log to the token.
    pub(crate) async fn rows(&mut self, text: &'static str, values: &[&str]) -> Result<Vec<Record>, sqlx::Error> {
        // Safe: a text of this program after a comment that `comment` has looked at.
        let text = AssertSqlSafe(format!("{} {text}", self.comment));
        // Not kept prepared: each has a jti of its own.
        let query = sqlx::query_as(text).persistent(false);
        let query = values.iter().fold(query, |query, value| query.bind((*value).to_owned()));
        let rows = query.fetch_all(&mut *self.inner).await;
        self.has_failed |= rows.is_err();
        rows
    }

    /// Keeps what was written. A statement that failed, whoever caught that, has undone the rest: PostgreSQL would answer
    /// COMMIT with ROLLBACK.
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        if self.has_failed {
            return Err(sqlx::Error::Protocol(
                "a statement of the transaction failed, so nothing was written".to_owned(),
            ));
        }
        self.inner.commit().await
    }
}

/// The `jti` as an SQL comment. What could end the comment is not let in: then the log says that there is no usable one.
fn comment(jti: &str) -> String {
    let is_usable = (1..=128).contains(&jti.len())
        && jti.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    format!("/* jti={} */", if is_usable { jti } else { "unusable" })
}
