//! Every way to be granted a token, with what is in it.

use super::super::{Cut, GrantedSubject, ReasonCode};
use super::fixture::{
    Ask, ISSUER, NOW, World, access_token, actor_token, actors, alice, audiences, id_token, is_for_user, nightly_token,
    nurse, scopes,
};
use crate::domain::delegation::{ActChain, Actor, MayAct};
use crate::domain::names::IdpId;
use crate::domain::target::{RequestedTargets, Target};
use serde_json::json;

fn cut(scope: &str, reason: ReasonCode) -> Cut {
    Cut { scope: scope.parse().unwrap(), reason }
}

#[test]
fn an_id_token_earns_a_token_for_the_user_with_the_client_as_actor() {
    let granted = World::new().grants(&Ask::usual());
    let user = GrantedSubject::User {
        id: alice(),
        idp: "corp".parse().unwrap(),
        idp_sub: "alice".to_owned(),
        attributes: nurse(),
    };
    assert_eq!(granted.subject, user);
    assert_eq!(granted.client.as_str(), "assistant");
    assert!(matches!(&granted.target, Target::Resource(resource) if resource.id.as_str() == "records"));
    assert_eq!(granted.scopes, scopes("records.read"));
    let act = granted.chain.as_ref().unwrap().to_claim();
    assert_eq!(act, json!({"iss": ISSUER, "sub": "assistant"}));
    assert_eq!((granted.issued_at, granted.expires_at), (NOW, NOW + 300));
    assert_eq!(granted.grant_id.as_deref(), Some("assistant-at-records"));
    assert_eq!(granted.policies, ["builtin.default"]);
    assert_eq!((granted.auth_time, granted.acr.as_deref()), (Some(NOW - 60), Some("2")));
    assert_eq!((granted.cut, granted.earlier_grants, granted.txn, granted.single_use), (vec![], vec![], None, None));
}

#[test]
fn a_provider_with_an_empty_prefix_gives_its_sub_unchanged() {
    let mut world = World::new();
    world.idps[0].subject_prefix = Some(String::new());
    for consent in &mut world.consents {
        consent.user = crate::domain::consent::ConsentingUser::One("alice".parse().unwrap());
    }
    assert_eq!(world.grants(&Ask::usual()).subject.sub(), "alice");
}

#[test]
fn subs_that_look_alike_are_different_users() {
    let (composed, decomposed) = ("ren\u{e9}", "rene\u{301}");
    let mut world = World::new();
    for consent in &mut world.consents {
        consent.user = crate::domain::consent::ConsentingUser::One(format!("corp|{composed}").parse().unwrap());
    }
    let mut ask = Ask::usual();
    ask.subject().sub = composed.to_owned();
    world.grants(&ask);
    ask.subject().sub = decomposed.to_owned();
    assert_eq!(world.refuses(&ask).reason, ReasonCode::ConsentMissing);
}

#[test]
fn with_scope_left_out_the_client_gets_what_it_may_have_and_nothing_counts_as_cut() {
    let mut ask = Ask::exchange("assistant", id_token(), "records");
    for left_out in [None, Some(scopes(""))] {
        ask.scopes = left_out;
        let granted = World::new().grants(&ask);
        assert_eq!(granted.scopes, scopes("records.read records.write"), "records.delete needs the role doctor");
        assert_eq!(granted.cut, []);
    }
}

#[test]
fn each_scope_that_is_cut_is_told_with_its_ceiling() {
    let mut ask = Ask::exchange("assistant", access_token(), "records")
        .scopes("records.read records.write records.delete usage records.nothing");
    ask.subject().scope = Some(scopes("records.read records.delete"));
    let granted = World::new().grants(&ask);
    assert_eq!(granted.scopes, scopes("records.read"));
    assert_eq!(
        granted.cut,
        [
            cut("records.nothing", ReasonCode::ScopeUnknown),
            cut("usage", ReasonCode::ScopeBeyondClient),
            cut("records.write", ReasonCode::ScopeBeyondSubject),
            cut("records.delete", ReasonCode::PolicyNotPermitted),
        ]
    );
}

