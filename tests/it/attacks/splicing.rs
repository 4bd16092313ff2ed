//! Delegation chains spliced in every way: every client presents every token of every user and every client, with every
//! actor token, for every backend, twice. What comes of it can only be what the oracle says: who is the subject, who
//! acts, through whom, where, and to do what; or the reason of the refusal.

mod oracle;

use crate::database::Kind;
use crate::issuer::TestIssuer;
use crate::server::{ACCESS_TOKEN, Answer, ID_TOKEN, ISSUER, NOW, TOKEN_EXCHANGE, TestServer, claims};
use oracle::{ACTOR_TOKENS, ActorToken, App, Asked, CLIENTS, Client, Granted, Held, Place, Subject, User, predict};
use procura::domain::decision::ReasonCode;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use Client::{Agent, Assistant, Backend};
use Place::{Billing, Models, Records};
use User::{Alice, Bob};

fn id(client: Client) -> &'static str {
    match client {
        Assistant => "assistant",
        Agent => "agent",
        Backend => "backend",
    }
}

fn name(user: User) -> &'static str {
    match user {
        Alice => "alice",
        Bob => "bob",
    }
}

fn place_id(place: Place) -> &'static str {
    match place {
        Records => "records",
        Models => "models",
        Billing => "billing",
    }
}

fn sub(subject: Subject) -> String {
    match subject {
        Subject::User(user) => format!("corp|{}", name(user)),
        Subject::Workload(client) => id(client).to_owned(),
    }
}

/// The `act` claim of these actors, the current one first.
fn act(actors: &[Client]) -> Value {
    actors.iter().rev().fold(Value::Null, |earlier, actor| {
        let mut object = json!({"iss": ISSUER, "sub": id(*actor)});
        if !earlier.is_null() {
            object["act"] = earlier;
        }
        object
    })
}

/// The parties, with every token that the requests are put together from.
struct Parties {
    server: TestServer,
    corp: TestIssuer,
    secrets: HashMap<&'static str, String>,
    made: AtomicUsize,
}

impl Parties {
    async fn new() -> Self {
        let no_limit =
            [("PROCURA_LIMITS__USER_EXCHANGES_PER_MINUTE", "0"), ("PROCURA_LIMITS__GRANT_EXCHANGES_PER_MINUTE", "0")];
        let server = TestServer::configured(Kind::Sqlite, &no_limit).await;
        let corp = TestIssuer::start().await;
        server.apply(&include_str!("splicing/registry.toml").replace("{idp}", corp.issuer())).await;
        let mut secrets = HashMap::new();
        for client in CLIENTS {
            secrets.insert(id(client), server.new_secret(id(client)).await);
        }
        for (user, client, resource, scopes) in [
            ("corp|alice", "assistant", "records", "read write"),
            ("corp|alice", "assistant", "models", "read use"),
            ("corp|alice", "agent", "records", "write"),
            ("corp|alice", "agent", "billing", "pay"),
            ("corp|bob", "assistant", "records", "read"),
        ] {
            server.consent(user, client, resource, scopes).await;
        }
        Self { server, corp, secrets, made: AtomicUsize::new(0) }
    }

    async fn ask(&self, client: Client, form: &[(&str, &str)]) -> Answer {
        self.server.token(form, Some((id(client), &self.secrets[id(client)]))).await
    }

    /// A new ID token, never seen before.
    fn id_token(&self, user: User, app: App) -> String {
        let aud = match app {
            App::One => "app-one",
            App::Two => "app-two",
        };
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        let jti = format!("there-{number}");
        self.corp.id_token(NOW, json!({"sub": name(user), "aud": aud, "jti": jti, "nonce": "n"}))
    }

    /// A client's own token, for this server or for a backend.
    async fn own_token(&self, client: Client, place: Option<Place>) -> String {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(place.map(|place| ("audience", place_id(place))));
        self.ask(client, &form).await.token()
    }

    async fn exchange(
        &self,
        caller: Client,
        subject: (&str, &str),
        actor: Option<&str>,
        target: Option<Place>,
        scope: Option<&str>,
    ) -> Answer {
        let (token, token_type) = subject;
        let mut form =
            vec![("grant_type", TOKEN_EXCHANGE), ("subject_token", token), ("subject_token_type", token_type)];
        if let Some(actor) = actor {
            form.extend([("actor_token", actor), ("actor_token_type", ACCESS_TOKEN)]);
        }
        form.extend(target.map(|place| ("audience", place_id(place))));
        form.extend(scope.map(|scope| ("scope", scope)));
        self.ask(caller, &form).await
    }

