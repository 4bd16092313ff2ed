//! How statements are run on either database: values, steps of a transaction, batches, searches.

use super::StoreError;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};

/// PostgreSQL's `read_only_sql_transaction`.
const READ_ONLY_SESSION: &str = "25006";

/// A value to be bound. `BOOLEAN` columns there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

/// What it means that a step touched no row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IfNoRow {
    /// Nothing.
    GoOn,
    /// The transaction cannot be carried out, in words.
    Reject(String),
    /// Somebody else was first: undo, without an error.
    Yield,
}

/// One statement of a transaction.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) sql: SqlStr,
    pub(super) values: Vec<Value>,
    pub(super) if_no_row: IfNoRow,
}

impl Step {
    pub(super) fn new<const N: usize>(sql: &'static str, values: [Value; N]) -> Self {
        Self { sql: sql.into_sql_str(), values: values.into(), if_no_row: IfNoRow::GoOn }
    }

    pub(super) fn or_reject(self, problem: impl Into<String>) -> Self {
        Self { if_no_row: IfNoRow::Reject(problem.into()), ..self }
    }

    pub(super) fn or_yield(self) -> Self {
        Self { if_no_row: IfNoRow::Yield, ..self }
    }
}

/// Runs one sqlx expression that reads, within the time limit for reads.
macro_rules! on_db {
    (@on $pool:expr, $db:ident => $query:expr) => {{
        let mut lease = $crate::store::connection::Lease::of($pool.acquire().await?);
        let $db = &mut *lease.connection;
        let result = $query.await.map_err(StoreError::from);
        lease.end(&result);
        result
    }};
    ($store:expr, read $db:ident => $query:expr) => {
        $store
            .within($crate::store::connection::READ_AT_MOST, Box::pin(async {
                match &$store.pools {
                    $crate::store::connection::Pools::Sqlite { read, .. } => on_db!(@on read, $db => $query),
                    $crate::store::connection::Pools::Postgres { pool, .. } => on_db!(@on pool, $db => $query),
                }
            }))
            .await
    };
}

/// Runs a block in a transaction that writes, and commits; gives what the block gives. An early `?` or `return` ends the
/// block, not the function, and undoes everything.
///
/// SQLite begins at once as a writer: a transaction that turns from reader to writer fails without waiting.
macro_rules! in_tx {
    (@in $begin:expr, $tx:ident => $body:expr) => {{
        let result: Result<_, StoreError> = async {
            let mut $tx = $begin.await?;
            let value = $body;
            $tx.commit().await?;
            Ok(value)
        }
        .await;
        result
    }};
    ($store:expr, $tx:ident => $body:expr) => {
        $store
            .within($crate::store::connection::TRANSACTION_AT_MOST, Box::pin(async {
                match &$store.pools {
                    $crate::store::connection::Pools::Sqlite { write, .. } => {
                        let mut lease = $crate::store::connection::Lease::of(write.acquire().await?);
                        let begin = sqlx::Connection::begin_with(&mut *lease.connection, "BEGIN IMMEDIATE");
                        let result = in_tx!(@in begin, $tx => $body);
                        lease.end(&result);
                        result
                    }
                    $crate::store::connection::Pools::Postgres { pool, renewal } => {
                        let mut lease = $crate::store::connection::Lease::of(pool.acquire().await?);
                        let result = in_tx!(@in sqlx::Connection::begin(&mut *lease.connection), $tx => $body);
                        lease.end(&result);
                        renewal.after(&result);
                        result
                    }
                }
            }))
            .await
    };
}

/// Runs a block whose statements all see the same state of the database; gives what the block gives.
macro_rules! in_snapshot {
    ($store:expr, $tx:ident => $body:expr) => {
        $store
            .within($crate::store::connection::SNAPSHOT_AT_MOST, Box::pin(async {
                match &$store.pools {
                    $crate::store::connection::Pools::Sqlite { read, .. } => {
                        let mut lease = $crate::store::connection::Lease::of(read.acquire().await?);
                        let result = in_tx!(@in sqlx::Connection::begin(&mut *lease.connection), $tx => $body);
                        lease.end(&result);
                        result
                    }
                    $crate::store::connection::Pools::Postgres { pool, .. } => {
                        let mut lease = $crate::store::connection::Lease::of(pool.acquire().await?);
                        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                        let begin = sqlx::Connection::begin_with(&mut *lease.connection, begin);
                        let result = in_tx!(@in begin, $tx => $body);
                        lease.end(&result);
                        result
                    }
                }
            }))
            .await
    };
}

/// Binds the values to a query, in order.
macro_rules! bind_all {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                $crate::store::sql::Value::Text(text) => query.bind(text),
                $crate::store::sql::Value::Number(number) => query.bind(number),
            };
        }
        query
    }};
}

/// Runs the steps in order; false as soon as one yields. A rejected step returns from the block.
macro_rules! run_steps {
    ($tx:expr, $steps:expr) => {{
        let mut done = true;
        for step in $steps {
            let query = bind_all!(sqlx::query(step.sql), step.values);
            if query.execute(&mut *$tx).await?.rows_affected() == 0 {
                match step.if_no_row {
                    $crate::store::sql::IfNoRow::GoOn => {}
                    $crate::store::sql::IfNoRow::Reject(problem) => return Err(StoreError::Rejected(problem)),
                    $crate::store::sql::IfNoRow::Yield => {
                        done = false;
                        break;
                    }
                }
            }
        }
        done
    }};
}

