//! The demo, as a newcomer runs it: the real program, from nothing to the end of the story.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The demo in an empty directory, with none of our own variables set.
fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_procura"));
    let ours: Vec<_> = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PROCURA_")).collect();
    for (name, _) in ours {
        command.env_remove(name);
    }
    command.arg("demo").args(arguments).stdin(Stdio::null());
    command
}

/// Words with single spaces between, so that it does not matter where a line was broken.
fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn told() -> Output {
    demo(&["--exit"]).output().unwrap()
}

#[test]
fn the_story_is_told_to_its_end() {
    let output = told();
    let text = words(&output.stdout);
    assert!(output.status.success(), "{}\n{}", words(&output.stderr), String::from_utf8_lossy(&output.stdout));
    for sentence in [
        "DEMO, NOT FOR PRODUCTION",
        "No consent, no token.",
        "ID token: Alice signed in",
        "Delegation token: Assistant acts for Alice",
        "Alice sees her 3 rows, not Bob's 4.",
        "A forged X-User-Id header changes nothing.",
        "Bob sees his 4 rows, not Alice's 3.",
        "Alice is a doctor. She may use the medical model.",
        "Bob may not use the medical model, because model.medical needs one of the roles [\"doctor\"]; the user has the roles [\"patient\"].",
        "records-backend acts, asked by assistant, for alice.",
        "Wrong audience: refused.",
        "Passed through: refused.",
        "Expired: refused.",
        "Stranger client: refused.",
        "$ procura who ",
        "whole: 2 chains with",
    ] {
        assert!(text.contains(sentence), "{sentence:?} is not told:\n{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn without_a_terminal_the_story_is_plain_text() {
    let output = told();
    assert!(!output.stdout.contains(&0x1b), "an escape sequence on stdout");
    assert_eq!(words(&output.stderr), "");
}

#[test]
fn a_token_is_never_printed_whole_in_the_story() {
    let text = String::from_utf8(told().stdout).unwrap();
    // Header, claims and signature of a JWT.
    let whole = |word: &str| word.starts_with("eyJ") && word.split('.').filter(|part| !part.is_empty()).count() == 3;
    assert!(!text.split(|c: char| c.is_whitespace() || c == '=').any(whole), "{text}");
    assert!(!text.contains("pcs_"), "a client secret is printed");
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    let output = demo(&["--exit", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.starts_with("procura: 0.0.0.0:0 is not a loopback address"), "{line}");
    assert_eq!(line.lines().count(), 1);
    assert!(output.stdout.is_empty());
}

#[test]
fn a_port_that_is_taken_is_said_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = demo(&["--exit", "--listen", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains(&address) && line.lines().count() == 1, "{line}");
}

#[test]
fn the_demo_stays_up_with_urls_to_try_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = demo(&[]).env("TMPDIR", temporary.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut text = String::new();
    for line in lines.by_ref() {
        let line = line.unwrap();
        text.push_str(&line);
        text.push('\n');
        if line.contains("Ctrl-C ends it") {
            break;
        }
    }
    let url = text.split_whitespace().find(|word| word.ends_with("/.well-known/oauth-authorization-server")).unwrap();
    assert!(get(url).contains("\"token_endpoint\""));
    assert!(text.contains("curl -s -u assistant:pcs_"), "{text}");

    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(asked.success());
    let (ended, status) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait()));
    let status = status.recv_timeout(Duration::from_secs(30)).expect("the demo ends").unwrap();
    assert!(status.success());
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

/// The answer to a GET, whole.
fn get(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
