//! A small registry in its own file format, and requests that it grants. A test changes one thing and asks.

use super::super::{Asked, Decision, Delegation, Granted, GrantedSubject, Question, Refusal, decide};
use crate::domain::client::{Assurance, Client, ClientEntry, GrantType};
use crate::domain::consent::{Consent, ConsentSource, ConsentingUser};
use crate::domain::delegation::ActChain;
use crate::domain::identity_provider::{IdentityProvider, SubjectTokenType};
use crate::domain::limits::LimitState;
use crate::domain::names::UserId;
use crate::domain::policy::{PolicyDefault, PolicySet, PolicyText};
use crate::domain::registry::Registry;
use crate::domain::resource::Resource;
use crate::domain::scope::ScopeSet;
use crate::domain::subject::{ActorToken, OwnToken, Subject, SubjectIssuer};
use crate::domain::target::{RequestedTargets, Target};
use crate::domain::user::{User, UserAttributes};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

pub(super) const NOW: i64 = 1_800_000_000;
pub(super) const ISSUER: &str = "https://auth.example.com";

const DECLARED: &str = r#"
[[identity_provider]]
id = "corp"
issuer = "https://idp.example.com"
name = "Example Corp"
[[identity_provider.subject_token]]
type = "id_token"
audiences = ["llm-app"]
clients = ["assistant", "orchestrator", "stranger", "public"]
max_age_seconds = 3600
[[identity_provider.subject_token]]
type = "access_token"
audiences = ["https://auth.example.com"]
clients = ["assistant"]
required_claims = { tid = "corp" }
single_use = true

[[resource]]
id = "records"
audience = "https://records.example.com/api"
name = "Health records"
may_exchange_to = ["models"]
clients = ["records-backend"]
scope = [
    { name = "records.read", description = "See records", access = "read" },
    { name = "records.write", description = "Change records", access = "write" },
    { name = "records.delete", description = "Delete records", access = "destructive", roles = ["doctor"] },
    { name = "usage", description = "See usage", access = "read" },
]

[[resource]]
id = "models"
audience = "https://models.example.com/api"
name = "Models"
token_lifetime_seconds = 600
may_exchange_to = ["billing"]
clients = ["models-backend"]
scope = [
    { name = "model.general", description = "Ask the general model", access = "read" },
    { name = "model.medical", description = "Ask the medical model", access = "read", policy = "explicit" },
    { name = "usage", description = "See usage", access = "read" },
]

[[resource]]
id = "billing"
audience = "https://billing.example.com/api"
name = "Billing"
scope = [{ name = "billing.read", description = "See bills", access = "read" }]

[[client]]
id = "assistant"
name = "Acme Assistant"
authentication = "client_secret_basic"
grants = ["token_exchange", "client_credentials"]
may_act_for = ["nightly"]
[client.resources]
records = ["records.read", "records.write", "records.delete"]
models = ["model.general"]

[[client]]
id = "orchestrator"
name = "Orchestrator"
authentication = "private_key_jwt"
grants = ["token_exchange"]
may_present = ["assistant"]
[client.resources]
records = ["records.read", "records.write", "usage"]

[[client]]
id = "stranger"
name = "Stranger"
authentication = "client_secret_post"
grants = ["token_exchange"]
may_act_for = ["nightly"]
[client.resources]
records = ["records.read"]
models = ["model.general"]

[[client]]
id = "records-backend"
name = "Records backend"
authentication = "client_secret_basic"
grants = ["token_exchange"]
[client.resources]
models = ["model.general", "model.medical", "usage"]
billing = ["billing.read"]

[[client]]
id = "models-backend"
name = "Models backend"
authentication = "client_secret_basic"
grants = ["token_exchange"]
[client.resources]
billing = ["billing.read"]

[[client]]
id = "nightly"
name = "Nightly job"
authentication = "client_secret_basic"
grants = ["client_credentials"]
[client.resources]
records = ["records.read"]

[[client]]
id = "public"
name = "Public client"
authentication = "none"
grants = ["token_exchange", "client_credentials"]
[client.resources]
records = ["records.read"]

