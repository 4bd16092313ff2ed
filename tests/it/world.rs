//! The parties that the tests of `/token` are about: a provider, clients, backends, policies, consents.

use crate::database::Kind;
use crate::issuer::{TestIssuer, sign_with_header, with};
use crate::server::{Answer, ID_TOKEN, NOW, TOKEN_EXCHANGE, TestServer, claims};
use procura::clock::Clock;
use procura::domain::decision::ReasonCode;
use serde_json::{Value, json};
use std::collections::HashMap;

/// A server with everything registered.
pub(crate) struct World {
    pub(crate) server: TestServer,
    /// The identity provider "corp".
    pub(crate) corp: TestIssuer,
    /// The identity provider "tenants": `tid` is required, and a token counts once.
    pub(crate) tenants: TestIssuer,
    /// Holds the key of the client "signer".
    pub(crate) signer: TestIssuer,
    secrets: HashMap<&'static str, String>,
}

const SECRET_CLIENTS: [&str; 9] =
    ["assistant", "stranger", "poster", "planner", "records-backend", "models-backend", "worker", "bare", "deep"];

fn registry(corp: &str, tenants: &str, signer: &str) -> String {
    let provided = [("{corp}", corp), ("{tenants}", tenants), ("{signer}", signer)];
    provided.into_iter().fold(include_str!("world.toml").to_owned(), |text, (place, value)| text.replace(place, value))
}

impl World {
    pub(crate) async fn new(kind: Kind) -> Self {
        Self::configured(kind, &[]).await
    }

    pub(crate) async fn configured(kind: Kind, variables: &[(&str, &str)]) -> Self {
        Self::at(Clock::set_to(NOW), kind, variables).await
    }

    /// In which real servers can live as well.
    pub(crate) async fn at(clock: Clock, kind: Kind, variables: &[(&str, &str)]) -> Self {
        let (server, corp, tenants, signer) = tokio::join!(
            TestServer::at(clock, kind, variables),
            TestIssuer::start(),
            TestIssuer::start(),
            TestIssuer::start()
        );
        server.apply(&registry(corp.issuer(), tenants.issuer(), &inline_jwks(&signer))).await;
        let mut secrets = HashMap::new();
        for client in SECRET_CLIENTS.into_iter().filter(|id| *id != "secretless") {
            secrets.insert(client, server.new_secret(client).await);
        }
        let world = Self { server, corp, tenants, signer, secrets };
        world.server.consent("corp|alice", "assistant", "records", "records.read records.write records.delete").await;
        world.server.consent("corp|alice", "assistant", "models", "model.general model.medical model.banned").await;
        world.server.consent("corp|bob", "assistant", "models", "model.general model.medical").await;
        world
    }

    /// The client's secret.
    pub(crate) fn secret(&self, client: &str) -> &str {
        &self.secrets[client]
    }

    /// What an ID token of the provider says of Alice, a doctor, with changes; a null removes a claim.
    pub(crate) fn alice(&self, changes: Value) -> Value {
        let claims = json!({
            "iss": self.corp.issuer(), "sub": "alice", "aud": "llm-app", "iat": NOW - 10, "exp": NOW + 3590,
            "roles": ["doctor"], "nonce": "n", "auth_time": NOW - 60, "acr": "mfa", "amr": ["pwd", "otp"],
        });
        with(claims, changes)
    }

    /// An ID token of Alice.
    pub(crate) fn id_token(&self, changes: Value) -> String {
        signed(&self.corp, &self.alice(changes))
    }

    /// An ID token of Bob, a patient.
    pub(crate) fn bobs_id_token(&self) -> String {
        self.id_token(json!({"sub": "bob", "roles": ["patient"]}))
    }

    /// Exchanges a subject token, by a client with `client_secret_basic`.
    pub(crate) async fn exchange_as(&self, client: &str, subject_token: &str, more: &[(&str, &str)]) -> Answer {
        self.exchange_typed(client, subject_token, ID_TOKEN, more).await
    }

