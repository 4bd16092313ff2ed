//! What a caller hears: statuses, challenges, and nothing of what was sent.

use super::{AUDIENCE, Bench, ISSUER, JWKS};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use axum::routing::get;
use procura::verify::{Caller, Reason, Refused, Verifier};
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;

const METADATA: &str = "https://records.example.com/.well-known/oauth-protected-resource/api";

fn verifier(bench: &Bench) -> Verifier {
    bench.builder().resource_metadata(METADATA).challenge_scopes(&["records.read", "records.write"]).build().unwrap()
}

/// A backend with axum: rows for whoever may read, changes for whoever may write too.
fn backend(verifier: &Verifier) -> Router {
    async fn rows(caller: Caller) -> String {
        format!("{} by {}", caller.user, caller.agent.unwrap())
    }
    async fn change(caller: Caller) -> Result<&'static str, Refused> {
        caller.require(&["records.read", "records.delete"])?;
        Ok("changed")
    }
    Router::new()
        .route("/rows", get(rows).post(change))
        .layer(verifier.layer().requiring(&["records.read"]))
        .route("/open", get(rows))
}

async fn send(verifier: &Verifier, request: Request<Body>) -> Response<Body> {
    backend(verifier).oneshot(request).await.unwrap()
}

fn request(method: &str, path: &str, authorization: &[&str]) -> Request<Body> {
    let mut request =
        Request::builder().method(method).uri(path).header("x-user-id", "corp|bob").header("x-user", "bob");
    for value in authorization {
        request = request.header("authorization", *value);
    }
    request.body(Body::empty()).unwrap()
}

/// The status, the challenge and the error in the body.
async fn heard(answer: Response<Body>) -> (u16, String, Value) {
    let challenge = answer.headers().get("www-authenticate").map_or("", |value| value.to_str().unwrap()).to_owned();
    let status = answer.status().as_u16();
    let body = to_bytes(answer.into_body(), 10_000).await.unwrap();
    (status, challenge, serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body))))
}

#[tokio::test]
async fn without_a_token_the_challenge_says_where_to_get_one_and_what_to_ask_for() {
    let bench = Bench::new();
    let (status, challenge, body) = heard(send(&verifier(&bench), request("GET", "/rows", &[])).await).await;
    let expected =
        format!("Bearer realm=\"{AUDIENCE}\", scope=\"records.read records.write\", resource_metadata=\"{METADATA}\"");
    assert_eq!((status, challenge), (401, expected));
    assert_eq!(body["error"], "unauthorized");
    let plain = bench.builder().realm("records").build().unwrap();
    let (_, challenge, _) = heard(send(&plain, request("GET", "/rows", &["Basic YTpi"])).await).await;
    assert_eq!(challenge, "Bearer realm=\"records\", scope=\"records.read\"", "another scheme is none of ours");
}

#[tokio::test]
async fn a_bad_token_is_401_invalid_token_and_the_answer_holds_nothing_of_it() {
    let bench = Bench::new();
    let verifier = verifier(&bench);
    let vectors = crate::vectors::stored();
    let tokens =
        vectors["vectors"].as_array().unwrap().iter().map(|vector| vector["token"].as_str().unwrap().to_owned());
    let own = bench.token_by(&bench.signer, json!({"aud": "https://secret-place.example", "sub": "secret-name"}));
    for token in tokens.chain([own]).filter(|token| !token.is_empty() && !token.contains([' ', '\n', ','])) {
        let answer = send(&verifier, request("GET", "/rows", &[&format!("Bearer {token}")])).await;
        let whole = format!("{:?}", answer.headers());
        let (status, challenge, body) = heard(answer).await;
        assert_eq!((status, &body["error"]), (401, &json!("invalid_token")));
        assert!(
            challenge.starts_with(&format!("Bearer realm=\"{AUDIENCE}\", error=\"invalid_token\", ")),
            "{challenge}"
        );
        assert!(challenge.ends_with(&format!("resource_metadata=\"{METADATA}\"")), "{challenge}");
        for piece in token.split('.').filter(|piece| piece.len() >= 12).chain(["secret-place", "secret-name"]) {
            assert!(!whole.contains(piece) && !body.to_string().contains(piece), "{piece}");
        }
        let refused = verifier.verify(&token).await.unwrap_err();
        for piece in token.split('.').filter(|piece| piece.len() >= 12) {
            assert!(!format!("{refused} {refused:?}").contains(piece), "nor does what is logged: {piece}");
        }
    }
}