[[policy]]
id = "doctors-use-medical-models"
cedar = '''permit(principal, action == Action::"use", resource == Scope::"models#model.medical") when { principal.roles.contains("doctor") };'''
"#;

#[derive(Deserialize)]
struct Declared {
    identity_provider: Vec<IdentityProvider>,
    resource: Vec<Resource>,
    client: Vec<Client>,
    policy: Vec<PolicyText>,
}

/// What is declared, agreed and remembered.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) idps: Vec<IdentityProvider>,
    pub(super) resources: Vec<Resource>,
    pub(super) clients: Vec<ClientEntry>,
    pub(super) policies: Vec<PolicyText>,
    pub(super) policy_default: PolicyDefault,
    pub(super) suspended_users: HashSet<UserId>,
    pub(super) consents: Vec<Consent>,
    pub(super) known_user: Option<User>,
    pub(super) max_chain_depth: usize,
}

impl World {
    /// The declarations above; Alice, a nurse, agreed to everything that a client may ask for.
    pub(super) fn new() -> Self {
        static WORLD: LazyLock<World> = LazyLock::new(World::read);
        WORLD.clone()
    }

    fn read() -> Self {
        let declared: Declared = toml::from_str(DECLARED).unwrap();
        let entry = |client| ClientEntry {
            client,
            assurance: Assurance::Vetted,
            suspended_at: None,
            other_authentication: Vec::new(),
        };
        let clients: Vec<ClientEntry> = declared.client.into_iter().map(entry).collect();
        let consents = clients.iter().flat_map(|entry| {
            let client = &entry.client;
            client.resources.iter().map(move |(resource, scopes)| Consent {
                id: format!("{}-at-{resource}", client.id),
                user: ConsentingUser::One(alice()),
                client: client.id.clone(),
                resource: resource.clone(),
                scopes: scopes.iter().cloned().collect(),
                source: ConsentSource::User,
                granted_at: NOW - 86_400,
                expires_at: Some(NOW + 86_400),
                revoked_at: None,
                paused_at: None,
                fingerprint: None,
                redirect_uri: None,
            })
        });
        Self {
            idps: declared.identity_provider,
            resources: declared.resource,
            consents: consents.collect(),
            clients,
            policies: declared.policy,
            policy_default: PolicyDefault::Permit,
            suspended_users: HashSet::new(),
            known_user: Some(User {
                id: alice(),
                idp: "corp".parse().unwrap(),
                idp_sub: "alice".to_owned(),
                attributes: nurse(),
                attributes_at: NOW - 60,
                suspended_at: None,
            }),
            max_chain_depth: 4,
        }
    }

    pub(super) fn client(&mut self, id: &str) -> &mut ClientEntry {
        self.clients.iter_mut().find(|entry| entry.client.id.as_str() == id).unwrap()
    }

    pub(super) fn resource(&mut self, id: &str) -> &mut Resource {
        self.resources.iter_mut().find(|resource| resource.id.as_str() == id).unwrap()
    }

    /// Alice's consent for this client at this backend.
    pub(super) fn consent(&mut self, client: &str, resource: &str) -> &mut Consent {
        let id = format!("{client}-at-{resource}");
        self.consents.iter_mut().find(|consent| consent.id == id).unwrap()
    }

    pub(super) fn policy(&mut self, id: &str, cedar: &str) {
        self.policies.push(PolicyText { id: id.parse().unwrap(), cedar: cedar.to_owned() });
    }

    pub(super) fn registry(&self) -> Registry {
        Registry::new(
            self.idps.clone(),
            self.resources.clone(),
            self.clients.clone(),
            self.policies.clone(),
            self.suspended_users.clone(),
        )
    }

    pub(super) fn decide(&self, ask: &Ask) -> Decision {
        self.compiled().decide(ask)
    }

