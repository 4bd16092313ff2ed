//! A real server that logs everything it can is sent every kind of request, with tokens and secrets in right and wrong
//! places. Afterwards none of them is in anything that it, its database or a command gives away.

use crate::database::{Kind, TestDatabase};
use crate::issuer::{tampered, unsigned, with};
use crate::node::{Node, run};
use crate::server::{ACCESS_TOKEN, Answer, ID_TOKEN, ISSUER, TOKEN_EXCHANGE, basic_header, claims};
use crate::world::{World, signed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use procura::clock::Clock;
use procura::secrets::{SecretsKey, new_client_secret};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const FORM: &str = "application/x-www-form-urlencoded";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const RECORDS: (&str, &str) = ("resource", "https://records.example.com/api");
const PASSWORD: &str = "marked-database-password-7f3a";
const COOKIE: &str = "marked-cookie-of-a-browser-91c2";

/// The server under test, what must not be found, and what it answered.
struct Spy {
    world: World,
    node: Node,
    database_url: String,
    /// What must not be found, and what it is.
    marked: BTreeMap<String, String>,
    /// Every answer, without the tokens and links that it was asked for.
    heard: String,
    requests: Vec<String>,
}

impl Spy {
    async fn start(kind: Kind) -> Self {
        let world = World::at(Clock::System, kind, &[]).await;
        // PostgreSQL of the tests trusts everybody, so any password will do.
        let database_url = world.server.database.url.replace("procura@", &format!("procura:{PASSWORD}@"));
        let variables = [("PROCURA_LOG__FILTER", "trace"), ("RUST_BACKTRACE", "full")];
        let node = Node::start(&database_url, &world.server.app.secrets_key, &variables);
        let secrets_key = world.server.app.secrets_key.to_base64().expose_secret().to_owned();
        let (marked, heard, requests) = (BTreeMap::new(), String::new(), Vec::new());
        let mut spy = Self { world, node, database_url, marked, heard, requests };
        spy.mark("the secrets key", &secrets_key);
        spy.mark("the password of the database", PASSWORD);
        spy.mark("a cookie", COOKIE);
        spy
    }

    /// From now on this must not be found. Of a token, no part that says or proves something either.
    fn mark(&mut self, what: &str, value: &str) {
        self.marked.entry(value.to_owned()).or_insert_with(|| what.to_owned());
        if let [_, payload, signature] = value.split('.').collect::<Vec<_>>()[..] {
            for (part, text) in [("claims", payload), ("signature", signature)] {
                if !text.is_empty() {
                    self.marked.entry(text.to_owned()).or_insert_with(|| format!("the {part} of {what}"));
                }
            }
        }
    }

    async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let answer = self.node.public.send(method, path, headers, body).await;
        let mut text = answer.text.clone();
        for (member, what) in [("access_token", "a token of ours"), ("consent_uri", "a consent link")] {
            if let Some(value) = answer.json()[member].as_str() {
                self.mark(what, value.rsplit('/').next().unwrap());
                text = text.replace(value, "");
            }
        }
        self.heard.extend([text, format!("\n{:?}\n", answer.headers)]);
        self.requests.push(answer.request_id().to_owned());
        answer
    }

    async fn form(&mut self, form: &[(&str, &str)], authorization: Option<&str>) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut headers = vec![("content-type", FORM), ("cookie", COOKIE)];
        headers.extend(authorization.map(|value| ("authorization", value)));
        self.send("POST", "/token", &headers, body).await
    }

    /// The `Authorization` of a client; the header counts as a secret too.
    fn basic(&mut self, client: &str, secret: &str) -> String {
        let header = basic_header(client, secret);
        self.mark("a client secret", secret);
        self.mark("an Authorization header", header.trim_start_matches("Basic "));
        header
    }

    fn basic_of(&mut self, client: &str) -> String {
        let secret = self.world.secret(client).to_owned();
        self.basic(client, &secret)
    }

    fn id_token(&mut self, changes: Value) -> String {
        let now = self.world.server.clock.now();
        let times = json!({"iat": now - 10, "exp": now + 3000, "auth_time": now - 60});
        let token = self.world.id_token(with(times, changes));
        self.mark("an ID token", &token);
        token
    }

    fn assertion(&mut self, jti: &str) -> String {
        let now = self.world.server.clock.now();
        let claims = json!({"iss": "signer", "sub": "signer", "aud": ISSUER, "iat": now, "exp": now + 60, "jti": jti});
        let assertion = signed(&self.world.signer, &claims);
        self.mark("a client assertion", &assertion);
        assertion
    }

    /// The requests as they should be: every way to authenticate, every kind of token. Gives a delegation token.
    async fn right(&mut self) -> String {
        let (assistant, backend, planner) =
            (self.basic_of("assistant"), self.basic_of("records-backend"), self.basic_of("planner"));
        let own = self.form(&[("grant_type", "client_credentials")], Some(&planner)).await.token();
        let id_token = self.id_token(json!({}));
        let exchange =
            [("grant_type", TOKEN_EXCHANGE), ("subject_token", id_token.as_str()), ("subject_token_type", ID_TOKEN)];
        let with_actor = [("actor_token", own.as_str()), ("actor_token_type", ACCESS_TOKEN), RECORDS];
        let token = self.form(&[exchange.as_slice(), &with_actor].concat(), Some(&assistant)).await.token();
        let first = self.form(&[exchange.as_slice(), &[RECORDS]].concat(), Some(&assistant)).await.token();
        let hop = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", first.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
            ("audience", "models"),
        ];
        assert_eq!(self.form(&hop, Some(&backend)).await.status, 200);

        let poster = self.world.secret("poster").to_owned();
        self.mark("a posted client secret", &poster);
        let form = [("grant_type", "client_credentials"), ("client_id", "poster"), ("client_secret", &poster)];
        assert_eq!(self.form(&form, None).await.status, 200);
        let assertion = self.assertion("right");
        let asserted = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &assertion),
        ];
        assert_eq!(self.form(&asserted, None).await.status, 200);
        assert_eq!(self.form(&asserted, None).await.status, 401, "a replay");

        let bobs = self.id_token(json!({"sub": "bob"}));
        let exchange = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", bobs.as_str()),
            ("subject_token_type", ID_TOKEN),
            RECORDS,
        ];
        let page = self.form(&exchange, Some(&assistant)).await.json()["consent_uri"].as_str().unwrap().to_owned();
        self.send("GET", page.strip_prefix(ISSUER).unwrap(), &[], String::new()).await;
        token
    }

    /// Tokens and secrets that are wrong, where they belong.
    async fn wrong(&mut self, ours: &str) {
        let assistant = self.basic_of("assistant");
        let good = self.id_token(json!({}));
        let mut wrong = vec![
            self.id_token(json!({"exp": 1_000})),
            self.id_token(json!({"aud": "another-app"})),
            self.id_token(json!({"iss": "https://stranger.example"})),
            self.id_token(json!({"roles": {"a": 1}})),
            self.id_token(json!({"act": {"sub": "somebody"}})),
            tampered(&good, &with(claims(&good), json!({"sub": "mallory"}))),
            tampered(ours, &with(claims(ours), json!({"sub": "corp|mallory"}))),
            unsigned("none", &claims(&good)),
            format!("{good}x"),
            good.replace('.', ":"),
            new_client_secret(&SecretsKey::generate()).expose_secret().to_owned(),
        ];
        wrong.push(wrong[0].chars().rev().collect());
        for token in wrong {
            self.mark("a wrong token", &token);
            for kind in [ID_TOKEN, ACCESS_TOKEN] {
                let form =
                    [("grant_type", TOKEN_EXCHANGE), ("subject_token", &token), ("subject_token_type", kind), RECORDS];
                self.form(&form, Some(&assistant)).await;
            }
            let form = [
                ("grant_type", TOKEN_EXCHANGE),
                ("subject_token", &good),
                ("subject_token_type", ID_TOKEN),
                ("actor_token", &token),
                ("actor_token_type", ACCESS_TOKEN),
                RECORDS,
            ];
            self.form(&form, Some(&assistant)).await;
            let form = [
                ("grant_type", "client_credentials"),
                ("client_assertion_type", JWT_BEARER),
                ("client_assertion", &token),
            ];
            self.form(&form, None).await;
        }
        let strangers = self.world.secret("stranger").to_owned();
        let foreign = new_client_secret(&SecretsKey::generate()).expose_secret().to_owned();
        for secret in [strangers, foreign, "marked-but-made-up-password".to_owned()] {
            for client in ["assistant", "nobody", "signer", "secretless"] {
                let header = self.basic(client, &secret);
                self.form(&[("grant_type", "client_credentials")], Some(&header)).await;
                let posted = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", &secret)];
                self.form(&posted, None).await;
                self.form(&posted, Some(&header)).await;
            }
        }
    }

    /// A token or secret in every place where it does not belong.
    async fn misplaced(&mut self, value: &str) {
        let assistant = self.basic_of("assistant");
        let id_token = self.id_token(json!({}));
        let exchange = [("grant_type", TOKEN_EXCHANGE), ("subject_token", &id_token), ("subject_token_type", ID_TOKEN)];
        let in_query = format!("https://records.example.com/api?access_token={value}");
        for (name, value) in [
            ("client_id", value),
            ("scope", value),
            ("resource", value),
            ("resource", in_query.as_str()),
            ("audience", value),
            ("grant_type", value),
            ("subject_token_type", value),
            ("requested_token_type", value),
            ("actor_token_type", value),
            ("client_assertion_type", value),
            ("client_secret", value),
            ("something", value),
            (value, "something"),
            (value, value),
        ] {
            let others = exchange.iter().chain([&RECORDS]).filter(|(other, _)| *other != name);
            let mut form: Vec<_> = others.copied().chain([(name, value)]).collect();
            match name {
                "actor_token_type" => form.push(("actor_token", &id_token)),
                "client_assertion_type" => form.push(("client_assertion", &id_token)),
                _ => {}
            }
            self.form(&form, Some(&assistant)).await;
            self.form(&form, None).await;
            form.push((name, value));
            self.form(&form, Some(&assistant)).await;
        }
        let credentials = self.basic(value, value);
        let no_colon = STANDARD.encode(value);
        self.mark("a header without colon", &no_colon);
        let (bearer, broken, no_colon) =
            (format!("Bearer {value}"), format!("Basic {value}"), format!("Basic {no_colon}"));
        for header in [&credentials, &bearer, &broken, &no_colon, value] {
            self.form(&exchange, Some(header)).await;
        }
        let trace = format!("00-{value}-00f067aa0ba902b7-01");
        for (name, value) in [
            ("x-api-key", value),
            ("x-request-id", value),
            ("traceparent", &trace),
            ("x-forwarded-for", value),
            ("origin", value),
            ("referer", value),
            ("user-agent", value),
            ("content-type", value),
            ("accept", value),
            ("if-none-match", value),
        ] {
            let body = "grant_type=client_credentials".to_owned();
            let headers = [("content-type", FORM), ("authorization", assistant.as_str()), (name, value)];
            let headers = if name == "content-type" { &headers[1..] } else { &headers[..] };
            self.send("POST", "/token", headers, body).await;
            self.send("GET", "/.well-known/jwks.json", &[(name, value)], String::new()).await;
        }
        for (method, path) in [
            ("POST", format!("/token?subject_token={value}")),
            ("GET", format!("/token?access_token={value}")),
            ("GET", format!("/{value}")),
            ("GET", format!("/consent/{value}")),
            ("GET", format!("/.well-known/jwks.json?access_token={value}")),
            ("GET", format!("/.well-known/oauth-protected-resource/{value}")),
        ] {
            self.send(method, &path, &[("content-type", FORM), ("authorization", &bearer)], String::new()).await;
        }
        for (kind, body) in [
            ("application/json", json!({"grant_type": TOKEN_EXCHANGE, "subject_token": value}).to_string()),
            (FORM, format!("subject_token={value}%zz")),
            (FORM, format!("subject_token={value}&").repeat(70)),
            (FORM, format!("subject_token={}", format!("{value}.").repeat(70_000 / value.len() + 1))),
            (FORM, format!("{value}&{value}")),
            ("multipart/form-data; boundary=x", format!("--x\r\n\r\n{value}\r\n--x--")),
        ] {
            self.send("POST", "/token", &[("content-type", kind), ("authorization", &assistant)], body).await;
        }
        self.not_http(value);
    }

    /// What is no HTTP at all.
    fn not_http(&mut self, value: &str) {
        for text in [
            format!("{value} / HTTP/1.1\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n{value}\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nhost: a\r\n{value} x: y\r\n\r\n"),
            format!("POST /token HTTP/1.1\r\nhost: a\r\ncontent-length: {value}\r\n\r\n"),
            format!("POST /token HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{value}\r\n"),
        ] {
            let mut connection = TcpStream::connect(self.node.public.address).unwrap();
            connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            connection.write_all(text.as_bytes()).unwrap();
            connection.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            let _ = connection.read_to_end(&mut answer);
            self.heard.push_str(&String::from_utf8_lossy(&answer));
        }
    }

    /// What the commands say about what happened.
    fn commands(&self) -> String {
        let key = self.world.server.app.secrets_key.to_base64();
        let variables =
            [("PROCURA_DATABASE_URL", self.database_url.as_str()), ("PROCURA_SECRETS_KEY", key.expose_secret())];
        let mut commands: Vec<Vec<&str>> = [
            "audit list --limit 10000",
            "audit verify",
            "export",
            "client list",
            "client show assistant",
            "consent list",
            "idp list",
            "resource list",
            "policy list",
            "keys list",
            "check --user corp|alice --client assistant",
        ]
        .iter()
        .map(|line| line.split(' ').collect())
        .collect();
        // One of each five: each starts a process.
        commands.extend(self.requests.iter().step_by(self.requests.len() / 12).map(|id| vec!["explain", id.as_str()]));
        let mut said = String::new();
        for command in &commands {
            for form in [&[][..], &["--json"]] {
                let output = run(&[command.as_slice(), form].concat(), &variables);
                said.push_str(&String::from_utf8_lossy(&output.stdout));
                said.push_str(&String::from_utf8_lossy(&output.stderr));
            }
        }
        said
    }
}

