//! `procura consent`.

use super::registry::{Session, find, time, time_or_dash, with_registry};
use super::{CliError, Context};
use crate::audit::live::LiveTokens;
use crate::audit::words::count;
use crate::domain::change::Change;
use crate::domain::client::{ClientEntry, ConsentMode};
use crate::domain::consent::{Consent, ConsentSource, ConsentingUser};
use crate::domain::identity_provider::IdentityProvider;
use crate::domain::names::{ClientId, ResourceId, UserId};
use crate::domain::resource::Resource;
use crate::domain::scope::{Scope, ScopeSet};
use crate::mistake;
use crate::registry_file::describe;
use crate::secrets::random_id;
use serde_json::{Value, json};
use std::sync::Arc;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Record that a user agreed, for example on paper.
    Grant(Grant),
    /// List consents, newest first.
    List(List),
    /// Take a consent back, and end all that rests on it.
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
struct Grant {
    /// The user: the `sub` of tokens.
    #[arg(long)]
    user: UserId,
    /// To whom.
    #[arg(long)]
    client: ClientId,
    /// For which backend.
    #[arg(long)]
    resource: ResourceId,
    /// To what.
    #[arg(long, num_args = 1.., required = true)]
    scope: Vec<Scope>,
    /// When it ends; by default it does not.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=3_153_600_000))]
    expires_in: Option<i64>,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only this user's.
    #[arg(long)]
    user: Option<UserId>,
    /// Only those given to this client.
    #[arg(long)]
    client: Option<ClientId>,
    /// Also those that have ended or were taken back.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// Its id, the `grant_id` of tokens.
    id: String,
    /// Say what would end, and end nothing.
    #[arg(long)]
    preview: bool,
}

/// Record, list and take back consents.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    with_registry(context, async |session| match args.action {
        Action::Grant(grant) => self::grant(session, grant).await,
        Action::List(list) => self::list(session, &list).await,
        Action::Revoke(one) => revoke(session, one).await,
    })
    .await
}

async fn revoke(session: &Session, one: Revoke) -> Result<(), CliError> {
    let consent = session.store.find_consent(&one.id).await?;
    let consent = consent.ok_or_else(|| CliError::new(format!("there is no consent {}", one.id)))?;
    let declared = session.current.clients.iter().find(|entry| entry.client.id == consent.client);
    let by_file = consent.user == ConsentingUser::Everyone
        && declared.is_some_and(|entry| entry.client.consent == ConsentMode::Admin);
    if by_file {
        let problem = format!(
            "{} is declared: client {} has consent = \"admin\". Change that with procura apply, or the next apply \
             would give it again",
            one.id, consent.client
        );
        return Err(CliError::new(problem));
    }
    if consent.revoked_at.is_some() {
        return session.change(&[], &[]).await;
    }
    let (client, resource) = (consent.client.as_str(), consent.resource.as_str());
    let families = session.store.families_on_consent(client, resource, user_of(&consent), session.clock.now()).await?;
    let live = LiveTokens::at(&session.store, session.registry(), session.clock.now_ms()).await?;
    let (tokens, later) = live.of_consent(&consent);
    let change = [Change::RevokeConsent(one.id)];
    let consents = [consent];
    let lines = if one.preview {
        describe(&change, &session.current, &consents)
    } else {
        session.change_quietly(&change, &consents).await?
    };
    let counts = json!({
        "changes": lines,
        "preview": one.preview,
        "sign_ins": families,
        "tokens": tokens,
        "tokens_of_later_hops": later,
        "tokens_complete": live.is_complete,
    });
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let text = format!(
        "{}\n{}: {}, {}{}, {} of later hops",
        lines.join("\n"),
        if one.preview { "would end with it" } else { "ended with it" },
        count(u64::try_from(families).unwrap_or(0), "sign-in"),
        if live.is_complete { "" } else { "at least " },
        count(number(tokens), "live token"),
        number(later),
    );
    session.show(&text, &counts);
    Ok(())
}

