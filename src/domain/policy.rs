//! Policy: a set of Cedar policies, compiled once, that permits or forbids scope by scope.
//!
//! A decision looks only at the policies that can apply: those that name the scope or its backend, and the general ones.

mod compile;
mod memo;
#[cfg(test)]
mod tests;

use super::client::{Client, ClientEntry, GrantType};
use super::names::{PolicyId, ResourceId, UserId};
use super::registry::Registry;
use super::resource::Resource;
use super::scope::Scope;
use super::user::UserAttributes;
use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet as CedarSet, Request, RestrictedExpression,
};
use memo::{Memo, Reads};
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::str::FromStr;

/// Own Cedar text, as declared in the registry file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyText {
    /// The registry's name of it; audit and `explain` name policies so.
    pub id: PolicyId,
    /// One or more Cedar policies.
    pub cedar: String,
}

/// What is wrong with a policy, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy {policy}, line {line}: {message}")]
pub struct PolicyProblem {
    /// Which policy.
    pub policy: PolicyId,
    /// Line in its Cedar text, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// What happens to a scope that has neither `roles` nor `policy = "explicit"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyDefault {
    /// A built-in policy permits it; consent and ceilings still apply.
    #[default]
    Permit,
    /// Only own Cedar text can permit it.
    Explicit,
}

/// Whom a decision is about.
#[derive(Debug, Clone, Copy)]
pub enum Principal<'a> {
    /// A user, with what the provider says of them.
    User {
        /// The `sub` of our tokens.
        id: &'a UserId,
        /// The provider's id.
        idp: &'a str,
        /// Roles, groups and e-mail.
        attributes: &'a UserAttributes,
    },
    /// A client that acts for itself.
    Client(&'a ClientEntry),
}

/// Everything a policy may look at, but for the scope.
#[derive(Debug, Clone, Copy)]
pub struct PolicyQuestion<'a> {
    /// Whom it is about.
    pub principal: Principal<'a>,
    /// The client that asks.
    pub client: &'a ClientEntry,
    /// The backend.
    pub resource: &'a Resource,
    /// Every actor of the chain, the current one first: a client by its id, any other by issuer, space and `sub`.
    pub actors: &'a [String],
    /// The grant.
    pub grant: GrantType,
    /// `acr` of the user's sign-in.
    pub acr: Option<&'a str>,
    /// `amr` of the user's sign-in.
    pub amr: &'a [String],
    /// When the user signed in, Unix seconds.
    pub auth_time: Option<i64>,
    /// Unix seconds.
    pub now: i64,
}

/// What policy says of one scope, with the policies that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// At least one policy permits and none forbids.
    Permitted(Vec<String>),
    /// No policy permits.
    NotPermitted,
    /// A policy forbids, or one that may forbid could not be evaluated.
    Forbidden(Vec<String>),
}

/// The compiled set.
#[derive(Debug)]
pub struct PolicySet {
    slices: HashMap<String, Slice>,
    backends: HashMap<ResourceId, Entity>,
    types: Types,
    hash: String,
    memo: Memo,
}

#[derive(Debug)]
struct Slice {
    policies: CedarSet,
    scope: Entity,
    reads: Reads,
}

#[derive(Debug)]
struct Types {
    user: EntityTypeName,
    client: EntityTypeName,
    r#use: EntityUid,
}

/// One question, ready to be asked for scope after scope.
pub struct Prepared<'a> {
    set: &'a PolicySet,
    question: PolicyQuestion<'a>,
    /// Made for the first scope whose verdict is not remembered.
    asked: OnceCell<AskedOfCedar>,
}

/// A question in Cedar's terms, but for the scope.
struct AskedOfCedar {
    principal: EntityUid,
    context: Context,
    /// The principal, the client and the backend.
    entities: Vec<Entity>,
}

