//! What servers do by themselves: checkpoints when they are due, by one of them, and copies outside.

use super::Trail;
use crate::database::{Kind, TestDatabase};
use crate::node::Node;
use crate::server::TestServer;
use procura::app::App;
use procura::audit::signed::kept_outside;
use procura::secrets::SecretsKey;
use procura::tokens::checkpoint::EvidenceKeys;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const AT_MOST: Duration = Duration::from_secs(30);

/// Takes what is posted; at first it refuses.
fn receiver() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/checkpoints", listener.local_addr().unwrap());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let taking = Arc::clone(&taken);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(stream) = stream else { continue };
            let mut reader = BufReader::new(&stream);
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            let status = if number == 0 { "503 Later" } else { "204 Taken" };
            if number > 0 {
                taking.lock().unwrap().push(String::from_utf8(body).unwrap());
            }
            let _ = (&stream)
                .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
        }
    });
    (url, taken)
}

#[tokio::test]
async fn a_server_removes_what_was_kept_long_enough_a_days_worth_at_a_time() {
    const DAY: Duration = Duration::from_hours(24);
    let server = TestServer::configured(Kind::Sqlite, &[("PROCURA_AUDIT__KEEP_DAYS", "30")]).await;
    let app = &server.app;
    let count = async || app.store.count_events_up_to(app.audit.writer_id(), i64::MAX).await.unwrap();
    assert_eq!(app.make_checkpoints().await.unwrap().checkpoints.len(), 1);
    server.clock.advance(DAY);
    server.token(&[("grant_type", "client_credentials")], Some(("nobody", "a wrong secret"))).await;
    app.make_checkpoints().await.unwrap();
    let before = count().await;
    assert!(before > 1, "the start of the chain, and a refused request");
    server.clock.advance(DAY * 29 + DAY / 2);
    assert_eq!(app.remove_old_events().await.unwrap(), 0, "not a day's worth yet");
    server.clock.advance(DAY);
    let removed = app.remove_old_events().await.unwrap();
    assert!(removed >= 1, "{removed}");
    assert!(count().await < before);
    assert_eq!(app.remove_old_events().await.unwrap(), 0);
    let keys = EvidenceKeys::of_records(&app.store.list_signing_keys().await.unwrap(), Some(&app.secrets_key));
    let report = procura::audit::verify::verify(&app.store, &keys, &BTreeMap::new()).await.unwrap();
    assert!(report.is_whole() && !report.pruned.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_server_that_starts_again_signs_nothing_in_place_of_what_the_file_of_copies_says() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kept.jsonl");
    let settings = [("PROCURA_AUDIT__CHECKPOINT_FILE", file.to_str().unwrap())];
    let server = TestServer::configured(Kind::Sqlite, &settings).await;
    let started_again = async || {
        let App { config, clock, secrets_key, .. } = server.app.as_ref();
        App::start(config.clone(), clock.clone(), server.database.store.clone(), secrets_key.clone()).await.unwrap()
    };
    // What cannot be read may say anything.
    fs::create_dir(&file).unwrap();
    let refused = server.app.make_checkpoints().await.unwrap_err().to_string();
    assert!(refused.contains("kept.jsonl") && refused.contains("nothing is signed without it"), "{refused}");
    fs::remove_dir(&file).unwrap();
    fs::write(&file, "no checkpoint\n").unwrap();
    let refused = server.app.make_checkpoints().await.unwrap_err().to_string();
    assert!(refused.contains("no line of it is a checkpoint"), "{refused}");
    fs::remove_file(&file).unwrap();
    let made = server.app.make_checkpoints().await.unwrap().checkpoints;
    let records = server.app.store.list_signing_keys().await.unwrap();
    let keys = EvidenceKeys::of_records(&records, Some(&server.app.secrets_key));
    fs::write(&file, procura::app::outside_line(&made[0], &keys).unwrap() + "\n").unwrap();

    let later = started_again().await;
    assert_eq!(later.make_checkpoints().await.unwrap().checkpoints.len(), 1, "what it says is still there");
    server.database.script("DELETE FROM audit_checkpoint; DELETE FROM audit_segment").await;
    let later = started_again().await;
    let refused = later.make_checkpoints().await.unwrap_err().to_string();
    assert!(refused.starts_with("checkpoint 1 was seen before and is not in the database"), "{refused}");
    assert!(server.app.store.newest_checkpoint().await.unwrap().is_none(), "nothing was signed");
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    while !is_so().await {
        assert!(started.elapsed() < AT_MOST, "{what}: not within {AT_MOST:?}");
        tick.tick().await;
    }
}

#[tokio::test]
async fn two_servers_make_each_checkpoint_once_and_each_writes_all_of_them_outside() {
    crate::issuer::install_tls();
    // The servers make the key.
    let db = TestDatabase::new(Kind::Postgres).await;
    let mut trail = Trail { db, key: SecretsKey::generate(), records: Vec::new() };
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<_> = ["one", "two"].map(|name| directory.path().join(name)).into();
    let (url, taken) = receiver();
    let start = |file: &std::path::Path| {
        let variables = [
            ("PROCURA_AUDIT__CHECKPOINT_SECONDS", "1"),
            ("PROCURA_AUDIT__CHECKPOINT_FILE", file.to_str().unwrap()),
            ("PROCURA_AUDIT__CHECKPOINT_URL", url.as_str()),
        ];
        Node::start(&trail.db.url, &trail.key, &variables)
    };
    let nodes = [start(&files[0]), start(&files[1])];
    let store = &trail.db.store;
    let newest = async || store.newest_checkpoint().await.unwrap().map_or(0, |stored| stored.number);
    for number in 1..=3 {
        let before = newest().await;
        trail.events("w_other", number..number + 1).await;
        until("a checkpoint", async || newest().await > before).await;
    }
    let last = newest().await;
    let in_file = |file: &std::path::Path| {
        fs::read_to_string(file).ok().and_then(|text| kept_outside(&text).ok()).map_or(0, |kept| kept.checkpoints.len())
    };
    let want = usize::try_from(last).unwrap();
    until("the files", async || files.iter().all(|file| in_file(file) == want)).await;
    until("the URL", async || {
        taken.lock().unwrap().iter().any(|line| line.contains(&format!(r#"{{"number":{last},"#)))
    })
    .await;

    let metrics = nodes[0].admin.get("/metrics").await.text;
    assert!(metrics.contains(r#"procura_audit_checkpoint_copies_total{to="file",result="ok"}"#), "{metrics}");
    trail.records = store.list_signing_keys().await.unwrap();
    let kept = kept_outside(&fs::read_to_string(&files[0]).unwrap()).unwrap();
    let report = trail.report_with(&kept.checkpoints).await;
    assert!(report.is_whole() && report.compared == u64::try_from(last).unwrap(), "{report:?}");
    // The keys that were kept with them are enough.
    let keys = EvidenceKeys::of_jwks(&serde_json::json!({"keys": kept.keys})).unwrap();
    let report = procura::audit::verify::verify(store, &keys, &BTreeMap::new()).await.unwrap();
    assert!(report.is_whole(), "{report:?}");
    for node in nodes {
        let said = node.end();
        assert!(!said.contains("no checkpoint of the audit trail could be made"), "{said}");
    }
}
