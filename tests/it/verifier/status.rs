//! Status lists: revocation that is seen without asking about a token.

use super::{Bench, ISSUER, JWKS, LIST, Net, jwks, signer, verdict};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use procura::tokens::signing_keys::LocalSigner;
use procura::verify::{Document, Fetched, Verifier};
use serde_json::{Value, json};
use std::time::Duration;

const TTL: i64 = 15;

/// The `lst` of one byte, four tokens of two bits.
fn packed(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(miniz_oxide::deflate::compress_to_vec_zlib(bytes, 6))
}

impl Bench {
    /// A list of now in which tokens 0 to 3 are good, revoked, suspended and something else, changed.
    fn list(&self, signer: &LocalSigner, typ: &str, change: Value) -> String {
        let now = self.clock.now();
        let claims = json!({
            "iss": ISSUER, "sub": LIST, "iat": now, "exp": now + 3600, "ttl": TTL,
            "status_list": {"bits": 2, "lst": packed(&[0b1110_0100])},
        });
        signer.sign(typ, crate::issuer::with(claims, change).to_string().as_bytes()).unwrap()
    }

    fn publish(&self, change: Value) {
        self.net.say(LIST, self.list(&self.signer, "statuslist+jwt", change));
    }

    /// Publishes a list in which token 0 is revoked.
    fn revoke_the_first(&self) {
        self.publish(json!({"status_list": {"bits": 2, "lst": packed(&[0b0000_0001])}}));
    }

    /// A token with this number in the list.
    fn numbered(&self, index: u64) -> String {
        self.token_by(&self.signer, json!({"status": {"status_list": {"idx": index, "uri": LIST}}}))
    }
}

#[tokio::test]
async fn a_token_stands_as_the_list_says() {
    let bench = Bench::new();
    bench.publish(json!({}));
    let verifier = bench.verifier();
    for (index, expected) in
        [(0, Ok(())), (1, Err("status")), (2, Err("status")), (3, Err("status")), (4, Err("status"))]
    {
        assert_eq!(verdict(&verifier, &bench.numbered(index)).await, expected, "{index}");
    }
    let words = [(1, "revoked"), (2, "suspended"), (3, "not known"), (4, "beyond the end")];
    for (index, word) in words {
        let refused = verifier.verify(&bench.numbered(index)).await.unwrap_err().to_string();
        assert!(refused.contains(word), "{index}: {refused}");
    }
    assert_eq!(bench.net.asked(LIST), 1);
    assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()), "a token without status is good");
}

#[tokio::test]
async fn a_revocation_is_seen_within_the_ttl_counted_from_iat_and_a_second() {
    for age in [0, 10] {
        let bench = Bench::new();
        // The list is older than the fetch: a cache on the way kept it.
        bench.publish(json!({"iat": bench.clock.now() - age}));
        let verifier = bench.verifier();
        assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Ok(()));
        bench.revoke_the_first();
        bench.wait((TTL - age - 1).unsigned_abs());
        bench.revoke_the_first();
        assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Ok(()));
        bench.net.settle().await;
        assert_eq!(bench.net.asked(LIST), 1, "not before its time");
        bench.wait(1);
        // For one second the old list serves while the new one is fetched.
        assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Ok(()));
        bench.net.settle().await;
        assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Err("status"), "seen {TTL} seconds after iat");
    }
}

#[tokio::test]
async fn after_silence_a_token_waits_for_the_new_list() {
    let bench = Bench::new();
    bench.publish(json!({}));
    let verifier = bench.verifier();
    assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Ok(()));
    bench.wait(200);
    bench.revoke_the_first();
    assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Err("status"));
}

#[tokio::test]
async fn a_hundred_tokens_at_once_fetch_one_list() {
    let bench = Bench::on(Net::with_permits(1));
    let verifier = bench.verifier();
    verifier.prefetch().await.unwrap();
    bench.publish(json!({}));
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (verifier, token) = (verifier.clone(), bench.numbered(1));
            tokio::spawn(async move { verdict(&verifier, &token).await })
        })
        .collect();
    bench.net.settle().await;
    bench.net.0.permits.add_permits(1000);
    for call in calls {
        assert_eq!(call.await.unwrap(), Err("status"));
    }
    assert_eq!(bench.net.asked(LIST), 1);
}

