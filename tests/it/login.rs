//! Signing in at a real provider on loopback: what is sent to it, what of its answer counts, and the dialects of the
//! providers that people have.

use crate::browser::{Browser, CLAIMS, FrontDoor, LOGIN, field, leads_to, location, provider, query};
use crate::database::Kind;
use crate::issuer::TestIssuer;
use crate::server::{ISSUER, TestServer};
use procura::domain::change::Change;
use procura::domain::event::EventKind;
use procura::domain::resource::SigningAlgorithm;
use serde_json::{Value, json};
use std::time::Duration;

const BOTH: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];

#[tokio::test]
async fn a_user_signs_in_at_the_provider_and_their_roles_are_known() {
    for kind in BOTH {
        let door = FrontDoor::open(kind).await;
        let mut browser = Browser::default();
        let asked = door.begin(&mut browser).await;
        assert!(asked.as_str().starts_with(&format!("{}/authorize?", door.idp.issuer())));
        let parameters = query(&asked);
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", "procura-there"),
            ("scope", "openid email"),
            ("redirect_uri", &format!("{ISSUER}/callback/corp")),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(parameters[name], value);
        }
        assert_eq!(["state", "nonce", "code_challenge"].map(|name| parameters[name].len()), [43; 3]);

        let id_token = door.alice(&asked, json!({"auth_time": 1_799_999_990, "acr": "mfa", "amr": ["otp"]}));
        let back = browser.get(door.router(), &door.way_back(&asked, &id_token, "")).await;
        assert_eq!(location(&back).as_str(), format!("{ISSUER}/account"));
        let cookie = back.header("set-cookie");
        assert!(cookie.starts_with("__Host-procura="), "{cookie}");
        for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(cookie.contains(attribute), "{cookie} lacks {attribute}");
        }
        assert!(!cookie.contains("Domain") && !cookie.contains("Max-Age"), "{cookie}");
        door.assert_signed_in(&mut browser, "alice@example.com").await;

        let user = door.server.app.store.find_user(&"corp|alice".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(
            (user.idp_sub.as_str(), user.attributes.roles.as_slice()),
            ("alice", ["doctor".to_owned()].as_slice())
        );
        let event = door.server.event(&back).await;
        assert_eq!((event.kind, event.reason.as_str()), (EventKind::SignIn, "signed_in"));
        assert_eq!(event.subject_sub(), Some("corp|alice"));
        assert_eq!((door.idp.discoveries(), door.idp.jwks_requests()), (2, 1), "once for keys, once for the sign-in");
    }
}