    /// Exchanges a subject token of a declared type.
    pub(crate) async fn exchange_typed(
        &self,
        client: &str,
        subject_token: &str,
        subject_token_type: &str,
        more: &[(&str, &str)],
    ) -> Answer {
        let mut form = vec![
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", subject_token),
            ("subject_token_type", subject_token_type),
        ];
        form.extend_from_slice(more);
        self.server.token(&form, Some((client, self.secret(client)))).await
    }

    /// The assistant exchanges Alice's ID token for a backend.
    pub(crate) async fn exchange(&self, changes: Value, more: &[(&str, &str)]) -> Answer {
        self.exchange_as("assistant", &self.id_token(changes), more).await
    }

    /// A delegation token of Alice for the records, held by the assistant.
    pub(crate) async fn records_token(&self) -> String {
        self.exchange(json!({}), &[("resource", "https://records.example.com/api")]).await.token()
    }

    /// A client's own token.
    pub(crate) async fn own_token(&self, client: &str, more: &[(&str, &str)]) -> String {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend_from_slice(more);
        self.server.token(&form, Some((client, self.secret(client)))).await.token()
    }

    /// Asserts that an answer is the refusal of this reason, on the wire and in the audit trail, with no token in it.
    pub(crate) async fn assert_refused(&self, answer: &Answer, reason: ReasonCode) {
        let event = self.server.event(answer).await;
        assert_eq!(event.reason, reason.as_str(), "{}: {:?}", answer.text, event.detail);
        let body = answer.json();
        assert_eq!(body["error"], reason.error().as_str());
        assert_eq!(body["error_description"], reason.public_description());
        assert_eq!(body["access_token"], Value::Null);
        let last = event.trace.last().expect("a refusal leaves a trace");
        assert_eq!((last.reason, last.gate), (Some(reason), reason.gate()));
        assert_eq!(event.jti, None);
        assert_eq!(answer.header("cache-control"), "no-store");
    }

    /// Asserts that an answer is a token, and that its event says so; gives its claims.
    pub(crate) async fn assert_granted(&self, answer: &Answer) -> Value {
        let token = claims(&answer.token());
        let event = self.server.event(answer).await;
        assert_eq!(event.reason, "granted");
        assert_eq!(token["jti"], json!(event.jti));
        assert_eq!(token["scope"], answer.json()["scope"]);
        assert_eq!(answer.json()["expires_in"], json!(token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap()));
        token
    }
}

/// The key as the `jwks` of a client in a registry file.
fn inline_jwks(issuer: &TestIssuer) -> String {
    let jwk = json!(issuer.key().public_jwk());
    let members: Vec<String> =
        jwk.as_object().unwrap().iter().map(|(name, value)| format!("{name} = {value}")).collect();
    format!("{{ keys = [{{ {} }}] }}", members.join(", "))
}

/// Signed by the provider, as it would.
pub(crate) fn signed(idp: &TestIssuer, claims: &Value) -> String {
    signed_with(idp, json!({}), claims)
}

/// Signed by the provider, with a changed header.
pub(crate) fn signed_with(idp: &TestIssuer, header: Value, claims: &Value) -> String {
    let key = idp.key();
    let own = json!({"alg": key.algorithm().as_str(), "kid": key.kid(), "typ": "JWT"});
    sign_with_header(&key, &with(own, header), claims)
}

/// Runs the body of each test in a world on both databases.
macro_rules! world_test {
    ($($(#[$doc:meta])* async fn $name:ident($world:ident: World) $body:block)*) => {
        $(
            mod $name {
                #[allow(unused_imports, clippy::allow_attributes, reason = "not every body uses something from around it")]
                use super::*;

                $(#[$doc])*
                async fn body($world: $crate::world::World) $body

                #[tokio::test]
                async fn sqlite() {
                    body($crate::world::World::new($crate::database::Kind::Sqlite).await).await;
                }

                #[tokio::test]
                async fn postgres() {
                    body($crate::world::World::new($crate::database::Kind::Postgres).await).await;
                }
            }
        )*
    };
}
