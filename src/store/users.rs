//! Users: what tokens told us of them, and whether they may be acted for.

use super::sql::{BatchInsert, Search, Step, Value, corrupt, document, read_document};
use super::{Store, StoreError};
use crate::domain::names::UserId;
use crate::domain::user::User;
use std::collections::BTreeMap;

const FIND_USER: &str =
    "SELECT id, idp, idp_sub, attributes, attributes_at, suspended_at FROM known_user WHERE id = $1";
const LIST_USERS: &str = "SELECT id, idp, idp_sub, attributes, attributes_at, suspended_at FROM known_user WHERE TRUE";

/// A user we never saw gets a row whose attributes are older than any token.
pub(super) const SUSPEND_USER: &str =
    "INSERT INTO known_user (id, idp, idp_sub, attributes, attributes_at, suspended_at) VALUES ($1, $2, $1, '{}', 0, $3)
    ON CONFLICT (id) DO UPDATE SET suspended_at = COALESCE(known_user.suspended_at, excluded.suspended_at)";

static REMEMBER_USERS: BatchInsert = BatchInsert::new(
    "INSERT INTO known_user (id, idp, idp_sub, attributes, attributes_at) VALUES",
    5,
    "ON CONFLICT (id) DO UPDATE SET idp = excluded.idp, idp_sub = excluded.idp_sub,
    attributes = excluded.attributes, attributes_at = excluded.attributes_at
    WHERE excluded.attributes_at > known_user.attributes_at",
);

impl Store {
    /// The user, if ever seen or suspended. The provider of one that was suspended before being seen is
    /// [`UNSEEN_IDP`](super::UNSEEN_IDP).
    pub async fn find_user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        let row: Option<UserRow> =
            on_db!(self, read db => sqlx::query_as(FIND_USER).bind(id.as_str()).fetch_optional(db))?;
        row.map(User::try_from).transpose()
    }

    /// Users, by id; `suspended_only` restricts.
    pub async fn list_users(&self, suspended_only: bool, limit: i64) -> Result<Vec<User>, StoreError> {
        let mut search = Search::new(LIST_USERS);
        if suspended_only {
            search.push(" AND suspended_at IS NOT NULL");
        }
        search.push_with(" ORDER BY id LIMIT ", limit.max(0));
        let (sql, values) = search.finish();
        let rows: Vec<UserRow> = on_db!(self, read db => bind_all!(sqlx::query_as(sql), values).fetch_all(db))?;
        rows.into_iter().map(User::try_from).collect()
    }
}

/// Remembers users; attributes are replaced only by newer ones, and a suspension stays as it is.
///
/// Each once, for a statement may touch a row once; in order of id, so that two servers never wait for each other in a
/// circle.
pub(super) fn remember_steps(users: &[User]) -> Vec<Step> {
    let mut newest: BTreeMap<&UserId, &User> = BTreeMap::new();
    for user in users {
        let known = newest.entry(&user.id).or_insert(user);
        if user.attributes_at > known.attributes_at {
            *known = user;
        }
    }
    let row = |user: &User| -> Vec<Value> {
        vec![
            user.id.as_str().into(),
            user.idp.as_str().into(),
            user.idp_sub.as_str().into(),
            document(&user.attributes).into(),
            user.attributes_at.into(),
        ]
    };
    REMEMBER_USERS.steps(newest.into_values().map(row).collect())
}

#[derive(sqlx::FromRow)]
struct UserRow {
    id: String,
    idp: String,
    idp_sub: String,
    attributes: String,
    attributes_at: i64,
    suspended_at: Option<i64>,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;
    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.try_into().map_err(corrupt("user"))?,
            idp: row.idp.try_into().map_err(corrupt("user"))?,
            idp_sub: row.idp_sub,
            attributes: read_document("user", &row.attributes)?,
            attributes_at: row.attributes_at,
            suspended_at: row.suspended_at,
        })
    }
}
