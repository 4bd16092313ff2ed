//! Two real servers on one PostgreSQL are one server: the same keys and decisions, a change counts on both within a
//! second, what may be used once is used once, and either can die between any two steps.

use crate::database::{Kind, TestDatabase};
use crate::issuer::{install_tls, with};
use crate::node::{Door, Node, run};
use crate::server::{ACCESS_TOKEN, ID_TOKEN, ISSUER, NOW, TOKEN_EXCHANGE};
use crate::world::{World, signed};
use procura::app::App;
use procura::clock::Clock;
use procura::config::{Config, ConfigSources};
use procura::domain::change::{Change, StoredSecret};
use procura::domain::event::{AuditEvent, EventKind, EventOutcome};
use procura::domain::names::UserId;
use procura::domain::policy::PolicyText;
use procura::domain::resource::SigningAlgorithm;
use procura::secrets::{SecretsKey, hash_client_secret, new_client_secret, random_id};
use procura::store::Store;
use procura::tokens::signing_keys::rotate;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const RECORDS: (&str, &str) = ("resource", "https://records.example.com/api");
/// What the product promises.
const WITHIN: Duration = Duration::from_secs(1);
/// When a test gives up waiting.
const AT_MOST: Duration = Duration::from_secs(20);

/// Two servers and the parties that use them.
struct Pair {
    world: World,
    nodes: [Node; 2],
}

/// Starts several servers at the same moment.
async fn start_together<const N: usize>(url: &str, key: &SecretsKey) -> [Node; N] {
    let starting: [_; N] = std::array::from_fn(|_| {
        let (url, key) = (url.to_owned(), key.clone());
        tokio::task::spawn_blocking(move || Node::start(&url, &key, &[]))
    });
    let mut nodes = Vec::new();
    for node in starting {
        nodes.push(node.await.unwrap());
    }
    nodes.try_into().unwrap_or_else(|_| unreachable!("as many as were started"))
}

fn administration(now_ms: i64) -> AuditEvent {
    AuditEvent::new(now_ms, random_id("adm"), EventKind::Administration, EventOutcome::Done, "test")
}

impl Pair {
    async fn start() -> Self {
        let world = World::at(Clock::System, Kind::Postgres, &[]).await;
        let nodes = start_together(&world.server.database.url, &world.server.app.secrets_key).await;
        Self { world, nodes }
    }

    fn now(&self) -> i64 {
        self.world.server.clock.now()
    }

    /// An ID token of Alice that is valid now.
    fn id_token(&self, changes: Value) -> String {
        let now = self.now();
        self.world.id_token(with(json!({"iat": now - 10, "exp": now + 3000, "auth_time": now - 60}), changes))
    }

    /// Somebody else's process makes a change.
    async fn commit(&self, changes: &[Change]) {
        let event = administration(self.world.server.clock.now_ms());
        self.world.server.app.store.change(changes, event, self.now()).await.unwrap();
    }

    async fn exchange(&self, door: &Door, secret: &str) -> (u16, String) {
        let token = self.id_token(json!({}));
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", token.as_str()),
            ("subject_token_type", ID_TOKEN),
            RECORDS,
            ("scope", "records.read"),
        ];
        let answer = door.token(&form, Some(("assistant", secret))).await;
        (answer.status.as_u16(), answer.json()["error"].as_str().unwrap_or_default().to_owned())
    }

    /// Measures from now, right after a commit, until each server answers as it should.
    async fn within_a_second(&self, what: &str, is_so: impl AsyncFn(&Door) -> bool) {
        self.within(WITHIN, what, is_so).await;
    }

    async fn within(&self, limit: Duration, what: &str, is_so: impl AsyncFn(&Door) -> bool) {
        let committed = Instant::now();
        let until = async |node: &Node| {
            while !is_so(&node.public).await {
                assert!(committed.elapsed() < AT_MOST, "{what}: not in force after {AT_MOST:?}");
            }
            committed.elapsed()
        };
        let [first, second] = &self.nodes;
        let (first, second) = tokio::join!(until(first), until(second));
        eprintln!("{what}: in force after {} ms and {} ms", first.as_millis(), second.as_millis());
        assert!(first < limit && second < limit, "{what}: {first:?} and {second:?}");
    }

    /// A change, its effect on both servers, and its end.
    async fn change_and_back(&self, what: &str, change: Change, back: Option<Change>, wanted: (u16, &str)) {
        let secret = self.world.secret("assistant");
        let answers = async |door: &Door, wanted: (u16, &str)| {
            let (status, error) = self.exchange(door, secret).await;
            (status, error.as_str()) == wanted
        };
        self.commit(&[change]).await;
        self.within_a_second(what, async |door| answers(door, wanted).await).await;
        if let Some(back) = back {
            self.commit(&[back]).await;
            self.within_a_second(&format!("{what}, taken back"), async |door| answers(door, (200, "")).await).await;
        }
    }
}

