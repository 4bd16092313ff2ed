//! Subject tokens, actor tokens and client assertions: what is accepted, and what each attack meets.

use crate::issuer::{
    TestIssuer, claims_of, install_tls, sign, sign_hs256, sign_text, sign_with_header, tampered, unsigned, with,
    with_signature,
};
use procura::domain::client::{Assurance, Client};
use procura::domain::decision::{Gate, Granted, GrantedSubject, ReasonCode, Refusal};
use procura::domain::delegation::{ActChain, Actor};
use procura::domain::identity_provider::{IdentityProvider, SubjectTokenType, VerificationAlgorithm};
use procura::domain::registry::Registry;
use procura::domain::resource::{Resource, SigningAlgorithm};
use procura::domain::signing_key::SigningKeyRecord;
use procura::domain::subject::{OwnToken, Subject, SubjectIssuer};
use procura::domain::target::Target;
use procura::domain::user::UserAttributes;
use procura::secrets::SecretsKey;
use procura::tokens::issuer_keys::IssuerKeys;
use procura::tokens::mint::{Minted, mint};
use procura::tokens::offline::{Expectations, OfflineVerifier, Outcome};
use procura::tokens::signing_keys::{LocalSigner, SigningKeys, rotate};
use procura::tokens::verify::{Verifier, claimed_client};
use procura::upstream::fetch::Fetcher;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const NOW: i64 = 1_795_500_000;
const ISSUER: &str = "https://auth.example.com";
const TOKEN_ENDPOINT: &str = "https://auth.example.com/token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

static SECRETS: LazyLock<SecretsKey> = LazyLock::new(SecretsKey::generate);
static OWN_RECORDS: LazyLock<Vec<SigningKeyRecord>> = LazyLock::new(|| {
    let new = |algorithm| rotate(&[], algorithm, 900, false, &SECRETS, NOW - 1000).unwrap().key;
    vec![new(SigningAlgorithm::ES256), new(SigningAlgorithm::EdDSA)]
});
static OWN_KEYS: LazyLock<SigningKeys> = LazyLock::new(|| SigningKeys::open(&OWN_RECORDS, &SECRETS, NOW).unwrap());

/// A server's view of the world, with one provider.
struct World {
    issuer: TestIssuer,
    registry: Registry,
    issuer_keys: IssuerKeys,
}

impl World {
    async fn start() -> Self {
        let issuer = TestIssuer::start().await;
        let idp = issuer.provider("corp");
        Self::with_provider(issuer, idp)
    }

    fn with_provider(issuer: TestIssuer, idp: IdentityProvider) -> Self {
        let registry = Registry::new(vec![idp], vec![], vec![], vec![], HashSet::new());
        Self { issuer, registry, issuer_keys: issuer_keys() }
    }

    fn verifier(&self) -> Verifier<'_> {
        verifier(&self.registry, &self.issuer_keys)
    }

    async fn subject(&self, token: &str, token_type: &str) -> Result<Subject, Refusal> {
        self.verifier().subject(token, token_type).await
    }

    async fn reason(&self, token: &str, token_type: &str) -> ReasonCode {
        let refusal = self.subject(token, token_type).await.unwrap_err();
        assert!(refusal.detail.len() < 1000, "a detail never repeats a token: {}", refusal.detail);
        refusal.reason
    }

    async fn id_token_reason(&self, claims: Value) -> ReasonCode {
        self.reason(&self.issuer.id_token(NOW, claims), ID_TOKEN).await
    }
}

fn issuer_keys() -> IssuerKeys {
    install_tls();
    IssuerKeys::new(Fetcher::new(Duration::from_secs(5), 64 * 1024))
}

fn verifier<'a>(registry: &'a Registry, issuer_keys: &'a IssuerKeys) -> Verifier<'a> {
    Verifier {
        issuer: ISSUER,
        registry,
        signing_keys: &OWN_KEYS,
        issuer_keys,
        max_chain_depth: 4,
        clock_skew_seconds: 30,
        now: NOW,
    }
}

// --- What is accepted.

#[tokio::test]
async fn an_id_token_becomes_facts() {
    let world = World::start().await;
    let token = world.issuer.id_token(
        NOW,
        json!({
            "jti": "t1", "auth_time": NOW - 60, "acr": "mfa", "amr": ["pwd", "otp"], "azp": "llm-app",
            "roles": ["doctor"], "groups": "staff", "email": "alice@example.com", "name": "Alice",
            "may_act": {"sub": "assistant"}, "act": {"sub": "portal"},
        }),
    );
    let subject = world.subject(&token, ID_TOKEN).await.unwrap();
    assert_eq!(subject.issuer, SubjectIssuer::Idp("corp".parse().unwrap()));
    assert_eq!((subject.sub.as_str(), subject.audiences.as_slice()), ("alice", &["llm-app".to_owned()][..]));
    assert_eq!((subject.expires_at, subject.issued_at, subject.auth_time), (NOW + 600, Some(NOW), Some(NOW - 60)));
    assert_eq!(
        (subject.jti.as_deref(), subject.azp.as_deref(), subject.acr.as_deref()),
        (Some("t1"), Some("llm-app"), Some("mfa"))
    );
    assert_eq!((subject.amr.len(), subject.scope, subject.token_type), (2, None, SubjectTokenType::IdToken));
    assert_eq!(subject.act.unwrap().current().sub, "portal");
    assert!(subject.may_act.is_some());
    let expected = UserAttributes {
        roles: vec!["doctor".to_owned()],
        groups: vec!["staff".to_owned()],
        email: Some("alice@example.com".to_owned()),
        email_verified: None,
        name: Some("Alice".to_owned()),
    };
    assert_eq!(subject.attributes, expected);
}

