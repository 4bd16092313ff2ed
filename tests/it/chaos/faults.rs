//! A database that fails while the server runs: full, read-only, broken, held by another program, crashed, standing still, gone. Tokens that are
//! answered have their events, everybody else is told to try again, `/readyz` says what is wrong, and nobody has to
//! help when the fault is over.

use super::deployment::{Deployment, Launch, Server};
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use super::disk::{FailingDisk, SmallDisk};
use super::evidence::assert_whole;
use super::load::Load;
use super::pause;
use crate::database::Kind;
use crate::issuer::TestIssuer;
use crate::network::Network;
use crate::postgres::Cluster;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use std::ops::Range;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long each fault lasts once `/readyz` has told it, if `CHAOS_FAULT_SECONDS` does not say: longer than a commit hangs
/// that everybody may wait for.
const FAULT: Duration = Duration::from_secs(10);
/// A disk is full only after some writing.
const TOLD_AT_MOST: Duration = Duration::from_secs(40);
/// A client waits no longer for its refusal: the time limit of a commit.
const REFUSED_AT_MOST: Duration = Duration::from_secs(11);
/// Once `/readyz` has told the fault for this long, every request is refused at once.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// At once, on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(1);
/// A probe that takes longer is lost: the time limit that probes often have.
const PROBE_AT_MOST: Duration = Duration::from_secs(3);
/// Ready again by then.
const RECOVERED_AT_MOST: Duration = Duration::from_secs(8);

const NOT_WRITTEN: &str = "audit events cannot be written";
const NO_ANSWER: &str = "the database does not answer";

/// A deployment under load.
struct Scene {
    deployment: Deployment,
    server: Server,
    load: Load,
}

impl Scene {
    async fn of(deployment: Deployment) -> Self {
        Self::with(deployment, Deployment::launch).await
    }

    /// With a server that is started in a certain way, on a database that is there.
    async fn with(deployment: Deployment, launch: impl FnOnce(&Deployment) -> Launch) -> Self {
        let issuer = Arc::new(TestIssuer::start().await);
        let secret = deployment.furnish(issuer.issuer());
        let server = launch(&deployment).ready().await;
        let load = Load::start(&issuer, &secret);
        load.aim(Some(server.address));
        load.tokens(20).await;
        Self { deployment, server, load }
    }

    /// Watches from the beginning of a fault: waits until `/readyz` tells it, and then as long as it lasts.
    async fn until_told(&self, problem: &str) -> Seen {
        self.watch(problem, true).await
    }

    /// The same with a fault that may let some writes through.
    async fn watch(&self, problem: &str, is_steady: bool) -> Seen {
        let seconds = std::env::var("CHAOS_FAULT_SECONDS").map(|text| text.parse().expect("it is a number of seconds"));
        let lasts = seconds.map_or(FAULT, Duration::from_secs);
        let told = |readiness: &super::deployment::Readiness| {
            readiness.status == 503 && readiness.problems.iter().any(|told| told == problem)
        };
        let told_after = self.server.until(TOLD_AT_MOST, told).await;
        let told_after = told_after.unwrap_or_else(|last| panic!("not told: {last:?}\n{}", self.server.log()));
        let told_at = Instant::now();
        let mut slowest_probe = Duration::ZERO;
        while told_at.elapsed() < lasts {
            let readiness = self.server.readiness().await;
            assert!(!is_steady || told(&readiness), "ready in the middle of the fault: {readiness:?}");
            slowest_probe = slowest_probe.max(readiness.took);
            pause(Duration::from_millis(100)).await;
        }
        let settled = is_steady.then(|| told_at + SETTLED_AFTER..Instant::now());
        Seen { told_after, slowest_probe, settled }
    }

