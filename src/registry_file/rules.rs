//! What must hold of a declaration by itself.

use super::places::{Kind, Places};
use super::read::CEDAR_BYTES;
use super::uris::{document_uri, issuer};
use super::{FileProblem, RegistryFile};
use crate::config::is_loopback;
use crate::domain::client::{Assurance, Client, ClientAuthentication, GrantType};
use crate::domain::dynamic_client::{OWN_ID_STARTS, is_own_id};
use crate::domain::identity_provider::IdentityProvider;
use crate::domain::key_set;
use crate::domain::names::{ResourceId, is_unseen};
use crate::domain::policy::PolicyText;
use crate::domain::redirect_uri;
use crate::domain::resource::{CONNECTOR_TOKEN_LIFETIME_SECONDS, Resource, TOKEN_LIFETIME_SECONDS};
use crate::mistake;
use std::collections::HashSet;

/// The most characters of a name, a description, a role and the like.
const TEXT_CHARACTERS: usize = 500;
/// The most members of a list.
const LIST_MEMBERS: usize = 1000;
/// Every prefix must leave room for a `sub` of 255 bytes in all.
const PREFIX_BYTES: usize = 64;

/// Checks each declaration of the file.
pub(super) fn check(file: &RegistryFile) -> Vec<FileProblem> {
    let mut problems = Vec::new();
    for idp in &file.identity_providers {
        identity_provider(&mut Rules::new(Kind::IdentityProvider, idp.id.as_str(), &file.places, &mut problems), idp);
    }
    for declared in &file.resources {
        resource(&mut Rules::new(Kind::Resource, declared.id.as_str(), &file.places, &mut problems), declared);
    }
    for declared in &file.clients {
        client(&mut Rules::new(Kind::Client, declared.id.as_str(), &file.places, &mut problems), declared);
    }
    for declared in &file.policies {
        policy(&mut Rules::new(Kind::Policy, declared.id.as_str(), &file.places, &mut problems), declared);
    }
    problems
}

/// The problems of one declaration.
pub(super) struct Rules<'a> {
    kind: Kind,
    id: &'a str,
    places: &'a Places,
    problems: &'a mut Vec<FileProblem>,
}

impl<'a> Rules<'a> {
    pub(super) fn new(kind: Kind, id: &'a str, places: &'a Places, problems: &'a mut Vec<FileProblem>) -> Self {
        Self { kind, id, places, problems }
    }

    pub(super) fn problem(&mut self, path: &str, problem: impl std::fmt::Display) {
        let place = self.places.find(self.kind, self.id, path);
        self.problems.push(FileProblem { place, problem: format!("{} {}: {problem}", self.kind, self.id) });
    }

    fn text(&mut self, key: &str, text: &str) {
        let problem = if text.trim().is_empty() {
            "is empty".to_owned()
        } else if text.chars().any(is_unseen) {
            "has a control or invisible character".to_owned()
        } else if text.chars().count() > TEXT_CHARACTERS {
            format!("is longer than {TEXT_CHARACTERS} characters")
        } else {
            return;
        };
        self.problem(&format!("/{key}"), format!("`{key}` {problem}"));
    }

    fn texts(&mut self, key: &str, texts: &[String]) {
        self.list(key, texts.len());
        for (index, text) in texts.iter().enumerate() {
            self.text(&format!("{key}/{index}"), text);
        }
    }

    fn list(&mut self, key: &str, members: usize) {
        if members > LIST_MEMBERS {
            self.problem(&format!("/{key}"), format!("`{key}` has more than {LIST_MEMBERS} members"));
        }
    }

    fn distinct<'v>(&mut self, path: &str, what: &str, values: impl Iterator<Item = &'v str>) {
        let mut seen = HashSet::new();
        for (index, value) in values.enumerate() {
            if !seen.insert(value) {
                self.problem(&format!("{path}/{index}"), format!("{what} {value} is there twice"));
            }
        }
    }
}