#[tokio::test]
async fn a_list_that_did_not_change_is_asked_for_by_its_etag() {
    let bench = Bench::new();
    bench.publish(json!({}));
    let verifier = bench.verifier();
    assert_eq!(verdict(&verifier, &bench.numbered(1)).await, Err("status"));
    bench.net.answer(LIST, Ok(Fetched::NotModified));
    bench.wait(20);
    assert_eq!(verdict(&verifier, &bench.numbered(1)).await, Err("status"));
    assert_eq!((bench.net.asked(LIST), bench.net.last_condition().as_deref()), (2, Some("\"1\"")));
    bench.wait(TTL.unsigned_abs() - 1);
    assert_eq!(verdict(&verifier, &bench.numbered(1)).await, Err("status"));
    bench.net.settle().await;
    assert_eq!(bench.net.asked(LIST), 2, "the issuer said just now that it holds");
}

#[tokio::test]
async fn without_any_list_a_token_is_good_until_it_ends_unless_one_is_required() {
    let bench = Bench::new();
    bench.net.fail(LIST);
    let verifier = bench.verifier();
    let strict = bench.builder().require_status(Duration::from_mins(1)).build().unwrap();
    for _ in 0..50 {
        assert_eq!(verdict(&verifier, &bench.numbered(1)).await, Ok(()));
        assert_eq!(verdict(&strict, &bench.numbered(0)).await, Err("unavailable"));
    }
    assert_eq!(bench.net.asked(LIST), 2, "each verifier asked once, and waits before it asks again");
    assert_eq!(verdict(&strict, &bench.token()).await, Err("status"), "a token without status tells nothing");
    assert_eq!(verdict(&verifier, &bench.token()).await, Ok(()));
    bench.publish(json!({}));
    bench.wait(1);
    assert_eq!(verdict(&strict, &bench.numbered(0)).await, Ok(()));
    assert_eq!(verdict(&verifier, &bench.numbered(1)).await, Ok(()), "nobody waits for what failed a moment ago");
    bench.net.settle().await;
    assert_eq!(verdict(&verifier, &bench.numbered(1)).await, Err("status"));
}

#[tokio::test]
async fn while_the_list_cannot_be_had_the_last_one_goes_on_unless_a_fresh_one_is_required() {
    let bench = Bench::new();
    bench.publish(json!({}));
    let verifier = bench.verifier();
    let strict = bench.builder().require_status(Duration::from_mins(1)).build().unwrap();
    for verifier in [&verifier, &strict] {
        assert_eq!(verdict(verifier, &bench.numbered(0)).await, Ok(()));
    }
    bench.net.fail(LIST);
    bench.wait(60);
    assert_eq!(verdict(&strict, &bench.numbered(0)).await, Ok(()), "it is not too old yet");
    bench.wait(3600);
    assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Ok(()));
    assert_eq!(verdict(&verifier, &bench.numbered(1)).await, Err("status"), "what was revoked stays so");
    assert_eq!(verdict(&strict, &bench.numbered(0)).await, Err("unavailable"));
    let health = verifier.health();
    assert!(health.status_lists[0].problem.as_ref().unwrap().contains("cannot be reached"));
}

#[tokio::test]
async fn a_list_that_cannot_be_had_is_asked_for_ever_less_often() {
    let bench = Bench::new();
    bench.net.fail(LIST);
    let verifier = bench.verifier();
    for _ in 0..60 {
        assert_eq!(verdict(&verifier, &bench.numbered(1)).await, Ok(()));
        bench.net.settle().await;
        bench.wait(1);
    }
    assert!((2..=7).contains(&bench.net.asked(LIST)), "{} fetches in a minute", bench.net.asked(LIST));
}

