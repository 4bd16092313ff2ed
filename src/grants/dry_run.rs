//! A dry run of a token exchange, or of a sign-in at `/authorize`: the same decision, on what is stored, without a token and
//! without an audit event.

use crate::app::Snapshot;
use crate::config::Config;
use crate::domain::client::{ClientEntry, GrantType};
use crate::domain::consent::Consent;
use crate::domain::decision::{Asked, Decision, Delegation, Question, decide};
use crate::domain::identity_provider::{IdentityProvider, SubjectTokenType};
use crate::domain::limits::LimitState;
use crate::domain::names::UserId;
use crate::domain::scope::ScopeSet;
use crate::domain::subject::{Subject, SubjectIssuer};
use crate::domain::target::RequestedTargets;
use crate::domain::user::{User, UserAttributes};
use crate::mistake::hint;
use crate::store::{Store, StoreError};

/// What is asked of a dry run.
#[derive(Debug, Clone)]
pub struct Ask {
    /// For whom: the `sub` of our tokens.
    pub user: UserId,
    /// Which client, by id.
    pub client: String,
    /// At which backend; left open if empty.
    pub targets: RequestedTargets,
    /// To do what; left open if absent.
    pub scopes: Option<ScopeSet>,
    /// Roles to assume instead of those that the provider last told us.
    pub roles: Option<Vec<String>>,
}

/// What came of it.
#[derive(Debug)]
pub struct Answer {
    /// The decision.
    pub decision: Decision,
    /// False if the user was never acted for, so that nothing is known of their roles.
    pub user_is_known: bool,
    /// How the client would ask: by a token exchange if it may, else by a code.
    pub grant: GrantType,
    /// How the user was assumed to sign in (`acr`), because the backend wants it.
    pub assumed_acr: Option<String>,
}

/// Why there is nothing to decide about.
#[derive(Debug, thiserror::Error)]
pub enum DryRunProblem {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is declared cannot be used.
    #[error("{0}")]
    Registry(String),
    /// No such client.
    #[error("client {0:?} is not registered{1}")]
    NoClient(String, String),
    /// No provider's prefix begins the `sub`.
    #[error("no identity provider's subject_prefix begins {0:?}: name the user as backends do, for example {1:?}")]
    NoProvider(String, String),
}

/// Decides as if the client presented a fresh token of the user that its rule accepts; or, if it is one for `/authorize`, as
/// if the user had just signed in for it.
///
/// The token is assumed to be the best that the provider can give: right audience, just issued, with the `acr` that the
/// backend wants, without `scope` and `may_act`. A real one can only fare worse, and `explain` then says how. Limits are
/// not counted.
///
/// # Errors
/// [`DryRunProblem`].
pub async fn check(store: &Store, config: &Config, ask: &Ask, now: i64) -> Result<Answer, DryRunProblem> {
    let (stored, versions) = store.load_registry().await?;
    let snapshot = Snapshot::new(stored, versions, config.policy_default, &config.issuer)
        .map_err(|problems| DryRunProblem::Registry(problems.join("; ")))?;
    let registry = &snapshot.registry;
    let client = client(store, &snapshot, &ask.client).await?;
    let connects =
        !client.client.may_use(GrantType::TokenExchange) && client.client.may_use(GrantType::AuthorizationCode);
    let grant = if connects { GrantType::AuthorizationCode } else { GrantType::TokenExchange };
    let idp = provider(&snapshot, &ask.user)?;
    let user = store.find_user(&ask.user).await?;
    let consents: Vec<Consent> = store.consents_of(&ask.user).await?;
    let mut subject = subject(idp, &client, ask, user.as_ref(), now);
    if connects {
        subject.issuer = SubjectIssuer::SignIn(idp.id.clone());
        subject.audiences = Vec::new();
    }
    let decided = |subject: &Subject| {
        decide(&Question {
            registry,
            policies: &snapshot.policies,
            issuer: &config.issuer,
            max_chain_depth: config.tokens.max_chain_depth,
            own_token_lifetime_seconds: config.tokens.own_token_lifetime_seconds,
            now,
            client: &client,
            other_clients: &[],
            targets: &ask.targets,
            scopes: ask.scopes.as_ref(),
            asked: Asked::Delegation(Delegation {
                grant,
                subject: Ok(subject),
                actor: None,
                known_user: user.as_ref(),
                consents: &consents,
                session_ended: None,
                is_ended_in_list: false,
                limits: LimitState::Within,
            }),
        })
    };
    let mut decision = decided(&subject);
    let needed = decision.outcome.as_ref().err().and_then(|refusal| refusal.sign_in.as_ref());
    let assumed_acr = needed.and_then(|needed| needed.acr_values.first()).cloned();
    if assumed_acr.is_some() {
        subject.acr.clone_from(&assumed_acr);
        decision = decided(&subject);
    }
    Ok(Answer { decision, user_is_known: user.is_some(), grant, assumed_acr })
}

/// A client, declared or not.
async fn client(store: &Store, snapshot: &Snapshot, id: &str) -> Result<ClientEntry, DryRunProblem> {
    let registry = &snapshot.registry;
    if let Some(entry) = registry.client_by_name(id) {
        return Ok(ClientEntry::clone(entry));
    }
    let registered = match id.parse() {
        Ok(id) => store.find_dynamic_client(&id).await?,
        Err(_) => None,
    };
    registered.map(|dynamic| dynamic.entry(registry.resources())).ok_or_else(|| {
        let known: Vec<&str> = registry.clients().map(|entry| entry.client.id.as_str()).collect();
        DryRunProblem::NoClient(id.to_owned(), hint(id, known))
    })
}

fn provider<'a>(snapshot: &'a Snapshot, user: &UserId) -> Result<&'a IdentityProvider, DryRunProblem> {
    let providers = || snapshot.registry.identity_providers();
    let begins = providers().filter(|idp| user.as_str().starts_with(&idp.prefix()));
    // The longest prefix: an empty one begins everything.
    begins.max_by_key(|idp| idp.prefix().len()).map(AsRef::as_ref).ok_or_else(|| {
        let example = providers().next().map_or_else(|| "corp|alice".to_owned(), |idp| idp.prefix() + "alice");
        DryRunProblem::NoProvider(user.as_str().to_owned(), example)
    })
}

fn subject(idp: &IdentityProvider, client: &ClientEntry, ask: &Ask, user: Option<&User>, now: i64) -> Subject {
    const AN_HOUR: i64 = 3600;
    let rule = idp.subject_tokens.iter().find(|rule| rule.clients.contains(&client.client.id));
    let remembered = user.map(|user| user.attributes.clone()).unwrap_or_default();
    let attributes = match &ask.roles {
        Some(roles) => UserAttributes { roles: roles.clone(), ..remembered },
        None => remembered,
    };
    Subject {
        issuer: SubjectIssuer::Idp(idp.id.clone()),
        token_type: rule.map_or(SubjectTokenType::IdToken, |rule| rule.token_type),
        sub: ask.user.as_str().strip_prefix(&idp.prefix()).unwrap_or_default().to_owned(),
        audiences: rule.and_then(|rule| rule.audiences.first()).cloned().into_iter().collect(),
        azp: None,
        scope: None,
        expires_at: now.saturating_add(AN_HOUR),
        issued_at: Some(now),
        jti: Some("dry-run".to_owned()),
        sid: None,
        auth_time: Some(now),
        acr: None,
        amr: Vec::new(),
        act: None,
        may_act: None,
        attributes,
        named_claims: rule.map(|rule| rule.required_claims.clone()).unwrap_or_default(),
    }
}
