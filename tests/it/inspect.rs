//! A token in words: the page `/inspect` and `procura inspect` where a database is at hand.

use crate::database::Kind;
use crate::issuer::with;
use crate::server::{Answer, ISSUER, NOW, claims};
use crate::world::World;
use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use procura::clock::Clock;
use procura::domain::change::Change;
use procura::domain::resource::SigningAlgorithm;
use procura::grants::inspection::{Against, Finding, Inspection, Kind as TokenKind, inspect};
use procura::server::admin_router;
use procura::tokens::offline::Outcome;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use tower::ServiceExt;

const RECORDS: &str = "https://records.example.com/api";

/// Sends a request to the private listener.
async fn admin(world: &World, request: Request<Body>) -> Answer {
    let response = admin_router(&world.server.app).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, text }
}

/// Sends the form of the page.
async fn post(world: &World, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let mut request = Request::post("/inspect").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    admin(world, request.body(Body::from(body)).unwrap()).await
}

/// The text of a page, without its tags.
fn words(page: &Answer) -> String {
    let mut text = String::new();
    for part in page.text.split('<') {
        text.push_str(part.split_once('>').map_or(part, |(_, text)| text));
    }
    text.replace("&#34;", "\"").replace("&#39;", "'")
}

/// Everything that there is to say of a token, by what the server has.
async fn told(world: &World, token: &str, audience: Option<&str>) -> Inspection {
    let (app, snapshot) = (&world.server.app, world.server.app.snapshot());
    let now = world.server.clock.now();
    let jwks = app.signing_keys().jwks(now);
    let against = Against { issuer: Some(ISSUER), audience, jwks: Some(&jwks.body) };
    inspect(token, against, Some(app.remembered(&snapshot)), now).await.unwrap()
}

fn check<'a>(inspection: &'a Inspection, name: &str) -> &'a Finding {
    inspection.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}"))
}

/// Signed by the server, with a header of its own and changed claims.
fn signed(world: &World, typ: &str, claims: &Value) -> String {
    let keys = world.server.app.signing_keys();
    keys.signer(SigningAlgorithm::ES256, NOW).unwrap().sign(typ, claims.to_string().as_bytes()).unwrap()
}