#[tokio::test]
async fn a_missing_scope_is_403_with_every_scope_that_the_call_needs() {
    let bench = Bench::new();
    let verifier = verifier(&bench);
    let bearer = |scope: &str| format!("Bearer {}", bench.token_by(&bench.signer, json!({ "scope": scope })));
    let challenge_for = |scopes: &str| {
        format!(
            "Bearer realm=\"{AUDIENCE}\", error=\"insufficient_scope\", error_description=\"The token does not have every \
             scope that this needs.\", scope=\"{scopes}\", resource_metadata=\"{METADATA}\""
        )
    };
    let (status, challenge, body) =
        heard(send(&verifier, request("GET", "/rows", &[&bearer("records.write")])).await).await;
    assert_eq!((status, challenge, &body["error"]), (403, challenge_for("records.read"), &json!("insufficient_scope")));
    let (status, challenge, _) =
        heard(send(&verifier, request("POST", "/rows", &[&bearer("records.read")])).await).await;
    assert_eq!((status, challenge), (403, challenge_for("records.read records.delete")));
    let both = bearer("records.read records.delete");
    assert_eq!(
        heard(send(&verifier, request("POST", "/rows", &[&both])).await).await,
        (200, String::new(), json!("changed"))
    );
}

#[tokio::test]
async fn a_login_that_is_too_old_or_too_weak_is_401_with_what_is_needed() {
    let bench = Bench::new();
    let verifier = verifier(&bench);
    let now = bench.clock.now();
    let caller = async |login: Value| verifier.verify(&bench.token_by(&bench.signer, login)).await.unwrap();
    let strong = caller(json!({"auth_time": now - 60, "acr": "mfa"})).await;
    assert_eq!((strong.auth_time, strong.acr.as_deref()), (Some(now - 60), Some("mfa")));
    let minute = Some(Duration::from_mins(1));
    for (max_age, acr_values) in [(None, &[][..]), (minute, &[]), (None, &["mfa"]), (minute, &["phr", "mfa"])] {
        strong.require_login(max_age, acr_values).unwrap();
    }
    for login in
        [json!({"auth_time": now - 61, "acr": "mfa"}), json!({"acr": "mfa"}), json!({"auth_time": "now", "acr": "mfa"})]
    {
        assert!(caller(login.clone()).await.require_login(minute, &["mfa"]).is_err(), "{login}");
    }
    for login in
        [json!({"auth_time": now, "acr": "pwd"}), json!({"auth_time": now}), json!({"auth_time": now, "acr": 1})]
    {
        assert!(caller(login.clone()).await.require_login(minute, &["phr", "mfa"]).is_err(), "{login}");
    }
    let refused = caller(json!({})).await.require_login(minute, &["phr", "mfa"]).unwrap_err();
    let (status, challenge, body) = heard(refused.response()).await;
    let expected = format!(
        "Bearer realm=\"{AUDIENCE}\", error=\"insufficient_user_authentication\", error_description=\"The user has to sign in \
         again, or more strongly, for this.\", acr_values=\"phr mfa\", max_age=\"60\", resource_metadata=\"{METADATA}\""
    );
    assert_eq!((status, challenge), (401, expected));
    assert_eq!(body["error"], "insufficient_user_authentication");
    let (_, challenge, _) = heard(caller(json!({})).await.require_login(None, &["mfa"]).unwrap_err().response()).await;
    assert!(challenge.contains("acr_values=\"mfa\"") && !challenge.contains("max_age"), "{challenge}");
}

