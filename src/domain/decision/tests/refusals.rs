//! One test for each reason that a decision can give. Each changes one thing in a request that is granted otherwise.

use super::super::{ErrorCode, Gate, GateResult, ReasonCode, Refusal};
use super::fixture::{
    Ask, ISSUER, NOW, World, access_token, actor_token, alice, audiences, nightly_token, records_token,
};
use crate::domain::delegation::{ActChain, Actor, MayAct};
use crate::domain::identity_provider::SubjectTokenType;
use crate::domain::limits::LimitState;
use serde_json::json;
use std::collections::BTreeSet;

/// Given by code around the decision, and tested there.
const GIVEN_ELSEWHERE: &[ReasonCode] = &[
    // The request layer.
    ReasonCode::ParameterMissing,
    ReasonCode::ParameterRepeated,
    ReasonCode::ParameterInvalid,
    ReasonCode::NotAForm,
    ReasonCode::ParameterTooMany,
    ReasonCode::GrantTypeUnsupported,
    ReasonCode::RequestedTokenTypeUnsupported,
    ReasonCode::ScopeMalformed,
    // Client authentication.
    ReasonCode::ClientCredentialsMissing,
    ReasonCode::ClientAuthenticationTwice,
    ReasonCode::ClientUnknown,
    ReasonCode::ClientAuthenticationMethod,
    ReasonCode::ClientHasNoSecret,
    ReasonCode::ClientSecretWrong,
    ReasonCode::ClientAssertionInvalid,
    ReasonCode::ClientAssertionReplayed,
    ReasonCode::ClientDocumentInvalid,
    ReasonCode::ClientDocumentUnavailable,
    ReasonCode::ClientNotLetIn,
    ReasonCode::RegistrationsTooMany,
    ReasonCode::ClientCheckBusy,
    ReasonCode::ClientKeysUnavailable,
    // Verification of the subject token.
    ReasonCode::SubjectTokenTypeUnsupported,
    ReasonCode::SubjectTokenOpaque,
    ReasonCode::SubjectTokenMalformed,
    ReasonCode::SubjectTokenTooLarge,
    ReasonCode::SubjectTokenHeaderRefused,
    ReasonCode::SubjectTokenAlgorithmRefused,
    ReasonCode::SubjectTokenKeyUnknown,
    ReasonCode::SubjectTokenSignatureInvalid,
    ReasonCode::IssuerKeysUnavailable,
    ReasonCode::SubjectTokenClaimsInvalid,
    ReasonCode::SubjectTokenExpired,
    ReasonCode::SubjectTokenNotYetValid,
    ReasonCode::SubjectTokenTypeMismatch,
    // The grant, which keeps the record of what was used.
    ReasonCode::SubjectTokenReplayed,
    // Codes and refresh tokens, and the pages on the way to them (tests/it/front_door).
    ReasonCode::ResponseTypeUnsupported,
    ReasonCode::RedirectUriInvalid,
    ReasonCode::PkceMissing,
    ReasonCode::RequestUriInvalid,
    ReasonCode::CodeInvalid,
    ReasonCode::CodeExpired,
    ReasonCode::CodeReplayed,
    ReasonCode::RefreshTokenInvalid,
    ReasonCode::RefreshTokenExpired,
    ReasonCode::RefreshTokenReused,
    // Reports of uses (tests/it/token_use.rs).
    ReasonCode::UseTokenUnknown,
    ReasonCode::UsesTooMany,
    ReasonCode::UseTokenFull,
    ReasonCode::UseReportUnreadable,
    ReasonCode::UseReportInvalid,
    ReasonCode::ConsentDenied,
    ReasonCode::SignInRequired,
    ReasonCode::PageRequired,
    ReasonCode::SignInInsufficient,
    // Verification of the actor token.
    ReasonCode::ActorTokenTypeUnsupported,
    ReasonCode::ActorTokenIsSubjectToken,
];

