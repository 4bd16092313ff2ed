//! `/account/agreements/{id}`: one agreement of the user, to narrow, shorten, pause or end.

use super::held::{self, AgreedBy, Held};
use super::signed_in;
use crate::app::App;
use crate::domain::grant_family::GrantFamily;
use crate::domain::names::{ResourceId, UserId};
use crate::domain::registry::Registry;
use crate::domain::resource::{Access, Resource};
use crate::domain::sign_in::SignIn;
use crate::grants::Received;
use crate::grants::consent::{Amendment, amend};
use crate::pages::error::{Named, error_with_link, failed, unavailable};
use crate::pages::form;
use crate::pages::layout::{Frame, page, see_other};
use crate::pages::posted::Posted;
use crate::pages::session::Browser;
use crate::pages::who::{shown, shown_account};
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a form of this page is for.
const PURPOSE: &str = "account";

/// What a form of this page is about. What it does is in its buttons: all of them only take away, but for going on.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    user: UserId,
    consent: String,
}

const NOTHING_LEFT: &str = "Nothing is left ticked. To take away everything, end the agreement.";

/// Ends that can be chosen: value, words, seconds from now.
const ENDS: [(&str, &str, i64); 4] = [
    ("hour", "In 1 hour", 3_600),
    ("day", "In 1 day", 86_400),
    ("week", "In 7 days", 7 * 86_400),
    ("month", "In 30 days", 30 * 86_400),
];

#[derive(Template)]
#[template(path = "agreement.html")]
struct AgreementPage<'a> {
    frame: Frame<'a>,
    held: Held,
    ends: Vec<(&'static str, &'static str)>,
    /// The boxes stand as the user left them, where nothing could be left.
    is_ticked: bool,
    problem: Option<&'a str>,
    form: String,
}

#[derive(Template)]
#[template(path = "end.html")]
struct EndPage<'a> {
    frame: Frame<'a>,
    held: Held,
    /// How many connections that renew themselves end with it.
    connections: usize,
    /// From which backend to which other what it asks for can be passed on.
    passed_on: Vec<(String, String)>,
    /// Where else the same client goes on acting.
    others: Vec<String>,
    /// Who may go on acting at those backends if another app asks: client and backend.
    followers: Vec<(String, String)>,
    form: String,
}

/// `GET /account/agreements/{id}`.
pub(in crate::pages) async fn show(
    State(app): State<Arc<App>>,
    browser: Browser,
    Named(id): Named,
) -> Result<Response, Response> {
    let (user, held) = own(&app, &browser, &id).await?;
    page_for(&app, &browser, &user, held, None).await
}

/// `GET /account/agreements/{id}/end`: what would end.
pub(in crate::pages) async fn preview_end(
    State(app): State<Arc<App>>,
    browser: Browser,
    Named(id): Named,
) -> Result<Response, Response> {
    let (user, held) = own(&app, &browser, &id).await?;
    let all = held::by(&app, &user).await?;
    let is_other = |other: &&Held| other.client_id == held.client_id && other.consent.id != held.consent.id;
    let others = all.iter().filter(is_other).map(|other| other.resource_name.clone()).collect();
    let snapshot = app.snapshot();
    let edges = onward(&snapshot.registry, &held.consent.resource);
    let name = |resource: &Resource| shown(&resource.name, 60);
    let passed_on = edges.iter().map(|(from, to)| (name(from), name(to))).collect();
    let is_follower = |other: &&Held| {
        edges.iter().any(|(from, to)| from.clients.contains(&other.consent.client) && to.id == other.consent.resource)
    };
    let followers = all.iter().filter(is_follower);
    let followers = followers.map(|other| (other.who.in_text(), other.resource_name.clone())).collect();
    let families = app.store.families_of(&user.user, app.clock.now()).await;
    let families = families.map_err(|cause| unavailable(&app, &cause.to_string()))?;
    let is_of_it =
        |family: &&GrantFamily| family.client == held.consent.client && family.resource == held.consent.resource;
    let connections = families.iter().filter(is_of_it).count();
    let account = shown_account(user.account());
    let frame = Frame::of(&app).with_account(&account);
    let form = seal(&app, &browser, &user, &held).await?;
    Ok(page(StatusCode::OK, EndPage { frame, held, connections, passed_on, others, followers, form }.render()))
}

/// The ways on from a backend along which its tokens may be exchanged, and those from where they lead, each once.
fn onward<'r>(registry: &'r Registry, start: &ResourceId) -> Vec<(&'r Resource, &'r Resource)> {
    let mut ways: Vec<(&Resource, &Resource)> = Vec::new();
    let mut waiting: Vec<&Resource> = registry.resource(start).map(AsRef::as_ref).into_iter().collect();
    while let Some(from) = waiting.pop() {
        let targets = from.may_exchange_to.iter().filter_map(|id| registry.resource(id));
        for to in targets.map(AsRef::as_ref).filter(|to: &&Resource| to.id != from.id) {
            if !ways.iter().any(|(known, next)| known.id == from.id && next.id == to.id) {
                ways.push((from, to));
                waiting.push(to);
            }
        }
    }
    ways
}