    /// A token of ours for a user: who asks, by what, with whose actor token, for where. Its description is checked
    /// against what it says.
    async fn delegation(
        &self,
        caller: Client,
        by: (&str, &str),
        actor: Option<&str>,
        describe: (User, &[Client], Place, &[&'static str]),
    ) -> (Held, String) {
        let (user, actors, place, scopes) = describe;
        let scope = scopes.join(" ");
        let token = self.exchange(caller, by, actor, Some(place), Some(&scope)).await.token();
        let held = Held::Own {
            subject: Subject::User(user),
            client: caller,
            actors: actors.to_vec(),
            place: Some(place),
            scopes: scopes.to_vec(),
        };
        let says = claims(&token);
        assert_eq!((&says["sub"], &says["act"]), (&json!(sub(Subject::User(user))), &act(actors)), "{held:?}");
        assert_eq!(says["scope"], scope, "{held:?}");
        (held, token)
    }

    /// Every token of ours that can be held.
    async fn held(&self) -> Vec<(Held, String)> {
        let mut all = Vec::new();
        let mut second_hops = Vec::new();
        for (user, scopes) in [(Alice, &["read", "write"][..]), (Bob, &["read"])] {
            let by = self.id_token(user, App::One);
            let first = self.delegation(Assistant, (&by, ID_TOKEN), None, (user, &[Assistant], Records, scopes)).await;
            let describe = (user, &[Backend, Assistant][..], Models, &["read", "use"][..]);
            second_hops.push(self.delegation(Backend, (&first.1, ACCESS_TOKEN), None, describe).await);
            all.push(first);
        }
        let third = (Alice, &[Agent, Backend, Assistant][..], Billing, &["pay"][..]);
        all.push(self.delegation(Agent, (&second_hops[0].1, ACCESS_TOKEN), None, third).await);
        all.extend(second_hops);
        let by = self.id_token(Alice, App::One);
        let describe = (Alice, &[Assistant][..], Models, &["read", "use"][..]);
        all.push(self.delegation(Assistant, (&by, ID_TOKEN), None, describe).await);
        let describe = (Alice, &[Assistant][..], Records, &["read"][..]);
        all.push(self.delegation(Assistant, (&by, ID_TOKEN), None, describe).await);
        let agent = self.own_token(Agent, None).await;
        let describe = (Alice, &[Agent][..], Records, &["write"][..]);
        all.push(self.delegation(Assistant, (&by, ID_TOKEN), Some(&agent), describe).await);
        let by = self.id_token(Alice, App::Two);
        let of_agent = self.delegation(Agent, (&by, ID_TOKEN), None, describe).await;
        // The agent's token has no "read": what is called so at the models is not gained on the way.
        let describe = (Alice, &[Backend, Agent][..], Models, &["use"][..]);
        all.push(self.delegation(Backend, (&of_agent.1, ACCESS_TOKEN), None, describe).await);
        all.push(of_agent);
        for (client, place, scopes) in [
            (Assistant, None, vec![]),
            (Agent, None, vec![]),
            (Backend, None, vec![]),
            (Backend, Some(Models), vec!["read", "use"]),
            (Agent, Some(Records), vec!["write"]),
        ] {
            let held = Held::Own { subject: Subject::Workload(client), client, actors: vec![], place, scopes };
            all.push((held, self.own_token(client, place).await));
        }
        all
    }
}

/// The token is what was predicted, and its event says the same; or the refusal has the reason that was predicted.
async fn compare(parties: &Parties, answer: &Answer, asked: &Asked, predicted: &Result<Granted, &'static str>) {
    let event = parties.server.event(answer).await;
    match predicted {
        Err(reason) => {
            assert_eq!(event.reason, *reason, "{asked:?}: {} {:?}", answer.text, event.detail);
            let error = ReasonCode::from_code(reason).expect("a reason code").error().as_str();
            assert_eq!(answer.status, 400, "{asked:?}: {reason}");
            assert_eq!(answer.json()["error"], error, "{asked:?}: {reason}");
            assert_eq!(answer.json()["access_token"], Value::Null, "{asked:?}");
        }
        Ok(granted) => {
            assert_eq!(event.reason, "granted", "{asked:?}: {} {:?}", answer.text, event.detail);
            let says = claims(&answer.token());
            let scope = granted.scopes.iter().copied().collect::<Vec<_>>().join(" ");
            let audience = format!("https://{}.example.com", place_id(granted.place));
            assert_eq!(says["sub"], sub(granted.subject), "{asked:?}");
            assert_eq!(says["act"], act(&granted.actors), "{asked:?}");
            assert_eq!(says["aud"], audience, "{asked:?}");
            assert_eq!(says["scope"], scope, "{asked:?}");
            assert_eq!(says["client_id"], id(granted.client), "{asked:?}");
            let actors: Vec<&str> = granted.actors.iter().map(|actor| id(*actor)).collect();
            assert_eq!(event.actors, actors, "{asked:?}");
            assert_eq!(event.subject_sub().unwrap(), sub(granted.subject), "{asked:?}");
        }
    }
}

/// The tokens that go along as `actor_token`.
struct ActorTokens {
    own: BTreeMap<Client, String>,
    delegation: String,
    id_token: String,
}

impl ActorTokens {
    fn of<'a>(&'a self, actor: ActorToken, subject: &'a str) -> Option<&'a str> {
        match actor {
            ActorToken::None => None,
            ActorToken::OwnOf(client) => Some(&self.own[&client]),
            ActorToken::Delegation => Some(&self.delegation),
            ActorToken::IdToken => Some(&self.id_token),
            ActorToken::TheSubjectToken => Some(subject),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_splice_gives_what_the_rules_say_and_nothing_else() {
    let parties = Arc::new(Parties::new().await);
    let mut subjects: Vec<(Held, Option<String>)> =
        parties.held().await.into_iter().map(|(held, token)| (held, Some(token))).collect();
    for user in [Alice, Bob] {
        subjects.extend([App::One, App::Two].map(|app| (Held::External { user, app }, None)));
    }
    let by = parties.id_token(Alice, App::One);
    let mut own = BTreeMap::new();
    for client in CLIENTS {
        own.insert(client, parties.own_token(client, None).await);
    }
    let actors = Arc::new(ActorTokens {
        own,
        delegation: parties.exchange(Assistant, (&by, ID_TOKEN), None, Some(Records), None).await.token(),
        id_token: parties.id_token(Bob, App::One),
    });

    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    for (held, token) in &subjects {
        let mut at_once = tokio::task::JoinSet::new();
        for (caller, actor, target) in combinations() {
            let (parties, actors) = (Arc::clone(&parties), Arc::clone(&actors));
            let (held, token) = (held.clone(), token.clone());
            at_once.spawn(async move {
                let (token, token_type) = match (&held, token) {
                    (Held::External { user, app }, _) => (parties.id_token(*user, *app), ID_TOKEN),
                    (Held::Own { .. }, token) => (token.unwrap(), ACCESS_TOKEN),
                };
                let mut outcomes = Vec::new();
                for again in [false, true] {
                    let asked = Asked { caller, held: held.clone(), actor, target, again };
                    let predicted = predict(&asked);
                    let actor_token = actors.of(actor, &token);
                    let answer = parties.exchange(caller, (&token, token_type), actor_token, target, None).await;
                    compare(&parties, &answer, &asked, &predicted).await;
                    outcomes.push(predicted.map_or_else(str::to_owned, |_| "granted".to_owned()));
                }
                outcomes
            });
        }
        while let Some(outcomes) = at_once.join_next().await {
            for outcome in outcomes.unwrap() {
                *tally.entry(outcome).or_default() += 1;
            }
        }
    }

    // The table is not one of refusals only, and every rule decides somewhere.
    let decided: BTreeSet<&str> = tally.keys().map(String::as_str).collect();
    let expected = [
        "actor_not_permitted",
        "actor_token_delegated",
        "actor_token_invalid",
        "actor_token_is_subject_token",
        "chain_cycle",
        "consent_missing",
        "granted",
        "scope_beyond_client",
        "scope_beyond_subject",
        "subject_token_audience_foreign",
        "subject_token_not_addressed",
        "subject_token_replayed",
        "target_missing",
        "target_not_allowed",
        "target_not_reachable",
        "workload_not_permitted",
    ];
    assert_eq!(decided, expected.into(), "{tally:?}");
    assert!(tally["granted"] > 100, "{tally:?}");
    let combinations: usize = tally.values().sum();
    assert_eq!(combinations, subjects.len() * CLIENTS.len() * ACTOR_TOKENS.len() * 4 * 2);
}

fn combinations() -> impl Iterator<Item = (Client, ActorToken, Option<Place>)> {
    CLIENTS.into_iter().flat_map(|caller| {
        ACTOR_TOKENS.into_iter().flat_map(move |actor| {
            [None, Some(Records), Some(Models), Some(Billing)].into_iter().map(move |target| (caller, actor, target))
        })
    })
}