/// `name => Reason, error, request, change;` makes a test of each line, and the list of reasons that are tested.
macro_rules! refused {
    ($($name:ident => $reason:ident, $error:ident, $request:expr, $change:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let (mut world, mut ask): (World, Ask) = (World::new(), $request);
                let otherwise = world.decide(&ask).outcome;
                assert!(otherwise.is_ok(), "without the change it is granted: {otherwise:?}");
                let change: fn(&mut World, &mut Ask) = $change;
                change(&mut world, &mut ask);
                let decision = world.decide(&ask);
                let refusal = decision.outcome.unwrap_err();
                assert_eq!(refusal.reason, ReasonCode::$reason, "{}", refusal.detail);
                assert_eq!(refusal.reason.error(), ErrorCode::$error);
                let last = decision.trace.lines().last().unwrap();
                assert_eq!((last.result, last.reason), (GateResult::Refused, Some(ReasonCode::$reason)));
            }
        )*

        /// The reasons that the tests above are about.
        const GIVEN_HERE: &[ReasonCode] = &[$(ReasonCode::$reason,)*];
    };
}

/// The records backend goes on to the models with the token it was called with.
fn second_hop() -> Ask {
    Ask::exchange("records-backend", records_token(), "models").scopes("model.general")
}

/// The assistant acts for the nightly job.
fn workload() -> Ask {
    Ask::exchange("assistant", nightly_token(), "records").scopes("records.read")
}

/// The orchestrator presents the assistant's own token as actor.
fn with_actor() -> Ask {
    Ask::exchange("orchestrator", super::fixture::id_token(), "records")
        .scopes("records.read")
        .acting(actor_token("assistant"))
}

fn with_access_token() -> Ask {
    Ask::exchange("assistant", access_token(), "records").scopes("records.read")
}

fn in_our_words(sub: &str) -> Actor {
    Actor::client(ISSUER, &sub.parse().unwrap())
}