#[test]
fn a_providers_scopes_limit_unless_the_rule_says_that_they_mean_something_else() {
    let mut world = World::new();
    let mut ask = Ask::exchange("assistant", access_token(), "records").scopes("records.read");
    ask.subject().scope = Some(scopes("openid profile"));
    assert_eq!(world.refuses(&ask).reason, ReasonCode::ScopeBeyondSubject);
    ask.subject().scope = Some(scopes(""));
    assert_eq!(world.refuses(&ask).reason, ReasonCode::ScopeBeyondSubject, "an empty scope is nothing, not everything");
    world.idps[0].subject_tokens[1].scope = crate::domain::identity_provider::SubjectScope::Ignored;
    assert_eq!(world.grants(&ask).scopes, scopes("records.read"));
}

#[test]
fn a_token_under_a_single_use_rule_is_handed_on_to_be_recorded() {
    let ask = Ask::exchange("assistant", access_token(), "records").scopes("records.read");
    let corp: IdpId = "corp".parse().unwrap();
    assert_eq!(World::new().grants(&ask).single_use, Some((corp, "id-1".to_owned())));
}

#[test]
fn a_client_may_present_the_actor_token_of_one_that_it_may_present() {
    let ask = Ask::exchange("orchestrator", id_token(), "records").scopes("records.read usage");
    let granted = World::new().grants(&ask.clone().acting(actor_token("assistant")));
    assert_eq!(granted.client.as_str(), "orchestrator", "client_id is who asked (rule TX-77)");
    assert_eq!(actors(&granted), ["assistant"]);
    assert_eq!(granted.scopes, scopes("records.read"), "the actor may not see usage");
    let itself = World::new().grants(&ask.acting(actor_token("orchestrator")));
    assert_eq!((actors(&itself), itself.scopes.clone()), (vec!["orchestrator"], scopes("records.read usage")));
}

#[test]
fn a_may_act_that_names_the_actor_in_every_member_is_honoured() {
    let mut ask = Ask::usual();
    ask.subject().may_act = MayAct::parse(&json!({"sub": "assistant", "iss": ISSUER, "client_id": "assistant"}));
    World::new().grants(&ask);
}

#[test]
fn earlier_actors_that_a_provider_signed_are_kept_as_they_were() {
    let mut ask = Ask::usual();
    let act = json!({"sub": "assistant", "act": {"iss": "https://idp.example.com", "sub": "portal", "client_id": "p"}});
    ask.subject().act = Some(ActChain::parse(&act, 4).unwrap());
    let granted = World::new().grants(&ask);
    let expected = json!({"iss": ISSUER, "sub": "assistant", "act": act});
    assert_eq!(granted.chain.unwrap().to_claim(), expected, "the same sub of another issuer is another actor");
}

#[test]
fn a_client_gets_a_token_of_its_own_for_this_server_without_scope_or_actor() {
    let granted = World::new().grants(&Ask::for_itself("nightly"));
    assert_eq!(granted.subject, GrantedSubject::Client("nightly".parse().unwrap()));
    assert_eq!((granted.target, granted.scopes, granted.chain), (Target::Issuer, scopes(""), None));
    assert_eq!((granted.expires_at, granted.grant_id), (NOW + 300, None));
    let named = World::new().grants(&Ask::for_itself("nightly").at(ISSUER));
    assert_eq!(named.target, Target::Issuer);
}

#[test]
fn a_client_gets_a_token_of_its_own_for_a_backend_within_its_ceiling() {
    let granted = World::new().grants(&Ask::for_itself("nightly").at("records").scopes("records.read records.write"));
    assert_eq!((granted.subject.sub(), granted.chain.clone()), ("nightly", None));
    assert_eq!(granted.scopes, scopes("records.read"));
    assert_eq!(granted.cut, [cut("records.write", ReasonCode::ScopeBeyondClient)]);
    assert_eq!(granted.grant_id, None);
}

#[test]
fn a_client_has_no_roles_so_it_gets_no_scope_that_needs_one() {
    let granted = World::new().grants(&Ask::for_itself("assistant").at("records"));
    assert_eq!(granted.scopes, scopes("records.read records.write"));
}

