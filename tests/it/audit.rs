//! The audit trail: what the writer promises, what the check finds, and what an auditor reads.

use crate::database::{Kind, TestDatabase, id_made_at};
use crate::evidence::verify;
use procura::audit::explain::{Beside, explain, who};
use procura::audit::verify::CheckedChain;
use procura::audit::writer::{AuditUnavailable, AuditWriter};
use procura::clock::Clock;
use procura::config::AuditSettings;
use procura::domain::decision::{Gate, GateResult, ReasonCode, TraceLine};
use procura::domain::event::{AuditEvent, ChainHead, ChainedEvent, CutScope, EventKind, EventOutcome, EventSubject};
use procura::domain::user::{User, UserAttributes};
use procura::store::{EventFilter, Store};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::task::Poll;
use std::time::{Duration, Instant};

const NOW_MS: i64 = 1_767_225_600_000; // 2026-01-01T00:00:00Z

fn exchange(request_id: &str, outcome: EventOutcome, reason: &str) -> AuditEvent {
    let mut event = AuditEvent::new(NOW_MS, request_id.to_owned(), EventKind::TokenExchange, outcome, reason);
    event.client = Some("assistant".parse().unwrap());
    event.client_authentication = Some("client_secret_basic".to_owned());
    event.subject = Some(EventSubject {
        sub: "corp|alice".to_owned(),
        idp: Some("corp".parse().unwrap()),
        idp_sub: Some("alice".to_owned()),
        idp_session: None,
    });
    event.resource = Some("records".parse().unwrap());
    event.audience = Some("https://records.example.com/api".to_owned());
    event
}

/// What `assistant` got for Alice at `records`: less than it asked for.
fn first_hop() -> AuditEvent {
    let mut event = exchange("req_1", EventOutcome::Granted, "granted");
    event.actors = vec!["assistant".to_owned()];
    event.asked = Some("records.read records.delete".parse().unwrap());
    event.granted = Some("records.read".parse().unwrap());
    event.cut = vec![CutScope { scope: "records.delete".to_owned(), reason: "policy_not_permitted".to_owned() }];
    event.grant_id = Some("g_1".to_owned());
    event.txn = Some("txn_1".to_owned());
    event.jti = Some("t_1".to_owned());
    event.kid = Some("key-1".to_owned());
    event.expires_at = Some(NOW_MS / 1000 + 300);
    event.subject_issuer = Some("https://idp.example.com".to_owned());
    event.policies = vec!["built-in".to_owned()];
    event.policy_hash = Some("abc".to_owned());
    event.source = Some("192.0.2.7".to_owned());
    let line = |gate, result, reason, note: &str| TraceLine { gate, result, reason, note: note.to_owned() };
    event.trace = Gate::ALL[1..].iter().map(|gate| line(*gate, GateResult::Passed, None, "fine")).collect();
    event.trace[9] =
        line(Gate::Policy, GateResult::Narrowed, Some(ReasonCode::PolicyNotPermitted), "records.delete needs a role");
    event
}

/// What `records-backend` got with that token at `models`.
fn second_hop() -> AuditEvent {
    let mut event = exchange("req_2", EventOutcome::Granted, "granted");
    event.at_ms += 2_000;
    event.client = Some("records-backend".parse().unwrap());
    event.client_authentication = Some("private_key_jwt".to_owned());
    event.actors = vec!["records-backend".to_owned(), "assistant".to_owned()];
    event.resource = Some("models".parse().unwrap());
    event.audience = Some("https://models.example.com".to_owned());
    event.granted = Some("model.use".parse().unwrap());
    event.grant_id = Some("g_2".to_owned());
    event.txn = Some("txn_1".to_owned());
    event.jti = Some("t_2".to_owned());
    event.expires_at = Some(NOW_MS / 1000 + 60);
    event.subject_issuer = Some("https://procura.example.com".to_owned());
    event.subject_jti = Some("t_1".to_owned());
    event
}

