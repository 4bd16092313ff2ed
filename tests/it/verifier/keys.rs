//! The issuer's keys.

use super::{AUDIENCE, Bench, ISSUER, JWKS, Net, jwks, signer, verdict};
use procura::verify::{Document, Fetched, Verifier};
use serde_json::json;

#[tokio::test]
async fn keys_that_were_prefetched_are_not_fetched_by_a_token() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    verifier.prefetch().await.unwrap();
    verifier.prefetch().await.unwrap();
    for _ in 0..10 {
        assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
    }
    assert_eq!(bench.net.asked(JWKS), 1);
}

#[tokio::test]
async fn a_hundred_tokens_at_once_wait_for_one_fetch() {
    let bench = Bench::on(Net::with_permits(0));
    let (verifier, token) = (bench.verifier(), bench.token());
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (verifier, token) = (verifier.clone(), token.clone());
            tokio::spawn(async move { verdict(&verifier, &token).await })
        })
        .collect();
    bench.net.settle().await;
    assert_eq!(bench.net.asked(JWKS), 1, "before it is answered");
    bench.net.0.permits.add_permits(1000);
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(()));
    }
    assert_eq!(bench.net.asked(JWKS), 1);
}

#[tokio::test]
async fn a_fetch_goes_on_when_the_request_that_began_it_is_gone() {
    let bench = Bench::on(Net::with_permits(0));
    let (verifier, token) = (bench.verifier(), bench.token());
    let call = tokio::spawn({
        let (verifier, token) = (verifier.clone(), token.clone());
        async move { verdict(&verifier, &token).await }
    });
    bench.net.settle().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    bench.net.0.permits.add_permits(1);
    assert_eq!(verdict(&verifier, &token).await, Ok(()));
    assert_eq!(bench.net.asked(JWKS), 1);
}

#[tokio::test]
async fn ten_thousand_guessed_kids_lead_to_one_fetch_in_thirty_seconds() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    verifier.prefetch().await.unwrap();
    for cooldown in 1..=2 {
        bench.wait(30);
        for number in 0..5_000 {
            assert_eq!(
                verdict(&verifier, &bench.with_kid(&format!("guess-{cooldown}-{number}"))).await,
                Err("signature")
            );
        }
        assert_eq!(bench.net.asked(JWKS), 1 + cooldown, "one for each thirty seconds");
        assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()), "good tokens are served meanwhile");
    }
    bench.wait(29);
    assert_eq!(verdict(&verifier, &bench.with_kid("one more")).await, Err("signature"));
    assert_eq!(bench.net.asked(JWKS), 3);
}

#[tokio::test]
async fn a_new_key_is_found_by_the_first_token_that_names_it_and_all_wait_for_the_same_fetch() {
    let bench = Bench::on(Net::with_permits(1));
    let verifier = bench.verifier();
    verifier.prefetch().await.unwrap();
    let next = signer();
    bench.net.say(JWKS, jwks(&[&bench.signer, &next]));
    bench.wait(31);
    let token = bench.token_by(&next, json!({}));
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (verifier, token) = (verifier.clone(), token.clone());
            tokio::spawn(async move { verdict(&verifier, &token).await })
        })
        .collect();
    bench.net.settle().await;
    assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()), "a known key waits for nobody");
    bench.net.0.permits.add_permits(1000);
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(()));
    }
    assert_eq!(bench.net.asked(JWKS), 2);
}

#[tokio::test]
async fn a_key_that_was_withdrawn_stops_with_the_next_copy() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
    let next = signer();
    bench.net.say(JWKS, jwks(&[&next]));
    bench.wait(300);
    // Its time is up: this token is still judged by the copy at hand, and begins the fetch.
    assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
    bench.net.settle().await;
    assert_eq!(verdict(&verifier, &bench.token()).await, Err("signature"));
    assert_eq!(verdict(&verifier, &bench.token_by(&next, json!({}))).await, Ok(()));
}

