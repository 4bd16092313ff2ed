//! Keys: ours through a rotation, and those of others through fetches that succeed and fail.

use crate::issuer::{TestIssuer, install_tls, with};
use axum::Router;
use axum::http::header;
use axum::routing::get;
use procura::domain::client::Client;
use procura::domain::identity_provider::VerificationAlgorithm::{ES256, RS256};
use procura::domain::resource::SigningAlgorithm;
use procura::domain::signing_key::SigningKeyRecord;
use procura::secrets::SecretsKey;
use procura::tokens::issuer_keys::{IssuerKeys, KeyError};
use procura::tokens::offline::OfflineVerifier;
use procura::tokens::signing_keys::{LocalSigner, SigningKeys, rotate};
use procura::upstream::fetch::Fetcher;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const NOW: i64 = 1_795_500_000;

fn fetcher() -> Fetcher {
    install_tls();
    Fetcher::new(Duration::from_secs(5), 64 * 1024)
}

/// OpenSSL 3.0 fails to decode a key here and there while other threads decode the first ones of the process, so each try
/// is a process of its own: without one thread that goes first, each sixth failed.
#[test]
fn threads_that_read_the_first_keys_of_a_process_at_once_can_use_them_all() {
    const CHILD: &str = "PROCURA_FIRST_KEYS";
    if std::env::var_os(CHILD).is_none() {
        for _ in 0..80 {
            let name = "keys::threads_that_read_the_first_keys_of_a_process_at_once_can_use_them_all";
            let mut child = Command::new(std::env::current_exe().unwrap());
            let output = child.args(["--exact", name]).env(CHILD, "1").output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the child runs this test");
        }
        return;
    }
    let file = crate::vectors::stored();
    let text = |name: &str| file[name].as_str().unwrap();
    let (jwks, now) = (file["jwks"].to_string(), file["now"].as_i64().unwrap());
    let good =
        |name: &&str| file["vectors"].as_array().unwrap().iter().find(|vector| vector["name"] == **name).unwrap();
    let names = ["good_es256", "good_eddsa", "good_rs256", "good_ps256"];
    let tokens = names.map(|name| good(&name)["token"].as_str().unwrap());
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                let verifier = OfflineVerifier::new(text("issuer"), text("audience"), &jwks).unwrap();
                for token in tokens {
                    verifier.verify(token, now).unwrap();
                }
            });
        }
    });
}

// --- Our own keys.

fn add(records: &mut Vec<SigningKeyRecord>, key: &SecretsKey, emergency: bool, now: i64) -> String {
    let rotation = rotate(records, SigningAlgorithm::ES256, 900, emergency, key, now).unwrap();
    for (kid, removed_at) in rotation.removals {
        records.iter_mut().find(|record| record.kid == kid).unwrap().removed_at = Some(removed_at);
    }
    let kid = rotation.key.kid.clone();
    records.push(rotation.key);
    kid
}

fn published_kids(keys: &SigningKeys, now: i64) -> Vec<String> {
    let jwks: Value = serde_json::from_str(&keys.jwks(now).body).unwrap();
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn signer_kid(keys: &SigningKeys, now: i64) -> String {
    keys.signer(SigningAlgorithm::ES256, now).unwrap().kid().to_owned()
}

#[test]
fn the_first_key_signs_at_once_and_its_jwks_entry_is_public_only() {
    for algorithm in SigningAlgorithm::ALL {
        let key = SecretsKey::generate();
        let record = rotate(&[], algorithm, 900, false, &key, NOW).unwrap().key;
        assert_eq!((record.generation, record.published_at, record.signs_from), (1, NOW, NOW));
        let keys = SigningKeys::open(std::slice::from_ref(&record), &key, NOW).unwrap();
        let signer = keys.signer(algorithm, NOW).unwrap();
        let token = signer.sign("at+jwt", b"{}").unwrap();
        let (input, signature) = token.rsplit_once('.').unwrap();
        let signature = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature).unwrap();
        assert!(signer.verifies(input.as_bytes(), &signature));
        assert!(!signer.verifies(b"other", &signature));
        let jwks: Value = serde_json::from_str(&keys.jwks(NOW).body).unwrap();
        let entry = jwks["keys"][0].as_object().unwrap();
        assert_eq!(
            (&entry["kid"], &entry["use"], &entry["alg"]),
            (&json!(record.kid), &json!("sig"), &json!(algorithm.as_str()))
        );
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(!entry.contains_key(private), "{private} of {algorithm:?} is published");
        }
        assert!(!record.sealed_private_jwk.contains("\"d\""));
    }
}

