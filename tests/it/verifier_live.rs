//! A Rust backend and a real server: it goes on while the server is down, and sees a revocation within the stated delay.

use crate::database::Kind;
use crate::node::Node;
use crate::server::claims;
use crate::token_status::after;
use crate::world::World;
use procura::clock::Clock;
use procura::domain::change::{Change, RevocationTarget};
use procura::domain::event::{AuditEvent, EventKind, EventOutcome};
use procura::secrets::random_id;
use procura::verify::{Fetch, FetchRequest, Fetching, HttpFetch, Verifier};
use serde_json::json;
use std::time::{Duration, Instant};

const RECORDS: &str = "https://records.example.com/api";
/// `tokens.status_list_ttl_seconds`.
const TTL: u64 = 4;

/// Fetches what the issuer's name stands for from where the server of the test is.
struct Via {
    http: HttpFetch,
    server: String,
}

impl Fetch for Via {
    fn get<'a>(&'a self, request: FetchRequest<'a>) -> Fetching<'a> {
        let url = request.url.replace(crate::server::ISSUER, &self.server);
        Box::pin(async move {
            let mut request: FetchRequest<'_> = request;
            request.url = &url;
            self.http.get(request).await
        })
    }
}

/// A world whose records want a status list, and a real server on its database.
async fn world_and_server(kind: Kind) -> (World, Node) {
    let world = World::at(Clock::System, kind, &[]).await;
    let snapshot = world.server.app.snapshot();
    let mut records = snapshot.registry.resource_by_name("records").unwrap().as_ref().clone();
    records.status_list = true;
    world.server.change(&[Change::PutResource(records)]).await;
    let (url, key) = (world.server.database.url.clone(), world.server.app.secrets_key.clone());
    let ttl = TTL.to_string();
    let start = move || Node::start(&url, &key, &[("PROCURA_TOKENS__STATUS_LIST_TTL_SECONDS", &ttl)]);
    let node = tokio::task::spawn_blocking(start).await.unwrap();
    (world, node)
}

async fn token(world: &World) -> String {
    let now = world.server.clock.now();
    let id_token = world.id_token(json!({"iat": now - 5, "exp": now + 3000, "auth_time": now - 60}));
    world.exchange_as("assistant", &id_token, &[("resource", RECORDS)]).await.token()
}

fn verifier(node: &Node, clock: Clock) -> Verifier {
    let via = Via { http: HttpFetch::new(), server: format!("http://{}", node.public.address) };
    Verifier::builder(crate::server::ISSUER, RECORDS).fetch(via).clock(clock).build().unwrap()
}

#[tokio::test]
async fn with_the_server_stopped_a_backend_goes_on_until_the_token_ends() {
    let (world, node) = world_and_server(Kind::Postgres).await;
    let token = token(&world).await;
    let expires_at = claims(&token)["exp"].as_i64().unwrap();
    let clock = Clock::set_to(world.server.clock.now());
    let verifier = verifier(&node, clock.clone());
    verifier.prefetch().await.unwrap();
    assert_eq!(verifier.verify(&token).await.unwrap().user.sub, "corp|alice");
    node.end();
    while clock.now() < expires_at - 1 {
        verifier.verify(&token).await.unwrap_or_else(|refused| panic!("at {}: {refused:?}", clock.now()));
        clock.advance(Duration::from_secs(20).min(Duration::from_secs((expires_at - 1).abs_diff(clock.now()))));
    }
    verifier.verify(&token).await.unwrap();
    clock.advance(Duration::from_secs(1));
    verifier.verify(&token).await.unwrap_err();
}

#[tokio::test]
async fn after_a_revocation_a_backend_refuses_within_the_ttl_of_the_list_and_two_seconds() {
    let (world, node) = world_and_server(Kind::Postgres).await;
    let verifier = verifier(&node, Clock::System);
    verifier.prefetch().await.unwrap();
    let mut measured = Vec::new();
    for target in [
        RevocationTarget::User("corp|alice".parse().unwrap()),
        RevocationTarget::Client("assistant".parse().unwrap()),
        RevocationTarget::Resource("records".parse().unwrap()),
    ] {
        let token = token(&world).await;
        verifier.verify(&token).await.unwrap();
        let event = AuditEvent::new(
            world.server.clock.now_ms(),
            random_id("adm"),
            EventKind::Administration,
            EventOutcome::Done,
            "test",
        );
        let end = Change::RevokeAll { target, consents: false };
        world.server.app.store.change(&[end], event, world.server.clock.now()).await.unwrap();
        let revoked = Instant::now();
        while verifier.verify(&token).await.is_ok() {
            assert!(revoked.elapsed() < Duration::from_secs(30), "it is never refused");
            after(20).await;
        }
        measured.push(revoked.elapsed());
        // Past the second of the end, in which a new token would be ended too.
        after(1100).await;
        world.server.app.refresh().await.unwrap();
    }
    let in_ms: Vec<u128> = measured.iter().map(Duration::as_millis).collect();
    eprintln!("refused after {in_ms:?} ms, with a ttl of {TTL} s");
    assert!(measured.iter().all(|delay| *delay < Duration::from_secs(TTL + 2)), "{measured:?}");
}