    /// Ready for several requests.
    pub(super) fn compiled(&self) -> Compiled<'_> {
        let registry = self.registry();
        let policies = PolicySet::of(&registry, self.policy_default).unwrap();
        Compiled { world: self, registry, policies }
    }

    /// What is granted.
    #[track_caller]
    pub(super) fn grants(&self, ask: &Ask) -> Granted {
        match self.decide(ask).outcome {
            Ok(granted) => granted,
            Err(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    /// Why nothing is granted.
    #[track_caller]
    pub(super) fn refuses(&self, ask: &Ask) -> Refusal {
        match self.decide(ask).outcome {
            Ok(granted) => panic!("granted: {granted:?}"),
            Err(refusal) => refusal,
        }
    }
}

/// A world with its registry and policies in the form that a decision takes.
pub(super) struct Compiled<'a> {
    world: &'a World,
    registry: Registry,
    policies: PolicySet,
}

impl Compiled<'_> {
    pub(super) fn decide(&self, ask: &Ask) -> Decision {
        let Self { world, registry, policies } = self;
        let asked = Delegation {
            grant: ask.grant,
            session_ended: ask.session_ended,
            is_ended_in_list: ask.is_ended_in_list,
            subject: ask.subject.as_ref(),
            actor: ask.actor.as_ref().map(Result::as_ref),
            known_user: world.known_user.as_ref(),
            consents: &world.consents,
            limits: ask.limits,
        };
        decide(&Question {
            registry,
            policies,
            issuer: ISSUER,
            max_chain_depth: world.max_chain_depth,
            own_token_lifetime_seconds: 300,
            now: ask.now,
            client: registry.client_by_name(&ask.client).expect("the client authenticated, so it is registered"),
            other_clients: &[],
            targets: &ask.targets,
            scopes: ask.scopes.as_ref(),
            asked: if ask.for_itself { Asked::ClientCredentials } else { Asked::Delegation(asked) },
        })
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) client: String,
    pub(super) targets: RequestedTargets,
    pub(super) scopes: Option<ScopeSet>,
    pub(super) subject: Result<Subject, Refusal>,
    pub(super) actor: Option<Result<ActorToken, Refusal>>,
    pub(super) limits: LimitState,
    pub(super) grant: GrantType,
    pub(super) session_ended: Option<&'static str>,
    pub(super) is_ended_in_list: bool,
    pub(super) for_itself: bool,
    pub(super) now: i64,
}

impl Ask {
    /// `client` presents a subject token and asks for a token for `target`.
    pub(super) fn exchange(client: &str, subject: Subject, target: &str) -> Self {
        Self {
            client: client.to_owned(),
            targets: audiences(&[target]),
            scopes: None,
            subject: Ok(subject),
            actor: None,
            limits: LimitState::Within,
            grant: GrantType::TokenExchange,
            session_ended: None,
            is_ended_in_list: false,
            for_itself: false,
            now: NOW,
        }
    }

    /// The usual request: the assistant presents Alice's ID token and asks to read her records.
    pub(super) fn usual() -> Self {
        Self::exchange("assistant", id_token(), "records").scopes("records.read")
    }

    /// `client` asks for a token of its own.
    pub(super) fn for_itself(client: &str) -> Self {
        let none = RequestedTargets::default();
        Self { for_itself: true, targets: none, ..Self::exchange(client, id_token(), "records") }
    }

    pub(super) fn scopes(self, scopes: &str) -> Self {
        Self { scopes: Some(scopes.parse().unwrap()), ..self }
    }

    pub(super) fn at(self, target: &str) -> Self {
        Self { targets: audiences(&[target]), ..self }
    }

    pub(super) fn acting(self, actor: ActorToken) -> Self {
        Self { actor: Some(Ok(actor)), ..self }
    }

    /// The subject token, to change it.
    pub(super) fn subject(&mut self) -> &mut Subject {
        self.subject.as_mut().unwrap()
    }
}

pub(super) fn audiences(names: &[&str]) -> RequestedTargets {
    RequestedTargets { resources: Vec::new(), audiences: names.iter().map(|&name| name.to_owned()).collect() }
}

pub(super) fn alice() -> UserId {
    "corp|alice".parse().unwrap()
}

pub(super) fn nurse() -> UserAttributes {
    UserAttributes { roles: vec!["nurse".to_owned()], ..UserAttributes::default() }
}

pub(super) fn doctor() -> UserAttributes {
    UserAttributes { roles: vec!["doctor".to_owned()], ..UserAttributes::default() }
}

