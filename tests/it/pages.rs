//! The consent page and the account page through the router, by a user who signed in: what counts, and what does not.

use crate::browser::{Browser, FrontDoor, field};
use crate::database::Kind;
use crate::server::{Answer, NOW};
use procura::domain::change::Change;
use procura::domain::consent::{Consent, ConsentAnswer};
use procura::domain::event::{AuditEvent, EventKind, EventOutcome, EventSubject};
use procura::secrets::digest;
use procura::store::ConsentRequest;
use serde_json::json;
use std::time::Duration;

const REGISTRY: &str = r#"
[[resource]]
id = "records"
audience = "https://records.example.com/api"
name = "Health records"
[[resource.scope]]
name = "records.read"
description = "See your health records"
access = "read"
[[resource.scope]]
name = "records.write"
description = "Change your health records"
access = "write"
[[resource.scope]]
name = "records.delete"
description = "Delete a health record"
access = "destructive"

[[client]]
id = "assistant"
name = "Acme Assistant"
authentication = "client_secret_basic"
grants = ["token_exchange"]
[client.resources]
records = ["records.read", "records.write", "records.delete"]
"#;

/// A server where Alice signed in, and is asked something at `/consent/first` and `/consent/second`.
struct Asked {
    door: FrontDoor,
    alice: Browser,
}

impl Asked {
    async fn open() -> Self {
        let door = FrontDoor::open(Kind::Sqlite).await;
        door.server.apply(REGISTRY).await;
        for handle in ["first", "second"] {
            let request = ConsentRequest {
                user: "corp|alice".parse().unwrap(),
                client: "assistant".parse().unwrap(),
                resource: "records".parse().unwrap(),
                scopes: "records.read records.delete".parse().unwrap(),
                behind: Vec::new(),
                created_at: NOW,
                expires_at: NOW + 600,
                answer: None,
            };
            door.server.app.store.insert_consent_request(&digest(handle), &request).await.unwrap();
        }
        let mut alice = Browser::default();
        door.sign_in(&mut alice).await;
        Self { door, alice }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.alice.get(self.door.router(), path).await
    }

    async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.alice.post(self.door.router(), path, form).await
    }

    async fn consents(&self) -> Vec<Consent> {
        self.door.server.app.store.list_consents(None, None, false, NOW).await.unwrap()
    }

    async fn answer_of(&self, handle: &str) -> Option<ConsentAnswer> {
        self.door.server.app.store.find_consent_request(&digest(handle)).await.unwrap().unwrap().answer
    }

    /// Alice agrees to reading and writing; the id.
    async fn agreed(&self) -> String {
        self.door.server.consent("corp|alice", "assistant", "records", "records.read records.write").await
    }
}

fn allow(form: &str) -> [(&str, &str); 4] {
    [("form", form), ("decision", "allow"), ("scope", "records.read"), ("lasts", "day")]
}

#[tokio::test]
async fn what_is_ticked_is_agreed_to_for_the_chosen_time_and_the_client_hears_of_it() {
    let mut asked = Asked::open().await;
    let page = asked.get("/consent/first").await;
    assert_eq!(page.status, 200);
    for words in ["Acme Assistant", "alice@example.com", "The corp", "Health records", "Delete a health record"] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
    let answer = asked.post("/consent/first", &allow(&field(&page, "form"))).await;
    assert!(answer.status == 200 && answer.text.contains("Go back to the app"), "{}", answer.text);
    let [consent] = &asked.consents().await[..] else { panic!("one agreement") };
    assert_eq!((consent.scopes.to_string().as_str(), consent.expires_at), ("records.read", Some(NOW + 86_400)));
    let event = asked.door.server.event(&answer).await;
    assert_eq!((event.reason.as_str(), event.grant_id.as_ref()), ("consent_given", Some(&consent.id)));
    assert_eq!(asked.answer_of("first").await, Some(ConsentAnswer::Allowed));
    asked.door.server.consent("corp|alice", "assistant", "records", "records.read records.delete").await;
    assert!(asked.get("/consent/first").await.text.contains("agreed to this already"));
}

