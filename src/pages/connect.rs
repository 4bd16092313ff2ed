//! What is shown before anybody signs in, if nobody here vouches for the client: who wants to connect, and where to.
//!
//! The provider is not asked before the user said yes to this (MCP security best practices, "confused deputy").

use super::consent_view::description;
use super::layout::{Frame, page};
use super::who::{Destination, Who, runs_here, shown};
use crate::app::App;
use crate::domain::client::ClientEntry;
use crate::domain::resource::{Resource, ResourceScope};
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

/// How many of the things that it will ask for are named: the consent page has them all.
const SCOPES: usize = 8;

/// Everything that the page says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connect<'a> {
    /// Who wants to connect.
    pub(super) client: &'a ClientEntry,
    /// To which backend, if that is known.
    pub(super) resource: Option<&'a Resource>,
    /// What it will ask for there.
    pub(super) scopes: &'a [&'a ResourceScope],
    /// Where the code goes.
    pub(super) redirect_uri: &'a str,
    /// Where the user signs in next, if there is one provider.
    pub(super) provider: Option<&'a str>,
    /// Where the form goes, below the issuer; it has `decision`, `allow` or `deny`.
    pub(super) action: &'a str,
    /// The sealed field.
    pub(super) form: &'a str,
}

#[derive(Template)]
#[template(path = "connect.html")]
struct ConnectPage<'a> {
    frame: Frame<'a>,
    who: Who,
    resource_name: Option<String>,
    asks_for: Vec<String>,
    asks_for_more: usize,
    destination: Destination,
    runs_here: bool,
    provider: Option<String>,
    action: &'a str,
    form: &'a str,
    client_id: &'a str,
    redirect_uri: &'a str,
}

/// The page.
pub(super) fn connect_page(app: &App, connect: &Connect<'_>) -> Response {
    let frame = Frame::of(app);
    let snapshot = app.snapshot();
    page(
        StatusCode::OK,
        ConnectPage {
            frame,
            who: Who::of(connect.client, &snapshot.registry, &frame.organisation.name),
            resource_name: connect.resource.map(|resource| shown(&resource.name, 60)),
            asks_for: connect.scopes.iter().take(SCOPES).map(|scope| description(&scope.description)).collect(),
            asks_for_more: connect.scopes.len().saturating_sub(SCOPES),
            destination: Destination::of(connect.redirect_uri),
            runs_here: runs_here(connect.client, Some(connect.redirect_uri)),
            provider: connect.provider.map(|name| shown(name, 60)),
            action: connect.action,
            form: connect.form,
            client_id: connect.client.client.id.as_str(),
            redirect_uri: connect.redirect_uri,
        }
        .render(),
    )
}
