//! Nothing that is presented is written anywhere (A79): logs at the finest level, events, answers, metrics and pages.

use super::{RECORDS, pieces};
use crate::database::Kind;
use crate::issuer::{sign_hs256, tampered};
use crate::server::{ACCESS_TOKEN, Answer, ID_TOKEN, ISSUER, NOW, TOKEN_EXCHANGE};
use crate::world::{World, signed, signed_with};
use axum::body::Body;
use axum::http::Request;
use procura::server::admin_router;
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tower::ServiceExt;
use tracing_subscriber::fmt::MakeWriter;

/// Everything that is logged while it is the default of its thread; a test runs on one thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What was presented, and everything that was answered.
struct Witness {
    presented: Vec<String>,
    answered: Vec<String>,
}

impl Witness {
    fn presented(&mut self, secret: &str) -> String {
        self.presented.push(secret.to_owned());
        secret.to_owned()
    }

    fn answered(&mut self, answer: &Answer) {
        // The token that was asked for is in its answer, and nowhere else.
        let mut body = answer.json();
        if let Some(token) = body.get_mut("access_token").map(serde_json::Value::take) {
            self.presented.push(token.as_str().unwrap().to_owned());
        }
        let text = if body.is_null() { answer.text.clone() } else { body.to_string() };
        self.answered.push(format!("{} {:?} {text}", answer.status, answer.headers));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a79_no_token_or_secret_is_in_any_log_event_answer_or_page() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(log.clone())
        .finish();
    // While there is only one subscriber in the process, `tracing` asks the thread that passes a place first whether
    // anybody listens there, and that may be a thread of another test. With two it asks every subscriber.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::configured(Kind::Sqlite, &[("PROCURA_LIMITS__FAILED_AUTHENTICATIONS_PER_MINUTE", "0")]).await;
    let mut witness = Witness { presented: Vec::new(), answered: Vec::new() };
    present_everything(&world, &mut witness).await;

    // Whoever reads the trail, too.
    let heads = world.server.app.store.chain_heads().await.unwrap();
    let (mut trail, mut events) = (String::new(), 0);
    for head in heads {
        for event in world.server.app.store.read_chain(&head.writer_id, 0, 10_000).await.unwrap() {
            events += 1;
            trail.push_str(&event.body);
            trail.push_str(&procura::audit::explain::explain(&serde_json::from_str(&event.body).unwrap()));
        }
    }
    assert!(events > 100, "{events} events");
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let body = admin_router(&world.server.app).oneshot(request).await.unwrap().into_body();
    let metrics = String::from_utf8(axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("TRACE") && logged.contains("decision"), "the log was listened to");

    let debug = format!("{:?}", world.server.app.snapshot());
    assert!(witness.presented.len() > 20);
    for secret in &witness.presented {
        for piece in pieces(secret) {
            for (place, text) in [
                ("log", &logged),
                ("trail", &trail),
                ("metrics", &metrics),
                ("debug output", &debug),
                ("answers", &witness.answered.join("\n")),
            ] {
                assert!(!text.contains(piece), "{piece} is in the {place}");
            }
        }
    }
}

/// Tokens, secrets and assertions of every kind, good and bad, in every place where one can be sent.
async fn present_everything(world: &World, witness: &mut Witness) {
    let secret = witness.presented(world.secret("assistant"));
    let good = world.id_token(json!({}));
    let granted = world.exchange_as("assistant", &witness.presented(&good), &[RECORDS]).await;
    witness.answered(&granted);
    let delegation = granted.token();
    let planner = world.own_token("planner", &[]).await;
    let assertion = signed(
        &world.signer,
        &json!({"iss": "signer", "sub": "signer", "aud": ISSUER, "iat": NOW, "exp": NOW + 60, "jti": "a79"}),
    );
    let tokens = [
        world.id_token(json!({"exp": NOW - 5})),
        world.id_token(json!({"aud": "another-app"})),
        world.id_token(json!({"iss": "https://unknown.example"})),
        world.id_token(json!({"act": [1]})),
        world.id_token(json!({"roles": 7})),
        world.bobs_id_token(),
        tampered(&good, &world.alice(json!({"sub": "mallory"}))),
        sign_hs256(b"secret", "k", &world.alice(json!({}))),
        signed_with(&world.corp, json!({"kid": "unknown"}), &world.alice(json!({}))),
        signed_with(&world.corp, json!({"jku": "https://evil.example"}), &world.alice(json!({}))),
        format!("{good}.x.y"),
        good.replacen("eyJ", "eyK", 1),
        "opaque-2YotnFZFEjr1zCsicMWpAA-token".to_owned(),
        planner.clone(),
        delegation.clone(),
        assertion.clone(),
    ];
    for token in &tokens {
        witness.presented(token);
        for declared in [ID_TOKEN, ACCESS_TOKEN] {
            witness.answered(&world.exchange_typed("assistant", token, declared, &[RECORDS]).await);
        }
        let more = [RECORDS, ("actor_token", token.as_str()), ("actor_token_type", ACCESS_TOKEN)];
        witness.answered(&world.exchange_as("assistant", &good, &more).await);
        let request = Request::post(format!("/token?subject_token={token}")).body(Body::empty()).unwrap();
        witness.answered(&world.server.send(request).await);
        let request = Request::post("/token").header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        witness.answered(&world.server.send(request.body(Body::from("grant_type=x")).unwrap()).await);
        // A name that nobody can tell from a token is recorded where a name belongs.
        if token.starts_with("opaque") {
            continue;
        }
        // In the wrong place: as a type, a scope, a target, a name, a grant, a secret, an assertion.
        witness.answered(&world.exchange_typed("assistant", &good, token, &[RECORDS]).await);
        witness.answered(&world.exchange_as("assistant", &good, &[RECORDS, ("scope", token)]).await);
        witness.answered(&world.server.token(&[("grant_type", token)], Some(("assistant", &secret))).await);
        witness.answered(&world.server.token(&[("grant_type", TOKEN_EXCHANGE)], Some((token, token))).await);
        let form = [("grant_type", "client_credentials"), ("client_id", token), ("client_assertion", token)];
        witness.answered(&world.server.token(&form, None).await);
        let form = [("grant_type", "client_credentials"), (token.as_str(), "1"), (token.as_str(), "2")];
        witness.answered(&world.server.token(&form, None).await);
        for target in ["audience", "resource"] {
            witness.answered(&world.exchange_as("assistant", &good, &[(target, token)]).await);
        }
        for path in ["/consent/", "/.well-known/oauth-protected-resource/", "/"] {
            witness.answered(&world.server.get(&format!("{path}{token}")).await);
        }
    }
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion.as_str()),
    ];
    for _ in 0..2 {
        witness.answered(&world.server.token(&form, None).await);
    }
    let wrong = witness.presented(&format!("{secret}x"));
    witness.answered(&world.server.token(&form[..1], Some(("assistant", &wrong))).await);
    witness.answered(&world.server.token(&form[..1], Some((&secret, "x"))).await);
    let consent = world.exchange_as("assistant", &world.bobs_id_token(), &[RECORDS]).await;
    let uri = consent.json()["consent_uri"].as_str().unwrap().to_owned();
    witness.answered(&world.server.get(uri.strip_prefix(ISSUER).unwrap()).await);
    let handle = uri.rsplit('/').next().unwrap().to_owned();
    assert!(handle.len() > 12);
    witness.presented.push(handle);
    // Only the answer that gives the link holds it; that answer was not kept.
    witness.answered.retain(|answer| !answer.contains("consent_required"));
}
