//! Policy: a set of Cedar policies, compiled once, that permits or forbids scope by scope.
//!
//! A decision looks only at the policies that can apply: those that name the scope or its backend, and the general ones.

use super::client::{Client, ClientEntry, GrantType};
use super::names::{PolicyId, UserId};
use super::registry::Registry;
use super::resource::{Resource, ResourceScope};
use super::scope::Scope;
use super::user::UserAttributes;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    Policy, PolicySet as CedarSet, Request, ResourceConstraint, RestrictedExpression, Schema, ValidationMode,
    Validator,
};
use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;

const SCHEMA: &str = include_str!("../../policies/schema.cedarschema");
const BUILTIN: &str = include_str!("../../policies/builtin.cedar");
const DEFAULT_PERMIT: &str = include_str!("../../policies/default_permit.cedar");

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
    /// The `sub` of every actor of the chain, the current one first.
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
    types: Types,
    hash: String,
}

#[derive(Debug)]
struct Slice {
    policies: CedarSet,
    scope: EntityUid,
    entities: Vec<Entity>,
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
    resource: &'a Resource,
    principal: EntityUid,
    context: Context,
    parties: Vec<Entity>,
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
        let own_policies = parse_own(&own)?;
        let mut all = builtin(default);
        all.extend(own_policies);
        let mut resources: Vec<&Resource> = resources.collect();
        resources.sort_by(|a, b| a.id.cmp(&b.id));
        let hash = hash(&resources, &own, default);
        let slices = resources
            .iter()
            .flat_map(|resource| resource.scopes.iter().map(move |scope| (*resource, scope)))
            .map(|(resource, scope)| (scope_name(resource, &scope.name), slice(resource, scope, &all)))
            .collect();
        let types = Types {
            user: type_name("User"),
            client: type_name("Client"),
            r#use: EntityUid::from_type_name_and_id(type_name("Action"), EntityId::new("use")),
        };
        Ok(Self { slices, types, hash })
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

    /// Readies a question.
    pub fn prepare<'a>(&'a self, question: &PolicyQuestion<'a>) -> Prepared<'a> {
        let client = self.client_entity(question.client);
        let (principal, mut parties) = match question.principal {
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
        parties.push(client);
        Prepared { set: self, resource: question.resource, principal, context, parties }
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
    /// What policy says of one scope of the backend. Fails closed: a scope it does not know is not permitted.
    pub fn verdict(&self, scope: &Scope) -> Verdict {
        let Some(slice) = self.set.slices.get(&scope_name(self.resource, scope)) else {
            return Verdict::NotPermitted;
        };
        let request = Request::new(
            self.principal.clone(),
            self.set.types.r#use.clone(),
            slice.scope.clone(),
            self.context.clone(),
            None,
        );
        let entities = slice.entities.iter().chain(&self.parties).cloned();
        let (Ok(request), Ok(entities)) = (request, Entities::from_entities(entities, None)) else {
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
    let grant = match question.grant {
        GrantType::TokenExchange => "token_exchange",
        GrantType::ClientCredentials => "client_credentials",
        GrantType::AuthorizationCode => "authorization_code",
        GrantType::RefreshToken => "refresh_token",
    };
    let mut pairs = vec![
        ("client".to_owned(), RestrictedExpression::new_entity_uid(client)),
        ("actors".to_owned(), texts(question.actors)),
        ("depth".to_owned(), RestrictedExpression::new_long(depth)),
        ("grant".to_owned(), text(grant)),
        ("now".to_owned(), RestrictedExpression::new_long(question.now)),
        ("amr".to_owned(), texts(question.amr)),
    ];
    pairs.extend(question.acr.map(|acr| ("acr".to_owned(), text(acr))));
    pairs.extend(question.auth_time.map(|at| ("auth_time".to_owned(), RestrictedExpression::new_long(at))));
    Context::from_pairs(pairs).expect("member names are distinct")
}

fn builtin(default: PolicyDefault) -> Vec<Policy> {
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
fn parse_own(own: &[&PolicyText]) -> Result<Vec<Policy>, Vec<PolicyProblem>> {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).expect("the schema parses");
    let validator = Validator::new(schema);
    let mut policies = Vec::new();
    let mut problems = Vec::new();
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
        let validation = validator.validate(&set, ValidationMode::Strict);
        problems.extend(validation.validation_errors().map(|error| problem(error)));
        let count = set.policies().count();
        // Cedar numbers them policy0, policy1, ... in the order of the text.
        let mut numbered: BTreeMap<usize, &Policy> = BTreeMap::new();
        for policy in set.policies() {
            let number = policy.id().to_string().trim_start_matches("policy").parse().unwrap_or(usize::MAX);
            numbered.insert(number, policy);
        }
        policies.extend(numbered.values().enumerate().map(|(index, policy)| {
            let id = if count == 1 { declared.id.to_string() } else { format!("{}.{}", declared.id, index + 1) };
            policy.new_id(cedar_policy::PolicyId::new(id))
        }));
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

fn slice(resource: &Resource, scope: &ResourceScope, all: &[Policy]) -> Slice {
    let resource_uid = EntityUid::from_type_name_and_id(type_name("Resource"), EntityId::new(resource.id.as_str()));
    let scope_uid =
        EntityUid::from_type_name_and_id(type_name("Scope"), EntityId::new(scope_name(resource, &scope.name)));
    let can_apply = |policy: &&Policy| match policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => true,
        ResourceConstraint::Eq(uid) => uid == scope_uid,
        ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => uid == scope_uid || uid == resource_uid,
    };
    let policies = CedarSet::from_policies(all.iter().filter(can_apply).cloned()).expect("policy ids are distinct");
    let backend = entity(
        resource_uid.clone(),
        HashMap::from([("audience".to_owned(), text(resource.audience.as_str()))]),
        HashSet::new(),
    );
    let declared = entity(
        scope_uid.clone(),
        HashMap::from([
            ("access".to_owned(), text(scope.access.as_str())),
            ("roles".to_owned(), texts(&scope.roles)),
            ("explicit".to_owned(), RestrictedExpression::new_bool(scope.policy.is_some())),
        ]),
        HashSet::from([resource_uid]),
    );
    Slice { policies, scope: scope_uid, entities: vec![backend, declared] }
}

fn hash(resources: &[&Resource], own: &[&PolicyText], default: PolicyDefault) -> String {
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