async fn grant(session: &Session, grant: Grant) -> Result<(), CliError> {
    let current = &session.current;
    let client = client(session, &grant.client).await?;
    let resource = find("resource", grant.resource.as_str(), &current.resources, |resource| resource.id.as_str())?;
    let ceiling = client.client.resources.get(&resource.id).map(Vec::as_slice).unwrap_or_default();
    if let Some(beyond) = grant.scope.iter().find(|scope| !ceiling.contains(scope)) {
        let hint = mistake::hint(beyond.as_str(), ceiling.iter().map(Scope::as_str));
        let problem = format!("client {} can never have {beyond} at {}{hint}", grant.client, grant.resource);
        return Err(CliError::new(problem));
    }
    let prefixes: Vec<String> = current.identity_providers.iter().map(IdentityProvider::prefix).collect();
    let is_of =
        |prefix: &String| grant.user.as_str().len() > prefix.len() && grant.user.as_str().starts_with(prefix.as_str());
    if !prefixes.iter().any(is_of) {
        let problem = format!("no identity provider has users such as {}; theirs begin with", grant.user);
        return Err(CliError::new(format!("{problem} {}", prefixes.join(", "))));
    }
    let now = session.clock.now();
    // Whoever paused the client was told that it gets nothing until they let it go on.
    let theirs = session.store.list_consents(Some(grant.user.as_str()), Some(grant.client.as_str()), true, now).await?;
    if let Some(paused) = theirs.iter().find(|consent| consent.resource == grant.resource && consent.is_paused(now)) {
        let problem = format!("{} paused client {} at {}", grant.user, grant.client, grant.resource);
        let advice = format!("they can let it go on at /account; or procura consent revoke {}", paused.id);
        return Err(CliError::new(format!("{problem}: {advice}")));
    }
    let scopes: ScopeSet = grant.scope.into_iter().collect();
    let consent = Consent {
        id: random_id("con"),
        user: ConsentingUser::One(grant.user),
        client: grant.client,
        resource: grant.resource,
        scopes,
        source: ConsentSource::Admin,
        granted_at: now,
        expires_at: grant.expires_in.map(|seconds| now.saturating_add(seconds)),
        revoked_at: None,
        paused_at: None,
        fingerprint: None,
        redirect_uri: None,
    };
    let lines = session.change_quietly(&[Change::GrantConsent(consent.clone())], &[]).await?;
    session.show(&format!("{}\n{}", lines.join("\n"), consent.id), &document(&consent, now));
    Ok(())
}

/// A client, declared or not, with its ceiling.
async fn client(session: &Session, id: &ClientId) -> Result<ClientEntry, CliError> {
    let declared = find("client", id.as_str(), &session.current.clients, |entry| entry.client.id.as_str());
    match (declared, session.store.find_dynamic_client(id).await?) {
        (Ok(entry), _) => Ok(entry.clone()),
        (Err(_), Some(dynamic)) => {
            let resources: Vec<Arc<Resource>> = session.current.resources.iter().cloned().map(Arc::new).collect();
            Ok(dynamic.entry(resources.iter()))
        }
        (Err(nearest), None) => Err(nearest),
    }
}

async fn list(session: &Session, list: &List) -> Result<(), CliError> {
    if let Some(id) = &list.client {
        client(session, id).await?;
    }
    let now = session.clock.now();
    let (user, client) = (list.user.as_ref().map(UserId::as_str), list.client.as_ref().map(ClientId::as_str));
    let consents = session.store.list_consents(user, client, !list.all, now).await?;
    let rows = consents.iter().map(|consent| {
        vec![
            consent.id.clone(),
            user_of(consent).unwrap_or("everyone").to_owned(),
            consent.client.to_string(),
            consent.resource.to_string(),
            consent.scopes.to_string(),
            time(consent.granted_at),
            time_or_dash(consent.expires_at),
            time_or_dash(consent.revoked_at),
            time_or_dash(consent.paused_at),
        ]
    });
    let documents: Vec<Value> = consents.iter().map(|consent| document(consent, now)).collect();
    let head = ["id", "user", "client", "resource", "scopes", "granted", "expires", "revoked", "paused"];
    session.list(&head, rows.collect(), &documents);
    Ok(())
}

fn user_of(consent: &Consent) -> Option<&str> {
    match &consent.user {
        ConsentingUser::One(user) => Some(user.as_str()),
        ConsentingUser::Everyone => None,
    }
}

/// `user` is null for a consent for everyone.
fn document(consent: &Consent, now: i64) -> Value {
    json!({
        "id": consent.id,
        "user": user_of(consent),
        "client": consent.client,
        "resource": consent.resource,
        "scopes": consent.scopes.iter().collect::<Vec<_>>(),
        "source": consent.source,
        "granted_at": consent.granted_at,
        "expires_at": consent.expires_at,
        "revoked_at": consent.revoked_at,
        "paused_at": consent.paused_at,
        "live": consent.is_live(now),
    })
}