#[tokio::test]
async fn after_an_outage_of_any_length_a_revocation_is_seen_within_the_ttl_and_a_second() {
    for (ttl, required_age) in [(TTL, None), (5, None), (600, Some(10))] {
        let bench = Bench::new();
        bench.publish(json!({"ttl": ttl}));
        let builder = bench.builder();
        let builder = match required_age {
            Some(age) => builder.require_status(Duration::from_secs(age)),
            None => builder,
        };
        let verifier = builder.build().unwrap();
        assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Ok(()));
        bench.net.fail(LIST);
        for _ in 0..900 {
            bench.wait(1);
            let _ = verdict(&verifier, &bench.numbered(0)).await;
            bench.net.settle().await;
        }
        let within = required_age.map_or(ttl, |age| ttl.min(age.cast_signed()));
        for _ in 0..=within {
            bench.publish(json!({"ttl": ttl, "status_list": {"bits": 2, "lst": packed(&[0b0000_0001])}}));
            bench.wait(1);
            let _ = verdict(&verifier, &bench.numbered(0)).await;
            bench.net.settle().await;
        }
        assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Err("status"), "ttl {ttl}");
    }
}

#[tokio::test]
async fn after_an_outage_and_a_silence_the_first_token_waits_for_the_list() {
    let bench = Bench::new();
    bench.publish(json!({}));
    let verifier = bench.verifier();
    assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Ok(()));
    bench.net.fail(LIST);
    for _ in 0..2 {
        bench.wait(20);
        assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Ok(()));
        bench.net.settle().await;
    }
    bench.wait(45);
    bench.revoke_the_first();
    assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Err("status"));
}

#[tokio::test]
async fn a_required_age_below_the_ttl_fetches_earlier() {
    let bench = Bench::new();
    bench.publish(json!({"ttl": 600}));
    let strict = bench.builder().require_status(Duration::from_secs(30)).build().unwrap();
    assert_eq!(verdict(&strict, &bench.numbered(0)).await, Ok(()));
    bench.wait(31);
    bench.publish(json!({"ttl": 600}));
    assert_eq!(verdict(&strict, &bench.numbered(0)).await, Ok(()));
    assert_eq!(bench.net.asked(LIST), 2);
}

#[tokio::test]
async fn an_older_list_does_not_bring_a_revoked_token_back() {
    let bench = Bench::new();
    bench.publish(json!({}));
    let older = bench.list(&bench.signer, "statuslist+jwt", json!({"iat": bench.clock.now() - 5}));
    bench.wait(5);
    bench.revoke_the_first();
    let verifier = bench.verifier();
    assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Err("status"));
    bench.net.say(LIST, older);
    bench.wait(20);
    assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Err("status"));
    assert_eq!(bench.net.asked(LIST), 2);
    assert!(verifier.health().status_lists[0].problem.as_ref().unwrap().contains("older"));
}

/// Each of these says that token 1 is good. None of them is the issuer's word.
#[tokio::test]
async fn a_list_that_is_not_the_issuers_for_this_address_now_counts_for_nothing() {
    let bench = Bench::new();
    let all_good = json!({"status_list": {"bits": 2, "lst": packed(&[0])}});
    let with = |change: Value| {
        let mut claims = all_good.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    };
    let bomb = packed(&vec![0; 5 * 1024 * 1024]);
    let list = |change: Value| bench.list(&bench.signer, "statuslist+jwt", change);
    let good = list(all_good.clone());
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    let forged = [
        ("of another address", list(with(json!({"sub": "https://auth.example.com/status/2"})))),
        ("of another issuer", list(with(json!({"iss": "https://elsewhere.example"})))),
        ("of tomorrow", list(with(json!({"iat": bench.clock.now() + 86_400})))),
        ("ended", list(with(json!({"exp": bench.clock.now() + 10})))),
        ("without iat", list(with(json!({"iat": null})))),
        ("an access token", bench.list(&bench.signer, "at+jwt", all_good.clone())),
        ("any JWT", bench.list(&bench.signer, "JWT", all_good.clone())),
        ("signed by somebody else", bench.list(&signer(), "statuslist+jwt", all_good.clone())),
        ("without a signature", format!("{unsigned}.")),
        ("a bomb", list(json!({"status_list": {"bits": 2, "lst": bomb}}))),
        ("not zlib", list(json!({"status_list": {"bits": 2, "lst": "AAAA"}}))),
        ("three bits", list(json!({"status_list": {"bits": 3, "lst": packed(&[0])}}))),
        ("too large", "x".repeat(3 * 1024 * 1024)),
        ("empty", String::new()),
    ];
    bench.publish(json!({}));
    let verifier = bench.verifier();
    assert_eq!(verdict(&verifier, &bench.numbered(1)).await, Err("status"));
    for (what, forged) in forged {
        bench.net.say(LIST, forged);
        bench.wait(61);
        let asked = bench.net.asked(LIST);
        let _ = verdict(&verifier, &bench.numbered(1)).await;
        bench.net.settle().await;
        assert_eq!(bench.net.asked(LIST), asked + 1, "{what} was fetched");
        assert!(verifier.health().status_lists[0].problem.is_some(), "{what} was refused");
        assert_eq!(verdict(&verifier, &bench.numbered(1)).await, Err("status"), "{what}");
    }
    bench.publish(all_good);
    bench.wait(61);
    let _ = verdict(&verifier, &bench.numbered(1)).await;
    bench.net.settle().await;
    assert_eq!(verdict(&verifier, &bench.numbered(1)).await, Ok(()), "and the issuer's word counts");
}

