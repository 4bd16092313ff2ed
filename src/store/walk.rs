//! Reading chains as they stand in the database, whatever somebody put there: a million events in seconds, and nothing in
//! them believed.

use super::connection::Pools;
use super::sql::searchable;
use super::{Store, StoreError};

/// With the columns that are copies from the body.
const WALK_CHAIN: &str = "SELECT seq, prev_hash, hash, body,
    at_ms, request_id, outcome, reason, subject, client, resource, jti, txn
    FROM audit_event WHERE writer_id = $1 AND seq >= $2 ORDER BY seq LIMIT $3";

/// The same as one text, since SQLite hands over a row at a greater cost than it reads it: each number ends with a comma,
/// each text begins with its length in bytes and a colon, and without a length it is nothing. Behind it, 1 if every value
/// is of the type of its column. SQLite keeps what it is given: a blob is found by no look-up, and a number can be
/// anything. The name of a blob comes before those of the other types.
const WALK_CHAIN_AS_TEXT: &str = "SELECT string_agg(
        format('%s,%s,%s:%s%s:%s%s:%s%s:%s%s:%s%s:%s%s:%s%s:%s%s:%s%s:%s%s:', seq, at_ms,
        octet_length(prev_hash), prev_hash, octet_length(hash), hash, octet_length(request_id), request_id,
        octet_length(outcome), outcome, octet_length(reason), reason, octet_length(subject), subject,
        octet_length(client), client, octet_length(resource), resource, octet_length(jti), jti, octet_length(txn), txn,
        octet_length(body)) || body, ''),
    min(typeof(seq) || typeof(at_ms) = 'integerinteger' AND 'blob' < min(typeof(prev_hash), typeof(hash), typeof(body),
        typeof(request_id), typeof(outcome), typeof(reason), typeof(subject), typeof(client), typeof(resource),
        typeof(jti), typeof(txn)))
    FROM (SELECT seq, prev_hash, hash, body, at_ms, request_id, outcome, reason, subject, client, resource, jti, txn
        FROM audit_event WHERE writer_id = $1 AND seq >= $2 ORDER BY seq LIMIT $3) AS page";

/// Rows of SQLite that the other statements would not find, or could not read. The names of chains, hashes and checkpoints
/// are ASCII.
const MISFITS: &str = "SELECT 'audit_event', CAST(writer_id AS BLOB), CAST(0 AS BLOB)
        FROM (SELECT DISTINCT writer_id FROM audit_event)
        WHERE typeof(writer_id) <> 'text' OR writer_id GLOB '*[^ -~]*'
    UNION ALL SELECT 'audit_chain', CAST(writer_id AS BLOB), CAST(seq AS BLOB) FROM audit_chain
        WHERE typeof(writer_id) || typeof(seq) || typeof(hash) <> 'textintegertext' OR writer_id || hash GLOB '*[^ -~]*'
    UNION ALL SELECT 'audit_checkpoint', CAST('' AS BLOB), CAST(number AS BLOB) FROM audit_checkpoint
        WHERE typeof(number) || typeof(jws) || typeof(made_at) <> 'integertextinteger' OR jws GLOB '*[^ -~]*'
    UNION ALL SELECT 'audit_segment', CAST(writer_id AS BLOB), CAST(checkpoint AS BLOB) FROM audit_segment
        WHERE typeof(writer_id) || typeof(last_seq) || typeof(first_seq) || typeof(hash) || typeof(checkpoint)
            <> 'textintegerintegertextinteger' OR writer_id || hash GLOB '*[^ -~]*'";

/// A row with a value of another type than its column, or that is no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Of which table.
    pub table: String,
    /// Whose chain it is of, as far as that can be read; empty for a checkpoint.
    pub writer_id: String,
    /// The place in the chain or, for checkpoints and segments, the number of the checkpoint; 0 if it is no number.
    pub number: i64,
}

impl Store {
    /// Rows of the trail that no other statement here would read rightly: SQLite lets anything be put anywhere. A column
    /// beside a body is not looked at: [`Store::walk_chain`] shows it.
    pub async fn misfits(&self) -> Result<Vec<Misfit>, StoreError> {
        if let Pools::Postgres { .. } = &self.pools {
            return Ok(Vec::new());
        }
        let rows: Vec<(String, Vec<u8>, Vec<u8>)> = on_db!(self, read db => sqlx::query_as(MISFITS).fetch_all(db))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let misfit = |(table, writer_id, number): (String, Vec<u8>, Vec<u8>)| Misfit {
            table,
            writer_id: text(&writer_id),
            number: text(&number).parse().unwrap_or(0),
        };
        Ok(rows.into_iter().map(misfit).collect())
    }