refused! {
    // 1: the client
    a_suspended_client_gets_nothing => ClientSuspended, InvalidClient, Ask::usual(),
        |world, _| world.client("assistant").suspended_at = Some(NOW - 1);
    a_suspended_client_gets_no_token_of_its_own => ClientSuspended, InvalidClient, Ask::for_itself("nightly"),
        |world, _| world.client("nightly").suspended_at = Some(NOW - 1);

    // 2: the grant
    a_client_without_the_exchange_grant_may_not_exchange => GrantNotAllowed, UnauthorizedClient, Ask::usual(),
        |world, _| world.client("assistant").client.grants.retain(|grant| grant.as_str() == "client_credentials");
    a_client_without_client_credentials_gets_no_token_of_its_own => GrantNotAllowed, UnauthorizedClient,
        Ask::for_itself("assistant"), |_, ask| ask.client = "stranger".to_owned();
    a_public_client_may_not_exchange => ClientIsPublic, UnauthorizedClient, Ask::usual(),
        |_, ask| ask.client = "public".to_owned();
    a_public_client_gets_no_token_of_its_own => ClientIsPublic, UnauthorizedClient, Ask::for_itself("nightly"),
        |_, ask| ask.client = "public".to_owned();

    // 3: the subject token
    a_token_of_a_provider_that_is_not_registered_is_refused => SubjectTokenIssuerUnknown, InvalidRequest, Ask::usual(),
        |world, _| world.idps.clear();
    a_user_whose_provider_was_removed_is_not_acted_for_at_a_later_hop => SubjectTokenIssuerUnknown, InvalidRequest,
        second_hop(), |world, _| world.idps.clear();
    our_token_is_refused_once_its_consent_was_taken_back => SubjectRevoked, InvalidRequest, second_hop(),
        |world, _| world.consent("assistant", "records").revoked_at = Some(NOW);
    our_token_is_refused_once_its_consent_has_ended => SubjectRevoked, InvalidRequest, second_hop(),
        |world, _| world.consent("assistant", "records").expires_at = Some(NOW);
    our_token_is_refused_if_its_consent_is_unknown => SubjectRevoked, InvalidRequest, second_hop(),
        |world, _| world.consents.retain(|consent| consent.client.as_str() != "assistant");
    our_token_is_refused_if_its_consent_is_another_users => SubjectRevoked, InvalidRequest, second_hop(),
        |world, _| world.consent("assistant", "records").user =
            crate::domain::consent::ConsentingUser::One("corp|bob".parse().unwrap());
    a_suspended_client_stops_the_tokens_it_passed_on => SubjectActorStopped, InvalidRequest, second_hop(),
        |world, _| world.client("assistant").suspended_at = Some(NOW);
    a_removed_client_stops_the_tokens_it_passed_on => SubjectActorStopped, InvalidRequest, second_hop(),
        |world, _| world.clients.retain(|entry| entry.client.id.as_str() != "assistant");
    a_suspended_client_in_a_chain_that_a_provider_signed_is_found => SubjectActorStopped, InvalidRequest, {
        let mut ask = Ask::usual();
        ask.subject().act = Some(ActChain::new(in_our_words("stranger")));
        ask
    }, |world, _| world.client("stranger").suspended_at = Some(NOW);
    a_suspended_workload_is_not_acted_for => SubjectActorStopped, InvalidRequest, workload(),
        |world, _| world.client("nightly").suspended_at = Some(NOW);
    a_suspended_user_is_not_acted_for => UserSuspended, InvalidRequest, Ask::usual(),
        |world, _| { world.suspended_users.insert(alice()); };
    a_suspended_user_is_not_acted_for_at_a_later_hop => UserSuspended, InvalidRequest, second_hop(),
        |world, _| { world.suspended_users.insert(alice()); };
    a_sub_with_a_line_break_is_no_user => UserUnknown, InvalidRequest, Ask::usual(),
        |_, ask| ask.subject().sub = "alice\nadmin".to_owned();
    a_user_with_an_id_as_clients_have_that_nobody_registered_is_refused => UserUnknown, InvalidRequest, Ask::usual(),
        |world, ask| {
            world.idps[0].subject_prefix = Some(String::new());
            ask.subject().sub = "dcr_abcdefghijklmnopqrstuv".to_owned();
        };
    a_user_with_the_id_of_a_client_is_refused => UserUnknown, InvalidRequest, Ask::usual(),
        |world, ask| {
            world.idps[0].subject_prefix = Some(String::new());
            ask.subject().sub = "nightly".to_owned();
        };
    a_client_registered_under_a_users_id_ends_that_users_tokens => UserUnknown, InvalidRequest, second_hop(),
        |world, _| {
            let mut twin = world.client("nightly").clone();
            twin.client.id = "corp|alice".parse().unwrap();
            world.clients.push(twin);
        };
    our_token_of_a_user_that_nothing_is_known_of_is_refused => UserUnknown, InvalidRequest, second_hop(),
        |world, _| world.known_user = None;
    our_token_is_never_taken_for_another_user => UserUnknown, InvalidRequest, second_hop(),
        |world, _| world.known_user.as_mut().unwrap().id = "corp|bob".parse().unwrap();

    the_token_of_a_session_that_was_ended_is_refused => SubjectSessionEnded, InvalidRequest, second_hop(),
        |_, ask| ask.session_ended = Some("grant family fam_1 was ended");
    our_token_is_refused_once_its_status_list_says_that_it_has_ended => SubjectRevoked, InvalidRequest, second_hop(),
        |_, ask| ask.is_ended_in_list = true;
    // 4: whose subject token it is
    a_type_of_token_without_a_rule_is_refused => SubjectTokenTypeNotAccepted, InvalidRequest, Ask::usual(),
        |_, ask| ask.subject().token_type = SubjectTokenType::Jwt;
    an_id_token_of_another_application_is_refused => SubjectTokenAudienceForeign, InvalidRequest, Ask::usual(),
        |_, ask| ask.subject().audiences = vec!["another-app".to_owned()];
    an_id_token_that_is_also_for_another_application_is_refused => SubjectTokenAudienceForeign, InvalidRequest,
        Ask::usual(), |_, ask| ask.subject().audiences.push("another-app".to_owned());
    an_id_token_without_an_audience_is_refused => SubjectTokenAudienceForeign, InvalidRequest, Ask::usual(),
        |_, ask| ask.subject().audiences.clear();
    a_client_that_the_rule_does_not_name_may_not_present_the_token => SubjectTokenAudienceForeign, InvalidRequest,
        with_access_token(), |_, ask| ask.client = "stranger".to_owned();
    an_azp_of_another_application_is_refused => SubjectTokenAzpForeign, InvalidRequest, Ask::usual(),
        |_, ask| ask.subject().azp = Some("another-app".to_owned());
    a_required_claim_of_another_tenant_is_refused => SubjectTokenClaimForeign, InvalidRequest, with_access_token(),
        |_, ask| { ask.subject().named_claims.insert("tid".to_owned(), "other".to_owned()); };
    a_required_claim_that_is_missing_is_refused => SubjectTokenClaimForeign, InvalidRequest, with_access_token(),
        |_, ask| ask.subject().named_claims.clear();
    a_token_without_jti_is_refused_where_each_is_for_one_use => SubjectTokenClaimForeign, InvalidRequest,
        with_access_token(), |_, ask| ask.subject().jti = None;
    an_id_token_past_the_rules_age_is_refused => SubjectTokenTooOld, InvalidRequest, Ask::usual(),
        |_, ask| ask.subject().issued_at = Some(NOW - 3_601);
    an_id_token_of_unknown_age_is_refused_where_the_rule_limits_it => SubjectTokenTooOld, InvalidRequest, Ask::usual(),
        |_, ask| ask.subject().issued_at = None;
    our_token_is_refused_from_a_client_that_it_does_not_name => SubjectTokenNotAddressed, InvalidRequest, second_hop(),
        |_, ask| ask.client = "stranger".to_owned();
    our_token_is_refused_from_the_client_of_another_backend => SubjectTokenNotAddressed, InvalidRequest, second_hop(),
        |_, ask| ask.client = "models-backend".to_owned();
    a_workloads_token_for_a_backend_is_refused_from_who_only_may_act_for_it => SubjectTokenNotAddressed,
        InvalidRequest, workload(),
        |_, ask| ask.subject().audiences = vec!["https://records.example.com/api".to_owned()];
    a_workload_is_acted_for_only_by_whom_the_registry_names => WorkloadNotPermitted, InvalidRequest, workload(),
        |world, _| world.client("assistant").client.may_act_for.clear();

    // 5: the actor
    an_actor_token_for_a_backend_is_refused => ActorTokenInvalid, InvalidRequest, with_actor(),
        |_, ask| ask.actor.as_mut().unwrap().as_mut().unwrap().audiences =
            vec!["https://records.example.com/api".to_owned()];
    an_actor_token_that_did_not_verify_is_refused => ActorTokenInvalid, InvalidRequest, with_actor(),
        |_, ask| ask.actor = Some(Err(Refusal::new(ReasonCode::ActorTokenInvalid, "expired")));
    an_actor_token_that_speaks_for_somebody_else_is_refused => ActorTokenDelegated, InvalidRequest, with_actor(),
        |_, ask| ask.actor.as_mut().unwrap().as_mut().unwrap().is_delegated = true;
    a_suspended_actor_is_refused => ActorStopped, InvalidRequest, with_actor(),
        |world, _| world.client("assistant").suspended_at = Some(NOW);
    an_actor_that_is_no_client_is_refused => ActorStopped, InvalidRequest, with_actor(),
        |_, ask| ask.actor = Some(Ok(actor_token("corp|alice")));
    another_clients_actor_token_is_refused => ActorNotPermitted, InvalidRequest, with_actor(),
        |_, ask| ask.actor = Some(Ok(actor_token("nightly")));
    a_may_act_that_names_another_actor_is_refused => MayActMismatch, InvalidRequest, Ask::usual(),
        |_, ask| ask.subject().may_act = MayAct::parse(&json!({"sub": "stranger"}));
    a_may_act_with_a_member_that_cannot_be_shown_to_match_is_refused => MayActMismatch, InvalidRequest, Ask::usual(),
        |_, ask| ask.subject().may_act = MayAct::parse(&json!({"sub": "assistant", "department": "sales"}));
    a_may_act_that_names_the_presenter_refuses_the_actor_it_presents => MayActMismatch, InvalidRequest, with_actor(),
        |_, ask| ask.subject().may_act = MayAct::parse(&json!({"sub": "orchestrator"}));

    // 6: the chain
    an_actor_past_the_depth_is_refused => ChainTooDeep, InvalidRequest, second_hop(),
        |world, _| world.max_chain_depth = 1;
    an_actor_that_acted_before_is_refused => ChainCycle, InvalidRequest, second_hop(),
        |_, ask| {
            let chain = ActChain::new(in_our_words("records-backend")).extend(in_our_words("assistant"), 4).unwrap();
            ask.subject().act = Some(chain);
        };

    // 7: the target
    no_target_is_refused_where_several_can_be_meant => TargetMissing, InvalidTarget, Ask::usual(),
        |_, ask| ask.targets = audiences(&[]);
    two_backends_are_refused => TargetSeveral, InvalidTarget, Ask::usual(),
        |_, ask| ask.targets = audiences(&["records", "models"]);
    a_resource_and_an_audience_of_different_backends_are_refused => TargetSeveral, InvalidTarget, Ask::usual(),
        |_, ask| ask.targets.resources.push("https://models.example.com/api".to_owned());
    a_resource_with_a_fragment_is_refused => TargetMalformed, InvalidTarget, Ask::usual(),
        |_, ask| ask.targets.resources.push("https://records.example.com/api#x".to_owned());
    a_registry_id_is_no_resource_uri => TargetMalformed, InvalidTarget, Ask::usual(),
        |_, ask| ask.targets.resources.push("records".to_owned());
    an_unlisted_backend_is_refused => TargetUnknown, InvalidTarget, Ask::usual(),
        |_, ask| ask.targets = audiences(&["https://evil.example.com/"]);
    a_backend_beyond_the_clients_ceiling_is_refused => TargetNotAllowed, InvalidTarget, Ask::usual(),
        |_, ask| ask.targets = audiences(&["billing"]);
    a_backend_beyond_the_actors_ceiling_is_refused => TargetNotAllowed, InvalidTarget, with_actor(),
        |world, _| { world.client("assistant").client.resources.pop_last(); };
    a_backend_beyond_the_workloads_own_ceiling_is_refused => TargetNotAllowed, InvalidTarget, workload(),
        |world, _| world.client("nightly").client.resources.clear();
    this_server_is_no_backend_to_act_at_for_a_user => TargetNotAllowed, InvalidTarget, Ask::usual(),
        |_, ask| ask.targets = audiences(&[ISSUER]);
    a_backend_that_no_edge_leads_to_is_refused => TargetNotReachable, InvalidTarget, second_hop(),
        |_, ask| *ask = ask.clone().at("billing");
    a_backend_may_not_renew_the_token_it_was_called_with => TargetNotReachable, InvalidTarget, second_hop(),
        |world, ask| {
            let ceiling = vec!["records.read".parse().unwrap()];
            world.client("records-backend").client.resources.insert("records".parse().unwrap(), ceiling);
            *ask = ask.clone().at("records");
        };

    // 8: scopes
    a_scope_that_the_backend_does_not_have_is_refused => ScopeUnknown, InvalidScope, Ask::usual(),
        |_, ask| *ask = ask.clone().scopes("records.everything");
    a_scope_of_another_backend_is_refused => ScopeUnknown, InvalidScope, Ask::usual(),
        |_, ask| *ask = ask.clone().scopes("model.general");
    a_scope_at_this_server_itself_is_refused => ScopeUnknown, InvalidScope, Ask::for_itself("nightly"),
        |_, ask| *ask = ask.clone().scopes("records.read");
    a_scope_beyond_the_clients_ceiling_is_refused => ScopeBeyondClient, InvalidScope, Ask::usual(),
        |_, ask| *ask = ask.clone().scopes("usage");
    a_scope_beyond_the_actors_ceiling_is_refused => ScopeBeyondClient, InvalidScope, with_actor(),
        |_, ask| *ask = ask.clone().scopes("usage");
    a_scope_that_the_providers_token_does_not_have_is_refused => ScopeBeyondSubject, InvalidScope,
        with_access_token(), |_, ask| ask.subject().scope = Some("openid".parse().unwrap());
    a_scope_that_our_token_does_not_have_is_not_gained_by_going_on => ScopeBeyondSubject, InvalidScope, second_hop(),
        |_, ask| *ask = ask.clone().scopes("usage");
    a_scope_beyond_the_workloads_own_ceiling_is_refused => ScopeBeyondSubject, InvalidScope, workload(),
        |_, ask| *ask = ask.clone().scopes("records.write");

    // 9: consent
    a_user_who_did_not_agree_is_asked => ConsentMissing, ConsentRequired, Ask::usual(),
        |world, _| world.consents.clear();
    a_user_who_agreed_to_another_client_is_asked => ConsentMissing, ConsentRequired, Ask::usual(),
        |world, _| world.consents.retain(|consent| consent.client.as_str() != "assistant");
    the_client_of_the_next_hop_needs_a_consent_of_its_own => ConsentMissing, ConsentRequired, second_hop(),
        |world, _| world.consents.retain(|consent| consent.client.as_str() == "assistant");
    a_consent_that_has_ended_does_not_count => ConsentExpired, ConsentRequired, Ask::usual(),
        |world, _| world.consent("assistant", "records").expires_at = Some(NOW);
    a_consent_that_was_taken_back_does_not_count => ConsentRevoked, ConsentRequired, Ask::usual(),
        |world, _| world.consent("assistant", "records").revoked_at = Some(NOW - 1);
    a_consent_that_its_user_paused_does_not_count => ConsentPaused, AccessDenied, Ask::usual(),
        |world, _| world.consent("assistant", "records").paused_at = Some(NOW - 1);

    // 10: policy
    a_scope_with_roles_is_refused_without_one_of_them => PolicyNotPermitted, AccessDenied, Ask::usual(),
        |_, ask| *ask = ask.clone().scopes("records.delete");
    a_forbid_wins_over_the_built_in_permit => PolicyForbidden, AccessDenied, Ask::usual(),
        |world, _| world.policy("closed", "forbid(principal, action, resource in Resource::\"records\");");
    a_forbid_is_for_clients_of_their_own_too => PolicyForbidden, AccessDenied, Ask::for_itself("nightly").at("records"),
        |world, _| world.policy("closed", "forbid(principal is Client, action, resource);");

    a_sign_in_of_another_kind_than_the_backend_wants_is_too_weak => SignInTooWeak, InsufficientUserAuthentication,
        Ask::usual(), |world, _| world.resource("records").acr_values = vec!["phr".to_owned()];
    a_sign_in_older_than_the_backend_wants_is_too_old => SignInTooOld, InsufficientUserAuthentication, Ask::usual(),
        |world, _| world.resource("records").max_auth_age_seconds = Some(59);
    a_sign_in_of_unknown_age_is_too_old => SignInTooOld, InsufficientUserAuthentication, Ask::usual(),
        |world, ask| {
            world.resource("records").max_auth_age_seconds = Some(3600);
            ask.subject().auth_time = None;
        };

    // 11: limits
    a_user_who_is_acted_for_too_often_has_to_wait => UserLimit, SlowDown, Ask::usual(),
        |_, ask| ask.limits = LimitState::UserOver { retry_after_seconds: 7 };
    a_client_that_acts_for_a_user_too_often_has_to_wait => GrantLimit, SlowDown, Ask::usual(),
        |_, ask| ask.limits = LimitState::GrantOver { retry_after_seconds: 0 };

    // 12: lifetime
    a_subject_token_within_the_leeway_after_its_end_is_refused => LifetimeExhausted, InvalidRequest, Ask::usual(),
        |_, ask| ask.subject().expires_at = NOW;
}

