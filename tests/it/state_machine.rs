//! Random sequences of changes and requests, through the real router and store, against a model of who may do what.
//!
//! The model predicts each answer: refused, or a token with these scopes, actors, grants and end. A failure is told as
//! the shortest list of steps that leads to it. `PROPTEST_CASES=2000` runs more sequences.

mod model;
mod steps;

use crate::database::Kind;
use crate::issuer::TestIssuer;
use crate::server::{ACCESS_TOKEN, Answer, ID_TOKEN, ISSUER, TOKEN_EXCHANGE, TestServer, claims};
use model::{Agreement, Declared, Expected, Issued, Model, Subject, Token};
use procura::domain::change::{Change, StoredSecret};
use procura::domain::client::Assurance;
use procura::domain::consent::{Consent, ConsentSource, ConsentingUser};
use procura::domain::event::{AuditEvent, EventKind, EventOutcome};
use procura::domain::policy::PolicyText;
use procura::domain::resource::SigningAlgorithm;
use procura::secrets::{hash_client_secret, new_client_secret, random_id};
use procura::tokens::offline::OfflineVerifier;
use procura::tokens::signing_keys::rotate;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use steps::{Backend, Deed, Person, Request, Scopes, Secret, Step, Steps, Who, step};

/// Sequences in `make test`, and the most steps of one.
const SEQUENCES: u32 = 64;
const STEPS: usize = 30;
/// The life of every backend's tokens.
const LIFETIME: i64 = 300;

struct World<'a> {
    server: TestServer,
    idp: &'a TestIssuer,
    /// By number; every client's n-th secret is the same text, so that few have to be hashed.
    secrets: Vec<(String, String)>,
    model: Model,
    /// Every answer, and whether it was a token.
    answers: Vec<(Answer, bool)>,
}

fn client_document(who: Who, declared: &Declared) -> Change {
    let resources: BTreeMap<&str, &Scopes> =
        declared.ceilings.iter().map(|(backend, scopes)| (backend.id(), scopes)).collect();
    let client = json!({
        "id": who.id(), "name": who.id(), "authentication": "client_secret_basic",
        "grants": ["token_exchange", "client_credentials"],
        "consent": if declared.consent_by_admin { "admin" } else { "user" },
        "resources": resources,
    });
    Change::PutClient(serde_json::from_value(client).unwrap(), Assurance::Vetted)
}

fn resource_document(backend: Backend, model: &Model) -> Change {
    let scopes = backend.scopes().into_iter().map(|scope| {
        let mut declared = json!({"name": scope, "description": scope, "access": "read"});
        match scope {
            "delete" => declared["roles"] = json!(["doctor"]),
            "medical" => declared["policy"] = json!("explicit"),
            _ => {}
        }
        declared
    });
    let edges = model.edges.iter().filter(|(from, _)| *from == backend).map(|(_, to)| to.id());
    let clients = model.clients_of.iter().filter(|(of, _)| *of == backend).map(|(_, who)| who.id());
    let resource = json!({
        "id": backend.id(), "audience": backend.audience(), "name": backend.id(),
        "token_lifetime_seconds": LIFETIME, "signing_algorithm": "ES256",
        "may_exchange_to": edges.collect::<Vec<_>>(), "clients": clients.collect::<Vec<_>>(),
        "scope": scopes.collect::<Vec<_>>(),
    });
    Change::PutResource(serde_json::from_value(resource).unwrap())
}

fn policy(id: &str, cedar: &str, is_there: bool) -> Change {
    let id = id.parse().unwrap();
    if is_there { Change::PutPolicy(PolicyText { id, cedar: cedar.to_owned() }) } else { Change::RemovePolicy(id) }
}

fn permit_medical(is_there: bool) -> Change {
    let cedar = r#"permit(principal, action == Action::"use", resource == Scope::"models#medical")
        when { principal has roles && principal.roles.contains("doctor") };"#;
    policy("medical", cedar, is_there)
}

fn forbid_writing(is_there: bool) -> Change {
    let cedar = r#"forbid(principal, action == Action::"use", resource == Scope::"records#write");"#;
    policy("no-writing", cedar, is_there)
}

