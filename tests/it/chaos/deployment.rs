//! A deployment as an operator has it: a database, a configuration, and the real program as processes of its own.

use super::pause;
use crate::database::Kind;
use procura::secrets::SecretsKey;
use procura::store::Store;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Its issuer. Nobody connects there: the server listens on any free port.
pub(super) const ISSUER: &str = "https://auth.example.com";
/// The backend that tokens are for.
pub(super) const AUDIENCE: &str = "https://records.example.com/api";

/// How long a start may take before it counts as failed.
const START_AT_MOST: Duration = Duration::from_secs(30);

/// A database and how to run the program on it.
pub(super) struct Deployment {
    pub(super) kind: Kind,
    pub(super) url: String,
    pub(super) directory: TempDir,
    secrets_key: String,
}

impl Deployment {
    /// On a new database with nothing in it.
    pub(super) async fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::of_file(tempfile::tempdir().unwrap()),
            Kind::Postgres => Self::on(crate::postgres::database().await),
        }
    }

    /// On a new SQLite file in this directory.
    pub(super) fn of_file(directory: TempDir) -> Self {
        let url = format!("sqlite://{}", directory.path().join("procura.db").display());
        Self::of(Kind::Sqlite, url, directory)
    }

    /// On this PostgreSQL database.
    pub(super) fn on(url: String) -> Self {
        Self::of(Kind::Postgres, url, tempfile::tempdir().unwrap())
    }

    fn of(kind: Kind, url: String, directory: TempDir) -> Self {
        let secrets_key = SecretsKey::generate().to_base64().expose_secret().to_owned();
        Self { kind, url, directory, secrets_key }
    }

    /// Applies the registry; returns the secret of the client `assistant`.
    pub(super) fn furnish(&self, issuer: &str) -> String {
        self.ok(&["migrate"]);
        let registry = include_str!("registry.toml").replace("{issuer}", issuer);
        std::fs::write(self.directory.path().join("registry.toml"), registry).unwrap();
        self.ok(&["apply", "registry.toml"]);
        self.json(&["client", "rotate-secret", "assistant"])["client_secret"].as_str().unwrap().to_owned()
    }

    /// The program with its configuration. On SQLite the server makes its own secrets key.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROCURA_")) {
            command.env_remove(name);
        }
        if self.kind == Kind::Postgres {
            command.env("PROCURA_SECRETS_KEY", &self.secrets_key);
        }
        command.envs([
            ("PROCURA_ISSUER", ISSUER),
            ("PROCURA_DATABASE_URL", &self.url),
            ("PROCURA_LISTEN", "127.0.0.1:0"),
            ("PROCURA_ADMIN_LISTEN", "127.0.0.1:0"),
            ("PROCURA_LOG__FORMAT", "json"),
            ("PROCURA_LOG__FILTER", "warn,procura::cli::serve=info,procura::audit=debug"),
            // A new key signs at once, so that every life of the server signs with another.
            ("PROCURA_KEYS__PUBLISH_BEFORE_USE_SECONDS", "0"),
            ("PROCURA_LIMITS__USER_EXCHANGES_PER_MINUTE", "0"),
            ("PROCURA_LIMITS__GRANT_EXCHANGES_PER_MINUTE", "0"),
        ]);
        command
    }

    /// Starts a command.
    pub(super) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(PROCURA).args(arguments).spawn().unwrap()
    }

    /// How a command ends.
    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        self.spawn(arguments).wait_with_output().unwrap()
    }

    /// What a command prints that succeeds.
    pub(super) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Connections of the test's own.
    pub(super) async fn store(&self) -> Store {
        Store::connect(&self.url).await.unwrap()
    }

    /// Starts the server, and does not wait.
    pub(super) fn launch(&self) -> Launch {
        Launch::of(self.command(PROCURA).arg("serve"))
    }

    /// Starts the server such that a file that may not grow any more is an error and not its death.
    pub(super) fn launch_without_size_signal(&self) -> Launch {
        Launch::of(self.command("sh").args(["-c", "trap '' XFSZ; exec \"$0\" serve", PROCURA]))
    }

    /// Starts the server with more in its environment.
    pub(super) fn launch_with(&self, environment: &[(&str, &PathBuf)]) -> Launch {
        Launch::of(self.command(PROCURA).arg("serve").envs(environment.iter().copied()))
    }

    /// Starts the server, and waits until it is ready.
    pub(super) async fn serve(&self) -> Server {
        self.launch().ready().await
    }
}

