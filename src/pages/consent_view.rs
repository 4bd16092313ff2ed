//! What a user is asked before a client may act for them. Shown by the consent page and by `/authorize`; how it is answered
//! is in [`consent_choice`](super::consent_choice).

use super::consent_choice::{chosen, durations, value_of};
use super::layout::{Frame, page};
use super::posted::Posted;
use super::who::{Destination, Who, runs_here, shown, shown_account};
use super::words;
use crate::app::App;
use crate::domain::client::ClientEntry;
use crate::domain::consent::Consent;
use crate::domain::resource::{Access, Resource, ResourceScope};
use crate::domain::scope::ScopeSet;
use crate::domain::sign_in::SignIn;
use crate::grants::consent::Lasts;
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

/// How many things that the client cannot do are named.
const CANNOT: usize = 4;
/// The longest description of a scope, in characters.
const DESCRIPTION_CHARACTERS: usize = 160;

/// Everything that the page says.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// Who asks.
    pub(super) client: &'a ClientEntry,
    /// For which backend.
    pub(super) resource: &'a Resource,
    /// Who is asked.
    pub(super) user: &'a SignIn,
    /// What is [`offered`](super::consent_choice::offered): what would be granted, and what was agreed to before.
    pub(super) scopes: &'a ScopeSet,
    /// The earlier agreement, if it is live.
    pub(super) agreed: Option<&'a Consent>,
    /// What it is told of the user besides: which of `openid`, `profile` and `email`.
    pub(super) identity: &'a ScopeSet,
    /// Who asked the client, and who asked them: the apps behind a backend that asks for another one.
    pub(super) behind: &'a [String],
    /// Where the code goes, if there is one.
    pub(super) redirect_uri: Option<&'a str>,
    /// Where the form goes, below the issuer.
    pub(super) action: &'a str,
    /// Where "not you?" leads, below the issuer.
    pub(super) other_account: &'a str,
    /// The sealed field.
    pub(super) form: &'a str,
    /// The answer that came before, if it could not be taken.
    pub(super) again: Option<Again<'a>>,
}

/// An answer that was none: the page says why, and stands as the user left it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Again<'a> {
    /// What was wrong with it.
    pub(super) problem: &'a str,
    /// What the form had.
    pub(super) posted: &'a Posted,
    /// The scopes that had a box on it.
    pub(super) seen: &'a ScopeSet,
}

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage<'a> {
    frame: Frame<'a>,
    who: Who,
    resource_name: String,
    account: String,
    initial: String,
    provider: Option<String>,
    other_account: &'a str,
    destination: Option<Destination>,
    behind: &'a [String],
    runs_here: bool,
    groups: Vec<Group>,
    /// There is an earlier agreement, so what is new is marked.
    is_more: bool,
    cannot: Vec<String>,
    cannot_more: usize,
    lasts: Vec<(&'static str, String, bool)>,
    told: Option<&'static str>,
    pass_minutes: u32,
    problem: Option<&'a str>,
    action: &'a str,
    form: &'a str,
    client_id: &'a str,
    audience: &'a str,
    redirect_uri: Option<&'a str>,
    scopes: &'a ScopeSet,
}

/// Scopes that do the same kind of thing.
struct Group {
    access: Access,
    scopes: Vec<Line>,
}

/// One scope to tick.
struct Line {
    name: String,
    description: String,
    is_agreed: bool,
    is_ticked: bool,
}

/// The page.
pub(super) fn page_for(app: &App, view: &View<'_>) -> Response {
    let snapshot = app.snapshot();
    let provider = snapshot.registry.idp(&view.user.idp).map(|idp| idp.name.as_str());
    let who = Who::of(view.client, &snapshot.registry, &app.config.organisation.name);
    page(StatusCode::OK, contents(view, Frame::of(app), who, provider).render())
}

