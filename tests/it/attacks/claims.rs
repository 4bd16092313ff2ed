//! Claims that do not fit (A10 to A13, A36, A77), under a right signature.

use super::{
    Backend, Forgery, Genuine, INVALID_REQUEST, INVALID_SCOPE, RECORDS, backend_refuses, exchange_changed, forgery,
    refused, server_refuses, world,
};
use crate::issuer::{sign_with_header, with};
use crate::server::{ACCESS_TOKEN, ISSUER, NOW, claims};
use procura::domain::change::Change;
use procura::domain::decision::ReasonCode;
use procura::domain::identity_provider::IdentityProvider;
use procura::domain::resource::SigningAlgorithm;
use serde_json::{Value, json};
use std::time::Duration;

fn changed(cases: Vec<(Value, ReasonCode, &'static str)>) -> impl Fn(&Genuine) -> Vec<Forgery> {
    move |genuine| {
        let forge = |(change, reason, check): &(Value, ReasonCode, &'static str)| {
            forgery(change.to_string(), genuine.with_claims(change.clone()), *reason, check)
        };
        cases.iter().map(forge).collect()
    }
}

#[tokio::test]
async fn a10_times_that_are_past_missing_text_or_in_the_future() {
    let (invalid, early) = (ReasonCode::SubjectTokenClaimsInvalid, ReasonCode::SubjectTokenNotYetValid);
    let cases = changed(vec![
        (json!({"exp": NOW - 1}), ReasonCode::SubjectTokenExpired, "exp"),
        (json!({"exp": NOW}), ReasonCode::SubjectTokenExpired, "exp"),
        (json!({"exp": null}), invalid, "exp"),
        (json!({"exp": (NOW + 300).to_string()}), invalid, "exp"),
        (json!({"exp": -1}), invalid, "exp"),
        (json!({"nbf": NOW + 3600}), early, "iat"),
        (json!({"iat": NOW + 3600, "exp": NOW + 3700}), early, "iat"),
        (json!({"iat": NOW + 61, "exp": NOW + 300}), early, "iat"),
        (json!({"nbf": NOW + 61}), early, "iat"),
    ]);
    let world = world().await;
    server_refuses(&world, &cases).await;
    let backend = Backend::new(SigningAlgorithm::ES256);
    backend_refuses(&backend, &cases);
    // Clocks may differ a little.
    for within in [json!({"iat": NOW + 29, "exp": NOW + 300}), json!({"nbf": NOW + 29}), json!({"exp": NOW + 1})] {
        world.assert_granted(&exchange_changed(&world, within.clone()).await.0).await;
        backend.verify(&backend.genuine().with_claims(within)).unwrap();
    }
}

#[tokio::test]
async fn a11_an_issuer_that_is_almost_the_right_one() {
    let world = world().await;
    let (corp, tenants) = (world.corp.issuer().to_owned(), world.tenants.issuer().to_owned());
    let unknown = ReasonCode::SubjectTokenIssuerUnknown;
    server_refuses(
        &world,
        changed(vec![
            (json!({"iss": format!("{corp}/")}), unknown, "iss"),
            (json!({"iss": corp.replace("http:", "HTTP:")}), unknown, "iss"),
            (json!({"iss": format!(" {corp}")}), unknown, "iss"),
            (json!({"iss": format!("{corp}/tenant-2")}), unknown, "iss"),
            (json!({"iss": null}), ReasonCode::SubjectTokenClaimsInvalid, "iss"),
            (json!({"iss": [corp]}), ReasonCode::SubjectTokenClaimsInvalid, "iss"),
            // Another trusted tenant's name, under this one's key.
            (json!({"iss": tenants, "tid": "ours", "jti": "1"}), ReasonCode::SubjectTokenKeyUnknown, "iss"),
            (json!({"iss": ISSUER, "client_id": "assistant"}), ReasonCode::SubjectTokenKeyUnknown, "iss"),
        ]),
    )
    .await;
    // Also when it borrows the name of the other tenant's key.
    let header = json!({"alg": "ES256", "kid": world.tenants.key().kid(), "typ": "JWT"});
    let stolen = world.alice(json!({"iss": tenants, "tid": "ours", "jti": "2"}));
    let token = sign_with_header(&world.corp.key(), &header, &stolen);
    let answer = world.exchange_as("assistant", &token, &[RECORDS]).await;
    refused(&world, &answer, INVALID_REQUEST, ReasonCode::SubjectTokenSignatureInvalid, &[&token]).await;

    // A provider with a name in its issuer: the same host in other letters, and the port that goes without saying.
    let named = IdentityProvider {
        id: "named".parse().unwrap(),
        issuer: "https://login.example.com".to_owned(),
        jwks_uri: Some(world.corp.jwks_uri().parse().unwrap()),
        ..world.corp.provider("named")
    };
    world.server.change(&[Change::PutIdentityProvider(named)]).await;
    let (exactly, _) = exchange_changed(&world, json!({"iss": "https://login.example.com"})).await;
    assert_eq!(exactly.json()["error"], "consent_required", "the issuer itself is trusted");
    for iss in ["https://LOGIN.example.com", "https://login.example.com:443", "https://login.example.com."] {
        let (answer, token) = exchange_changed(&world, json!({ "iss": iss })).await;
        refused(&world, &answer, INVALID_REQUEST, unknown, &[&token]).await;
    }

    let at_backend = [
        format!("{ISSUER}/"),
        ISSUER.replace("auth.", "AUTH."),
        "https://auth.example.com.evil.example".to_owned(),
        corp,
    ];
    let at_backend = at_backend.map(|iss| (json!({ "iss": iss }), unknown, "iss"));
    backend_refuses(&Backend::new(SigningAlgorithm::ES256), changed(at_backend.into()));
}

/// An ID token is for one application: of several audiences each must be known. A backend takes an access token whose
/// `aud` holds its own name (RFC 9068 §4), so the array is not tried there.
#[tokio::test]
async fn a12_an_audience_that_is_somebody_else() {
    let foreign = ReasonCode::SubjectTokenAudienceForeign;
    let elsewhere = (json!({"aud": "https://elsewhere.example"}), foreign, "aud");
    let missing = (json!({"aud": null}), ReasonCode::SubjectTokenClaimsInvalid, "aud");
    let empty = (json!({"aud": []}), ReasonCode::SubjectTokenClaimsInvalid, "aud");
    let several = (json!({"aud": ["llm-app", "another-app"]}), foreign, "aud");
    let prefix = (json!({"aud": "llm-app-2"}), foreign, "aud");
    let azp = (json!({"azp": "another-app"}), ReasonCode::SubjectTokenAzpForeign, "aud");
    server_refuses(
        &world().await,
        changed(vec![elsewhere.clone(), missing.clone(), empty.clone(), several, prefix, azp]),
    )
    .await;
    let slash = (json!({"aud": "https://records.example.com/api/"}), foreign, "aud");
    backend_refuses(&Backend::new(SigningAlgorithm::ES256), changed(vec![elsewhere, missing, empty, slash]));
}

#[tokio::test]
async fn a13_an_id_token_that_was_issued_to_another_client() {
    let world = world().await;
    let (answer, token) = exchange_changed(&world, json!({"aud": "another-app"})).await;
    refused(&world, &answer, INVALID_REQUEST, ReasonCode::SubjectTokenAudienceForeign, &[&token]).await;
    // The other way round: another client got hold of the assistant's.
    let token = world.id_token(json!({}));
    let answer = world.exchange_as("stranger", &token, &[RECORDS]).await;
    refused(&world, &answer, INVALID_REQUEST, ReasonCode::SubjectTokenAudienceForeign, &[&token]).await;
}

#[tokio::test]
async fn a36_a_token_that_is_exchanged_again_and_again_to_live_longer() {
    let world = world().await;
    let ends_at = NOW + 100;
    let mut token = world.exchange(json!({"exp": ends_at}), &[RECORDS]).await.token();
    for _ in 0..4 {
        assert_eq!(claims(&token)["exp"], ends_at);
        world.server.clock.advance(Duration::from_secs(24));
        let answer = world.exchange_typed("assistant", &token, ACCESS_TOKEN, &[RECORDS]).await;
        world.assert_granted(&answer).await;
        token = answer.token();
    }
    world.server.clock.advance(Duration::from_secs(4));
    let answer = world.exchange_typed("assistant", &token, ACCESS_TOKEN, &[RECORDS]).await;
    refused(&world, &answer, INVALID_REQUEST, ReasonCode::SubjectTokenExpired, &[&token]).await;
}

#[tokio::test]
async fn a77_names_that_only_look_the_same() {
    let world = world().await;
    let (composed, decomposed) = ("zo\u{eb}", "zoe\u{308}");
    world.server.consent(&format!("corp|{composed}"), "assistant", "records", "records.read").await;
    let (answer, _) = exchange_changed(&world, json!({"sub": composed})).await;
    assert_eq!(world.assert_granted(&answer).await["sub"], format!("corp|{composed}"), "byte for byte");
    for twin in [decomposed, "ZO\u{cb}", " zo\u{eb}"] {
        let (answer, token) = exchange_changed(&world, json!({"sub": twin})).await;
        refused(&world, &answer, (400, "consent_required"), ReasonCode::ConsentMissing, &[&token]).await;
    }
    for broken in ["al\nice", "al\u{0}ice", "al\u{85}ice", "\u{7f}", "zo\u{eb}\u{200b}", "\u{202e}ecila"] {
        let (answer, token) = exchange_changed(&world, json!({"sub": broken})).await;
        refused(&world, &answer, INVALID_REQUEST, ReasonCode::UserUnknown, &[&token]).await;
    }
    for scope in ["records.r\u{e9}ad", "records.read\u{200b}", "records.read\nrecords.write", "records.read\0"] {
        let answer = world.exchange(json!({}), &[RECORDS, ("scope", scope)]).await;
        refused(&world, &answer, INVALID_SCOPE, ReasonCode::ScopeMalformed, &[]).await;
    }
    // A scope that only looks right in a subject token is none at all.
    let odd = with(
        world.alice(json!({"nonce": null, "client_id": "llm-app", "aud": ISSUER})),
        json!({"scope": "records.read\u{200b}"}),
    );
    let token = crate::world::signed_with(&world.corp, json!({"typ": "at+jwt"}), &odd);
    let answer = world.exchange_typed("assistant", &token, ACCESS_TOKEN, &[RECORDS]).await;
    refused(&world, &answer, INVALID_SCOPE, ReasonCode::ScopeBeyondSubject, &[&token]).await;
}