#[tokio::test]
async fn the_page_tells_a_token_by_the_names_of_the_registry() {
    let world = World::new(Kind::Sqlite).await;
    let token = world.exchange(json!({"name": "Alice Adams"}), &[("audience", "records")]).await.token();
    let page = post(&world, &[("token", &token), ("resource", "records")], &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!((page.status.as_u16(), page.header("cache-control")), (200, "no-store"));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    let told = words(&page);
    let summary = "Acme Assistant, acting for Alice Adams, may delete a health record, see your health records and \
                   change your health records at Health records, 5 minutes left.";
    for said in [summary, "A verifier would accept this token.", "its session, user, client and consents go on"] {
        assert!(told.contains(said), "{said}: {told}");
    }
    let jti = claims(&token)["jti"].as_str().unwrap().to_owned();
    assert!(told.contains(&format!("procura who {jti}")) && !told.contains("To do"), "{told}");
    assert!(!page.text.contains(token.split('.').nth(2).unwrap()), "the token itself is not shown again");
    assert!(page.text.contains("<option value=\"records\" selected>Health records</option>"), "{}", page.text);

    let grant = claims(&token)["grant_id"].as_str().unwrap().to_owned();
    world.server.change(&[Change::RevokeConsent(grant)]).await;
    let page = words(&post(&world, &[("token", &format!("Bearer {token}")), ("resource", "")], &[]).await);
    for said in [
        "This token counts no more",
        "a consent that it rests on was taken back",
        "procura consent list --user 'corp|alice' --client assistant --all",
        "Say which backend it is shown to",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
}

#[tokio::test]
async fn what_a_token_says_and_what_comes_of_it_are_told_apart() {
    let world = World::new(Kind::Sqlite).await;
    let token = world.records_token().await;
    let elsewhere = told(&world, &token, Some("models")).await;
    assert!(
        elsewhere.summary.ends_with(" left. But a verifier would refuse this token: aud."),
        "{}",
        elsewhere.summary
    );
    world.server.change(&[Change::SuspendUser("corp|alice".parse().unwrap())]).await;
    let suspended = told(&world, &token, Some("records")).await.summary;
    assert!(
        suspended
            .ends_with(" left. But this token counts no more: a backend that does not ask takes it until it ends.")
    );
    // A client that speaks for itself is let in where that was said, and nowhere else.
    let own = told(&world, &world.own_token("worker", &[("audience", "records")]).await, Some("records")).await;
    assert_eq!(own.verdict(), "a verifier would accept this token if it lets clients speak for themselves");
    assert_eq!(check(&own, "act").outcome, Outcome::NotChecked);
    assert!(check(&own, "act").fix.as_ref().unwrap().starts_with("It is a client's own."));
    assert!(own.failed().is_empty());
}

#[tokio::test]
async fn the_page_is_for_operators_alone() {
    let world = World::new(Kind::Sqlite).await;
    let token = world.records_token().await;
    assert_eq!(world.server.get("/inspect").await.status, 404, "not where clients connect");
    let get = async |path: &str, host: &str, site: &str| {
        let request = Request::get(path).header(header::HOST, host).header("sec-fetch-site", site);
        admin(&world, request.body(Body::empty()).unwrap()).await
    };
    let page = get("/inspect", "127.0.0.1:8421", "none").await;
    assert_eq!(page.status, 200);
    for attribute in ["method=\"post\"", "autocomplete=\"off\"", "spellcheck=\"false\""] {
        assert!(page.text.contains(attribute), "{attribute}: {}", page.text);
    }
    let in_address = get(&format!("/inspect?token={token}"), "localhost:8421", "none").await;
    assert!(!in_address.text.contains("Acme"), "a token in an address is not looked at");
    for (host, site) in [
        ("evil.example", "none"),
        ("127.0.0.1.evil.example:8421", "none"),
        ("127.0.0.1@evil.example", "none"),
        ("", "none"),
        ("localhost:8421", "cross-site"),
        ("localhost:8421", "same-site"),
    ] {
        assert_eq!(get("/inspect", host, site).await.status, 403, "{host} {site}");
        let form = [("token", token.as_str()), ("resource", "")];
        let page = post(&world, &form, &[("host", host), ("sec-fetch-site", site)]).await;
        assert!(page.status == 403 && !page.text.contains("Acme"), "{host} {site}: {}", page.text);
    }
    let elsewhere = [("PROCURA_ADMIN_LISTEN", "0.0.0.0:8421")];
    let inside = World::configured(Kind::Sqlite, &elsewhere).await;
    let request = Request::get("/inspect").header(header::HOST, "procura.internal:8421");
    let page = admin(&inside, request.body(Body::empty()).unwrap()).await;
    assert_eq!(page.status, 200, "where operators reach it by a name, any name will do");
    for (origin, status) in [
        ("http://procura.internal:8421", 200),
        ("null", 200),
        ("https://evil.example", 403),
        ("http://procura.internal", 403),
    ] {
        let request =
            Request::get("/inspect").header(header::HOST, "procura.internal:8421").header(header::ORIGIN, origin);
        let page = admin(&inside, request.body(Body::empty()).unwrap()).await;
        assert_eq!(page.status, status, "{origin}: browsers say no more to an http address of a network");
    }
}

#[tokio::test]
async fn the_page_takes_whatever_is_put_into_it() {
    let world = World::new(Kind::Sqlite).await;
    let empty = post(&world, &[("token", "  "), ("resource", "records")], &[]).await;
    assert!(empty.status == 400 && empty.text.contains("Put a token in the field"), "{}", empty.text);
    for (token, said) in [
        ("<script>alert(1)</script>", "This is no token that can be read."),
        ("prf_abc.1.def", "This is a refresh token."),
        ("pcs_abc", "procura client rotate-secret"),
        ("eyJh.b.c.d.e", "This is an encrypted JWT (JWE)."),
    ] {
        let page = post(&world, &[("token", token), ("resource", "nothing")], &[]).await;
        assert_eq!(page.status, 200, "{token}");
        assert!(words(&page).contains(said) && !page.text.contains("<script"), "{token}: {}", page.text);
    }
    let hostile = json!({"iss": ISSUER, "sub": "<b>\u{202e}", "aud": RECORDS, "exp": NOW + 9, "act": {"sub": "<i>"}});
    let page = post(&world, &[("token", &signed(&world, "at+jwt", &hostile)), ("resource", "records")], &[]).await;
    assert!(!page.text.contains("<b>") && !page.text.contains('\u{202e}') && page.text.contains("\\u{202e}"));
    assert_eq!(post(&world, &[("token", &"x".repeat(2 << 20)), ("resource", "")], &[]).await.status, 413);
}

#[tokio::test]
async fn below_the_path_of_an_issuer_the_page_still_has_its_stylesheet() {
    let world = World::configured(Kind::Sqlite, &[("PROCURA_ISSUER", "https://example.com/t1")]).await;
    let page = admin(&world, Request::get("/inspect").body(Body::empty()).unwrap()).await;
    let href = page.text.split("rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let style = admin(&world, Request::get(href).body(Body::empty()).unwrap()).await;
    assert_eq!((href, style.status.as_u16()), ("/t1/static/procura.css", 200));
}

#[tokio::test]
async fn every_way_to_fail_has_its_own_advice() {
    let world = World::new(Kind::Sqlite).await;
    let good = world.records_token().await;
    let claims = claims(&good);
    let changed = |changes: Value| signed(&world, "at+jwt", &with(claims.clone(), changes));
    let (head, rest) = good.split_once('.').unwrap();
    let (_, tail) = rest.split_once('.').unwrap();
    let altered =
        format!("{head}.{}.{tail}", URL_SAFE_NO_PAD.encode(with(claims.clone(), json!({"sub": "x"})).to_string()));
    let unsigned = |header: Value| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode("signature"))
    };
    for (token, name, advice) in [
        (altered, "signature", "Somebody changed it"),
        (unsigned(json!({"alg": "ES256", "typ": "at+jwt", "kid": "gone"})), "signature", "is not published any more"),
        (unsigned(json!({"alg": "ES256", "typ": "at+jwt"})), "signature", "Procura always names its key"),
        (unsigned(json!({"alg": "HS256", "typ": "at+jwt", "kid": "k"})), "alg", "Let no backend accept them"),
        (unsigned(json!({"alg": "HS256", "typ": "at+jwt", "kid": "k"})), "signature", "See alg"),
        (unsigned(json!({"alg": "ES256", "typ": "at+jwt", "crit": ["x"], "x": 1})), "form", "so no verifier does"),
        (changed(json!({"iat": null})), "iat", "Procura always writes it"),
        (changed(json!({"iat": "x", "exp": NOW + 86_400})), "exp", "counts from iat"),
        (signed(&world, "JWT", &claims), "typ", "Exchange it at the token endpoint"),
        (signed(&world, "procura-caller+jwt", &claims), "typ", "in X-Procura-Caller"),
        (signed(&world, "statuslist+jwt", &claims), "typ", "lets nobody in"),
        (changed(json!({"iss": "https://other.example"})), "iss", "a token of https://other.example"),
        (changed(json!({"iss": format!("{ISSUER}/")})), "iss", "differ by a slash"),
        (changed(json!({"aud": "https://billing.example.com"})), "aud", "resource=https://records.example.com/api"),
        (changed(json!({"aud": "HTTPS://records.example.com:443/api"})), "aud", "written in another way"),
        (changed(json!({"exp": NOW})), "exp", "exchange again, or refresh"),
        (changed(json!({"exp": NOW + 86_400})), "exp", "No token of Procura lives so long"),
        (changed(json!({"exp": null})), "exp", "Procura always writes it"),
        (changed(json!({"iat": NOW + 60})), "iat", "by NTP"),
        (changed(json!({"sub": null})), "sub", "Procura always writes it"),
        (changed(json!({"client_id": null})), "client_id", "Procura always writes it"),
        (changed(json!({"jti": null})), "jti", "Procura always writes it"),
        (changed(json!({"act": "assistant"})), "act", "names who acts"),
        (changed(json!({"cnf": {"jkt": "x"}})), "cnf", "a proof of the key"),
        (changed(json!({"scope": ["a"]})), "scope", "one text"),
        ("opaque".to_owned(), "form", "three parts with dots"),
    ] {
        let told = told(&world, &token, Some("records")).await;
        let failed = check(&told, name);
        assert_eq!(failed.outcome, Outcome::Fail, "{name}: {failed:?}");
        assert!(failed.fix.as_deref().unwrap().contains(advice), "{name}: {failed:?} does not say {advice:?}");
        assert!(told.verdict().contains("would refuse this token") && told.verdict().contains(name), "{name}");
        for check in &told.checks {
            assert_eq!(check.fix.is_none(), check.outcome == Outcome::Pass, "{name}: {check:?}");
        }
        if name != "form" && check(&told, "signature").outcome == Outcome::Fail {
            assert!(told.summary.starts_with("It says, and nothing proves it: "), "{}", told.summary);
        }
    }
    let told = inspect(&good, Against::default(), None, NOW).await.unwrap();
    for (name, advice) in
        [("signature", "--jwks FILE"), ("iss", "--issuer URL"), ("aud", "--audience URI"), ("standing", "database")]
    {
        let open = check(&told, name);
        assert_eq!(open.outcome, Outcome::NotChecked, "{open:?}");
        assert!(open.fix.as_deref().unwrap().contains(advice), "{open:?}");
    }
    assert!(told.verdict().starts_with("nothing is wrong") && told.summary.starts_with("If its signature is right: "));
}

#[tokio::test]
async fn what_has_ended_is_told_with_what_would_bring_it_back() {
    let world = World::new(Kind::Sqlite).await;
    let token = world.records_token().await;
    let grant = claims(&token)["grant_id"].as_str().unwrap().to_owned();
    let (assistant, alice) = (|| "assistant".parse().unwrap(), || "corp|alice".parse().unwrap());
    for (stops, goes_on, advice) in [
        (Change::SuspendClient(assistant()), Change::ResumeClient(assistant()), "procura client resume assistant"),
        (Change::SuspendUser(alice()), Change::ResumeUser(alice()), "procura user resume 'corp|alice'"),
        (Change::PauseConsent(grant.clone()), Change::ResumeConsent(grant.clone()), "procura consent list"),
    ] {
        world.server.change(&[stops]).await;
        let told = told(&world, &token, Some(RECORDS)).await;
        assert_eq!(told.failed(), ["standing"]);
        assert!(check(&told, "standing").fix.as_deref().unwrap().contains(advice), "{:?}", check(&told, "standing"));
        world.server.change(&[goes_on]).await;
    }
    let before = "records.read records.write records.delete".parse().unwrap();
    let scopes = "records.read".parse().unwrap();
    world.server.change(&[Change::NarrowConsent { id: grant, before, scopes }]).await;
    let told = told(&world, &token, Some(RECORDS)).await;
    assert!(told.failed().is_empty() && check(&told, "standing").detail.contains("still good for records.read"));
}

#[tokio::test]
async fn another_issuers_token_is_told_as_what_it_is() {
    let world = World::new(Kind::Sqlite).await;
    let told = told(&world, &world.id_token(json!({"name": "Alice"})), Some("records")).await;
    assert_eq!(told.kind, TokenKind::IdToken);
    let issuer = world.corp.issuer();
    let said = format!(
        "An ID token of the identity provider Corp ({issuer}): it tells the app llm-app that Alice signed in, "
    );
    assert!(told.summary.starts_with(&said), "{}", told.summary);
    assert_eq!(told.who, None, "the audit trail has no event of it");
    assert!(check(&told, "typ").fix.as_deref().unwrap().contains("Exchange it at the token endpoint"));
    assert!(told.checks.iter().all(|check| check.name != "standing"));
}

#[tokio::test]
async fn the_command_knows_what_the_database_knows_and_changes_nothing() {
    let now = Clock::System.now();
    let world = World::at(Clock::System, Kind::Sqlite, &[]).await;
    let fresh = json!({"iat": now - 10, "exp": now + 3590, "auth_time": now - 60, "name": "Alice Adams"});
    let token = world.exchange(fresh, &[("audience", "records"), ("scope", "records.read")]).await.token();
    let run = |arguments: &[&str]| {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_procura"));
        command
            .env_clear()
            .current_dir(directory.path())
            .env("PROCURA_ISSUER", ISSUER)
            .env("PROCURA_SECRETS_KEY", world.server.app.secrets_key.to_base64().expose_secret())
            .env("PROCURA_DATABASE_URL", &world.server.database.url)
            .args(["inspect", "-"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let (is_done, out, err) = run(&["--audience", "records"]);
    assert!(is_done && err.is_empty(), "{out}{err}");
    let summary = "Acme Assistant, acting for Alice Adams, may see your health records at Health records, ";
    assert!(out.starts_with(summary), "{out}");
    let jti = claims(&token)["jti"].as_str().unwrap().to_owned();
    let end = format!("who got it, and how: procura who {jti}\n\na verifier would accept this token");
    assert!(out.trim_end().ends_with(&end), "{out}");
    let (is_done, _, err) = run(&["--audience", "recods"]);
    assert!(!is_done && err.contains("no resource recods is registered; did you mean `records`?"), "{err}");
    for line in ["PASS  standing", "PASS  issued", "PASS  aud"] {
        assert!(out.contains(line), "{line}: {out}");
    }

    world.server.change(&[Change::SuspendUser("corp|alice".parse().unwrap())]).await;
    let (is_done, out, err) = run(&["--audience", RECORDS, "--json"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert!(!is_done && err.starts_with("procura: this token counts no more"), "{err}");
    assert_eq!((&said["kind"], &said["who"]), (&json!("access_token"), &json!(format!("procura who {jti}"))));
    let standing = said["checks"].as_array().unwrap().iter().find(|check| check["name"] == "standing").unwrap();
    assert_eq!((&standing["outcome"], &standing["detail"]), (&json!("fail"), &json!("its user is suspended")));
    assert_eq!(standing["fix"], "If they may be acted for again: procura user resume 'corp|alice'");
}