    /// Shows events of a writer in order, from `seq` on, to `see`, without copying them; how many there were. Read from the
    /// stored columns, so that the caller can compare them with the body.
    pub async fn walk_chain(
        &self,
        writer_id: &str,
        from_seq: i64,
        limit: i64,
        see: &mut (dyn FnMut(StoredRow<'_>) + Send),
    ) -> Result<usize, StoreError> {
        if let Pools::Sqlite { .. } = &self.pools {
            let page: Result<(Option<String>, Option<i64>), StoreError> = on_db!(self, read db => async {
                let query = sqlx::query_as(WALK_CHAIN_AS_TEXT).bind(searchable(writer_id)).bind(from_seq);
                query.bind(limit.max(0)).fetch_one(db).await
            });
            if let Ok((text, types_are_right)) = page
                && types_are_right != Some(0)
                && let Ok(rows) = rows_in(text.as_deref().unwrap_or_default())
            {
                let count = rows.len();
                for row in rows {
                    see(row);
                }
                return Ok(count);
            }
            // Something is not of the type of its column, or the database fails: row by row it shows where.
        }
        on_db!(self, read db => async {
            let query = sqlx::query(WALK_CHAIN).bind(searchable(writer_id)).bind(from_seq).bind(limit.max(0));
            let rows = query.fetch_all(db).await?;
            for row in &rows {
                see(row_seen(row));
            }
            Ok::<_, sqlx::Error>(rows.len())
        })
    }
}

/// An event as it stands in the database, for a moment; nothing in it has been checked.
#[derive(Debug, Clone, Copy)]
pub struct StoredRow<'a> {
    /// Its place.
    pub seq: i64,
    /// As stored.
    pub prev_hash: &'a str,
    /// As stored.
    pub hash: &'a str,
    /// As stored.
    pub body: &'a str,
    /// The column of this name.
    pub at_ms: i64,
    /// The columns of text that are copies from the body, in the order of [`StoredRow::TEXTS`].
    pub texts: [Option<&'a str>; 8],
}

impl StoredRow<'_> {
    /// The names of `texts`.
    pub const TEXTS: [&'static str; 8] =
        ["request_id", "outcome", "reason", "subject", "client", "resource", "jti", "txn"];
}

/// By place, not by name: a million rows are read so. What is not of the type of its column was put there by somebody
/// else; it is shown as something that no event has, so that the fault has a place.
fn row_seen<'r, R>(row: &'r R) -> StoredRow<'r>
where
    R: sqlx::Row,
    usize: sqlx::ColumnIndex<R>,
    i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    &'r str: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    const NOT_TEXT: &str = "\u{fffd} (not a text)";
    let text = |place: usize| row.try_get(place).unwrap_or(NOT_TEXT);
    StoredRow {
        seq: row.try_get(0).unwrap_or(i64::MIN),
        prev_hash: text(1),
        hash: text(2),
        body: text(3),
        at_ms: row.try_get(4).unwrap_or(i64::MIN),
        texts: std::array::from_fn(|place| row.try_get(place + 5).unwrap_or(Some(NOT_TEXT))),
    }
}

/// A text that is not one of rows in order.
#[derive(Debug, PartialEq, Eq)]
struct NoRows;

/// The rows in a text of `WALK_CHAIN_AS_TEXT`.
fn rows_in(mut text: &str) -> Result<Vec<StoredRow<'_>>, NoRows> {
    let mut rows: Vec<StoredRow<'_>> = Vec::new();
    while !text.is_empty() {
        let (seq, at_ms) = (number(&mut text)?, number(&mut text)?);
        let (prev_hash, hash) = (counted(&mut text)?.ok_or(NoRows)?, counted(&mut text)?.ok_or(NoRows)?);
        let mut texts = [None; 8];
        for place in &mut texts {
            *place = counted(&mut text)?;
        }
        let body = counted(&mut text)?.ok_or(NoRows)?;
        if rows.last().is_some_and(|last| last.seq >= seq) {
            return Err(NoRows);
        }
        rows.push(StoredRow { seq, prev_hash, hash, body, at_ms, texts });
    }
    Ok(rows)
}

fn number(text: &mut &str) -> Result<i64, NoRows> {
    let (number, rest) = text.split_once(',').ok_or(NoRows)?;
    *text = rest;
    number.parse().map_err(|_| NoRows)
}

fn counted<'a>(text: &mut &'a str) -> Result<Option<&'a str>, NoRows> {
    let (length, rest) = text.split_once(':').ok_or(NoRows)?;
    if length.is_empty() {
        *text = rest;
        return Ok(None);
    }
    let (counted, rest) = length.parse().ok().and_then(|length| rest.split_at_checked(length)).ok_or(NoRows)?;
    *text = rest;
    Ok(Some(counted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_from_one_text() {
        let row = |seq: i64, body: &str| format!("{seq},-7,1:a2:\u{e9}3:r,:0::1:s::::{}:{body}", body.len());
        let text = row(-1, "5:x,-") + &row(2, "\u{e9}");
        let rows = rows_in(&text).unwrap();
        assert_eq!(
            rows.iter().map(|row| (row.seq, row.at_ms, row.body)).collect::<Vec<_>>(),
            [(-1, -7, "5:x,-"), (2, -7, "\u{e9}")]
        );
        assert_eq!((rows[0].prev_hash, rows[0].hash), ("a", "\u{e9}"));
        assert_eq!(rows[0].texts, [Some("r,:"), Some(""), None, Some("s"), None, None, None, None]);
        assert!(rows_in("").unwrap().is_empty());
        for other in ["x", "1,2,", "1,x,1:a1:b", &row(1, "a")[1..], &(row(2, "a") + &row(2, "a"))] {
            assert_eq!(rows_in(other).map(|rows| rows.len()), Err(NoRows), "{other}");
        }
    }
}
