//! The trail as evidence: checkpoints, what they find that chains alone do not, retention, and exports.

mod background;
mod commands;
mod export;
mod pruning;
mod tampering;

use crate::database::{Kind, TestDatabase};
use procura::audit::checkpoint::{Made, Notary};
use procura::audit::seen::Seen;
use procura::audit::verify::ChainReport;
use procura::audit::writer::AuditWriter;
use procura::clock::Clock;
use procura::config::AuditSettings;
use procura::domain::checkpoint::Checkpoint;
use procura::domain::event::{AuditEvent, ChainHead, ChainedEvent, EventKind, EventOutcome, EventSubject};
use procura::domain::resource::SigningAlgorithm;
use procura::domain::signing_key::SigningKeyRecord;
use procura::secrets::{SecretsKey, random_id};
use procura::store::{Store, StoreError};
use procura::tokens::checkpoint::{EvidenceKeys, sign_checkpoint};
use procura::tokens::signing_keys::{SigningKeys, rotate};
use std::collections::BTreeMap;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://auth.example.com";

/// Checks a trail without any key.
pub(crate) async fn verify(store: &Store) -> Result<ChainReport, StoreError> {
    procura::audit::verify::verify(store, &EvidenceKeys::default(), &BTreeMap::new()).await
}

/// A trail that is signed.
struct Trail {
    db: TestDatabase,
    key: SecretsKey,
    records: Vec<SigningKeyRecord>,
}

fn event(number: usize, at_ms: i64) -> AuditEvent {
    let (request, user) = (format!("req_{number}"), format!("corp|user's {}", number % 3));
    let mut event = AuditEvent::new(at_ms, request, EventKind::TokenExchange, EventOutcome::Granted, "granted");
    let idp = Some("corp".parse().unwrap());
    event.subject = Some(EventSubject { sub: user, idp, idp_sub: None, idp_session: None });
    event.client = Some(["assistant", "planner"][number % 2].parse().unwrap());
    event.resource = Some("records".parse().unwrap());
    event.jti = Some(format!("dtk_{number}"));
    event.txn = Some(format!("txn_{number}"));
    event
}

impl Trail {
    async fn new(kind: Kind) -> Self {
        let mut trail = Self { db: TestDatabase::new(kind).await, key: SecretsKey::generate(), records: Vec::new() };
        trail.rotate(NOW).await;
        trail
    }

    /// A new key, which signs at once; the earlier ones are removed.
    async fn rotate(&mut self, now: i64) {
        let store = &self.db.store;
        store.claim_secrets_key(&self.key.fingerprint()).await.unwrap();
        let rotation = rotate(&self.records, SigningAlgorithm::ES256, 0, true, &self.key, now).unwrap();
        let event = AuditEvent::new(
            now * 1000,
            random_id("adm"),
            EventKind::Administration,
            EventOutcome::Done,
            "signing_key_replaced",
        );
        assert!(store.add_signing_key(&rotation.key, &rotation.removals, event).await.unwrap());
        self.records = store.list_signing_keys().await.unwrap();
    }

    fn keys(&self) -> EvidenceKeys {
        EvidenceKeys::of_records(&self.records, Some(&self.key))
    }

    /// Appends events to a chain.
    async fn events(&self, writer_id: &str, numbers: std::ops::Range<usize>) {
        let store = &self.db.store;
        let mut head = store.chain_head(writer_id).await.unwrap().unwrap_or_else(|| ChainHead::empty(writer_id));
        let chained: Vec<_> =
            numbers.map(|number| ChainedEvent::append(&mut head, event(number, NOW * 1000))).collect();
        store.append_events(&chained, &[]).await.unwrap();
    }