fn identity_provider(rules: &mut Rules<'_>, idp: &IdentityProvider) {
    rules.text("name", &idp.name);
    if let Err(problem) = issuer(&idp.issuer, idp.allow_private_addresses) {
        rules.problem("/issuer", format!("`issuer` {problem}"));
    }
    if let Some(uri) = &idp.jwks_uri
        && let Err(problem) = document_uri(uri, idp.allow_private_addresses)
    {
        rules.problem("/jwks_uri", format!("`jwks_uri` {problem}"));
    }
    if idp.algorithms.is_empty() {
        rules.problem("/algorithms", "`algorithms` is empty: no token would be accepted");
    }
    rules.distinct("/algorithms", "algorithm", idp.algorithms.iter().map(|algorithm| algorithm.as_str()));
    if let Some(prefix) = &idp.subject_prefix
        && (prefix.len() > PREFIX_BYTES || prefix.chars().any(char::is_control))
    {
        let problem = format!("`subject_prefix` is at most {PREFIX_BYTES} bytes without control characters");
        rules.problem("/subject_prefix", problem);
    }
    // A user must never have the name of a client that nobody here named (STANDARDS SB-14).
    let begin_alike = |prefix: &str, start: &str| prefix.starts_with(start) || start.starts_with(prefix);
    if let Some(prefix) = idp.subject_prefix.as_deref().filter(|prefix| !prefix.is_empty())
        && OWN_ID_STARTS.iter().any(|start| begin_alike(prefix, start))
    {
        let problem = "`subject_prefix` is how ids of clients begin that register themselves: choose another one";
        rules.problem("/subject_prefix", problem);
    }
    for (key, pointer) in [
        ("roles", &idp.claims.roles),
        ("groups", &idp.claims.groups),
        ("email", &idp.claims.email),
        ("name", &idp.claims.name),
    ] {
        if pointer.as_ref().is_some_and(|pointer| !is_json_pointer(pointer)) {
            let problem = format!("`claims.{key}` is not a JSON pointer such as /{key} (RFC 6901)");
            rules.problem(&format!("/claims/{key}"), problem);
        }
    }
    if let Some(login) = &idp.login {
        rules.text("login/client_id", &login.client_id);
        let is_variable = |name: &str| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && name.starts_with(|first: char| !first.is_ascii_digit())
        };
        if login.client_secret_env.as_deref().is_some_and(|name| !is_variable(name)) {
            let problem = "`login.client_secret_env` is the name of a variable, not the secret itself";
            rules.problem("/login/client_secret_env", problem);
        }
        rules.texts("login/scopes", &login.scopes);
        if !login.scopes.iter().any(|scope| scope == "openid") {
            rules.problem("/login/scopes", "`login.scopes` lacks openid (OpenID Connect Core section 3.1.2.1)");
        }
    }
    rules.list("subject_token", idp.subject_tokens.len());
    for (index, rule) in idp.subject_tokens.iter().enumerate() {
        let path = format!("subject_token/{index}");
        rules.texts(&format!("{path}/audiences"), &rule.audiences);
        if rule.audiences.is_empty() {
            let problem = "`audiences` is empty: no token would be accepted";
            rules.problem(&format!("/{path}/audiences"), problem);
        }
        rules.list(&format!("{path}/clients"), rule.clients.len());
        if rule.max_age_seconds == Some(0) {
            rules.problem(&format!("/{path}/max_age_seconds"), "`max_age_seconds` is 0: no token would be accepted");
        }
    }
}

/// RFC 6901 §3. The empty pointer is the whole token, which is no claim.
fn is_json_pointer(text: &str) -> bool {
    let mut escapes = text.split('~').skip(1);
    text.starts_with('/') && text.len() <= 256 && escapes.all(|rest| rest.starts_with(['0', '1']))
}

fn resource(rules: &mut Rules<'_>, resource: &Resource) {
    rules.text("name", &resource.name);
    for (key, given, may_be) in [
        ("token_lifetime_seconds", resource.token_lifetime_seconds, TOKEN_LIFETIME_SECONDS),
        (
            "connector_token_lifetime_seconds",
            resource.connector_token_lifetime_seconds,
            CONNECTOR_TOKEN_LIFETIME_SECONDS,
        ),
    ] {
        if !may_be.contains(&given) {
            let (least, most) = (may_be.start(), may_be.end());
            rules.problem(&format!("/{key}"), format!("`{key}` is from {least} to {most}, and not {given}"));
        }
    }
    if resource.max_auth_age_seconds == Some(0) {
        rules.problem("/max_auth_age_seconds", "`max_auth_age_seconds` is 0: no sign-in would be new enough");
    }
    rules.texts("acr_values", &resource.acr_values);
    rules.list("clients", resource.clients.len());
    rules.list("may_exchange_to", resource.may_exchange_to.len());
    rules.list("scope", resource.scopes.len());
    rules.distinct("/open_to", "assurance", resource.open_to.iter().map(|assurance| assurance.as_str()));
    if resource.open_to.contains(&Assurance::Vetted) {
        let problem = "`open_to` names vetted: those clients have their own `resources`";
        rules.problem("/open_to", problem);
    }
    rules.distinct("/scope", "scope", resource.scopes.iter().map(|scope| scope.name.as_str()));
    for (index, scope) in resource.scopes.iter().enumerate() {
        rules.text(&format!("scope/{index}/description"), &scope.description);
        rules.texts(&format!("scope/{index}/roles"), &scope.roles);
        if scope.policy.is_some() && !scope.roles.is_empty() {
            let problem = format!("scope {} has both `roles` and `policy`: a policy can test roles", scope.name);
            rules.problem(&format!("/scope/{index}/policy"), problem);
        }
    }
}

