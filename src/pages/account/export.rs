//! `/account/events.jsonl` and `.csv`: the user's own events, to keep.

use super::activity::{Wanted, own};
use super::{signed_in, unavailable};
use crate::app::App;
use crate::audit::words::moment_ms;
use crate::domain::event::{AuditEvent, EventKind, EventOutcome};
use crate::domain::scope::ScopeSet;
use crate::pages::session::Browser;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::fmt::Write;
use std::sync::Arc;

/// The most events in one file, as the page says; a narrower time gets the others.
const MOST: usize = 10_000;

/// What of an event is the user's: not what is written for operators.
#[derive(Debug, Serialize)]
struct Row {
    at: String,
    what: EventKind,
    outcome: EventOutcome,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actors: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<ScopeSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    granted: Option<ScopeSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    request_id: String,
}

impl From<&AuditEvent> for Row {
    fn from(event: &AuditEvent) -> Self {
        Self {
            at: moment_ms(event.at_ms),
            what: event.kind,
            outcome: event.outcome,
            reason: event.reason.clone(),
            client: event.client.as_ref().map(|client| client.as_str().to_owned()),
            actors: event.actors.clone(),
            backend: event.resource.as_ref().map(|resource| resource.as_str().to_owned()),
            asked: event.asked.clone(),
            granted: event.granted.clone(),
            agreement: event.grant_id.clone(),
            token: event.jti.clone(),
            request_id: event.request_id.clone(),
        }
    }
}

/// `GET /account/events.jsonl`.
pub(in crate::pages) async fn json_lines(
    State(app): State<Arc<App>>,
    browser: Browser,
    RawQuery(query): RawQuery,
) -> Result<Response, Response> {
    let rows = rows(&app, &browser, query.as_deref()).await?;
    let lines = rows.iter().filter_map(|row| serde_json::to_string(row).ok());
    Ok(file("application/jsonl; charset=utf-8", "events.jsonl", lines.map(|line| line + "\n").collect()))
}

/// `GET /account/events.csv` (RFC 4180).
pub(in crate::pages) async fn csv(
    State(app): State<Arc<App>>,
    browser: Browser,
    RawQuery(query): RawQuery,
) -> Result<Response, Response> {
    let rows = rows(&app, &browser, query.as_deref()).await?;
    let head = "at,what,outcome,reason,client,actors,backend,asked,granted,agreement,token,request_id\r\n";
    let text = rows.iter().fold(head.to_owned(), |mut text, row| {
        let scopes = |scopes: &Option<ScopeSet>| scopes.as_ref().map(ToString::to_string).unwrap_or_default();
        let optional = |text: &Option<String>| text.clone().unwrap_or_default();
        let cells = [
            row.at.clone(),
            word(row.what),
            word(row.outcome),
            row.reason.clone(),
            optional(&row.client),
            row.actors.join(" "),
            optional(&row.backend),
            scopes(&row.asked),
            scopes(&row.granted),
            optional(&row.agreement),
            optional(&row.token),
            row.request_id.clone(),
        ];
        let line: Vec<String> = cells.iter().map(|text| cell(text)).collect();
        let _ = write!(text, "{}\r\n", line.join(","));
        text
    });
    Ok(file("text/csv; charset=utf-8", "events.csv", text))
}

async fn rows(app: &App, browser: &Browser, query: Option<&str>) -> Result<Vec<Row>, Response> {
    let user = signed_in(app, browser, "/account/events").await?;
    let now_ms = app.clock.now_ms();
    let filter = Wanted::of(query, now_ms).filter(&user, now_ms, MOST);
    let events = app.store.list_events(&filter).await.map_err(|cause| unavailable(app, &cause.to_string()))?;
    Ok(own(&app.snapshot(), events).iter().map(Row::from).collect())
}

fn file(media_type: &'static str, name: &str, text: String) -> Response {
    let fields = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (fields, text).into_response()
}

/// The word for one of our enums, the same as in JSON.
fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A cell in quotes. A spreadsheet would take some first characters for a formula, so they get a quote before them.
fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula_and_ends_where_it_should() {
        assert_eq!(cell("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(cell("=HYPERLINK(1)"), "\"'=HYPERLINK(1)\"");
    }
}