/// Every byte that the database holds.
async fn stored(database: &TestDatabase) -> String {
    match database.kind {
        Kind::Sqlite => {
            let files = std::fs::read_dir(database.directory.path()).unwrap();
            files
                .map(|file| String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()).into_owned())
                .collect()
        }
        Kind::Postgres => {
            let mut connection = PgConnection::connect(&database.url).await.unwrap();
            let tables: Vec<String> =
                sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
            let mut rows: Vec<String> = Vec::new();
            for table in tables {
                let sql = AssertSqlSafe(format!("SELECT row::text FROM {table} AS row"));
                rows.extend(sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap() as Vec<String>);
            }
            rows.join("\n")
        }
    }
}

/// The words that could be or hold a secret, each once: a log says the same many times.
fn words(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.+/=".contains(c);
    let words: BTreeSet<&str> = text.split(|c| !is_part(c)).filter(|word| word.len() >= 16).collect();
    words.into_iter().collect::<Vec<_>>().join("\n")
}

async fn nothing_is_given_away(kind: Kind) {
    let mut spy = Spy::start(kind).await;
    let ours = spy.right().await;
    spy.wrong(&ours).await;
    let secret = spy.world.secret("assistant").to_owned();
    let id_token = spy.id_token(json!({}));
    let assertion = spy.assertion("misplaced");
    let signature = ours.rsplit('.').next().unwrap();
    for value in [ours.as_str(), signature, &id_token, &secret, &assertion] {
        spy.misplaced(value).await;
    }
    let metrics = spy.node.admin.get("/metrics").await.text;
    let commands = spy.commands();
    let Spy { world, node, marked, heard, requests, .. } = spy;
    let log = node.end();
    let database = stored(&world.server.database).await;

    // What proves that we look where something could be.
    assert!(log.contains(r#""level":"TRACE""#) && log.contains("sqlx") && log.contains("hyper"), "it logs everything");
    assert!(
        [&log, &database, &commands].iter().all(|place| place.contains(&requests[0])),
        "every request leaves a trace"
    );
    assert!(heard.contains("error_description") && metrics.contains("procura_"));
    assert!(marked.len() > 100, "only {} values were marked", marked.len());

    let mut found = Vec::new();
    for (place, text) in [
        ("the log", &log),
        ("an answer", &heard),
        ("/metrics", &metrics),
        ("the database", &database),
        ("a command", &commands),
    ] {
        let words = words(text);
        for (value, what) in &marked {
            if let Some(at) = words.find(value.as_str()) {
                let line = text.lines().find(|line| line.contains(value.as_str())).unwrap_or(&words[at..]);
                let line: String = line.chars().take(600).collect();
                found.push(format!("{what} is in {place}: {line}"));
            }
        }
        // As a list of bytes it would be the same secret.
        let bytes = secret.as_bytes()[4..12].iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        assert!(!text.contains(&bytes), "a client secret is in {place} as bytes");
        assert!(!text.contains(r#""d":""#) && !text.contains(r#"\"d\":\""#), "a private key is in {place}");
    }
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
    eprintln!(
        "{kind:?}: {} requests, {} marked values, {} KB of log: none found",
        requests.len(),
        marked.len(),
        log.len() >> 10
    );
}

#[tokio::test]
async fn no_secret_and_no_token_is_in_any_output_with_sqlite() {
    nothing_is_given_away(Kind::Sqlite).await;
}

#[tokio::test]
async fn no_secret_and_no_token_is_in_any_output_with_postgresql() {
    nothing_is_given_away(Kind::Postgres).await;
}