fn contents<'a>(view: &View<'a>, frame: Frame<'a>, who: Who, provider: Option<&str>) -> ConsentPage<'a> {
    let others = view.resource.scopes.iter().filter(|scope| !view.scopes.contains(&scope.name));
    let mut cannot: Vec<String> = others.map(|scope| inside(&description(&scope.description))).collect();
    let cannot_more = cannot.len().saturating_sub(CANNOT);
    cannot.truncate(CANNOT);
    let account = shown_account(view.user.account());
    let usual = view.agreed.map_or(Lasts::Month, |consent| Lasts::AsBefore(consent.expires_at));
    let chosen = view.again.map_or(Some(usual), |again| chosen(again.posted, view.agreed));
    let lasts = durations(view.agreed).into_iter();
    ConsentPage {
        frame,
        who,
        resource_name: shown(&view.resource.name, 60),
        initial: account.chars().next().map(|c| c.to_uppercase().to_string()).unwrap_or_default(),
        account,
        provider: provider.map(|name| shown(name, 60)),
        other_account: view.other_account,
        destination: view.redirect_uri.map(Destination::of),
        behind: view.behind,
        runs_here: runs_here(view.client, view.redirect_uri),
        groups: groups(view),
        is_more: view.agreed.is_some(),
        cannot,
        cannot_more,
        lasts: lasts.map(|lasts| (value_of(lasts), words_for(lasts), Some(lasts) == chosen)).collect(),
        told: told(view.identity),
        pass_minutes: pass_seconds(view).div_ceil(60),
        problem: view.again.map(|again| again.problem),
        action: view.action,
        form: view.form,
        client_id: view.client.client.id.as_str(),
        audience: view.resource.audience.as_str(),
        redirect_uri: view.redirect_uri,
        scopes: view.scopes,
    }
}

fn groups(view: &View<'_>) -> Vec<Group> {
    let line = |scope: &ResourceScope| {
        let is_agreed = view.agreed.is_some_and(|consent| consent.scopes.contains(&scope.name));
        Line {
            name: scope.name.as_str().to_owned(),
            description: description(&scope.description),
            is_agreed,
            is_ticked: match view.again {
                Some(again) if again.seen.contains(&scope.name) => {
                    again.posted.all("scope").any(|ticked| ticked == scope.name.as_str())
                }
                Some(_) | None => is_agreed || (scope.access != Access::Destructive && !scope.optional),
            },
        }
    };
    let of_kind = |access: Access| {
        let declared = view.resource.scopes.iter();
        let offered = declared.filter(|scope| scope.access == access && view.scopes.contains(&scope.name));
        Group { access, scopes: offered.map(line).collect() }
    };
    let groups = [Access::Read, Access::Write, Access::Destructive].map(of_kind);
    groups.into_iter().filter(|group| !group.scopes.is_empty()).collect()
}

/// A client that gets a code keeps its tokens longer than one that exchanges.
fn pass_seconds(view: &View<'_>) -> u32 {
    match view.redirect_uri {
        Some(_) => view.resource.connector_token_lifetime_seconds,
        None => view.resource.token_lifetime_seconds,
    }
}

/// What the client learns of the user by signing them in.
fn told(identity: &ScopeSet) -> Option<&'static str> {
    let has = |name: &str| identity.iter().any(|scope| scope.as_str() == name);
    match (has("profile"), has("email")) {
        (true, true) => Some("your name and your e-mail address"),
        (true, false) => Some("your name"),
        (false, true) => Some("your e-mail address"),
        (false, false) => None,
    }
}

/// What a scope does, as its owner wrote it.
pub(super) fn description(text: &str) -> String {
    shown(text, DESCRIPTION_CHARACTERS)
}

/// A description in the middle of a sentence; its first word may be a name in capitals.
fn inside(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        (Some(_) | None, _) => text.to_owned(),
    }
}

