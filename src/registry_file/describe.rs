//! Changes in words: what `apply` prints and the audit trail keeps.

use super::places::Kind;
use crate::domain::change::Change;
use crate::domain::consent::{Consent, ConsentingUser};
use crate::store::StoredRegistry;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// One line a change: `+` for what is new, `~` for what differs, `-` for what goes. `consents` are those that may be
/// taken back.
pub fn describe(changes: &[Change], current: &StoredRegistry, consents: &[Consent]) -> Vec<String> {
    changes.iter().map(|change| line(change, current, consents)).collect()
}

fn line(change: &Change, current: &StoredRegistry, consents: &[Consent]) -> String {
    match change {
        Change::PutIdentityProvider(idp) => {
            let before = current.identity_providers.iter().find(|other| other.id == idp.id);
            put(Kind::IdentityProvider, idp.id.as_str(), before, idp)
        }
        Change::RemoveIdentityProvider(id) => format!("- {} {id}", Kind::IdentityProvider),
        Change::PutResource(resource) => {
            let before = current.resources.iter().find(|other| other.id == resource.id);
            put(Kind::Resource, resource.id.as_str(), before, resource)
        }
        Change::RemoveResource(id) => format!("- {} {id}", Kind::Resource),
        Change::PutClient(client, assurance) => {
            let before = current.clients.iter().find(|other| other.client.id == client.id);
            match before {
                Some(entry) if entry.client == *client => {
                    format!("~ client {}: assurance {} -> {}", client.id, entry.assurance.as_str(), assurance.as_str())
                }
                Some(_) | None => put(Kind::Client, client.id.as_str(), before.map(|entry| &entry.client), client),
            }
        }
        Change::RemoveClient(id) => format!("- {} {id}", Kind::Client),
        Change::SuspendClient(id) => format!("~ client {id}: suspended"),
        Change::ResumeClient(id) => format!("~ client {id}: resumed"),
        Change::PutPolicy(policy) => {
            let before = current.policies.iter().find(|other| other.id == policy.id);
            put(Kind::Policy, policy.id.as_str(), before, policy)
        }
        Change::RemovePolicy(id) => format!("- {} {id}", Kind::Policy),
        Change::AddSecret(secret) => format!("+ secret {} of client {}", secret.id, secret.client),
        Change::SuspendUser(id) => format!("~ user {id}: suspended"),
        Change::ResumeUser(id) => format!("~ user {id}: resumed"),
        Change::GrantConsent(consent) => format!("+ {}", consent_words(consent)),
        Change::RevokeConsent(id) => match consents.iter().find(|consent| consent.id == *id) {
            Some(consent) => format!("- {}", consent_words(consent)),
            None => format!("- consent {id}"),
        },
        Change::NarrowConsent { id, scopes, .. } => format!("~ consent {id}: only {scopes}"),
        Change::ShortenConsent { id, .. } => format!("~ consent {id}: ends sooner"),
        Change::PauseConsent(id) => format!("~ consent {id}: paused"),
        Change::ResumeConsent(id) => format!("~ consent {id}: resumed"),
        Change::RevokeAll { target, consents: true } => format!("- all tokens, sign-ins and agreements of {target}"),
        Change::RevokeAll { target, consents: false } => format!("- all tokens and sign-ins of {target}"),
        Change::AnswerConsentRequest { answer, .. } => format!("~ consent request: {}", answer.as_str()),
    }
}

/// `consent of corp|alice: assistant at records (records.read)`.
fn consent_words(consent: &Consent) -> String {
    let whose = match &consent.user {
        ConsentingUser::One(user) => format!("of {user}"),
        ConsentingUser::Everyone => "for everyone".to_owned(),
    };
    format!("consent {whose}: {} at {} ({})", consent.client, consent.resource, consent.scopes)
}

fn put<T: Serialize>(kind: Kind, id: &str, before: Option<&T>, after: &T) -> String {
    let Some(before) = before else {
        return format!("+ {kind} {id}");
    };
    let json = |value: &T| serde_json::to_value(value).expect("a declaration has only text keys");
    let mut differences = Vec::new();
    compare(&mut differences, "", Some(&json(before)), Some(&json(after)));
    format!("~ {kind} {id}: {}", differences.join("; "))
}

fn compare(differences: &mut Vec<String>, path: &str, before: Option<&Value>, after: Option<&Value>) {
    match (before.map(members), after.map(members)) {
        _ if before == after => {}
        (Some(Some(before)), Some(Some(after))) => {
            let names: BTreeSet<&str> = before.iter().chain(&after).map(|(name, _)| name.as_str()).collect();
            for name in names {
                let member =
                    |all: &[(String, Value)]| all.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                compare(differences, &path, member(&before).as_ref(), member(&after).as_ref());
            }
            if differences.is_empty() {
                differences.push(format!("{path} in another order"));
            }
        }
        _ => differences.push(format!("{path} {} -> {}", shown(before), shown(after))),
    }
}

/// The members of an object, or of an array whose items have names of their own.
fn members(value: &Value) -> Option<Vec<(String, Value)>> {
    match value {
        Value::Object(object) => Some(object.iter().map(|(name, value)| (name.clone(), value.clone())).collect()),
        Value::Array(items) if !items.is_empty() => items
            .iter()
            .map(|item| item.get("name").and_then(Value::as_str).map(|name| (name.to_owned(), item.clone())))
            .collect(),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// A value in at most 80 characters.
fn shown(value: Option<&Value>) -> String {
    const MOST: usize = 80;
    let text = value.map_or_else(|| "(none)".to_owned(), Value::to_string);
    if text.chars().count() <= MOST {
        return text;
    }
    text.chars().take(MOST).chain("...".chars()).collect()
}
