//! A PostgreSQL that does not answer a server: reads end, connections that may be dead are not used again.

use crate::database::{Kind, TestDatabase};
use crate::network::Network;
use crate::world::World;
use procura::store::Store;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::time::{Duration, Instant};

/// One that holds a lock, and one that looks: inside a transaction PostgreSQL shows who is active only once.
async fn two_connections(db: &TestDatabase) -> (PgConnection, PgConnection) {
    (PgConnection::connect(&db.url).await.unwrap(), PgConnection::connect(&db.url).await.unwrap())
}

#[tokio::test]
async fn a_read_that_postgres_does_not_answer_fails_in_a_server_and_its_connection_is_closed() {
    let db = TestDatabase::new(Kind::Postgres).await;
    let store = db.another_store().await.limited();
    store.versions().await.unwrap();
    let (mut holder, mut operator) = two_connections(&db).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE version").execute(&mut holder).await.unwrap();
    let waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let started = Instant::now();
    let (read, pid) = tokio::join!(store.versions(), async {
        loop {
            let pid: Option<i32> = sqlx::query_scalar(waiting).fetch_optional(&mut operator).await.unwrap();
            if let Some(pid) = pid {
                break pid;
            }
        }
    });
    assert_eq!(read.unwrap_err().to_string(), "the database did not answer within 3 seconds");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    store.versions().await.unwrap();
    let gone = async {
        let still_there = format!("SELECT pid FROM pg_stat_activity WHERE pid = {pid}");
        while sqlx::query(AssertSqlSafe(still_there.as_str())).fetch_optional(&mut operator).await.unwrap().is_some() {}
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
}

#[tokio::test]
async fn a_postgres_whose_connections_were_swallowed_is_read_and_written_again_at_once() {
    let db = TestDatabase::new(Kind::Postgres).await;
    let network = Network::before(&db.url).await;
    let store = Store::connect(&network.url()).await.unwrap().limited();
    let read = || futures_util::future::join_all((0..15).map(|_| store.versions()));
    assert!(read().await.iter().all(Result::is_ok));
    network.swallow();
    let started = Instant::now();
    assert!(read().await.iter().all(Result::is_err));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    network.come_back();
    let started = Instant::now();
    assert!(read().await.iter().all(Result::is_ok), "connections from before are not used again");
    store.touch_secrets(&[], 0).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let freed = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while store.connections_in_use() > 0 {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed).await.expect("no dead connection keeps a place in the pool");
}

#[tokio::test]
async fn a_transaction_of_ours_that_stands_still_is_ended_by_postgres() {
    let db = TestDatabase::new(Kind::Postgres).await;
    let network = Network::before(&db.url).await;
    let store = Store::connect(&network.url()).await.unwrap();
    let (mut holder, mut operator) = two_connections(&db).await;
    // It waits for the lock with a transaction begun, and then nobody hears that it got it.
    sqlx::raw_sql("BEGIN; LOCK TABLE client_secret").execute(&mut holder).await.unwrap();
    let used = ["sec_1".to_owned()];
    let mut touch = Box::pin(store.touch_secrets(&used, 60));
    let ours = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND application_name = 'procura' AND xact_start IS NOT NULL AND (wait_event_type = 'Lock' OR state LIKE 'idle%')";
    let state = async |operator: &mut PgConnection| -> Option<String> {
        sqlx::query_scalar(ours).fetch_optional(operator).await.unwrap()
    };
    tokio::select! {
        done = &mut touch => panic!("it did not wait: {done:?}"),
        () = async { while state(&mut operator).await.is_none() {} } => {}
    }
    network.swallow();
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    let ended = async { while state(&mut operator).await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(8), ended).await.expect("it keeps its locks");
}

#[tokio::test]
async fn nothing_is_issued_while_a_look_for_changes_hangs_although_events_could_be_written() {
    let world = World::new(Kind::Postgres).await;
    world.records_token().await;
    let (mut holder, _) = two_connections(&world.server.database).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE version").execute(&mut holder).await.unwrap();
    let started = Instant::now();
    let (look, ()) = tokio::join!(world.server.app.refresh(), async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        let mut answers = Vec::new();
        while answers.last() != Some(&503) {
            ticks.tick().await;
            answers.push(world.exchange(json!({}), &[("audience", "records")]).await.status.as_u16());
            world.server.clock.advance(Duration::from_secs(1));
        }
        assert_eq!(answers.first(), Some(&200), "for a moment what was in force stays");
        assert!(started.elapsed() < Duration::from_secs(3), "it does not wait for the look to end");
        assert!(world.server.get("/readyz").await.text.contains("cannot be taken in"));
    });
    assert!(look.unwrap_err().to_string().ends_with("did not answer within 3 seconds"));
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    world.server.app.refresh().await.unwrap();
    world.records_token().await;
}
