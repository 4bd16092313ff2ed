//! One refusal for every reason code, at `/token`, on both databases: the answer on the wire, the one audit event, and
//! its last trace line. The list at the end says which codes cannot be had this way, and where they are tested.

use crate::issuer::tampered;
use crate::server::{ACCESS_TOKEN, Answer, ID_TOKEN, ISSUER, NOW, TOKEN_EXCHANGE, basic_header};
use crate::world::{World, signed, signed_with};
use axum::body::Body;
use axum::http::Request;
use procura::domain::change::Change;
use procura::domain::decision::ReasonCode;
use serde_json::{Value, json};
use std::time::Duration;

const RECORDS: (&str, &str) = ("resource", "https://records.example.com/api");
const MODELS: (&str, &str) = ("audience", "models");
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

async fn form(world: &World, form: &[(&str, &str)], client: &str) -> Answer {
    world.server.token(form, Some((client, world.secret(client)))).await
}

/// The assistant exchanges a subject token of the provider for the records.
async fn subject(world: &World, token: &str) -> Answer {
    world.exchange_as("assistant", token, &[RECORDS]).await
}

/// The assistant exchanges Alice's ID token, changed, for the records.
async fn changed(world: &World, changes: Value) -> Answer {
    world.exchange(changes, &[RECORDS]).await
}

/// The assistant sends an actor token.
async fn actor(world: &World, token: &str, token_type: &str) -> Answer {
    world.exchange(json!({}), &[RECORDS, ("actor_token", token), ("actor_token_type", token_type)]).await
}

/// The client "signer" authenticates by an assertion with these claims changed.
async fn assertion(world: &World, changes: Value) -> Answer {
    let mut claims = json!({
        "iss": "signer", "sub": "signer", "aud": ISSUER, "iat": NOW, "exp": NOW + 60, "jti": "a1",
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let assertion = signed(&world.signer, &claims);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion.as_str()),
    ];
    world.server.token(&form, None).await
}

macro_rules! refusals {
    ($($name:ident: $reason:ident = $scenario:expr;)*) => {
        $(
            mod $name {
                use super::*;

                async fn body(world: World) {
                    let scenario = $scenario;
                    let answer: Answer = scenario(&world).await;
                    world.assert_refused(&answer, ReasonCode::$reason).await;
                }

                #[tokio::test]
                async fn sqlite() {
                    body(World::new(crate::database::Kind::Sqlite).await).await;
                }

                #[tokio::test]
                async fn postgres() {
                    body(World::new(crate::database::Kind::Postgres).await).await;
                }
            }
        )*

        /// The codes that have a refusal above.
        const REFUSED_HERE: &[ReasonCode] = &[$(ReasonCode::$reason),*];
    };
}

