//! The load: clients that exchange ID tokens as fast as they are answered, and remember every answer.

use super::deployment::{AUDIENCE, http_client};
use super::pause;
use crate::issuer::TestIssuer;
use crate::server::{ID_TOKEN, TOKEN_EXCHANGE, basic_header};
use procura::clock::Clock;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

const CLIENTS: u64 = 4;
/// Users that tokens are about.
const USERS: u64 = 16;
/// Every how many subject tokens one counts only once.
const SINGLE_USE_EVERY: u64 = 8;

/// The clients.
pub(super) struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    issuer: Arc<TestIssuer>,
    secret: String,
    server: watch::Sender<Option<SocketAddr>>,
    answers: Mutex<Vec<Answer>>,
    asked: AtomicU64,
    unanswered: AtomicU64,
    is_over: AtomicBool,
}

/// What a client was told.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) asked_at: Instant,
    pub(super) took: Duration,
    pub(super) status: u16,
    pub(super) retry_after: Option<u64>,
    pub(super) body: Value,
    pub(super) user: String,
    /// The subject token, if it counts only once.
    pub(super) single_use: Option<String>,
}

impl Answer {
    /// The token in it.
    pub(super) fn token(&self) -> Option<&str> {
        self.body["access_token"].as_str()
    }
}

/// All that the clients were told.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) answers: Vec<Answer>,
    /// Requests whose connection ended before the answer.
    pub(super) unanswered: u64,
}

impl Story {
    /// The answers that have a token.
    pub(super) fn granted(&self) -> impl Iterator<Item = (&Answer, &str)> {
        self.answers.iter().filter_map(|answer| Some((answer, answer.token()?)))
    }
}

impl Load {
    /// Starts the clients; they wait until they are told of a server.
    pub(super) fn start(issuer: &Arc<TestIssuer>, secret: &str) -> Self {
        let shared = Arc::new(Shared {
            issuer: Arc::clone(issuer),
            secret: secret.to_owned(),
            server: watch::Sender::new(None),
            answers: Mutex::default(),
            asked: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..CLIENTS {
            tasks.spawn(run(Arc::clone(&shared)));
        }
        Self { shared, tasks }
    }

    /// Where the server is now, if there is one.
    pub(super) fn aim(&self, server: Option<SocketAddr>) {
        self.shared.server.send_replace(server);
    }

    /// Waits for so many more tokens; returns how long the first one took.
    ///
    /// # Panics
    /// Half a minute is not enough for them.
    pub(super) async fn tokens(&self, more: usize) -> Duration {
        let started = Instant::now();
        let seen = self.shared.answers.lock().unwrap().len();
        let mut first = None;
        loop {
            let new = {
                let answers = self.shared.answers.lock().unwrap();
                answers.iter().skip(seen).filter(|answer| answer.asked_at >= started && answer.status == 200).count()
            };
            if new > 0 {
                first.get_or_insert_with(|| started.elapsed());
            }
            if new >= more {
                return first.unwrap_or_default();
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{new} of {more} tokens were answered");
            pause(Duration::from_millis(10)).await;
        }
    }

    /// Lets every client hear its last answer; returns all of them.
    pub(super) async fn stop(self) -> Story {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.tasks.join_all().await;
        let answers = std::mem::take(&mut *self.shared.answers.lock().unwrap());
        Story { answers, unanswered: self.shared.unanswered.load(Ordering::SeqCst) }
    }
}

async fn run(shared: Arc<Shared>) {
    let http = http_client();
    let mut server = shared.server.subscribe();
    while !shared.is_over.load(Ordering::SeqCst) {
        let address = *server.borrow_and_update();
        let Some(address) = address else {
            let _ = tokio::time::timeout(Duration::from_millis(50), server.changed()).await;
            continue;
        };
        let number = shared.asked.fetch_add(1, Ordering::SeqCst);
        let is_single_use = number.is_multiple_of(SINGLE_USE_EVERY);
        let user = format!("user-{}", number % USERS);
        let audience = if is_single_use { "once" } else { "llm-app" };
        let claims = json!({"sub": user, "aud": audience, "jti": format!("subject-{number}")});
        let subject_token = shared.issuer.id_token(Clock::System.now(), claims);
        let asked_at = Instant::now();
        let exchanged = exchange(&http, address, &shared.secret, &subject_token).await;
        let Ok((status, retry_after, body)) = exchanged else {
            shared.unanswered.fetch_add(1, Ordering::SeqCst);
            let _ = tokio::time::timeout(Duration::from_millis(20), server.changed()).await;
            continue;
        };
        let took = asked_at.elapsed();
        let single_use = is_single_use.then_some(subject_token);
        let answer = Answer { asked_at, took, status, retry_after, body, user, single_use };
        shared.answers.lock().unwrap().push(answer);
        if status != 200 {
            // Sooner than `Retry-After` says, but not at once.
            pause(Duration::from_millis(100)).await;
        }
    }
}

/// One exchange: status, `Retry-After` and body, or the error of a connection that ended before the whole answer.
pub(super) async fn exchange(
    http: &reqwest::Client,
    server: SocketAddr,
    secret: &str,
    subject_token: &str,
) -> Result<(u16, Option<u64>, Value), reqwest::Error> {
    let form = [
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", subject_token),
        ("subject_token_type", ID_TOKEN),
        ("resource", AUDIENCE),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = http
        .post(format!("http://{server}/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", basic_header("assistant", secret))
        .body(body);
    let response = request.send().await?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
    let text = response.text().await?;
    Ok((status, retry_after, serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))))
}