    /// Watches from the end of a fault: ready again, tokens again, and nothing lost.
    async fn recovered(self, fault: &str, seen: Seen) {
        let Self { deployment, server, load } = self;
        let ready_after = server.until_ready(RECOVERED_AT_MOST).await;
        let ready_after =
            ready_after.unwrap_or_else(|last| panic!("{fault}: not ready again: {last:?}\n{}", server.log()));
        let token_after = ready_after + load.tokens(20).await;
        let story = load.stop().await;
        let unheard = assert_whole(&deployment, &server, &story).await;
        let refused: Vec<_> = story.answers.iter().filter(|answer| answer.token().is_none()).collect();
        assert!(!refused.is_empty(), "{fault}: nobody noticed");
        for answer in &refused {
            assert_eq!(
                (answer.status, answer.body["error"].as_str()),
                (503, Some("temporarily_unavailable")),
                "{fault}: {answer:?}"
            );
            assert!(answer.retry_after.is_some_and(|seconds| seconds > 0), "{fault}: {answer:?}");
        }
        assert_eq!(story.unanswered, 0, "{fault}: every request has an answer");
        let slowest = refused.iter().map(|answer| answer.took).max().unwrap();
        let settled = story.answers.iter().filter(|answer| {
            let is_later = |settled: &Range<Instant>| {
                settled.contains(&answer.asked_at) && settled.contains(&(answer.asked_at + answer.took))
            };
            seen.settled.as_ref().is_some_and(is_later)
        });
        let later: Vec<_> = settled.collect();
        let slowest_later = later.iter().map(|answer| answer.took).max().unwrap_or_default();
        assert!(later.iter().all(|answer| answer.token().is_none()), "{fault}: a token in the middle of the fault");
        assert!(seen.settled.is_none() || !later.is_empty(), "{fault}: nobody asked once it was told");
        eprintln!(
            "{fault}: told by /readyz after {:?}, slowest probe {:?}; tokens answered {}, without an event 0, events \
             whose answer was a refusal {unheard}, requests refused {}, slowest refusal {slowest:?}, of the {} after it was told {slowest_later:?}; ready again after \
             {ready_after:?}, first token after {token_after:?}",
            seen.told_after,
            seen.slowest_probe,
            story.granted().count(),
            refused.len(),
            later.len(),
        );
        assert!(slowest_later < AT_ONCE, "{fault}: a refusal took {slowest_later:?} after it was told");
        assert!(slowest < REFUSED_AT_MOST, "{fault}: a refusal took {slowest:?}");
        assert!(seen.slowest_probe < PROBE_AT_MOST, "{fault}: /readyz took {:?}", seen.slowest_probe);
    }
}

/// What was seen of a fault.
struct Seen {
    told_after: Duration,
    slowest_probe: Duration,
    /// When every request was to be refused at once, if the fault was steady.
    settled: Option<Range<Instant>>,
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_below_sqlite_costs_no_event_and_heals_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    match SmallDisk::mount(directory.path()) {
        Ok(disk) => {
            let scene = Scene::of(Deployment::of_file(directory)).await;
            disk.fill();
            let seen = scene.until_told(NOT_WRITTEN).await;
            disk.empty();
            scene.recovered("SQLite, disk full (a small tmpfs)", seen).await;
        }
        Err(problem) => {
            eprintln!("no tmpfs can be mounted ({problem}): a limit on the size of files is the full disk");
            a_file_that_may_not_grow(directory).await;
        }
    }
}