#[tokio::test]
async fn every_algorithm_on_the_providers_list_verifies() {
    let issuer = TestIssuer::start().await;
    let mut idp = issuer.provider("corp");
    idp.algorithms = VerificationAlgorithm::ALL.to_vec();
    let keys: Vec<_> = SigningAlgorithm::ALL.into_iter().map(|algorithm| issuer.add_key(algorithm)).collect();
    let world = World::with_provider(issuer, idp);
    for key in keys {
        let token = sign(&key, Some("JWT"), &world.issuer.standard_claims(NOW));
        world.subject(&token, ID_TOKEN).await.unwrap_or_else(|refusal| panic!("{:?}: {refusal:?}", key.algorithm()));
        // The name of RFC 9864 for the same algorithm.
        if key.algorithm() == SigningAlgorithm::EdDSA {
            let header = json!({"alg": "Ed25519", "kid": key.kid()});
            let token = sign_with_header(&key, &header, &world.issuer.standard_claims(NOW));
            world.subject(&token, ID_TOKEN).await.unwrap();
        }
    }
}

#[tokio::test]
async fn claims_that_a_rule_requires_are_handed_on() {
    let issuer = TestIssuer::start().await;
    let mut idp = issuer.provider("corp");
    idp.subject_tokens[0].required_claims = BTreeMap::from([("hd".to_owned(), "example.com".to_owned())]);
    let world = World::with_provider(issuer, idp);
    let token = world.issuer.id_token(NOW, json!({"hd": "example.com", "other": "x"}));
    let subject = world.subject(&token, ID_TOKEN).await.unwrap();
    assert_eq!(subject.named_claims, BTreeMap::from([("hd".to_owned(), "example.com".to_owned())]));
}

// --- Form (A01, A04 to A08).

#[tokio::test]
async fn a_token_type_that_cannot_be_a_subject_is_unsupported() {
    let world = World::start().await;
    let token = world.issuer.id_token(NOW, json!({}));
    for token_type in
        ["urn:ietf:params:oauth:token-type:refresh_token", "urn:ietf:params:oauth:token-type:saml2", "id_token", ""]
    {
        assert_eq!(world.reason(&token, token_type).await, ReasonCode::SubjectTokenTypeUnsupported);
    }
}

#[tokio::test]
async fn what_is_not_a_compact_jws_is_told_apart() {
    let world = World::start().await;
    let good = world.issuer.id_token(NOW, json!({}));
    assert_eq!(world.reason("opaque", ID_TOKEN).await, ReasonCode::SubjectTokenOpaque);
    assert_eq!(world.reason(&format!("{good}.x"), ID_TOKEN).await, ReasonCode::SubjectTokenOpaque);
    assert_eq!(world.reason(&format!("{good}.x.y"), ID_TOKEN).await, ReasonCode::SubjectTokenMalformed);
    assert_eq!(world.reason(&format!("{good}="), ID_TOKEN).await, ReasonCode::SubjectTokenMalformed);
    assert_eq!(world.reason(&format!("{good} "), ID_TOKEN).await, ReasonCode::SubjectTokenMalformed);
    assert_eq!(world.reason(&"a".repeat(16 * 1024 + 1), ID_TOKEN).await, ReasonCode::SubjectTokenTooLarge);
}

