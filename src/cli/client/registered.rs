//! Clients that no administrator registered, as the commands show them.

use super::super::registry::{Session, time, time_or_dash};
use crate::domain::dynamic_client::DynamicClient;
use serde_json::{Value, json};

/// Prints the newest ones.
pub(super) fn list(session: &Session, clients: &[DynamicClient]) {
    let head = ["id", "calls itself", "authentication", "assurance", "registered", "last used", "suspended"];
    let rows = clients.iter().map(|dynamic| {
        vec![
            dynamic.id().to_string(),
            // As it is quoted, nothing in it can turn the line around.
            format!("{:?}", dynamic.client.name),
            dynamic.client.authentication.as_str().to_owned(),
            dynamic.assurance.as_str().to_owned(),
            time(dynamic.created_at),
            time_or_dash(dynamic.last_used_at),
            time_or_dash(dynamic.suspended_at),
        ]
    });
    let documents: Vec<Value> = clients.iter().map(document).collect();
    session.list(&head, rows.collect(), &documents);
}

/// Prints one.
pub(super) fn show(session: &Session, dynamic: &DynamicClient) {
    let client = &dynamic.client;
    let mut lines = vec![
        format!("id             {}", client.id),
        format!("assurance      {}", dynamic.assurance.as_str()),
        format!("calls itself   {:?}", client.name),
        format!("authentication {}", methods(dynamic).join(" ")),
    ];
    lines.extend(client.redirect_uris.iter().map(|uri| format!("redirect URI   {uri}")));
    lines.extend(client.jwks_uri.as_ref().map(|uri| format!("keys at        {uri}")));
    lines.push(format!("registered     {}", time(dynamic.created_at)));
    lines.push(format!("last used      {}", time_or_dash(dynamic.last_used_at)));
    lines.extend(dynamic.fetched_at.map(|at| format!("document read  {}", time(at))));
    lines.extend(dynamic.fresh_until.map(|at| format!("read again     {}, when it is needed", time(at))));
    lines.extend(dynamic.suspended_at.map(|at| format!("suspended      {}", time(at))));
    session.show(&lines.join("\n"), &document(dynamic));
}

fn methods(dynamic: &DynamicClient) -> Vec<&'static str> {
    let first = std::iter::once(&dynamic.client.authentication);
    first.chain(&dynamic.other_authentication).map(|method| method.as_str()).collect()
}

fn document(dynamic: &DynamicClient) -> Value {
    let mut document = json!(dynamic.client);
    if let Some(members) = document.as_object_mut() {
        members.insert("assurance".to_owned(), json!(dynamic.assurance));
        members.insert("authentication_methods".to_owned(), json!(methods(dynamic)));
        members.insert("created_at".to_owned(), json!(dynamic.created_at));
        members.insert("last_used_at".to_owned(), json!(dynamic.last_used_at));
        members.insert("fetched_at".to_owned(), json!(dynamic.fetched_at));
        members.insert("fresh_until".to_owned(), json!(dynamic.fresh_until));
        members.insert("suspended_at".to_owned(), json!(dynamic.suspended_at));
    }
    document
}
