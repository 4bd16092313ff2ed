//! What operators and auditors type.

use super::{Trail, writer};
use crate::database::{Kind, TestDatabase};
use procura::clock::Clock;
use procura::domain::event::{AuditEvent, ChainHead, ChainedEvent, EventKind, EventOutcome, EventSubject};
use procura::secrets::SecretsKey;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `procura audit` in this directory; exit status, stdout, stderr.
fn audit(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_procura"))
        .env_clear()
        .env("PROCURA_ISSUER", "http://127.0.0.1:8420")
        .current_dir(directory)
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A SQLite file in a directory, as the commands find it: a key, and a server's chain of 21 events.
async fn desk() -> (TestDatabase, PathBuf) {
    let db = TestDatabase::new(Kind::Sqlite).await;
    let directory = db.directory.path().to_owned();
    assert_eq!(audit(&directory, &["keys", "rotate"]).0, Some(0));
    let writer = writer(&db.store).await;
    for number in 0..20 {
        let mut event = AuditEvent::new(
            1_000 + number,
            format!("req_{number}"),
            EventKind::TokenExchange,
            EventOutcome::Granted,
            "granted",
        );
        event.subject = Some(EventSubject::named(["alice", "bob"][usize::try_from(number % 2).unwrap()]));
        writer.record(event, None).await.unwrap();
    }
    writer.close().await;
    db.store.close().await;
    (db, directory)
}

#[tokio::test]
async fn a_checkpoint_is_made_kept_outside_and_compared() {
    let (db, directory) = desk().await;
    let (status, stdout, stderr) = audit(&directory, &["audit", "checkpoint"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert_eq!(stdout, "1 checkpoint made; the newest is 1, and 22 events are signed\n");
    let (_, stdout, _) = audit(&directory, &["audit", "checkpoint"]);
    assert_eq!(stdout, "0 checkpoints made; the newest is 1, and 22 events are signed\n");
    let (_, kept, _) = audit(&directory, &["audit", "checkpoint", "--print-after", "0"]);
    assert_eq!(kept.lines().count(), 1);
    fs::write(directory.join("kept.jsonl"), format!("{kept}{{\"number\":2,\"ha\n")).unwrap();

    let (status, stdout, stderr) = audit(&directory, &["audit", "verify", "--checkpoints", "kept.jsonl"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stderr.starts_with("line 2 of the checkpoints kept outside cannot be read"), "{stderr}");
    assert!(
        stdout.starts_with("whole: 2 chains with 22 events\nsigned: 22 events by 1 checkpoint, the newest of "),
        "{stdout}"
    );
    assert!(stdout.ends_with("kept outside: 1 checkpoint compared, the same; the newest is number 1\n"), "{stdout}");

    db.script(
        "DELETE FROM audit_checkpoint; DELETE FROM audit_segment; DELETE FROM audit_event WHERE seq > 5;
        UPDATE audit_chain SET seq = 5, hash = (SELECT hash FROM audit_event WHERE seq = 5) WHERE seq > 5",
    )
    .await;
    assert_eq!(audit(&directory, &["audit", "verify"]).0, Some(0), "from inside alone it does not show");
    let (status, stdout, stderr) = audit(&directory, &["audit", "verify", "--checkpoints", "kept.jsonl"]);
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.contains("checkpoint 1: missing: ") && stderr.contains("event 6: missing: no event follows"),
        "{stderr}"
    );
    assert!(stderr.ends_with("procura: broken: 1 of 2 chains, 1 fault in 1 checkpoint\n"), "{stderr}");
}

#[tokio::test]
async fn a_command_signs_nothing_in_place_of_what_the_file_of_copies_says() {
    let (db, directory) = desk().await;
    assert_eq!(audit(&directory, &["audit", "checkpoint"]).0, Some(0));
    let (_, kept, _) = audit(&directory, &["audit", "checkpoint", "--print-after", "0"]);
    fs::write(directory.join("procura.toml"), "[audit]\ncheckpoint_file = \"kept.jsonl\"\n").unwrap();
    fs::write(directory.join("kept.jsonl"), kept).unwrap();
    assert_eq!(audit(&directory, &["audit", "checkpoint"]).0, Some(0), "it is still there");
    db.script("DELETE FROM audit_checkpoint; DELETE FROM audit_segment").await;
    let before = "checkpoint 1 was seen before and is not in the database";
    let cannot_read = "kept.jsonl: no line of it is a checkpoint";
    for (file, problem) in [(None, before), (Some("half a line"), cannot_read)] {
        if let Some(text) = file {
            fs::write(directory.join("kept.jsonl"), text).unwrap();
        }
        for arguments in [&["audit", "checkpoint"][..], &["audit", "export"]] {
            let (status, stdout, stderr) = audit(&directory, arguments);
            assert_eq!((status, stdout.as_str()), (Some(1), ""), "{arguments:?}");
            assert!(stderr.contains(problem), "{arguments:?}: {stderr}");
        }
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_not_made_by_looking_at_it() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &["audit", "verify"][..],
        &["audit", "list"],
        &["audit", "export"],
        &["audit", "checkpoint"],
        &["audit", "prune", "--before", "90d"],
        &["who", "dtk_1"],
        &["explain", "req_1"],
        &["keys", "list"],
        &["check", "--user", "a", "--client", "b"],
    ] {
        let (status, stdout, stderr) = audit(directory.path(), arguments);
        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{arguments:?}");
        assert_eq!(stderr, "procura: there is no database procura.db\n", "{arguments:?}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nor is a key");
}

#[tokio::test]
async fn a_trail_that_is_gone_is_not_whole() {
    let (db, directory) = desk().await;
    assert_eq!(audit(&directory, &["audit", "checkpoint"]).0, Some(0));
    db.script("DELETE FROM audit_checkpoint; DELETE FROM audit_segment").await;
    let (status, stdout, _) = audit(&directory, &["audit", "verify"]);
    assert_eq!(status, Some(0));
    assert!(stdout.contains("not compared: checkpoints kept outside"), "{stdout}");
    db.script("DELETE FROM audit_event; DELETE FROM audit_chain").await;
    let (status, stdout, stderr) = audit(&directory, &["audit", "verify"]);
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("chain admin event 1: missing: the database was changed"), "{stderr}");
    db.script("UPDATE version SET registry = 1, consents = 1, keys = 1").await;
    let (status, stdout, stderr) = audit(&directory, &["audit", "verify"]);
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert_eq!(stderr, "procura: there is no event in this database: nothing can be said of it\n");
}

#[tokio::test]
async fn copies_outside_are_those_of_the_configuration_and_an_old_one_says_that_it_is_old() {
    let (db, directory) = desk().await;
    assert_eq!(audit(&directory, &["audit", "checkpoint"]).0, Some(0));
    assert_eq!(audit(&directory, &["keys", "rotate"]).0, Some(0));
    assert_eq!(audit(&directory, &["audit", "checkpoint"]).0, Some(0));
    let (_, kept, _) = audit(&directory, &["audit", "checkpoint", "--print-after", "0"]);
    let (first, _) = kept.split_once('\n').unwrap();
    fs::write(directory.join("old.jsonl"), first).unwrap();
    let (status, stdout, _) = audit(&directory, &["audit", "verify", "--checkpoints", "old.jsonl"]);
    assert_eq!(status, Some(0));
    let old = "kept outside: 1 checkpoint compared, the same; the newest is number 1; whether events that came later were \
               removed together with their checkpoints, a newer copy alone would show\n";
    assert!(stdout.ends_with(old), "{stdout}");
    fs::write(directory.join("procura.toml"), "[audit]\ncheckpoint_file = \"kept.jsonl\"\n").unwrap();
    let (_, stdout, _) = audit(&directory, &["audit", "verify"]);
    assert!(stdout.contains("not compared: checkpoints kept outside"), "the file is elsewhere: {stdout}");
    fs::write(directory.join("kept.jsonl"), kept).unwrap();
    let (status, stdout, _) = audit(&directory, &["audit", "verify"]);
    assert_eq!(status, Some(0));
    assert!(stdout.ends_with("kept outside: 2 checkpoints compared, the same; the newest is number 2\n"), "{stdout}");
    db.script("DELETE FROM audit_checkpoint WHERE number = 2; DELETE FROM audit_segment WHERE checkpoint = 2").await;
    let (status, _, stderr) = audit(&directory, &["audit", "verify"]);
    assert_eq!(status, Some(1));
    assert!(stderr.contains("checkpoint 2: missing"), "{stderr}");
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_as_none_for_who_only_looks() {
    let (_db, directory) = desk().await;
    assert_eq!(audit(&directory, &["audit", "checkpoint"]).0, Some(0));
    fs::set_permissions(directory.join("procura.db.secrets_key"), fs::Permissions::from_mode(0o644)).unwrap();
    let (status, stdout, stderr) = audit(&directory, &["audit", "verify"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(
        stderr.starts_with("the secrets_key is not at hand: procura.db.secrets_key: others may use it"),
        "{stderr}"
    );
    assert!(stdout.contains("not vouched for: the keys of the signatures"), "{stdout}");
}

#[tokio::test]
async fn a_trail_is_checked_without_changing_a_byte_of_it_also_where_nothing_may_be_written() {
    let (_db, directory) = desk().await;
    let copy = tempfile::tempdir().unwrap();
    let place = copy.path().join("procura.db");
    fs::copy(directory.join("procura.db"), &place).unwrap();
    let before = fs::read(&place).unwrap();
    for mode in [0o755, 0o555] {
        fs::set_permissions(&place, fs::Permissions::from_mode(0o444)).unwrap();
        fs::set_permissions(copy.path(), fs::Permissions::from_mode(mode)).unwrap();
        let (status, stdout, stderr) = audit(copy.path(), &["audit", "verify"]);
        assert_eq!(status, Some(0), "{stderr}");
        assert!(stdout.starts_with("whole: 2 chains with 22 events\n"), "{stdout}");
        assert_eq!(audit(copy.path(), &["audit", "list"]).0, Some(0));
    }
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fs::read(&place).unwrap(), before);
}

#[tokio::test]
async fn an_auditor_on_postgresql_needs_a_role_that_reads_and_no_key() {
    let trail = Trail::furnished(Kind::Postgres).await;
    let (role, reader) = trail.db.reader().await;
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| audit(directory.path(), &[&["--database-url", reader.as_str()], arguments].concat());
    let (status, stdout, stderr) = run(&["audit", "verify"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.contains("not vouched for: the keys of the signatures"), "{stdout}");
    let keys: Vec<Value> =
        trail.records.iter().map(|record| serde_json::from_str(&record.public_jwk).unwrap()).collect();
    fs::write(directory.path().join("jwks.json"), serde_json::json!({"keys": keys}).to_string()).unwrap();
    let (status, stdout, stderr) = run(&["audit", "verify", "--jwks", "jwks.json"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(!stdout.contains("not vouched for"), "{stdout}");
    assert_eq!(run(&["audit", "list"]).0, Some(0));
    for (arguments, none) in [
        (["explain", "req_none"], "no event has the request id \"req_none\""),
        (["who", "dtk_none"], "no event says that a token with the jti \"dtk_none\" was issued here"),
    ] {
        let (status, _, stderr) = run(&arguments);
        assert!(status == Some(1) && stderr.contains(none), "{stderr}");
    }
    let jti = procura::secrets::ordered_id("dtk", 1_000);
    let mut head = ChainHead::empty("w_more");
    let mut event = super::event(1, 1_000);
    event.jti = Some(jti.clone());
    trail.db.store.append_events(&[ChainedEvent::append(&mut head, event)], &[]).await.unwrap();
    let (status, stdout, stderr) = run(&["who", &jti]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.contains(&jti), "{stdout}");
    let (status, _, stderr) = run(&["audit", "checkpoint"]);
    assert_eq!(status, Some(1));
    assert!(stderr.contains("secrets_key` is required with PostgreSQL"), "what signs needs the key: {stderr}");
    trail.db.script(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn without_the_secrets_key_nobody_vouches_and_a_pinned_key_does() {
    let (db, directory) = desk().await;
    audit(&directory, &["audit", "checkpoint"]);
    let (_, keys, _) = audit(&directory, &["--json", "keys", "list"]);
    let kid = serde_json::from_str::<Value>(&keys).unwrap()[0]["kid"].as_str().unwrap().to_owned();
    let (_, stdout, _) = audit(&directory, &["audit", "verify"]);
    assert!(!stdout.contains("not vouched for"), "{stdout}");
    assert!(stdout.contains("not compared: checkpoints kept outside"), "{stdout}");

    // Whether there is a key is not the database's word.
    db.script("DELETE FROM secrets_key").await;
    let (status, stdout, stderr) = audit(&directory, &["audit", "verify"]);
    assert!(status == Some(0) && !stdout.contains("not vouched for"), "{stdout}{stderr}");
    db.script("UPDATE signing_key SET sealed_private_jwk = 'of somebody else'").await;
    let (status, _, stderr) = audit(&directory, &["audit", "verify"]);
    assert!(status == Some(1) && stderr.contains("checkpoint 1: "), "{stderr}");

    fs::rename(directory.join("procura.db.secrets_key"), directory.join("away")).unwrap();
    let (status, stdout, stderr) = audit(&directory, &["audit", "verify"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(
        stdout.contains(&format!("not vouched for: the keys of the signatures ({kid}) are just those")),
        "{stdout}"
    );
    let (status, stdout, _) = audit(&directory, &["audit", "verify", "--key", &kid]);
    assert!(status == Some(0) && !stdout.contains("not vouched for"), "{stdout}");
    // A thumbprint may begin with a hyphen, and is no option then.
    for another in ["another", "-another"] {
        let (status, _, stderr) = audit(&directory, &["audit", "verify", "--key", another]);
        assert_eq!(status, Some(1), "{stderr}");
        assert!(stderr.contains("signed by keys that are none of those to be believed"), "{stderr}");
    }
}

#[tokio::test]
async fn an_export_is_checked_without_the_database_and_says_what_it_proves() {
    let (db, directory) = desk().await;
    let (status, file, stderr) = audit(&directory, &["audit", "export", "--user", "alice"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stderr.starts_with("10 events, proven by 1 checkpoint; "), "{stderr}");
    fs::write(directory.join("alice.jsonl"), &file).unwrap();
    let (_, keys, _) = audit(&directory, &["--json", "keys", "list"]);
    let kid = serde_json::from_str::<Value>(&keys).unwrap()[0]["kid"].as_str().unwrap().to_owned();
    drop(db);

    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("alice.jsonl"), &file).unwrap();
    let verify =
        |arguments: &[&str]| audit(elsewhere.path(), &[&["audit", "verify", "alice.jsonl"], arguments].concat());
    let (status, stdout, stderr) = verify(&[]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(
        stdout.starts_with("whole: 10 events, 1 checkpoint of http://127.0.0.1:8420\nproven: each event stood"),
        "{stdout}"
    );
    assert!(
        stdout.contains("not proven: that these are all there were of what was asked for (user = \"alice\")"),
        "{stdout}"
    );
    assert!(stdout.contains(&format!("not proven: whose keys these are ({kid})")), "{stdout}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1, "no database was made");

    let (status, stdout, _) = verify(&["--key", &kid]);
    assert!(
        status == Some(0) && stdout.contains(&format!("keys: {kid}; all are among those to be believed")),
        "{stdout}"
    );
    let (status, _, stderr) = verify(&["--key", "another"]);
    assert!(status == Some(1) && stderr.contains("signed by keys that are none of those"), "{stderr}");
    let header: Value = serde_json::from_str(file.lines().next().unwrap()).unwrap();
    fs::write(elsewhere.path().join("jwks.json"), header["jwks"].to_string()).unwrap();
    assert_eq!(verify(&["--jwks", "jwks.json"]).0, Some(0));
    let (_, stdout, _) = verify(&["--json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["events"], &report["keys"][&kid]), (&10.into(), &false.into()));

    fs::write(elsewhere.path().join("alice.jsonl"), file.replacen("\\\"alice\\\"", "\\\"alicf\\\"", 1)).unwrap();
    let (status, stdout, stderr) = verify(&[]);
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(stderr.starts_with("procura: alice.jsonl: line 3: changed: the event's hash is "), "{stderr}");
    let cut: String = file.split_inclusive('\n').take(5).collect();
    fs::write(elsewhere.path().join("alice.jsonl"), cut).unwrap();
    assert!(verify(&[]).2.contains("the file was cut short"));
}

#[tokio::test]
async fn old_events_are_removed_by_command_after_a_dry_run() {
    const DAY: i64 = 86_400;
    let long_ago = Clock::System.now() - 3 * DAY;
    let mut trail =
        Trail { db: TestDatabase::new(Kind::Sqlite).await, key: SecretsKey::generate(), records: Vec::new() };
    trail.rotate(long_ago).await;
    let mut head = ChainHead::empty("w_old");
    let old = |number: usize| super::event(number, (long_ago - 60) * 1000);
    let chained: Vec<_> = (0..20).map(|number| ChainedEvent::append(&mut head, old(number))).collect();
    trail.db.store.append_events(&chained, &[]).await.unwrap();
    trail.checkpoint(long_ago + 10).await;
    let directory = trail.db.directory.path().to_owned();
    let key_file = directory.join("procura.db.secrets_key");
    fs::write(&key_file, secrecy::ExposeSecret::expose_secret(&trail.key.to_base64())).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();

    let (status, stdout, _) = audit(&directory, &["audit", "prune", "--before", "4d", "--dry-run"]);
    assert_eq!(status, Some(0));
    assert!(stdout.starts_with("nothing to remove: no event was signed by a checkpoint from before "), "{stdout}");
    for before in ["0s", "23h"] {
        let (status, _, stderr) = audit(&directory, &["audit", "prune", "--before", before]);
        assert!(status == Some(1) && stderr.contains("events of the last day are not removed"), "{stderr}");
    }
    let (_, stdout, _) = audit(&directory, &["audit", "prune", "--before", "2d", "--dry-run"]);
    assert!(stdout.starts_with("would go: 21 events of 2 chains, signed up to checkpoint 1\n"), "{stdout}");
    let (status, stdout, stderr) = audit(&directory, &["audit", "prune", "--before", "2d"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.starts_with("removed: 21 events of 2 chains, signed up to checkpoint 1\n"), "{stdout}");
    let (status, stdout, stderr) = audit(&directory, &["audit", "verify"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.starts_with("whole: 2 chains with 1 event\n"), "{stdout}");
    assert_eq!(stdout.matches("\npruned: chain ").count(), 2, "{stdout}");
    let (status, _, stderr) = audit(&directory, &["who", "dtk_1"]);
    assert!(status == Some(1) && stderr.contains("old events were removed by age"), "{stderr}");
    let (status, _, stderr) = audit(&directory, &["audit", "prune", "--before", "2999-01-01"]);
    assert!(status == Some(1) && stderr.contains("is in the future"), "{stderr}");
}

#[tokio::test]
async fn who_finds_an_event_that_an_index_hides_and_says_so() {
    let (db, directory) = desk().await;
    let jti = procura::secrets::ordered_id("dtk", 1_000);
    let writer = writer(&db.another_store().await).await;
    let mut event =
        AuditEvent::new(1_000, "req_x".to_owned(), EventKind::TokenExchange, EventOutcome::Granted, "granted");
    event.jti = Some(jti.clone());
    writer.record(event, None).await.unwrap();
    writer.close().await;
    assert_eq!(audit(&directory, &["who", &jti]).0, Some(0));
    db.script(&format!(
        "DROP INDEX audit_event_at; CREATE INDEX audit_event_at ON audit_event (at_ms) WHERE jti IS NOT '{jti}';
        PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET sql = 'CREATE INDEX audit_event_at ON audit_event (at_ms)' WHERE name = 'audit_event_at'"
    ))
    .await;
    let (status, stdout, stderr) = audit(&directory, &["who", &jti]);
    assert!(stdout.contains(&jti), "{stdout}");
    assert!(status == Some(1) && stderr.contains("no index of the database finds this event"), "{stderr}");
}

#[tokio::test]
async fn commands_that_sign_say_that_there_is_no_key() {
    let db = TestDatabase::new(Kind::Sqlite).await;
    for command in [&["audit", "checkpoint"][..], &["audit", "export"], &["audit", "prune", "--before", "1d"]] {
        let (status, _, stderr) = audit(db.directory.path(), command);
        assert_eq!(status, Some(1), "{command:?}");
        assert!(stderr.contains("there is no ES256 key that signs now"), "{stderr}");
    }
    assert!(Trail::new(Kind::Sqlite).await.report().await.is_whole());
}
