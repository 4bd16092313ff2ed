//! What operators and auditors type.

use super::{Trail, writer};
use crate::database::{Kind, TestDatabase};
use procura::domain::event::{AuditEvent, EventKind, EventOutcome, EventSubject};
use serde_json::Value;
use std::fs;
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
    assert!(stdout.ends_with("kept outside: 1 checkpoint compared, the same\n"), "{stdout}");

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
    assert!(stderr.ends_with("procura: broken: 1 of 2 chains, 1 faults in 1 checkpoint\n"), "{stderr}");
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
    let (_db, directory) = desk().await;
    audit(&directory, &["audit", "checkpoint"]);
    let (status, stdout, _) = audit(&directory, &["audit", "prune", "--before", "1d", "--dry-run"]);
    assert_eq!(status, Some(0));
    assert!(stdout.starts_with("nothing to remove: no event was signed by a checkpoint from before "), "{stdout}");
    // The second in which the checkpoint was made has to be over.
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(1_100));
    tick.tick().await;
    tick.tick().await;
    let (_, stdout, _) = audit(&directory, &["audit", "prune", "--before", "0s", "--dry-run"]);
    assert!(stdout.starts_with("would go: 22 events of 2 chains, signed up to checkpoint 1\n"), "{stdout}");
    let (status, stdout, stderr) = audit(&directory, &["audit", "prune", "--before", "0s"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.starts_with("removed: 22 events of 2 chains, signed up to checkpoint 1\n"), "{stdout}");
    let (status, stdout, stderr) = audit(&directory, &["audit", "verify"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.starts_with("whole: 2 chains with 1 event\n"), "{stdout}");
    assert_eq!(stdout.matches("\npruned: chain ").count(), 2, "{stdout}");
    let (status, _, stderr) = audit(&directory, &["audit", "prune", "--before", "2999-01-01"]);
    assert!(status == Some(1) && stderr.contains("is in the future"), "{stderr}");
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
