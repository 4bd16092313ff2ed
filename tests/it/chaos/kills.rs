//! SIGKILL at random moments: under load, while the server starts, and while it starts on an empty database.

use super::administrators::Administrators;
use super::deployment::{Deployment, http_client};
use super::dice::Dice;
use super::evidence::assert_whole;
use super::load::{Load, exchange};
use super::pause;
use crate::database::Kind;
use crate::issuer::TestIssuer;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a server is killed under load if `CHAOS_KILLS` does not say. After three of these, two are killed while they
/// start; with fewer than four none would be.
const KILLS: u64 = 4;
/// How long a server lives under load, at most.
const LIFE: Duration = Duration::from_millis(400);
/// A server must be ready again by then.
const READY_AT_MOST: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_at_any_moment_loses_no_event_no_change_and_no_key_on_sqlite() {
    survive(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_at_any_moment_loses_no_event_no_change_and_no_key_on_postgres() {
    survive(Kind::Postgres).await;
}

async fn survive(kind: Kind) {
    let kills = std::env::var("CHAOS_KILLS").map_or(KILLS, |text| text.parse().expect("CHAOS_KILLS is a number"));
    let mut dice = Dice::of_this_run();
    let issuer = Arc::new(TestIssuer::start().await);
    let deployment = Arc::new(Deployment::empty(kind).await);
    let secret = deployment.furnish(issuer.issuer());
    let registry = deployment.ok(&["export"]);
    let load = Load::start(&issuer, &secret);
    let administrators = Administrators::start(&deployment, dice.another());

    let mut ready_after = Vec::new();
    let (mut under_load, mut starting) = (0, 0);
    while under_load < kills {
        match (under_load + starting) % 5 {
            3 => {
                // As long as a start took: some are hit before their first statement, some when they are ready.
                let start: Duration = ready_after.last().copied().unwrap_or(LIFE);
                let launch = deployment.launch();
                pause(dice.up_to(start)).await;
                launch.kill();
                starting += 1;
            }
            4 => {
                kill_on_an_empty_database(kind, &mut dice).await;
                starting += 1;
            }
            round => {
                let server = deployment.serve().await;
                ready_after.push(server.ready_after);
                load.aim(Some(server.address));
                if round > 0 {
                    // Not before it works: the others may be hit at their first request.
                    load.tokens(1).await;
                }
                pause(dice.up_to(LIFE)).await;
                server.kill();
                load.aim(None);
                under_load += 1;
            }
        }
    }

    let server = deployment.serve().await;
    ready_after.push(server.ready_after);
    load.aim(Some(server.address));
    load.tokens(20).await;
    let story = load.stop().await;
    let changes = administrators.stop();

    let unheard = assert_whole(&deployment, &server, &story).await;
    changes.assert_kept(&deployment).await;
    assert_eq!(changes.failures, Vec::<String>::new(), "no command fails because the server died");
    assert_eq!(deployment.ok(&["export"]), registry, "the registry is what was applied");
    let http = http_client();
    let used = story.granted().filter_map(|(answer, _)| answer.single_use.as_ref());
    let mut replays = 0;
    for subject_token in used {
        let (status, _, body) = exchange(&http, server.address, &secret, subject_token).await.unwrap();
        assert_eq!(
            (status, body["error"].as_str()),
            (400, Some("invalid_request")),
            "a token that counts once: {body}"
        );
        replays += 1;
    }
    ready_after.sort();
    let slowest = *ready_after.last().unwrap();
    assert!(slowest < READY_AT_MOST, "ready again after {slowest:?}");
    let refused = story.answers.iter().filter(|answer| answer.status != 200).count();
    assert_eq!(
        refused,
        0,
        "a server that runs answers: {:?}",
        story.answers.iter().find(|answer| answer.status != 200)
    );
    eprintln!(
        "{kind:?}: {under_load} kills under load, {starting} of a server that starts; tokens answered {}, without an event 0, events whose answer was cut off {unheard}, \
         requests cut off {}; changes acknowledged {}, lost 0, commands killed {}; used tokens presented again {replays}, \
         accepted 0; ready after {:?} (median), {slowest:?} (slowest)",
        story.granted().count(),
        story.unanswered,
        changes.done,
        changes.killed,
        ready_after[ready_after.len() / 2],
    );
}

/// Kills the very first start: while the file, the schema, the secrets key or the first signing key is made.
async fn kill_on_an_empty_database(kind: Kind, dice: &mut Dice) {
    let deployment = Deployment::empty(kind).await;
    if kind == Kind::Postgres {
        let mut migration = deployment.spawn(&["migrate"]);
        pause(dice.up_to(LIFE / 2)).await;
        migration.kill().unwrap();
        migration.wait().unwrap();
        deployment.ok(&["migrate"]);
    }
    let launch = deployment.launch();
    pause(dice.up_to(LIFE)).await;
    launch.kill();

    let started = Instant::now();
    let server = deployment.serve().await;
    assert!(started.elapsed() < READY_AT_MOST, "ready after {:?}", started.elapsed());
    assert_eq!(deployment.ok(&["migrate"]).trim_end(), "the schema is up to date");
    let keys = deployment.json(&["keys", "list"]);
    assert_eq!(keys.as_array().unwrap().len(), 1, "one first key, however often it was tried: {keys}");
    assert!(deployment.ok(&["audit", "verify"]).starts_with("whole: "));
    server.kill();
}
