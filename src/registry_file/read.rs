//! From TOML to declarations. A key that is missing, unknown or of the wrong type is told here; what the values mean
//! is checked elsewhere.

use super::places::{CedarPlace, Kind, Places};
use super::table::{Reader, Table, into_array, into_table};
use super::{FileProblem, RegistryFile, Source, rules};
use crate::domain::client::Client;
use crate::domain::identity_provider::{
    ClaimPointers, IdentityProvider, Login, SubjectTokenRule, VerificationAlgorithm,
};
use crate::domain::policy::PolicyText;
use crate::domain::resource::{Resource, ResourceScope};
use crate::mistake;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use toml::de::DeTable;
use url::Url;

pub(super) const IDENTITY_PROVIDER_KEYS: &[&str] = &[
    "id",
    "issuer",
    "name",
    "algorithms",
    "jwks_uri",
    "allow_private_addresses",
    "subject_prefix",
    "login",
    "claims",
    "subject_token",
];
pub(super) const LOGIN_KEYS: &[&str] = &["client_id", "client_secret_env", "scopes", "required_claims"];
pub(super) const CLAIMS_KEYS: &[&str] = &["roles", "groups", "email", "name"];
pub(super) const SUBJECT_TOKEN_KEYS: &[&str] =
    &["type", "audiences", "clients", "max_age_seconds", "scope", "required_claims", "single_use"];
pub(super) const RESOURCE_KEYS: &[&str] = &[
    "id",
    "audience",
    "name",
    "token_lifetime_seconds",
    "connector_token_lifetime_seconds",
    "max_auth_age_seconds",
    "acr_values",
    "signing_algorithm",
    "release_claims",
    "may_exchange_to",
    "clients",
    "open_to",
    "default",
    "status_list",
    "scope",
];
pub(super) const SCOPE_KEYS: &[&str] = &["name", "description", "access", "roles", "policy", "vetted_only", "optional"];
pub(super) const CLIENT_KEYS: &[&str] = &[
    "id",
    "name",
    "authentication",
    "jwks_uri",
    "jwks",
    "grants",
    "redirect_uris",
    "consent",
    "may_act_for",
    "may_present",
    "default_resource",
    "resources",
];
pub(super) const POLICY_KEYS: &[&str] = &["id", "cedar", "file"];

/// Every table of the file with its keys.
pub const KNOWN_KEYS: [(&str, &[&str]); 8] = [
    ("identity_provider", IDENTITY_PROVIDER_KEYS),
    ("login", LOGIN_KEYS),
    ("claims", CLAIMS_KEYS),
    ("identity_provider.subject_token", SUBJECT_TOKEN_KEYS),
    ("resource", RESOURCE_KEYS),
    ("resource.scope", SCOPE_KEYS),
    ("client", CLIENT_KEYS),
    ("policy", POLICY_KEYS),
];

/// The most bytes of Cedar text in one policy.
pub(super) const CEDAR_BYTES: usize = 65_536;

/// Reads files as one. Each declaration is checked by itself; [`RegistryFile::check`] does the rest.
///
/// # Errors
/// Every problem found, each with its file and line.
pub fn parse(sources: &[Source]) -> Result<RegistryFile, Vec<FileProblem>> {
    let mut file = RegistryFile::default();
    let mut problems = Vec::new();
    let mut seen = HashMap::new();
    for source in sources {
        let mut reader = Reader::new(source);
        let (document, errors) = DeTable::parse_recoverable(&source.text);
        if errors.is_empty() {
            read(&mut reader, document.into_inner(), &mut file, &mut seen);
        }
        for error in errors {
            reader.problem(error.span().map_or(0, |span| span.start), error.message());
        }
        problems.extend(reader.finish());
    }
    problems.extend(rules::check(&file));
    problems.sort_by(FileProblem::by_place);
    if problems.is_empty() { Ok(file) } else { Err(problems) }
}

/// Where each declaration of a kind and id was first seen.
type Seen = HashMap<(Kind, String), String>;

fn read(reader: &mut Reader<'_>, document: DeTable<'_>, file: &mut RegistryFile, seen: &mut Seen) {
    for (key, value) in document {
        let at = key.span().start;
        let Some(kind) = Kind::ALL.into_iter().find(|kind| *key.get_ref() == kind.table()) else {
            let hint = mistake::hint(key.get_ref(), Kind::ALL.map(Kind::table));
            reader.problem(at, format!("unknown key `{}`{hint}", key.get_ref()));
            continue;
        };
        let Ok(items) = into_array(value.into_inner()) else {
            reader.problem(at, format!("every {kind} is written [[{}]]", kind.table()));
            continue;
        };
        for item in items {
            let at = item.span().start;
            match into_table(item.into_inner()) {
                Ok(table) => declaration(reader, kind, at, table, file, seen),
                Err(_) => reader.problem(at, format!("every {kind} is written [[{}]]", kind.table())),
            }
        }
    }
}