#[tokio::test]
async fn whoever_is_refused_hears_of_the_scopes_of_the_layer_and_the_log_outside_of_why() {
    let bench = Bench::new();
    let backend = |verifier: &Verifier| {
        Router::new()
            .route("/rows", get(|| async { "rows" }))
            .layer(verifier.layer().requiring(&["records.read", "records.more"]))
    };
    let plain = bench.builder().build().unwrap();
    for (verifier, scope) in
        [(plain, "records.read records.more"), (verifier(&bench), "records.read records.write records.more")]
    {
        let answer = backend(&verifier).oneshot(request("GET", "/rows", &[])).await.unwrap();
        assert!(matches!(answer.extensions().get::<Refused>().unwrap().reason(), Reason::NoToken));
        let (_, challenge, _) = heard(answer).await;
        assert!(challenge.contains(&format!("scope=\"{scope}\"")), "{challenge}");
    }
    let foreign = bench.token_by(&bench.signer, json!({"aud": "https://elsewhere.example"}));
    let answer = backend(&bench.verifier()).oneshot(request("GET", "/rows", &[&format!("Bearer {foreign}")])).await;
    let why = answer.unwrap().extensions().get::<Refused>().unwrap().to_string();
    assert!(why.starts_with("aud: ") && why.contains("elsewhere"), "{why}");
}

#[tokio::test]
async fn a_good_token_is_served_for_its_user_whatever_x_user_id_says() {
    let bench = Bench::new();
    let bearer = format!("bearer {}", bench.token());
    let served = heard(send(&verifier(&bench), request("GET", "/rows", &[&bearer])).await).await;
    assert_eq!(served, (200, String::new(), json!("corp|alice by assistant")));
}

#[tokio::test]
async fn two_tokens_a_token_in_the_url_and_what_is_no_token_are_400() {
    let bench = Bench::new();
    let verifier = verifier(&bench);
    let (token, bearer) = (bench.token(), format!("Bearer {}", bench.token()));
    for (path, authorization) in [
        ("/rows".to_owned(), vec![bearer.as_str(), bearer.as_str()]),
        (format!("/rows?access_token={token}"), vec![bearer.as_str()]),
        (format!("/rows?a=1&access%5Ftoken={token}"), vec![]),
        ("/rows".to_owned(), vec!["Bearer"]),
        ("/rows".to_owned(), vec!["Bearer "]),
        ("/rows".to_owned(), vec!["Bearer a b"]),
        ("/rows".to_owned(), vec!["Bearer a, Bearer b"]),
    ] {
        let (status, challenge, body) = heard(send(&verifier, request("GET", &path, &authorization)).await).await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_request")), "{path} {authorization:?}");
        assert!(challenge.contains("error=\"invalid_request\"") && !challenge.contains(&token[..40]), "{challenge}");
    }
}

#[tokio::test]
async fn while_nothing_can_be_verified_the_answer_is_503_and_not_that_the_token_is_bad() {
    let bench = Bench::new();
    bench.net.fail(JWKS);
    let answer = send(&verifier(&bench), request("GET", "/rows", &[&format!("Bearer {}", bench.token())])).await;
    assert_eq!(answer.headers()["retry-after"], "5");
    let (status, challenge, body) = heard(answer).await;
    assert_eq!((status, challenge.as_str(), &body["error"]), (503, "", &json!("temporarily_unavailable")));
    assert!(!body.to_string().contains(ISSUER), "what is wrong inside is for logs: {body}");
}

#[tokio::test]
async fn a_handler_without_a_verifier_in_front_serves_nobody() {
    let bench = Bench::new();
    let bearer = format!("Bearer {}", bench.token());
    let (status, _, _) = heard(send(&verifier(&bench), request("GET", "/open", &[&bearer])).await).await;
    assert_eq!(status, 500);
}
