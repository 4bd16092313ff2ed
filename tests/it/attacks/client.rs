//! Clients that are not who they say (A19 to A21, A59, A60, A78).

use super::{INVALID_CLIENT, holds_nothing_of, refused, world};
use crate::database::Kind;
use crate::issuer::with;
use crate::server::{Answer, ISSUER, NOW};
use crate::world::{World, signed, signed_with};
use procura::clock::Clock;
use procura::domain::decision::ReasonCode;
use procura::server::admin_router;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tower::ServiceExt;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const OWN_TOKEN: (&str, &str) = ("grant_type", "client_credentials");
const NO_LIMIT: (&str, &str) = ("PROCURA_LIMITS__FAILED_AUTHENTICATIONS_PER_MINUTE", "0");

fn assertion(world: &World, changes: Value) -> String {
    let claims = json!({"iss": "signer", "sub": "signer", "aud": ISSUER, "iat": NOW, "exp": NOW + 60, "jti": "a1"});
    signed(&world.signer, &with(claims, changes))
}

async fn present(world: &World, assertion: &str, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![OWN_TOKEN, ("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
    form.extend_from_slice(more);
    world.server.token(&form, None).await
}

mod a19_an_assertion_sent_fifty_times_at_once {
    use super::*;

    async fn body(kind: Kind) {
        let world = World::configured(kind, &[NO_LIMIT]).await;
        let token = assertion(&world, json!({}));
        let mut at_once = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (router, token) = (world.server.router.clone(), token.clone());
            at_once.spawn(async move {
                let form = [OWN_TOKEN, ("client_assertion_type", JWT_BEARER), ("client_assertion", &token)];
                let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
                let request = http::Request::post("/token")
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(axum::body::Body::from(body));
                let response = router.oneshot(request.unwrap()).await.unwrap();
                let (parts, body) = response.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                let text = String::from_utf8(body.to_vec()).unwrap();
                Answer { status: parts.status, headers: parts.headers, text }
            });
        }
        let answers = at_once.join_all().await;
        let granted: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(granted.len(), 1);
        holds_nothing_of(&world.server, granted[0], &[&token]).await;
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            refused(&world, answer, INVALID_CLIENT, ReasonCode::ClientAssertionReplayed, &[&token]).await;
        }
        let again = present(&world, &token, &[]).await;
        refused(&world, &again, INVALID_CLIENT, ReasonCode::ClientAssertionReplayed, &[&token]).await;
    }

    #[tokio::test]
    async fn sqlite() {
        body(Kind::Sqlite).await;
    }

    #[tokio::test]
    async fn postgres() {
        body(Kind::Postgres).await;
    }
}

#[tokio::test]
async fn a20_an_assertion_for_another_server_or_of_another_life() {
    let world = world().await;
    for (number, changes) in [
        json!({"aud": "https://other.example"}),
        json!({"aud": format!("{ISSUER}/")}),
        json!({"aud": [ISSUER, "https://other.example"]}),
        json!({"aud": [ISSUER, format!("{ISSUER}/token")]}),
        json!({"aud": null}),
        json!({"iss": "assistant"}),
        json!({"iss": null}),
        json!({"exp": null}),
        json!({"exp": NOW}),
        json!({"exp": NOW + 86_400}),
        json!({"iat": null, "exp": NOW + 86_400}),
        json!({"jti": null}),
        json!({"nbf": NOW + 61}),
    ]
    .into_iter()
    .enumerate()
    {
        let jti = if changes.get("jti").is_some() { json!({}) } else { json!({"jti": format!("a20-{number}")}) };
        let claims =
            json!({"iss": "signer", "sub": "signer", "aud": ISSUER, "iat": NOW, "exp": NOW + 60, "jti": "a20"});
        let token = signed(&world.signer, &with(with(claims, jti), changes));
        let answer = present(&world, &token, &[]).await;
        refused(&world, &answer, INVALID_CLIENT, ReasonCode::ClientAssertionInvalid, &[&token]).await;
    }
    assert_eq!(present(&world, &assertion(&world, json!({})), &[]).await.status, 200);
}

#[tokio::test]
async fn a21_an_assertion_under_another_clients_name_and_two_ways_at_once() {
    let world = world().await;
    let token = assertion(&world, json!({}));
    let twice = ReasonCode::ClientAuthenticationTwice;
    let other_name = present(&world, &token, &[("client_id", "assistant")]).await;
    refused(&world, &other_name, INVALID_CLIENT, twice, &[&token]).await;
    // The key of one client, the name of another: of a client that has keys, and of one that has none.
    let claimed = assertion(&world, json!({"iss": "assistant", "sub": "assistant"}));
    let answer = present(&world, &claimed, &[]).await;
    refused(&world, &answer, INVALID_CLIENT, ReasonCode::ClientAuthenticationMethod, &[&claimed]).await;
    let claims = json!({"iss": "signer", "sub": "signer", "aud": ISSUER, "exp": NOW + 60, "jti": "b"});
    let borrowed_name = json!({"kid": world.signer.key().kid()});
    for foreign in [signed(&world.corp, &claims), signed_with(&world.corp, borrowed_name, &claims)] {
        let answer = present(&world, &foreign, &[]).await;
        refused(&world, &answer, INVALID_CLIENT, ReasonCode::ClientAssertionInvalid, &[&foreign]).await;
    }

    let secret = world.secret("assistant");
    let both = present(&world, &token, &[("client_secret", secret)]).await;
    refused(&world, &both, INVALID_CLIENT, twice, &[&token, secret]).await;
    let form = [OWN_TOKEN, ("client_id", "assistant"), ("client_secret", secret)];
    let both = world.server.token(&form, Some(("assistant", secret))).await;
    refused(&world, &both, INVALID_CLIENT, twice, &[secret]).await;
    let other = world.server.token(&[OWN_TOKEN, ("client_id", "worker")], Some(("assistant", secret))).await;
    refused(&world, &other, INVALID_CLIENT, twice, &[secret]).await;
    // Nothing of that used the assertion up.
    assert_eq!(present(&world, &token, &[]).await.status, 200);
}