fn declaration(
    reader: &mut Reader<'_>,
    kind: Kind,
    at: usize,
    table: DeTable<'_>,
    file: &mut RegistryFile,
    seen: &mut Seen,
) {
    let known = match kind {
        Kind::IdentityProvider => IDENTITY_PROVIDER_KEYS,
        Kind::Resource => RESOURCE_KEYS,
        Kind::Client => CLIENT_KEYS,
        Kind::Policy => POLICY_KEYS,
    };
    let id = table.get("id").and_then(|id| id.get_ref().as_str()).map(str::to_owned);
    let name = id.as_ref().map_or_else(|| format!("{kind} without id"), |id| format!("{kind} {id}"));
    let table = Table::open(reader, name, at, table, known);
    if let Some(id) = id {
        if let Some(first) = seen.get(&(kind, id.clone())) {
            reader.problem(at, format!("{kind} {id} is declared twice; first at {first}"));
            return;
        }
        seen.insert((kind, id.clone()), reader.place(at));
        reader.note_places(&mut file.places, kind, &id, &table);
    }
    match kind {
        Kind::IdentityProvider => file.identity_providers.extend(identity_provider(reader, table)),
        Kind::Resource => file.resources.extend(resource(reader, table)),
        Kind::Client => file.clients.extend(client(reader, table)),
        Kind::Policy => file.policies.extend(policy(reader, table, &mut file.places)),
    }
}

fn identity_provider(reader: &mut Reader<'_>, mut table: Table<'_>) -> Option<IdentityProvider> {
    let id = table.required(reader, "id");
    let issuer = table.required(reader, "issuer");
    let name = table.required(reader, "name");
    let algorithms = table.optional(reader, "algorithms");
    let jwks_uri = url(reader, &mut table, "jwks_uri");
    let allow_private_addresses = table.optional(reader, "allow_private_addresses").unwrap_or(false);
    let subject_prefix = table.optional(reader, "subject_prefix");
    let login = table.table(reader, "login", LOGIN_KEYS).and_then(|login| self::login(reader, login));
    let claims = table.table(reader, "claims", CLAIMS_KEYS).map(|mut claims| ClaimPointers {
        roles: claims.optional(reader, "roles"),
        groups: claims.optional(reader, "groups"),
        email: claims.optional(reader, "email"),
        name: claims.optional(reader, "name"),
    });
    let subject_tokens = table.tables(reader, "subject_token", SUBJECT_TOKEN_KEYS);
    let subject_tokens = subject_tokens.into_iter().filter_map(|rule| subject_token(reader, rule)).collect();
    Some(IdentityProvider {
        id: id?,
        issuer: issuer?,
        name: name?,
        algorithms: algorithms.unwrap_or_else(|| vec![VerificationAlgorithm::RS256, VerificationAlgorithm::ES256]),
        jwks_uri,
        allow_private_addresses,
        subject_prefix,
        login,
        claims: claims.unwrap_or_default(),
        subject_tokens,
    })
}

fn login(reader: &mut Reader<'_>, mut table: Table<'_>) -> Option<Login> {
    let client_id = table.required(reader, "client_id");
    let scopes = table.required(reader, "scopes");
    Some(Login {
        client_secret_env: table.optional(reader, "client_secret_env"),
        required_claims: table.optional(reader, "required_claims").unwrap_or_default(),
        client_id: client_id?,
        scopes: scopes?,
    })
}

fn subject_token(reader: &mut Reader<'_>, mut table: Table<'_>) -> Option<SubjectTokenRule> {
    let token_type = table.required(reader, "type");
    let audiences = table.required(reader, "audiences");
    let clients = table.required(reader, "clients");
    Some(SubjectTokenRule {
        max_age_seconds: table.optional(reader, "max_age_seconds"),
        scope: table.optional(reader, "scope").unwrap_or_default(),
        required_claims: table.optional(reader, "required_claims").unwrap_or_default(),
        single_use: table.optional(reader, "single_use").unwrap_or_default(),
        token_type: token_type?,
        audiences: audiences?,
        clients: clients?,
    })
}

fn resource(reader: &mut Reader<'_>, mut table: Table<'_>) -> Option<Resource> {
    let id = table.required(reader, "id");
    let audience = table.required(reader, "audience");
    let name = table.required(reader, "name");
    let token_lifetime_seconds = table.optional(reader, "token_lifetime_seconds").unwrap_or(300);
    let connector = table.optional(reader, "connector_token_lifetime_seconds").unwrap_or(900);
    let max_auth_age_seconds = table.optional(reader, "max_auth_age_seconds");
    let acr_values = table.optional(reader, "acr_values").unwrap_or_default();
    let signing_algorithm = table.optional(reader, "signing_algorithm").unwrap_or_default();
    let release_claims = table.optional(reader, "release_claims").unwrap_or_default();
    let may_exchange_to = table.optional(reader, "may_exchange_to").unwrap_or_default();
    let clients = table.optional(reader, "clients").unwrap_or_default();
    let open_to = table.optional(reader, "open_to").unwrap_or_default();
    let is_default = table.optional(reader, "default").unwrap_or_default();
    let status_list = table.optional(reader, "status_list").unwrap_or_default();
    let scopes = table.tables(reader, "scope", SCOPE_KEYS);
    let scopes = scopes.into_iter().filter_map(|scope| resource_scope(reader, scope)).collect();
    Some(Resource {
        id: id?,
        audience: audience?,
        name: name?,
        token_lifetime_seconds,
        connector_token_lifetime_seconds: connector,
        max_auth_age_seconds,
        acr_values,
        signing_algorithm,
        release_claims,
        may_exchange_to,
        clients,
        open_to,
        is_default,
        status_list,
        scopes,
    })
}