#[test]
fn a_successor_is_published_before_it_signs_and_the_old_key_stays_until_its_tokens_are_dead() {
    let (key, mut records) = (SecretsKey::generate(), Vec::new());
    let first = add(&mut records, &key, false, NOW);
    let second = add(&mut records, &key, false, NOW + 1000);
    let keys = SigningKeys::open(&records, &key, NOW + 1000).unwrap();
    assert_eq!(records[1].generation, 2);
    assert_eq!(published_kids(&keys, NOW + 1000), [second.clone(), first.clone()]);
    assert_eq!(signer_kid(&keys, NOW + 1899), first);
    assert_eq!(signer_kid(&keys, NOW + 1900), second);
    let gone = NOW + 1900 + 3600 + 60;
    assert!(keys.published(&first, gone - 1).is_some());
    assert!(keys.published(&first, gone).is_none());
    assert_eq!(published_kids(&keys, gone), [second]);
}

#[test]
fn in_an_emergency_the_old_key_is_gone_at_once() {
    let (key, mut records) = (SecretsKey::generate(), Vec::new());
    let first = add(&mut records, &key, false, NOW);
    let second = add(&mut records, &key, true, NOW + 10);
    let keys = SigningKeys::open(&records, &key, NOW + 10).unwrap();
    assert_eq!(signer_kid(&keys, NOW + 10), second);
    assert!(keys.published(&first, NOW + 10).is_none());
    assert_eq!(published_kids(&keys, NOW + 10), [second]);
}

#[test]
fn the_jwks_is_made_once_per_phase_and_its_etag_changes_with_it() {
    let (key, mut records) = (SecretsKey::generate(), Vec::new());
    add(&mut records, &key, false, NOW);
    add(&mut records, &key, false, NOW);
    let keys = SigningKeys::open(&records, &key, NOW).unwrap();
    let (early, late) = (keys.jwks(NOW), keys.jwks(NOW + 100_000));
    assert!(Arc::ptr_eq(&late, &keys.jwks(NOW + 200_000)));
    assert_ne!(early.etag, late.etag);
    assert_eq!(early.etag, keys.jwks(NOW).etag);
    assert!(early.etag.starts_with('"') && early.etag.ends_with('"'));
}

#[test]
fn a_key_sealed_under_another_secrets_key_is_named() {
    let key = SecretsKey::generate();
    let record = rotate(&[], SigningAlgorithm::ES256, 900, false, &key, NOW).unwrap().key;
    let problem = SigningKeys::open(std::slice::from_ref(&record), &SecretsKey::generate(), NOW).unwrap_err();
    assert!(problem.to_string().contains(&record.kid), "{problem}");
}

#[test]
fn a_key_that_was_exchanged_in_the_database_is_refused() {
    let key = SecretsKey::generate();
    let mut record = rotate(&[], SigningAlgorithm::ES256, 900, false, &key, NOW).unwrap().key;
    record.sealed_private_jwk =
        rotate(&[], SigningAlgorithm::ES256, 900, false, &key, NOW).unwrap().key.sealed_private_jwk;
    assert!(SigningKeys::open(&[record], &key, NOW).is_err());
}

// --- Keys of identity providers.

async fn ask(keys: &IssuerKeys, issuer: &TestIssuer, kid: &str, now: i64) -> Result<(), KeyError> {
    keys.of_provider(&issuer.provider("corp"), Some(kid), ES256, now).await.map(|_| ())
}

#[tokio::test]
async fn keys_are_fetched_once_and_then_served_from_memory() {
    let (issuer, keys) = (TestIssuer::start().await, IssuerKeys::new(fetcher()));
    let kid = issuer.key().kid().to_owned();
    for second in 0..10 {
        ask(&keys, &issuer, &kid, NOW + second).await.unwrap();
    }
    assert_eq!((issuer.discoveries(), issuer.jwks_requests()), (1, 1));
    let health = keys.health();
    assert_eq!(
        (health[0].issuer.as_str(), health[0].fetched_at, &health[0].last_error),
        (issuer.issuer(), Some(NOW), &None)
    );
}

#[tokio::test]
async fn many_requests_at_once_share_one_fetch() {
    let (issuer, keys) = (TestIssuer::start().await, Arc::new(IssuerKeys::new(fetcher())));
    let (idp, kid) = (issuer.provider("corp"), issuer.key().kid().to_owned());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (keys, idp, kid) = (Arc::clone(&keys), idp.clone(), kid.clone());
        tasks.spawn(async move { keys.of_provider(&idp, Some(&kid), ES256, NOW).await.is_ok() });
    }
    assert!(tasks.join_all().await.into_iter().all(|is_ok| is_ok));
    assert_eq!(issuer.jwks_requests(), 1);
}

