//! Compiling: Cedar text to checked policies, sliced by scope.

use super::{PolicyDefault, PolicyProblem, PolicyText, entity, scope_name, text, texts, type_name};
use crate::domain::resource::{Resource, ResourceScope};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cedar_policy::{
    Entity, EntityId, EntityUid, Policy, PolicySet as CedarSet, ResourceConstraint, RestrictedExpression, Schema,
    ValidationMode, Validator,
};
use miette::Diagnostic;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;
use std::sync::LazyLock;

const SCHEMA: &str = include_str!("../../../policies/schema.cedarschema");
const BUILTIN: &str = include_str!("../../../policies/builtin.cedar");
const DEFAULT_PERMIT: &str = include_str!("../../../policies/default_permit.cedar");

/// The built-in policies.
pub(super) fn builtin(default: PolicyDefault) -> Vec<Policy> {
    let parse = |id: &str, source: &str| {
        Policy::parse(Some(cedar_policy::PolicyId::new(id)), source).expect("a built-in policy parses")
    };
    let mut policies = vec![parse("builtin.roles", BUILTIN)];
    if default == PolicyDefault::Permit {
        policies.push(parse("builtin.default", DEFAULT_PERMIT));
    }
    policies
}

/// The own policies under their registry names; a text with several is `id.1`, `id.2` and so on.
pub(super) fn parse_own(own: &[&PolicyText]) -> Result<Vec<Policy>, Vec<PolicyProblem>> {
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).expect("the schema parses");
        Validator::new(schema)
    });
    let mut policies = Vec::new();
    let mut problems = Vec::new();
    let mut names = HashSet::new();
    for declared in own {
        let problem = |error: &dyn Diagnostic| PolicyProblem {
            policy: declared.id.clone(),
            line: line_of(error, &declared.cedar),
            message: one_line(error),
        };
        let set = match CedarSet::from_str(&declared.cedar) {
            Ok(set) => set,
            Err(errors) => {
                problems.extend(errors.iter().map(|error| problem(error)));
                continue;
            }
        };
        if set.num_of_templates() > 0 {
            let message = "policy templates (?principal, ?resource) are not supported".to_owned();
            problems.push(PolicyProblem { policy: declared.id.clone(), line: 1, message });
            continue;
        }
        if set.policies().next().is_none() {
            let message = "holds no policy".to_owned();
            problems.push(PolicyProblem { policy: declared.id.clone(), line: 1, message });
            continue;
        }
        let validation = VALIDATOR.validate(&set, ValidationMode::Strict);
        problems.extend(validation.validation_errors().map(|error| problem(error)));
        if declared.id.as_str().split('.').next() == Some("builtin") {
            let message = "an id that begins with \"builtin\" is taken".to_owned();
            problems.push(PolicyProblem { policy: declared.id.clone(), line: 1, message });
        }
        let count = set.policies().count();
        // Cedar numbers them policy0, policy1, ... in the order of the text.
        let mut numbered: BTreeMap<usize, &Policy> = BTreeMap::new();
        for policy in set.policies() {
            let number = policy.id().to_string().trim_start_matches("policy").parse().unwrap_or(usize::MAX);
            numbered.insert(number, policy);
        }
        for (index, policy) in numbered.values().enumerate() {
            let id = if count == 1 { declared.id.to_string() } else { format!("{}.{}", declared.id, index + 1) };
            if !names.insert(id.clone()) {
                let message = format!("its policy {id} has the id of another policy");
                problems.push(PolicyProblem { policy: declared.id.clone(), line: 1, message });
            }
            policies.push(policy.new_id(cedar_policy::PolicyId::new(id)));
        }
    }
    if problems.is_empty() { Ok(policies) } else { Err(problems) }
}

fn line_of(error: &dyn Diagnostic, source: &str) -> usize {
    let offset = error.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
    1 + source.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn one_line(error: &dyn Diagnostic) -> String {
    let label = error.labels().and_then(|mut labels| labels.next()).and_then(|label| label.label().map(str::to_owned));
    let help = error.help().map(|help| help.to_string());
    let mut message = error.to_string();
    for more in [label, help].into_iter().flatten().filter(|more| !more.is_empty()) {
        message.push_str("; ");
        message.push_str(&more);
    }
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The policies that can apply to one scope.
pub(super) fn slice(resource: &Resource, scope: &ResourceScope, all: &[Policy]) -> CedarSet {
    let (resource_uid, scope_uid) = (resource_uid(resource), scope_uid(resource, scope));
    let can_apply = |policy: &&Policy| match policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => true,
        ResourceConstraint::Eq(uid) => uid == scope_uid,
        ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => uid == scope_uid || uid == resource_uid,
    };
    CedarSet::from_policies(all.iter().filter(can_apply).cloned()).expect("policy ids are distinct")
}

/// The backend, as policies see it.
pub(super) fn resource_entity(resource: &Resource) -> Entity {
    let members = HashMap::from([("audience".to_owned(), text(resource.audience.as_str()))]);
    entity(resource_uid(resource), members, HashSet::new())
}

/// A scope of the backend, as policies see it.
pub(super) fn scope_entity(resource: &Resource, scope: &ResourceScope) -> Entity {
    let members = HashMap::from([
        ("access".to_owned(), text(scope.access.as_str())),
        ("roles".to_owned(), texts(&scope.roles)),
        ("explicit".to_owned(), RestrictedExpression::new_bool(scope.policy.is_some())),
    ]);
    entity(scope_uid(resource, scope), members, HashSet::from([resource_uid(resource)]))
}

fn resource_uid(resource: &Resource) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name("Resource"), EntityId::new(resource.id.as_str()))
}

fn scope_uid(resource: &Resource, scope: &ResourceScope) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name("Scope"), EntityId::new(scope_name(resource, &scope.name)))
}

/// A digest over all that decides but the registry of clients.
pub(super) fn hash(resources: &[&Resource], own: &[&PolicyText], default: PolicyDefault) -> String {
    let mut own: Vec<&&PolicyText> = own.iter().collect();
    own.sort_by(|a, b| a.id.cmp(&b.id));
    let scopes: Vec<_> = resources
        .iter()
        .flat_map(|resource| resource.scopes.iter().map(move |scope| (scope_name(resource, &scope.name), scope)))
        .map(|(name, scope)| (name, scope.access.as_str(), &scope.roles, scope.policy.is_some()))
        .collect();
    let all = serde_json::to_vec(&(SCHEMA, BUILTIN, DEFAULT_PERMIT, default, own, scopes)).expect("texts serialize");
    URL_SAFE_NO_PAD.encode(Sha256::digest(all))
}