#[test]
fn a_workloads_own_token_is_exchanged_by_the_client_that_may_act_for_it() {
    let granted = World::new().grants(&Ask::exchange("assistant", nightly_token(), "records"));
    assert!(!is_for_user(&granted));
    assert_eq!((granted.subject.sub(), actors(&granted)), ("nightly", vec!["assistant"]));
    assert_eq!(granted.scopes, scopes("records.read"), "the assistant's ceiling and the job's");
    assert_eq!((granted.grant_id, granted.txn.as_deref()), (None, Some("txn-1")));
}

#[test]
fn a_workloads_token_for_a_backend_is_exchanged_by_that_backend_if_it_may_act_for_the_workload() {
    let mut world = World::new();
    let token = super::fixture::token_of(&world.grants(&Ask::for_itself("nightly").at("records")));
    let general = vec!["model.general".parse().unwrap()];
    world.client("nightly").client.resources.insert("models".parse().unwrap(), general);
    let ask = Ask::exchange("records-backend", token, "models").scopes("model.general");
    assert_eq!(world.refuses(&ask).reason, ReasonCode::WorkloadNotPermitted);
    world.client("records-backend").client.may_act_for.push("nightly".parse().unwrap());
    assert_eq!(actors(&world.grants(&ask)), ["records-backend"]);
}

#[test]
fn a_target_may_be_named_by_id_by_identifier_and_in_any_spelling_of_one() {
    let uri = "https://records.example.com/api";
    let spellings = [
        audiences(&["records"]),
        audiences(&[uri, "records"]),
        RequestedTargets { resources: vec![uri.to_owned()], audiences: Vec::new() },
        RequestedTargets { resources: vec!["HTTPS://Records.example.com:443/api".to_owned()], ..audiences(&[uri]) },
    ];
    for targets in spellings {
        World::new().grants(&Ask { targets, ..Ask::usual() });
    }
}

#[test]
fn with_no_target_named_the_only_one_that_can_be_meant_is_taken() {
    let ask = Ask { targets: audiences(&[]), ..Ask::exchange("stranger", id_token(), "records") };
    assert_eq!(World::new().refuses(&ask).reason, ReasonCode::TargetMissing, "the stranger has two");
    let ask = Ask { client: "orchestrator".to_owned(), ..ask };
    assert_eq!(World::new().grants(&ask).scopes, scopes("records.read records.write usage"));
}

#[test]
fn with_no_target_named_and_several_that_can_be_meant_the_default_is_taken() {
    let ask = Ask { targets: audiences(&[]), ..Ask::exchange("stranger", id_token(), "records") };
    let taken = |world: &World| match world.grants(&ask).target {
        Target::Resource(resource) => resource.id.to_string(),
        Target::Issuer => "this server".to_owned(),
    };
    let mut world = World::new();
    world.resource("models").is_default = true;
    assert_eq!(taken(&world), "models", "that of all clients");
    world.client("stranger").client.default_resource = Some("records".parse().unwrap());
    assert_eq!(taken(&world), "records", "its own comes first");
    // A default that cannot be reached from this token is none, and no other takes its place.
    world.client("stranger").client.default_resource = Some("billing".parse().unwrap());
    assert_eq!(world.refuses(&ask).reason, ReasonCode::TargetMissing);
    // Where only one can be meant, it is meant.
    world.client("stranger").client.resources.retain(|id, _| id.as_str() == "records");
    assert_eq!(taken(&world), "records");
}

#[test]
fn no_exchange_is_granted_without_an_actor() {
    let world = World::new();
    let asks = [
        Ask::usual(),
        Ask::exchange("orchestrator", id_token(), "records").acting(actor_token("assistant")),
        Ask::exchange("assistant", nightly_token(), "records"),
        Ask::exchange("records-backend", super::fixture::records_token(), "models"),
    ];
    for ask in asks {
        let chain = world.grants(&ask).chain.expect("an exchange is a delegation (rule TX-78)");
        let current: &Actor = chain.current();
        assert_eq!(current.iss.as_deref(), Some(ISSUER));
    }
}