async fn kids(door: &Door) -> BTreeSet<String> {
    let jwks = door.get("/.well-known/jwks.json").await.json();
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn kid_of(token: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_change_counts_on_both_servers_within_a_second() {
    let pair = Pair::start().await;
    for node in &pair.nodes {
        let answer = pair.exchange(&node.public, pair.world.secret("assistant")).await;
        assert_eq!(answer, (200, String::new()), "both servers grant before anything changes");
    }
    let assistant = || "assistant".parse().unwrap();
    let (suspend, resume) = (Change::SuspendClient(assistant()), Change::ResumeClient(assistant()));
    pair.change_and_back("client suspended", suspend, Some(resume), (401, "invalid_client")).await;

    let alice = || "corp|alice".parse::<UserId>().unwrap();
    let (suspend, resume) = (Change::SuspendUser(alice()), Change::ResumeUser(alice()));
    pair.change_and_back("user suspended", suspend, Some(resume), (400, "invalid_request")).await;

    let id: procura::domain::names::PolicyId = "nobody-reads".parse().unwrap();
    let cedar = r#"forbid(principal, action, resource == Scope::"records#records.read");"#.to_owned();
    let (forbid, permit) = (Change::PutPolicy(PolicyText { id: id.clone(), cedar }), Change::RemovePolicy(id));
    pair.change_and_back("policy changed", forbid, Some(permit), (400, "access_denied")).await;

    let consents = pair.world.server.app.store.consents_of(&alice()).await.unwrap();
    let consent = consents.into_iter().find(|consent| consent.resource.as_str() == "records").unwrap();
    pair.change_and_back("consent revoked", Change::RevokeConsent(consent.id.clone()), None, (400, "consent_required"))
        .await;
    let again = Change::GrantConsent(procura::domain::consent::Consent { id: random_id("cns"), ..consent });
    pair.change_and_back("consent given", again, None, (200, "")).await;
}

#[tokio::test]
async fn new_secrets_and_keys_count_on_both_servers_within_a_second() {
    let pair = Pair::start().await;
    let app = &pair.world.server.app;
    let mut secrets = vec![pair.world.secret("assistant").to_owned()];
    for _ in 0..2 {
        let secret = new_client_secret(&app.secrets_key);
        let hashing = Instant::now();
        let stored = StoredSecret {
            id: random_id("sec"),
            client: "assistant".parse().unwrap(),
            hash: hash_client_secret(&secret),
            created_at: pair.now(),
            last_used_at: None,
        };
        // A debug build takes long over argon2id, which each server runs up to four times here: with each live secret
        // before it knows of the new one, and after.
        let limit = WITHIN + 4 * hashing.elapsed();
        let secret = secret.expose_secret().to_owned();
        pair.commit(&[Change::AddSecret(stored)]).await;
        pair.within(limit, "new secret", async |door| pair.exchange(door, &secret).await.0 == 200).await;
        secrets.push(secret);
    }
    for (secret, status) in secrets.iter().zip([401, 200, 200]) {
        for node in &pair.nodes {
            assert_eq!(pair.exchange(&node.public, secret).await.0, status, "the two newest secrets are live");
        }
    }

    let records = app.store.list_signing_keys().await.unwrap();
    let rotation = rotate(&records, SigningAlgorithm::ES256, 900, true, &app.secrets_key, pair.now()).unwrap();
    let event = administration(pair.world.server.clock.now_ms());
    assert!(app.store.add_signing_key(&rotation.key, &rotation.removals, event).await.unwrap());
    let wanted = BTreeSet::from([rotation.key.kid.clone()]);
    pair.within_a_second("key replaced in an emergency", async |door| kids(door).await == wanted).await;
    for node in &pair.nodes {
        let form = [("grant_type", "client_credentials")];
        let answer = node.public.token(&form, Some(("planner", pair.world.secret("planner")))).await;
        assert_eq!(kid_of(&answer.token()), rotation.key.kid, "the new key signs at once");
    }
}

#[tokio::test]
async fn an_exchange_goes_on_while_each_server_in_turn_is_killed_and_started_again() {
    let mut pair = Pair::start().await;
    let restarted = |pair: &mut Pair, index: usize| {
        pair.nodes[index].kill();
        let app = &pair.world.server.app;
        pair.nodes[index] = Node::start(&pair.world.server.database.url, &app.secrets_key, &[]);
    };
    let assertion = |jti: &str| {
        let now = pair.now();
        let claims = json!({"iss": "signer", "sub": "signer", "aud": ISSUER, "iat": now, "exp": now + 60, "jti": jti});
        signed(&pair.world.signer, &claims)
    };
    let first_assertion = assertion("j1");
    let by_assertion = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", first_assertion.as_str()),
    ];
    let hop = async |pair: &Pair, index: usize, client: &'static str, token: &str, kind: &str, target| {
        let form = [("grant_type", TOKEN_EXCHANGE), ("subject_token", token), ("subject_token_type", kind), target];
        pair.nodes[index].public.token(&form, Some((client, pair.world.secret(client)))).await
    };

    let keys = kids(&pair.nodes[0].public).await;
    assert_eq!(pair.nodes[0].public.token(&by_assertion, None).await.status, 200);
    let asked = pair.world.bobs_id_token();
    let bob = crate::server::claims(&asked);
    let bobs = signed(&pair.world.corp, &with(bob, json!({"iat": pair.now() - 10, "exp": pair.now() + 3000})));
    let refused = hop(&pair, 0, "assistant", &bobs, ID_TOKEN, RECORDS).await;
    let page = refused.json()["consent_uri"].as_str().unwrap().strip_prefix(ISSUER).unwrap().to_owned();
    restarted(&mut pair, 0);

    let waiting = pair.nodes[1].public.get(&format!("{page}/status")).await;
    assert_eq!(waiting.json()["status"], "pending", "the other server knows what the user is asked");
    let first = hop(&pair, 1, "assistant", &pair.id_token(json!({})), ID_TOKEN, RECORDS).await.token();
    restarted(&mut pair, 1);

    let second = hop(&pair, 0, "records-backend", &first, ACCESS_TOKEN, ("audience", "models")).await.token();
    restarted(&mut pair, 0);

    let third = hop(&pair, 1, "models-backend", &second, ACCESS_TOKEN, ("audience", "billing")).await.token();
    let actors = crate::server::claims(&third)["act"].to_string();
    for actor in ["models-backend", "records-backend", "assistant"] {
        assert!(actors.contains(actor), "{actors}");
    }
    restarted(&mut pair, 1);

    for node in &pair.nodes {
        assert_eq!(kids(&node.public).await, keys, "every start finds the same keys");
        let replayed = node.public.token(&by_assertion, None).await;
        assert_eq!((replayed.status.as_u16(), &replayed.json()["error"]), (401, &json!("invalid_client")));
    }
    assert!([first, second, third].iter().all(|token| keys.contains(&kid_of(token))));
    let key = pair.world.server.app.secrets_key.to_base64();
    let variables = [
        ("PROCURA_DATABASE_URL", pair.world.server.database.url.as_str()),
        ("PROCURA_SECRETS_KEY", key.expose_secret()),
    ];
    let verified = run(&["audit", "verify"], &variables);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

/// Sends the same form to both servers in turn, all at once; how many were granted, and the errors of the others.
async fn all_at_once(
    pair: &Pair,
    times: usize,
    form: &[(&str, &str)],
    client: Option<&str>,
) -> (usize, BTreeSet<String>) {
    let form: Vec<(String, String)> = form.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let basic = client.map(|client| (client.to_owned(), pair.world.secret(client).to_owned()));
    let mut requests = JoinSet::new();
    for index in 0..times {
        let (door, form, basic) = (pair.nodes[index % 2].public.clone(), form.clone(), basic.clone());
        requests.spawn(async move {
            let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            door.token(&form, basic.as_ref().map(|(id, secret)| (id.as_str(), secret.as_str()))).await
        });
    }
    let answers = requests.join_all().await;
    let granted = answers.iter().filter(|answer| answer.status == 200).count();
    let errors = answers.iter().filter_map(|answer| answer.json()["error"].as_str().map(str::to_owned)).collect();
    (granted, errors)
}

#[tokio::test]
async fn what_counts_once_counts_once_on_both_servers_together() {
    let pair = Pair::start().await;
    pair.world.server.consent("tenants|alice", "assistant", "records", "records.read").await;
    for node in &pair.nodes {
        // So that the secret is known, and the requests really meet at the database.
        assert_eq!(pair.exchange(&node.public, pair.world.secret("assistant")).await.0, 200);
    }
    let now = pair.now();
    let claims = json!({"iss": "signer", "sub": "signer", "aud": ISSUER, "iat": now, "exp": now + 60, "jti": "once"});
    let assertion = signed(&pair.world.signer, &claims);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion.as_str()),
    ];
    let outcome = all_at_once(&pair, 50, &form, None).await;
    assert_eq!(outcome, (1, BTreeSet::from(["invalid_client".to_owned()])), "an assertion");

    let claims = json!({
        "iss": pair.world.tenants.issuer(), "sub": "alice", "aud": "llm-app", "tid": "ours", "jti": "once",
        "iat": now - 10, "exp": now + 600, "nonce": "n",
    });
    let token = signed(&pair.world.tenants, &claims);
    let form =
        [("grant_type", TOKEN_EXCHANGE), ("subject_token", token.as_str()), ("subject_token_type", ID_TOKEN), RECORDS];
    let outcome = all_at_once(&pair, 50, &form, Some("assistant")).await;
    assert_eq!(outcome, (1, BTreeSet::from(["invalid_request".to_owned()])), "a subject token of a single_use rule");
}