#[tokio::test]
async fn a_new_key_is_found_but_an_unknown_kid_leads_to_a_fetch_every_thirty_seconds_only() {
    let (issuer, keys) = (TestIssuer::start().await, IssuerKeys::new(fetcher()));
    let first = issuer.key().kid().to_owned();
    ask(&keys, &issuer, &first, NOW).await.unwrap();
    let second = issuer.rotate().kid().to_owned();
    assert!(matches!(ask(&keys, &issuer, &second, NOW + 29).await, Err(KeyError::Unknown(_))));
    assert_eq!(issuer.jwks_requests(), 1);
    ask(&keys, &issuer, &second, NOW + 30).await.unwrap();
    assert_eq!(issuer.jwks_requests(), 2);
    for number in 0..100 {
        assert!(ask(&keys, &issuer, &format!("guess-{number}"), NOW + 59).await.is_err());
    }
    assert_eq!(issuer.jwks_requests(), 2);
    assert!(
        matches!(ask(&keys, &issuer, &first, NOW + 59).await, Err(KeyError::Unknown(_))),
        "the old key is withdrawn"
    );
}

#[tokio::test]
async fn a_key_of_the_kid_for_another_algorithm_is_told_apart() {
    let (issuer, keys) = (TestIssuer::start().await, IssuerKeys::new(fetcher()));
    let idp = issuer.provider("corp");
    let answer = keys.of_provider(&idp, Some(issuer.key().kid()), RS256, NOW).await;
    assert!(matches!(answer, Err(KeyError::OtherAlgorithm(_))));
}

#[tokio::test]
async fn failures_back_off_and_old_keys_serve_meanwhile() {
    let (issuer, keys) = (TestIssuer::start().await, IssuerKeys::new(fetcher()));
    let kid = issuer.key().kid().to_owned();
    issuer.fail(true);
    assert!(matches!(ask(&keys, &issuer, &kid, NOW).await, Err(KeyError::Unavailable(_))));
    assert!(matches!(ask(&keys, &issuer, &kid, NOW).await, Err(KeyError::Unavailable(_))));
    assert_eq!(issuer.discoveries(), 1, "the second request does not try again within the second");
    assert!(keys.health()[0].last_error.as_ref().unwrap().contains("500"));
    issuer.fail(false);
    ask(&keys, &issuer, &kid, NOW + 1).await.unwrap();
    issuer.fail(true);
    // Past its hour and past the time for background refreshes: a fetch is tried first, and fails.
    ask(&keys, &issuer, &kid, NOW + 5000).await.unwrap();
    assert!(keys.health()[0].last_error.is_some());
    let day = 24 * 3600;
    ask(&keys, &issuer, &kid, NOW + 3600 + day).await.unwrap();
    assert!(
        matches!(ask(&keys, &issuer, &kid, NOW + 1 + 3600 + day).await, Err(KeyError::Unavailable(_))),
        "a copy a day past its time does not serve",
    );
}

#[tokio::test]
async fn max_age_is_honoured_within_bounds() {
    for (cache_control, fresh) in
        [("max-age=600", 600), ("max-age=1", 60), ("no-store", 60), ("max-age=9999999", 86_400)]
    {
        let (issuer, keys) = (TestIssuer::start().await, IssuerKeys::new(fetcher()));
        issuer.cache_control(cache_control);
        let kid = issuer.key().kid().to_owned();
        ask(&keys, &issuer, &kid, NOW).await.unwrap();
        ask(&keys, &issuer, &kid, NOW + fresh - 1).await.unwrap();
        assert_eq!(issuer.jwks_requests(), 1, "{cache_control}");
        // Long past: the copy is refreshed before it is used, so a withdrawn key does not serve.
        issuer.rotate();
        assert!(ask(&keys, &issuer, &kid, NOW + fresh + 300).await.is_err(), "{cache_control}");
        assert_eq!(issuer.jwks_requests(), 2, "{cache_control}");
    }
}

#[tokio::test]
async fn a_copy_just_past_its_time_serves_while_a_new_one_is_fetched() {
    let (issuer, keys) = (TestIssuer::start().await, IssuerKeys::new(fetcher()));
    let first = issuer.key().kid().to_owned();
    ask(&keys, &issuer, &first, NOW).await.unwrap();
    let second = issuer.rotate().kid().to_owned();
    ask(&keys, &issuer, &first, NOW + 3600).await.unwrap();
    let fetched = async {
        while keys.health()[0].fetched_at != Some(NOW + 3600) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), fetched).await.expect("the refresh goes on in the background");
    ask(&keys, &issuer, &second, NOW + 3601).await.unwrap();
    assert_eq!(issuer.jwks_requests(), 2);
}

