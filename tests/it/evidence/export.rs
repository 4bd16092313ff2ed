//! Exports: what they prove without the database, and that nothing in one can be changed.

use super::tampering::seeded;
use super::{ISSUER, NOW, Trail};
use crate::database::Kind;
use procura::audit::export::{End, Signing};
use procura::audit::proof::{ExportFault, ExportReport, ReadExport, SignedEnd, check};
use procura::domain::checkpoint::{Checkpoint, ReadCheckpoint, SignedCheckpoint};
use procura::store::EventFilter;
use procura::tokens::checkpoint::{EXPORT_TYP, EvidenceKeys, sign};
use procura::tokens::signing_keys::SigningKeys;
use serde_json::Value;

const FLIPS: usize = 400;

/// By the keys in the file.
#[derive(Default)]
struct Keys(EvidenceKeys);

impl ReadExport for Keys {
    fn keys(&mut self, jwks: &Value) -> Result<(), String> {
        self.0 = EvidenceKeys::of_jwks(jwks)?;
        Ok(())
    }
    fn checkpoint(&self, jws: &str) -> Result<SignedCheckpoint, String> {
        self.0.read(jws)
    }
    fn end(&self, jws: &str) -> Result<SignedEnd, String> {
        let signed = self.0.verify::<End>(EXPORT_TYP, jws)?;
        Ok(SignedEnd { end: signed.claims, kid: signed.kid, vouched: signed.vouched })
    }
}

pub(super) fn checked(file: &[u8]) -> Result<ExportReport, ExportFault> {
    check(&mut &file[..], &mut Keys::default())
}

pub(super) async fn exported(trail: &Trail, filter: &EventFilter) -> Vec<u8> {
    let now = NOW + 200;
    let signing_keys = SigningKeys::open(&trail.records, &trail.key, now).unwrap();
    let keys = trail.keys();
    let sign_end = |end: &End| sign(&signing_keys, EXPORT_TYP, end, now).map_err(|problem| problem.to_string());
    let jwk = |kid: &str| keys.jwk(kid).cloned().map(Value::Object);
    let kid = trail.records.last().unwrap().kid.as_str();
    let signing = Signing { sign: &sign_end, kid, jwk: &jwk };
    let mut file = Vec::new();
    trail.with_notary(now, async |notary| notary.export(filter, &signing, now, &mut file).await.unwrap()).await;
    file
}

fn lines(file: &[u8]) -> Vec<Value> {
    file.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// The places of the events in a file.
fn places(file: &[u8]) -> Vec<(String, i64)> {
    let of = |line: &Value| Some((line["writer_id"].as_str()?.to_owned(), line["seq"].as_i64()?));
    lines(file).iter().filter_map(of).collect()
}

store_test! {
    async fn every_event_is_exported_with_its_proof_the_newest_ones_too(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        let file = exported(&trail, &EventFilter::default()).await;
        let report = checked(&file).unwrap();
        assert_eq!((report.events, report.checkpoints, report.up_to_checkpoint), (32, 4, 4));
        assert_eq!((report.issuer.as_str(), report.made_at), (ISSUER, NOW + 200));
        assert_eq!(report.keys.keys().collect::<Vec<_>>().len(), 2, "both keys signed: {report:?}");
        assert!(report.keys.values().all(|vouched| !vouched), "nobody but the file vouches for them");
        assert_eq!(places(&file).len(), 32);
        assert!(trail.report().await.is_whole());
    }

    async fn each_filter_of_the_list_is_one_of_the_export(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        let text = |text: &str| Some(text.to_owned());
        let filters = [
            EventFilter { user: text("corp|user's 1"), ..EventFilter::default() },
            EventFilter { client: text("planner"), ..EventFilter::default() },
            EventFilter { resource: text("records"), ..EventFilter::default() },
            EventFilter { outcome: text("done"), ..EventFilter::default() },
            EventFilter { reason: text("signing_key_replaced"), ..EventFilter::default() },
            EventFilter { since_ms: Some(NOW * 1000 + 1), ..EventFilter::default() },
            EventFilter { until_ms: Some(NOW * 1000 + 1), client: text("assistant"), ..EventFilter::default() },
            EventFilter { user: text("nobody"), ..EventFilter::default() },
        ];
        for filter in filters {
            let listed = trail.db.store.list_events(&EventFilter { limit: 100, ..filter.clone() }).await.unwrap();
            let file = exported(&trail, &filter).await;
            let report = checked(&file).unwrap();
            assert_eq!(report.events, u64::try_from(listed.len()).unwrap(), "{filter:?}");
            assert!(!report.filter.is_empty());
            let mut bodies: Vec<String> = lines(&file).iter().filter_map(|line| Some(line["body"].as_str()?.to_owned())).collect();
            let mut expected: Vec<String> = listed.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
            bodies.sort();
            expected.sort();
            assert_eq!(bodies, expected, "{filter:?}");
        }
    }

    async fn an_export_of_a_changed_trail_is_refused(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        trail.db.execute("DELETE FROM audit_event WHERE writer_id = 'w_one' AND seq = 3").await;
        let now = NOW + 200;
        let signing_keys = SigningKeys::open(&trail.records, &trail.key, now).unwrap();
        let sign_end = |end: &End| sign(&signing_keys, EXPORT_TYP, end, now).map_err(|problem| problem.to_string());
        let signing = Signing { sign: &sign_end, kid: "", jwk: &|_| None };
        let mut file = Vec::new();
        let refused = trail
            .with_notary(now, async |notary| notary.export(&EventFilter::default(), &signing, now, &mut file).await)
            .await;
        let problem = refused.unwrap_err().to_string();
        assert_eq!(problem, "chain w_one: checkpoint 1 signed other events 1 to 7; procura audit verify says more");
        assert!(checked(&file).is_err(), "what was written until then has no last line");
    }
}

#[tokio::test]
async fn any_changed_byte_of_an_export_is_found() {
    let trail = Trail::furnished(Kind::Sqlite).await;
    let file = exported(&trail, &EventFilter { client: Some("assistant".to_owned()), ..EventFilter::default() }).await;
    checked(&file).unwrap();
    let mut dice = seeded();
    for _ in 0..FLIPS {
        let mut changed = file.clone();
        let at = dice.below(changed.len());
        let flip = u8::try_from(dice.below(255) + 1).unwrap();
        changed[at] ^= flip;
        assert!(checked(&changed).is_err(), "byte {at} became {:?}", char::from(changed[at]));
    }
}

#[tokio::test]
async fn a_line_that_is_cut_off_taken_out_doubled_or_moved_is_found() {
    let trail = Trail::furnished(Kind::Sqlite).await;
    let file = exported(&trail, &EventFilter::default()).await;
    let text = String::from_utf8(file).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for at in 0..lines.len() {
        assert!(checked(lines[..at].concat().as_bytes()).is_err(), "cut off at line {at}");
        let mut without = lines.clone();
        without.remove(at);
        assert!(checked(without.concat().as_bytes()).is_err(), "without line {at}");
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at]);
        assert!(checked(doubled.concat().as_bytes()).is_err(), "line {at} twice");
        let mut moved = lines.clone();
        moved.swap(at, (at + 1) % lines.len());
        assert!(checked(moved.concat().as_bytes()).is_err(), "line {at} moved");
    }
    let problem = checked(lines[..lines.len() - 1].concat().as_bytes()).unwrap_err();
    assert_eq!(problem.problem, "the file was cut short: it has no last line");
    assert!(checked(format!("{text}\n").as_bytes()).unwrap_err().problem.starts_with("something comes behind"));
}