impl PolicySet {
    /// Parses, validates against the schema, and slices.
    ///
    /// # Errors
    /// Every problem found, each with its policy and line.
    pub fn compile<'a>(
        resources: impl Iterator<Item = &'a Resource>,
        own: impl Iterator<Item = &'a PolicyText>,
        default: PolicyDefault,
    ) -> Result<Self, Vec<PolicyProblem>> {
        let own: Vec<&PolicyText> = own.collect();
        let own_policies = compile::parse_own(&own)?;
        let mut all = compile::builtin(default);
        all.extend(own_policies);
        let mut resources: Vec<&Resource> = resources.collect();
        resources.sort_by(|a, b| a.id.cmp(&b.id));
        let hash = compile::hash(&resources, &own, default);
        let slices = resources
            .iter()
            .flat_map(|resource| resource.scopes.iter().map(move |scope| (*resource, scope)))
            .map(|(resource, scope)| {
                let policies = compile::slice(resource, scope, &all);
                let reads = Reads::of(policies.policies());
                let scope_entity = compile::scope_entity(resource, scope);
                (scope_name(resource, &scope.name), Slice { policies, scope: scope_entity, reads })
            })
            .collect();
        let backends =
            resources.iter().map(|resource| (resource.id.clone(), compile::resource_entity(resource))).collect();
        let types = Types {
            user: type_name("User"),
            client: type_name("Client"),
            r#use: EntityUid::from_type_name_and_id(type_name("Action"), EntityId::new("use")),
        };
        Ok(Self { slices, backends, types, hash, memo: Memo::default() })
    }

    /// The set for a registry that was checked before.
    ///
    /// # Errors
    /// As [`PolicySet::compile`].
    pub fn of(registry: &Registry, default: PolicyDefault) -> Result<Self, Vec<PolicyProblem>> {
        Self::compile(registry.resources().map(AsRef::as_ref), registry.policies(), default)
    }

    /// SHA-256 over all that decides, in base64url: the claim `policy` and the audit event carry it.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Readies a question about scopes of its backend.
    pub fn prepare<'a>(&'a self, question: &PolicyQuestion<'a>) -> Prepared<'a> {
        Prepared { set: self, question: *question, asked: OnceCell::new() }
    }

    fn in_cedars_terms(&self, question: &PolicyQuestion<'_>) -> AskedOfCedar {
        let client = self.client_entity(question.client);
        let (principal, mut entities) = match question.principal {
            Principal::User { id, idp, attributes } => {
                let user = self.user_entity(id, idp, attributes);
                (user.uid(), vec![user])
            }
            Principal::Client(entry) => {
                let own = self.client_entity(entry);
                let uid = own.uid();
                (uid.clone(), if uid == client.uid() { Vec::new() } else { vec![own] })
            }
        };
        let context = context(question, client.uid());
        entities.push(client);
        entities.extend(self.backends.get(&question.resource.id).cloned());
        AskedOfCedar { principal, context, entities }
    }

    fn slice(&self, resource: &Resource, scope: &Scope) -> Option<&Slice> {
        self.slices.get(&scope_name(resource, scope))
    }

    fn user_entity(&self, id: &UserId, idp: &str, attributes: &UserAttributes) -> Entity {
        let uid = EntityUid::from_type_name_and_id(self.types.user.clone(), EntityId::new(id.as_str()));
        let mut members = HashMap::from([
            ("idp".to_owned(), text(idp)),
            ("roles".to_owned(), texts(&attributes.roles)),
            ("groups".to_owned(), texts(&attributes.groups)),
        ]);
        if let Some(email) = &attributes.email {
            members.insert("email".to_owned(), text(email));
        }
        entity(uid, members, HashSet::new())
    }

    fn client_entity(&self, entry: &ClientEntry) -> Entity {
        let Client { id, .. } = &entry.client;
        let uid = EntityUid::from_type_name_and_id(self.types.client.clone(), EntityId::new(id.as_str()));
        let members = HashMap::from([
            ("roles".to_owned(), texts(&[])),
            ("groups".to_owned(), texts(&[])),
            ("assurance".to_owned(), text(entry.assurance.as_str())),
        ]);
        entity(uid, members, HashSet::new())
    }
}

