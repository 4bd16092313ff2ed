//! `/account/events`: who acted as the user who looks, and what else is recorded of them.

use super::chart::{self, Chart};
use super::sentence::{Names, Sentence};
use super::{signed_in, unavailable};
use crate::app::{App, Snapshot};
use crate::audit::words::{moment, parse_moment};
use crate::domain::consent::ConsentingUser;
use crate::domain::event::AuditEvent;
use crate::domain::names::ClientId;
use crate::domain::sign_in::SignIn;
use crate::pages::consent_view::description;
use crate::pages::layout::{Frame, page};
use crate::pages::posted::Posted;
use crate::pages::session::Browser;
use crate::pages::who::{Who, shown, shown_account};
use crate::pages::words;
use crate::store::{EventFilter, StoreError};
use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Events on a page.
const PAGE: usize = 50;
const DAY_MS: i64 = 86_400_000;

/// What the user wants to see of their events.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    client: Option<String>,
    resource: Option<String>,
    /// Days, as they were typed.
    from: Option<String>,
    to: Option<String>,
    /// Where the page before ended, Unix milliseconds.
    before_ms: Option<i64>,
    /// A day that cannot be read, as it was typed.
    unread: Option<String>,
}

impl Wanted {
    /// Reads a query; what cannot be read is left out.
    pub(super) fn of(query: Option<&str>, now_ms: i64) -> Self {
        let Some(query) = query.and_then(|query| Posted::parse(query.as_bytes())) else {
            return Self::default();
        };
        let text = |name| query.one(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let is_day = |text: &String| parse_moment(text, now_ms).is_ok();
        let day = |name| text(name).filter(is_day);
        Self {
            client: text("client"),
            resource: text("resource"),
            from: day("from"),
            to: day("to"),
            unread: ["from", "to"].into_iter().filter_map(text).find(|text| !is_day(text)),
            before_ms: query.one("before").and_then(|before| before.parse().ok()),
        }
    }

    fn since_ms(&self, now_ms: i64) -> Option<i64> {
        self.from.as_ref().and_then(|day| parse_moment(day, now_ms).ok())
    }

    /// The first moment after the last day.
    fn until_ms(&self, now_ms: i64) -> Option<i64> {
        self.to.as_ref().and_then(|day| parse_moment(day, now_ms).ok()).map(|to| to.saturating_add(DAY_MS))
    }

    /// As a search for the user's own events, and nobody else's.
    pub(super) fn filter(&self, user: &SignIn, now_ms: i64, limit: usize) -> EventFilter {
        EventFilter {
            user: Some(user.user.as_str().to_owned()),
            client: self.client.clone(),
            resource: self.resource.clone(),
            since_ms: self.since_ms(now_ms),
            until_ms: self.until_ms(now_ms).into_iter().chain(self.before_ms).min(),
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
            ..EventFilter::default()
        }
    }

    /// As a query, with another place to go on from.
    fn query(&self, before_ms: Option<i64>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let given = [("client", &self.client), ("resource", &self.resource), ("from", &self.from), ("to", &self.to)];
        for (name, value) in given {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        if let Some(before) = before_ms {
            query.append_pair("before", &before.to_string());
        }
        query.finish()
    }
}

/// A value to choose, what it is called, and whether it is chosen.
type Choice = (String, String, bool);

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage<'a> {
    frame: Frame<'a>,
    clients: Vec<Choice>,
    resources: Vec<Choice>,
    from: &'a str,
    to: &'a str,
    is_filtered: bool,
    chart: Chart,
    /// What of the filter was left out, and why.
    problem: Option<String>,
    lines: Vec<Line>,
    query: String,
    older: Option<String>,
    is_later_page: bool,
}

/// Events one after the other that say the same are one line.
struct Line {
    at: String,
    when: String,
    said: Sentence,
    /// How many, and when the first was, if there are several.
    run: Option<(String, String)>,
}

/// `GET /account/events`.
pub(in crate::pages) async fn show(
    State(app): State<Arc<App>>,
    browser: Browser,
    RawQuery(query): RawQuery,
) -> Result<Response, Response> {
    let user = signed_in(&app, &browser, "/account/events").await?;
    let now_ms = app.clock.now_ms();
    let wanted = Wanted::of(query.as_deref(), now_ms);
    page_for(&app, &user, &wanted, now_ms).await.map_err(|cause| unavailable(&app, &cause.to_string()))
}

async fn page_for(app: &App, user: &SignIn, wanted: &Wanted, now_ms: i64) -> Result<Response, StoreError> {
    let now = now_ms.div_euclid(1000);
    let snapshot = app.snapshot();
    let mut events = own(&snapshot, app.store.list_events(&wanted.filter(user, now_ms, PAGE + 1)).await?);
    let older = cut(&mut events);
    let shown_days = chart::Window::of(wanted.since_ms(now_ms), wanted.until_ms(now_ms), now);
    let days = EventFilter {
        since_ms: wanted.since_ms(now_ms).max(Some(shown_days.begins_at_ms())),
        until_ms: Some(shown_days.ends_at_ms()),
        ..wanted.filter(user, now_ms, 0)
    };
    let counts = app.store.count_events_by_day(&days).await?;
    let met = Met::by(app, user, &events).await?;
    let names = names(app, &snapshot, &met.clients).await?;
    let clients = choices(&met.clients, &names.clients, wanted.client.as_deref());
    let resources = choices(&met.resources, &names.resources, wanted.resource.as_deref());
    let account = shown_account(user.account());
    let is_filtered =
        wanted.client.is_some() || wanted.resource.is_some() || wanted.from.is_some() || wanted.to.is_some();
    let rendered = EventsPage {
        frame: Frame::of(app).with_account(&account),
        clients,
        resources,
        from: wanted.from.as_deref().unwrap_or_default(),
        to: wanted.to.as_deref().unwrap_or_default(),
        is_filtered,
        chart: Chart::of(&counts, shown_days),
        problem: wanted
            .unread
            .as_deref()
            .map(|text| format!("“{}” is not a day such as 2026-01-31, so it was left out.", shown(text, 40))),
        lines: lines(&events, &names),
        query: wanted.query(None),
        older: older.map(|before| wanted.query(Some(before))),
        is_later_page: wanted.before_ms.is_some(),
    }
    .render();
    Ok(page(StatusCode::OK, rendered))
}

/// Newest first, as the events are.
fn lines(events: &[AuditEvent], names: &Names) -> Vec<Line> {
    let said: Vec<(i64, Sentence)> =
        events.iter().map(|event| (event.at_ms.div_euclid(1000), names.sentence(event))).collect();
    let runs = said.chunk_by(|(_, later), (_, earlier)| later == earlier);
    let line = |run: &[(i64, Sentence)]| {
        let ((newest, said), (first, _)) = (run.first()?, run.last()?);
        let count = i64::try_from(run.len()).unwrap_or(i64::MAX);
        let several = (count > 1).then(|| (words::times(count), words::minute(*first)));
        Some(Line { at: moment(*newest), when: words::minute(*newest), said: said.clone(), run: several })
    };
    runs.filter_map(line).collect()
}

/// Those whose subject is the user: a client must not get into a user's list by having their id.
pub(super) fn own(snapshot: &Snapshot, events: Vec<AuditEvent>) -> Vec<AuditEvent> {
    let is_client = |sub: &str| snapshot.registry.client_by_name(sub).is_some();
    let is_own = |event: &AuditEvent| {
        event.subject.as_ref().is_some_and(|subject| subject.idp.is_some() || !is_client(&subject.sub))
    };
    events.into_iter().filter(is_own).collect()
}

/// Cuts what is beyond a page; gives where the next page goes on. Events of one millisecond stay together.
fn cut(events: &mut Vec<AuditEvent>) -> Option<i64> {
    let beyond = events.get(PAGE)?.at_ms;
    events.truncate(PAGE);
    let kept = events.iter().filter(|event| event.at_ms != beyond).count();
    if kept == 0 {
        return Some(beyond);
    }
    events.truncate(kept);
    Some(beyond.saturating_add(1))
}

/// The clients and backends that the user agreed to or that are in any of their events. Of others they learn nothing:
/// neither that there are any, nor what they are called.
struct Met {
    clients: BTreeSet<String>,
    resources: BTreeSet<String>,
}

impl Met {
    async fn by(app: &App, user: &SignIn, events: &[AuditEvent]) -> Result<Self, StoreError> {
        let consents = app.consents.of(&app.store, &user.user).await?;
        let agreed = consents.iter().filter(|consent| consent.user != ConsentingUser::Everyone);
        let agreed = agreed
            .map(|consent| (Some(consent.client.as_str().to_owned()), Some(consent.resource.as_str().to_owned())));
        let recorded = app.store.parties_in_events_of(user.user.as_str()).await?;
        let (clients, resources): (Vec<_>, Vec<_>) = agreed.chain(recorded).unzip();
        let acted = events.iter().flat_map(|event| event.actors.iter().cloned());
        Ok(Self {
            clients: clients.into_iter().flatten().chain(acted).collect(),
            resources: resources.into_iter().flatten().collect(),
        })
    }
}

/// What can be chosen, by name, and what is chosen, even if the user never met it.
fn choices(met: &BTreeSet<String>, names: &HashMap<String, String>, chosen: Option<&str>) -> Vec<Choice> {
    let stranger = chosen.filter(|id| !met.contains(*id)).map(|id| (id.to_owned(), shown(id, 60), true));
    let choice = |id: &String| {
        (id.clone(), names.get(id).map_or_else(|| shown(id, 60), Clone::clone), chosen == Some(id.as_str()))
    };
    let mut choices: Vec<Choice> = met.iter().map(choice).chain(stranger).collect();
    choices.sort_by_key(|(_, name, _)| name.to_lowercase());
    choices
}

async fn names(app: &App, snapshot: &Snapshot, clients: &BTreeSet<String>) -> Result<Names, StoreError> {
    let mut names = Names::default();
    for id in clients.iter().filter_map(|id| id.parse::<ClientId>().ok()) {
        if let Some(entry) = app.clients.find(&app.store, snapshot, &id).await? {
            names.clients.insert(id.as_str().to_owned(), Who::of(&entry, &snapshot.registry, "").in_text());
        }
    }
    for resource in snapshot.registry.resources() {
        names.resources.insert(resource.id.as_str().to_owned(), shown(&resource.name, 60));
        for scope in &resource.scopes {
            let key = (resource.id.as_str().to_owned(), scope.name.as_str().to_owned());
            names.scopes.insert(key, description(&scope.description));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{EventKind, EventOutcome};

    fn at(times: impl IntoIterator<Item = i64>) -> Vec<AuditEvent> {
        let event = |at_ms| {
            AuditEvent::new(at_ms, "req_1".to_owned(), EventKind::TokenExchange, EventOutcome::Granted, "granted")
        };
        times.into_iter().map(event).collect()
    }

    #[test]
    fn a_page_ends_between_two_milliseconds() {
        let mut few = at([3, 2, 1]);
        assert_eq!((cut(&mut few), few.len()), (None, 3));
        // Newest first: the last three of 51 are of one millisecond.
        let mut many = at((0..48).map(|index| 1000 - index).chain([7, 7, 7]));
        assert_eq!((cut(&mut many), many.len()), (Some(8), 48));
        let mut same = at([5; 51]);
        assert_eq!((cut(&mut same), same.len()), (Some(5), 50));
    }

    #[test]
    fn a_query_that_cannot_be_read_restricts_nothing_and_a_day_is_a_whole_day() {
        let wanted = Wanted::of(Some("client=assistant&from=2026-01-01&to=2026-01-01&resource=&before=x"), 0);
        assert_eq!(wanted.query(None), "client=assistant&from=2026-01-01&to=2026-01-01");
        assert_eq!(Wanted::of(Some("from=%zz"), 0).query(None), "");
        assert_eq!(Wanted::of(Some("from=yesterday"), 0).query(Some(5)), "before=5");
    }
}