#[tokio::test]
async fn an_event_is_not_proven_by_the_path_of_another_or_by_a_checkpoint_that_did_not_sign_it() {
    let trail = Trail::furnished(Kind::Sqlite).await;
    let file = exported(&trail, &EventFilter::default()).await;
    // The end is left as it is: what is asked is what the events' own proofs refuse, before it is looked at.
    let with = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut all = lines(&file);
        change(&mut all);
        let text = all.iter().map(|line| format!("{line}\n")).collect::<Vec<_>>().concat();
        checked(text.as_bytes()).unwrap_err().problem
    };
    let first = lines(&file).iter().position(|line| line["writer_id"] == "w_one").unwrap();
    let problem = with(&|all| all[first]["path"] = all[first + 1]["path"].clone());
    assert!(problem.starts_with("not proven: its path does not lead to the root"), "{problem}");
    let problem = with(&|all| all[first]["signed_by"] = 2.into());
    assert_eq!(problem, "checkpoint 2 did not sign event 1 of w_one");
    let problem = with(&|all| all[first]["signed_by"] = 77.into());
    assert_eq!(problem, "there is no checkpoint 77 before it");
    let problem = with(&|all| {
        let body = all[first]["body"].as_str().unwrap().replace("assistant", "assistent");
        all[first]["body"] = body.into();
    });
    assert!(problem.starts_with("changed: the event's hash is "), "{problem}");
    let problem = with(&|all| {
        // With a hash that fits, the path does not.
        let text = |name: &str| all[first][name].as_str().unwrap().to_owned();
        let body = text("body").replace("assistant", "assistent");
        let hash = procura::domain::event::ChainedEvent::hash("w_one", 1, &text("prev_hash"), &body);
        all[first]["body"] = body.into();
        all[first]["hash"] = hash.into();
    });
    assert!(problem.starts_with("not proven: "), "{problem}");
}

#[tokio::test]
async fn a_checkpoint_in_an_export_is_signed() {
    let trail = Trail::furnished(Kind::Sqlite).await;
    let file = exported(&trail, &EventFilter::default()).await;
    let stranger = Trail::furnished(Kind::Sqlite).await;
    let signing = SigningKeys::open(&stranger.records, &stranger.key, NOW + 200).unwrap();
    let mut all = lines(&file);
    let at = all.iter().position(|line| line["checkpoint"].is_string()).unwrap();
    let read = trail.keys().read(all[at]["checkpoint"].as_str().unwrap()).unwrap();
    let checkpoint = Checkpoint { iat: NOW + 200, ..read.checkpoint };
    let forged = procura::tokens::checkpoint::sign_checkpoint(&signing, &checkpoint).unwrap();
    all[at]["checkpoint"] = forged.into();
    let text = all.iter().map(|line| format!("{line}\n")).collect::<Vec<_>>().concat();
    let problem = checked(text.as_bytes()).unwrap_err().problem;
    assert!(problem.contains("which is not one of ours"), "{problem}");
}
