//! `procura idp`.

use super::registry::{Session, find, joined, must_be_new, read_one, with_registry, word};
use super::{CliError, Context};
use crate::domain::change::Change;
use crate::domain::identity_provider::{
    ClaimPointers, IdentityProvider, SubjectScope, SubjectTokenRule, SubjectTokenType, VerificationAlgorithm,
};
use crate::domain::names::{ClientId, IdpId};
use crate::registry_file::{self, RegistryFile};
use crate::store::StoredRegistry;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use url::Url;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Register an identity provider.
    Add(Box<Add>),
    /// List identity providers.
    List,
    /// Show an identity provider.
    Show(One),
    /// Remove an identity provider: its tokens are refused from then on.
    Remove(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The registry's name of it.
    id: IdpId,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The registry's name of it.
    #[arg(required_unless_present = "file")]
    id: Option<IdpId>,
    /// A registry file that declares the one provider, instead of the other arguments.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "issuer", "name", "audience", "client"])]
    file: Option<PathBuf>,
    /// Its `iss`, exactly.
    #[arg(long, value_name = "URL", required_unless_present = "file")]
    issuer: Option<String>,
    /// Name for people to read; by default the id.
    #[arg(long)]
    name: Option<String>,
    /// An algorithm that may sign its tokens: `RS256`, `PS256`, `ES256`, `ES384` or `EdDSA`.
    #[arg(long, num_args = 1.., value_parser = word::<VerificationAlgorithm>, default_values = ["RS256", "ES256"])]
    algorithm: Vec<VerificationAlgorithm>,
    /// Where its keys are; by discovery if absent.
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<Url>,
    /// Let its documents be fetched from loopback and private networks.
    #[arg(long)]
    allow_private_addresses: bool,
    /// What goes before a `sub` of its own; by default the id and `|`.
    #[arg(long)]
    subject_prefix: Option<String>,
    /// JSON pointer to role names.
    #[arg(long, value_name = "POINTER")]
    roles: Option<String>,
    /// JSON pointer to group names.
    #[arg(long, value_name = "POINTER")]
    groups: Option<String>,
    /// JSON pointer to the e-mail address.
    #[arg(long, value_name = "POINTER")]
    email: Option<String>,
    /// The kind of token that clients may present: `id_token`, `access_token` or `jwt`.
    #[arg(long, value_parser = word::<SubjectTokenType>, default_value = "id_token")]
    subject_token: SubjectTokenType,
    /// An accepted `aud` of such a token.
    #[arg(long, num_args = 1..)]
    audience: Vec<String>,
    /// A client that may present such a token.
    #[arg(long, num_args = 1.., requires = "audience")]
    client: Vec<ClientId>,
    /// Oldest accepted `iat` of such a token, in seconds before now.
    #[arg(long, requires = "audience")]
    max_age_seconds: Option<u32>,
}

/// Register and manage identity providers.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    with_registry(context, async |session| match args.action {
        Action::Add(add) => self::add(session, *add).await,
        Action::List => {
            list(session);
            Ok(())
        }
        Action::Show(one) => {
            let idp = known(session, &one.id)?;
            let alone = StoredRegistry { identity_providers: vec![idp.clone()], ..StoredRegistry::default() };
            session.show(&registry_file::declarations(&alone), &json!(idp));
            Ok(())
        }
        Action::Remove(one) => {
            known(session, &one.id)?;
            session.change(&[Change::RemoveIdentityProvider(one.id)], &[]).await
        }
    })
    .await
}

fn known<'a>(session: &'a Session, id: &IdpId) -> Result<&'a IdentityProvider, CliError> {
    find("identity provider", id.as_str(), &session.current.identity_providers, |idp| idp.id.as_str())
}

async fn add(session: &Session, add: Add) -> Result<(), CliError> {
    let file = match &add.file {
        Some(path) => read_one(path, "identity provider", |file| file.identity_providers.len())?,
        None => RegistryFile::declared(vec![declared(add)?], Vec::new(), Vec::new(), Vec::new())?,
    };
    for idp in &file.identity_providers {
        let others = &session.current.identity_providers;
        must_be_new("identity provider", idp.id.as_str(), others, |other| other.id.as_str())?;
    }
    session.add(&file).await
}

fn declared(add: Add) -> Result<IdentityProvider, CliError> {
    let (Some(id), Some(issuer)) = (add.id, add.issuer) else {
        return Err(CliError::new("an identity provider needs an id and an issuer"));
    };
    let rule = (!add.audience.is_empty()).then_some(SubjectTokenRule {
        token_type: add.subject_token,
        audiences: add.audience,
        clients: add.client,
        max_age_seconds: add.max_age_seconds,
        scope: SubjectScope::default(),
        required_claims: BTreeMap::new(),
        single_use: false,
    });
    Ok(IdentityProvider {
        name: add.name.unwrap_or_else(|| id.as_str().to_owned()),
        id,
        issuer,
        algorithms: add.algorithm,
        jwks_uri: add.jwks_uri,
        allow_private_addresses: add.allow_private_addresses,
        subject_prefix: add.subject_prefix,
        login: None,
        claims: ClaimPointers { roles: add.roles, groups: add.groups, email: add.email, name: None },
        subject_tokens: rule.into_iter().collect(),
    })
}

fn list(session: &Session) {
    let idps = &session.current.identity_providers;
    let rows = idps.iter().map(|idp| {
        let clients = idp.subject_tokens.iter().flat_map(|rule| &rule.clients);
        vec![idp.id.to_string(), idp.issuer.clone(), idp.name.clone(), idp.prefix(), joined(clients)]
    });
    let documents: Vec<Value> = idps.iter().map(|idp| json!(idp)).collect();
    session.list(&["id", "issuer", "name", "prefix", "clients"], rows.collect(), &documents);
}
