//! What the identity provider gives, and what it does not.

use super::*;
use crate::demo::http::{Answer, Credentials, FREE_PORT, Http};

const CALLBACK: &str = "http://127.0.0.1:9/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"; // RFC 7636 appendix B

struct Bench {
    issuer: String,
    http: Http,
    clock: Clock,
    _ended: tokio_util::sync::DropGuard,
}

async fn bench() -> Bench {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = Clock::set_to(1_800_000_000);
    let ended = CancellationToken::new();
    let app = |id: &str, secret: Option<&str>| App {
        client_id: id.to_owned(),
        name: id.to_owned(),
        redirect_uri: CALLBACK.to_owned(),
        secret: secret.map(str::to_owned),
    };
    let apps = vec![app("secretive", Some("s:e c")), app("public", None)];
    let issuer = start(FREE_PORT, apps, clock.clone(), &ended).await.unwrap();
    Bench { issuer, http: Http::new().unwrap(), clock, _ended: ended.drop_guard() }
}

impl Bench {
    async fn ask(&self, changed: &[(&str, &str)]) -> Answer {
        let mut query = vec![
            ("response_type", "code"),
            ("client_id", "public"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid"),
            ("state", "st"),
            ("nonce", "no"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        query.retain(|(name, _)| !changed.iter().any(|(changed, _)| changed == name));
        query.extend(changed);
        let url = format!("{}/authorize?{}", self.issuer, http::encode(&query));
        self.http.get(&url, Credentials::Nothing).await.unwrap()
    }

    async fn sign_in(&self, client_id: &str, user: &str) -> String {
        let page = self.ask(&[("client_id", client_id)]).await;
        let handle = page.body.split("name=\"login\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let form = [("login", handle), ("user", user)];
        let answer = self.http.post(&format!("{}/login", self.issuer), Credentials::Nothing, &form).await.unwrap();
        assert_eq!(answer.status, 303);
        answer.location.unwrap()
    }

    async fn trade(&self, credentials: Credentials<'_>, code: &str, changed: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        form.retain(|(name, _)| !changed.iter().any(|(changed, _)| changed == name));
        form.extend(changed);
        self.http.post(&format!("{}/token", self.issuer), credentials, &form).await.unwrap()
    }
}

fn code_of(location: &str) -> String {
    parameter(location.split_once('?').unwrap().1, "code").unwrap()
}

#[tokio::test]
async fn a_code_becomes_an_id_token_of_the_person_for_the_app() {
    let bench = bench().await;
    let location = bench.sign_in("public", "bob").await;
    let query = location.strip_prefix(CALLBACK).unwrap();
    assert_eq!(parameter(&query[1..], "state").as_deref(), Some("st"));
    assert_eq!(parameter(&query[1..], "iss"), Some(bench.issuer.clone()));
    let answer = bench.trade(Credentials::Nothing, &code_of(&location), &[("client_id", "public")]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let claims = crate::tokens::jose::parse(&answer.text("id_token")).unwrap().claims;
    assert_eq!(
        Value::Object(claims),
        json!({
            "iss": bench.issuer, "sub": "bob", "aud": "public", "exp": 1_800_003_600, "iat": 1_800_000_000,
            "auth_time": 1_800_000_000, "nonce": "no", "name": "Bob", "email": "bob@mail.example",
            "roles": ["patient"]
        })
    );
}

#[tokio::test]
async fn a_code_works_once_and_only_with_its_verifier_its_app_and_in_its_minute() {
    let bench = bench().await;
    let public = [("client_id", "public")];
    let code = code_of(&bench.sign_in("public", "alice").await);
    assert_eq!(bench.trade(Credentials::Nothing, &code, &public).await.status, 200);
    assert_eq!(bench.trade(Credentials::Nothing, &code, &public).await.text("error"), "invalid_grant");

    let code = code_of(&bench.sign_in("public", "alice").await);
    let other = "x".repeat(43);
    let wrong = [("client_id", "public"), ("code_verifier", other.as_str())];
    assert_eq!(bench.trade(Credentials::Nothing, &code, &wrong).await.text("error"), "invalid_grant");

    let code = code_of(&bench.sign_in("public", "alice").await);
    let stranger = Credentials::Basic("secretive", "s:e c");
    assert_eq!(bench.trade(stranger, &code, &[]).await.text("error"), "invalid_grant");

    let code = code_of(&bench.sign_in("public", "alice").await);
    bench.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(bench.trade(Credentials::Nothing, &code, &public).await.text("error"), "invalid_grant");
}

#[tokio::test]
async fn an_app_with_a_secret_must_send_it() {
    let bench = bench().await;
    let code = code_of(&bench.sign_in("secretive", "alice").await);
    let without = bench.trade(Credentials::Nothing, &code, &[("client_id", "secretive")]).await;
    assert_eq!((without.status, without.text("error").as_str()), (401, "invalid_client"));
    let wrong = bench.trade(Credentials::Basic("secretive", "guess"), &code, &[]).await;
    assert_eq!(wrong.text("error"), "invalid_client");
    assert_eq!(bench.trade(Credentials::Basic("secretive", "s:e c"), &code, &[]).await.status, 200);
}

#[tokio::test]
async fn nobody_is_sent_to_a_place_that_is_not_registered() {
    let bench = bench().await;
    for wrong in [("redirect_uri", "http://127.0.0.1:9/callback/"), ("client_id", "mallory")] {
        let answer = bench.ask(&[wrong]).await;
        assert_eq!((answer.status, answer.location), (400, None), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_request_without_pkce_is_sent_back_with_an_error() {
    let bench = bench().await;
    for wrong in [("code_challenge_method", "plain"), ("code_challenge", ""), ("response_type", "token")] {
        let location = bench.ask(&[wrong]).await.location.unwrap();
        assert!(location.starts_with(&format!("{CALLBACK}?error=")), "{location}");
        assert!(location.contains("state=st"), "{location}");
    }
}