#[test]
fn every_reason_code_is_given_by_somebody_and_tested() {
    let here: BTreeSet<_> = GIVEN_HERE.iter().copied().collect();
    let elsewhere: BTreeSet<_> = GIVEN_ELSEWHERE.iter().copied().collect();
    assert_eq!(here.intersection(&elsewhere).collect::<Vec<_>>(), Vec::<&ReasonCode>::new(), "claimed twice");
    let claimed: BTreeSet<_> = here.union(&elsewhere).copied().collect();
    let unclaimed: Vec<_> = ReasonCode::ALL.iter().filter(|reason| !claimed.contains(reason)).collect();
    assert!(unclaimed.is_empty(), "given by nobody, or without a test: {unclaimed:?}");
}

#[test]
fn the_wire_does_not_tell_which_targets_exist() {
    let targets = [ReasonCode::TargetUnknown, ReasonCode::TargetNotAllowed, ReasonCode::TargetNotReachable];
    let answers: BTreeSet<_> =
        targets.iter().map(|reason| (reason.error().as_str(), reason.public_description())).collect();
    assert_eq!(answers.len(), 1, "rule TX-61: {answers:?}");
}

#[test]
fn the_wire_does_not_tell_why_a_subject_token_is_not_accepted() {
    let of_gate = ReasonCode::ALL.iter().filter(|reason| reason.gate() == Gate::SubjectOwner);
    let answers: BTreeSet<_> = of_gate.map(|reason| (reason.error().as_str(), reason.public_description())).collect();
    assert_eq!(
        answers.into_iter().collect::<Vec<_>>(),
        [("invalid_request", "The subject_token is not accepted from this client.")]
    );
}

#[test]
fn a_limit_says_how_long_to_wait_and_never_zero_seconds() {
    let mut ask = Ask::usual();
    ask.limits = LimitState::UserOver { retry_after_seconds: 7 };
    assert_eq!(World::new().refuses(&ask).retry_after_seconds, Some(7));
    ask.limits = LimitState::GrantOver { retry_after_seconds: 0 };
    assert_eq!(World::new().refuses(&ask).retry_after_seconds, Some(1));
}

#[test]
fn an_unknown_target_is_explained_with_the_nearest_name() {
    let refusal = World::new().refuses(&Ask::usual().at("recrods"));
    assert!(refusal.detail.ends_with("did the client mean records?"), "{}", refusal.detail);
}

#[test]
fn the_refusal_of_the_rule_that_came_furthest_is_told() {
    let mut world = World::new();
    let mut second = world.idps[0].subject_tokens[0].clone();
    second.audiences = vec!["another-app".to_owned()];
    world.idps[0].subject_tokens.insert(0, second);
    let mut ask = Ask::usual();
    ask.subject().issued_at = Some(NOW - 4_000);
    assert_eq!(world.refuses(&ask).detail, "the token is 4000 seconds old; at most 3600 seconds are accepted");
}