#[tokio::test]
async fn a21_an_assertion_that_is_said_to_be_something_else() {
    let world = world().await;
    let token = assertion(&world, json!({}));
    let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    for declared in [None, Some(""), Some(saml), Some("jwt-bearer"), Some(&*JWT_BEARER.to_ascii_uppercase())] {
        let mut form = vec![OWN_TOKEN, ("client_assertion", token.as_str())];
        form.extend(declared.map(|declared| ("client_assertion_type", declared)));
        let answer = world.server.token(&form, None).await;
        refused(&world, &answer, INVALID_CLIENT, ReasonCode::ClientAssertionInvalid, &[&token]).await;
    }
    let answer = world.server.token(&[OWN_TOKEN, ("client_assertion_type", JWT_BEARER)], None).await;
    refused(&world, &answer, INVALID_CLIENT, ReasonCode::ClientAssertionInvalid, &[]).await;
    assert_eq!(present(&world, &token, &[]).await.status, 200);
}

/// Timing itself is measured elsewhere; here: nothing on the wire tells an unknown client from a wrong secret, and what
/// is stored is a hash.
#[tokio::test]
async fn a59_an_unknown_client_is_answered_like_a_wrong_secret() {
    let world = world().await;
    let secret = world.secret("assistant").to_owned();
    let mut altered = secret.clone();
    altered.replace_range(20..21, if &secret[20..21] == "A" { "B" } else { "A" });
    let shorter = &secret[..secret.len() - 1];
    let of_another = world.secret("worker").to_owned();
    let mut answers = HashSet::new();
    for (client, presented, reason) in [
        ("nobody", secret.as_str(), ReasonCode::ClientUnknown),
        ("assistan", &secret, ReasonCode::ClientUnknown),
        ("assistant", "pcs_wrong", ReasonCode::ClientSecretWrong),
        ("assistant", shorter, ReasonCode::ClientSecretWrong),
        ("assistant", &altered, ReasonCode::ClientSecretWrong),
        ("assistant", &of_another, ReasonCode::ClientSecretWrong),
        ("secretless", &of_another, ReasonCode::ClientHasNoSecret),
        ("poster", &secret, ReasonCode::ClientAuthenticationMethod),
    ] {
        let answer = world.server.token(&[OWN_TOKEN], Some((client, presented))).await;
        refused(&world, &answer, INVALID_CLIENT, reason, &[presented]).await;
        let mut headers = answer.headers.clone();
        headers.remove("x-request-id");
        answers.insert(format!("{} {headers:?} {}", answer.status, answer.text));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    let snapshot = world.server.app.snapshot();
    let hashes: Vec<&str> =
        snapshot.secrets.values().flat_map(|live| live.iter()).map(|secret| secret.hash.as_str()).collect();
    assert!(hashes.iter().all(|hash| hash.starts_with("$argon2id$") && !hash.contains(&secret)));
}

#[tokio::test]
async fn a60_guessing_is_slowed_down_and_counted() {
    let variables = [("PROCURA_LIMITS__FAILED_AUTHENTICATIONS_PER_MINUTE", "5")];
    let world = World::configured(Kind::Sqlite, &variables).await;
    let guess = async |number: usize| {
        world.server.token(&[OWN_TOKEN], Some(("assistant", &format!("pcs_guess_{number}")))).await
    };
    for number in 0..5 {
        let answer = guess(number).await;
        refused(&world, &answer, INVALID_CLIENT, ReasonCode::ClientSecretWrong, &["pcs_guess_0"]).await;
    }
    for number in 5..10 {
        let answer = guess(number).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (429, &json!("slow_down")));
        assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
        let events = world.server.app.store.events_of_request(answer.request_id()).await.unwrap();
        assert_eq!(events, [], "what is slowed down can't fill the disk");
    }
    let request = http::Request::get("/metrics").body(axum::body::Body::empty()).unwrap();
    let body = admin_router(&world.server.app).oneshot(request).await.unwrap().into_body();
    let metrics = String::from_utf8(axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    let all = r#"procura_client_auth_failures_total{method="client_secret_basic",reason="client_secret_wrong"} 10"#;
    assert!(metrics.contains(all), "an alert can see all of them: {metrics}");
    // The client itself is not locked out by a stranger who guesses.
    world.own_token("assistant", &[]).await;
}

mod a78_a_clock_that_jumps_back_revives_nothing {
    use super::*;

    async fn body(kind: Kind) {
        let world = World::new(kind).await;
        let token = assertion(&world, json!({"iat": null}));
        let answer = present(&world, &token, &[]).await;
        assert_eq!(answer.status, 200);
        holds_nothing_of(&world.server, &answer, &[&token]).await;
        // It ends, what has ended is swept away, and then somebody sets the clock back.
        world.server.clock.advance(Duration::from_secs(95));
        world.server.app.store.purge(world.server.clock.now()).await.unwrap();
        let Clock::Set(millis) = &world.server.clock else { panic!("the clock of tests is set") };
        Arc::clone(millis).fetch_sub(300_000, Ordering::SeqCst);
        let answer = present(&world, &token, &[]).await;
        refused(&world, &answer, INVALID_CLIENT, ReasonCode::ClientAssertionReplayed, &[&token]).await;
    }

    #[tokio::test]
    async fn sqlite() {
        body(Kind::Sqlite).await;
    }

    #[tokio::test]
    async fn postgres() {
        body(Kind::Postgres).await;
    }
}
