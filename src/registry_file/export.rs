//! The registry as a file that `apply` reads back to the same registry. It holds no secret.

use super::places::Kind;
use super::read;
use crate::store::StoredRegistry;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

/// The file: providers, backends, clients and policies, each by id, with defaults written out.
pub fn to_toml(registry: &StoredRegistry) -> String {
    format!("# The registry, as written by `procura export`; `procura apply` reads it.\n\n{}", declarations(registry))
}

/// The declarations alone, for people to read.
pub fn declarations(registry: &StoredRegistry) -> String {
    let mut file = String::new();
    for idp in &registry.identity_providers {
        let idp = object(idp);
        table(&mut file, Kind::IdentityProvider.table(), &idp, read::IDENTITY_PROVIDER_KEYS, &["subject_token"]);
        for rule in items(&idp, "subject_token") {
            table(&mut file, "identity_provider.subject_token", rule, read::SUBJECT_TOKEN_KEYS, &[]);
        }
    }
    for resource in &registry.resources {
        let resource = object(resource);
        table(&mut file, Kind::Resource.table(), &resource, read::RESOURCE_KEYS, &["scope"]);
        for scope in items(&resource, "scope") {
            table(&mut file, "resource.scope", scope, read::SCOPE_KEYS, &[]);
        }
    }
    for entry in &registry.clients {
        let client = object(&entry.client);
        table(&mut file, Kind::Client.table(), &client, read::CLIENT_KEYS, &["resources"]);
        if let Some(Value::Object(resources)) = client.get("resources") {
            file.push_str("[client.resources]\n");
            for (id, scopes) in resources {
                // A dot in a bare key would make a table of it.
                let key = if id.contains('.') { format!("\"{id}\"") } else { id.clone() };
                let _ = writeln!(file, "{key} = {}", inline(scopes));
            }
        }
    }
    for policy in &registry.policies {
        table(&mut file, Kind::Policy.table(), &object(policy), read::POLICY_KEYS, &[]);
    }
    file
}

fn object(declaration: &impl Serialize) -> Value {
    serde_json::to_value(declaration).expect("a declaration has only text keys")
}

fn items<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// `[[header]]` and its keys in the order of the documentation, but for those written as tables of their own.
fn table(file: &mut String, header: &str, value: &Value, keys: &[&str], apart: &[&str]) {
    let gap = if header.contains('.') || file.is_empty() { "" } else { "\n" };
    let _ = writeln!(file, "{gap}[[{header}]]");
    for key in keys.iter().filter(|key| !apart.contains(*key)) {
        match value.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::Object(members)) if members.is_empty() => {}
            Some(Value::String(text)) if *key == "cedar" => {
                let _ = writeln!(file, "{key} = {}", cedar(text));
            }
            Some(member) => {
                let _ = writeln!(file, "{key} = {}", inline(member));
            }
        }
    }
}

/// A value on one line.
fn inline(value: &Value) -> String {
    match value {
        // A TOML text in double quotes has the escapes of a JSON text; DEL alone must be escaped in TOML only.
        Value::String(text) => Value::from(text.as_str()).to_string().replace('\u{7f}', "\\u007f"),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| format!("{} = {}", inline_key(key), inline(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Bool(_) | Value::Number(_) | Value::Null => value.to_string(),
    }
}

fn inline_key(key: &str) -> String {
    let is_bare =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_bare { key.to_owned() } else { inline(&Value::from(key)) }
}

/// Cedar text as it was written, if it can stand between three single quotes.
fn cedar(text: &str) -> String {
    let is_plain = |c: char| matches!(c, '\n' | '\t') || !c.is_control();
    if !text.chars().all(is_plain) || text.contains("''") || text.ends_with('\'') {
        return inline(&Value::from(text));
    }
    // The first line end after the quotes is not part of the text.
    if text.contains('\n') { format!("'''\n{text}'''") } else { format!("'''{text}'''") }
}