refusals! {
    // 0: the request
    a_missing_subject_token: ParameterMissing = async |world: &World| {
        form(world, &[("grant_type", TOKEN_EXCHANGE), ("subject_token_type", ID_TOKEN)], "assistant").await
    };
    a_repeated_parameter: ParameterRepeated = async |world: &World| {
        form(world, &[("grant_type", "client_credentials"), ("scope", "a"), ("scope", "a")], "assistant").await
    };
    a_broken_escape: ParameterInvalid = async |world: &World| {
        world.server.raw_token("grant_type=%zz", Some(("assistant", world.secret("assistant")))).await
    };
    another_content_type: NotAForm = async |world: &World| {
        let request = Request::post("/token")
            .header("content-type", "application/json")
            .header("authorization", basic_header("assistant", world.secret("assistant")));
        world.server.send(request.body(Body::from("{}")).unwrap()).await
    };
    too_many_targets: ParameterTooMany = async |world: &World| {
        world.exchange(json!({}), &[RECORDS; 17]).await
    };
    a_grant_type_that_is_not_offered: GrantTypeUnsupported = async |world: &World| {
        form(world, &[("grant_type", "password")], "assistant").await
    };
    a_requested_type_that_is_not_issued: RequestedTokenTypeUnsupported = async |world: &World| {
        let saml = "urn:ietf:params:oauth:token-type:saml2";
        world.exchange(json!({}), &[RECORDS, ("requested_token_type", saml)]).await
    };
    a_malformed_scope: ScopeMalformed = async |world: &World| {
        world.exchange(json!({}), &[RECORDS, ("scope", "a  b")]).await
    };

    // 1: the client
    no_credentials: ClientCredentialsMissing = async |world: &World| {
        world.server.token(&[("grant_type", "client_credentials"), ("client_id", "assistant")], None).await
    };
    two_ways_of_authentication: ClientAuthenticationTwice = async |world: &World| {
        let secret = world.secret("assistant");
        form(world, &[("grant_type", "client_credentials"), ("client_secret", secret)], "assistant").await
    };
    an_unknown_client: ClientUnknown = async |world: &World| {
        world.server.token(&[("grant_type", "client_credentials")], Some(("asistant", "pcs_x"))).await
    };
    a_suspended_client: ClientSuspended = async |world: &World| {
        world.server.change(&[Change::SuspendClient("assistant".parse().unwrap())]).await;
        changed(world, json!({})).await
    };
    a_method_that_the_client_is_not_registered_for: ClientAuthenticationMethod = async |world: &World| {
        form(world, &[("grant_type", "client_credentials")], "poster").await
    };
    a_client_without_a_secret: ClientHasNoSecret = async |world: &World| {
        world.server.token(&[("grant_type", "client_credentials")], Some(("secretless", "pcs_x"))).await
    };
    a_secret_of_another_client: ClientSecretWrong = async |world: &World| {
        let secret = world.secret("stranger");
        world.server.token(&[("grant_type", "client_credentials")], Some(("assistant", secret))).await
    };
    an_assertion_for_another_server: ClientAssertionInvalid = async |world: &World| {
        assertion(world, json!({"aud": "https://elsewhere.example"})).await
    };
    an_assertion_sent_again: ClientAssertionReplayed = async |world: &World| {
        world.assert_granted(&assertion(world, json!({})).await).await;
        assertion(world, json!({})).await
    };
    keys_of_a_client_that_cannot_be_fetched: ClientKeysUnavailable = async |world: &World| {
        assertion(world, json!({"iss": "far-signer", "sub": "far-signer"})).await
    };

    // 2: the grant
    a_grant_that_the_client_may_not_use: GrantNotAllowed = async |world: &World| {
        world.exchange_as("worker", &world.id_token(json!({})), &[RECORDS]).await
    };
    a_public_client: GrantNotAllowed = async |world: &World| {
        world.server.token(&[("grant_type", "client_credentials"), ("client_id", "public")], None).await
    };

    // 3: the subject token
    a_refresh_token_as_subject: SubjectTokenTypeUnsupported = async |world: &World| {
        let refresh = "urn:ietf:params:oauth:token-type:refresh_token";
        world.exchange_typed("assistant", &world.id_token(json!({})), refresh, &[RECORDS]).await
    };
    an_opaque_subject_token: SubjectTokenOpaque = async |world: &World| {
        subject(world, "2YotnFZFEjr1zCsicMWpAA").await
    };
    a_subject_token_that_is_no_jwt: SubjectTokenMalformed = async |world: &World| {
        subject(world, "eyJhbGciOiJub25lIn0.e30=.AAAA").await
    };
    a_subject_token_of_17_kib: SubjectTokenTooLarge = async |world: &World| {
        changed(world, json!({"filler": "x".repeat(17 * 1024)})).await
    };
    a_header_with_a_key_of_its_own: SubjectTokenHeaderRefused = async |world: &World| {
        subject(world, &signed_with(&world.corp, json!({"jku": "https://evil.example/keys"}), &world.alice(json!({})))).await
    };
    an_issuer_with_a_trailing_slash: SubjectTokenIssuerUnknown = async |world: &World| {
        changed(world, json!({"iss": format!("{}/", world.corp.issuer())})).await
    };
    an_algorithm_that_the_provider_does_not_use: SubjectTokenAlgorithmRefused = async |world: &World| {
        subject(world, &signed_with(&world.corp, json!({"alg": "HS256"}), &world.alice(json!({})))).await
    };
    an_unknown_key: SubjectTokenKeyUnknown = async |world: &World| {
        subject(world, &signed_with(&world.corp, json!({"kid": "../../etc/passwd"}), &world.alice(json!({})))).await
    };
    an_altered_subject_token: SubjectTokenSignatureInvalid = async |world: &World| {
        let altered = tampered(&world.id_token(json!({})), &world.alice(json!({"sub": "bob"})));
        subject(world, &altered).await
    };
    a_provider_that_does_not_answer: IssuerKeysUnavailable = async |world: &World| {
        world.corp.fail(true);
        changed(world, json!({})).await
    };
    an_exp_that_is_text: SubjectTokenClaimsInvalid = async |world: &World| {
        changed(world, json!({"exp": "1800000300"})).await
    };
    an_expired_subject_token: SubjectTokenExpired = async |world: &World| {
        changed(world, json!({"exp": NOW - 61})).await
    };
    a_subject_token_of_tomorrow: SubjectTokenNotYetValid = async |world: &World| {
        changed(world, json!({"nbf": NOW + 61})).await
    };
    an_access_token_declared_as_id_token: SubjectTokenTypeMismatch = async |world: &World| {
        subject(world, &signed_with(&world.corp, json!({"typ": "at+jwt"}), &world.alice(json!({})))).await
    };
    a_revoked_consent_of_the_hop_before: SubjectRevoked = async |world: &World| {
        let first = world.records_token().await;
        let consents = world.server.app.store.consents_of(&"corp|alice".parse().unwrap()).await.unwrap();
        let consent = consents.iter().find(|c| c.client.as_str() == "assistant" && c.resource.as_str() == "records");
        world.server.change(&[Change::RevokeConsent(consent.unwrap().id.clone())]).await;
        world.exchange_typed("records-backend", &first, ACCESS_TOKEN, &[MODELS]).await
    };
    a_suspended_client_of_the_hop_before: SubjectActorStopped = async |world: &World| {
        let first = world.records_token().await;
        world.server.change(&[Change::SuspendClient("assistant".parse().unwrap())]).await;
        world.exchange_typed("records-backend", &first, ACCESS_TOKEN, &[MODELS]).await
    };
    a_suspended_user: UserSuspended = async |world: &World| {
        world.server.change(&[Change::SuspendUser("corp|alice".parse().unwrap())]).await;
        changed(world, json!({})).await
    };
    a_sub_with_a_control_character: UserUnknown = async |world: &World| {
        changed(world, json!({"sub": "al\nice"})).await
    };

    // 4: whose subject token it is
    a_type_without_a_rule: SubjectTokenTypeNotAccepted = async |world: &World| {
        let jwt = "urn:ietf:params:oauth:token-type:jwt";
        world.exchange_typed("assistant", &world.id_token(json!({})), jwt, &[RECORDS]).await
    };
    an_id_token_of_another_application: SubjectTokenAudienceForeign = async |world: &World| {
        changed(world, json!({"aud": "another-app"})).await
    };
    an_id_token_presented_by_a_client_it_is_not_for: SubjectTokenAudienceForeign = async |world: &World| {
        world.exchange_as("stranger", &world.id_token(json!({})), &[RECORDS]).await
    };
    an_id_token_that_is_also_for_another_application: SubjectTokenAudienceForeign = async |world: &World| {
        changed(world, json!({"aud": ["llm-app", "another-app"]})).await
    };
    an_azp_of_another_application: SubjectTokenAzpForeign = async |world: &World| {
        changed(world, json!({"azp": "another-app"})).await
    };
    a_token_of_another_tenant: SubjectTokenClaimForeign = async |world: &World| {
        let claims = world.alice(json!({"iss": world.tenants.issuer(), "tid": "theirs", "jti": "t1"}));
        subject(world, &signed(&world.tenants, &claims)).await
    };
    a_subject_token_older_than_the_rule_allows: SubjectTokenTooOld = async |world: &World| {
        changed(world, json!({"iat": NOW - 3601})).await
    };
    a_single_use_token_sent_again: SubjectTokenReplayed = async |world: &World| {
        world.server.consent("tenants|alice", "assistant", "records", "records.read").await;
        let claims = world.alice(json!({"iss": world.tenants.issuer(), "tid": "ours", "jti": "t1"}));
        let token = signed(&world.tenants, &claims);
        world.assert_granted(&subject(world, &token).await).await;
        subject(world, &token).await
    };
    a_delegation_token_of_another_audience: SubjectTokenNotAddressed = async |world: &World| {
        let first = world.records_token().await;
        world.exchange_typed("models-backend", &first, ACCESS_TOKEN, &[("audience", "billing")]).await
    };
    a_workload_that_the_client_may_not_act_for: WorkloadNotPermitted = async |world: &World| {
        let workload = world.own_token("worker", &[]).await;
        world.exchange_typed("planner", &workload, ACCESS_TOKEN, &[RECORDS]).await
    };

    // 5: the actor
    an_id_token_as_actor: ActorTokenTypeUnsupported = async |world: &World| {
        actor(world, &world.bobs_id_token(), ID_TOKEN).await
    };
    a_provider_token_as_actor: ActorTokenInvalid = async |world: &World| {
        actor(world, &world.bobs_id_token(), ACCESS_TOKEN).await
    };
    the_subject_token_as_actor: ActorTokenIsSubjectToken = async |world: &World| {
        let token = world.id_token(json!({}));
        let more = [RECORDS, ("actor_token", token.as_str()), ("actor_token_type", ACCESS_TOKEN)];
        world.exchange_as("assistant", &token, &more).await
    };
    a_delegation_token_as_actor: ActorTokenDelegated = async |world: &World| {
        let first = world.records_token().await;
        actor(world, &first, ACCESS_TOKEN).await
    };
    a_suspended_actor: ActorStopped = async |world: &World| {
        let token = world.own_token("planner", &[]).await;
        world.server.change(&[Change::SuspendClient("planner".parse().unwrap())]).await;
        actor(world, &token, ACCESS_TOKEN).await
    };
    an_actor_token_of_another_client: ActorNotPermitted = async |world: &World| {
        let token = world.own_token("stranger", &[]).await;
        actor(world, &token, ACCESS_TOKEN).await
    };
    a_may_act_of_another_actor: MayActMismatch = async |world: &World| {
        changed(world, json!({"may_act": {"sub": "planner"}})).await
    };

    // 6: the chain
    a_fifth_actor: ChainTooDeep = async |world: &World| {
        let act = json!({"sub": "a", "act": {"sub": "b", "act": {"sub": "c", "act": {"sub": "d"}}}});
        changed(world, json!({"act": act})).await
    };
    an_actor_that_acted_before: ChainCycle = async |world: &World| {
        let act = json!({"sub": "between", "act": {"iss": ISSUER, "sub": "assistant"}});
        changed(world, json!({"act": act})).await
    };

    // 7: the target
    no_target_among_several: TargetMissing = async |world: &World| {
        world.exchange(json!({}), &[]).await
    };
    two_backends: TargetSeveral = async |world: &World| {
        world.exchange(json!({}), &[RECORDS, MODELS]).await
    };
    a_resource_with_a_fragment: TargetMalformed = async |world: &World| {
        world.exchange(json!({}), &[("resource", "https://records.example.com/api#x")]).await
    };
    an_unknown_backend: TargetUnknown = async |world: &World| {
        world.exchange(json!({}), &[("resource", "https://records.example.com/api/")]).await
    };
    a_backend_beyond_the_client: TargetNotAllowed = async |world: &World| {
        world.exchange(json!({}), &[("audience", "billing")]).await
    };
    a_backend_that_no_edge_leads_to: TargetNotReachable = async |world: &World| {
        let first = world.exchange(json!({}), &[MODELS, ("scope", "model.general")]).await.token();
        world.exchange_typed("assistant", &first, ACCESS_TOKEN, &[RECORDS]).await
    };

    // 8: scopes
    an_unknown_scope: ScopeUnknown = async |world: &World| {
        world.exchange(json!({}), &[RECORDS, ("scope", "records.nonsense")]).await
    };
    a_scope_beyond_the_client: ScopeBeyondClient = async |world: &World| {
        let secret = world.secret("poster");
        let token = world.id_token(json!({}));
        let form = [
            ("grant_type", TOKEN_EXCHANGE), ("subject_token", token.as_str()), ("subject_token_type", ID_TOKEN),
            RECORDS, ("scope", "records.write"), ("client_id", "poster"), ("client_secret", secret),
        ];
        world.server.token(&form, None).await
    };
    a_scope_that_the_subject_token_does_not_have: ScopeBeyondSubject = async |world: &World| {
        let first = world.exchange(json!({}), &[RECORDS, ("scope", "records.read")]).await.token();
        world.exchange_typed("assistant", &first, ACCESS_TOKEN, &[RECORDS, ("scope", "records.write")]).await
    };

    // 9: consent
    no_consent: ConsentMissing = async |world: &World| {
        world.exchange_as("assistant", &world.bobs_id_token(), &[RECORDS]).await
    };
    an_ended_consent: ConsentExpired = async |world: &World| {
        world.server.consent_until("corp|bob", "assistant", "records", "records.read", Some(NOW + 10)).await;
        world.server.clock.advance(Duration::from_secs(11));
        world.exchange_as("assistant", &world.bobs_id_token(), &[RECORDS]).await
    };
    a_consent_taken_back: ConsentRevoked = async |world: &World| {
        let id = world.server.consent("corp|bob", "assistant", "records", "records.read").await;
        world.assert_granted(&world.exchange_as("assistant", &world.bobs_id_token(), &[RECORDS]).await).await;
        world.server.change(&[Change::RevokeConsent(id)]).await;
        world.exchange_as("assistant", &world.bobs_id_token(), &[RECORDS]).await
    };
    a_consent_that_pauses: ConsentPaused = async |world: &World| {
        let id = world.server.consent("corp|bob", "assistant", "records", "records.read").await;
        world.assert_granted(&world.exchange_as("assistant", &world.bobs_id_token(), &[RECORDS]).await).await;
        world.server.change(&[Change::PauseConsent(id)]).await;
        let answer = world.exchange_as("assistant", &world.bobs_id_token(), &[RECORDS]).await;
        assert_eq!(answer.json()["consent_uri"], Value::Null, "there is nothing to agree to");
        answer
    };

    // 10: policy
    a_role_that_the_user_lacks: PolicyNotPermitted = async |world: &World| {
        world.exchange(json!({"roles": ["patient"]}), &[RECORDS, ("scope", "records.delete")]).await
    };
    a_policy_that_forbids: PolicyForbidden = async |world: &World| {
        world.exchange(json!({}), &[MODELS, ("scope", "model.banned")]).await
    };
}