fn resource_scope(reader: &mut Reader<'_>, mut table: Table<'_>) -> Option<ResourceScope> {
    let name = table.required(reader, "name");
    let description = table.required(reader, "description");
    let access = table.required(reader, "access");
    let place = table.offsets("roles");
    let roles: Option<Vec<String>> = table.optional(reader, "roles");
    // An empty list reads like "nobody", and would mean the same as none: everybody.
    if let (Some((at, _)), Some([])) = (place, roles.as_deref()) {
        reader.problem(at, format!("`roles` of {} is empty: name a role, or leave `roles` out", table.name));
    }
    let roles = roles.unwrap_or_default();
    let policy = table.optional(reader, "policy");
    let vetted_only = table.optional(reader, "vetted_only").unwrap_or_default();
    let optional = table.optional(reader, "optional").unwrap_or_default();
    Some(ResourceScope {
        name: name?,
        description: description?,
        access: access?,
        roles,
        policy,
        vetted_only,
        optional,
    })
}

fn client(reader: &mut Reader<'_>, mut table: Table<'_>) -> Option<Client> {
    let id = table.required(reader, "id");
    let name = table.required(reader, "name");
    let authentication = if table.peek_text("authentication") == Some("tls_client_auth") {
        let at = table.offsets("authentication").map_or(table.offset, |(at, _)| at);
        reader.problem(
            at,
            format!("`authentication` of {}: tls_client_auth is not supported by this version", table.name),
        );
        None
    } else {
        table.required(reader, "authentication")
    };
    let jwks_uri = url(reader, &mut table, "jwks_uri");
    let jwks = table.optional(reader, "jwks");
    let grants = table.required(reader, "grants");
    Some(Client {
        redirect_uris: table.optional(reader, "redirect_uris").unwrap_or_default(),
        consent: table.optional(reader, "consent").unwrap_or_default(),
        may_act_for: table.optional(reader, "may_act_for").unwrap_or_default(),
        may_present: table.optional(reader, "may_present").unwrap_or_default(),
        resources: table.optional(reader, "resources").unwrap_or_default(),
        default_resource: table.optional(reader, "default_resource"),
        id: id?,
        name: name?,
        authentication: authentication?,
        jwks_uri,
        jwks,
        grants: grants?,
    })
}

fn policy(reader: &mut Reader<'_>, mut table: Table<'_>, places: &mut Places) -> Option<PolicyText> {
    let inline_at = table.offsets("cedar");
    let file_at = table.offsets("file");
    let id = table.required(reader, "id");
    let inline: Option<String> = table.optional(reader, "cedar");
    let path: Option<PathBuf> = table.optional(reader, "file");
    let (cedar, place) = match (inline_at, file_at) {
        (Some((_, at)), None) => (inline, inline_place(reader, at)),
        (None, Some((at, _))) => {
            let path = path?;
            let shown = path.display().to_string();
            let text = cedar_of(&reader.source.directory.join(&path))
                .map_err(|problem| reader.problem(at, format!("`file` of {}: {shown} {problem}", table.name)));
            (text.ok(), CedarPlace { file: shown, first_line: 1, has_lines: true })
        }
        _ => {
            reader.problem(table.offset, format!("{} needs `cedar` or `file`, one of them", table.name));
            return None;
        }
    };
    let policy = PolicyText { id: id?, cedar: cedar? };
    places.insert_cedar(policy.id.as_str(), place);
    Some(policy)
}

fn inline_place(reader: &Reader<'_>, at: usize) -> CedarPlace {
    let written = reader.source.text.get(at..).unwrap_or_default();
    let body = written.strip_prefix("'''").or_else(|| written.strip_prefix("\"\"\""));
    // A line end right after the quotes is no part of the text.
    let below = body.is_some_and(|body| body.starts_with('\n') || body.starts_with("\r\n"));
    CedarPlace {
        file: reader.source.name.clone(),
        first_line: mistake::line_at(&reader.source.text, at) + usize::from(below),
        has_lines: body.is_some(),
    }
}

fn cedar_of(path: &std::path::Path) -> Result<String, String> {
    let mut text = String::new();
    let limit = u64::try_from(CEDAR_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() > CEDAR_BYTES { Err(format!("is longer than {CEDAR_BYTES} bytes")) } else { Ok(text) }
}

/// A URL; an empty text counts as absent, so that a template of a registry file can keep the line.
fn url(reader: &mut Reader<'_>, table: &mut Table<'_>, key: &str) -> Option<Url> {
    let (_, at) = table.offsets(key)?;
    let text: String = table.optional(reader, key)?;
    if text.is_empty() {
        return None;
    }
    Url::parse(&text).map_err(|error| reader.problem(at, format!("`{key}` of {}: not a URL: {error}", table.name))).ok()
}
