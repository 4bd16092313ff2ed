//! `POST /audit/use`: who may report what of which token, and what `who` then tells.

use crate::database::Kind;
use crate::server::{Answer, NOW, basic_header, claims};
use crate::world::World;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use procura::audit::explain::{Beside, explain, who};
use procura::domain::decision::ReasonCode;
use procura::domain::event::{EventKind, EventOutcome};
use procura::store::EventFilter;
use serde_json::{Value, json};
use std::time::Duration;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const QUERY: &str = "SELECT * FROM records WHERE patient = $1 -- the doctor's list";

async fn post(world: &World, client: &str, content_type: &str, body: String) -> Answer {
    let request = Request::post("/audit/use")
        .header(header::CONTENT_TYPE, content_type)
        .header(header::AUTHORIZATION, basic_header(client, world.secret(client)))
        .body(Body::from(body))
        .unwrap();
    world.server.send(request).await
}

async fn reports(world: &World, client: &str, members: Value) -> Answer {
    post(world, client, JSON, members.to_string()).await
}

/// The jti of a token of Alice for the records.
async fn jti(world: &World) -> String {
    claims(&world.records_token().await)["jti"].as_str().unwrap().to_owned()
}

world_test! {
    async fn a_backend_reports_a_use_and_who_tells_it(world: World) {
        let jti = jti(&world).await;
        let store = &world.server.app.store;
        let body = json!({"jti": jti, "for": QUERY, "used_at": NOW + 5, "request_id": "q-17"});
        let answer = reports(&world, "records-backend", body).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NO_CONTENT, ""));
        assert_eq!(answer.header("cache-control"), "no-store");
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("jti", jti.as_str()), ("for", "an export")])
            .finish();
        assert_eq!(post(&world, "records-backend", FORM, form).await.status, StatusCode::NO_CONTENT);

        let event = world.server.event(&answer).await;
        assert_eq!((event.kind, event.outcome, event.reason.as_str()), (EventKind::Use, EventOutcome::Done, "used"));
        assert_eq!(event.client.as_ref().unwrap().as_str(), "records-backend");
        assert_eq!((event.subject_sub(), event.actors.as_slice()), (Some("corp|alice"), &["assistant".to_owned()][..]));
        assert_eq!((event.jti.as_deref(), event.used_at), (Some(jti.as_str()), Some(NOW + 5)));
        assert_eq!((event.used_for.as_deref(), event.backend_request_id.as_deref()), (Some(QUERY), Some("q-17")));
        assert!(explain(&event).contains(&format!("Used for      {QUERY}")), "{}", explain(&event));

        let issued = store.event_of_token(&jti).await.unwrap().unwrap();
        assert_eq!(issued.outcome, EventOutcome::Granted, "a use is never taken for the token");
        let uses = store.uses_of_token(&jti, 10).await.unwrap();
        assert_eq!(uses.len(), 2);
        let text = who(&issued, &Beside { uses: &uses, ..Beside::default() }, NOW * 1000);
        assert!(text.contains("What it was used for, as its backend reports:"), "{text}");
        assert!(text.contains(&format!("{QUERY} (reported by records-backend, its request q-17, request ")), "{text}");
        let filter = EventFilter { reason: Some("used".to_owned()), limit: 9, ..EventFilter::default() };
        assert_eq!(store.list_events(&filter).await.unwrap().len(), 2);
    }

    async fn an_unknown_token_and_one_for_another_backend_get_the_same_answer(world: World) {
        let jti = jti(&world).await;
        let unknown = crate::database::id_made_at("dtk", NOW * 1000, 7);
        let mut answers = Vec::new();
        for (client, jti) in [
            ("records-backend", unknown.as_str()),
            ("records-backend", "eyJhbGciOiJFUzI1NiJ9.e30.AA"),
            ("models-backend", jti.as_str()),
            ("assistant", jti.as_str()),
        ] {
            let answer = reports(&world, client, json!({"jti": jti, "for": "x"})).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST);
            world.assert_refused(&answer, ReasonCode::UseTokenUnknown).await;
            let event = world.server.event(&answer).await;
            assert_eq!((event.kind, event.subject_sub()), (EventKind::Use, None));
            assert!(!serde_json::to_string(&event).unwrap().contains("eyJ"), "what may be a token is not written down");
            answers.push(answer.text);
        }
        answers.dedup();
        assert_eq!(answers.len(), 1);
        assert!(world.server.app.store.uses_of_token(&jti, 10).await.unwrap().is_empty());
    }

    async fn what_cannot_be_is_refused(world: World) {
        let jti = jti(&world).await;
        let with = |members: Value| crate::issuer::with(json!({"jti": jti, "for": "x"}), members);
        for (members, reason) in [
            (json!({"jti": jti}), ReasonCode::ParameterMissing),
            (json!({"for": "x"}), ReasonCode::ParameterMissing),
            (with(json!({"for": ""})), ReasonCode::ParameterMissing),
            (with(json!({"for": "x".repeat(4_097)})), ReasonCode::UseReportInvalid),
            (with(json!({"for": "a\u{0}b"})), ReasonCode::UseReportInvalid),
            (with(json!({"at": NOW})), ReasonCode::UseReportInvalid),
            (with(json!({"resource": "records"})), ReasonCode::UseReportInvalid),
            (with(json!({"for": "a\u{1b}[2J"})), ReasonCode::UseReportInvalid),
            (with(json!({"for": ["x"]})), ReasonCode::UseReportInvalid),
            (with(json!({"request_id": "r".repeat(257)})), ReasonCode::UseReportInvalid),
            (with(json!({"request_id": "r\u{7f}"})), ReasonCode::UseReportInvalid),
            (with(json!({"used_at": "yesterday"})), ReasonCode::UseReportInvalid),
            (with(json!({"used_at": 1.5})), ReasonCode::UseReportInvalid),
            (with(json!({"used_at": NOW + 61})), ReasonCode::UseReportInvalid),
            (with(json!({"used_at": NOW - 61})), ReasonCode::UseReportInvalid),
        ] {
            let answer = reports(&world, "records-backend", members.clone()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{members}");
            world.assert_refused(&answer, reason).await;
        }
        for (content_type, body) in [(JSON, "[]"), (JSON, r#"{"jti":"a","jti":"b","for":"x"}"#), ("text/plain", "jti=a&for=x")] {
            let answer = post(&world, "records-backend", content_type, body.to_owned()).await;
            world.assert_refused(&answer, ReasonCode::UseReportUnreadable).await;
        }
        for members in [with(json!({"for": "x\n\t".repeat(1_365)})), with(json!({"used_at": NOW + 60})), with(json!({"used_at": (NOW - 60).to_string()}))] {
            assert_eq!(reports(&world, "records-backend", members).await.status, StatusCode::NO_CONTENT);
        }
        assert_eq!(world.server.app.store.uses_of_token(&jti, 10).await.unwrap().len(), 3);
    }

    async fn only_a_client_that_proves_who_it_is_reports(world: World) {
        let jti = jti(&world).await;
        let body = || Body::from(json!({"jti": jti, "for": "x"}).to_string());
        let request = |authorization: Option<String>| {
            let mut request = Request::post("/audit/use").header(header::CONTENT_TYPE, JSON);
            if let Some(value) = authorization {
                request = request.header(header::AUTHORIZATION, value);
            }
            request.body(body()).unwrap()
        };
        for authorization in [None, Some(basic_header("records-backend", "wrong")), Some("Bearer x".to_owned())] {
            let answer = world.server.send(request(authorization)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        }
        assert!(world.server.app.store.uses_of_token(&jti, 10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_use_of_a_token_that_has_ended_says_when_it_was_and_who_marks_one_after_the_end() {
    let world = World::new(Kind::Sqlite).await;
    let token = world.records_token().await;
    let (jti, ends) = (claims(&token)["jti"].as_str().unwrap().to_owned(), claims(&token)["exp"].as_i64().unwrap());
    world.server.clock.advance(Duration::from_mins(10));
    let now = reports(&world, "records-backend", json!({"jti": jti, "for": "x"})).await;
    world.assert_refused(&now, ReasonCode::UseReportInvalid).await;
    for (used_at, used_for) in [(ends - 1, "in time"), (ends + 1, "late")] {
        let answer = reports(&world, "records-backend", json!({"jti": jti, "for": used_for, "used_at": used_at})).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
    }
    let store = &world.server.app.store;
    let (issued, uses) =
        (store.event_of_token(&jti).await.unwrap().unwrap(), store.uses_of_token(&jti, 10).await.unwrap());
    let told = who(&issued, &Beside { uses: &uses, ..Beside::default() }, ends * 1000);
    let line =
        |word: &str| told.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{told}")).to_owned();
    assert!(!line("in time").contains("after the token ended"), "{told}");
    assert!(line("late").contains("after the token ended"), "{told}");
}

#[tokio::test]
async fn a_token_in_a_report_is_not_written_down() {
    let world = World::new(Kind::Sqlite).await;
    let token = world.records_token().await;
    let jti = claims(&token)["jti"].as_str().unwrap().to_owned();
    let members = json!({"jti": jti, "for": format!("GET /x?token={token} for Alice"), "request_id": "q pac_0123456789aBcDeFgHiJkL.1"});
    let answer = reports(&world, "records-backend", members).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let event = world.server.event(&answer).await;
    assert_eq!(event.used_for.as_deref(), Some("GET /x?token=[token removed] for Alice"));
    assert_eq!(event.backend_request_id.as_deref(), Some("q [token removed]"));
    let whole = serde_json::to_string(&event).unwrap();
    assert!(!whole.contains(token.split('.').nth(1).unwrap()), "{whole}");
}

#[tokio::test]
async fn a_use_that_is_reported_too_late_is_refused() {
    let world = World::new(Kind::Sqlite).await;
    let jti = jti(&world).await;
    world.server.clock.advance(Duration::from_secs(86_400 + 10));
    let late = reports(&world, "records-backend", json!({"jti": jti, "for": "x", "used_at": NOW + 5})).await;
    world.assert_refused(&late, ReasonCode::UseReportInvalid).await;
    assert_eq!(world.server.event(&late).await.detail.as_deref(), Some("used_at is more than a day ago"));
}

#[tokio::test]
async fn reports_of_a_client_and_of_a_token_are_limited() {
    let world = World::configured(
        Kind::Sqlite,
        &[("PROCURA_AUDIT__USES_PER_TOKEN", "3"), ("PROCURA_AUDIT__USES_PER_MINUTE", "5")],
    )
    .await;
    let (one, other) = (jti(&world).await, jti(&world).await);
    let report = async |jti: &str| reports(&world, "records-backend", json!({"jti": jti, "for": "x"})).await;
    for _ in 0..3 {
        assert_eq!(report(&one).await.status, StatusCode::NO_CONTENT);
    }
    let full = report(&one).await;
    assert_eq!(full.status, StatusCode::BAD_REQUEST);
    world.assert_refused(&full, ReasonCode::UseTokenFull).await;
    assert_eq!(report(&other).await.status, StatusCode::NO_CONTENT);
    let limited = report(&other).await;
    assert_eq!((limited.status, limited.json()["error"].as_str()), (StatusCode::TOO_MANY_REQUESTS, Some("slow_down")));
    assert_eq!(limited.json()["error_description"], ReasonCode::UsesTooMany.public_description());
    assert!(!limited.header("retry-after").is_empty());
    assert!(world.server.app.store.events_of_request(limited.request_id()).await.unwrap().is_empty());
    // Another client is not held up by it: it only hears that this is not its token.
    let foreign = reports(&world, "models-backend", json!({"jti": other, "for": "x"})).await;
    world.assert_refused(&foreign, ReasonCode::UseTokenUnknown).await;
}

#[tokio::test]
async fn every_other_method_is_answered_405_and_no_other_origin_is_let_in() {
    let world = World::new(Kind::Sqlite).await;
    for method in ["GET", "PUT", "OPTIONS", "DELETE"] {
        let request = Request::builder().method(method).uri("/audit/use").header("origin", "https://x.example");
        let answer = world.server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
        assert_eq!(answer.header("access-control-allow-origin"), "");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}
