//! What the token exchange grants (RFC 8693), through the real router. Refusals are in `refusals.rs`.

use crate::server::{ACCESS_TOKEN, ID_TOKEN, ISSUER, NOW, TOKEN_EXCHANGE, claims};
use crate::world::signed_with;
use procura::domain::decision::{GateResult, ReasonCode};
use procura::domain::event::EventOutcome;
use serde_json::json;

const RECORDS: (&str, &str) = ("resource", "https://records.example.com/api");

world_test! {
    async fn an_id_token_becomes_a_delegation_token(world: World) {
        let answer = world.exchange(json!({}), &[RECORDS, ("scope", "records.read")]).await;
        let token = world.assert_granted(&answer).await;
        let body = answer.json();
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["issued_token_type"], ACCESS_TOKEN);
        assert_eq!(body["expires_in"], 300);
        assert_eq!(body["scope"], "records.read");
        assert_eq!(body["refresh_token"], json!(null));
        assert_eq!(answer.header("pragma"), "no-cache");
        assert_eq!(token["iss"], ISSUER);
        assert_eq!(token["sub"], "corp|alice");
        assert_eq!(token["aud"], "https://records.example.com/api");
        assert_eq!(token["client_id"], "assistant");
        assert_eq!(token["act"], json!({"iss": ISSUER, "sub": "assistant"}));
        assert_eq!(token["scope"], "records.read");
        assert_eq!((&token["iat"], &token["exp"]), (&json!(NOW), &json!(NOW + 300)));
        assert_eq!((&token["auth_time"], &token["acr"]), (&json!(NOW - 60), &json!("mfa")));
        assert_eq!(token["amr"], json!(["pwd", "otp"]));
        assert_eq!(token["roles"], json!(["doctor"]));
        assert_eq!(token["client_assurance"], "vetted");
        assert_eq!(token["nonce"], json!(null), "nothing else of the provider's token goes in");
    }

    async fn the_event_of_a_grant_answers_who_for_whom_where_and_why(world: World) {
        let answer = world.exchange(json!({"jti": "there-1"}), &[RECORDS]).await;
        let token = world.assert_granted(&answer).await;
        let event = world.server.event(&answer).await;
        assert_eq!(event.outcome, EventOutcome::Granted);
        let subject = event.subject.unwrap();
        assert_eq!(subject.sub, "corp|alice");
        assert_eq!((subject.idp.unwrap().as_str(), subject.idp_sub.unwrap().as_str()), ("corp", "alice"));
        assert_eq!(event.client.unwrap().as_str(), "assistant");
        assert_eq!(event.client_authentication.unwrap(), "client_secret_basic");
        assert_eq!(event.actors, ["assistant"]);
        assert_eq!(event.resource.unwrap().as_str(), "records");
        assert_eq!(event.audience.unwrap(), "https://records.example.com/api");
        assert_eq!(json!(event.grant_id), token["grant_id"]);
        assert_eq!(json!(event.txn), token["txn"]);
        assert_eq!(json!(event.policy_hash), token["policy"]);
        assert_eq!(event.subject_issuer.unwrap(), world.corp.issuer());
        assert_eq!(event.subject_jti.unwrap(), "there-1");
        assert_eq!(event.source.unwrap(), "192.0.2.1");
        assert_eq!(event.trace.len(), 12, "one line a gate");
    }

    async fn scopes_that_a_ceiling_cuts_are_reported_and_the_rest_is_granted(world: World) {
        let answer = world.exchange(json!({"roles": []}), &[RECORDS, ("scope", "records.read records.delete nonsense")]).await;
        let token = world.assert_granted(&answer).await;
        assert_eq!(token["scope"], "records.read");
        let event = world.server.event(&answer).await;
        let cut: Vec<_> = event.cut.iter().map(|cut| (cut.scope.as_str(), cut.reason.as_str())).collect();
        assert_eq!(cut, [("nonsense", "scope_unknown"), ("records.delete", "policy_not_permitted")]);
        assert!(event.trace.iter().any(|line| line.result == GateResult::Narrowed));
    }

    async fn a_doctor_may_use_the_medical_model_and_a_patient_may_not(world: World) {
        let ask = [("audience", "models"), ("scope", "model.medical")];
        let doctor = world.exchange(json!({}), &ask).await;
        assert_eq!(world.assert_granted(&doctor).await["scope"], "model.medical");
        let patient = world.exchange_as("assistant", &world.bobs_id_token(), &ask).await;
        world.assert_refused(&patient, ReasonCode::PolicyNotPermitted).await;
        assert_eq!(patient.json()["error"], "access_denied");
    }

    async fn a_second_hop_nests_the_actors_and_keeps_the_transaction(world: World) {
        let first = world.records_token().await;
        let answer = world.exchange_typed("records-backend", &first, ACCESS_TOKEN, &[("audience", "models")]).await;
        let second = world.assert_granted(&answer).await;
        let first = claims(&first);
        assert_eq!(second["sub"], "corp|alice");
        assert_eq!(second["aud"], "https://models.example.com");
        assert_eq!(second["client_id"], "records-backend");
        assert_eq!(second["act"], json!({"iss": ISSUER, "sub": "records-backend", "act": first["act"]}));
        assert_eq!(second["txn"], first["txn"]);
        assert_ne!(second["jti"], first["jti"]);
        assert!(second["exp"].as_i64() <= first["exp"].as_i64());
        assert_eq!(second["auth_time"], first["auth_time"]);
        let event = world.server.event(&answer).await;
        assert_eq!(event.actors, ["records-backend", "assistant"]);
        assert_eq!(json!(event.subject_jti), first["jti"]);
    }

    async fn a_third_hop_keeps_every_earlier_actor(world: World) {
        let first = world.records_token().await;
        let second = world.exchange_typed("records-backend", &first, ACCESS_TOKEN, &[("audience", "models")]).await.token();
        let answer = world.exchange_typed("models-backend", &second, ACCESS_TOKEN, &[("audience", "billing")]).await;
        let third = world.assert_granted(&answer).await;
        assert_eq!(third["act"]["act"], claims(&second)["act"]);
        assert_eq!(third["act"]["act"]["act"], claims(&first)["act"]);
    }

    async fn the_output_never_outlives_the_input(world: World) {
        let answer = world.exchange(json!({"exp": NOW + 42}), &[RECORDS]).await;
        assert_eq!(world.assert_granted(&answer).await["exp"], NOW + 42);
        world.server.clock.advance(std::time::Duration::from_secs(20));
        let again = world.exchange_typed("assistant", &answer.token(), ACCESS_TOKEN, &[RECORDS]).await;
        assert_eq!(world.assert_granted(&again).await["exp"], NOW + 42);
    }

    async fn an_actor_token_that_the_client_may_present_makes_its_subject_the_actor(world: World) {
        let planner = world.own_token("planner", &[]).await;
        let more = [RECORDS, ("scope", "records.read"), ("actor_token", planner.as_str()), ("actor_token_type", ACCESS_TOKEN)];
        let answer = world.exchange(json!({}), &more).await;
        let token = world.assert_granted(&answer).await;
        assert_eq!(token["act"], json!({"iss": ISSUER, "sub": "planner"}));
        assert_eq!(token["client_id"], "assistant");
    }

    async fn may_act_that_names_the_client_is_honoured(world: World) {
        let answer = world.exchange(json!({"may_act": {"sub": "assistant", "iss": ISSUER}}), &[RECORDS]).await;
        assert_eq!(world.assert_granted(&answer).await["may_act"], json!(null), "it is not copied into the token");
    }

    async fn an_access_token_of_the_provider_for_this_server_is_accepted(world: World) {
        let changes = json!({"aud": ISSUER, "nonce": null, "client_id": "llm-app", "scope": "records.read openid"});
        let token = signed_with(&world.corp, json!({"typ": "at+jwt"}), &world.alice(changes));
        let answer = world.exchange_typed("assistant", &token, ACCESS_TOKEN, &[RECORDS]).await;
        assert_eq!(world.assert_granted(&answer).await["scope"], "records.read", "its scope is a ceiling");
    }

    async fn a_client_gets_a_token_of_its_own_for_this_server(world: World) {
        let token = claims(&world.own_token("worker", &[]).await);
        assert_eq!((&token["sub"], &token["aud"]), (&json!("worker"), &json!(ISSUER)));
        assert_eq!((&token["act"], &token["grant_id"]), (&json!(null), &json!(null)));
    }

    async fn a_client_gets_a_token_of_its_own_for_a_backend(world: World) {
        let token = claims(&world.own_token("worker", &[RECORDS, ("scope", "records.read")]).await);
        assert_eq!(token["aud"], "https://records.example.com/api");
        assert_eq!(token["scope"], "records.read");
        assert_eq!(token["act"], json!(null), "nobody acts for anybody");
    }

    async fn a_workload_is_acted_for_by_a_client_that_may(world: World) {
        let workload = world.own_token("worker", &[]).await;
        let answer = world.exchange_typed("assistant", &workload, ACCESS_TOKEN, &[RECORDS, ("scope", "records.read")]).await;
        let token = world.assert_granted(&answer).await;
        assert_eq!((&token["sub"], &token["act"]["sub"]), (&json!("worker"), &json!("assistant")));
        assert_eq!(token["grant_id"], json!(null));
    }

    async fn every_spelling_of_a_backend_is_the_same_target(world: World) {
        for target in [
            ("resource", "HTTPS://Records.Example.com:443/api"),
            ("audience", "records"),
            ("audience", "https://records.example.com/api"),
        ] {
            let answer = world.exchange(json!({}), &[target]).await;
            assert_eq!(world.assert_granted(&answer).await["aud"], "https://records.example.com/api");
        }
        let both = world.exchange(json!({}), &[RECORDS, ("audience", "records")]).await;
        world.assert_granted(&both).await;
    }

    async fn without_a_target_the_only_one_that_can_be_meant_is_taken(world: World) {
        world.server.consent("corp|alice", "poster", "records", "records.read").await;
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", &world.id_token(json!({}))),
            ("subject_token_type", ID_TOKEN),
            ("client_id", "poster"),
            ("client_secret", world.secret("poster")),
        ];
        let answer = world.server.token(&form, None).await;
        assert_eq!(world.assert_granted(&answer).await["aud"], "https://records.example.com/api");
    }

    async fn the_jwt_type_can_be_asked_for_and_is_the_same_token(world: World) {
        let jwt = "urn:ietf:params:oauth:token-type:jwt";
        let answer = world.exchange(json!({}), &[RECORDS, ("requested_token_type", jwt)]).await;
        assert_eq!(answer.json()["issued_token_type"], jwt);
        assert_eq!(answer.json()["token_type"], "Bearer");
        world.assert_granted(&answer).await;
    }

    async fn parameters_that_nobody_knows_change_nothing(world: World) {
        let forged = [RECORDS, ("act", r#"{"sub":"root"}"#), ("may_act", r#"{"sub":"root"}"#), ("sub", "corp|bob")];
        let token = world.assert_granted(&world.exchange(json!({}), &forged).await).await;
        assert_eq!((&token["sub"], &token["act"]["sub"]), (&json!("corp|alice"), &json!("assistant")));
    }

    async fn consent_for_everyone_lets_a_later_hop_act_and_is_named_in_the_token(world: World) {
        let first = world.records_token().await;
        let answer = world.exchange_typed("records-backend", &first, ACCESS_TOKEN, &[("audience", "billing")]).await;
        let token = world.assert_granted(&answer).await;
        assert_ne!(token["grant_id"], claims(&first)["grant_id"]);
        assert_eq!(token["earlier_grants"], json!([claims(&first)["grant_id"]]));
    }
}