#[tokio::test]
async fn discovery_in_the_name_of_another_issuer_is_refused() {
    let (issuer, keys) = (TestIssuer::start().await, IssuerKeys::new(fetcher()));
    issuer.claim_issuer(&format!("{}/", issuer.issuer()));
    let problem = ask(&keys, &issuer, issuer.key().kid(), NOW).await.unwrap_err();
    assert!(problem.to_string().contains("is the document of issuer"), "{problem}");
    assert_eq!(issuer.jwks_requests(), 0);
}

#[tokio::test]
async fn a_changed_registration_starts_anew() {
    let (first, second, keys) = (TestIssuer::start().await, TestIssuer::start().await, IssuerKeys::new(fetcher()));
    ask(&keys, &first, first.key().kid(), NOW).await.unwrap();
    // The same id, now with the keys of another place.
    ask(&keys, &second, second.key().kid(), NOW).await.unwrap();
    assert!(ask(&keys, &second, first.key().kid(), NOW + 60).await.is_err());
}

#[tokio::test]
async fn unusable_keys_in_a_jwks_do_no_harm_and_are_named() {
    let (issuer, keys) = (TestIssuer::start().await, IssuerKeys::new(fetcher()));
    issuer.publish_foreign_key(json!({"kty": "oct", "kid": "secret", "k": "AAAA"}));
    issuer.publish_foreign_key(json!({"kty": "EC", "crv": "P-256", "kid": "off", "x": "AQ", "y": "AQ"}));
    ask(&keys, &issuer, issuer.key().kid(), NOW).await.unwrap();
    let problem = ask(&keys, &issuer, "off", NOW + 30).await.unwrap_err();
    assert!(problem.to_string().contains("x is not 32 bytes long"), "{problem}");
}

// --- Keys of clients.

fn client(extra: Value) -> Client {
    let client = json!({"id": "assistant", "name": "Assistant", "authentication": "private_key_jwt", "grants": []});
    serde_json::from_value(with(client, extra)).unwrap()
}

#[tokio::test]
async fn a_clients_registered_keys_need_no_fetch_and_follow_its_registration() {
    let keys = IssuerKeys::new(fetcher());
    let [first, second] = [0, 1].map(|_| LocalSigner::generate(SigningAlgorithm::ES256).unwrap());
    let with = |key: &LocalSigner| client(json!({"jwks": {"keys": [key.public_jwk()]}}));
    let find = async |client: &Client, kid: &str| keys.of_client(client, Some(kid), ES256, NOW).await.map(|_| ());
    find(&with(&first), first.kid()).await.unwrap();
    find(&with(&second), second.kid()).await.unwrap();
    assert!(matches!(find(&with(&second), first.kid()).await, Err(KeyError::Unknown(_))));
    assert!(matches!(find(&client(json!({})), first.kid()).await, Err(KeyError::Unknown(_))));
}

#[tokio::test]
async fn a_clients_jwks_uri_never_leads_into_a_private_network() {
    let (listener, keys) = (silent_listener(), IssuerKeys::new(fetcher()));
    let uri = format!("https://127.0.0.1:{}/jwks", listener.local_addr().unwrap().port());
    let answer = keys.of_client(&client(json!({"jwks_uri": uri})), Some("a"), ES256, NOW).await;
    assert!(matches!(answer, Err(KeyError::NotAllowed(_))));
    assert_untouched(&listener);
}

// --- Fetching.

fn silent_listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

#[track_caller]
fn assert_untouched(listener: &TcpListener) {
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody connected");
}

async fn fetch(fetcher: &Fetcher, url: &str, allow_private: bool) -> Result<usize, String> {
    let document = fetcher.get_json(&url.parse().unwrap(), allow_private).await;
    document.map(|document| document.body.len()).map_err(|problem| problem.to_string())
}

#[tokio::test]
async fn no_spelling_of_loopback_is_connected_to() {
    let listener = silent_listener();
    let port = listener.local_addr().unwrap().port();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "LOCALHOST",
    ] {
        for scheme in ["http", "https"] {
            let problem = fetch(&fetcher(), &format!("{scheme}://{host}:{port}/"), false).await.unwrap_err();
            assert!(!problem.is_empty());
        }
    }
    assert_untouched(&listener);
}

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_refused_by_its_address() {
    let listener = silent_listener();
    let port = listener.local_addr().unwrap().port();
    let problem = fetch(&fetcher(), &format!("https://localhost:{port}/"), false).await.unwrap_err();
    assert!(problem.contains("public"), "{problem}");
    assert_untouched(&listener);
}