#[tokio::test]
async fn a_box_that_was_not_on_the_page_counts_for_nothing() {
    let mut asked = Asked::open().await;
    let form = field(&asked.get("/consent/first").await, "form");
    let more = [("form", form.as_str()), ("decision", "allow"), ("scope", "records.write"), ("lasts", "day")];
    let answer = asked.post("/consent/first", &more).await;
    assert!(answer.text.contains("Nothing is ticked"), "{}", answer.text);
    // The page stands as she left it: who untick everything is not led to allow everything.
    assert!(!answer.text.contains("value=\"records.read\" checked"), "{}", answer.text);
    assert!(answer.text.contains("value=\"day\" checked"), "{}", answer.text);
    let again = field(&answer, "form");
    assert_ne!(form, again);
    let answer = asked.post("/consent/first", &[&allow(&again)[..], &[("scope", "records.write")]].concat()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(asked.consents().await[0].scopes, "records.read".parse().unwrap());
}

#[tokio::test]
async fn a51_no_form_but_the_pages_own_allows_anything_and_that_once() {
    let mut asked = Asked::open().await;
    let first = field(&asked.get("/consent/first").await, "form");
    let mut stranger = Browser::default();
    asked.door.sign_in(&mut stranger).await;
    let router = asked.door.router().clone();
    let foreign = stranger.post(&router, "/consent/first", &allow(&first)).await;
    let cross_site = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    let refused = [
        asked.post("/consent/first", &allow("")).await,
        asked.post("/consent/first", &allow("made-up")).await,
        asked.post("/consent/second", &allow(&first)).await,
        asked.alice.post_from(&router, "/consent/first", &allow(&first), &cross_site).await,
        foreign,
    ];
    for answer in refused {
        assert_eq!(answer.status, 403, "{}", answer.text);
    }
    assert!(asked.consents().await.is_empty() && asked.answer_of("first").await.is_none());

    let first = field(&asked.get("/consent/first").await, "form");
    let no = [("form", first.as_str()), ("decision", "deny")];
    assert_eq!(asked.post("/consent/first", &no).await.status, 200);
    assert_eq!(asked.answer_of("first").await, Some(ConsentAnswer::Denied));
    assert_eq!(asked.post("/consent/first", &allow(&first)).await.status, 403, "sent before, with another answer");
    assert!(asked.consents().await.is_empty());
}

#[tokio::test]
async fn an_answer_takes_nothing_away_that_was_allowed_meanwhile_and_not_on_its_page() {
    let mut asked = Asked::open().await;
    let form = field(&asked.get("/consent/first").await, "form");
    // In another window she allows to read and to write; this page had no box for writing.
    asked.agreed().await;
    let page = asked.post("/consent/first", &allow(&form)).await;
    assert!(page.text.contains("You allowed this app something else meanwhile"), "{}", page.text);
    for (name, is_ticked) in [("records.read", true), ("records.write", true), ("records.delete", false)] {
        assert_eq!(page.text.contains(&format!("value=\"{name}\" checked")), is_ticked, "{name}: {}", page.text);
    }
    assert_eq!(asked.consents().await.len(), 1, "nothing is changed before she answers to all of it");
    let form = field(&page, "form");
    let all = [&allow(&form)[..], &[("scope", "records.write"), ("scope", "records.delete")]].concat();
    assert!(asked.post("/consent/first", &all).await.text.contains("Go back to the app"));
    let live: Vec<_> = asked.consents().await.into_iter().filter(|consent| consent.is_live(NOW)).collect();
    assert_eq!(live[0].scopes, "records.read records.write records.delete".parse().unwrap());
}

#[tokio::test]
async fn who_unticked_something_or_took_it_back_is_not_told_that_they_agreed() {
    let mut asked = Asked::open().await;
    let form = field(&asked.get("/consent/first").await, "form");
    asked.post("/consent/first", &allow(&form)).await;
    let page = asked.get("/consent/first").await;
    assert!(page.text.contains("You answered this already") && !page.text.contains("name=\"form\""), "{}", page.text);
    let page = asked.get("/consent/second").await;
    assert!(page.text.contains("Delete a health record") && page.text.contains("name=\"form\""), "{}", page.text);
}

#[tokio::test]
async fn a_client_that_pauses_is_not_asked_about_and_keeps_what_it_was_allowed() {
    let mut asked = Asked::open().await;
    let id = asked.agreed().await;
    let form = field(&asked.get("/consent/first").await, "form");
    asked.door.server.change(&[Change::PauseConsent(id.clone())]).await;
    let page = asked.get("/consent/first").await;
    assert!(page.text.contains("You paused this app") && page.text.contains("/account\""), "{}", page.text);
    let answer = asked.post("/consent/first", &allow(&form)).await;
    assert!(answer.text.contains("You paused this app"), "{}", answer.text);
    let [consent] = &asked.consents().await[..] else { panic!("it was replaced") };
    assert_eq!((consent.id.as_str(), consent.is_paused(NOW), consent.scopes.len()), (id.as_str(), true, 2));
    asked.door.server.change(&[Change::ResumeConsent(id)]).await;
    assert!(asked.get("/consent/first").await.text.contains("Delete a health record"));
}

#[tokio::test]
async fn a54_a_path_that_is_no_text_leads_to_a_page_of_ours() {
    let mut asked = Asked::open().await;
    for path in ["/account/agreements/%F0%9F", "/account/agreements/%F0%9F/end", "/consent/%F0%9F", "/callback/%F0%9F"]
    {
        let page = asked.get(path).await;
        assert_eq!((page.status.as_u16(), page.header("x-frame-options")), (404, "DENY"), "{path}");
        assert!(page.text.contains("There is nothing here"), "{path}: {}", page.text);
    }
}

#[tokio::test]
async fn the_filter_of_events_tells_nothing_of_what_the_user_never_met() {
    let mut asked = Asked::open().await;
    asked.agreed().await;
    let more = format!(
        "{REGISTRY}\n[[resource]]\nid = \"vault\"\naudience = \"https://vault.example.com\"\nname = \"Secret vault\"\n\
         [[client]]\nid = \"merger\"\nname = \"Project Merger\"\nauthentication = \"client_secret_basic\"\n\
         grants = [\"token_exchange\"]\n"
    );
    asked.door.server.apply(&more).await;
    for path in ["/account/events", "/account/events?client=merger", "/account/events?resource=vault"] {
        let page = asked.get(path).await.text;
        assert!(!page.contains("Secret vault") && !page.contains("Project Merger"), "{path}: {page}");
        assert!(page.contains("Health records") && page.contains("Acme Assistant"), "{path}: {page}");
    }
}

#[tokio::test]
async fn a_request_is_for_its_user_alone_and_for_a_client_that_may_act() {
    let mut asked = Asked::open().await;
    let mut bob = Browser::default();
    let claims = json!({"sub": "bob", "sid": "session-2", "email": "bob@example.com"});
    asked.door.sign_in_as(&mut bob, claims).await;
    let page = bob.get(asked.door.router(), "/consent/first").await;
    assert!(page.status == 403 && page.text.contains("another account"), "{}", page.text);
    assert!(!page.text.contains("alice") && !page.text.contains("Acme"), "nothing of it is told: {}", page.text);

    asked.door.server.change(&[Change::SuspendClient("assistant".parse().unwrap())]).await;
    assert_eq!(asked.get("/consent/first").await.status, 403);
    asked.door.server.clock.advance(Duration::from_mins(10));
    assert_eq!(asked.get("/consent/first").await.status, 404, "it has expired");
}

#[tokio::test]
async fn users_change_their_own_agreements_by_the_forms_of_their_own_pages() {
    let mut asked = Asked::open().await;
    let mine = asked.agreed().await;
    let theirs = asked.door.server.consent("corp|bob", "assistant", "records", "records.read").await;
    let (page, other) = (format!("/account/agreements/{mine}"), format!("/account/agreements/{theirs}"));
    for path in [other.as_str(), &format!("{other}/end"), "/account/agreements/nothing"] {
        assert_eq!(asked.get(path).await.status, 404, "{path}");
    }
    assert!(!asked.get("/account").await.text.contains(&theirs));

    let form = field(&asked.get(&page).await, "form");
    assert_eq!(asked.post(&other, &[("form", &form), ("do", "end")]).await.status, 404);
    let form = field(&asked.get(&page).await, "form");
    let narrowed = asked.post(&page, &[("form", &form), ("do", "narrow"), ("scope", "records.read")]).await;
    assert_eq!((narrowed.status.as_u16(), narrowed.header("location")), (303, "/account"));
    assert!(
        asked.get("/account?done=ended").await.text.contains("It may do less"),
        "what was done, whatever a link says"
    );
    assert!(!asked.get("/account?done=ended").await.text.contains("role=\"status\""), "and that once");
    assert_eq!(asked.post(&page, &[("form", &form), ("do", "end")]).await.status, 403, "a form is good once");

    let form = field(&asked.get(&format!("{page}/end")).await, "form");
    let ended = asked.post(&page, &[("form", &form), ("do", "end")]).await;
    assert_eq!(ended.header("location"), "/account");
    assert!(asked.get("/account").await.text.contains("It gets nothing more"));
    assert_eq!(asked.get(&page).await.status, 404);
    let store = &asked.door.server.app.store;
    assert!(store.find_consent(&mine).await.unwrap().unwrap().revoked_at.is_some());
    assert!(store.find_consent(&theirs).await.unwrap().unwrap().revoked_at.is_none());
}

#[tokio::test]
async fn users_see_and_keep_their_own_events_and_nobody_elses() {
    let mut asked = Asked::open().await;
    for (sub, number) in [("corp|alice", 1), ("corp|bob", 2)] {
        let id = procura::secrets::ordered_id("req", NOW * 1000);
        let (kind, outcome) = (EventKind::TokenExchange, EventOutcome::Granted);
        let mut event = AuditEvent::new(NOW * 1000, id, kind, outcome, "granted");
        event.subject = Some(EventSubject {
            sub: sub.to_owned(),
            idp: Some("corp".parse().unwrap()),
            idp_sub: None,
            idp_session: None,
        });
        event.client = Some("assistant".parse().unwrap());
        event.jti = Some(format!("dtk_{number}"));
        event.detail = Some("for operators".to_owned());
        asked.door.server.app.audit.record(event, None).await.unwrap();
    }
    let lines = asked.get("/account/events.jsonl").await;
    assert!(lines.header("content-disposition").contains("events.jsonl"));
    let csv = asked.get("/account/events.csv").await;
    for answer in [&lines, &csv] {
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.text.contains("dtk_1") && !answer.text.contains("dtk_2"), "{}", answer.text);
        assert!(!answer.text.contains("for operators"), "{}", answer.text);
    }
    let page = asked.get("/account/events?client=assistant").await;
    assert!(page.text.contains("got a pass"), "{}", page.text);
    assert!(asked.get("/account/events?client=another").await.text.contains("Nothing is recorded"));
}