mod limits {
    use super::*;
    use crate::database::Kind;

    async fn over(variable: &str, reason: ReasonCode) {
        let world = World::configured(Kind::Sqlite, &[(variable, "2")]).await;
        for _ in 0..2 {
            world.assert_granted(&changed(&world, json!({})).await).await;
        }
        let answer = changed(&world, json!({})).await;
        world.assert_refused(&answer, reason).await;
        assert_eq!(answer.status, 429);
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    }

    #[tokio::test]
    async fn too_many_exchanges_for_a_user() {
        over("PROCURA_LIMITS__USER_EXCHANGES_PER_MINUTE", ReasonCode::UserLimit).await;
    }

    #[tokio::test]
    async fn too_many_exchanges_by_a_client_for_a_user() {
        over("PROCURA_LIMITS__GRANT_EXCHANGES_PER_MINUTE", ReasonCode::GrantLimit).await;
    }

    #[tokio::test]
    async fn a_refused_client_does_not_use_up_the_users_budget() {
        let world = World::configured(Kind::Sqlite, &[("PROCURA_LIMITS__USER_EXCHANGES_PER_MINUTE", "2")]).await;
        for _ in 0..5 {
            let refused = world.exchange_as("stranger", &world.id_token(json!({})), &[RECORDS]).await;
            world.assert_refused(&refused, ReasonCode::SubjectTokenAudienceForeign).await;
        }
        world.assert_granted(&changed(&world, json!({})).await).await;
    }
}

