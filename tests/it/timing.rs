//! The time of a refused client authentication does not tell whether there is such a client.
//!
//! In `make test` a few hundred samples through the router, and 2,000 of the authentication itself, where nothing else
//! makes noise. `PROCURA_TEST_TIMING_SAMPLES=2000` asks for more of the former.

use crate::database::Kind;
use crate::server::{TestServer, basic_header};
use crate::world::World;
use axum::http::{HeaderMap, header};
use procura::grants::params::Params;
use procura::oauth::client_auth::{AuthenticationFailure, Credentials};
use procura::secrets::{SecretsKey, new_client_secret};
use secrecy::ExposeSecret;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Names much alike, so that only being known differs.
const KNOWN: [&str; 2] = ["models-backend", "client-of-0042"];
const UNKNOWN: [&str; 2] = ["models-frontend", "client-of-9942"];
const VARIABLES: [(&str, &str); 1] = [("PROCURA_LIMITS__FAILED_AUTHENTICATIONS_PER_MINUTE", "0")];

/// A world with three hundred more clients: what looks through all of them shows.
async fn world() -> World {
    let world = World::configured(Kind::Sqlite, &VARIABLES).await;
    let mut file = String::new();
    for index in 0..300 {
        writeln!(
            file,
            "[[client]]\nid = \"client-of-{index:04}\"\nname = \"Client {index}\"\n\
             authentication = \"client_secret_basic\"\ngrants = [\"client_credentials\"]"
        )
        .unwrap();
    }
    world.server.apply(&file).await;
    world.server.new_secret(KNOWN[1]).await;
    world
}

/// A secret of the right form that another server made: what an attacker can come up with.
fn forged() -> String {
    new_client_secret(&SecretsKey::generate()).expose_secret().to_owned()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The mean without the slowest and the fastest tenth.
fn trimmed_mean(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    let cut = times.len() / 10;
    let kept = &times[cut..times.len() - cut];
    kept.iter().sum::<Duration>() / u32::try_from(kept.len()).unwrap()
}

/// Takes the samples in turn, so that whatever slows the machine down slows all of them, and compares each kind with
/// the first: neither median nor trimmed mean may be further away than this share.
async fn compare<const N: usize>(
    what: [&str; N],
    samples: usize,
    most_percent: u128,
    mut sample: impl AsyncFnMut(usize, usize) -> Duration,
) {
    let mut times: [Vec<Duration>; N] = std::array::from_fn(|_| Vec::with_capacity(samples));
    for round in 0..samples + samples / 10 {
        for turn in 0..N {
            // Another order each round: none is always the one after the slow one.
            let kind = (turn + round) % N;
            let time = sample(kind, round).await;
            if round >= samples / 10 {
                times[kind].push(time);
            }
        }
    }
    let figures = times.map(|mut times| (median(&mut times), trimmed_mean(&mut times)));
    for (what, (median, mean)) in what.iter().zip(&figures) {
        eprintln!("{what:<48} median {median:>10.1?}, trimmed mean {mean:>10.1?} ({samples} samples)");
    }
    let percent = |a: Duration, b: Duration| a.abs_diff(b).as_nanos() * 100 / a.min(b).as_nanos().max(1);
    for (what, (median, mean)) in what.iter().zip(&figures).skip(1) {
        // Both must say so: a busy machine moves the one or the other.
        let (by_median, by_mean) = (percent(figures[0].0, *median), percent(figures[0].1, *mean));
        assert!(by_median.min(by_mean) < most_percent, "{what} differs by {by_median} % and {by_mean} %");
    }
}

async fn refused(server: &TestServer, client: &str, secret: &str) -> Duration {
    let started = Instant::now();
    let answer = server.token(&[("grant_type", "client_credentials")], Some((client, secret))).await;
    let took = started.elapsed();
    assert_eq!(answer.status, 401);
    took
}

#[tokio::test]
async fn the_router_takes_as_long_for_an_unknown_client_as_for_a_wrong_secret() {
    let samples = std::env::var("PROCURA_TEST_TIMING_SAMPLES").map_or(200, |text| text.parse().unwrap());
    let world = world().await;
    let forged = forged();
    let genuine = world.secret("assistant").to_owned();
    let what = ["an unknown client", "a known client, a forged secret", "a known client, the secret of another client"];
    compare(what, samples, 25, async |kind, round| match kind {
        0 => refused(&world.server, UNKNOWN[round % 2], &forged).await,
        1 => refused(&world.server, KNOWN[round % 2], &forged).await,
        _ => refused(&world.server, KNOWN[round % 2], &genuine).await,
    })
    .await;
}

#[tokio::test]
async fn authentication_itself_takes_as_long_for_an_unknown_client_as_for_a_wrong_secret() {
    let world = world().await;
    let app = &world.server.app;
    let snapshot = app.snapshot();
    let forged = forged();
    let params = Params::parse(b"grant_type=client_credentials").unwrap();
    // It begins as the right secret does, and ends otherwise.
    let mut almost = world.secret(KNOWN[0]).to_owned();
    let other_end = if almost.pop() == Some('A') { 'Q' } else { 'A' };
    almost.push(other_end);
    let authenticate = async |client: &str, secret: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, basic_header(client, secret).parse().unwrap());
        let started = Instant::now();
        let credentials = Credentials::read(&headers, &params).unwrap();
        let result = credentials.authenticate(app, &snapshot, app.clock.now()).await;
        let took = started.elapsed();
        assert!(matches!(result, Err(AuthenticationFailure::Refused(_))));
        took
    };
    let what =
        ["an unknown client", "a known client, a forged secret", "a known client, all but the end of its secret"];
    compare(what, 2_000, 50, async |kind, round| match kind {
        0 => authenticate(UNKNOWN[round % 2], &forged).await,
        1 => authenticate(KNOWN[round % 2], &forged).await,
        _ => authenticate(KNOWN[0], &almost).await,
    })
    .await;
}