    async fn with_notary<T>(&self, now: i64, work: impl AsyncFnOnce(Notary<'_>) -> T) -> T {
        let (keys, signing) = (self.keys(), SigningKeys::open(&self.records, &self.key, now).unwrap());
        let sign = |checkpoint: &Checkpoint| sign_checkpoint(&signing, checkpoint);
        work(Notary { store: &self.db.store, issuer: ISSUER, reader: &keys, seen: &Seen::default(), sign: &sign }).await
    }

    async fn checkpoint(&self, now: i64) -> Made {
        self.with_notary(now, async |notary| notary.make(now, None).await.unwrap()).await
    }

    async fn report(&self) -> ChainReport {
        self.report_with(&BTreeMap::new()).await
    }

    async fn report_with(&self, outside: &BTreeMap<i64, String>) -> ChainReport {
        procura::audit::verify::verify(&self.db.store, &self.keys(), outside).await.unwrap()
    }

    /// Every checkpoint, as somebody keeps them elsewhere.
    async fn kept_outside(&self) -> BTreeMap<i64, String> {
        let stored = self.db.store.list_checkpoints(0, 1_000).await.unwrap();
        stored.into_iter().map(|stored| (stored.number, stored.jws)).collect()
    }

    /// Two chains and that of the administrators, three checkpoints by two keys, and three events that are newer.
    async fn furnished(kind: Kind) -> Self {
        let mut trail = Self::new(kind).await;
        trail.events("w_one", 0..7).await;
        trail.checkpoint(NOW + 10).await;
        trail.events("w_one", 7..12).await;
        trail.events("w_two", 100..109).await;
        trail.checkpoint(NOW + 20).await;
        trail.rotate(NOW + 30).await;
        trail.events("w_two", 109..115).await;
        trail.checkpoint(NOW + 40).await;
        trail.events("w_one", 12..14).await;
        trail.events("w_two", 115..116).await;
        trail
    }
}

async fn writer(store: &Store) -> AuditWriter {
    let settings = AuditSettings { events_per_commit: 256, queue: 4096 };
    AuditWriter::start(store.clone(), &settings, Clock::set_to(NOW)).await.unwrap()
}

store_test! {
    async fn a_checkpoint_signs_what_came_since_the_one_before(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        let report = trail.report().await;
        assert!(report.is_whole(), "{report:?}");
        // 14 and 16 of the servers, 2 of the administrators.
        assert_eq!((report.checkpoints, report.events, report.signed_events), (3, 32, 29));
        let newest = report.newest_checkpoint.unwrap();
        assert_eq!((newest.number, newest.made_at, &newest.kid), (3, NOW + 40, &trail.records[1].kid));
        assert_eq!(report.unvouched_keys, Vec::<String>::new());

        let stored = trail.db.store.list_checkpoints(0, 10).await.unwrap();
        let keys = trail.keys();
        let segments: Vec<Vec<(String, i64, i64)>> = stored
            .iter()
            .map(|stored| procura::domain::checkpoint::ReadCheckpoint::read(&keys, &stored.jws).unwrap().checkpoint)
            .map(|checkpoint| checkpoint.segments.into_iter().map(|of| (of.writer, of.first, of.last)).collect())
            .collect();
        let of = |writer: &str, first, last| (writer.to_owned(), first, last);
        assert_eq!(segments[0], [of("admin", 1, 1), of("w_one", 1, 7)]);
        assert_eq!(segments[1], [of("w_one", 8, 12), of("w_two", 1, 9)]);
        assert_eq!(segments[2], [of("admin", 2, 2), of("w_two", 10, 15)]);
    }

    async fn without_anything_new_there_is_no_checkpoint(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        assert_eq!(trail.checkpoint(NOW + 50).await.checkpoints.len(), 1);
        assert_eq!(trail.checkpoint(NOW + 60).await.checkpoints.len(), 0);
        assert_eq!(trail.report().await.checkpoints, 4);
    }

    async fn of_two_servers_at_once_one_makes_each_checkpoint(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        let (one, two) = tokio::join!(trail.checkpoint(NOW + 50), trail.checkpoint(NOW + 50));
        let mut numbers: Vec<i64> =
            one.checkpoints.iter().chain(&two.checkpoints).map(|stored| stored.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [4]);
        let report = trail.report().await;
        assert!(report.is_whole() && report.signed_events == report.events, "{report:?}");
    }

    async fn more_chains_than_fit_go_into_several_checkpoints(db: TestDatabase) {
        let trail = Trail::new(db.kind).await;
        for chain in 0..70 {
            trail.events(&format!("w_{chain}"), 0..2).await;
        }
        assert_eq!(trail.checkpoint(NOW).await.checkpoints.len(), 3);
        let report = trail.report().await;
        assert!(report.is_whole(), "{report:?}");
        assert_eq!((report.events, report.signed_events), (141, 141));
        for stored in trail.db.store.list_checkpoints(0, 10).await.unwrap() {
            assert!(stored.jws.len() < 16 * 1024, "{} bytes", stored.jws.len());
        }
    }

    async fn a_broken_chain_is_not_signed_and_the_others_are(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        trail.events("w_three", 0..5).await;
        trail.db.execute("DELETE FROM audit_event WHERE writer_id = 'w_three' AND seq = 3").await;
        let made = trail.checkpoint(NOW + 50).await;
        assert_eq!(made.broken, [("w_three".to_owned(), "event 4 does not follow event 2".to_owned())]);
        let report = trail.report().await;
        let faults: Vec<_> = report.faults.iter().map(|fault| (fault.writer_id.as_str(), fault.seq)).collect();
        assert_eq!((faults, report.checkpoints), (vec![("w_three", 3)], 4));
    }

    async fn behind_a_checkpoint_that_is_not_whole_there_is_no_other(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        trail.db.execute("UPDATE audit_checkpoint SET jws = jws || 'A' WHERE number = 3").await;
        let made = trail.with_notary(NOW + 50, async |notary| notary.make(NOW + 50, None).await).await;
        assert!(made.unwrap_err().to_string().starts_with("checkpoint 3: "));
    }

    async fn a_key_that_was_put_into_the_database_signs_nothing(db: TestDatabase) {
        let mut trail = Trail::furnished(db.kind).await;
        // Whoever has the database, and not its secrets key, makes a key and a trail of their own.
        let forger = Trail::furnished(db.kind).await;
        for (number, jws) in forger.kept_outside().await {
            trail.db.script(&format!("UPDATE audit_checkpoint SET jws = '{jws}' WHERE number = {number}")).await;
        }
        trail.records.extend(forger.records.iter().cloned());
        let report = trail.report().await;
        assert_eq!(report.checkpoint_faults.len(), 3);
        assert!(report.checkpoint_faults[0].problem.contains("which is not one of ours"), "{report:?}");
    }
}

#[tokio::test]
async fn a_server_that_writes_is_not_disturbed_by_checkpoints() {
    let trail = Trail::new(Kind::Sqlite).await;
    let writer = writer(&trail.db.store).await;
    let writing = async {
        for number in 0..300 {
            writer.record(event(number, NOW * 1000), None).await.unwrap();
        }
    };
    let signing = async {
        for _ in 0..20 {
            trail.checkpoint(NOW).await;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writing, signing);
    writer.close().await;
    trail.checkpoint(NOW).await;
    let report = trail.report().await;
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.events, report.signed_events), (302, 302));
}
