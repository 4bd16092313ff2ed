//! Two hundred random single changes to the audit tables, each found and named; and what only copies outside find.

use super::{ISSUER, NOW, Trail, event};
use crate::database::Kind;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use procura::audit::checkpoint::Notary;
use procura::audit::seen::Seen;
use procura::audit::verify::ChainReport;
use procura::domain::checkpoint::Checkpoint;
use procura::domain::event::ChainHead;
use procura::domain::event::ChainedEvent;
use procura::secrets::random_bytes;
use procura::store::{StoredCheckpoint, StoredEvent, StoredSegment};
use procura::tokens::checkpoint::sign_checkpoint;
use procura::tokens::signing_keys::SigningKeys;
use std::collections::BTreeMap;
use std::fmt::Write;

const CHANGES: usize = 200;
const TABLES: [&str; 4] = ["audit_event", "audit_chain", "audit_checkpoint", "audit_segment"];

/// Numbers that a seed gives (splitmix64): the same ones for the same seed.
pub(super) struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(most).unwrap()).unwrap()
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// With the seed of TAMPERING_SEED, or a new one, which is printed.
pub(super) fn seeded() -> Dice {
    let given = std::env::var("TAMPERING_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| u64::from_be_bytes(random_bytes()));
    eprintln!("TAMPERING_SEED={seed}");
    Dice(seed)
}

/// Where a change must be found.
#[derive(Debug)]
enum Place {
    /// In this chain, at this place.
    Event(String, i64),
    /// In this chain.
    Chain(String),
    /// In the checkpoint of this number.
    Checkpoint(i64),
}

impl Place {
    fn is_named_by(&self, report: &ChainReport) -> bool {
        match self {
            Self::Event(writer, seq) => {
                report.faults.iter().any(|fault| fault.writer_id == *writer && fault.seq == *seq)
            }
            Self::Chain(writer) => report.faults.iter().any(|fault| fault.writer_id == *writer),
            Self::Checkpoint(number) => report.checkpoint_faults.iter().any(|fault| fault.number == *number),
        }
    }
}

/// What is in the tables.
struct Tables {
    events: Vec<StoredEvent>,
    heads: Vec<(String, i64)>,
    checkpoints: Vec<StoredCheckpoint>,
    segments: Vec<StoredSegment>,
}

impl Tables {
    async fn of(trail: &Trail) -> Self {
        let store = &trail.db.store;
        let heads = store.chain_heads().await.unwrap();
        let mut events = Vec::new();
        for head in &heads {
            events.extend(store.read_chain(&head.writer_id, 0, 1_000).await.unwrap());
        }
        Self {
            events,
            heads: heads.into_iter().map(|head| (head.writer_id, head.seq)).collect(),
            checkpoints: store.list_checkpoints(0, 1_000).await.unwrap(),
            segments: store.list_segments(0, 1_000).await.unwrap(),
        }
    }

    fn last_of(&self, writer: &str) -> i64 {
        self.heads.iter().find(|(id, _)| id == writer).unwrap().1
    }

    /// One change, as SQL, and where it must be found.
    fn change(&self, dice: &mut Dice) -> (String, Place) {
        match dice.below(10) {
            0..=2 => self.change_of_an_event(dice),
            3 => self.one_event_less(dice),
            4 => self.one_event_more(dice),
            5 => self.events_in_another_order(dice),
            6 => self.change_of_a_head(dice),
            7 | 8 => self.change_of_a_checkpoint(dice),
            _ => self.change_of_a_segment(dice),
        }
    }

    fn change_of_an_event(&self, dice: &mut Dice) -> (String, Place) {
        let event = dice.of(&self.events);
        let set = match dice.below(13) {
            0..=3 => format!("body = {}", quoted(&bent(dice, &event.body))),
            4 => format!("hash = {}", quoted(&bent(dice, &event.hash))),
            5 => format!("prev_hash = {}", quoted(&bent(dice, &event.prev_hash))),
            6 => format!("at_ms = at_ms + {}", dice.below(5_000) + 1),
            7 => format!("writer_id = {}", quoted(&bent(dice, &event.writer_id))),
            8 => format!("{} = NULL", dice.of(&["subject", "client", "resource", "jti", "txn"])),
            _ => {
                let columns = ["request_id", "outcome", "reason", "subject", "client", "resource", "jti", "txn"];
                format!("{} = 'x{}'", dice.of(&columns), dice.below(1_000))
            }
        };
        // An administrator's event has no subject to take away.
        let set = if event.writer_id == "admin" { set.replace("= NULL", "= ''") } else { set };
        let place = Place::Event(event.writer_id.clone(), event.seq);
        (format!("UPDATE audit_event SET {set} WHERE {}", which(event)), place)
    }

    fn one_event_less(&self, dice: &mut Dice) -> (String, Place) {
        let event = dice.of(&self.events);
        let place = Place::Event(event.writer_id.clone(), event.seq);
        (format!("DELETE FROM audit_event WHERE {}", which(event)), place)
    }

    fn one_event_more(&self, dice: &mut Dice) -> (String, Place) {
        let event = dice.of(&self.events);
        let other = &dice.of(&self.heads).0;
        let last = self.last_of(other);
        let (seq, found_at) = *dice.of(&[
            (last + 1, last + 1),
            (last + 7, last + 1),
            (0, 1),
            (-5, 1),
            (i64::MIN, 1),
            (i64::MAX, last + 1),
        ]);
        let columns = "prev_hash, hash, body, at_ms, request_id, outcome, reason, subject, client, resource, jti, txn";
        let sql = format!(
            "INSERT INTO audit_event (writer_id, seq, {columns}) SELECT {}, {seq}, {columns} FROM audit_event WHERE {}",
            quoted(other),
            which(event)
        );
        (sql, Place::Event(other.clone(), found_at))
    }

    fn events_in_another_order(&self, dice: &mut Dice) -> (String, Place) {
        loop {
            let (one, two) = (dice.of(&self.events), dice.of(&self.events));
            if one.writer_id != two.writer_id || one.seq == two.seq {
                continue;
            }
            let set = |from: i64, to: i64| {
                format!(
                    "UPDATE audit_event SET seq = {to} WHERE writer_id = {} AND seq = {from};",
                    quoted(&one.writer_id)
                )
            };
            let sql = [set(one.seq, -1), set(two.seq, one.seq), set(-1, two.seq)].concat();
            return (sql, Place::Event(one.writer_id.clone(), one.seq.min(two.seq)));
        }
    }

    fn change_of_a_head(&self, dice: &mut Dice) -> (String, Place) {
        let (writer, last) = dice.of(&self.heads);
        let quoted_writer = quoted(writer);
        let all = || format!("WHERE writer_id = {quoted_writer}");
        let sql = match dice.below(6) {
            0 => format!("DELETE FROM audit_chain {}", all()),
            1 => format!("UPDATE audit_chain SET seq = seq + {} {}", dice.below(9) + 1, all()),
            2 => format!("UPDATE audit_chain SET seq = {} {}", dice.below(usize::try_from(*last).unwrap()), all()),
            3 => format!("UPDATE audit_chain SET hash = '{}' {}", "0".repeat(64), all()),
            4 => format!("UPDATE audit_chain SET hash = {} {}", quoted(&bent(dice, &"7".repeat(64))), all()),
            _ => format!("UPDATE audit_chain SET writer_id = {} {}", quoted(&bent(dice, writer)), all()),
        };
        (sql, Place::Chain(writer.clone()))
    }

    fn change_of_a_checkpoint(&self, dice: &mut Dice) -> (String, Place) {
        let StoredCheckpoint { number, jws, .. } = dice.of(&self.checkpoints);
        let newest = self.checkpoints.last().unwrap().number;
        let set = |set: String| format!("UPDATE audit_checkpoint SET {set} WHERE number = {number}");
        let other = self.checkpoints.iter().find(|other| other.number != *number).unwrap();
        let (sql, found_at) = match dice.below(9) {
            0 | 1 => (set(format!("jws = {}", quoted(&bent(dice, jws)))), *number),
            2 => (set(format!("made_at = made_at - {}", dice.below(99) + 1)), *number),
            3 => (set(format!("number = {}", newest + 5)), *number),
            4 => (format!("DELETE FROM audit_checkpoint WHERE number = {number}"), *number),
            5 => (set(format!("jws = {}", quoted(&other.jws))), *number),
            6 => (set(format!("jws = {}", quoted(&other_root(jws)))), *number),
            7 => {
                let swap = format!(
                    "UPDATE audit_checkpoint SET jws = CASE number WHEN {number} THEN {} ELSE {} END
                    WHERE number IN ({number}, {})",
                    quoted(&other.jws),
                    quoted(jws),
                    other.number
                );
                (swap, *number)
            }
            _ => {
                let at = *dice.of(&[newest + 1, newest + 9, 0, -3]);
                let copy = format!(
                    "INSERT INTO audit_checkpoint (number, jws, made_at)
                    SELECT {at}, jws, made_at FROM audit_checkpoint WHERE number = {number}"
                );
                (copy, if at > newest + 1 { newest + 1 } else { at })
            }
        };
        (sql, Place::Checkpoint(found_at))
    }

    fn change_of_a_segment(&self, dice: &mut Dice) -> (String, Place) {
        let segment = dice.of(&self.segments);
        let place = format!("WHERE writer_id = {} AND last_seq = {}", quoted(&segment.writer_id), segment.last_seq);
        let set = |set: String| format!("UPDATE audit_segment SET {set} {place}");
        let sql = match dice.below(7) {
            0 => format!("DELETE FROM audit_segment {place}"),
            1 => set(format!("last_seq = last_seq + {}", 100 + dice.below(99))),
            2 => set(format!("first_seq = first_seq - {}", dice.below(9) + 1)),
            3 => set(format!("hash = {}", quoted(&bent(dice, &segment.hash)))),
            4 => set(format!("checkpoint = checkpoint + {}", dice.below(9) + 1)),
            5 => set(format!("writer_id = {}", quoted(&bent(dice, &segment.writer_id)))),
            _ => format!(
                "INSERT INTO audit_segment (writer_id, last_seq, first_seq, hash, checkpoint)
                SELECT writer_id, last_seq + 500, first_seq, hash, checkpoint FROM audit_segment {place}"
            ),
        };
        (sql, Place::Checkpoint(segment.checkpoint))
    }
}

/// Keeps a copy of the tables; the SQL that brings it back.
async fn keep(trail: &Trail) -> String {
    let mut restore = String::new();
    for table in TABLES {
        trail.db.execute(&format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}")).await;
        write!(restore, "DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table};").unwrap();
    }
    restore
}

fn which(event: &StoredEvent) -> String {
    format!("writer_id = {} AND seq = {}", quoted(&event.writer_id), event.seq)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The text with one character changed.
fn bent(dice: &mut Dice, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = dice.below(bytes.len());
    let others: Vec<u8> = (b' '..=b'~').filter(|byte| *byte != bytes[at]).collect();
    bytes[at] = *dice.of(&others);
    String::from_utf8(bytes).unwrap()
}

/// The checkpoint with another Merkle root in its claims, and its signature as it was.
fn other_root(jws: &str) -> String {
    let [header, claims, signature]: [&str; 3] = jws.split('.').collect::<Vec<_>>().try_into().unwrap();
    let mut claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let root = claims["segments"][0]["root"].as_str().unwrap();
    let other = if root.starts_with('a') { root.replacen('a', "b", 1) } else { format!("a{}", &root[1..]) };
    claims["segments"][0]["root"] = other.into();
    format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

store_test! {
    async fn of_200_random_single_changes_to_the_audit_tables_200_are_found_and_named(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        assert!(trail.report().await.is_whole());
        let tables = Tables::of(&trail).await;
        let restore = keep(&trail).await;
        let mut dice = seeded();
        let (mut found, mut missed) = (0, Vec::new());
        for _ in 0..CHANGES {
            let (sql, place) = tables.change(&mut dice);
            trail.db.script(&sql).await;
            let report = trail.report().await;
            if !report.is_whole() && place.is_named_by(&report) {
                found += 1;
            } else {
                missed.push((sql, place, report.faults, report.checkpoint_faults));
            }
            trail.db.script(&restore).await;
        }
        assert!(missed.is_empty(), "{} of {CHANGES}: {missed:#?}", missed.len());
        assert_eq!(found, CHANGES);
        let report = trail.report().await;
        assert!(report.is_whole(), "without a change nothing is found: {report:?}");
    }

    async fn a_chain_that_was_computed_anew_is_found_by_what_was_signed(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        recompute(&trail, "w_one", 4).await;
        let faults = trail.report().await.faults;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!((faults[0].writer_id.as_str(), faults[0].seq), ("w_one", 7));
        assert_eq!(faults[0].problem, "replaced: checkpoint 1 signed other events 1 to 7 of this chain");
        // What no checkpoint signed yet is not bound by one.
        let other = Trail::furnished(db.kind).await;
        recompute(&other, "w_one", 13).await;
        assert!(other.report().await.is_whole());
    }

    async fn an_event_that_says_it_is_older_than_a_checkpoint_that_did_not_sign_it_is_found(db: TestDatabase) {
        // A chain of its own, whole in itself: nothing but its time gives it away.
        let put = async |trail: &Trail, ago: i64| {
            let mut head = ChainHead::empty("a");
            let forged = ChainedEvent::append(&mut head, event(7_000, (NOW + 40 - ago) * 1000));
            trail.db.store.append_events(&[forged], &[]).await.unwrap();
        };
        let trail = Trail::furnished(db.kind).await;
        put(&trail, 901).await;
        for _ in 0..2 {
            let faults = trail.report().await.faults;
            assert_eq!((faults.len(), faults[0].writer_id.as_str(), faults[0].seq), (1, "a", 1), "{faults:?}");
            assert!(faults[0].problem.starts_with("inserted: it says that it is of "), "{faults:?}");
            assert!(faults[0].problem.contains("and checkpoint 3 of "), "{faults:?}");
            // Nor does a signature make it better.
            trail.checkpoint(NOW + 50).await;
        }
        let other = Trail::furnished(db.kind).await;
        put(&other, 900).await;
        assert!(other.report().await.is_whole(), "clocks may differ so much");
    }

    async fn a_place_that_is_there_twice_is_found_wherever_it_is(db: TestDatabase) {
        let trail = Trail::new(db.kind).await;
        for hundred in 0..11 {
            trail.events("w_one", hundred * 100..hundred * 100 + 100).await;
        }
        let anew = match db.kind {
            Kind::Postgres => "ALTER TABLE audit_event DROP CONSTRAINT audit_event_pkey",
            Kind::Sqlite => {
                "CREATE TABLE anew AS SELECT * FROM audit_event; DROP TABLE audit_event;
                ALTER TABLE anew RENAME TO audit_event"
            }
        };
        trail.db.script(anew).await;
        assert!(trail.report().await.is_whole());
        for seq in [1, 499, 500, 501, 1_000, 1_100] {
            trail
                .db
                .script(&format!(
                    "CREATE TABLE one AS SELECT * FROM audit_event WHERE writer_id = 'w_one' AND seq = {seq};
                    UPDATE one SET subject = 'corp|mallory'; INSERT INTO audit_event SELECT * FROM one; DROP TABLE one"
                ))
                .await;
            let faults = trail.report().await.faults;
            assert!(faults.len() == 1 && faults[0].writer_id == "w_one", "{seq}: {faults:?}");
            trail.db.script("DELETE FROM audit_event WHERE subject = 'corp|mallory'").await;
            // With the row beside it that had the same place and is still there.
            assert!(trail.report().await.is_whole(), "{seq}");
        }
    }

    async fn a_checkpoint_of_no_number_is_found(db: TestDatabase) {
        for number in [i64::MIN, -1, 0] {
            let trail = Trail::furnished(db.kind).await;
            trail
                .db
                .execute(&format!(
                    "INSERT INTO audit_checkpoint (number, jws, made_at)
                    SELECT {number}, jws, made_at FROM audit_checkpoint WHERE number = 1"
                ))
                .await;
            let faults = trail.report().await.checkpoint_faults;
            assert!(faults.iter().any(|fault| fault.number == number), "{number}: {faults:?}");
        }
    }

    async fn a_trail_whose_checkpoints_were_taken_away_is_not_signed_anew(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        let seen = Seen::default();
        let make = async |now: i64| {
            let (keys, signing) = (trail.keys(), SigningKeys::open(&trail.records, &trail.key, now).unwrap());
            let sign = |checkpoint: &Checkpoint| sign_checkpoint(&signing, checkpoint);
            let store = &trail.db.store;
            Notary { store, issuer: ISSUER, reader: &keys, seen: &seen, sign: &sign }.make(now, None).await
        };
        assert_eq!(make(NOW + 50).await.unwrap().checkpoints.len(), 1);
        trail.events("w_one", 30..31).await;
        assert_eq!(make(NOW + 60).await.unwrap().checkpoints.len(), 1);
        trail.db.script("DELETE FROM audit_checkpoint; DELETE FROM audit_segment").await;
        let refused = make(NOW + 70).await.unwrap_err().to_string();
        assert!(refused.starts_with("checkpoint 5 was seen before and is not in the database"), "{refused}");
        assert!(trail.db.store.newest_checkpoint().await.unwrap().is_none(), "nothing was signed");
        assert_eq!(trail.checkpoint(NOW + 80).await.checkpoints.len(), 1, "whoever saw none cannot know");
        trail.events("w_one", 31..32).await;
        assert!(make(NOW + 90).await.is_err(), "another checkpoint is not the one that was seen");
    }

    async fn newest_events_that_went_with_their_head_are_found_by_what_was_signed(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        truncate(&trail, "w_two", 8).await;
        let faults = trail.report().await.faults;
        assert_eq!((faults.len(), faults[0].writer_id.as_str(), faults[0].seq), (1, "w_two", 9));
        assert_eq!(faults[0].problem, "missing: no event follows, but checkpoint 2 signed the chain up to event 9");
    }

    async fn newest_events_that_went_with_head_and_checkpoints_are_found_by_the_copies_outside(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        let outside = trail.kept_outside().await;
        truncate(&trail, "w_two", 9).await;
        truncate(&trail, "w_one", 12).await;
        trail.db.script("DELETE FROM audit_checkpoint WHERE number = 3; DELETE FROM audit_segment WHERE checkpoint = 3").await;
        let report = trail.report().await;
        assert!(report.is_whole(), "from inside it is a shorter trail: {report:?}");

        let report = trail.report_with(&outside).await;
        assert_eq!(report.compared, 3);
        assert_eq!(report.checkpoint_faults.len(), 1);
        assert_eq!(report.checkpoint_faults[0].number, 3);
        assert!(report.checkpoint_faults[0].problem.starts_with("missing: "), "{report:?}");
        let faults: Vec<_> = report.faults.iter().map(|fault| (fault.writer_id.as_str(), fault.seq)).collect();
        assert_eq!(faults, [("w_two", 10)], "{report:?}");
        // The newest copy alone is enough.
        let newest = BTreeMap::from([(3, outside[&3].clone())]);
        let report = trail.report_with(&newest).await;
        assert_eq!((report.faults.len(), report.faults[0].seq), (1, 10), "{report:?}");
    }

    async fn a_chain_that_is_gone_whole_is_found(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        let outside = trail.kept_outside().await;
        trail.db.script("DELETE FROM audit_event WHERE writer_id = 'w_one'; DELETE FROM audit_chain WHERE writer_id = 'w_one'").await;
        let faults = trail.report().await.faults;
        assert_eq!((faults.len(), faults[0].writer_id.as_str(), faults[0].seq), (1, "w_one", 1));

        trail.db.script("DELETE FROM audit_checkpoint; DELETE FROM audit_segment").await;
        assert!(trail.report().await.is_whole());
        let report = trail.report_with(&outside).await;
        assert_eq!((report.faults.len(), report.faults[0].writer_id.as_str()), (1, "w_one"), "{report:?}");
    }

    async fn a_checkpoint_that_was_replaced_by_another_good_one_is_found_by_the_copy_outside(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        let outside = trail.kept_outside().await;
        // By whoever has the server and its key.
        trail.db.script("DELETE FROM audit_checkpoint WHERE number = 3; DELETE FROM audit_segment WHERE checkpoint = 3").await;
        recompute(&trail, "w_two", 12).await;
        trail.checkpoint(NOW + 40).await;
        assert!(trail.report().await.is_whole());
        let report = trail.report_with(&outside).await;
        assert_eq!(report.checkpoint_faults[0].problem, "changed: the copy that was kept outside is another one");
        let faults: Vec<_> = report.faults.iter().map(|fault| (fault.writer_id.as_str(), fault.seq)).collect();
        assert_eq!(faults, [("w_two", 15)], "{report:?}");
    }
}

/// Computes a chain anew from this place on, with other content and the head to match.
async fn recompute(trail: &Trail, writer: &str, from: i64) {
    let store = &trail.db.store;
    let events = store.read_chain(writer, from - 1, 1_000).await.unwrap();
    let mut prev_hash = events[0].prev_hash.clone();
    for StoredEvent { seq, body, .. } in events {
        let body = body.replace("corp|user", "corp|usex");
        let hash = ChainedEvent::hash(writer, seq, &prev_hash, &body);
        let sub =
            serde_json::from_str::<serde_json::Value>(&body).unwrap()["subject"]["sub"].as_str().unwrap().to_owned();
        trail
            .db
            .execute(&format!(
                "UPDATE audit_event SET body = {}, subject = {}, hash = '{hash}', prev_hash = '{prev_hash}'
                WHERE writer_id = '{writer}' AND seq = {seq}",
                quoted(&body),
                quoted(&sub)
            ))
            .await;
        trail.db.execute(&format!("UPDATE audit_chain SET hash = '{hash}' WHERE writer_id = '{writer}'")).await;
        prev_hash = hash;
    }
}

/// Removes the newest events of a chain and sets its head back to match.
async fn truncate(trail: &Trail, writer: &str, to: i64) {
    trail
        .db
        .script(&format!(
            "DELETE FROM audit_event WHERE writer_id = '{writer}' AND seq > {to};
            UPDATE audit_chain SET seq = {to}, hash = (SELECT hash FROM audit_event WHERE writer_id = '{writer}' AND seq = {to})
            WHERE writer_id = '{writer}'"
        ))
        .await;
}

#[tokio::test]
async fn what_is_not_of_the_type_of_its_column_is_a_fault_with_a_place() {
    let trail = Trail::furnished(Kind::Sqlite).await;
    for (column, value) in
        [("at_ms", "'x'"), ("body", "x'ff'"), ("jti", "x'ff'"), ("hash", "x'00'"), ("request_id", "7")]
    {
        trail.db.execute("CREATE TABLE kept AS SELECT * FROM audit_event").await;
        trail
            .db
            .execute(&format!("UPDATE audit_event SET {column} = {value} WHERE writer_id = 'w_one' AND seq = 5"))
            .await;
        let faults = trail.report().await.faults;
        assert_eq!(
            (faults.len(), faults[0].writer_id.as_str(), faults[0].seq),
            (1, "w_one", 5),
            "{column}: {faults:?}"
        );
        trail.db.script("DELETE FROM audit_event; INSERT INTO audit_event SELECT * FROM kept; DROP TABLE kept").await;
    }
}

/// SQLite keeps whatever it is given: a blob of the same bytes is found by no look-up, so the event would be hidden.
#[tokio::test]
async fn a_value_of_another_type_is_found_in_every_column() {
    let trail = Trail::furnished(Kind::Sqlite).await;
    let (tables, restore) = (Tables::of(&trail).await, keep(&trail).await);
    let event = tables.events.iter().find(|event| event.writer_id == "w_one" && event.seq == 5).unwrap();
    let of_event = which(event);
    let in_chain = || Place::Event(event.writer_id.clone(), event.seq);
    let mut changes: Vec<(String, String, Place)> = Vec::new();
    let texts = "prev_hash hash body request_id outcome reason subject client resource jti txn";
    for column in texts.split(' ') {
        changes.push((format!("audit_event SET {column}"), of_event.clone(), in_chain()));
    }
    for table in ["audit_event", "audit_chain"] {
        let place = if table == "audit_event" { of_event.as_str() } else { "writer_id = 'w_one'" };
        changes.push((format!("{table} SET writer_id"), place.to_owned(), Place::Chain(event.writer_id.clone())));
    }
    changes.push((
        "audit_chain SET hash".to_owned(),
        "writer_id = 'w_one'".to_owned(),
        Place::Chain("w_one".to_owned()),
    ));
    let segment = tables.segments.iter().find(|segment| segment.writer_id == "w_one").unwrap();
    let of_segment = format!("writer_id = 'w_one' AND last_seq = {}", segment.last_seq);
    for column in ["writer_id", "hash"] {
        let place = Place::Checkpoint(segment.checkpoint);
        changes.push((format!("audit_segment SET {column}"), of_segment.clone(), place));
    }
    changes.push(("audit_checkpoint SET jws".to_owned(), "number = 2".to_owned(), Place::Checkpoint(2)));
    let mut scripts: Vec<(String, Place)> = Vec::new();
    for (set, place, found_at) in changes {
        let column = set.rsplit(' ').next().unwrap();
        scripts.push((format!("UPDATE {set} = CAST({column} AS BLOB) WHERE {place}"), found_at));
    }
    // Neither a number nor a text.
    for (set, place, found_at) in [
        ("audit_event SET at_ms = 'x'", of_event.as_str(), in_chain()),
        ("audit_event SET body = CAST(x'7bff7d' AS TEXT)", &of_event, in_chain()),
        ("audit_event SET seq = 'x'", &of_event, in_chain()),
        ("audit_event SET writer_id = CAST(x'ff' AS TEXT)", &of_event, Place::Chain("\u{fffd}".to_owned())),
        ("audit_chain SET seq = 'x'", "writer_id = 'w_one'", Place::Chain("w_one".to_owned())),
        ("audit_chain SET hash = CAST(x'ff' AS TEXT)", "writer_id = 'w_one'", Place::Chain("w_one".to_owned())),
        ("audit_checkpoint SET made_at = 'x'", "number = 2", Place::Checkpoint(2)),
        ("audit_checkpoint SET number = 'x'", "number = 2", Place::Checkpoint(0)),
        ("audit_segment SET first_seq = 'x'", &of_segment, Place::Checkpoint(segment.checkpoint)),
        ("audit_segment SET last_seq = 'x'", &of_segment, Place::Checkpoint(segment.checkpoint)),
        ("audit_segment SET checkpoint = 'x'", &of_segment, Place::Checkpoint(0)),
    ] {
        scripts.push((format!("UPDATE {set} WHERE {place}"), found_at));
    }
    for (sql, place) in scripts {
        trail.db.script(&sql).await;
        let report = trail.report().await;
        assert!(!report.is_whole() && place.is_named_by(&report), "{sql}: {place:?} in {report:?}");
        trail.db.script(&restore).await;
    }
    assert!(trail.report().await.is_whole());
}