impl<'a> World<'a> {
    async fn new(idp: &'a TestIssuer) -> Self {
        let limits = ["USER_EXCHANGES", "GRANT_EXCHANGES", "FAILED_AUTHENTICATIONS"];
        let limits = limits.map(|limit| format!("PROCURA_LIMITS__{limit}_PER_MINUTE"));
        let unlimited: Vec<(&str, &str)> = limits.iter().map(|limit| (limit.as_str(), "0")).collect();
        let server = TestServer::configured(Kind::Sqlite, &unlimited).await;
        let mut world = Self { server, idp, secrets: Vec::new(), model: Model::new(), answers: Vec::new() };
        let mut provider = idp.provider("corp");
        for rule in &mut provider.subject_tokens {
            rule.clients = Who::ALL.map(|who| who.id().parse().unwrap()).to_vec();
        }
        let mut changes = vec![Change::PutIdentityProvider(provider), permit_medical(true)];
        changes.extend(Backend::ALL.map(|backend| resource_document(backend, &world.model)));
        changes.extend(world.model.clients.iter().map(|(who, declared)| client_document(*who, declared)));
        for who in Who::ALL {
            let secret = world.stored_secret(who, 0);
            changes.push(secret);
        }
        world.server.change(&changes).await;
        world.consent(Some(Person::Alice), Who::Assistant, Backend::Records, Backend::Records.scopes(), None).await;
        world.consent(None, Who::RecordsBackend, Backend::Models, vec!["read"], None).await;
        world
    }

    fn stored_secret(&mut self, who: Who, number: usize) -> Change {
        while self.secrets.len() <= number {
            let secret = new_client_secret(&self.server.app.secrets_key);
            self.secrets.push((secret.expose_secret().to_owned(), hash_client_secret(&secret)));
        }
        Change::AddSecret(StoredSecret {
            id: random_id("sec"),
            client: who.id().parse().unwrap(),
            hash: self.secrets[number].1.clone(),
            created_at: self.model.now,
            last_used_at: None,
        })
    }

    async fn consent(&mut self, of: Option<Person>, to: Who, at: Backend, scopes: Scopes, lives: Option<i64>) {
        let now = self.model.now;
        let agreement = Agreement {
            id: random_id("cns"),
            of,
            to,
            at,
            scopes,
            granted_at: now,
            expires_at: lives.map(|lives| now + lives),
            revoked_at: None,
        };
        let consent = Consent {
            id: agreement.id.clone(),
            user: of.map_or(ConsentingUser::Everyone, |of| ConsentingUser::One(of.user_id().parse().unwrap())),
            client: to.id().parse().unwrap(),
            resource: at.id().parse().unwrap(),
            scopes: agreement.scopes.join(" ").parse().unwrap(),
            source: if of.is_some() { ConsentSource::User } else { ConsentSource::Admin },
            granted_at: now,
            expires_at: agreement.expires_at,
            revoked_at: None,
            paused_at: None,
            fingerprint: None,
            redirect_uri: None,
        };
        self.server.change(&[Change::GrantConsent(consent)]).await;
        for earlier in &mut self.model.agreements {
            let is_replaced =
                (earlier.of, earlier.to, earlier.at) == (of, to, at) && earlier.expires_at.is_none_or(|end| now < end);
            if is_replaced && earlier.revoked_at.is_none() {
                earlier.revoked_at = Some(now);
            }
        }
        self.model.agreements.push(agreement);
    }