#[tokio::test]
async fn two_servers_that_start_for_the_first_time_at_once_have_the_same_keys() {
    install_tls();
    let database = TestDatabase::new(Kind::Postgres).await;
    let nodes: [Node; 2] = start_together(&database.url, &SecretsKey::generate()).await;
    let keys = kids(&nodes[0].public).await;
    assert_eq!(keys.len(), 1);
    assert_eq!(kids(&nodes[1].public).await, keys);
    assert_eq!(database.store.list_signing_keys().await.unwrap().len(), 1, "no second key was left behind");
}

/// A server without doors, with connections of its own.
async fn app(database: &TestDatabase, key: &SecretsKey, clock: Clock) -> std::sync::Arc<App> {
    let environment = vec![
        ("PROCURA_ISSUER".to_owned(), ISSUER.to_owned()),
        ("PROCURA_SECRETS_KEY".to_owned(), key.to_base64().expose_secret().to_owned()),
    ];
    let sources = ConfigSources { file: None, environment, database_url: Some(database.url.clone()) };
    let config = Config::load(&sources).unwrap();
    Box::pin(App::start(config, clock, database.another_store().await, key.clone())).await.unwrap()
}

#[tokio::test]
async fn a_rotation_that_is_due_makes_one_generation_however_many_servers_see_it() {
    install_tls();
    let database = TestDatabase::new(Kind::Postgres).await;
    let key = SecretsKey::generate();
    drop(app(&database, &key, Clock::set_to(NOW)).await);
    let later = NOW + 91 * 86_400;
    let start = || Box::pin(app(&database, &key, Clock::set_to(later)));
    let _servers = tokio::join!(start(), start(), start(), start());
    let keys = database.store.list_signing_keys().await.unwrap();
    let generations: Vec<i64> = keys.iter().map(|key| key.generation).collect();
    assert_eq!(generations, [1, 2]);
}