#[tokio::test]
async fn after_silence_the_first_token_waits_for_the_keys_so_that_a_withdrawn_one_stops() {
    for silence in [302, 3600, 20 * 3600] {
        let bench = Bench::on(Net::with_permits(1));
        let verifier = bench.verifier();
        verifier.prefetch().await.unwrap();
        let next = signer();
        bench.net.say(JWKS, jwks(&[&next]));
        bench.wait(silence);
        let token = bench.token();
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let (verifier, token) = (verifier.clone(), token.clone());
                tokio::spawn(async move { verdict(&verifier, &token).await })
            })
            .collect();
        bench.net.settle().await;
        bench.net.0.permits.add_permits(1000);
        for call in calls {
            assert_eq!(call.await.unwrap(), Err("signature"), "after {silence} seconds");
        }
        assert_eq!(bench.net.asked(JWKS), 2, "all waited for one fetch");
    }
    // Also if the last time that somebody asked, the issuer could not be reached.
    let bench = Bench::new();
    let verifier = bench.verifier();
    verifier.prefetch().await.unwrap();
    bench.net.fail(JWKS);
    bench.wait(301);
    assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
    bench.net.settle().await;
    bench.net.say(JWKS, jwks(&[&signer()]));
    bench.wait(3600);
    assert_eq!(verdict(&verifier, &bench.token()).await, Err("signature"));
    // Nobody waits again and again for an issuer that cannot be reached.
    let bench = Bench::new();
    let verifier = bench.verifier();
    verifier.prefetch().await.unwrap();
    bench.net.fail(JWKS);
    bench.wait(3600);
    for _ in 0..10 {
        assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
    }
    assert_eq!(bench.net.asked(JWKS), 2);
}

#[tokio::test]
async fn while_the_issuer_is_down_the_last_keys_go_on_for_a_day_and_no_longer() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    verifier.prefetch().await.unwrap();
    bench.net.fail(JWKS);
    for _ in 0..600 {
        bench.wait(1);
        assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
        bench.net.settle().await;
    }
    let asked = bench.net.asked(JWKS);
    assert!((2..=15).contains(&asked), "it waits longer after each failure: {asked} in ten minutes");
    assert!(verifier.health().keys_problem.unwrap().contains("cannot be reached"));
    bench.wait(24 * 3600 - 301);
    assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
    bench.wait(2);
    assert_eq!(verdict(&verifier, &bench.token()).await, Err("unavailable"));
    bench.net.say(JWKS, jwks(&[&bench.signer]));
    bench.wait(60);
    assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
    assert_eq!(verifier.health().keys_problem, None);
}

#[tokio::test]
async fn without_keys_from_the_start_nothing_is_served_and_the_issuer_is_not_flooded() {
    let bench = Bench::new();
    bench.net.fail(JWKS);
    let verifier = bench.verifier();
    assert!(verifier.prefetch().await.unwrap_err().contains("cannot be reached"));
    for _ in 0..100 {
        assert_eq!(verdict(&verifier, &bench.token()).await, Err("unavailable"));
    }
    assert_eq!(bench.net.asked(JWKS), 1);
    bench.net.say(JWKS, jwks(&[&bench.signer]));
    bench.wait(1);
    assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
}

#[tokio::test]
async fn what_is_no_set_of_keys_replaces_none() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    verifier.prefetch().await.unwrap();
    let large = format!("{{\"keys\":[],\"padding\":\"{}\"}}", "x".repeat(256 * 1024));
    for body in ["", "<html>", "[]", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}", &large] {
        bench.net.say(JWKS, body);
        bench.wait(400);
        assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
        bench.net.settle().await;
        assert!(verifier.health().keys_problem.is_some(), "{}", &body[..body.len().min(40)]);
        assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
    }
}

#[tokio::test]
async fn keys_that_did_not_change_are_asked_for_by_their_etag() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    verifier.prefetch().await.unwrap();
    assert_eq!(bench.net.last_condition(), None);
    bench.net.answer(JWKS, Ok(Fetched::NotModified));
    bench.wait(300);
    assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
    bench.net.settle().await;
    assert_eq!((bench.net.asked(JWKS), bench.net.last_condition().as_deref()), (2, Some("\"1\"")));
    bench.wait(299);
    assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
    bench.net.settle().await;
    assert_eq!(bench.net.asked(JWKS), 2, "fresh for as long again");
}