#[tokio::test]
async fn a_list_elsewhere_is_never_fetched() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    for uri in ["https://evil.example/status/1", "https://auth.example.com.evil.example/status/1", JWKS] {
        let token = bench.token_by(&bench.signer, json!({"status": {"status_list": {"idx": 0, "uri": uri}}}));
        assert_eq!(verdict(&verifier, &token).await, Err("status"), "{uri}");
    }
    assert_eq!(bench.net.0.asked.lock().unwrap().len(), 1, "the keys alone");
}

#[tokio::test]
async fn a_token_that_is_not_good_asks_for_no_list() {
    let bench = Bench::new();
    bench.publish(json!({}));
    let verifier = bench.verifier();
    let foreign = bench.token_by(
        &bench.signer,
        json!({"aud": "https://elsewhere.example", "status": {"status_list": {"idx": 0, "uri": LIST}}}),
    );
    assert_eq!(verdict(&verifier, &foreign).await, Err("aud"));
    assert_eq!(bench.net.asked(LIST), 0);
}

#[tokio::test]
async fn a_list_by_a_new_key_is_verified_with_it() {
    let bench = Bench::new();
    bench.publish(json!({}));
    let verifier = bench.verifier();
    assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Ok(()));
    let next = signer();
    bench.net.say(JWKS, jwks(&[&bench.signer, &next]));
    bench.wait(31);
    let revoked = json!({"status_list": {"bits": 2, "lst": packed(&[1])}});
    bench.net.say(LIST, bench.list(&next, "statuslist+jwt", revoked));
    assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Err("status"));
}

#[tokio::test]
async fn a_server_whose_clock_is_behind_is_not_flooded() {
    let bench = Bench::new();
    let verifier: Verifier = bench.verifier();
    for _ in 0..60 {
        bench.publish(json!({"iat": bench.clock.now() - 40}));
        assert_eq!(verdict(&verifier, &bench.numbered(0)).await, Ok(()));
        bench.net.settle().await;
        bench.wait(1);
    }
    assert!(bench.net.asked(LIST) <= 5, "{} fetches in a minute", bench.net.asked(LIST));
}

#[tokio::test]
async fn lists_are_kept_up_to_a_number() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    for number in 0..200 {
        let uri = format!("{ISSUER}/status/{number}");
        let list = bench.list(&bench.signer, "statuslist+jwt", json!({ "sub": uri }));
        bench.net.answer(&uri, Ok(Fetched::Document(Document { body: list.into_bytes(), ..Document::default() })));
        let token = bench.token_by(&bench.signer, json!({"status": {"status_list": {"idx": 1, "uri": uri}}}));
        assert_eq!(verdict(&verifier, &token).await, Err("status"));
    }
    assert_eq!(verifier.health().status_lists.len(), 64);
}