/// `POST /account/agreements/{id}`: `do` is `narrow`, `shorten`, `pause`, `resume` or `end`.
pub(in crate::pages) async fn change(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    browser: Browser,
    Named(id): Named,
    headers: HeaderMap,
    posted: Posted,
) -> Result<Response, Response> {
    let field = posted.one("form").unwrap_or_default();
    let about: About = form::open(&app, &browser, &headers, (PURPOSE, field), |about: &About| {
        Some(format!("/account/agreements/{}", about.consent))
    })
    .await?;
    let (user, held) = own(&app, &browser, &id).await?;
    if about.user != user.user || about.consent != id {
        return Err(gone(&app, StatusCode::FORBIDDEN));
    }
    let (amendment, done) = match read(&posted, &held, received.now()) {
        Ok(wanted) => wanted,
        Err(problem) => return page_for(&app, &browser, &user, held, Some(problem)).await,
    };
    match amend(&app, &received, &user, &held.consent, amendment).await {
        Ok(true) => {
            browser.keep_said(&app, done).await?;
            Ok(see_other(&format!("{}/account", Frame::of(&app).base)))
        }
        Ok(false) => {
            let problem = "It was changed meanwhile, in another window perhaps. This is how it stands now.";
            let (user, held) = own(&app, &browser, &id).await?;
            page_for(&app, &browser, &user, held, Some(problem)).await
        }
        Err(failure) => Err(failed(&app, &failure)),
    }
}

/// What the form asks for, and the word for having done it.
fn read(posted: &Posted, held: &Held, now: i64) -> Result<(Amendment, &'static str), &'static str> {
    match posted.one("do") {
        Some("narrow") => {
            let ticked: Vec<&str> = posted.all("scope").collect();
            let (kept, gone) = held.consent.scopes.clone().partition(|scope| ticked.contains(&scope.as_str()));
            if kept.is_empty() {
                return Err(NOTHING_LEFT);
            }
            if gone.is_empty() {
                return Err(
                    "Everything is still ticked, so nothing was changed. Untick what it should not do any more.",
                );
            }
            Ok((Amendment::Narrow(kept), "narrowed"))
        }
        Some("shorten") => {
            let chosen = posted.one("ends").and_then(|chosen| ENDS.iter().find(|(value, ..)| *value == chosen));
            let (.., seconds) = chosen.ok_or("Choose when it ends.")?;
            Ok((Amendment::Shorten(now.saturating_add(*seconds)), "shortened"))
        }
        Some("pause") => Ok((Amendment::Pause, "paused")),
        Some("resume") => Ok((Amendment::Resume, "resumed")),
        Some("end") => Ok((Amendment::Revoke, "ended")),
        Some(_) | None => Err("Choose what to change."),
    }
}

async fn page_for(
    app: &App,
    browser: &Browser,
    user: &SignIn,
    held: Held,
    problem: Option<&str>,
) -> Result<Response, Response> {
    let account = shown_account(user.account());
    let frame = Frame::of(app).with_account(&account);
    let now = app.clock.now();
    let is_sooner = |seconds: i64| held.consent.expires_at.is_none_or(|end| now.saturating_add(seconds) < end);
    let ends =
        ENDS.iter().filter(|(.., seconds)| is_sooner(*seconds)).map(|(value, words, _)| (*value, *words)).collect();
    let form = seal(app, browser, user, &held).await?;
    Ok(page(
        StatusCode::OK,
        AgreementPage { frame, held, ends, is_ticked: problem != Some(NOTHING_LEFT), problem, form }.render(),
    ))
}

async fn seal(app: &App, browser: &Browser, user: &SignIn, held: &Held) -> Result<String, Response> {
    let about = About { user: user.user.clone(), consent: held.consent.id.clone() };
    form::seal(app, browser, PURPOSE, &about).await
}

/// The user, and the agreement if it is theirs.
async fn own(app: &App, browser: &Browser, id: &str) -> Result<(SignIn, Held), Response> {
    // An id from a link of elsewhere is not put together to a path to come back to.
    let user = signed_in(app, browser, "/account").await?;
    match held::one(app, &user, id).await? {
        Some(held) => Ok((user, held)),
        None => Err(gone(app, StatusCode::NOT_FOUND)),
    }
}

fn gone(app: &App, status: StatusCode) -> Response {
    let text = "It has ended, was taken back, or is not yours. Your page shows what counts now.";
    error_with_link(app, status, "This agreement is not there", text, ("Back to your page", "/account"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_on_are_followed_to_their_end_and_no_circle_is_walked_twice() {
        let resource = |id: &str, next: &[&str]| -> Resource {
            let declared = serde_json::json!({
                "id": id, "audience": format!("https://{id}.example"), "name": id, "may_exchange_to": next,
            });
            serde_json::from_value(declared).unwrap()
        };
        let resources = vec![
            resource("a", &["b", "c"]),
            resource("b", &["c", "a"]),
            resource("c", &["c"]),
            resource("apart", &["a"]),
        ];
        let registry = Registry::new(Vec::new(), resources, Vec::new(), Vec::new(), std::collections::HashSet::new());
        let ways = |start: &str| {
            let ways = onward(&registry, &start.parse().unwrap());
            let mut ways: Vec<String> = ways.iter().map(|(from, to)| format!("{}-{}", from.id, to.id)).collect();
            ways.sort();
            ways
        };
        assert_eq!(ways("a"), ["a-b", "a-c", "b-a", "b-c"]);
        assert!(ways("c").is_empty() && ways("nothing").is_empty());
    }
}