#[tokio::test]
async fn the_keys_are_where_the_metadata_of_the_issuer_says_and_of_nobody_else() {
    let metadata = format!("{ISSUER}/.well-known/openid-configuration");
    let elsewhere = "https://auth.example.com/keys";
    let bench = Bench::new();
    bench.net.say(elsewhere, jwks(&[&bench.signer]));
    for (document, expected) in [
        (json!({"issuer": ISSUER, "jwks_uri": elsewhere}), Ok(())),
        (json!({"issuer": "https://other.example", "jwks_uri": elsewhere}), Err("unavailable")),
        (json!({"issuer": ISSUER, "jwks_uri": "http://auth.example.com/keys"}), Err("unavailable")),
        (json!({"issuer": ISSUER}), Err("unavailable")),
    ] {
        bench.net.say(&metadata, document.to_string());
        let verifier = bench.builder().keys_from_metadata().build().unwrap();
        assert_eq!(verdict(&verifier, &bench.token()).await, expected, "{document}");
    }
    assert_eq!(bench.net.asked("http://auth.example.com/keys"), 0);
}

#[tokio::test]
async fn fixed_keys_fetch_nothing() {
    let bench = Bench::new();
    let verifier = bench.builder().fixed_keys(&jwks(&[&bench.signer])).build().unwrap();
    verifier.prefetch().await.unwrap();
    assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
    assert_eq!(verdict(&verifier, &bench.with_kid("unknown")).await, Err("signature"));
    assert_eq!(bench.net.asked(JWKS), 0);
}

#[tokio::test]
async fn a_set_up_that_leaves_something_out_or_open_is_refused() {
    let refused = |issuer: &str, audience: &str| Verifier::builder(issuer, audience).build().unwrap_err().to_string();
    for issuer in
        ["", "auth.example.com", "http://auth.example.com", "ftp://auth.example.com", "https://user@auth.example.com"]
    {
        assert!(refused(issuer, AUDIENCE).contains("issuer"), "{issuer}");
    }
    assert!(refused("https://auth.example.com/", AUDIENCE).contains("slash"));
    assert!(refused("https://auth.example.com?x", AUDIENCE).contains("query"));
    assert!(refused(ISSUER, "").contains("audience"));
    let builder = || Verifier::builder(ISSUER, AUDIENCE);
    let problem = |builder: procura::verify::VerifierBuilder| builder.build().unwrap_err().to_string();
    assert!(problem(builder().jwks_url("http://auth.example.com/keys")).contains("not https"));
    assert!(problem(builder().fixed_keys("{}")).contains("no array keys"));
    assert!(problem(builder().fixed_keys("{\"keys\":[]}")).contains("none of the fixed keys"));
    assert!(problem(builder().algorithms(&[])).contains("algorithm"));
    assert!(problem(builder().algorithms(&[procura::verify::VerificationAlgorithm::ES384])).contains("ES384"));
    assert!(problem(builder().longest_life(std::time::Duration::from_secs(3601))).contains("3600"));
    assert!(problem(builder().realm("a\"b")).contains("realm"));
    assert!(problem(builder().resource_metadata("http://records.example.com/x")).contains("not https"));
    assert!(problem(builder().challenge_scopes(&["a b"])).contains("scope"));
    assert!(Verifier::builder("http://127.0.0.1:8420", AUDIENCE).build().is_ok(), "for development");
}

#[tokio::test]
async fn an_algorithm_that_the_backend_did_not_name_is_refused() {
    let bench = Bench::new();
    let verifier = bench.builder().algorithms(&[procura::verify::VerificationAlgorithm::EdDSA]).build().unwrap();
    assert_eq!(verdict(&verifier, &bench.token()).await, Err("alg"));
    let short = bench.builder().longest_life(std::time::Duration::from_secs(299)).build().unwrap();
    assert_eq!(verdict(&short, &bench.token()).await, Err("exp"));
}

#[tokio::test]
async fn how_long_a_copy_is_fresh_is_the_issuers_word_within_bounds() {
    for (said, waits_for) in [(Some(0), 60), (Some(120), 120), (None, 300), (Some(u64::MAX), 24 * 3600)] {
        let bench = Bench::new();
        let document = Document { body: jwks(&[&bench.signer]).into_bytes(), etag: None, max_age: said };
        bench.net.answer(JWKS, Ok(Fetched::Document(document)));
        let verifier = bench.verifier();
        verifier.prefetch().await.unwrap();
        for (wait, asked) in [(waits_for - 1, 1), (1, 2)] {
            bench.wait(wait);
            assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
            bench.net.settle().await;
            assert_eq!(bench.net.asked(JWKS), asked, "{said:?}");
        }
    }
}