#[tokio::test]
async fn a54_a75_no_page_of_a_user_is_framed_kept_or_read_by_another_site() {
    let mut asked = Asked::open().await;
    let id = asked.agreed().await;
    let agreement = format!("/account/agreements/{id}");
    for path in ["/consent/second", "/account", "/account/events", &agreement, &format!("{agreement}/end")] {
        let answer = asked.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!((answer.header("x-frame-options"), answer.header("cache-control")), ("DENY", "no-store"), "{path}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert!(!answer.text.contains("<script") && !answer.text.contains("style="), "{path}");
    }
}

#[tokio::test]
async fn an_agreement_for_everyone_shows_a_user_their_own_uses_and_nobody_elses() {
    let mut asked = Asked::open().await;
    let declared =
        REGISTRY.replace("grants = [\"token_exchange\"]", "grants = [\"token_exchange\"]\nconsent = \"admin\"");
    asked.door.server.apply(&declared).await;
    let consents = asked.consents().await;
    for (sub, times) in [("corp|alice", 2), ("corp|bob", 5)] {
        for _ in 0..times {
            let id = procura::secrets::ordered_id("req", NOW * 1000);
            let (kind, outcome) = (EventKind::TokenExchange, EventOutcome::Granted);
            let mut event = AuditEvent::new(NOW * 1000, id, kind, outcome, "granted");
            event.subject = Some(EventSubject {
                sub: sub.to_owned(),
                idp: Some("corp".parse().unwrap()),
                idp_sub: None,
                idp_session: None,
            });
            event.client = Some("assistant".parse().unwrap());
            event.resource = Some("records".parse().unwrap());
            asked.door.server.app.audit.record(event, None).await.unwrap();
            asked.door.server.app.uses.count(Some(&consents[0].id), NOW);
        }
    }
    let page = asked.get("/account").await;
    assert!(page.text.contains("The administrator agreed for everyone"), "{}", page.text);
    assert!(page.text.contains("Used 2 times") && !page.text.contains("7 times"), "{}", page.text);
}

#[tokio::test]
async fn what_an_administrator_recorded_of_a_user_is_on_their_page_as_that() {
    let mut asked = Asked::open().await;
    let server = &asked.door.server;
    let consent: Consent = serde_json::from_value(json!({
        "id": "con_paper", "user": {"one": "corp|alice"}, "client": "assistant", "resource": "records",
        "scopes": "records.read", "source": "admin", "granted_at": NOW, "expires_at": null, "revoked_at": null,
    }))
    .unwrap();
    let changes = [Change::GrantConsent(consent)];
    let line = ["+ consent".to_owned()];
    procura::registry_file::commit(&server.app.store, &changes, &line, &[], None, &server.app.clock).await.unwrap();
    server.app.refresh().await.unwrap();
    assert!(asked.get("/account").await.text.contains("The administrator recorded that you agree"));
    let events = asked.get("/account/events").await.text;
    assert!(events.contains("An administrator recorded that you allow"), "{events}");
}

#[tokio::test]
async fn the_filter_of_events_stays_as_it_was_chosen_and_says_what_it_could_not_read() {
    let mut asked = Asked::open().await;
    let id = procura::secrets::ordered_id("req", NOW * 1000);
    let mut event = AuditEvent::new(NOW * 1000, id, EventKind::TokenExchange, EventOutcome::Granted, "granted");
    event.subject = Some(EventSubject {
        sub: "corp|alice".to_owned(),
        idp: Some("corp".parse().unwrap()),
        idp_sub: None,
        idp_session: None,
    });
    event.client = Some("assistant".parse().unwrap());
    asked.door.server.app.audit.record(event, None).await.unwrap();
    // Nothing is found, and the app is still the one that was chosen, and can be chosen.
    for filter in ["client=assistant&from=2030-01-01", "client=assistant&to=2020-01-01"] {
        let page = asked.get(&format!("/account/events?{filter}")).await.text;
        assert!(page.contains("Nothing is recorded that fits this filter"), "{filter}: {page}");
        assert!(page.contains("<option value=\"assistant\" selected>"), "{filter}: {page}");
        assert!(!page.contains("<svg viewBox=\"0 -20"), "the picture is of the same time: {filter}: {page}");
    }
    let page = asked.get("/account/events?to=yesterday").await.text;
    assert!(page.contains("“yesterday” is not a day") && page.contains("got a pass"), "{page}");
}

#[tokio::test]
async fn a_backend_that_asks_for_another_one_is_shown_with_the_app_behind_it() {
    let mut asked = Asked::open().await;
    let chain = r#"
[[resource]]
id = "models"
audience = "https://models.example.com/api"
name = "Language models"
[[resource.scope]]
name = "model.use"
description = "Ask the model"
access = "read"
[[client]]
id = "records-server"
name = "Health records server"
authentication = "client_secret_basic"
grants = ["token_exchange"]
[client.resources]
models = ["model.use"]
"#;
    asked.door.server.apply(&format!("{REGISTRY}{chain}")).await;
    let request = ConsentRequest {
        user: "corp|alice".parse().unwrap(),
        client: "records-server".parse().unwrap(),
        resource: "models".parse().unwrap(),
        scopes: "model.use".parse().unwrap(),
        behind: vec!["assistant".parse().unwrap()],
        created_at: NOW,
        expires_at: NOW + 600,
        answer: None,
    };
    asked.door.server.app.store.insert_consent_request(&digest("chain"), &request).await.unwrap();
    let page = asked.get("/consent/chain").await.text;
    assert!(page.contains("It does that for") && page.contains("<bdi>Acme Assistant</bdi>"), "{page}");
    assert!(!asked.get("/consent/first").await.text.contains("It does that for"));
}

#[tokio::test]
async fn a_new_scope_leaves_the_time_of_an_agreement_as_it_was() {
    let mut asked = Asked::open().await;
    let form = field(&asked.get("/consent/first").await, "form");
    let hour = [("form", form.as_str()), ("decision", "allow"), ("scope", "records.read"), ("lasts", "hour")];
    assert_eq!(asked.post("/consent/first", &hour).await.status, 200);
    asked.door.server.clock.advance(Duration::from_mins(1));
    let page = asked.get("/consent/second").await;
    assert!(page.text.contains("value=\"as_before\" checked"), "{}", page.text);
    let form = field(&page, "form");
    let more = [
        ("form", form.as_str()),
        ("decision", "allow"),
        ("scope", "records.read"),
        ("scope", "records.delete"),
        ("lasts", "as_before"),
    ];
    assert_eq!(asked.post("/consent/second", &more).await.status, 200);
    let consent = asked.consents().await.into_iter().find(|consent| consent.revoked_at.is_none()).unwrap();
    assert_eq!(
        (consent.scopes.to_string().as_str(), consent.expires_at),
        ("records.delete records.read", Some(NOW + 3600))
    );
}