const PROCURA: &str = env!("CARGO_BIN_EXE_procura");

/// A server that may not have begun to serve.
pub(super) struct Launch {
    child: Child,
    begun_at: Instant,
    address: mpsc::Receiver<SocketAddr>,
    log: Arc<Mutex<String>>,
}

impl Launch {
    fn of(command: &mut Command) -> Self {
        let begun_at = Instant::now();
        let mut child = command.spawn().unwrap();
        let (found, address) = mpsc::channel();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Ok(entry) = serde_json::from_str::<Value>(&line)
                    && entry["message"] == "serving"
                {
                    let _ = found.send(entry["listen"].as_str().unwrap().parse().unwrap());
                }
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        Self { child, begun_at, address, log }
    }

    /// Waits until `/readyz` says yes.
    pub(super) async fn ready(self) -> Server {
        let left = START_AT_MOST.saturating_sub(self.begun_at.elapsed());
        let Ok(address) = self.address.recv_timeout(left) else {
            panic!("the server does not serve: {}", self.log.lock().unwrap());
        };
        let mut server = Server { child: self.child, address, log: self.log, ready_after: Duration::ZERO };
        let readiness = server.until_ready(START_AT_MOST).await;
        server.ready_after = self.begun_at.elapsed();
        readiness.unwrap_or_else(|last| panic!("the server does not get ready: {last:?} {}", server.log()));
        server
    }

    /// SIGKILL. Returns once the process is gone.
    pub(super) fn kill(mut self) {
        end(&mut self.child);
    }
}

/// A server that serves. It is killed when it is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    log: Arc<Mutex<String>>,
    /// From its start to the first `ready`.
    pub(super) ready_after: Duration,
}

/// An answer of `/readyz`.
#[derive(Debug)]
pub(super) struct Readiness {
    pub(super) status: u16,
    pub(super) problems: Vec<String>,
    pub(super) took: Duration,
}

impl Server {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines that it wrote.
    pub(super) fn log(&self) -> String {
        let log = self.log.lock().unwrap();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// GETs a document.
    pub(super) async fn get(&self, path: &str) -> String {
        http_client().get(format!("http://{}{path}", self.address)).send().await.unwrap().text().await.unwrap()
    }

    /// Asks `/readyz`.
    pub(super) async fn readiness(&self) -> Readiness {
        let asked_at = Instant::now();
        let response = http_client().get(format!("http://{}/readyz", self.address)).send().await.unwrap();
        let status = response.status().as_u16();
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        let problems = body["problems"].as_array().into_iter().flatten();
        let problems = problems.map(|problem| problem.as_str().unwrap().to_owned()).collect();
        Readiness { status, problems, took: asked_at.elapsed() }
    }

    /// Asks until it is ready; returns how long that took, or the last answer.
    pub(super) async fn until_ready(&self, at_most: Duration) -> Result<Duration, Readiness> {
        self.until(at_most, |readiness| readiness.status == 200).await
    }

    /// Asks `/readyz` until the answer is as wanted; returns how long that took, or the last answer.
    pub(super) async fn until(
        &self,
        at_most: Duration,
        wanted: impl Fn(&Readiness) -> bool,
    ) -> Result<Duration, Readiness> {
        let started = Instant::now();
        loop {
            let readiness = self.readiness().await;
            if wanted(&readiness) {
                return Ok(started.elapsed());
            }
            if started.elapsed() > at_most {
                return Err(readiness);
            }
            pause(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL. Returns once the process is gone.
    pub(super) fn kill(mut self) {
        end(&mut self.child);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A client that keeps its connections, and gives up later than the server must.
pub(super) fn http_client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap()
}