/// The full disk of whoever may not mount one.
#[cfg(target_os = "linux")]
async fn a_file_that_may_not_grow(directory: TempDir) {
    let scene = Scene::with(Deployment::of_file(directory), Deployment::launch_without_size_signal).await;
    let log = scene.deployment.directory.path().join("procura.db-wal");
    // No file of the process may grow past this; the log is what grows with each commit.
    limit_files(&scene.server, Some(std::fs::metadata(log).unwrap().len()));
    let seen = scene.until_told(NOT_WRITTEN).await;
    limit_files(&scene.server, None);
    scene.recovered("SQLite, disk full (a limit on the size of files)", seen).await;
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_file_that_becomes_read_only_costs_no_event_and_heals_by_itself() {
    let deployment = Deployment::empty(Kind::Sqlite).await;
    let disk = FailingDisk::build(&deployment);
    let scene = Scene::with(deployment, |deployment| disk.launch(deployment)).await;
    disk.becomes_read_only();
    let seen = scene.until_told(NOT_WRITTEN).await;
    disk.heals();
    scene.recovered("SQLite, read-only", seen).await;
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_disk_below_sqlite_costs_no_event_and_heals_by_itself() {
    let deployment = Deployment::empty(Kind::Sqlite).await;
    let disk = FailingDisk::build(&deployment);
    let scene = Scene::with(deployment, |deployment| disk.launch(deployment)).await;
    disk.breaks();
    let seen = scene.until_told(NOT_WRITTEN).await;
    disk.heals();
    scene.recovered("SQLite, disk broken", seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_holds_the_sqlite_file_for_writing_costs_no_event_and_heals_by_itself() {
    let scene = Scene::of(Deployment::empty(Kind::Sqlite).await).await;
    let mut holder = SqliteConnection::connect(&scene.deployment.url).await.unwrap();
    let held = holder.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let seen = scene.until_told(NOT_WRITTEN).await;
    held.rollback().await.unwrap();
    scene.recovered("SQLite, held for writing", seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_postgres_costs_no_event_and_heals_by_itself() {
    let mut cluster = Cluster::start(16);
    let scene = Scene::of(Deployment::on(cluster.database().await)).await;
    cluster.crash();
    let seen = scene.until_told(NO_ANSWER).await;
    cluster.restart();
    scene.recovered("PostgreSQL, crashed and restarted", seen).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_stands_still_costs_no_event_and_heals_by_itself() {
    let mut cluster = Cluster::start(16);
    let scene = Scene::of(Deployment::on(cluster.database().await)).await;
    cluster.freeze();
    // In the long form longer than the writer waits: what it gave up happens when the database goes on.
    let seen = scene.until_told(NO_ANSWER).await;
    cluster.thaw();
    scene.recovered("PostgreSQL, standing still", seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_vanishes_without_a_word_costs_no_event_and_heals_by_itself() {
    let url = crate::postgres::database().await;
    let network = Network::before(&url).await;
    let scene = Scene::of(Deployment::on(network.url())).await;
    network.swallow();
    let seen = scene.until_told(NO_ANSWER).await;
    network.come_back();
    scene.recovered("PostgreSQL, vanished", seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_postgres_costs_no_event_and_heals_by_itself() {
    let scene = Scene::of(Deployment::empty(Kind::Postgres).await).await;
    let mut operator = PgConnection::connect(&scene.deployment.url).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()::text").fetch_one(&mut operator).await.unwrap();
    let set = |value: &str| {
        AssertSqlSafe(format!(
            "SET transaction_read_only = off; ALTER DATABASE {name} SET default_transaction_read_only = {value}"
        ))
    };
    sqlx::raw_sql(set("on")).execute(&mut operator).await.unwrap();
    // Sessions keep what they began with, so an operator who means it ends them.
    let end = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::query(end).execute(&mut operator).await.unwrap();
    let seen = scene.until_told(NOT_WRITTEN).await;
    sqlx::raw_sql(set("off")).execute(&mut operator).await.unwrap();
    operator.close().await.unwrap();
    scene.recovered("PostgreSQL, read-only", seen).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_below_postgres_costs_no_event_and_heals_by_itself() {
    // Segments of 1 MiB, so that the table of events reaches the limit and the write-ahead log does not.
    let mut cluster = Cluster::start(1);
    let scene = Scene::of(Deployment::on(cluster.database().await)).await;
    let mut operator = PgConnection::connect(&scene.deployment.url).await.unwrap();
    // What an undone statement leaves behind still takes room: where long bodies are kept is larger than a segment
    // before it is limited.
    let grow =
        "BEGIN; INSERT INTO audit_event (writer_id, seq, prev_hash, hash, body, at_ms, request_id, outcome, reason)
        SELECT 'room', 1, '', '', string_agg(md5(number::text), ''), 0, '', '', ''
        FROM generate_series(1, 60000) AS number; ROLLBACK";
    sqlx::raw_sql(grow).execute(&mut operator).await.unwrap();
    let size = "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'audit_event'";
    let size: i64 = sqlx::query_scalar(size).fetch_one(&mut operator).await.unwrap();
    operator.close().await.unwrap();
    let limit = size.cast_unsigned() + (1 << 16);
    assert!(limit > 1 << 20, "the write-ahead log must not reach the limit");
    cluster.limit_files(Some(limit));
    // A small event may still find room in the last page.
    let seen = scene.watch(NOT_WRITTEN, false).await;
    cluster.limit_files(None);
    scene.recovered("PostgreSQL, disk full", seen).await;
}

/// Lets no file of the server grow past a size, or any again.
#[cfg(target_os = "linux")]
fn limit_files(server: &Server, bytes: Option<u64>) {
    let soft = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    let pid = server.pid();
    let output = Command::new("prlimit").args([format!("--pid={pid}"), format!("--fsize={soft}:")]).output();
    let output = output.expect("these tests need prlimit of util-linux");
    assert!(output.status.success(), "{output:?}");
}
