//! What policies say, apart from the gates around them.

use super::*;
use crate::domain::client::{Assurance, ClientAuthentication, ConsentMode};
use std::collections::BTreeMap;

const RECORDS: &str = r#"
    id = "records"
    audience = "https://records.example.com/api"
    name = "Health records"
    [[scope]]
    name = "records.read"
    description = "See your health records"
    access = "read"
    [[scope]]
    name = "records.delete"
    description = "Delete a health record"
    access = "destructive"
    roles = ["doctor"]
    [[scope]]
    name = "records.export"
    description = "Take all health records away"
    access = "read"
    policy = "explicit"
"#;

fn records() -> Resource {
    toml::from_str(RECORDS).unwrap()
}

fn policy(id: &str, cedar: &str) -> PolicyText {
    PolicyText { id: id.parse().unwrap(), cedar: cedar.to_owned() }
}

fn compile(own: &[PolicyText]) -> Result<PolicySet, Vec<PolicyProblem>> {
    PolicySet::compile([records()].iter(), own.iter(), PolicyDefault::Permit)
}

/// The problems, each as it is printed.
fn problems(own: &[PolicyText]) -> Vec<String> {
    compile(own).unwrap_err().iter().map(ToString::to_string).collect()
}

fn assistant() -> ClientEntry {
    let client = Client {
        id: "assistant".parse().unwrap(),
        name: "Acme Assistant".to_owned(),
        authentication: ClientAuthentication::ClientSecretBasic,
        jwks_uri: None,
        jwks: None,
        grants: vec![GrantType::TokenExchange],
        redirect_uris: Vec::new(),
        consent: ConsentMode::User,
        may_act_for: Vec::new(),
        may_present: Vec::new(),
        resources: BTreeMap::new(),
        default_resource: None,
    };
    ClientEntry { client, assurance: Assurance::Vetted, suspended_at: None, other_authentication: Vec::new() }
}

fn verdict(own: &[PolicyText], roles: &[&str], scope: &str) -> Verdict {
    let (set, resource, client) = (compile(own).unwrap(), records(), assistant());
    let id: UserId = "corp|alice".parse().unwrap();
    let attributes =
        UserAttributes { roles: roles.iter().map(|&role| role.to_owned()).collect(), ..UserAttributes::default() };
    let question = PolicyQuestion {
        principal: Principal::User { id: &id, idp: "corp", attributes: &attributes },
        client: &client,
        resource: &resource,
        actors: &["assistant".to_owned()],
        grant: GrantType::TokenExchange,
        acr: None,
        amr: &[],
        auth_time: None,
        now: 1_800_000_000,
    };
    let scope: Scope = scope.parse().unwrap();
    set.prepare(&question).verdict(&scope)
}

#[test]
fn a_problem_in_a_policy_is_reported_with_its_id_and_line() {
    let unclosed = policy("open", "\n\npermit(principal, action, resource");
    let misspelt = policy("misspelt", "\npermit(principal, action, resource)\nwhen { principal.role == \"doctor\" };");
    let found = problems(&[unclosed, misspelt]);
    assert_eq!(found.len(), 3, "the misspelt attribute is wrong for a user and for a client: {found:#?}");
    assert!(found[0].starts_with("policy open, line 3: "), "{found:#?}");
    assert!(found[1].starts_with("policy misspelt, line 3: ") && found[1].contains("role"), "{found:#?}");
}

#[test]
fn a_policy_text_without_a_policy_or_with_a_template_is_refused() {
    assert_eq!(problems(&[policy("empty", "// nothing yet\n")]), ["policy empty, line 1: holds no policy"]);
    let template = policy("template", "permit(principal == ?principal, action, resource);");
    assert_eq!(
        problems(&[template]),
        ["policy template, line 1: policy templates (?principal, ?resource) are not supported"]
    );
}

#[test]
fn two_policies_never_share_an_id() {
    let two = "permit(principal, action, resource); forbid(principal, action, resource);";
    let one = "permit(principal, action, resource);";
    assert_eq!(
        problems(&[policy("a", two), policy("a.2", one)]),
        ["policy a.2, line 1: its policy a.2 has the id of another policy"]
    );
    assert_eq!(
        problems(&[policy("builtin.roles", one)]),
        ["policy builtin.roles, line 1: an id that begins with \"builtin\" is taken"]
    );
}

#[test]
fn each_policy_of_a_text_is_named_by_its_place() {
    let both = policy(
        "export",
        "permit(principal, action, resource == Scope::\"records#records.export\");\n\
         forbid(principal, action, resource) when { principal.roles.contains(\"guest\") };",
    );
    let own = [both];
    assert_eq!(verdict(&own, &[], "records.export"), Verdict::Permitted(vec!["export.1".to_owned()]));
    assert_eq!(verdict(&own, &["guest"], "records.export"), Verdict::Forbidden(vec!["export.2".to_owned()]));
}

#[test]
fn a_forbid_that_cannot_be_evaluated_forbids_and_a_permit_does_not_permit() {
    let overflow = "when { context.now * 9000000000000000000 > 0 }";
    let forbid = policy("broken", &format!("forbid(principal, action, resource) {overflow};"));
    let permit = policy("broken", &format!("permit(principal, action, resource in Resource::\"records\") {overflow};"));
    assert_eq!(verdict(&[forbid], &[], "records.read"), Verdict::Forbidden(vec!["broken".to_owned()]));
    assert_eq!(verdict(&[permit], &[], "records.export"), Verdict::NotPermitted);
}

#[test]
fn a_scope_that_the_backend_does_not_have_is_not_permitted_even_if_everything_is() {
    let everything = [policy("all", "permit(principal, action, resource);")];
    assert_eq!(verdict(&everything, &[], "records.nothing"), Verdict::NotPermitted);
}

#[test]
fn the_hash_changes_with_all_that_decides() {
    let base = compile(&[]).unwrap().hash().to_owned();
    assert_eq!(compile(&[]).unwrap().hash(), base);
    let own = compile(&[policy("all", "permit(principal, action, resource);")]).unwrap();
    assert_ne!(own.hash(), base);
    let explicit = PolicySet::compile([records()].iter(), [].iter(), PolicyDefault::Explicit).unwrap();
    assert_ne!(explicit.hash(), base);
    let mut other = records();
    other.scopes[1].roles.push("nurse".to_owned());
    assert_ne!(PolicySet::compile([other].iter(), [].iter(), PolicyDefault::Permit).unwrap().hash(), base);
}