#[tokio::test]
async fn a_repeated_member_is_refused_even_with_a_right_signature() {
    let world = World::start().await;
    let key = world.issuer.key();
    let (header, claims) =
        (json!({"alg": "ES256", "kid": key.kid()}).to_string(), world.issuer.standard_claims(NOW).to_string());
    let twice = claims.replacen('{', r#"{"sub":"bob","#, 1);
    assert_eq!(world.reason(&sign_text(&key, &header, &twice), ID_TOKEN).await, ReasonCode::SubjectTokenMalformed);
    let twice = header.replacen('{', r#"{"alg":"none","#, 1);
    assert_eq!(world.reason(&sign_text(&key, &twice, &claims), ID_TOKEN).await, ReasonCode::SubjectTokenMalformed);
}

#[tokio::test]
async fn a_header_with_a_key_of_its_own_or_crit_is_refused_without_any_request() {
    let world = World::start().await;
    let stranger = LocalSigner::generate(SigningAlgorithm::ES256).unwrap();
    for (name, value) in [
        ("jwk", json!(stranger.public_jwk())),
        ("jku", json!(world.issuer.jwks_uri())),
        ("x5u", json!(world.issuer.jwks_uri())),
        ("x5c", json!(["AAAA"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
    ] {
        let header = with(json!({"alg": "ES256", "kid": stranger.kid()}), json!({name: value}));
        let token = sign_with_header(&stranger, &header, &world.issuer.standard_claims(NOW));
        assert_eq!(world.reason(&token, ID_TOKEN).await, ReasonCode::SubjectTokenHeaderRefused, "{name}");
    }
    assert_eq!((world.issuer.discoveries(), world.issuer.jwks_requests()), (0, 0));
}

#[tokio::test]
async fn a_hostile_kid_is_just_an_unknown_kid() {
    let world = World::start().await;
    let key = world.issuer.key();
    for kid in ["../../etc/passwd", "/dev/null", "' OR 1=1 --", "a\0b", "", &"k".repeat(256)] {
        let header = json!({"alg": "ES256", "kid": kid});
        let token = sign_with_header(&key, &header, &world.issuer.standard_claims(NOW));
        assert_eq!(world.reason(&token, ID_TOKEN).await, ReasonCode::SubjectTokenKeyUnknown, "{kid:?}");
    }
    let header = json!({"alg": "ES256", "kid": "k".repeat(10_000)});
    let token = sign_with_header(&key, &header, &world.issuer.standard_claims(NOW));
    assert_eq!(world.reason(&token, ID_TOKEN).await, ReasonCode::SubjectTokenHeaderRefused);
    assert_eq!(world.issuer.jwks_requests(), 1);
}

// --- Algorithm, key and signature (A01 to A03, A09).

#[tokio::test]
async fn a_token_without_signature_is_refused_in_every_spelling_of_none() {
    let world = World::start().await;
    for alg in ["none", "None", "nOnE", "NONE"] {
        let token = unsigned(alg, &world.issuer.standard_claims(NOW));
        assert_eq!(world.reason(&token, ID_TOKEN).await, ReasonCode::SubjectTokenAlgorithmRefused, "{alg}");
    }
    assert_eq!(world.issuer.discoveries(), 0);
}

#[tokio::test]
async fn an_hmac_under_the_public_key_is_refused() {
    let world = World::start().await;
    let key = world.issuer.key();
    let jwk = serde_json::to_vec(key.public_jwk()).unwrap();
    for secret in [jwk.as_slice(), b"-----BEGIN PUBLIC KEY-----", key.public_jwk()["x"].as_str().unwrap().as_bytes()] {
        let token = sign_hs256(secret, key.kid(), &world.issuer.standard_claims(NOW));
        assert_eq!(world.reason(&token, ID_TOKEN).await, ReasonCode::SubjectTokenAlgorithmRefused);
    }
}

#[tokio::test]
async fn an_algorithm_of_the_same_family_that_the_key_is_not_for_is_refused() {
    let issuer = TestIssuer::start().await;
    let mut idp = issuer.provider("corp");
    idp.algorithms = VerificationAlgorithm::ALL.to_vec();
    let key = issuer.add_key(SigningAlgorithm::RS256);
    let world = World::with_provider(issuer, idp);
    let header = json!({"alg": "PS256", "kid": key.kid()});
    let token = sign_with_header(&key, &header, &world.issuer.standard_claims(NOW));
    assert_eq!(world.reason(&token, ID_TOKEN).await, ReasonCode::SubjectTokenAlgorithmRefused);
}

#[tokio::test]
async fn an_algorithm_that_is_not_on_the_providers_list_is_refused() {
    let issuer = TestIssuer::start().await;
    let mut idp = issuer.provider("corp");
    idp.algorithms = vec![VerificationAlgorithm::RS256];
    let world = World::with_provider(issuer, idp);
    assert_eq!(world.id_token_reason(json!({})).await, ReasonCode::SubjectTokenAlgorithmRefused);
}

#[tokio::test]
async fn a_signature_that_is_not_right_is_refused() {
    let world = World::start().await;
    let good = world.issuer.id_token(NOW, json!({}));
    let stranger = LocalSigner::generate(SigningAlgorithm::ES256).unwrap();
    let header = json!({"alg": "ES256", "kid": world.issuer.key().kid()});
    let raw = world.issuer.key().sign_bytes(good.rsplit_once('.').unwrap().0.as_bytes()).unwrap();
    let number = |bytes: &[u8]| openssl::bn::BigNum::from_slice(bytes).unwrap();
    let der = openssl::ecdsa::EcdsaSig::from_private_components(number(&raw[..32]), number(&raw[32..]))
        .unwrap()
        .to_der()
        .unwrap();
    for token in [
        tampered(&good, &with(world.issuer.standard_claims(NOW), json!({"sub": "bob"}))),
        sign_with_header(&stranger, &header, &world.issuer.standard_claims(NOW)),
        with_signature(&good, &[]),
        with_signature(&good, &[0; 64]),
        with_signature(&good, &[0xff; 64]),
        with_signature(&good, &raw[..63]),
        with_signature(&good, &[&raw[..], &[0]].concat()),
        with_signature(&good, &der),
    ] {
        assert_eq!(world.reason(&token, ID_TOKEN).await, ReasonCode::SubjectTokenSignatureInvalid);
    }
    world.subject(&with_signature(&good, &raw), ID_TOKEN).await.unwrap();
}

#[tokio::test]
async fn a_signature_that_a_small_order_key_would_accept_finds_no_key() {
    let world = World::start().await;
    let (zeros, signature) = ([0; 32], [0; 64]);
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, zeros);
    world.issuer.publish_foreign_key(json!({"kty": "OKP", "crv": "Ed25519", "kid": "weak", "x": encoded}));
    let header = json!({"alg": "EdDSA", "kid": "weak"});
    let token = sign_with_header(&world.issuer.key(), &header, &world.issuer.standard_claims(NOW));
    assert_eq!(world.reason(&with_signature(&token, &signature), ID_TOKEN).await, ReasonCode::SubjectTokenKeyUnknown);
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_a_temporary_failure() {
    let world = World::start().await;
    world.issuer.fail(true);
    let refusal = world.subject(&world.issuer.id_token(NOW, json!({})), ID_TOKEN).await.unwrap_err();
    assert_eq!((refusal.reason, refusal.retry_after_seconds), (ReasonCode::IssuerKeysUnavailable, Some(5)));
}

// --- Issuer (A11).

#[tokio::test]
async fn the_issuer_is_compared_byte_for_byte() {
    let world = World::start().await;
    let issuer = world.issuer.issuer();
    for iss in [
        format!("{issuer}/"),
        issuer.to_uppercase(),
        format!("{issuer}/tenant"),
        format!(" {issuer}"),
        "x".repeat(5000),
    ] {
        assert_eq!(world.id_token_reason(json!({"iss": iss})).await, ReasonCode::SubjectTokenIssuerUnknown, "{iss}");
    }
    assert_eq!(world.issuer.discoveries(), 0);
}

// --- Claims and times (A10, A38, A39).

#[tokio::test]
async fn a_claim_that_is_missing_or_of_the_wrong_kind_is_refused() {
    let world = World::start().await;
    for claims in [
        json!({"iss": null}),
        json!({"iss": 1}),
        json!({"sub": null}),
        json!({"sub": 1}),
        json!({"sub": ""}),
        json!({"aud": null}),
        json!({"aud": 1}),
        json!({"aud": []}),
        json!({"aud": ["llm-app", 1]}),
        json!({"exp": null}),
        json!({"exp": (NOW + 600).to_string()}),
        json!({"exp": -1}),
        json!({"exp": 1e30}),
        json!({"exp": (NOW + 600) * 1000}),
        json!({"iat": "now"}),
        json!({"nbf": false}),
        json!({"auth_time": "x"}),
        json!({"azp": 1}),
        json!({"jti": 1}),
        json!({"acr": 1}),
        json!({"amr": "pwd"}),
        json!({"scope": ["a"]}),
        json!({"may_act": "assistant"}),
        json!({"roles": 1}),
        json!({"email": ["a"]}),
        json!({"act": "a"}),
        json!({"act": []}),
        json!({"act": {"sub": 1}}),
        json!({"act": {}}),
        json!({"act": {"sub": "a", "act": {"sub": 2}}}),
    ] {
        assert_eq!(world.id_token_reason(claims.clone()).await, ReasonCode::SubjectTokenClaimsInvalid, "{claims}");
    }
}

#[tokio::test]
async fn a_token_that_has_ended_is_refused_without_leeway() {
    let world = World::start().await;
    assert_eq!(world.id_token_reason(json!({"exp": NOW})).await, ReasonCode::SubjectTokenExpired);
    assert_eq!(world.id_token_reason(json!({"exp": NOW - 3600})).await, ReasonCode::SubjectTokenExpired);
    let token = world.issuer.id_token(NOW, json!({"exp": NOW + 1}));
    assert_eq!(world.subject(&token, ID_TOKEN).await.unwrap().expires_at, NOW + 1);
    let token = world.issuer.id_token(NOW, json!({"exp": f64::from(i32::MAX) + 0.5}));
    assert_eq!(world.subject(&token, ID_TOKEN).await.unwrap().expires_at, i64::from(i32::MAX));
}

#[tokio::test]
async fn iat_and_nbf_may_lie_in_the_future_by_the_skew_only() {
    let world = World::start().await;
    for name in ["iat", "nbf"] {
        for ahead in [0, 29, 30] {
            world.subject(&world.issuer.id_token(NOW, json!({name: NOW + ahead})), ID_TOKEN).await.unwrap();
        }
        for ahead in [31, 61, 500] {
            assert_eq!(world.id_token_reason(json!({name: NOW + ahead})).await, ReasonCode::SubjectTokenNotYetValid);
        }
    }
}

#[tokio::test]
async fn a_chain_that_is_too_deep_is_refused_in_bounded_time() {
    let world = World::start().await;
    let chain = |depth: usize| {
        format!("{}{{\"sub\":\"a\"}}{}", "{\"sub\":\"a\",\"act\":".repeat(depth - 1), "}".repeat(depth - 1))
    };
    let header = json!({"alg": "ES256", "kid": world.issuer.key().kid()}).to_string();
    let token = |depth: usize| {
        let claims = world.issuer.standard_claims(NOW).to_string();
        sign_text(&world.issuer.key(), &header, &claims.replacen('{', &format!("{{\"act\":{},", chain(depth)), 1))
    };
    assert_eq!(world.subject(&token(4), ID_TOKEN).await.unwrap().act.unwrap().actors().len(), 4);
    for depth in [5, 17, 18, 500] {
        assert_eq!(world.reason(&token(depth), ID_TOKEN).await, ReasonCode::ChainTooDeep, "{depth}");
    }
    for depth in [1_000, 100_000] {
        assert_eq!(world.reason(&token(depth), ID_TOKEN).await, ReasonCode::SubjectTokenTooLarge, "{depth}");
    }
}

// --- Type (A14).

#[tokio::test]
async fn a_token_of_another_type_than_declared_is_refused() {
    let world = World::start().await;
    let access_token = world.issuer.access_token(NOW, json!({}));
    let plain_access_token = world.issuer.id_token(NOW, json!({"scope": "records.read"}));
    let id_token = world.issuer.id_token(NOW, json!({"nonce": "n"}));
    let logout_token = sign(&world.issuer.key(), Some("logout+jwt"), &world.issuer.standard_claims(NOW));
    for (token, token_type) in [
        (&access_token, ID_TOKEN),
        (&plain_access_token, ID_TOKEN),
        (&id_token, ACCESS_TOKEN),
        (&logout_token, ID_TOKEN),
        (&logout_token, ACCESS_TOKEN),
        (&logout_token, JWT),
        (&access_token, JWT),
    ] {
        assert_eq!(world.reason(token, token_type).await, ReasonCode::SubjectTokenTypeMismatch, "{token_type}");
    }
    for (token, token_type) in
        [(&access_token, ACCESS_TOKEN), (&plain_access_token, ACCESS_TOKEN), (&id_token, ID_TOKEN), (&id_token, JWT)]
    {
        world.subject(token, token_type).await.unwrap();
    }
}

// --- Our own tokens.

fn records(extra: Value) -> Target {
    let resource =
        with(json!({"id": "records", "audience": "https://records.example.com/api", "name": "Records"}), extra);
    Target::Resource(Arc::new(serde_json::from_value::<Resource>(resource).unwrap()))
}

fn alice() -> GrantedSubject {
    GrantedSubject::User {
        id: "corp|alice".parse().unwrap(),
        idp: "corp".parse().unwrap(),
        idp_sub: "alice".to_owned(),
        attributes: UserAttributes {
            roles: vec!["doctor".to_owned()],
            groups: vec!["staff".to_owned()],
            email: Some("alice@example.com".to_owned()),
            email_verified: None,
            name: Some("Alice".to_owned()),
        },
    }
}

fn granted() -> Granted {
    Granted {
        subject: alice(),
        client: "assistant".parse().unwrap(),
        assurance: Assurance::Vetted,
        target: records(json!({})),
        scopes: "records.read records.write".parse().unwrap(),
        cut: Vec::new(),
        chain: Some(ActChain::new(Actor::client(ISSUER, &"assistant".parse().unwrap()))),
        issued_at: NOW,
        expires_at: NOW + 300,
        grant_id: Some("grt_1".to_owned()),
        earlier_grants: Vec::new(),
        sid: None,
        txn: None,
        single_use: None,
        auth_time: Some(NOW - 60),
        acr: Some("mfa".to_owned()),
        amr: vec!["pwd".to_owned()],
        policies: Vec::new(),
        policy_hash: "hash".to_owned(),
    }
}

/// A client's own token, as the client_credentials grant gives it.
fn own_token_of(client: &str, target: Target) -> Granted {
    Granted {
        subject: GrantedSubject::Client(client.parse().unwrap()),
        client: client.parse().unwrap(),
        target,
        chain: None,
        grant_id: None,
        auth_time: None,
        acr: None,
        amr: Vec::new(),
        scopes: "".parse().unwrap(),
        ..granted()
    }
}

fn minted(granted: &Granted) -> Minted {
    mint(granted, ISSUER, &OWN_KEYS, None).unwrap()
}

async fn verify_own(token: &str, token_type: &str) -> Result<Subject, Refusal> {
    verifier(&Registry::default(), &issuer_keys()).subject(token, token_type).await
}

#[test]
fn a_delegation_token_says_who_acts_for_whom_where_and_what() {
    let token = minted(&granted());
    let mut claims = claims_of(&token.token);
    assert_eq!((&claims["jti"], &claims["txn"]), (&json!(token.jti), &json!(token.txn)));
    claims["jti"] = json!("...");
    claims["txn"] = json!("...");
    insta::assert_snapshot!(claims, @r#"{"iss":"https://auth.example.com","sub":"corp|alice","aud":"https://records.example.com/api","iat":1795500000,"exp":1795500300,"jti":"...","client_id":"assistant","act":{"iss":"https://auth.example.com","sub":"assistant"},"scope":"records.read records.write","auth_time":1795499940,"acr":"mfa","amr":["pwd"],"grant_id":"grt_1","txn":"...","client_assurance":"vetted","policy":"hash"}"#);
    let header = token.token.split('.').next().unwrap();
    let header: Value = serde_json::from_slice(
        &base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, header).unwrap(),
    )
    .unwrap();
    assert_eq!(header, json!({"alg": "ES256", "typ": "at+jwt", "kid": token.kid}));
}

#[test]
fn user_claims_are_released_only_where_the_backend_asks() {
    let claims = claims_of(&minted(&granted()).token);
    assert!(["roles", "groups", "email", "name"].iter().all(|name| claims.get(name).is_none()));
    let asking = Granted { target: records(json!({"release_claims": ["roles", "email"]})), ..granted() };
    let claims = claims_of(&minted(&asking).token);
    assert_eq!((&claims["roles"], &claims["email"]), (&json!(["doctor"]), &json!("alice@example.com")));
    assert!(claims.get("groups").is_none());
}

#[test]
fn a_backend_gets_the_algorithm_it_asks_for_or_an_error() {
    let with = |algorithm: &str| Granted { target: records(json!({"signing_algorithm": algorithm})), ..granted() };
    assert!(minted(&with("EdDSA")).token.starts_with("eyJhbGciOiJFZERTQSI"));
    let problem = mint(&with("RS256"), ISSUER, &OWN_KEYS, None).unwrap_err();
    assert!(problem.to_string().contains("RS256"), "{problem}");
}

#[test]
fn the_largest_token_stays_small_enough_for_a_header() {
    let many = |prefix: &str| (0..1000).map(|number| format!("{prefix}-{number:04}")).collect::<Vec<_>>();
    let attributes = UserAttributes { roles: many("role"), groups: many("group"), ..UserAttributes::default() };
    let GrantedSubject::User { id, idp, idp_sub, .. } = alice() else { panic!() };
    let large = Granted {
        subject: GrantedSubject::User { id, idp, idp_sub, attributes },
        target: records(json!({"release_claims": ["roles", "groups"]})),
        ..granted()
    };
    let token = minted(&large).token;
    assert!(token.len() < 6000, "{}", token.len());
}

#[tokio::test]
async fn our_own_token_is_an_access_token_or_a_jwt_but_not_an_id_token() {
    let token = minted(&granted()).token;
    for token_type in [ACCESS_TOKEN, JWT] {
        verify_own(&token, token_type).await.unwrap();
    }
    assert_eq!(verify_own(&token, ID_TOKEN).await.unwrap_err().reason, ReasonCode::SubjectTokenTypeMismatch);
}

#[tokio::test]
async fn what_says_it_is_ours_must_be_signed_by_our_published_key() {
    let token = minted(&granted()).token;
    let claims = claims_of(&token);
    let stranger = LocalSigner::generate(SigningAlgorithm::ES256).unwrap();
    let own_kid = &OWN_RECORDS[0].kid;
    let cases = [
        (
            sign_with_header(&stranger, &json!({"alg": "ES256", "typ": "at+jwt", "kid": own_kid}), &claims),
            ReasonCode::SubjectTokenSignatureInvalid,
        ),
        (
            sign_with_header(&stranger, &json!({"alg": "ES256", "typ": "at+jwt", "kid": stranger.kid()}), &claims),
            ReasonCode::SubjectTokenKeyUnknown,
        ),
        (
            sign_with_header(&stranger, &json!({"alg": "ES256", "typ": "at+jwt"}), &claims),
            ReasonCode::SubjectTokenKeyUnknown,
        ),
        (
            sign_with_header(&stranger, &json!({"alg": "EdDSA", "typ": "at+jwt", "kid": own_kid}), &claims),
            ReasonCode::SubjectTokenAlgorithmRefused,
        ),
        (unsigned("none", &claims), ReasonCode::SubjectTokenAlgorithmRefused),
        (tampered(&token, &with(claims.clone(), json!({"sub": "corp|bob"}))), ReasonCode::SubjectTokenSignatureInvalid),
    ];
    for (token, reason) in cases {
        assert_eq!(verify_own(&token, ACCESS_TOKEN).await.unwrap_err().reason, reason);
    }
}

#[tokio::test]
async fn what_our_key_signed_under_another_typ_is_no_access_token() {
    let claims = claims_of(&minted(&granted()).token);
    let key = OWN_KEYS.published(&OWN_RECORDS[0].kid, NOW).unwrap();
    for typ in ["JWT", "logout+jwt", "client-authentication+jwt"] {
        let token = key.sign(typ, claims.to_string().as_bytes()).unwrap();
        assert_eq!(verify_own(&token, ACCESS_TOKEN).await.unwrap_err().reason, ReasonCode::SubjectTokenTypeMismatch);
    }
}

#[tokio::test]
async fn an_own_token_without_scope_gives_none() {
    let token = minted(&own_token_of("worker", records(json!({})))).token;
    assert!(claims_of(&token).get("scope").is_none());
    assert_eq!(verify_own(&token, ACCESS_TOKEN).await.unwrap().scope, Some("".parse().unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_minted_token_verified_again_gives_the_same_facts(
        user in "[a-z|]{1,20}", clients in proptest::collection::hash_set("[a-z]{1,8}", 1..5),
        scopes in proptest::collection::btree_set("[a-z.]{1,8}", 0..5), life in 1_i64..3600,
        grant in proptest::option::of("[a-z0-9]{1,8}"), earlier in proptest::collection::vec("[a-z0-9]{1,8}", 0..3),
        txn in "[a-z0-9]{1,8}", auth_time in proptest::option::of(0..NOW), acr in proptest::option::of(".{0,8}"),
        amr in proptest::collection::vec("[a-z]{1,4}", 0..3), assurance in 0_usize..3,
    ) {
        let mut actors = clients.iter().map(|name| Actor::client(ISSUER, &name.parse().unwrap()));
        let first = ActChain::new(actors.next().unwrap());
        let chain = actors.fold(first, |chain, actor| chain.extend(actor, 4).unwrap());
        let granted = Granted {
            subject: GrantedSubject::User {
                id: user.parse().unwrap(), idp: "corp".parse().unwrap(), idp_sub: String::new(), attributes: UserAttributes::default(),
            },
            client: chain.current().sub.parse().unwrap(),
            assurance: [Assurance::Vetted, Assurance::Domain, Assurance::SelfAsserted][assurance],
            scopes: scopes.iter().map(|scope| scope.parse().unwrap()).collect(),
            chain: Some(chain.clone()),
            expires_at: NOW + life,
            grant_id: grant.clone(),
            earlier_grants: earlier.clone(),
            txn: Some(txn.clone()),
            auth_time,
            acr: acr.clone(),
            amr: amr.clone(),
            ..granted()
        };
        let token = minted(&granted);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let subject = runtime.block_on(verify_own(&token.token, ACCESS_TOKEN)).unwrap();
        let expected = Subject {
            issuer: SubjectIssuer::Own(OwnToken {
                client_id: granted.client.as_str().to_owned(),
                grant_id: grant,
                earlier_grants: earlier,
                txn: Some(txn),
                client_assurance: Some(granted.assurance.as_str().to_owned()),
                status: None,
            }),
            token_type: SubjectTokenType::AccessToken,
            sub: user,
            audiences: vec!["https://records.example.com/api".to_owned()],
            azp: None,
            scope: Some(granted.scopes),
            expires_at: NOW + life,
            issued_at: Some(NOW),
            jti: Some(token.jti),
            sid: None,
            auth_time,
            acr,
            amr,
            act: Some(chain),
            may_act: None,
            attributes: UserAttributes::default(),
            named_claims: BTreeMap::new(),
        };
        prop_assert_eq!(subject, expected);
    }
}

// --- Actor tokens.

async fn verify_actor(token: &str, token_type: &str) -> Result<(String, Vec<String>, bool), ReasonCode> {
    let actor = verifier(&Registry::default(), &issuer_keys()).actor(token, token_type).await;
    actor.map(|actor| (actor.sub, actor.audiences, actor.is_delegated)).map_err(|refusal| {
        assert_eq!(refusal.reason.gate(), Gate::Actor);
        refusal.reason
    })
}

#[tokio::test]
async fn a_clients_own_token_is_an_actor_token() {
    let token = minted(&own_token_of("worker", Target::Issuer)).token;
    for token_type in [ACCESS_TOKEN, JWT] {
        let actor = verify_actor(&token, token_type).await.unwrap();
        assert_eq!(actor, ("worker".to_owned(), vec![ISSUER.to_owned()], false));
    }
}

#[tokio::test]
async fn a_delegation_is_seen_as_one() {
    assert!(verify_actor(&minted(&granted()).token, ACCESS_TOKEN).await.unwrap().2);
}

#[tokio::test]
async fn only_a_good_token_of_this_server_is_an_actor_token() {
    let good = minted(&own_token_of("worker", Target::Issuer)).token;
    assert_eq!(verify_actor(&good, ID_TOKEN).await.unwrap_err(), ReasonCode::ActorTokenTypeUnsupported);
    assert_eq!(verify_actor(&good, "x").await.unwrap_err(), ReasonCode::ActorTokenTypeUnsupported);
    let foreign = TestIssuer::start().await;
    let expired = Granted { issued_at: NOW - 600, expires_at: NOW, ..own_token_of("worker", Target::Issuer) };
    let bomb = format!("{{\"iss\":\"{ISSUER}\",\"act\":{}{{}}{}}}", "{\"act\":".repeat(500), "}".repeat(500));
    for token in [
        foreign.access_token(NOW, json!({})),
        "opaque".to_owned(),
        tampered(&good, &with(claims_of(&good), json!({"sub": "other"}))),
        unsigned("none", &claims_of(&good)),
        minted(&expired).token,
        sign_text(&foreign.key(), r#"{"alg":"ES256"}"#, &bomb),
    ] {
        assert_eq!(verify_actor(&token, ACCESS_TOKEN).await.unwrap_err(), ReasonCode::ActorTokenInvalid);
    }
}

// --- Client assertions (A18, A20).

struct AssertingClient {
    key: LocalSigner,
    client: Client,
}

impl AssertingClient {
    fn new(algorithm: SigningAlgorithm) -> Self {
        let key = LocalSigner::generate(algorithm).unwrap();
        let client = json!({
            "id": "assistant", "name": "Assistant", "authentication": "private_key_jwt", "grants": ["token_exchange"],
            "jwks": {"keys": [key.public_jwk()]},
        });
        Self { key, client: serde_json::from_value(client).unwrap() }
    }

    fn claims() -> Value {
        json!({"iss": "assistant", "sub": "assistant", "aud": ISSUER, "iat": NOW, "exp": NOW + 300, "jti": "a1"})
    }

    fn assertion(&self, typ: Option<&str>, claims: Value) -> String {
        let header = with(json!({"alg": self.key.algorithm().as_str(), "kid": self.key.kid()}), json!({"typ": typ}));
        sign_with_header(&self.key, &header, &with(Self::claims(), claims))
    }

    async fn verify(&self, assertion: &str) -> Result<(String, i64), ReasonCode> {
        let (registry, keys) = (Registry::default(), issuer_keys());
        let answer = verifier(&registry, &keys).client_assertion(&self.client, assertion, TOKEN_ENDPOINT).await;
        answer.map(|assertion| (assertion.jti, assertion.expires_at)).map_err(|refusal| refusal.reason)
    }
}

#[tokio::test]
async fn a_client_proves_itself_for_the_issuer_or_the_token_endpoint() {
    for algorithm in SigningAlgorithm::ALL {
        let client = AssertingClient::new(algorithm);
        for (typ, aud) in [
            (None, json!(ISSUER)),
            (Some("JWT"), json!(TOKEN_ENDPOINT)),
            (Some("client-authentication+jwt"), json!([ISSUER])),
        ] {
            let assertion = client.assertion(typ, json!({"aud": aud}));
            assert_eq!(client.verify(&assertion).await, Ok(("a1".to_owned(), NOW + 300)), "{algorithm:?}");
            assert_eq!(claimed_client(&assertion), Some("assistant".parse().unwrap()));
        }
    }
}

#[tokio::test]
async fn an_assertion_that_is_not_this_clients_for_this_server_and_short_lived_is_refused() {
    let client = AssertingClient::new(SigningAlgorithm::ES256);
    for claims in [
        json!({"iss": "other"}),
        json!({"sub": "other"}),
        json!({"iss": null}),
        json!({"sub": null}),
        json!({"aud": null}),
        json!({"aud": "https://other.example"}),
        json!({"aud": format!("{ISSUER}/")}),
        json!({"aud": [ISSUER, "https://other.example"]}),
        json!({"aud": [ISSUER, TOKEN_ENDPOINT]}),
        json!({"exp": null}),
        json!({"exp": NOW}),
        json!({"exp": NOW + 24 * 3600}),
        json!({"exp": NOW + 631, "iat": null}),
        json!({"iat": NOW - 400, "exp": NOW + 300}),
        json!({"iat": NOW + 31, "exp": NOW + 60}),
        json!({"nbf": NOW + 31}),
        json!({"jti": null}),
        json!({"jti": ""}),
        json!({"jti": "j".repeat(257)}),
        json!({"jti": 1}),
    ] {
        let assertion = client.assertion(None, claims.clone());
        assert_eq!(client.verify(&assertion).await, Err(ReasonCode::ClientAssertionInvalid), "{claims}");
    }
    let edge = client.assertion(None, json!({"exp": NOW + 630, "iat": NOW + 30}));
    assert!(client.verify(&edge).await.is_ok(), "a clock that is 30 seconds ahead");
}

#[tokio::test]
async fn another_kind_of_token_or_another_key_is_no_assertion() {
    let client = AssertingClient::new(SigningAlgorithm::ES256);
    let stranger = AssertingClient::new(SigningAlgorithm::ES256);
    let lying = json!({"alg": "ES256", "kid": client.key.kid()});
    for assertion in [
        client.assertion(Some("at+jwt"), json!({})),
        client.assertion(Some("dpop+jwt"), json!({})),
        stranger.assertion(None, json!({})),
        sign_with_header(&stranger.key, &lying, &AssertingClient::claims()),
        unsigned("none", &AssertingClient::claims()),
        sign_hs256(b"secret", client.key.kid(), &AssertingClient::claims()),
        minted(&granted()).token,
        "opaque".to_owned(),
    ] {
        assert_eq!(client.verify(&assertion).await, Err(ReasonCode::ClientAssertionInvalid));
    }
}

#[tokio::test]
async fn a45_a_clients_keys_that_cannot_be_fetched_are_a_temporary_failure_and_those_that_may_not_be_are_none() {
    let mut client = AssertingClient::new(SigningAlgorithm::ES256);
    client.client.jwks = None;
    let assertion = client.assertion(None, json!({}));
    for (uri, reason) in [
        ("https://keys.invalid/jwks", ReasonCode::ClientKeysUnavailable),
        ("https://127.0.0.1:1/jwks", ReasonCode::ClientAssertionInvalid),
        ("https://intranet/jwks", ReasonCode::ClientAssertionInvalid),
    ] {
        client.client.jwks_uri = Some(uri.parse().unwrap());
        assert_eq!(client.verify(&assertion).await, Err(reason), "{uri}");
    }
    assert_eq!(ReasonCode::ClientAssertionInvalid.error().as_str(), "invalid_client");
}

// --- A backend, offline.

fn offline(audience: &str) -> OfflineVerifier {
    OfflineVerifier::new(ISSUER, audience, &OWN_KEYS.jwks(NOW).body).unwrap()
}

#[test]
fn a_backend_verifies_our_token_with_nothing_but_the_jwks() {
    let token = minted(&granted());
    let verified = offline("https://records.example.com/api").verify(&token.token, NOW + 299).unwrap();
    assert_eq!(
        (verified.sub.as_str(), verified.client_id.as_str(), &verified.jti),
        ("corp|alice", "assistant", &token.jti)
    );
    assert_eq!(verified.act.unwrap().current().sub, "assistant");
    assert_eq!(verified.scopes.to_string(), "records.read records.write");
}

#[tokio::test]
async fn a_backend_refuses_what_is_not_for_it_has_ended_or_is_not_ours() {
    let token = minted(&granted()).token;
    let claims = claims_of(&token);
    let here = offline("https://records.example.com/api");
    let own_key = OWN_KEYS.published(&OWN_RECORDS[0].kid, NOW).unwrap();
    let signed =
        |typ: &str, extra: Value| own_key.sign(typ, with(claims.clone(), extra).to_string().as_bytes()).unwrap();
    let refused = |verifier: &OfflineVerifier, token: &str, now: i64| verifier.verify(token, now).unwrap_err();
    assert!(refused(&offline("https://other.example"), &token, NOW).starts_with("aud: "));
    assert!(refused(&here, &token, NOW + 300).starts_with("exp: "));
    assert!(refused(&here, &token, NOW - 31).starts_with("iat: "));
    assert!(
        refused(&here, &tampered(&token, &with(claims.clone(), json!({"sub": "x"}))), NOW).starts_with("signature: ")
    );
    assert!(refused(&here, &unsigned("none", &claims), NOW).starts_with("typ: "));
    assert!(refused(&here, &signed("JWT", json!({})), NOW).starts_with("typ: "));
    assert!(refused(&here, &signed("at+jwt", json!({"iss": "https://other.example"})), NOW).starts_with("iss: "));
    assert!(refused(&here, &signed("at+jwt", json!({"act": "assistant"})), NOW).starts_with("act: "));
    assert!(refused(&here, &signed("at+jwt", json!({"exp": NOW + 86_400})), NOW).starts_with("exp: "));
    assert!(refused(&here, &signed("at+jwt", json!({"jti": null})), NOW).starts_with("jti: "));
    assert!(refused(&here, &signed("at+jwt", json!({"cnf": {"jkt": "x"}})), NOW).starts_with("cnf: "));
    assert!(refused(&here, "opaque", NOW).starts_with("form: "));
}

#[test]
fn what_cannot_be_checked_is_said_to_be_unchecked() {
    let examination = Expectations::new(None, None, None).unwrap().examine(&minted(&granted()).token, NOW);
    let unchecked: Vec<&str> = examination
        .checks
        .iter()
        .filter(|check| check.outcome == Outcome::NotChecked)
        .map(|check| check.name)
        .collect();
    assert_eq!(unchecked, ["signature", "iss", "aud"]);
    assert!(examination.checks.iter().all(|check| check.outcome != Outcome::Fail));
}

// --- `procura inspect`.

/// Runs the command in an empty directory, with the token on standard input.
fn inspect(token: &str, arguments: &[&str]) -> (bool, String, String) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("jwks.json"), &OWN_KEYS.jwks(NOW).body).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_procura"));
    command.env_clear().current_dir(directory.path()).args(["inspect", "-"]).args(arguments);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), token.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["jwks.json"], "inspect leaves nothing behind");
    (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn fresh_token() -> String {
    let now = procura::clock::Clock::System.now();
    let key = OWN_KEYS.published(&OWN_RECORDS[0].kid, NOW).unwrap();
    let claims = with(claims_of(&minted(&granted()).token), json!({"iat": now, "exp": now + 290}));
    key.sign("at+jwt", claims.to_string().as_bytes()).unwrap()
}

#[test]
fn inspect_tells_a_good_token_in_words_and_passes_every_check() {
    let arguments = ["--jwks", "jwks.json", "--issuer", ISSUER, "--audience", "https://records.example.com/api"];
    let (is_done, output, errors) = inspect(&fresh_token(), &arguments);
    assert!(is_done && errors.is_empty(), "{output}{errors}");
    let sentence = "assistant, acting for corp|alice, may records.read and records.write at https://records.example.com/api, 4 \
                    minutes left.";
    assert_eq!(output.lines().next().unwrap(), sentence);
    assert!(output.contains("PASS         signature") && !output.contains("FAIL"), "{output}");
    let unchecked: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("not checked  ")).collect();
    assert!(
        matches!(unchecked[..], [standing, issued] if standing.starts_with("standing") && issued.starts_with("issued")),
        "what only a database knows: {output}"
    );
}

#[test]
fn inspect_names_what_a_verifier_would_refuse() {
    let expired = minted(&Granted { issued_at: NOW - 300, expires_at: 1_000_000_000, ..granted() }).token;
    let (is_done, output, errors) = inspect(&expired, &["--jwks", "jwks.json", "--audience", "https://other.example"]);
    assert!(!is_done);
    assert!(errors.starts_with("procura: a verifier would refuse this token: aud, exp"), "{errors}");
    assert!(output.contains("FAIL") && output.contains("PASS"), "{output}");
    assert!(output.contains("to do: A token is for one backend.") && output.contains("to do: It is over"), "{output}");
}

#[test]
fn inspect_without_keys_says_so_and_speaks_json() {
    let (is_done, output, _) = inspect(&fresh_token(), &["--json"]);
    assert!(is_done);
    let output: Value = serde_json::from_str(&output).unwrap();
    let checks = output["checks"].as_array().unwrap();
    let signature = checks.iter().find(|check| check["name"] == "signature").unwrap();
    assert_eq!(signature["outcome"], "not_checked");
    assert_eq!(output["claims"]["sub"], "corp|alice");
}
