//! The real program as a server: one process on ports of its own, with everything that it says.

use crate::listener::{self, Marked};
use crate::server::{Answer, basic_header};
use procura::secrets::SecretsKey;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// A debug build on a busy machine takes its time.
const STARTS_WITHIN: Duration = Duration::from_mins(1);

/// A running server. It is killed when this is dropped.
pub(crate) struct Node {
    child: Child,
    said: Option<[JoinHandle<String>; 2]>,
    pub(crate) public: Door,
    pub(crate) admin: Door,
}

/// Where a server is reached. Each request has a connection of its own, as servers come and go.
#[derive(Clone)]
pub(crate) struct Door {
    http: reqwest::Client,
    pub(crate) address: SocketAddr,
    marked: Arc<Marked>,
}

/// `procura` with only these of our variables.
pub(crate) fn procura(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_procura"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROCURA_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null()).current_dir(std::env::temp_dir());
    command
}

/// What a command ends with.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    procura(arguments, variables).output().unwrap()
}

impl Node {
    /// Starts a server and waits until it serves.
    pub(crate) fn start(database_url: &str, key: &SecretsKey, variables: &[(&str, &str)]) -> Self {
        let key = key.to_base64();
        let own = [
            ("PROCURA_ISSUER", crate::server::ISSUER),
            ("PROCURA_LISTEN", "127.0.0.1:0"),
            ("PROCURA_ADMIN_LISTEN", "127.0.0.1:0"),
            ("PROCURA_DATABASE_URL", database_url),
            ("PROCURA_SECRETS_KEY", key.expose_secret()),
            ("PROCURA_LOG__FORMAT", "json"),
            ("PROCURA_LIMITS__FAILED_AUTHENTICATIONS_PER_MINUTE", "0"),
        ];
        let mut command = procura(&["serve"], &[own.as_slice(), variables].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let printed = std::thread::spawn(move || {
            let mut printed = Vec::new();
            stdout.read_to_end(&mut printed).unwrap();
            String::from_utf8_lossy(&printed).into_owned()
        });
        let (serving, is_serving) = mpsc::channel();
        let said = std::thread::spawn(move || {
            let mut said = String::new();
            for line in BufReader::new(stderr).split(b'\n') {
                let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
                if line.contains(r#""message":"serving""#) {
                    let _ = serving.send(serde_json::from_str::<Value>(&line).unwrap());
                }
                listener::shown("the log of a server process", &line);
                said.push_str(&line);
                said.push('\n');
            }
            said
        });
        let Ok(line) = is_serving.recv_timeout(STARTS_WITHIN) else {
            let _ = child.kill();
            panic!("the server does not start: {}", said.join().unwrap());
        };
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().build().unwrap();
        let marked = Arc::new(Marked::default());
        let door = |member: &str| {
            let address = line[member].as_str().unwrap().parse().unwrap();
            Door { http: http.clone(), address, marked: Arc::clone(&marked) }
        };
        Self { public: door("listen"), admin: door("admin"), child, said: Some([printed, said]) }
    }

    /// Ends it as SIGKILL does: at once, whatever it is doing.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The most memory that it ever had, in kilobytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_memory_kilobytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Ends it as Ctrl-C does, and gives all that it said.
    pub(crate) fn end(mut self) -> String {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success(), "an orderly end");
        self.said.take().unwrap().map(|said| said.join().unwrap()).concat()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Door {
    /// Sends a request.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.http.request(method.parse().unwrap(), url).timeout(Duration::from_secs(30)).body(body);
        for (name, value) in headers {
            if *name == "authorization" {
                self.marked.mark_authorization(value);
            }
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        self.marked.answered(&headers, &text);
        Answer { status, headers, text }
    }

    /// GETs a path.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], String::new()).await
    }

    /// POSTs a form to `/token`, with Basic credentials if given.
    pub(crate) async fn token(&self, form: &[(&str, &str)], basic: Option<(&str, &str)>) -> Answer {
        self.post("/token", form, basic).await
    }

    /// POSTs a form, with Basic credentials if given.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)], basic: Option<(&str, &str)>) -> Answer {
        self.marked.mark_form(form);
        if let Some((_, secret)) = basic {
            self.marked.mark("a client secret", secret);
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let authorization = basic.map(|(id, secret)| basic_header(id, secret));
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        self.send("POST", path, &headers, body).await
    }
}