#[tokio::test]
async fn what_is_stored_of_a_session_gives_nobody_its_cookie_or_a_token() {
    let door = FrontDoor::open(Kind::Sqlite).await;
    let mut browser = Browser::default();
    let asked = door.begin(&mut browser).await;
    let id_token = door.alice(&asked, json!({}));
    browser.get(door.router(), &door.way_back(&asked, &id_token, "")).await;
    let id = browser.cookie.as_ref().unwrap().split_once('=').unwrap().1;
    let file = std::fs::read(door.server.database.directory.path().join("procura.db-wal")).unwrap();
    let holds = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("alice@example.com"), "the log of the database is read");
    for secret in [id, id_token.split('.').next_back().unwrap(), &query(&asked)["state"]] {
        assert!(!holds(secret), "{secret}");
    }
    let digest = procura::secrets::digest(id);
    assert!(door.server.app.store.find_session(&digest, door.server.clock.now()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over_whatever_happens_in_it() {
    let server = TestServer::configured(Kind::Sqlite, &[("PROCURA_SESSIONS__LIFETIME_SECONDS", "300")]).await;
    let idp = TestIssuer::start().await;
    server.apply(&provider("corp", &idp, LOGIN, CLAIMS)).await;
    let door = FrontDoor { server, idp };
    let mut browser = Browser::default();
    door.sign_in(&mut browser).await;
    door.server.clock.advance(Duration::from_secs(299));
    door.assert_signed_in(&mut browser, "alice@example.com").await;
    door.server.clock.advance(Duration::from_secs(1));
    assert_eq!(browser.get(door.router(), "/account").await.status, 303);
    let gone = door.server.app.store.purge(door.server.clock.now()).await.unwrap();
    assert!(gone.contains(&("browser_session", 1)), "{gone:?}");
}

#[tokio::test]
async fn we_authenticate_at_the_provider_as_it_wants_it() {
    // The variable that holds the secret is one that every test process has.
    let (variable, secret) = ("CARGO_PKG_NAME", env!("CARGO_PKG_NAME"));
    let with_secret = format!("client_secret_env = \"{variable}\", {LOGIN}");
    for (login, methods, by_header, by_form) in [
        (LOGIN, Value::Null, false, None),
        (with_secret.as_str(), Value::Null, true, None),
        (&with_secret, json!(["client_secret_basic", "client_secret_post"]), true, None),
        (&with_secret, json!(["client_secret_post"]), false, Some(secret)),
    ] {
        let door = FrontDoor::open(Kind::Sqlite).await;
        door.idp.also_say(json!({"token_endpoint_auth_methods_supported": methods}));
        door.server.apply(&provider("corp", &door.idp, login, CLAIMS)).await;
        let answer = door.sign_in(&mut Browser::default()).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        let redeemed = door.idp.redeemed().pop().unwrap();
        let basic = crate::server::basic_header("procura-there", secret);
        assert_eq!(redeemed.authorization, if by_header { basic } else { String::new() });
        assert_eq!(redeemed.form.get("client_secret").map(String::as_str), by_form);
        assert_eq!(redeemed.form["redirect_uri"], format!("{ISSUER}/callback/corp"));
        assert_eq!(redeemed.form.contains_key("client_id"), !by_header);
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_told_and_nobody_is_sent_away() {
    let door = FrontDoor::open(Kind::Sqlite).await;
    let login = format!("client_secret_env = \"NO_TEST_SETS_THIS_VARIABLE\", {LOGIN}");
    door.server.apply(&provider("corp", &door.idp, &login, CLAIMS)).await;
    let page = Browser::default().get(door.router(), "/account").await;
    assert_eq!(page.status, 503);
    assert!(page.text.contains("Sign-in is not set up"), "{}", page.text);
    assert!(!page.text.contains("NO_TEST_SETS_THIS_VARIABLE"), "names are for the log");
}

#[tokio::test]
async fn without_a_provider_for_it_the_page_says_that_sign_in_is_not_set_up() {
    let server = TestServer::start(Kind::Sqlite).await;
    let page = server.get("/account").await;
    assert_eq!(page.status, 503);
    assert!(page.text.contains("Sign-in is not set up"), "{}", page.text);
}

#[tokio::test]
async fn with_several_providers_the_user_chooses() {
    let door = FrontDoor::open(Kind::Sqlite).await;
    let other = TestIssuer::start().await;
    door.server.apply(&provider("partner", &other, LOGIN, CLAIMS)).await;
    let mut browser = Browser::default();
    let page = browser.get(door.router(), "/account").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("The corp") && page.text.contains("The partner"), "{}", page.text);
    let form = field(&page, "form");
    let unknown = browser.post(door.router(), "/login", &[("form", &form), ("provider", "nobody")]).await;
    assert_eq!(unknown.status, 400);
    let page = browser.get(door.router(), "/account").await;
    let form = field(&page, "form");
    let chosen = browser.post(door.router(), "/login", &[("form", &form), ("provider", "corp")]).await;
    assert_eq!(chosen.status, 200, "a redirect after a form would be stopped");
    let asked = leads_to(&chosen);
    let back = browser.get(door.router(), &door.way_back(&asked, &door.alice(&asked, json!({})), "")).await;
    assert_eq!(location(&back).as_str(), format!("{ISSUER}/account"));
    door.assert_signed_in(&mut browser, "alice@example.com").await;
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_told_and_asked_again_later() {
    let door = FrontDoor::open(Kind::Sqlite).await;
    door.idp.fail(true);
    let mut browser = Browser::default();
    for _ in 0..3 {
        let page = browser.get(door.router(), "/account").await;
        assert_eq!(page.status, 503);
        assert!(page.text.contains("Try again") && page.text.contains("cannot be reached"), "{}", page.text);
    }
    assert_eq!(door.idp.discoveries(), 1, "it is left alone for a second");
    door.idp.fail(false);
    door.server.clock.advance(Duration::from_secs(1));
    assert_eq!(door.sign_in(&mut browser).await.status, 303);
    door.idp.fail(true);
    door.server.clock.advance(Duration::from_secs(3601));
    assert_eq!(Browser::default().get(door.router(), "/account").await.status, 303, "what was known still serves");
}

#[tokio::test]
async fn what_the_provider_says_no_to_becomes_a_page_with_a_way_to_try_again() {
    let door = FrontDoor::open(Kind::Sqlite).await;
    let mut browser = Browser::default();
    let asked = door.begin(&mut browser).await;
    let path = format!("/callback/corp?error=access_denied&error_description=%3Cb%3E&state={}", query(&asked)["state"]);
    let answer = browser.get(door.router(), &path).await;
    assert!(answer.text.contains("Try again") && answer.text.contains("href=\"/account\""), "{}", answer.text);
    door.assert_failed(&mut browser, &answer, 400, "access_denied").await;
    // And a code that the provider does not take.
    let asked = door.begin(&mut browser).await;
    let path = format!("/callback/corp?code=unknown&state={}", query(&asked)["state"]);
    let answer = browser.get(door.router(), &path).await;
    door.assert_failed(&mut browser, &answer, 503, "refused the code: invalid_grant").await;
}

#[tokio::test]
async fn an_id_token_that_does_not_fit_the_sign_in_signs_nobody_in() {
    let door = FrontDoor::open(Kind::Sqlite).await;
    let other = TestIssuer::start().await;
    let now = door.server.clock.now();
    for (changes, why) in [
        (json!({"nonce": "another"}), "nonce"),
        (json!({"nonce": null}), "nonce"),
        (json!({"aud": "others"}), "aud"),
        (json!({"aud": ["procura-there", "others"]}), "azp is missing"),
        (json!({"azp": "others"}), "azp"),
        (json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), "at_hash"),
        (json!({"iss": other.issuer()}), "iss"),
        (json!({"exp": now}), "exp"),
        (json!({"iat": now + 31}), "iat"),
        (json!({"sub": ""}), "sub"),
        (json!({"sub": "x".repeat(300)}), "sub"),
        (json!({"typ": "Bearer"}), "not an ID token"),
        (json!({"roles": 1}), "/roles"),
    ] {
        let mut browser = Browser::default();
        let answer = door.sign_in_as(&mut browser, changes).await;
        door.assert_failed(&mut browser, &answer, 400, why).await;
    }
    let mut browser = Browser::default();
    let answer = door.sign_in_as(&mut browser, json!({"iat": null})).await;
    door.assert_failed(&mut browser, &answer, 503, "cannot be read").await;
    // Signed by somebody else, under the kid of the provider's key.
    let mut browser = Browser::default();
    let asked = door.begin(&mut browser).await;
    let forged = crate::issuer::sign_with_header(
        &other.key(),
        &json!({"alg": "ES256", "kid": door.idp.key().kid()}),
        &crate::issuer::claims_of(&door.alice(&asked, json!({}))),
    );
    let answer = browser.get(door.router(), &door.way_back(&asked, &forged, "")).await;
    door.assert_failed(&mut browser, &answer, 400, "signature").await;
    // By an algorithm that the registry does not name for this provider.
    door.idp.add_key(SigningAlgorithm::EdDSA);
    door.server.clock.advance(Duration::from_mins(1));
    let mut browser = Browser::default();
    let answer = door.sign_in(&mut browser).await;
    door.assert_failed(&mut browser, &answer, 400, "algorithms").await;
}

#[tokio::test]
async fn a_new_key_of_the_provider_is_picked_up_at_the_sign_in() {
    let door = FrontDoor::open(Kind::Sqlite).await;
    assert_eq!(door.sign_in(&mut Browser::default()).await.status, 303);
    door.idp.rotate();
    let mut browser = Browser::default();
    let answer = door.sign_in(&mut browser).await;
    door.assert_failed(&mut browser, &answer, 400, "kid").await;
    door.server.clock.advance(Duration::from_secs(30));
    assert_eq!(door.sign_in(&mut Browser::default()).await.status, 303);
}

#[tokio::test]
async fn a_suspended_user_cannot_sign_in_and_is_not_signed_in_any_more() {
    let door = FrontDoor::open(Kind::Sqlite).await;
    let mut signed_in = Browser::default();
    door.sign_in(&mut signed_in).await;
    door.server.change(&[Change::SuspendUser("corp|alice".parse().unwrap())]).await;
    let mut browser = Browser::default();
    let answer = door.sign_in(&mut browser).await;
    assert!(answer.text.contains("This account is stopped"), "{}", answer.text);
    door.assert_failed(&mut browser, &answer, 403, "suspended").await;
    assert_eq!(signed_in.get(door.router(), "/account").await.status, 303);
}

#[tokio::test]
async fn a_sign_in_begins_on_one_server_and_ends_on_another() {
    let door = FrontDoor::open(Kind::Postgres).await;
    let (_twin, router) = door.twin().await;
    let mut browser = Browser::default();
    let asked = door.begin(&mut browser).await;
    let back = door.way_back(&asked, &door.alice(&asked, json!({})), "");
    let again = browser.clone();
    let [first, second] = [(door.router().clone(), browser), (router.clone(), again)].map(|(router, mut browser)| {
        let back = back.clone();
        tokio::spawn(async move { (browser.get(&router, &back).await, browser) })
    });
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    let mut statuses = [first.0.status.as_u16(), second.0.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 400], "of two servers at the same moment one takes the state");
    let mut browser = if first.0.status == 303 { first.1 } else { second.1 };
    door.assert_signed_in(&mut browser, "alice@example.com").await;
    assert_eq!(browser.get(&router, "/account").await.status, 200);
}

/// One provider's dialect: its issuer's path, discovery beyond the usual, the registry, and the claims of an ID token.
struct Dialect {
    name: &'static str,
    path: &'static str,
    metadata: Value,
    login: &'static str,
    claims: &'static str,
    id_token: Value,
    account: &'static str,
    roles: &'static [&'static str],
    /// Claims of somebody who must not get in, and why.
    stranger: Option<(Value, &'static str)>,
}

fn dialects() -> Vec<Dialect> {
    vec![
        Dialect {
            name: "entra",
            path: "/7d5a1c1e-0000-4000-8000-000000000001/v2.0",
            metadata: json!({
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
                "subject_types_supported": ["pairwise"], "tenant_region_scope": "EU",
            }),
            login: "client_id = \"procura-there\", scopes = [\"openid\", \"profile\", \"email\"], \
                    required_claims = { tid = \"7d5a1c1e-0000-4000-8000-000000000001\" }",
            claims: "roles = \"/roles\", groups = \"/groups\", email = \"/email\", name = \"/name\"",
            // No e-mail address unless it is asked for as an optional claim; too many groups are a link.
            id_token: json!({
                "ver": "2.0", "tid": "7d5a1c1e-0000-4000-8000-000000000001", "oid": "o-1", "name": "Alice Example",
                "preferred_username": "alice@example.com", "roles": ["doctor"], "email": null, "sid": null,
                "uti": "u", "rh": "r", "hasgroups": "true",
                "_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}},
            }),
            account: "Alice Example",
            roles: &["doctor"],
            stranger: Some((json!({"tid": "7d5a1c1e-0000-4000-8000-00000000000f"}), "tid")),
        },
        Dialect {
            name: "okta",
            path: "/oauth2/default",
            metadata: json!({
                "end_session_endpoint": "https://okta.example/oauth2/default/v1/logout",
                "token_endpoint_auth_methods_supported":
                    ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"],
            }),
            login: "client_id = \"procura-there\", scopes = [\"openid\", \"profile\", \"email\", \"groups\"]",
            claims: "roles = \"/groups\", groups = \"/groups\", email = \"/email\", name = \"/name\"",
            id_token: json!({
                "sub": "00uid4BxXw6I6TV4m0g3", "ver": 1, "jti": "ID.x", "amr": ["mfa", "otp", "pwd"],
                "idp": "00o1", "auth_time": 1_799_999_000, "groups": ["doctor"], "at_hash": "set below",
            }),
            account: "alice@example.com",
            roles: &["doctor"],
            stranger: None,
        },
        Dialect {
            name: "auth0",
            path: "/",
            metadata: json!({
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
            }),
            login: "client_id = \"procura-there\", scopes = [\"openid\", \"profile\", \"email\"]",
            claims: "roles = \"/https:~1~1example.com~1roles\", email = \"/email\", name = \"/name\"",
            // `updated_at` is a text there, which the standard does not allow.
            id_token: json!({
                "sub": "auth0|5f7c8ec7c33c6c004bbafe82", "nickname": "alice", "picture": "https://s.gravatar.com/x",
                "updated_at": "2026-11-25T11:00:00.000Z", "email_verified": true,
                "https://example.com/roles": ["doctor"], "roles": null,
            }),
            account: "alice@example.com",
            roles: &["doctor"],
            stranger: None,
        },
        Dialect {
            name: "google",
            path: "",
            metadata: json!({
                "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
                "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
            }),
            login: "client_id = \"procura-there\", scopes = [\"openid\", \"profile\", \"email\"], \
                    required_claims = { hd = \"example.com\" }",
            claims: "email = \"/email\", name = \"/name\"",
            id_token: json!({
                "sub": "110169484474386276334", "azp": "procura-there", "hd": "example.com", "email_verified": true,
                "given_name": "Alice", "family_name": "Example", "sid": null, "roles": null, "at_hash": "set below",
            }),
            account: "alice@example.com",
            roles: &[],
            // Anybody can have an account there; a personal one has no `hd`.
            stranger: Some((json!({"hd": null}), "hd")),
        },
        Dialect {
            name: "keycloak",
            path: "/realms/example",
            metadata: json!({
                "authorization_response_iss_parameter_supported": true,
                "end_session_endpoint": "https://keycloak.example/realms/example/protocol/openid-connect/logout",
                "backchannel_logout_supported": true, "backchannel_logout_session_supported": true,
            }),
            login: "client_id = \"procura-there\", scopes = [\"openid\", \"profile\", \"email\"]",
            claims: "roles = \"/realm_access/roles\", groups = \"/groups\", email = \"/email\", name = \"/name\"",
            id_token: json!({
                "typ": "ID", "azp": "procura-there", "acr": "1", "sid": "9f3f9c3b", "session_state": "9f3f9c3b",
                "preferred_username": "alice", "email_verified": true, "groups": ["/staff"], "roles": null,
                "realm_access": {"roles": ["doctor", "offline_access"]}, "at_hash": "set below",
            }),
            account: "alice@example.com",
            roles: &["doctor", "offline_access"],
            stranger: None,
        },
    ]
}

#[tokio::test]
async fn users_sign_in_at_providers_of_every_dialect() {
    let half = |text: &str| {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let hash = URL_SAFE_NO_PAD.decode(procura::secrets::digest(text)).unwrap();
        URL_SAFE_NO_PAD.encode(&hash[..16])
    };
    for dialect in dialects() {
        let server = TestServer::start(Kind::Sqlite).await;
        let idp = TestIssuer::start_below(dialect.path).await;
        idp.also_say(dialect.metadata.clone());
        server.apply(&provider("corp", &idp, dialect.login, dialect.claims)).await;
        let door = FrontDoor { server, idp };
        let mut claims = dialect.id_token.clone();
        if claims.get("at_hash").is_some() {
            claims["at_hash"] = half(crate::browser::ACCESS_TOKEN).into();
        }
        let iss = url::form_urlencoded::byte_serialize(door.idp.issuer().as_bytes()).collect::<String>();
        let more = format!("&session_state=x&iss={iss}");
        let come_back = async |browser: &mut Browser, claims: Value| {
            let asked = door.begin(browser).await;
            browser.get(door.router(), &door.way_back(&asked, &door.alice(&asked, claims), &more)).await
        };
        let mut browser = Browser::default();
        let back = come_back(&mut browser, claims.clone()).await;
        assert_eq!(back.status, 303, "{}: {}", dialect.name, back.text);
        door.assert_signed_in(&mut browser, dialect.account).await;
        let sub = claims["sub"].as_str().unwrap_or("alice");
        let user = format!("corp|{sub}").parse().unwrap();
        let user = door.server.app.store.find_user(&user).await.unwrap().unwrap();
        assert_eq!(user.attributes.roles, dialect.roles, "{}", dialect.name);
        if let Some((changes, why)) = dialect.stranger {
            let mut browser = Browser::default();
            let answer = come_back(&mut browser, crate::issuer::with(claims, changes)).await;
            door.assert_failed(&mut browser, &answer, 400, why).await;
        }
    }
}

const WEB_CLIENT: &str = r#"
[[resource]]
id = "records"
audience = "https://records.example.com/api"
name = "Records"
[[resource.scope]]
name = "records.read"
description = "See your records"
access = "read"
[[client]]
id = "web"
name = "Web"
authentication = "none"
grants = ["authorization_code"]
redirect_uris = ["https://web.example.com/callback"]
[client.resources]
records = ["records.read"]
"#;

#[tokio::test]
async fn what_a_client_wants_of_the_sign_in_is_asked_of_the_provider_and_checked() {
    let door = FrontDoor::open(Kind::Sqlite).await;
    door.server.apply(WEB_CLIENT).await;
    let now = door.server.clock.now();
    // `prompt=login` and `max_age` pass through the browser unsigned: who takes them out is known by an old `auth_time`.
    for (wanted, auth_time, refused) in [
        ("max_age=60", json!(now - 90), None),
        ("max_age=60", json!(now - 91), Some("max_age")),
        ("max_age=60", Value::Null, Some("max_age")),
        ("prompt=login", json!(now - 30), None),
        ("prompt=login", json!(now - 31), Some("prove again")),
        // Not every provider says when.
        ("prompt=login", Value::Null, None),
    ] {
        let path = format!(
            "/authorize?response_type=code&client_id=web&redirect_uri=https%3A%2F%2Fweb.example.com%2Fcallback&state=s\
             &code_challenge={}&code_challenge_method=S256&scope=records.read\
             &acr_values=mfa%20phr&login_hint=alice%40example.com&{wanted}",
            "a".repeat(43)
        );
        let mut browser = Browser::default();
        let asked = location(&browser.get(door.router(), &path).await);
        let parameters = query(&asked);
        for (name, value) in
            [("acr_values", "mfa phr"), ("login_hint", "alice@example.com"), wanted.split_once('=').unwrap()]
        {
            assert_eq!(parameters.get(name).map(String::as_str), Some(value), "{asked}");
        }
        let id_token = door.alice(&asked, json!({"auth_time": auth_time, "acr": "mfa"}));
        let back = browser.get(door.router(), &door.way_back(&asked, &id_token, "")).await;
        if let Some(why) = refused {
            door.assert_failed(&mut browser, &back, 400, why).await;
        } else {
            assert_eq!(back.status, 303, "{wanted}, {auth_time}: {}", back.text);
            assert!(location(&back).as_str().starts_with(&format!("{ISSUER}/authorize/continue?")));
        }
    }
}