/// Codes that no request through the router of these tests can bring about.
const TESTED_ELSEWHERE: &[(ReasonCode, &str)] = &[
    (ReasonCode::UserLimit, "limits, below the list of refusals"),
    (ReasonCode::GrantLimit, "limits, below the list of refusals"),
    (ReasonCode::ClientDocumentInvalid, "client_documents, attacks::registration: at /authorize, not at /token"),
    (ReasonCode::ClientDocumentUnavailable, "client_documents, attacks::registration: at /authorize, not at /token"),
    (ReasonCode::ClientNotLetIn, "client_documents: at /authorize, not at /token"),
    (ReasonCode::RegistrationsTooMany, "client_documents: at /authorize, not at /token"),
    (ReasonCode::ClientCheckBusy, "app::secret_check"),
    (ReasonCode::ResponseTypeUnsupported, "front_door"),
    (ReasonCode::RedirectUriInvalid, "front_door"),
    (ReasonCode::PkceMissing, "front_door"),
    (ReasonCode::RequestUriInvalid, "front_door"),
    (ReasonCode::CodeInvalid, "front_door"),
    (ReasonCode::CodeExpired, "front_door"),
    (ReasonCode::CodeReplayed, "front_door"),
    (ReasonCode::RefreshTokenInvalid, "front_door"),
    (ReasonCode::RefreshTokenExpired, "front_door"),
    (ReasonCode::RefreshTokenReused, "front_door"),
    (ReasonCode::SubjectSessionEnded, "front_door"),
    (ReasonCode::UseTokenUnknown, "token_use: at /audit/use, not at /token"),
    (ReasonCode::UsesTooMany, "token_use: at /audit/use, not at /token"),
    (ReasonCode::UseTokenFull, "token_use: at /audit/use, not at /token"),
    (ReasonCode::UseReportUnreadable, "token_use: at /audit/use, not at /token"),
    (ReasonCode::UseReportInvalid, "token_use: at /audit/use, not at /token"),
    (ReasonCode::ConsentDenied, "front_door"),
    (ReasonCode::SignInRequired, "front_door"),
    (ReasonCode::PageRequired, "front_door"),
    (ReasonCode::SignInInsufficient, "front_door"),
    (ReasonCode::SignInTooWeak, "domain::decision: what a backend wants of a sign-in"),
    (ReasonCode::SignInTooOld, "domain::decision: what a backend wants of a sign-in"),
    (ReasonCode::LifetimeExhausted, "domain::decision: verification refuses what ended, in whole seconds, before"),
    (ReasonCode::ClientIsPublic, "domain::decision: a registry file cannot give a public client such a grant"),
];

#[test]
fn every_reason_code_has_a_refusal() {
    for reason in ReasonCode::ALL {
        let here = REFUSED_HERE.contains(reason);
        let elsewhere = TESTED_ELSEWHERE.iter().any(|(code, _)| code == reason);
        assert!(here || elsewhere, "add a refusal for {}", reason.as_str());
    }
}