fn words_for(lasts: Lasts) -> String {
    match lasts {
        Lasts::Hour => "1 hour".to_owned(),
        Lasts::Day => "1 day".to_owned(),
        Lasts::Month => "30 days".to_owned(),
        Lasts::UntilRevoked => "Until I take it back".to_owned(),
        Lasts::AsBefore(None) => "As before: until I take it back".to_owned(),
        Lasts::AsBefore(Some(end)) => format!("As before: until {}", words::minute(end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Organisation;
    use crate::domain::client::Assurance;

    /// The page that asks for a client of this id, name and assurance, with its texts.
    fn page_of(id: &str, name: &str, assurance: Assurance, redirect_uri: Option<&str>) -> String {
        let client = serde_json::json!({"id": id, "name": name, "authentication": "none", "grants": []});
        let client = ClientEntry {
            client: serde_json::from_value(client).unwrap(),
            assurance,
            suspended_at: None,
            other_authentication: Vec::new(),
        };
        let markup = "<img src=x onerror=alert(1)> \u{202e}";
        let resource: Resource = serde_json::from_value(serde_json::json!({
            "id": "records", "audience": "https://records.example.com", "name": markup,
            "scope": [
                {"name": "records.read", "description": format!("See {markup}"), "access": "read"},
                {"name": "records.delete", "description": "Delete a record", "access": "destructive"},
                {"name": "records.share", "description": "Share your records", "access": "write"},
                {"name": "records.note", "description": "Add a note", "access": "write", "optional": true},
            ],
        }))
        .unwrap();
        let user: SignIn = serde_json::from_value(serde_json::json!({
            "user": "corp|alice", "idp": "corp", "idp_sub": "alice", "email": markup, "auth_time": 0, "signed_in_at": 0,
        }))
        .unwrap();
        let scopes = "records.read records.delete records.note".parse().unwrap();
        let identity = "openid email".parse().unwrap();
        let view = View {
            client: &client,
            resource: &resource,
            user: &user,
            scopes: &scopes,
            agreed: None,
            identity: &identity,
            behind: &[],
            redirect_uri,
            action: "/consent/x",
            other_account: "/consent/x?account=other",
            form: "sealed",
            again: None,
        };
        let organisation = Organisation { name: "Acme".to_owned(), logo: None, support_url: None };
        let frame = Frame { base: "", organisation: &organisation, account: None };
        let who = Who::of(&client, &crate::domain::registry::Registry::default(), "Acme");
        contents(&view, frame, who, Some(markup)).render().unwrap()
    }

    /// What stands in the title of the page.
    fn title(html: &str) -> &str {
        html.split_once("<h1>").unwrap().1.split_once("</h1>").unwrap().0
    }

    #[test]
    fn a57_texts_of_others_are_no_markup_turn_nothing_around_and_are_cut() {
        let name = format!("<script>alert(1)</script>\u{202e}{}", "long ".repeat(1000));
        for assurance in [Assurance::Vetted, Assurance::Domain, Assurance::SelfAsserted] {
            let html = page_of("https://a.example/x", &name, assurance, Some("https://a.example/cb?<script>"));
            for markup in ["<script", "<img", "onerror=alert(1)>", "\u{202e}"] {
                assert!(!html.contains(markup), "{assurance:?}: {markup}");
            }
            assert!(html.len() < 20_000, "{assurance:?}: {} bytes", html.len());
        }
    }

    #[test]
    fn a57_nobody_looks_approved_by_calling_themselves_so() {
        let vetted = page_of("claude", "Claude", Assurance::Vetted, None);
        assert!(title(&vetted).contains("Claude") && !vetted.contains("not verified"));
        let document = page_of("https://evil.example/claude", "Claude", Assurance::Domain, None);
        assert!(title(&document).contains("evil.example") && !title(&document).contains("Claude"));
        let registered = page_of("dcr_1", "Claude", Assurance::SelfAsserted, None);
        assert!(title(&registered).contains("A new app") && !title(&registered).contains("Claude"));
        assert!(registered.contains("Its name looks like") && document.contains("Its name looks like"));
        for html in [document, registered] {
            assert!(html.contains("<bdi>Claude</bdi>") && html.contains("not verified"), "{html}");
            assert!(!html.contains("Approved by"), "{html}");
        }
    }

    #[test]
    fn a48_a_code_that_stays_on_this_computer_is_a_reason_to_look_twice() {
        let id = "https://claude.ai/oauth/claude-code-client-metadata";
        let html = page_of(id, "Claude Code", Assurance::Domain, Some("http://localhost:3334/callback"));
        assert!(html.contains("It runs on this computer") && html.contains("localhost:3334"), "{html}");
        assert!(!page_of(id, "Claude Code", Assurance::Domain, Some("https://claude.ai/cb")).contains("runs on this"));
    }

    #[test]
    fn what_destroys_is_not_ticked_and_what_is_not_asked_for_is_said() {
        let html = page_of("assistant", "Assistant", Assurance::Vetted, None);
        assert!(
            html.contains(r#"value="records.read" checked"#) && html.contains(r#"value="records.delete">"#),
            "{html}"
        );
        assert!(html.contains(r#"value="records.note">"#), "an optional one is for the user to tick: {html}");
        assert!(html.contains("told your e-mail address"), "{html}");
        assert!(html.contains("share your records") && !html.contains(r#"value="records.share""#), "{html}");
    }
}
