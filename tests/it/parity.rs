//! `check` and `/token` give the same answer: 1,000 generated cases, each asked of both.

use crate::database::Kind;
use crate::issuer::TestIssuer;
use crate::server::{ID_TOKEN, NOW, TOKEN_EXCHANGE, TestServer};
use crate::world::signed;
use procura::domain::change::Change;
use procura::domain::target::RequestedTargets;
use procura::grants::dry_run::{self, Ask};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A generator of the same numbers every time (a linear congruential one, Knuth's constants).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn some<'a, T>(&mut self, from: &'a [T], percent: usize) -> Vec<&'a T> {
        from.iter().filter(|_| self.chance(percent)).collect()
    }
}

const USERS: [(&str, &[&str]); 3] = [("alice", &["doctor"]), ("bob", &["patient"]), ("carol", &[])];
const CLIENTS: [&str; 3] = ["one", "two", "three"];
const RESOURCES: [&str; 3] = ["records", "models", "billing"];
const SCOPES: [&str; 4] = ["read", "write", "delete", "admin"];
const WORLDS: u64 = 10;
const CASES: usize = 100;

fn quoted(words: &[&&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// A registry with random scopes, roles, ceilings, rules and policies.
fn registry(numbers: &mut Numbers, issuer: &str) -> String {
    let mut file = String::new();
    let clients = numbers.some(&CLIENTS, 90);
    let max_age = if numbers.chance(50) { "max_age_seconds = 60" } else { "" };
    writeln!(
        file,
        "[[identity_provider]]\nid = \"corp\"\nissuer = \"{issuer}\"\nname = \"Corp\"\nalgorithms = [\"ES256\"]\n\
         allow_private_addresses = true\nclaims = {{ roles = \"/roles\" }}\n\
         [[identity_provider.subject_token]]\ntype = \"id_token\"\naudiences = [\"app\"]\nclients = [{}]\n{max_age}",
        quoted(&clients)
    )
    .unwrap();
    let mut known: BTreeMap<&str, Vec<&&str>> = BTreeMap::new();
    for resource in RESOURCES {
        let lifetime = 60 + numbers.below(600);
        writeln!(
            file,
            "[[resource]]\nid = \"{resource}\"\naudience = \"https://{resource}.example.com\"\nname = \"{resource}\"\n\
             token_lifetime_seconds = {lifetime}"
        )
        .unwrap();
        for scope in numbers.some(&SCOPES, 75) {
            known.entry(resource).or_default().push(scope);
            let rule = match numbers.below(4) {
                0 => "roles = [\"doctor\"]",
                1 => "policy = \"explicit\"",
                _ => "",
            };
            writeln!(
                file,
                "[[resource.scope]]\nname = \"{scope}\"\ndescription = \"{scope}\"\naccess = \"read\"\n{rule}"
            )
            .unwrap();
        }
    }
    for client in CLIENTS {
        let grants =
            if numbers.chance(85) { "\"token_exchange\", \"client_credentials\"" } else { "\"client_credentials\"" };
        let consent = if numbers.chance(30) { "admin" } else { "user" };
        writeln!(
            file,
            "[[client]]\nid = \"{client}\"\nname = \"{client}\"\nauthentication = \"client_secret_basic\"\n\
             grants = [{grants}]\nconsent = \"{consent}\"\n[client.resources]"
        )
        .unwrap();
        for (resource, scopes) in &known {
            if numbers.chance(75) {
                let ceiling: Vec<&&str> = scopes.iter().copied().filter(|_| numbers.chance(75)).collect();
                writeln!(file, "{resource} = [{}]", quoted(&ceiling)).unwrap();
            }
        }
    }
    for (index, (resource, scopes)) in known.iter().enumerate() {
        let scope = numbers.pick(scopes);
        let effect = if numbers.chance(70) { "permit" } else { "forbid" };
        let role = numbers.pick(&["doctor", "patient"]);
        writeln!(
            file,
            "[[policy]]\nid = \"p{index}\"\ncedar = '''{effect}(principal, action == Action::\"use\", resource == \
             Scope::\"{resource}#{scope}\") when {{ principal has roles && principal.roles.contains(\"{role}\") }};'''"
        )
        .unwrap();
    }
    file
}

async fn some_consents(server: &TestServer, numbers: &mut Numbers) {
    for (user, _) in USERS {
        for client in CLIENTS {
            for resource in RESOURCES {
                let scopes = numbers.some(&SCOPES, 60);
                if scopes.is_empty() || numbers.chance(30) {
                    continue;
                }
                let scopes = scopes.iter().map(|scope| **scope).collect::<Vec<_>>().join(" ");
                let ends = [None, Some(NOW + 30), Some(NOW - 1)];
                let end = *numbers.pick(&ends);
                let id = server.consent_until(&format!("corp|{user}"), client, resource, &scopes, end).await;
                if numbers.chance(15) {
                    server.change(&[Change::RevokeConsent(id)]).await;
                }
            }
        }
    }
    if numbers.chance(15) {
        server.change(&[Change::SuspendUser("corp|carol".parse().unwrap())]).await;
    }
    if numbers.chance(15) {
        server.change(&[Change::SuspendClient("three".parse().unwrap())]).await;
    }
}

struct Case {
    user: (&'static str, &'static [&'static str]),
    client: &'static str,
    resource: Option<&'static str>,
    scopes: Vec<&'static str>,
}

fn case(numbers: &mut Numbers) -> Case {
    Case {
        user: *numbers.pick(&USERS),
        client: numbers.pick::<&str>(&CLIENTS),
        resource: match numbers.below(20) {
            0 => Some("nothing"),
            1 => None,
            _ => Some(*numbers.pick::<&str>(&RESOURCES)),
        },
        scopes: if numbers.chance(30) { Vec::new() } else { numbers.some(&SCOPES, 50).into_iter().copied().collect() },
    }
}

/// What each of the two says: the reason, what is granted, for how long.
async fn both(server: &TestServer, issuer: &TestIssuer, secret: &str, case: &Case) -> [Value; 2] {
    let (user, roles) = case.user;
    let scope = case.scopes.join(" ");
    let token = signed(
        issuer,
        &json!({"iss": issuer.issuer(), "sub": user, "aud": "app", "iat": NOW, "exp": NOW + 3600, "roles": roles}),
    );
    let mut form = vec![("grant_type", TOKEN_EXCHANGE), ("subject_token", &token), ("subject_token_type", ID_TOKEN)];
    form.extend(case.resource.map(|resource| ("audience", resource)));
    form.push(("scope", &scope));
    let answer = server.token(&form, Some((case.client, secret))).await;
    let event = server.event(&answer).await;
    let wire = answer.json();

    let ask = Ask {
        user: format!("corp|{user}").parse().unwrap(),
        client: case.client.to_owned(),
        targets: RequestedTargets {
            audiences: case.resource.map(str::to_owned).into_iter().collect(),
            resources: vec![],
        },
        scopes: (!scope.is_empty()).then(|| scope.parse().unwrap()),
        roles: Some(roles.iter().map(|role| (*role).to_owned()).collect()),
    };
    let dry = dry_run::check(&server.app.store, &server.app.config, &ask, NOW).await.unwrap().decision;
    let dry_trace: Vec<_> = dry.trace.lines().iter().map(|line| (line.gate, line.result, line.reason)).collect();
    let real_trace: Vec<_> = event.trace.iter().map(|line| (line.gate, line.result, line.reason)).collect();
    assert_eq!(dry_trace, real_trace);
    let dry = match dry.outcome {
        Ok(granted) => json!(["granted", granted.scopes.to_string(), granted.expires_at - granted.issued_at]),
        Err(refusal) => json!([refusal.reason.as_str(), null, null]),
    };
    let lifetime = if answer.status == 200 { &wire["expires_in"] } else { &Value::Null };
    [json!([event.reason, wire["scope"], lifetime]), dry]
}

#[tokio::test]
async fn check_and_token_agree_on_a_thousand_generated_cases() {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for world in 0..WORLDS {
        let mut numbers = Numbers(world + 1);
        let issuer = TestIssuer::start().await;
        let no_limits =
            [("PROCURA_LIMITS__USER_EXCHANGES_PER_MINUTE", "0"), ("PROCURA_LIMITS__GRANT_EXCHANGES_PER_MINUTE", "0")];
        let server = TestServer::configured(if world == 0 { Kind::Postgres } else { Kind::Sqlite }, &no_limits).await;
        server.apply(&registry(&mut numbers, issuer.issuer())).await;
        let mut secrets = BTreeMap::new();
        for client in CLIENTS {
            secrets.insert(client, server.new_secret(client).await);
        }
        some_consents(&server, &mut numbers).await;
        for _ in 0..CASES {
            let case = case(&mut numbers);
            let [wire, dry] = both(&server, &issuer, &secrets[case.client], &case).await;
            assert_eq!(wire, dry, "{:?} {} {:?} {:?}", case.user, case.client, case.resource, case.scopes);
            *reasons.entry(wire[0].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert_eq!(reasons.values().sum::<usize>(), 1000);
    // The cases are worth something only if they end in many ways.
    assert!(reasons.len() >= 10 && reasons["granted"] >= 100, "{reasons:?}");
}