impl Prepared<'_> {
    /// Own policies that could permit a scope to somebody, in order: where to look when none did.
    pub fn candidates(&self, scope: &Scope) -> Vec<String> {
        let policies =
            self.set.slice(self.question.resource, scope).into_iter().flat_map(|slice| slice.policies.policies());
        let mut own: Vec<String> = policies
            .filter(|policy| policy.effect() == Effect::Permit)
            .map(|policy| policy.id().to_string())
            .filter(|id| !id.starts_with("builtin."))
            .collect();
        own.sort();
        own
    }

    /// What policy says of one scope of the backend. Fails closed: a scope it does not know is not permitted.
    pub fn verdict(&self, scope: &Scope) -> Verdict {
        let Some(slice) = self.set.slice(self.question.resource, scope) else {
            return Verdict::NotPermitted;
        };
        let key = memo::key(&self.question, &scope_name(self.question.resource, scope), slice.reads);
        self.set.memo.recall_or(key, || self.evaluate(slice))
    }

    fn evaluate(&self, slice: &Slice) -> Verdict {
        let asked = self.asked.get_or_init(|| self.set.in_cedars_terms(&self.question));
        // The scope's own entity and no other scope's: what else is asked for has no part in its verdict.
        let entities = asked.entities.iter().chain([&slice.scope]).cloned();
        let Ok(entities) = Entities::from_entities(entities, None) else {
            return Verdict::NotPermitted;
        };
        let (principal, context) = (asked.principal.clone(), asked.context.clone());
        let request = Request::new(principal, self.set.types.r#use.clone(), slice.scope.uid(), context, None);
        let Ok(request) = request else {
            return Verdict::NotPermitted;
        };
        let response = Authorizer::new().is_authorized(&request, &slice.policies, &entities);
        let failed_forbids: Vec<String> = response
            .diagnostics()
            .errors()
            .map(|AuthorizationError::PolicyEvaluationError(error)| error.policy_id())
            .filter(|id| slice.policies.policy(id).is_some_and(|policy| policy.effect() == Effect::Forbid))
            .map(ToString::to_string)
            .collect();
        if !failed_forbids.is_empty() {
            return Verdict::Forbidden(failed_forbids);
        }
        let mut deciding: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        deciding.sort();
        match response.decision() {
            Decision::Allow => Verdict::Permitted(deciding),
            Decision::Deny if deciding.is_empty() => Verdict::NotPermitted,
            Decision::Deny => Verdict::Forbidden(deciding),
        }
    }
}

fn type_name(name: &str) -> EntityTypeName {
    EntityTypeName::from_str(name).expect("a plain identifier is a type name")
}

fn scope_name(resource: &Resource, scope: &Scope) -> String {
    format!("{}#{scope}", resource.id)
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn texts(values: &[String]) -> RestrictedExpression {
    RestrictedExpression::new_set(values.iter().map(|value| text(value)))
}

fn entity(uid: EntityUid, members: HashMap<String, RestrictedExpression>, parents: HashSet<EntityUid>) -> Entity {
    Entity::new(uid, members, parents).expect("texts, sets of texts and bools always evaluate")
}

fn context(question: &PolicyQuestion<'_>, client: EntityUid) -> Context {
    let depth = i64::try_from(question.actors.len()).unwrap_or(i64::MAX);
    let mut pairs = vec![
        ("client".to_owned(), RestrictedExpression::new_entity_uid(client)),
        ("actors".to_owned(), texts(question.actors)),
        ("depth".to_owned(), RestrictedExpression::new_long(depth)),
        ("grant".to_owned(), text(memo::grant_name(question.grant))),
        ("now".to_owned(), RestrictedExpression::new_long(question.now)),
        ("amr".to_owned(), texts(question.amr)),
    ];
    pairs.extend(question.acr.map(|acr| ("acr".to_owned(), text(acr))));
    pairs.extend(question.auth_time.map(|at| ("auth_time".to_owned(), RestrictedExpression::new_long(at))));
    Context::from_pairs(pairs).expect("member names are distinct")
}
