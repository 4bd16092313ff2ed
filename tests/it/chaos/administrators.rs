//! Administrators who change secrets, consents and keys while the server is killed, and whose commands are killed too.

use super::deployment::Deployment;
use super::dice::Dice;
use super::evidence;
use procura::domain::event::EventKind;
use procura::secrets::verify_client_secret;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The JWKS is read by clients, some of which take no more than a hundred keys.
const KEY_ROTATIONS: usize = 30;
/// A command is done by then, mostly.
const COMMAND_TAKES: Duration = Duration::from_millis(150);

/// A thread that runs one command after the other.
pub(super) struct Administrators {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Changes>,
}

/// What was tried, and whether the command said that it was done.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// In order: the secret, if the command told it.
    secrets: Vec<Option<String>>,
    consents: Vec<GrantedConsent>,
    kids: Vec<String>,
    key_rotations: usize,
    pub(super) done: usize,
    pub(super) killed: usize,
    /// What commands said that failed and were not killed.
    pub(super) failures: Vec<String>,
}

#[derive(Debug)]
struct GrantedConsent {
    id: String,
    revocation: Revocation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Revocation {
    None,
    Tried,
    Done,
}

impl Administrators {
    pub(super) fn start(deployment: &Arc<Deployment>, mut dice: Dice) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, deployment) = (Arc::clone(&is_over), Arc::clone(deployment));
        let thread = std::thread::spawn(move || {
            let mut changes = Changes::default();
            while !over.load(Ordering::SeqCst) {
                changes.change_something(&deployment, &mut dice);
            }
            changes
        });
        Self { is_over, thread }
    }

    /// Lets the last command end; returns what they did.
    pub(super) fn stop(self) -> Changes {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

impl Changes {
    fn change_something(&mut self, deployment: &Deployment, dice: &mut Dice) {
        match dice.below(8) {
            0 | 1 => {
                let told = self.run(deployment, dice, &["client", "rotate-secret", "planner"]);
                self.secrets.push(told.map(|told| told["client_secret"].as_str().unwrap().to_owned()));
            }
            2 if self.key_rotations < KEY_ROTATIONS => {
                self.key_rotations += 1;
                let told = self.run(deployment, dice, &["keys", "rotate"]);
                let made = told.iter().flat_map(|told| told.as_array().unwrap());
                self.kids.extend(made.map(|key| key["kid"].as_str().unwrap().to_owned()));
            }
            3 | 4 => self.revoke(deployment, dice),
            _ => {
                // Each of another user: a second consent of the same one would replace the first.
                let user = format!("corp|consenting-{}", dice.below(u64::MAX));
                let grant = ["consent", "grant", "--user", &user, "--client", "planner", "--resource", "records"];
                if let Some(told) = self.run(deployment, dice, &[&grant[..], &["--scope", "records.read"]].concat()) {
                    let id = told["id"].as_str().unwrap().to_owned();
                    self.consents.push(GrantedConsent { id, revocation: Revocation::None });
                }
            }
        }
    }

    fn revoke(&mut self, deployment: &Deployment, dice: &mut Dice) {
        let Some(at) = self.consents.iter().position(|consent| consent.revocation == Revocation::None) else {
            return;
        };
        let id = self.consents[at].id.clone();
        let told = self.run(deployment, dice, &["consent", "revoke", &id]);
        self.consents[at].revocation = if told.is_some() { Revocation::Done } else { Revocation::Tried };
    }

    /// What the command told, if it succeeded. One of four is killed on the way.
    fn run(&mut self, deployment: &Deployment, dice: &mut Dice, arguments: &[&str]) -> Option<Value> {
        let mut child = deployment.spawn(&[arguments, &["--json"]].concat());
        let is_killed = dice.below(4) == 0;
        if is_killed {
            std::thread::sleep(dice.up_to(COMMAND_TAKES));
            child.kill().unwrap();
            self.killed += 1;
        }
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            self.done += 1;
            return Some(serde_json::from_slice(&output.stdout).unwrap());
        }
        if !is_killed {
            self.failures.push(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
        }
        None
    }

    /// Every change that a command said was done is there, with its event; no change is there by half.
    pub(super) async fn assert_kept(&self, deployment: &Deployment) {
        let listed = deployment.json(&["consent", "list", "--client", "planner", "--all"]);
        let listed = listed.as_array().unwrap().iter();
        let live: HashMap<&str, bool> =
            listed.map(|consent| (consent["id"].as_str().unwrap(), consent["live"].as_bool().unwrap())).collect();
        for GrantedConsent { id, revocation } in &self.consents {
            let is_live = live.get(id.as_str()).unwrap_or_else(|| panic!("consent {id} was granted and is gone"));
            match revocation {
                Revocation::None => assert!(is_live, "consent {id} was not revoked"),
                Revocation::Done => assert!(!is_live, "consent {id} was revoked and is live"),
                Revocation::Tried => {}
            }
        }

        let store = deployment.store().await;
        let mut secrets = store.load_registry().await.unwrap().0.secrets;
        let mut keys = store.list_signing_keys().await.unwrap();
        store.close().await;
        secrets.retain(|secret| secret.client.as_str() == "planner");
        assert!(secrets.len() <= 2, "two secrets are live at most");
        // A killed command may have stored a secret that nobody was told; two of them push the last one out.
        let untold = self.secrets.iter().rev().take_while(|secret| secret.is_none()).count();
        if let Some(last) = self.secrets.iter().rev().flatten().next().filter(|_| untold < 2) {
            let works = secrets.iter().any(|secret| verify_client_secret(&secret.hash, last));
            assert!(works, "the last secret that was told does not work");
        }

        keys.sort_by_key(|key| key.generation);
        let generations: Vec<i64> = keys.iter().map(|key| key.generation).collect();
        let expected: Vec<i64> = (1..).take(keys.len()).collect();
        assert_eq!(generations, expected, "one key a generation, none left out");
        for kid in &self.kids {
            assert!(keys.iter().any(|key| key.kid == *kid), "key {kid} was made and is gone");
        }

        let events = evidence::events(deployment, "done").await;
        let recorded = events.iter().filter(|event| event.kind == EventKind::Administration).count();
        assert!(recorded >= self.done, "{} changes were done, {recorded} have an event", self.done);
        let of_keys = events.iter().filter(|event| event.reason.starts_with("signing_key")).count();
        assert_eq!(of_keys, keys.len(), "each key has its event");
    }
}