/// An `INSERT` of many rows in few statements.
///
/// Each statement costs two switches of thread with SQLite and a round trip with PostgreSQL, so up to 16 rows go in one
/// and more in steps of these sizes. There are few texts, each prepared once a connection.
#[derive(Debug)]
pub(super) struct BatchInsert {
    /// Up to `VALUES `.
    start: &'static str,
    /// What follows the rows.
    end: &'static str,
    texts: [OnceLock<Arc<str>>; BatchInsert::SIZES.len()],
    columns: usize,
}

impl BatchInsert {
    /// Rows of a statement, the most last: at 14 columns far below the 32,766 values that SQLite takes.
    const SIZES: [usize; 20] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 32, 64, 128, 256];

    pub(super) const fn new(start: &'static str, columns: usize, end: &'static str) -> Self {
        Self { start, end, texts: [const { OnceLock::new() }; Self::SIZES.len()], columns }
    }

    /// The steps that insert these rows.
    pub(super) fn steps(&self, mut rows: Vec<Vec<Value>>) -> Vec<Step> {
        let mut steps = Vec::new();
        for (size, text) in Self::SIZES.into_iter().zip(&self.texts).rev() {
            while rows.len() >= size {
                let rest = rows.split_off(size);
                let values = std::mem::replace(&mut rows, rest).into_iter().flatten().collect();
                let text = text.get_or_init(|| self.text(size).into());
                let sql = AssertSqlSafe(Arc::clone(text)).into_sql_str();
                steps.push(Step { sql, values, if_no_row: IfNoRow::GoOn });
            }
        }
        steps
    }

    fn text(&self, rows: usize) -> String {
        let row = |row: usize| {
            let places: Vec<_> = (1..=self.columns).map(|column| format!("${}", row * self.columns + column)).collect();
            format!("({})", places.join(", "))
        };
        let rows: Vec<_> = (0..rows).map(row).collect();
        format!("{} {} {}", self.start, rows.join(", "), self.end)
    }
}

/// A `SELECT` whose conditions depend on what is asked. Every part of its text is a constant.
#[derive(Debug)]
pub(super) struct Search {
    sql: String,
    values: Vec<Value>,
}

impl Search {
    /// `start` ends with a first condition.
    pub(super) fn new(start: &'static str) -> Self {
        Self { sql: start.to_owned(), values: Vec::new() }
    }

    /// Adds text that needs no value.
    pub(super) fn push(&mut self, text: &'static str) {
        self.sql.push_str(text);
    }

    /// Adds text that ends where the value goes.
    pub(super) fn push_with(&mut self, text: &'static str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.sql.push_str(text);
        let _ = write!(self.sql, "${}", self.values.len());
    }

    /// Adds a condition if there is a value for it.
    pub(super) fn narrow(&mut self, text: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.push_with(text, value);
        }
    }

    pub(super) fn finish(self) -> (AssertSqlSafe<String>, Vec<Value>) {
        (AssertSqlSafe(self.sql), self.values)
    }
}

/// A text as it can be looked for: at most 512 bytes, since an index takes no more than some 2,700, and without the
/// character U+0000, which PostgreSQL refuses.
pub fn searchable(text: &str) -> Cow<'_, str> {
    let short = text.get(..text.floor_char_boundary(512)).unwrap_or(text);
    if short.contains('\0') { Cow::Owned(short.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(short) }
}

/// Says that a stored thing of this kind is not what it should be.
pub(super) fn corrupt<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> StoreError {
    move |problem| StoreError::Corrupt { what, problem: problem.to_string() }
}

/// Reads a stored JSON document.
pub(super) fn read_document<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(corrupt(what))
}

/// Writes a JSON document.
pub(super) fn document(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("what is declared has only texts, numbers, lists and maps with text keys")
}

impl From<sqlx::Error> for StoreError {
    /// In one line. A statement's values, and the address with its password, are in none of these texts.
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if code.is_some_and(|code| code == READ_ONLY_SESSION) {
            return Self::ReadOnly(describe(&error));
        }
        Self::Unavailable(describe(&error))
    }
}

/// The error in words, without the value that caused it.
pub(super) fn describe(error: &sqlx::Error) -> String {
    if let sqlx::Error::Database(refusal) = error {
        format!("the database refused: {}", refusal.message())
    } else if let sqlx::Error::PoolTimedOut = error {
        "the database did not answer in time".to_owned()
    } else if let sqlx::Error::Io(problem) = error {
        format!("the connection to the database failed: {problem}")
    } else {
        format!("the database failed: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_goes_in_few_statements_whose_rows_add_up() {
        static BATCH: BatchInsert = BatchInsert::new("INSERT INTO t (a, b) VALUES", 2, "ON CONFLICT DO NOTHING");
        for (rows, statements) in [(0, 0), (1, 1), (3, 1), (15, 1), (31, 2), (255, 5), (256, 1), (600, 5)] {
            let steps = BATCH.steps((0..rows).map(|row| vec![Value::from(row), Value::from(-row)]).collect());
            assert_eq!(steps.len(), statements, "{rows} rows");
            let values: Vec<_> = steps.into_iter().flat_map(|step| step.values).collect();
            assert_eq!(values, (0..rows).flat_map(|row| [Value::from(row), Value::from(-row)]).collect::<Vec<_>>());
        }
        let steps = BATCH.steps(vec![vec![Value::from(1), Value::from(2)]; 2]);
        assert_eq!(steps[0].sql.as_str(), "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING");
    }

    #[test]
    fn a_searchable_text_is_short_and_has_no_null_character() {
        assert_eq!(searchable("corp|alice"), "corp|alice");
        assert_eq!(searchable("a\0b"), "a\u{fffd}b");
        assert_eq!(searchable(&"é".repeat(300)).len(), 512);
        assert_eq!(searchable(&format!("a{}", "é".repeat(300))).len(), 511);
    }
}