store_test! {
    async fn rows_that_ended_are_swept_by_several_servers_without_conflict(db: TestDatabase) {
        let jti: Vec<String> = (0..1_200).map(|index| format!("j{index}")).collect();
        let client = "assistant".parse().unwrap();
        for jti in &jti {
            assert!(db.store.use_assertion(&client, jti, NOW - 600).await.unwrap());
        }
        let stores = [db.another_store().await, db.another_store().await, db.another_store().await];
        let [first, second, third] = &stores;
        let swept = tokio::join!(first.purge(NOW), second.purge(NOW), third.purge(NOW));
        let swept: u64 = [swept.0, swept.1, swept.2]
            .into_iter()
            .flat_map(|rows| rows.expect("no server stands in another's way"))
            .map(|(_, rows)| rows)
            .sum();
        let left: u64 = db.store.purge(NOW).await.unwrap().into_iter().map(|(_, rows)| rows).sum();
        assert_eq!(swept + left, 1_200, "each row was swept once");
        assert!(db.store.use_assertion(&client, "j0", NOW).await.unwrap(), "and is gone");
    }
}

/// Waits until the store tells of a change.
async fn is_told(news: &mut tokio::sync::mpsc::UnboundedReceiver<()>) {
    tokio::time::timeout(AT_MOST, news.recv()).await.expect("news within twenty seconds").unwrap();
}

fn watch(store: Store) -> tokio::sync::mpsc::UnboundedReceiver<()> {
    let (tell, news) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let never = store
            .watch(|| {
                let _ = tell.send(());
            })
            .await;
        match never {}
    });
    news
}

#[tokio::test]
async fn postgresql_tells_of_each_change_and_again_after_its_connection_was_cut() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let mut news = watch(database.another_store().await);
    is_told(&mut news).await; // It listens.
    let suspend = async |user: &str| {
        let changes = [Change::SuspendUser(user.parse().unwrap())];
        database.store.change(&changes, administration(NOW * 1000), NOW).await.unwrap();
    };
    suspend("corp|alice").await;
    is_told(&mut news).await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    assert_eq!(database.execute(cut).await, 1, "the one connection that listens");
    is_told(&mut news).await; // Something may have been missed.
    suspend("corp|bob").await;
    is_told(&mut news).await;
}