/// Serves a few documents on loopback.
async fn document_server() -> String {
    let router = Router::new()
        .route("/json", get(|| async { ([(header::CONTENT_TYPE, "application/json")], "{}") }))
        .route("/html", get(|| async { ([(header::CONTENT_TYPE, "text/html")], "<p>secret</p>") }))
        .route("/redirect", get(|| async { (http::StatusCode::FOUND, [(header::LOCATION, "/json")]) }))
        .route(
            "/created",
            get(|| async { (http::StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json")], "{}") }),
        )
        .route("/never", get(std::future::pending::<&'static str>));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// A server that answers with JSON without end and without Content-Length.
async fn endless_server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        while stream.write_all(&[b' '; 8192]).await.is_ok() {}
    });
    format!("http://{address}/")
}

#[tokio::test]
async fn only_a_json_document_with_status_200_counts_and_errors_do_not_repeat_its_content() {
    let (base, fetcher) = (document_server().await, fetcher());
    assert_eq!(fetch(&fetcher, &format!("{base}/json"), true).await, Ok(2));
    for (path, words) in
        [("redirect", "status 302"), ("created", "status 201"), ("missing", "status 404"), ("html", "Content-Type")]
    {
        let problem = fetch(&fetcher, &format!("{base}/{path}"), true).await.unwrap_err();
        assert!(problem.contains(words) && !problem.contains("secret"), "{problem}");
    }
}

#[tokio::test]
async fn a_document_without_end_is_given_up_by_size_and_one_that_never_comes_by_time() {
    let base = document_server().await;
    let problem = fetch(&fetcher(), &endless_server().await, true).await.unwrap_err();
    assert!(problem.contains("larger than 65536 bytes"), "{problem}");
    install_tls();
    let impatient = Fetcher::new(Duration::from_millis(50), 1024);
    let problem = fetch(&impatient, &format!("{base}/never"), true).await.unwrap_err();
    assert!(problem.contains("did not answer"), "{problem}");
}

#[tokio::test]
async fn http_is_for_loopback_only_even_where_private_addresses_are_allowed() {
    let problem = fetch(&fetcher(), "http://idp.example.com/", true).await.unwrap_err();
    assert!(problem.contains("http is for loopback only"), "{problem}");
}

#[tokio::test]
async fn a45_a_name_that_leads_to_our_own_network_is_looked_up_once_and_nothing_is_connected_to() {
    install_tls();
    let listener = silent_listener();
    let address = listener.local_addr().unwrap();
    let lookups = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&lookups);
    // An attacker's name server: a private address alone, or after a public one.
    let names = move |name: &str| {
        count.fetch_add(1, Ordering::SeqCst);
        let public = SocketAddr::from(([1, 1, 1, 1], 0));
        if name == "both.example" { vec![public, address] } else { vec![address] }
    };
    let fetcher = Fetcher::with_names(Arc::new(names), Duration::from_secs(5), 1024);
    for name in ["private.example", "both.example"] {
        let keys = IssuerKeys::new(fetcher.clone());
        let uri = format!("https://{name}:{}/jwks", address.port());
        let answer = keys.of_client(&client(json!({"jwks_uri": uri})), Some("a"), ES256, NOW).await;
        assert!(
            matches!(&answer, Err(KeyError::NotAllowed(problem)) if problem.contains("public")),
            "{:?}",
            answer.err()
        );
    }
    assert_eq!(lookups.load(Ordering::SeqCst), 2);
    assert_untouched(&listener);
    // What was looked up is what is connected to: a second answer (rebinding) is never asked for.
    let port = document_server().await.rsplit(':').next().unwrap().to_owned();
    let url = format!("http://localhost:{port}/json");
    assert_eq!(fetcher.get_json(&url.parse().unwrap(), true).await.unwrap().body, b"{}");
    assert_eq!(lookups.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a45_a_redirect_is_not_followed_and_is_no_reason_to_try_again() {
    let keys = IssuerKeys::new(fetcher()).with_loopback_clients(true);
    let uri = format!("{}/redirect", document_server().await);
    let answer = keys.of_client(&client(json!({"jwks_uri": uri})), Some("a"), ES256, NOW).await;
    assert!(matches!(&answer, Err(KeyError::NotAllowed(problem)) if problem.contains("302")), "{:?}", answer.err());
    let gone = keys.of_client(&client(json!({"jwks_uri": format!("{uri}/gone")})), Some("a"), ES256, NOW).await;
    assert!(matches!(gone, Err(KeyError::Unavailable(_))));
}