    /// Takes one step in both, and compares.
    async fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Ask(request) => self.request(request).await,
            Step::Do(deed) => {
                self.change(deed.clone()).await;
                Ok(())
            }
        }
    }

    async fn request(&mut self, request: &Request) -> Result<(), String> {
        let (answer, expected) = match request {
            Request::Exchange { by, secret, person, at, scopes, id_token_lives } => {
                let ends_at = self.model.now + id_token_lives;
                let roles = if person.is_doctor() { json!(["doctor"]) } else { json!([]) };
                let changes = json!({"sub": person.sub(), "exp": ends_at, "roles": roles});
                let id_token = self.idp.id_token(self.model.now, changes);
                let decide = || self.model.exchange(*by, *person, *at, scopes, ends_at);
                let expected = self.model.if_believed(*by, *secret, decide);
                let form = exchange_form(&id_token, ID_TOKEN);
                (self.ask(*by, *secret, &form, Some(*at), scopes).await, expected)
            }
            Request::PassOn { by, token, at, scopes } => {
                let Some(place) = self.model.issued.len().checked_sub(1 + token) else { return Ok(()) };
                let issued = &self.model.issued[place];
                let decide = || self.model.pass_on(*by, issued, *at, scopes);
                let expected = self.model.if_believed(*by, Secret::Newest, decide);
                let form = exchange_form(&issued.text, ACCESS_TOKEN);
                (self.ask(*by, Secret::Newest, &form, Some(*at), scopes).await, expected)
            }
            Request::ClientCredentials { by, secret, at, scopes } => {
                let own_life = i64::from(self.server.app.config.tokens.own_token_lifetime_seconds);
                let decide = || self.model.client_credentials(*by, *at, scopes, own_life);
                let expected = self.model.if_believed(*by, *secret, decide);
                let form = [("grant_type", "client_credentials".to_owned())];
                (self.ask(*by, *secret, &form, *at, scopes).await, expected)
            }
        };
        self.compare(answer, expected)
    }

    /// Makes a change in both. What cannot be changed, such as a client that is not there, is left alone.
    async fn change(&mut self, deed: Deed) {
        let change = match deed {
            Deed::SuspendClient(who) => self.suspend(who, true),
            Deed::ResumeClient(who) => self.suspend(who, false),
            Deed::RemoveClient(who) => self.remove(who),
            Deed::DeclareClient { who, records, models, consent_by_admin } => {
                let earlier = self.model.clients.get(&who);
                let ceilings = [(Backend::Records, records), (Backend::Models, models)];
                let declared = Declared {
                    ceilings: ceilings.into_iter().filter_map(|(at, scopes)| Some((at, scopes?))).collect(),
                    consent_by_admin,
                    is_suspended: earlier.is_some_and(|client| client.is_suspended),
                    secrets: earlier.map(|client| client.secrets.clone()).unwrap_or_default(),
                };
                let change = client_document(who, &declared);
                self.model.clients.insert(who, declared);
                Some(change)
            }
            Deed::RotateSecret(who) => self.rotate_secret(who),
            Deed::ReplaceSecrets(who) => {
                if let Some(first) = self.rotate_secret(who) {
                    self.server.change(&[first]).await;
                }
                self.rotate_secret(who)
            }
            Deed::SuspendUser(person) => {
                let is_new = self.model.suspended.insert(person);
                is_new.then(|| Change::SuspendUser(person.user_id().parse().unwrap()))
            }
            Deed::ResumeUser(person) => {
                let was_suspended = self.model.suspended.remove(&person);
                was_suspended.then(|| Change::ResumeUser(person.user_id().parse().unwrap()))
            }
            Deed::Consent { of, to, at, scopes, lives } => {
                if self.model.clients.contains_key(&to) {
                    self.consent(of, to, at, scopes, lives).await;
                }
                None
            }
            Deed::RevokeConsent(nth) => self.model.agreements.iter_mut().rev().nth(nth).map(|agreement| {
                agreement.revoked_at.get_or_insert(self.model.now);
                Change::RevokeConsent(agreement.id.clone())
            }),
            Deed::Edge { from, to, is_there } => {
                let edges = &mut self.model.edges;
                // A backend has no edge to itself.
                if is_there && from != to {
                    edges.insert((from, to))
                } else {
                    edges.remove(&(from, to))
                };
                Some(resource_document(from, &self.model))
            }
            Deed::ClientOfBackend { who, of, is_one } => {
                let clients = &mut self.model.clients_of;
                if is_one {
                    clients.insert((of, who))
                } else {
                    clients.remove(&(of, who))
                };
                Some(resource_document(of, &self.model))
            }
            Deed::PermitMedicalToDoctors(is_there) => {
                let earlier = std::mem::replace(&mut self.model.doctors_may_use_medical, is_there);
                (earlier != is_there).then(|| permit_medical(is_there))
            }
            Deed::ForbidWriting(is_there) => {
                let earlier = std::mem::replace(&mut self.model.writing_is_forbidden, is_there);
                (earlier != is_there).then(|| forbid_writing(is_there))
            }
            Deed::RotateKeys { emergency } => {
                self.rotate_keys(emergency).await;
                None
            }
            Deed::Wait(seconds) => {
                self.model.now += seconds;
                self.server.clock.advance(Duration::from_secs(seconds.unsigned_abs()));
                None
            }
        };
        if let Some(change) = change {
            self.server.change(&[change]).await;
        }
    }

    fn suspend(&mut self, who: Who, is_suspended: bool) -> Option<Change> {
        self.model.clients.get_mut(&who)?.is_suspended = is_suspended;
        let id = who.id().parse().unwrap();
        Some(if is_suspended { Change::SuspendClient(id) } else { Change::ResumeClient(id) })
    }

    fn remove(&mut self, who: Who) -> Option<Change> {
        self.model.clients.remove(&who)?;
        for agreement in self.model.agreements.iter_mut().filter(|agreement| agreement.to == who) {
            agreement.revoked_at.get_or_insert(self.model.now);
        }
        Some(Change::RemoveClient(who.id().parse().unwrap()))
    }

    fn rotate_secret(&mut self, who: Who) -> Option<Change> {
        let secrets = &mut self.model.clients.get_mut(&who)?.secrets;
        let number = secrets.last().map_or(0, |newest| newest + 1);
        secrets.push(number);
        if secrets.len() > 2 {
            secrets.remove(0);
        }
        Some(self.stored_secret(who, number))
    }

    /// An orderly rotation leaves every token good, an emergency none.
    async fn rotate_keys(&mut self, emergency: bool) {
        let app = &self.server.app;
        let records = app.store.list_signing_keys().await.unwrap();
        let rotation =
            rotate(&records, SigningAlgorithm::ES256, 900, emergency, &app.secrets_key, self.model.now).unwrap();
        let (now_ms, id) = (app.clock.now_ms(), random_id("adm"));
        let event = AuditEvent::new(now_ms, id, EventKind::Administration, EventOutcome::Done, "test");
        assert!(app.store.add_signing_key(&rotation.key, &rotation.removals, event).await.unwrap());
        app.refresh().await.unwrap();
        for issued in &mut self.model.issued {
            issued.is_void |= emergency;
        }
    }

    async fn ask(
        &self,
        by: Who,
        secret: Secret,
        form: &[(&'static str, String)],
        at: Option<Backend>,
        scopes: &Scopes,
    ) -> Answer {
        let number = self.model.secret(by, secret);
        // A client that never had this secret shows one that nobody has.
        let stranger = new_client_secret(&self.server.app.secrets_key);
        let secret = number.map_or(stranger.expose_secret(), |number| self.secrets[number].0.as_str());
        let mut form: Vec<(&str, String)> = form.to_vec();
        form.extend(at.map(|at| ("resource", at.audience())));
        if !scopes.is_empty() {
            form.push(("scope", scopes.join(" ")));
        }
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.server.token(&form, Some((by.id(), secret))).await
    }

    fn compare(&mut self, answer: Answer, expected: Expected) -> Result<(), String> {
        let body = answer.json();
        let (error, text) = (body["error"].as_str(), body["access_token"].as_str());
        let told = text.map_or_else(|| format!("{} {}", answer.status, answer.text), |text| claims(text).to_string());
        let result = match (&expected, error, text) {
            (Expected::NotBelieved, Some("invalid_client"), None) => Ok(()),
            (Expected::NotBelieved, _, _) => Err(format!("the client is not to be believed, and got {told}")),
            (Expected::Refused, Some(error), None) if error != "invalid_client" => Ok(()),
            (Expected::Refused, _, _) => Err(format!("to be refused, and got {told}")),
            (Expected::Granted(token), None, Some(text)) => is_as_expected(token, &claims(text)),
            (Expected::Granted(token), _, _) => Err(format!("to be {token:?}, and got {told}")),
        };
        if let (Expected::Granted(token), Some(text)) = (expected, text) {
            self.model.issued.push(Issued { text: text.to_owned(), token, is_void: false });
        }
        self.answers.push((answer, error.is_none()));
        result
    }

    /// What must hold after every sequence: one event an answer, whole chains, and tokens good for just as long as they
    /// should be.
    async fn aftermath(&self) -> Result<(), String> {
        let store = &self.server.app.store;
        for (answer, is_token) in &self.answers {
            let events = store.events_of_request(answer.request_id()).await.unwrap();
            let outcomes: Vec<EventOutcome> = events.iter().map(|event| event.outcome).collect();
            let expected = if *is_token { EventOutcome::Granted } else { EventOutcome::Refused };
            if outcomes != [expected] {
                return Err(format!("{} {} has the events {outcomes:?}", answer.status, answer.text));
            }
        }
        let report = crate::evidence::verify(store).await.unwrap();
        if !report.faults.is_empty() {
            return Err(format!("the audit trail has faults: {:?}", report.faults));
        }
        let jwks = self.server.get("/.well-known/jwks.json").await.text;
        for Issued { text, token, is_void } in &self.model.issued {
            let audience = token.at.map_or_else(|| ISSUER.to_owned(), Backend::audience);
            let verified = OfflineVerifier::new(ISSUER, &audience, &jwks).unwrap().verify(text, self.model.now);
            if verified.is_ok() != (!is_void && self.model.now < token.expires_at) {
                return Err(format!("{token:?} at a backend: {:?}", verified.map(|token| token.claims)));
            }
        }
        Ok(())
    }
}

fn exchange_form(subject_token: &str, subject_token_type: &str) -> [(&'static str, String); 3] {
    [
        ("grant_type", TOKEN_EXCHANGE.to_owned()),
        ("subject_token", subject_token.to_owned()),
        ("subject_token_type", subject_token_type.to_owned()),
    ]
}

fn is_as_expected(token: &Token, claims: &Value) -> Result<(), String> {
    let sub = match token.subject {
        Subject::Person(person) => person.user_id(),
        Subject::Client(who) => who.id().to_owned(),
    };
    let mut act = Value::Null;
    for who in token.actors.iter().rev() {
        let earlier = std::mem::replace(&mut act, json!({"iss": ISSUER, "sub": who.id()}));
        if !earlier.is_null() {
            act["act"] = earlier;
        }
    }
    let granted: BTreeSet<&str> =
        claims["scope"].as_str().unwrap_or_default().split(' ').filter(|scope| !scope.is_empty()).collect();
    let earlier: BTreeSet<&str> =
        claims["earlier_grants"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let expected_earlier: BTreeSet<&str> = token.grants.iter().skip(1).map(String::as_str).collect();
    let is_same = claims["sub"] == sub
        && claims["client_id"] == token.client.id()
        && claims["act"] == act
        && claims["aud"] == token.at.map_or_else(|| ISSUER.to_owned(), Backend::audience)
        && granted == token.scopes
        && claims["exp"] == token.expires_at
        && claims["grant_id"].as_str() == token.grants.first().map(String::as_str)
        && earlier == expected_earlier;
    if is_same { Ok(()) } else { Err(format!("to be {token:?}, and is {claims}")) }
}

async fn run(idp: &TestIssuer, steps: &Steps) -> Result<usize, String> {
    let mut world = World::new(idp).await;
    for (index, step) in steps.0.iter().enumerate() {
        world.take(step).await.map_err(|problem| format!("step {}: {problem}", index + 1))?;
    }
    world.aftermath().await?;
    Ok(world.model.issued.iter().filter(|issued| issued.token.actors.len() > 1).count())
}

#[test]
fn whatever_is_changed_every_answer_is_that_of_the_model() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let idp = runtime.block_on(TestIssuer::start());
    let config = Config { failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { SEQUENCES };
    let mut runner = TestRunner::new(Config { cases, ..config });
    let hops = std::cell::Cell::new(0);
    let steps = proptest::collection::vec(step(), 1..=STEPS).prop_map(Steps);
    let result = runner.run(&steps, |steps| {
        let passed_on = runtime.block_on(run(&idp, &steps)).map_err(TestCaseError::fail)?;
        hops.set(hops.get() + passed_on);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(hops.get() > 0, "some sequences have a second hop that was granted");
}
