//! Who judges the vectors: our own verifier, and a library that knows nothing of us.

use super::keys::Keys;
use super::recipes::{self, Stock, Vector};
use super::{AUDIENCE, ISSUER, NOW, stored};
use crate::issuer::claims_of;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use procura::clock::Clock;
use procura::tokens::offline::OfflineVerifier;
use procura::verify::{Document, Fetch, FetchProblem, FetchRequest, Fetched, Fetching, Reason, Verifier};
use serde_json::Value;
use std::collections::BTreeSet;

/// Every check there is, here and in `procura inspect`.
const CHECKS: [&str; 15] = [
    "form",
    "typ",
    "alg",
    "signature",
    "iss",
    "aud",
    "exp",
    "iat",
    "sub",
    "client_id",
    "jti",
    "act",
    "scope",
    "cnf",
    "status",
];

#[test]
fn our_offline_verifier_judges_as_the_file_says() {
    Keys::read();
    let file = stored();
    let verifier = OfflineVerifier::new(ISSUER, AUDIENCE, &file["jwks"].to_string()).unwrap();
    let mut refused_by = BTreeSet::new();
    for vector in file["vectors"].as_array().unwrap() {
        let verdict = verifier.verify(vector["token"].as_str().unwrap(), NOW);
        let name = &vector["name"];
        match verdict {
            Ok(token) => {
                assert_eq!((vector["accept"].as_bool(), &vector["check"]), (Some(true), &Value::Null), "{name}");
                assert_eq!(Some(token.act.is_some()), vector["delegated"].as_bool(), "{name}");
            }
            Err(problem) => {
                let check = problem.split(':').next().unwrap().to_owned();
                assert_eq!(
                    (vector["accept"].as_bool(), &vector["check"]),
                    (Some(false), &check.as_str().into()),
                    "{name}: {problem}"
                );
                refused_by.insert(check);
            }
        }
    }
    let every = CHECKS.map(str::to_owned).into();
    assert_eq!(refused_by, every, "each check refuses some vector");
}

/// Our verifier for backends, which stops at the first check that fails, with other code for signatures.
#[tokio::test]
async fn our_verifier_judges_as_the_file_says() {
    let file = stored();
    let builder =
        || Verifier::builder(ISSUER, AUDIENCE).clock(Clock::set_to(NOW)).fetch(OnlyKeys(file["jwks"].to_string()));
    let strict = builder().build().unwrap();
    let lenient = builder().accept_clients_own_tokens().build().unwrap();
    let mut refused_by = BTreeSet::new();
    for vector in file["vectors"].as_array().unwrap() {
        let token = vector["token"].as_str().unwrap();
        let (name, is_delegated) = (&vector["name"], vector["delegated"] == true);
        for (verifier, takes_clients) in [(&strict, false), (&lenient, true)] {
            let is_client_refused = vector["accept"] == true && !is_delegated && !takes_clients;
            match verifier.verify(token).await {
                Ok(caller) => {
                    assert!(vector["accept"] == true && !is_client_refused, "{name} is not served");
                    assert_eq!(caller.is_delegated(), is_delegated, "{name}");
                    let outermost = claims_of(token)["act"]["sub"].as_str().map(str::to_owned);
                    assert_eq!(caller.agent.map(|agent| agent.sub), outermost, "{name}");
                }
                Err(refused) => {
                    let Reason::InvalidToken { check, .. } = refused.reason() else { panic!("{name}: {refused}") };
                    let expected = if is_client_refused { "act" } else { vector["check"].as_str().unwrap_or("none") };
                    assert_eq!(*check, expected, "{name}: {refused}");
                    refused_by.insert(*check);
                }
            }
        }
    }
    assert_eq!(refused_by, CHECKS.into(), "each check refuses some vector");
}

/// An issuer of which only the keys can be had.
struct OnlyKeys(String);

impl Fetch for OnlyKeys {
    fn get<'a>(&'a self, request: FetchRequest<'a>) -> Fetching<'a> {
        let is_keys = request.url == format!("{ISSUER}/.well-known/jwks.json");
        let keys = Document { body: self.0.clone().into_bytes(), ..Document::default() };
        let answer = if is_keys { Ok(Fetched::Document(keys)) } else { Err(FetchProblem("not there".to_owned())) };
        Box::pin(std::future::ready(answer))
    }
}

/// What a backend with `jsonwebtoken` does, set up as docs/how-to/validate-a-token.md says.
fn jsonwebtoken_accepts(keys: &JwkSet, vector: &Vector) -> bool {
    let Ok(header) = decode_header(&vector.token) else { return false };
    let typ = header.typ.unwrap_or_default().to_ascii_lowercase();
    if typ.strip_prefix("application/").unwrap_or(&typ) != "at+jwt" {
        return false;
    }
    let Some(jwk) = header.kid.and_then(|kid| keys.find(&kid)) else { return false };
    let algorithm: Algorithm = vector.algorithm.parse().unwrap();
    let mut validation = Validation::new(algorithm);
    validation.leeway = 30;
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    decode::<Value>(&vector.token, &DecodingKey::from_jwk(jwk).unwrap(), &validation).is_ok()
}

/// What it does not look at. A backend that wants these checks makes them itself, or uses our `verify`.
const PASSES_JSONWEBTOKEN: &[&str] = &[
    "iss_array",
    "exp_now",
    "exp_in_milliseconds",
    "exp_beyond_an_hour",
    "iat_missing",
    "iat_text",
    "iat_ahead_61_seconds",
    "iat_ahead_an_hour",
    "nbf_ahead_61_seconds",
    "nbf_ahead_an_hour",
    "nbf_text",
    "crit_known",
    "crit_unknown",
    "crit_empty",
    "crit_b64",
    "repeated_member_within",
    "form_over_8_kb",
    "act_of_17",
    "act_array",
    "act_text",
    "act_true",
    "act_without_sub",
    "act_sub_number",
    "act_sub_empty",
    "act_iss_number",
    "act_within_array",
    "act_within_without_sub",
    "act_null",
    "act_missing_for_a_user",
    "sub_missing",
    "sub_number",
    "sub_empty",
    "client_id_missing",
    "client_id_number",
    "jti_missing",
    "jti_number",
    "scope_array",
    "scope_number",
    "cnf_present",
    "status_list_elsewhere",
    "status_list_beside_the_issuer",
    "status_list_at_another_path",
    "status_text",
    "status_without_list",
    "status_idx_negative",
    "status_idx_text",
];

/// Its clock cannot be set, so it gets vectors of this moment.
#[test]
fn jsonwebtoken_judges_as_the_file_says() {
    let keys = Keys::read();
    let jwks: JwkSet = serde_json::from_value(keys.jwks()).unwrap();
    let mut passes = Vec::new();
    for vector in recipes::vectors(&keys, Clock::System.now()) {
        let accepts = jsonwebtoken_accepts(&jwks, &vector);
        match (vector.check, vector.stock) {
            (None, _) => assert!(accepts, "{} is good", vector.name),
            (Some(_), Stock::Refuse) => assert!(!accepts, "{} is bad: {}", vector.name, vector.why),
            (Some(_), Stock::Accept) if accepts => passes.push(vector.name),
            (Some(_), Stock::Accept) => {}
        }
    }
    assert_eq!(passes, PASSES_JSONWEBTOKEN);
}
