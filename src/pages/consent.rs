//! `GET /consent/{handle}`: what a client asks of the user. It says who asks, for which backend, and what for.
//!
//! The page cannot sign anybody in yet, so nobody can agree on it, and it says so.

use super::error::error;
use super::page;
use crate::app::{App, Snapshot};
use crate::domain::client::{Assurance, ClientEntry};
use crate::domain::resource::{Access, Resource};
use crate::domain::scope::Scope;
use crate::secrets::digest;
use crate::store::ConsentRequest;
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage<'a> {
    base: &'a str,
    client_name: &'a str,
    client_id: &'a str,
    assurance: &'a str,
    resource_name: &'a str,
    audience: &'a str,
    groups: Vec<Group<'a>>,
    lifetime_minutes: u32,
    agreed: bool,
}

/// Scopes that do the same kind of thing.
struct Group<'a> {
    title: &'a str,
    class: &'a str,
    scopes: Vec<(&'a str, &'a str)>,
}

/// The page behind a `consent_uri`.
pub async fn show(State(app): State<Arc<App>>, Path(handle): Path<String>) -> Response {
    let base = base(&app);
    let now = app.clock.now();
    let request = match app.store.find_consent_request(&digest(&handle)).await {
        Ok(request) => request.filter(|request| now < request.expires_at),
        Err(cause) => {
            tracing::error!(%cause, "a consent page could not be shown");
            let text = "The server cannot look this up at the moment. Please try again in a minute.";
            return error(StatusCode::SERVICE_UNAVAILABLE, base, "Please try again", text);
        }
    };
    let snapshot = app.snapshot();
    let known = request.as_ref().and_then(|request| parties(&snapshot, request).map(|parties| (request, parties)));
    let Some((request, (client, resource))) = known else {
        let text = "This link has expired or was never valid. Go back to the app and start again there: it will give \
                    you a new link.";
        return error(StatusCode::NOT_FOUND, base, "This link leads nowhere", text);
    };
    let agreed = match app.consents.of(&app.store, &request.user).await {
        Ok(consents) => consents.iter().any(|consent| {
            let same = consent.client == request.client && consent.resource == request.resource;
            same && consent.is_live(now) && request.scopes.is_subset(&consent.scopes)
        }),
        Err(_) => false,
    };
    page(StatusCode::OK, render(base, client, resource, request, agreed).render())
}

fn parties<'a>(snapshot: &'a Snapshot, request: &ConsentRequest) -> Option<(&'a ClientEntry, &'a Resource)> {
    let client = snapshot.registry.client(&request.client)?;
    let resource = snapshot.registry.resource(&request.resource)?;
    Some((client, resource))
}

fn render<'a>(
    base: &'a str,
    entry: &'a ClientEntry,
    resource: &'a Resource,
    request: &'a ConsentRequest,
    agreed: bool,
) -> ConsentPage<'a> {
    let kinds = [
        (Access::Read, "It could see", "see"),
        (Access::Write, "It could change", "change"),
        (Access::Destructive, "It could delete, or do what can't be undone", "destroy"),
    ];
    let groups = kinds
        .into_iter()
        .map(|(access, title, class)| Group { title, class, scopes: of_kind(resource, request, access) })
        .filter(|group| !group.scopes.is_empty())
        .collect();
    ConsentPage {
        base,
        client_name: &entry.client.name,
        client_id: entry.client.id.as_str(),
        assurance: match entry.assurance {
            Assurance::Vetted => "Checked and registered by the administrator of this service.",
            Assurance::Domain => "Known only by its internet domain; nobody here has checked it.",
            Assurance::SelfAsserted => "It registered itself; nobody here has checked it.",
        },
        resource_name: &resource.name,
        audience: resource.audience.as_str(),
        groups,
        lifetime_minutes: resource.token_lifetime_seconds.div_ceil(60),
        agreed,
    }
}

/// Description and name of each asked scope of one kind.
fn of_kind<'a>(resource: &'a Resource, request: &'a ConsentRequest, access: Access) -> Vec<(&'a str, &'a str)> {
    let declared = request.scopes.iter().filter_map(|name: &Scope| resource.scope(name));
    declared
        .filter(|scope| scope.access == access)
        .map(|scope| (scope.description.as_str(), scope.name.as_str()))
        .collect()
}

/// The path that every link on a page begins with.
fn base(app: &App) -> &str {
    let after_scheme = app.config.issuer.split_once("://").map_or("", |(_, rest)| rest);
    after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("")
}