pub(super) fn scopes(text: &str) -> ScopeSet {
    text.parse().unwrap()
}

/// Alice's ID token for the LLM app, a minute old.
pub(super) fn id_token() -> Subject {
    Subject {
        issuer: SubjectIssuer::Idp("corp".parse().unwrap()),
        token_type: SubjectTokenType::IdToken,
        sub: "alice".to_owned(),
        audiences: vec!["llm-app".to_owned()],
        azp: None,
        scope: None,
        expires_at: NOW + 3_540,
        issued_at: Some(NOW - 60),
        jti: Some("id-1".to_owned()),
        sid: None,
        auth_time: Some(NOW - 60),
        acr: Some("2".to_owned()),
        amr: vec!["pwd".to_owned(), "otp".to_owned()],
        act: None,
        may_act: None,
        attributes: nurse(),
        named_claims: BTreeMap::new(),
    }
}

/// Alice's sign-in in the browser, as the assistant's refresh token for her records stands for it.
pub(super) fn sign_in() -> Subject {
    Subject {
        issuer: SubjectIssuer::SignIn("corp".parse().unwrap()),
        audiences: vec!["https://records.example.com/api".to_owned()],
        scope: Some(scopes("records.read")),
        sid: Some("fam_1".to_owned()),
        expires_at: NOW + 86_400,
        ..id_token()
    }
}

/// Alice's access token from her provider, for this server.
pub(super) fn access_token() -> Subject {
    Subject {
        token_type: SubjectTokenType::AccessToken,
        audiences: vec![ISSUER.to_owned()],
        scope: Some(scopes("records.read records.write")),
        named_claims: BTreeMap::from([("tid".to_owned(), "corp".to_owned())]),
        ..id_token()
    }
}

/// A granted token as the next hop presents it.
pub(super) fn token_of(granted: &Granted) -> Subject {
    let audience = match &granted.target {
        Target::Resource(resource) => resource.audience.as_str().to_owned(),
        Target::Issuer => ISSUER.to_owned(),
    };
    Subject {
        issuer: SubjectIssuer::Own(OwnToken {
            client_id: granted.client.as_str().to_owned(),
            grant_id: granted.grant_id.clone(),
            earlier_grants: granted.earlier_grants.clone(),
            txn: granted.txn.clone().or_else(|| Some("txn-1".to_owned())),
            client_assurance: Some(granted.assurance.as_str().to_owned()),
            status: None,
        }),
        token_type: SubjectTokenType::AccessToken,
        sub: granted.subject.sub().to_owned(),
        audiences: vec![audience],
        azp: None,
        scope: Some(granted.scopes.clone()).filter(|scopes| !scopes.is_empty()),
        expires_at: granted.expires_at,
        issued_at: Some(granted.issued_at),
        jti: Some("own-1".to_owned()),
        sid: None,
        auth_time: granted.auth_time,
        acr: granted.acr.clone(),
        amr: granted.amr.clone(),
        act: granted.chain.clone(),
        may_act: None,
        attributes: UserAttributes::default(),
        named_claims: BTreeMap::new(),
    }
}

/// The delegation token that the assistant got for Alice's records.
pub(super) fn records_token() -> Subject {
    token_of(&World::new().grants(&Ask::exchange("assistant", id_token(), "records")))
}

/// The nightly job's own token for this server.
pub(super) fn nightly_token() -> Subject {
    token_of(&World::new().grants(&Ask::for_itself("nightly")))
}

/// A client's own token, as an actor token.
pub(super) fn actor_token(client: &str) -> ActorToken {
    ActorToken { sub: client.to_owned(), audiences: vec![ISSUER.to_owned()], is_delegated: false }
}

/// The chain, the current actor first.
pub(super) fn actors(granted: &Granted) -> Vec<&str> {
    granted.chain.iter().flat_map(ActChain::actors).map(|actor| actor.sub.as_str()).collect()
}

/// True if the token is for a user.
pub(super) fn is_for_user(granted: &Granted) -> bool {
    matches!(granted.subject, GrantedSubject::User { .. })
}