fn client(rules: &mut Rules<'_>, client: &Client) {
    rules.text("name", &client.name);
    if is_own_id(client.id.as_str()) {
        rules.problem("/id", "ids like this are for clients that register themselves");
    }
    rules.list("may_act_for", client.may_act_for.len());
    rules.list("may_present", client.may_present.len());
    rules.list("resources", client.resources.len());
    for grant in [GrantType::TokenExchange, GrantType::ClientCredentials] {
        if !client.is_confidential() && client.may_use(grant) {
            let problem = format!("authentication = \"none\" cannot be with the grant {}", file_name(grant));
            rules.problem("/grants", problem);
        }
    }
    if client.may_use(GrantType::AuthorizationCode) && client.redirect_uris.is_empty() {
        rules.problem("/grants", "the grant authorization_code needs `redirect_uris`");
    }
    keys(rules, client);
    rules.list("redirect_uris", client.redirect_uris.len());
    for (index, uri) in client.redirect_uris.iter().enumerate() {
        if let Err(problem) = redirect_uri::check(uri) {
            rules.problem(&format!("/redirect_uris/{index}"), format!("redirect URI {uri:?} {problem}"));
        }
    }
    for (key, others) in [("may_act_for", &client.may_act_for), ("may_present", &client.may_present)] {
        if others.contains(&client.id) {
            rules.problem(&format!("/{key}"), format!("`{key}` names the client itself"));
        }
    }
    if let Some(default) = &client.default_resource
        && !client.resources.contains_key(default)
    {
        let hint = mistake::hint(default.as_str(), client.resources.keys().map(ResourceId::as_str));
        let problem = format!("`default_resource` names {default}, which is not among its `resources`{hint}");
        rules.problem("/default_resource", problem);
    }
    for (id, scopes) in &client.resources {
        rules.list(&format!("resources/{id}"), scopes.len());
    }
}

/// The name of a grant in the registry file.
fn file_name(grant: GrantType) -> &'static str {
    match grant {
        GrantType::TokenExchange => "token_exchange",
        GrantType::ClientCredentials => "client_credentials",
        GrantType::AuthorizationCode => "authorization_code",
        GrantType::RefreshToken => "refresh_token",
    }
}

fn keys(rules: &mut Rules<'_>, client: &Client) {
    let takes_keys = client.authentication == ClientAuthentication::PrivateKeyJwt;
    match (&client.jwks, &client.jwks_uri) {
        (None, None) if takes_keys => {
            rules.problem("/authentication", "private_key_jwt needs `jwks` or `jwks_uri`");
        }
        (Some(_), Some(_)) => rules.problem("/jwks_uri", "has both `jwks` and `jwks_uri`: one of them"),
        (Some(_), None) | (None, Some(_)) if !takes_keys => {
            let problem = "`jwks` and `jwks_uri` are for authentication = \"private_key_jwt\" only";
            rules.problem("/authentication", problem);
        }
        (Some(jwks), None) => {
            if let Err(problem) = key_set::check_public(jwks) {
                rules.problem("/jwks", format!("`jwks` {problem}"));
            }
        }
        (None, Some(uri)) => {
            if let Err(problem) = document_uri(uri, is_loopback(uri)) {
                rules.problem("/jwks_uri", format!("`jwks_uri` {problem}"));
            }
        }
        (None, None) => {}
    }
}

fn policy(rules: &mut Rules<'_>, policy: &PolicyText) {
    if policy.cedar.len() > CEDAR_BYTES {
        rules.problem("/cedar", format!("`cedar` is longer than {CEDAR_BYTES} bytes"));
    }
    if policy.id.as_str().starts_with("builtin.") {
        rules.problem("/id", "names that begin with `builtin.` are for built-in policies");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_pointer_begins_with_a_slash_and_escapes_only_what_exists() {
        assert!(is_json_pointer("/realm_access/roles"));
        assert!(is_json_pointer("/https:~1~1example.com~1roles"));
        for bad in ["", "roles", "/a~2", "/a~"] {
            assert!(!is_json_pointer(bad), "{bad}");
        }
    }
}