#[test]
fn explain_shows_a_grant_with_what_was_cut_and_why() {
    insta::assert_snapshot!(explain(&first_hop()), @r"
    Request       req_1
    When          2026-01-01T00:00:00.000Z
    What          token exchange
    Outcome       granted
    Client        assistant, authenticated by client_secret_basic
    For           the user corp|alice, known to the identity provider corp as alice
    Actors        assistant
    Backend       records, https://records.example.com/api
    Scopes asked  records.delete records.read
    Granted       records.read
    Cut           records.delete [policy_not_permitted]: No policy permits the scope to this user; a role may be missing.
    Consent       g_1
    Policies      built-in, of the policy set abc
    Subject token a token of https://idp.example.com, which has no jti
    Token         t_1, ends 2026-01-01T00:05:00Z, signed by key-1
    Transaction   txn_1
    From          192.0.2.7

    Gates, in order:
       1  passed    client known, active, authenticated: fine
       2  passed    grant allowed to the client: fine
       3  passed    subject token valid: fine
       4  passed    subject token belongs to this client: fine
       5  passed    actor is this client, or one it may present: fine
       6  passed    delegation chain: fine
       7  passed    target known and reachable: fine
       8  passed    scopes within every ceiling: fine
       9  passed    consent of the user: fine
      10  narrowed  policy: records.delete needs a role [policy_not_permitted]
      11  passed    limits: fine
      12  passed    lifetime: fine
    ");
}

#[test]
fn explain_shows_a_refusal_with_its_cure_and_the_gates_not_reached() {
    let mut event = exchange("req_3", EventOutcome::Refused, "consent_missing");
    event.error = Some("consent_required".to_owned());
    event.detail = Some("corp|alice has agreed to nothing for assistant at records".to_owned());
    event.trace = Gate::ALL[1..9]
        .iter()
        .map(|gate| TraceLine { gate: *gate, result: GateResult::Passed, reason: None, note: "fine".to_owned() })
        .collect();
    event.trace.push(TraceLine {
        gate: Gate::Consent,
        result: GateResult::Refused,
        reason: Some(ReasonCode::ConsentMissing),
        note: "nothing agreed".to_owned(),
    });
    insta::assert_snapshot!(explain(&event), @r"
    Request       req_3
    When          2026-01-01T00:00:00.000Z
    What          token exchange
    Outcome       refused: consent_missing
    Detail        corp|alice has agreed to nothing for assistant at records
    Meaning       The user has not agreed that this client may have these scopes at this backend.
    Fix           Show the user the consent_uri, or procura consent grant.
    Answered      error=consent_required
    Client        assistant, authenticated by client_secret_basic
    For           the user corp|alice, known to the identity provider corp as alice
    Backend       records, https://records.example.com/api
    Scopes asked  left open: all that may be had

    Gates, in order:
       1  passed    client known, active, authenticated: fine
       2  passed    grant allowed to the client: fine
       3  passed    subject token valid: fine
       4  passed    subject token belongs to this client: fine
       5  passed    actor is this client, or one it may present: fine
       6  passed    delegation chain: fine
       7  passed    target known and reachable: fine
       8  passed    scopes within every ceiling: fine
       9  refused   consent of the user: nothing agreed [consent_missing]
      10  -         policy: not reached
      11  -         limits: not reached
      12  -         lifetime: not reached
    ");
}

#[test]
fn explain_says_of_a_client_that_did_not_authenticate_that_it_only_claimed_its_name() {
    let mut event = AuditEvent::new(
        NOW_MS,
        "req_4".to_owned(),
        EventKind::TokenRequest,
        EventOutcome::Refused,
        "client_secret_wrong",
    );
    event.client = Some("assistant".parse().unwrap());
    event.error = Some("invalid_client".to_owned());
    event.trace.push(TraceLine {
        gate: Gate::Client,
        result: GateResult::Refused,
        reason: Some(ReasonCode::ClientSecretWrong),
        note: "not one of its two secrets".to_owned(),
    });
    insta::assert_snapshot!(explain(&event), @r"
    Request       req_4
    When          2026-01-01T00:00:00.000Z
    What          a token request, refused before its grant was known
    Outcome       refused: client_secret_wrong
    Meaning       The secret is not one of the client's two live ones.
    Fix           Check which secret is deployed; procura client rotate-secret ID makes a new one.
    Answered      error=invalid_client
    Client        assistant, as claimed: it did not authenticate
    Scopes asked  left open: all that may be had

    Gates, in order:
       1  refused   client known, active, authenticated: not one of its two secrets [client_secret_wrong]
       2  -         grant allowed to the client: not reached
       3  -         subject token valid: not reached
       4  -         subject token belongs to this client: not reached
       5  -         actor is this client, or one it may present: not reached
       6  -         delegation chain: not reached
       7  -         target known and reachable: not reached
       8  -         scopes within every ceiling: not reached
       9  -         consent of the user: not reached
      10  -         policy: not reached
      11  -         limits: not reached
      12  -         lifetime: not reached
    ");
}

#[test]
fn explain_of_an_administrators_change_has_no_gates() {
    let mut event = AuditEvent::new(
        NOW_MS,
        "adm_1".to_owned(),
        EventKind::Administration,
        EventOutcome::Done,
        "client_suspended_by",
    );
    event.detail = Some("client assistant suspended".to_owned());
    insta::assert_snapshot!(explain(&event), @r"
    Request       adm_1
    When          2026-01-01T00:00:00.000Z
    What          a change by an administrator
    Outcome       done: client_suspended_by
    Detail        client assistant suspended
    ");
}

#[test]
fn explain_writes_control_characters_of_a_request_out() {
    let mut event = exchange("req_5", EventOutcome::Refused, "target_unknown");
    event.detail = Some("no backend \u{1b}[2J\nGranted       all".to_owned());
    event.trace.push(TraceLine {
        gate: Gate::Target,
        result: GateResult::Refused,
        reason: Some(ReasonCode::TargetUnknown),
        note: "\u{1b}]0;x\u{7}".to_owned(),
    });
    let text = explain(&event);
    assert!(text.contains(r"no backend \u{1b}[2J\nGranted       all"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

fn among(transaction: &[AuditEvent]) -> Beside<'_> {
    Beside { transaction, ..Beside::default() }
}

#[test]
fn who_tells_the_story_of_a_second_hop() {
    let transaction = [second_hop(), first_hop()];
    insta::assert_snapshot!(who(&second_hop(), &among(&transaction), NOW_MS + 3_600_000), @r"
    records-backend got a token to act for the user corp|alice at the backend models, asked by assistant.

    Who acted     records-backend, authenticated by private_key_jwt
    For whom      the user corp|alice, known to the identity provider corp as alice
    Through whom  corp|alice -> assistant -> records-backend -> models
    Where         models, https://models.example.com
    When          2026-01-01T00:00:02.000Z, 59 minutes ago
    Token ends    2026-01-01T00:01:00Z, ended 59 minutes ago
    May do        model.use
    Consent       g_2
    Token         t_2
    Got with      a token of https://procura.example.com, jti t_1
    Transaction   txn_1
    Request       req_2

    Earlier hops of the same transaction, oldest first:
      2026-01-01T00:00:00.000Z  assistant got a token to act for the user corp|alice at the backend records. Token t_1, request req_1.

    This is what the token allows. What was done with it is in the backend's own log, under the jti.
    ");
}

#[test]
fn who_names_the_tokens_that_a_first_hop_was_exchanged_for() {
    let transaction = [first_hop(), second_hop()];
    let text = who(&first_hop(), &among(&transaction), NOW_MS + 5_000);
    insta::assert_snapshot!(text, @r"
    assistant got a token to act for the user corp|alice at the backend records.

    Who acted     assistant, authenticated by client_secret_basic
    For whom      the user corp|alice, known to the identity provider corp as alice
    Through whom  corp|alice -> assistant -> records
    Where         records, https://records.example.com/api
    When          2026-01-01T00:00:00.000Z, 5 seconds ago
    Token ends    2026-01-01T00:05:00Z, ends in 4 minutes
    May do        records.read
    Consent       g_1
    Policies      built-in, of the policy set abc
    Token         t_1
    Got with      a token of https://idp.example.com, which has no jti
    Transaction   txn_1
    Request       req_1
    From          192.0.2.7

    The token was exchanged onward:
      2026-01-01T00:00:02.000Z  records-backend got a token to act for the user corp|alice at the backend models, asked by assistant. Token t_2, request req_2.

    This is what the token allows. What was done with it is in the backend's own log, under the jti.
    ");
}

#[test]
fn who_says_that_a_client_acted_for_itself() {
    let mut event = exchange("req_6", EventOutcome::Granted, "granted");
    event.kind = EventKind::ClientCredentials;
    event.subject = Some(EventSubject::named("assistant"));
    event.jti = Some("t_6".to_owned());
    let text = who(&event, &Beside::default(), NOW_MS);
    assert!(text.starts_with("assistant got a token to act for itself at the backend records."), "{text}");
    assert!(text.contains("For whom      the client assistant; no user is involved"), "{text}");
}

#[test]
fn who_ends_although_a_damaged_trail_leads_in_a_circle() {
    let (mut first, second) = (first_hop(), second_hop());
    first.subject_jti = Some("t_2".to_owned());
    let text = who(&second, &among(&[first, second.clone()]), NOW_MS);
    assert!(text.contains("Earlier hops"), "{text}");
}

// What the writer promises.

async fn writer(store: &Store, settings: AuditSettings) -> AuditWriter {
    AuditWriter::start(store.clone(), &settings, Clock::set_to(NOW_MS / 1000)).await.unwrap()
}

fn settings(events_per_commit: usize, queue: usize) -> AuditSettings {
    AuditSettings { events_per_commit, queue }
}

/// Hands in one event for each number, all at once, and returns the answers in order.
async fn record_all(writer: &AuditWriter, numbers: Range<usize>) -> Vec<Result<(), AuditUnavailable>> {
    let tasks: Vec<_> = numbers
        .map(|number| {
            let (writer, event) = (writer.clone(), granted(number));
            tokio::spawn(async move { writer.record(event, None).await })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

fn granted(number: usize) -> AuditEvent {
    let mut event = first_hop();
    event.request_id = format!("req_{number}");
    event.jti = Some(token(number));
    event
}

/// The jti of `granted(number)`.
fn token(number: usize) -> String {
    id_made_at("dtk", NOW_MS, number)
}

async fn chain_of(store: &Store, writer_id: &str) -> Vec<AuditEvent> {
    let stored = store.read_chain(writer_id, 0, 10_000).await.unwrap();
    stored.iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect()
}

async fn reasons_of(store: &Store, writer_id: &str) -> Vec<String> {
    chain_of(store, writer_id).await.into_iter().map(|event| event.reason).collect()
}

/// Waits until the writer has recovered by itself.
async fn healthy(writer: &AuditWriter) {
    let healthy = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while !writer.health().healthy {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), healthy).await.unwrap();
}

const NOT_TAKEN: &str = "audit events cannot be written at the moment";

/// A table that is not there: every commit fails, and nothing is lost when it is back.
const BREAK: &str = "ALTER TABLE audit_event RENAME TO audit_event_away";
const MEND: &str = "ALTER TABLE audit_event_away RENAME TO audit_event";

/// The body and the columns of an event about Alice, as if it were about Bob.
const TO_BOB: &str = "body = replace(body, 'corp|alice', 'corp|bob'), subject = 'corp|bob'";

store_test! {
    async fn a_chain_begins_with_the_start_of_its_server(db: TestDatabase) {
        let writer = writer(&db.store, settings(256, 4096)).await;
        let events = chain_of(&db.store, writer.writer_id()).await;
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].kind, events[0].reason.as_str()), (EventKind::WriterStarted, "writer_started"));
        assert_eq!(events[0].at_ms, NOW_MS);
        assert!(writer.health().healthy);
        writer.close().await;
    }

    async fn events_that_come_together_share_commits_and_are_all_durable(db: TestDatabase) {
        let writer = writer(&db.store, settings(32, 4096)).await;
        let answers = record_all(&writer, 0..100).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");

        let health = writer.health();
        assert_eq!((health.written, health.failed, health.waiting), (101, 0, 0));
        assert!((5..=50).contains(&health.commits), "{} commits", health.commits);
        assert!(health.commit_micros > 0);
        let report = verify(&db.store).await.unwrap();
        assert_eq!((report.events, report.faults), (101, vec![]));
        assert_eq!(db.store.event_of_token(&token(57)).await.unwrap().unwrap(), granted(57));
        writer.close().await;
    }

    async fn events_keep_the_order_in_which_they_were_handed_in(db: TestDatabase) {
        let writer = writer(&db.store, settings(7, 4096)).await;
        for number in 0..20 {
            writer.record(granted(number), None).await.unwrap();
        }
        let events = chain_of(&db.store, writer.writer_id()).await;
        let ids: Vec<_> = events.into_iter().skip(1).map(|event| event.request_id).collect();
        assert_eq!(ids, (0..20).map(|number| format!("req_{number}")).collect::<Vec<_>>());
        writer.close().await;
    }

    async fn what_an_event_taught_of_a_user_is_remembered_with_it(db: TestDatabase) {
        let writer = writer(&db.store, settings(256, 4096)).await;
        for (at, role) in [(10, "doctor"), (5, "student")] {
            writer.record(granted(at), Some(alice(role, at))).await.unwrap();
        }
        let known = db.store.find_user(&"corp|alice".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((known.attributes.roles, known.attributes_at), (vec!["doctor".to_owned()], 10));
        writer.close().await;
    }

    async fn an_event_beyond_the_queue_is_refused_at_once(db: TestDatabase) {
        let writer = writer(&db.store, settings(1, 2)).await;
        // Polled one after the other without a pause, so that the writer takes nothing in between.
        let mut waiting: Vec<_> = (0..3).map(|number| Box::pin(writer.record(granted(number), None))).collect();
        let mut answers = Vec::new();
        std::future::poll_fn(|context| {
            answers = waiting.iter_mut().map(|record| record.as_mut().poll(context)).collect();
            Poll::Ready(())
        })
        .await;
        let full = AuditUnavailable("the audit queue is full: 2 events wait to be written".to_owned());
        assert_eq!(answers, [Poll::Pending, Poll::Pending, Poll::Ready(Err(full))]);
        assert_eq!((writer.health().waiting, writer.health().failed), (2, 1));

        waiting.truncate(2);
        for record in waiting {
            record.await.unwrap();
        }
        assert_eq!(writer.health().waiting, 0);
        assert!(db.store.event_of_token(&token(2)).await.unwrap().is_none());
        writer.close().await;
    }

    async fn an_event_is_stored_although_the_caller_went_away(db: TestDatabase) {
        let writer = writer(&db.store, settings(256, 4096)).await;
        {
            let mut record = Box::pin(writer.record(granted(1), None));
            let first = std::future::poll_fn(|context| Poll::Ready(record.as_mut().poll(context))).await;
            assert_eq!(first, Poll::Pending);
        }
        writer.close().await;
        assert!(db.store.event_of_token(&token(1)).await.unwrap().is_some());
    }

    async fn closing_writes_what_waits_and_takes_nothing_more(db: TestDatabase) {
        let writer = writer(&db.store, settings(1, 4096)).await;
        let mut waiting: Vec<_> = (0..20).map(|number| Box::pin(writer.record(granted(number), None))).collect();
        std::future::poll_fn(|context| {
            assert!(waiting.iter_mut().all(|record| record.as_mut().poll(context).is_pending()));
            Poll::Ready(())
        })
        .await;
        writer.close().await;
        for record in waiting {
            record.await.unwrap();
        }
        assert_eq!(chain_of(&db.store, writer.writer_id()).await.len(), 21);
        let refused = writer.record(granted(20), None).await;
        assert_eq!(refused, Err(AuditUnavailable("the audit writer has ended".to_owned())));
        assert!(!writer.health().healthy);
    }

    async fn everyone_in_a_commit_that_failed_hears_so(db: TestDatabase) {
        let writer = writer(&db.store, settings(256, 4096)).await;
        db.execute(BREAK).await;
        let answers = record_all(&writer, 0..10).await;
        for answer in answers {
            let AuditUnavailable(problem) = answer.unwrap_err();
            assert!(problem.starts_with("the audit event could not be stored: "), "{problem}");
        }
        let health = writer.health();
        assert_eq!((health.written, health.failed, health.healthy), (1, 10, false));
        writer.close().await;
    }

    async fn after_a_failed_commit_events_are_refused_at_once_and_counted(db: TestDatabase) {
        let writer = writer(&db.store, settings(256, 4096)).await;
        db.execute(BREAK).await;
        writer.record(granted(0), None).await.unwrap_err();
        for number in 1..=5 {
            let mut record = Box::pin(writer.record(granted(number), None));
            let refused = std::future::poll_fn(|context| Poll::Ready(record.as_mut().poll(context))).await;
            assert_eq!(refused, Poll::Ready(Err(AuditUnavailable(NOT_TAKEN.to_owned()))));
        }
        let health = writer.health();
        assert_eq!((health.written, health.failed, health.waiting), (1, 6, 0));
        db.execute(MEND).await;
        healthy(&writer).await;
        assert_eq!(writer.admit(), Ok(()));
        // The try to recover that was under way may have told of the first one only: the next tells of the others.
        db.execute(BREAK).await;
        writer.record(granted(6), None).await.unwrap_err();
        db.execute(MEND).await;
        healthy(&writer).await;
        let events = chain_of(&db.store, writer.writer_id()).await;
        let told = events.iter().filter(|event| event.reason == "writer_resumed").map(|event| {
            let (words, count) = event.detail.as_deref().unwrap().rsplit_once(' ').unwrap();
            assert_eq!(words, "after a failed commit; events that failed, and for which no token was answered:");
            count.parse::<u64>().unwrap()
        });
        assert_eq!(told.sum::<u64>(), 7);
        writer.close().await;
    }

    async fn nobody_queues_behind_a_commit_that_takes_long(db: TestDatabase) {
        let writer = writer(&db.store, settings(1, 4096)).await;
        let lock = db.lock_events().await;
        let started = Instant::now();
        let (tried, waited) = tokio::join!(
            async {
                let tried = writer.record(granted(1), None).await;
                (tried, started.elapsed())
            },
            async {
                // Behind the first one, which is under way.
                let waited = writer.record(granted(2), None).await;
                let refused_after = started.elapsed();
                assert!(!writer.health().healthy);
                assert_eq!(writer.record(granted(3), None).await, Err(AuditUnavailable(NOT_TAKEN.to_owned())));
                assert!(started.elapsed() < refused_after + Duration::from_millis(500), "refused at once");
                lock.release().await;
                (waited, refused_after)
            }
        );
        let AuditUnavailable(problem) = waited.0.unwrap_err();
        assert_eq!(problem, "the audit event was not stored: the commit before it takes too long");
        assert!((Duration::from_secs(2)..Duration::from_secs(4)).contains(&waited.1), "{:?}", waited.1);
        assert_eq!(tried.0, Ok(()), "what was late and succeeded is durable");
        assert!(writer.health().healthy, "a commit that succeeded late ends it");
        writer.record(granted(4), None).await.unwrap();
        assert_eq!(reasons_of(&db.store, writer.writer_id()).await, ["writer_started", "granted", "granted"]);
        assert_eq!(writer.health().failed, 2);
        writer.close().await;
    }

    async fn a_user_is_not_remembered_from_a_commit_that_failed(db: TestDatabase) {
        let writer = writer(&db.store, settings(256, 4096)).await;
        db.execute(BREAK).await;
        writer.record(granted(1), Some(alice("doctor", 10))).await.unwrap_err();
        db.execute(MEND).await;
        assert!(db.store.find_user(&"corp|alice".parse().unwrap()).await.unwrap().is_none());
        writer.close().await;
    }

    async fn after_a_failure_the_chain_goes_on_and_says_what_happened(db: TestDatabase) {
        let writer = writer(&db.store, settings(256, 4096)).await;
        writer.record(granted(1), None).await.unwrap();
        db.execute(BREAK).await;
        writer.record(granted(2), None).await.unwrap_err();
        db.execute(MEND).await;
        healthy(&writer).await;
        writer.record(granted(3), None).await.unwrap();

        let events = chain_of(&db.store, writer.writer_id()).await;
        let reasons: Vec<_> = events.iter().map(|event| event.reason.as_str()).collect();
        assert_eq!(reasons, ["writer_started", "granted", "writer_resumed", "granted"]);
        let detail = events[2].detail.as_deref().unwrap();
        assert_eq!(detail, "after a failed commit; events that failed, and for which no token was answered: 1");
        assert_eq!(verify(&db.store).await.unwrap().faults, []);
        assert!(writer.health().healthy);
        writer.close().await;
    }

    async fn the_writer_recovers_although_no_request_comes(db: TestDatabase) {
        let writer = writer(&db.store, settings(256, 4096)).await;
        db.execute(BREAK).await;
        writer.record(granted(1), None).await.unwrap_err();
        db.execute(MEND).await;
        healthy(&writer).await;
        assert_eq!(reasons_of(&db.store, writer.writer_id()).await, ["writer_started", "writer_resumed"]);
        writer.close().await;
    }

    async fn a_commit_whose_answer_was_lost_neither_forks_nor_gaps_the_chain(db: TestDatabase) {
        let writer = writer(&db.store, settings(256, 4096)).await;
        db.execute(BREAK).await;
        writer.record(granted(1), None).await.unwrap_err();
        db.execute(MEND).await;
        // As if the database had carried out the commit that it did not answer.
        let mut head = db.store.chain_head(writer.writer_id()).await.unwrap().unwrap();
        let late = ChainedEvent::append(&mut head, granted(1));
        // The writer may have recovered by itself just before; then the late commit is the one that fails.
        let happened = db.store.append_events(&[late], &[]).await.is_ok();
        healthy(&writer).await;
        // It may have looked before the late commit came, and then finds out by this event.
        if writer.record(granted(2), None).await.is_err() {
            healthy(&writer).await;
            writer.record(granted(2), None).await.unwrap();
        }
        assert_eq!(verify(&db.store).await.unwrap().faults, []);
        assert_eq!(db.store.event_of_token(&token(1)).await.unwrap().is_some(), happened);
        assert!(db.store.event_of_token(&token(2)).await.unwrap().is_some());
        writer.close().await;
    }

    async fn events_that_the_database_lost_leave_a_trace(db: TestDatabase) {
        let writer = writer(&db.store, settings(256, 4096)).await;
        writer.record(granted(1), None).await.unwrap();
        let before = db.store.chain_head(writer.writer_id()).await.unwrap().unwrap();
        writer.record(granted(2), None).await.unwrap();
        db.execute(BREAK).await;
        writer.record(granted(3), None).await.unwrap_err();
        // As a backup would bring the database back: while it was away, what was stored last is undone.
        db.execute("DELETE FROM audit_event_away WHERE seq = 3").await;
        db.execute(&format!("UPDATE audit_chain SET seq = 2, hash = '{}'", before.hash)).await;
        db.execute(MEND).await;
        healthy(&writer).await;
        writer.record(granted(4), None).await.unwrap();

        let events = chain_of(&db.store, writer.writer_id()).await;
        let detail = events[2].detail.as_deref().unwrap();
        assert!(detail.starts_with("the database lost events of this chain that had been stored: 3 to 3"), "{detail}");
        assert_eq!(verify(&db.store).await.unwrap().faults, []);
        writer.close().await;
    }

    async fn two_servers_write_chains_of_their_own(db: TestDatabase) {
        let one = writer(&db.store, settings(8, 4096)).await;
        let two = writer(&db.another_store().await, settings(8, 4096)).await;
        let (answers_of_one, answers_of_two) = tokio::join!(record_all(&one, 0..50), record_all(&two, 50..100));
        assert!(answers_of_one.iter().chain(&answers_of_two).all(Result::is_ok));
        let report = verify(&db.store).await.unwrap();
        assert_eq!((report.chains.len(), report.events, report.faults), (2, 102, vec![]));
        one.close().await;
        two.close().await;
    }

    // What the check finds.

    async fn an_untouched_trail_is_whole(db: TestDatabase) {
        let writer_id = five_events(&db.store).await;
        let report = verify(&db.store).await.unwrap();
        let head = db.store.chain_head(&writer_id).await.unwrap().unwrap();
        let CheckedChain { seq, hash, .. } = &report.chains[0];
        assert_eq!((report.events, report.chains.len(), *seq, hash), (6, 1, 6, &head.hash));
        assert_eq!(report.faults, []);
    }

    async fn one_changed_byte_of_an_event_is_found(db: TestDatabase) {
        let writer_id = five_events(&db.store).await;
        db.execute("UPDATE audit_event SET body = replace(body, 'corp|alice', 'corp|alicf') WHERE seq = 3").await;
        expect_fault(&db.store, &writer_id, 3, "changed: its hash is ").await;
    }

    async fn a_changed_hash_is_found(db: TestDatabase) {
        let writer_id = five_events(&db.store).await;
        db.execute("UPDATE audit_event SET hash = prev_hash WHERE seq = 3").await;
        expect_fault(&db.store, &writer_id, 3, "changed: its hash is ").await;
    }

    async fn a_changed_event_with_a_fitting_hash_is_found_at_the_next_one(db: TestDatabase) {
        let writer_id = five_events(&db.store).await;
        let stored = db.store.read_chain(&writer_id, 2, 1).await.unwrap().remove(0);
        let body = stored.body.replace("corp|alice", "corp|bob");
        let hash = ChainedEvent::hash(&writer_id, 3, &stored.prev_hash, &body);
        db.execute(&format!("UPDATE audit_event SET {TO_BOB}, hash = '{hash}' WHERE seq = 3")).await;
        expect_fault(&db.store, &writer_id, 4, "does not follow the event before it").await;
    }

    async fn a_deleted_event_is_found(db: TestDatabase) {
        let writer_id = five_events(&db.store).await;
        db.execute("DELETE FROM audit_event WHERE seq = 3").await;
        expect_fault(&db.store, &writer_id, 3, "missing: the next event in the chain is 4").await;
    }

    async fn two_swapped_events_are_found(db: TestDatabase) {
        let writer_id = five_events(&db.store).await;
        for (from, to) in [(3, -1), (4, 3), (-1, 4)] {
            db.execute(&format!("UPDATE audit_event SET seq = {to} WHERE seq = {from}")).await;
        }
        expect_fault(&db.store, &writer_id, 3, "does not follow the event before it").await;
    }

    async fn a_changed_column_is_found(db: TestDatabase) {
        let writer_id = five_events(&db.store).await;
        db.execute("UPDATE audit_event SET subject = 'corp|bob' WHERE seq = 3").await;
        expect_fault(&db.store, &writer_id, 3, r#"changed: its column subject says "corp|bob", its body "corp|alice""#)
            .await;
    }

    async fn every_column_is_compared_with_the_body(db: TestDatabase) {
        let writer_id = five_events(&db.store).await;
        for (column, value) in [
            ("at_ms", "1"),
            ("request_id", "'x'"),
            ("outcome", "'refused'"),
            ("reason", "'x'"),
            ("subject", "NULL"),
            ("client", "'x'"),
            ("resource", "'x'"),
            ("jti", "'x'"),
            ("txn", "NULL"),
        ] {
            db.execute("DROP TABLE IF EXISTS kept").await;
            db.execute("CREATE TABLE kept AS SELECT * FROM audit_event").await;
            db.execute(&format!("UPDATE audit_event SET {column} = {value} WHERE seq = 3")).await;
            expect_fault(&db.store, &writer_id, 3, &format!("changed: its column {column} says")).await;
            let kept = format!("(SELECT kept.{column} FROM kept WHERE kept.seq = audit_event.seq)");
            db.execute(&format!("UPDATE audit_event SET {column} = {kept}")).await;
        }
        assert_eq!(verify(&db.store).await.unwrap().faults, []);
    }

    async fn a_missing_newest_event_is_found_by_the_head(db: TestDatabase) {
        let writer_id = five_events(&db.store).await;
        db.execute("DELETE FROM audit_event WHERE seq >= 5").await;
        expect_fault(&db.store, &writer_id, 5, "missing: no event follows, but the chain has 6").await;
    }

    async fn a_replaced_newest_event_is_found_by_the_head(db: TestDatabase) {
        let writer_id = five_events(&db.store).await;
        let stored = db.store.read_chain(&writer_id, 5, 1).await.unwrap().remove(0);
        let body = stored.body.replace("corp|alice", "corp|bob");
        let hash = ChainedEvent::hash(&writer_id, 6, &stored.prev_hash, &body);
        db.execute(&format!("UPDATE audit_event SET {TO_BOB}, hash = '{hash}' WHERE seq = 6")).await;
        expect_fault(&db.store, &writer_id, 6, "replaced: its hash is ").await;
    }

    async fn a_head_that_was_set_back_is_found(db: TestDatabase) {
        let writer_id = five_events(&db.store).await;
        let hash = "(SELECT hash FROM audit_event WHERE audit_event.seq = 4)";
        db.execute(&format!("UPDATE audit_chain SET seq = 4, hash = {hash}")).await;
        expect_fault(&db.store, &writer_id, 7, "the head of the chain was set back to event 4").await;
    }

    async fn events_without_a_head_are_found(db: TestDatabase) {
        let writer_id = five_events(&db.store).await;
        db.execute("DELETE FROM audit_chain").await;
        expect_fault(&db.store, &writer_id, 7, "the head of the chain was removed").await;
    }

    async fn a_fault_in_one_chain_does_not_hide_another(db: TestDatabase) {
        let (one, two) = (five_events(&db.store).await, five_events(&db.store).await);
        db.execute(&format!("DELETE FROM audit_event WHERE seq = 3 AND writer_id = '{one}'")).await;
        db.execute(&format!("DELETE FROM audit_event WHERE seq = 4 AND writer_id = '{two}'")).await;
        let faults = verify(&db.store).await.unwrap().faults;
        let mut places: Vec<_> = faults.into_iter().map(|fault| (fault.writer_id, fault.seq)).collect();
        places.sort();
        let mut expected = vec![(one, 3), (two, 4)];
        expected.sort();
        assert_eq!(places, expected);
    }

    async fn a_chain_longer_than_a_page_is_read_to_its_end(db: TestDatabase) {
        let mut head = ChainHead::empty("w_long");
        let events: Vec<_> = (0..1_201).map(|number| ChainedEvent::append(&mut head, granted(number))).collect();
        for page in events.chunks(400) {
            db.store.append_events(page, &[]).await.unwrap();
        }
        assert_eq!(verify(&db.store).await.unwrap().events, 1_201);
        db.execute("UPDATE audit_event SET jti = 'x' WHERE seq = 1100").await;
        expect_fault(&db.store, "w_long", 1_100, "changed: its column jti").await;
    }
}

/// A writer that started, wrote five events and ended: places 1 to 6.
async fn five_events(store: &Store) -> String {
    let writer = writer(store, settings(256, 4096)).await;
    for number in 1..=5 {
        writer.record(granted(number), None).await.unwrap();
    }
    writer.close().await;
    writer.writer_id().to_owned()
}

async fn expect_fault(store: &Store, writer_id: &str, seq: i64, problem: &str) {
    let faults = verify(store).await.unwrap().faults;
    assert!(matches!(&faults[..], [fault] if fault.writer_id == writer_id && fault.seq == seq), "{faults:?}");
    assert!(faults[0].problem.starts_with(problem), "{}", faults[0].problem);
}

fn alice(role: &str, attributes_at: usize) -> User {
    User {
        id: "corp|alice".parse().unwrap(),
        idp: "corp".parse().unwrap(),
        idp_sub: "alice".to_owned(),
        attributes: UserAttributes { roles: vec![role.to_owned()], ..UserAttributes::default() },
        attributes_at: i64::try_from(attributes_at).unwrap(),
        suspended_at: None,
    }
}

// What operators type.

/// Runs `procura` on a SQLite file; exit status, stdout, stderr.
fn procura(database: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_procura"))
        .env_clear()
        .env("PROCURA_ISSUER", "http://127.0.0.1:8420")
        .current_dir(database.parent().unwrap())
        .args(["--database-url", &format!("sqlite://{}", database.display())])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The event with ids as they are made, which begin with its time.
fn with_made_ids(mut event: AuditEvent) -> AuditEvent {
    event.request_id = id_made_at("req", event.at_ms, &event.request_id[4..]);
    event.jti = event.jti.map(|jti| id_made_at("dtk", event.at_ms, &jti[2..]));
    event.subject_jti = event.subject_jti.map(|jti| id_made_at("dtk", NOW_MS, &jti[2..]));
    event
}

fn made_token(number: usize) -> String {
    id_made_at("dtk", NOW_MS + [0, 2_000][number - 1], number)
}

fn made_request(number: usize) -> String {
    let at_ms = NOW_MS + [0, 2_000, 60_000][number - 1];
    id_made_at("req", at_ms, number)
}

/// A SQLite file with Alice's two hops, and a third request that was refused: places 2 to 4.
async fn trail() -> (TestDatabase, PathBuf) {
    let db = TestDatabase::new(Kind::Sqlite).await;
    let writer = writer(&db.store, settings(256, 4096)).await;
    let mut refused = exchange("req_3", EventOutcome::Refused, "consent_missing");
    refused.at_ms += 60_000;
    for event in [first_hop(), second_hop(), refused].map(with_made_ids) {
        writer.record(event, None).await.unwrap();
    }
    writer.close().await;
    db.store.close().await;
    let file = db.directory.path().join("procura.db");
    (db, file)
}

#[tokio::test]
async fn the_command_explain_tells_of_a_request_and_of_an_unknown_one_where_to_look() {
    let (_db, file) = trail().await;
    let (status, stdout, stderr) = procura(&file, &["explain", &made_request(1)]);
    assert_eq!(
        (status, stdout, stderr),
        (Some(0), format!("{}\n", explain(&with_made_ids(first_hop()))), String::new())
    );
    let (_, stdout, _) = procura(&file, &["--json", "explain", &made_request(1)]);
    assert_eq!(serde_json::from_str::<Vec<AuditEvent>>(&stdout).unwrap(), [with_made_ids(first_hop())]);

    let (status, stdout, stderr) = procura(&file, &["explain", "req_9"]);
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(stderr.starts_with(r#"procura: no event has the request id "req_9"; "#), "{stderr}");
    assert_eq!(stderr.lines().count(), 1);
}

#[tokio::test]
async fn the_command_who_tells_of_a_token_and_its_earlier_hops() {
    let (_db, file) = trail().await;
    let (status, stdout, _) = procura(&file, &["who", &made_token(2)]);
    assert_eq!(status, Some(0));
    assert!(stdout.starts_with("records-backend got a token to act for the user corp|alice"), "{stdout}");
    assert!(stdout.contains("Earlier hops"), "{stdout}");
    let (_, stdout, _) = procura(&file, &["--json", "who", &made_token(2)]);
    let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(answer["event"], serde_json::to_value(with_made_ids(second_hop())).unwrap());
    assert_eq!(answer["earlier_hops"], serde_json::to_value([with_made_ids(first_hop())]).unwrap());

    let (status, _, stderr) = procura(&file, &["who", "t_9"]);
    assert_eq!(status, Some(1));
    assert!(
        stderr.starts_with(r#"procura: no event says that a token with the jti "t_9" was issued here"#),
        "{stderr}"
    );
}

#[tokio::test]
async fn the_command_who_tells_of_a_second_event_that_says_it_issued_the_token() {
    let (db, file) = trail().await;
    let store = Store::connect(&db.url).await.unwrap();
    // As somebody would put it there who can write to the database: a chain of its own.
    let mut forged = with_made_ids(second_hop());
    forged.at_ms += 1;
    forged.subject = Some(EventSubject::named("corp|mallory"));
    let mut head = ChainHead::empty("a");
    store.append_events(&[ChainedEvent::append(&mut head, forged)], &[]).await.unwrap();
    let (status, stdout, stderr) = procura(&file, &["who", &made_token(2)]);
    assert_eq!(status, Some(1));
    assert!(stdout.contains("corp|mallory") && stdout.contains("corp|alice"), "both are told: {stdout}");
    assert!(stderr.starts_with("procura: 2 events say that they issued this token"), "{stderr}");
    assert!(store.event_of_token(&made_token(2)).await.is_err(), "nothing rests on either");
    store.close().await;
}

#[tokio::test]
async fn the_command_who_does_not_repeat_a_token_that_was_given_instead_of_its_jti() {
    let (_db, file) = trail().await;
    let (status, _, stderr) = procura(&file, &["who", "eyJhbGciOiJFUzI1NiJ9.eyJqdGkiOiJ0XzEifQ.c2lnbmF0dXJl"]);
    assert_eq!(status, Some(1));
    assert!(stderr.contains("procura inspect") && !stderr.contains("eyJ"), "{stderr}");
}

#[tokio::test]
async fn the_command_audit_list_filters_newest_first() {
    let (_db, file) = trail().await;
    let requests = |arguments: &[&str]| -> Vec<String> {
        let (status, stdout, stderr) = procura(&file, &[&["--json", "audit", "list"], arguments].concat());
        let is_cut = arguments.contains(&"--limit");
        let note = "these are the newest 1; there may be more: --limit, or --until and --since\n";
        assert_eq!((status, stderr.as_str()), (Some(0), if is_cut { note } else { "" }));
        let events: Vec<AuditEvent> = serde_json::from_str(&stdout).unwrap();
        events.into_iter().map(|event| event.request_id).filter(|id| id.starts_with("req_")).collect()
    };
    assert_eq!(requests(&[]), [3, 2, 1].map(made_request));
    assert_eq!(requests(&["--limit", "1"]), [made_request(3)]);
    assert_eq!(requests(&["--user", "corp|alice", "--outcome", "granted"]), [2, 1].map(made_request));
    assert_eq!(requests(&["--client", "records-backend"]), [made_request(2)]);
    assert_eq!(requests(&["--resource", "records", "--reason", "consent_missing"]), [made_request(3)]);
    assert_eq!(requests(&["--since", "2026-01-01T00:00:02Z", "--until", "2026-01-01T00:01:00Z"]), [made_request(2)]);

    let (_, stdout, _) = procura(&file, &["audit", "list", "--client", "records-backend"]);
    assert_eq!(stdout.lines().count(), 2);
    assert!(stdout.contains("2026-01-01T00:00:02.000Z  granted  granted  records-backend  corp|alice"), "{stdout}");
    let (status, stdout, stderr) = procura(&file, &["audit", "list", "--user", "nobody"]);
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (Some(0), "", "no event matches\n"));
    let (_, _, stderr) = procura(&file, &["audit", "list", "--reason", "consent_mising"]);
    assert_eq!(stderr, "no event matches; did you mean `consent_missing`?\n");
    let (status, _, stderr) = procura(&file, &["audit", "list", "--since", "yesterday"]);
    assert_eq!(status, Some(1));
    assert!(stderr.contains(r#""yesterday" is no time"#), "{stderr}");
}

#[tokio::test]
async fn the_command_audit_verify_counts_and_after_a_change_names_the_place() {
    let (db, file) = trail().await;
    let (status, stdout, _) = procura(&file, &["audit", "verify"]);
    assert_eq!(
        (status, stdout.as_str()),
        (
            Some(0),
            "whole: 1 chain with 4 events\nnot signed yet: 4 events, newer than any checkpoint\nnot compared: checkpoints \
             kept outside (--checkpoints FILE), by which alone it shows that the newest events were removed together with \
             their checkpoints\n"
        )
    );

    db.execute("UPDATE audit_event SET body = replace(body, 'corp|alice', 'corp|alicf') WHERE seq = 3").await;
    let (status, stdout, stderr) = procura(&file, &["audit", "verify"]);
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("event 3: changed: its hash is "), "{stderr}");
    assert!(stderr.ends_with("procura: broken: 1 of 1 chain\n"), "{stderr}");
    let (status, stdout, _) = procura(&file, &["--json", "audit", "verify"]);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((status, &report["faults"][0]["seq"], &report["chains"][0]["seq"]), (Some(1), &3.into(), &2.into()));
}

/// The page says that a few lines of Python can check a chain: these are run, on a whole and on a changed trail.
#[tokio::test]
async fn the_python_of_the_reference_page_checks_a_chain() {
    let (db, file) = trail().await;
    let page = include_str!("../../docs/reference/audit.md");
    let script = page.split_once("```python\n").unwrap().1.split_once("```").unwrap().0;
    let check = || Command::new("python3").args(["-c", script]).arg(&file).output().expect("python3 is installed");
    let whole = check();
    let stdout = String::from_utf8(whole.stdout).unwrap();
    assert!(whole.status.success() && stdout.contains(": 4 events, last hash "), "{stdout}");

    db.execute("UPDATE audit_event SET body = replace(body, 'corp|alice', 'corp|alicf') WHERE seq = 3").await;
    let changed = check();
    assert!(!changed.status.success());
    assert!(String::from_utf8(changed.stderr).unwrap().contains("broken at event 3"));
}

#[tokio::test]
async fn the_command_keys_rotates_and_lists_what_is_in_which_phase() {
    let db = TestDatabase::new(Kind::Sqlite).await;
    let file = db.directory.path().join("procura.db");
    let phases = || -> Vec<(String, String)> {
        let (status, stdout, _) = procura(&file, &["--json", "keys", "list"]);
        assert_eq!(status, Some(0));
        assert!(!stdout.contains("private"), "{stdout}");
        let keys: Vec<serde_json::Value> = serde_json::from_str(&stdout).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        keys.iter().map(|key| (text(&key["kid"]), text(&key["phase"]))).collect()
    };
    let phase_names = || phases().into_iter().map(|(_, phase)| phase).collect::<Vec<_>>();

    let (status, _, stderr) = procura(&file, &["keys", "list"]);
    assert_eq!((status, stderr.as_str()), (Some(0), "no signing key yet: procura serve makes the first ones\n"));
    assert_eq!(procura(&file, &["keys", "rotate"]).0, Some(0));
    assert_eq!(phase_names(), ["signing"]);
    let (status, stdout, _) = procura(&file, &["keys", "rotate"]);
    assert_eq!(status, Some(0));
    assert!(stdout.contains("signs from") && !stdout.contains("What breaks"), "{stdout}");
    assert_eq!(phase_names(), ["signing", "published"]);

    let (status, stdout, _) = procura(&file, &["keys", "rotate", "--algorithm", "es256", "--emergency"]);
    assert_eq!(status, Some(0));
    assert!(stdout.contains("What breaks, and for how long:"), "{stdout}");
    assert_eq!(phase_names(), ["removed", "removed", "signing"]);
    let (kid, _) = phases().pop().unwrap();
    let filter = EventFilter { reason: Some("signing_key_replaced".to_owned()), limit: 10, ..EventFilter::default() };
    let events = db.store.list_events(&filter).await.unwrap();
    assert_eq!(events.iter().map(|event| event.kid.as_deref()).collect::<Vec<_>>(), [Some(kid.as_str())]);

    let (status, _, stderr) = procura(&file, &["keys", "rotate", "--algorithm", "HS256"]);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("expected one of ES256, EdDSA, RS256, PS256"), "{stderr}");
}
