//! An event in plain words, said to the user it is about.

use super::super::who::isolated;
use super::super::words::why;
use crate::domain::decision::ReasonCode;
use crate::domain::event::{AuditEvent, EventKind, EventOutcome};
use crate::domain::names::{ClientId, ResourceId};
use crate::domain::scope::{Scope, ScopeSet};
use std::collections::HashMap;

/// How many scopes are named in a line.
const SCOPES: usize = 6;

/// Names that people know, by id; what is not in it is called by its id.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) clients: HashMap<String, String>,
    pub(super) resources: HashMap<String, String>,
    /// Descriptions of scopes, by backend and scope.
    pub(super) scopes: HashMap<(String, String), String>,
}

/// What a line of the page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sentence {
    /// How it ended, for a mark: `granted`, `refused` or `done`.
    pub(super) outcome: &'static str,
    /// What happened.
    pub(super) text: String,
    /// What for, and other detail.
    pub(super) more: String,
}

impl Names {
    /// The event as a sentence.
    pub(super) fn sentence(&self, event: &AuditEvent) -> Sentence {
        let outcome = match event.outcome {
            EventOutcome::Granted => "granted",
            EventOutcome::Refused => "refused",
            EventOutcome::Done => "done",
        };
        let (client, place) = (self.client(event), self.place(event));
        let text = match event.kind {
            EventKind::TokenExchange
            | EventKind::ClientCredentials
            | EventKind::AuthorizationCode
            | EventKind::RefreshToken
            | EventKind::TokenRequest => match event.outcome {
                EventOutcome::Granted | EventOutcome::Done => format!("{client} got a pass{place} to act for you."),
                EventOutcome::Refused => format!("{client} asked for a pass{place} to act for you, and got none."),
            },
            EventKind::Authorization => match event.outcome {
                EventOutcome::Granted | EventOutcome::Done => format!("{client} was connected to act for you{place}."),
                EventOutcome::Refused => format!("{client} asked to act for you{place}, and was turned away."),
            },
            EventKind::Consent => consent(&event.reason, &client, &place),
            EventKind::SignIn => match event.outcome {
                EventOutcome::Granted | EventOutcome::Done => "You signed in.".to_owned(),
                EventOutcome::Refused => "A sign-in as you failed.".to_owned(),
            },
            EventKind::SignOut => "Your sign-in here ended.".to_owned(),
            EventKind::Registration => format!("{client} changed its registration."),
            EventKind::Use => format!("{} used its pass{place} to act for you.", self.actor(event)),
            EventKind::Administration => administration(&event.reason, &client, &place),
            EventKind::WriterStarted => "The record began.".to_owned(),
        };
        // What stands for an app without a name begins small.
        let text = text.replacen("\u{2068}the app", "\u{2068}The app", usize::from(text.starts_with('\u{2068}')));
        Sentence { outcome, text, more: self.more(event) }
    }

    fn client(&self, event: &AuditEvent) -> String {
        let Some(id) = event.client.as_ref().map(ClientId::as_str) else {
            return "An unknown app".to_owned();
        };
        isolated(self.clients.get(id).map_or(id, String::as_str))
    }

    /// Who acts with a token.
    fn actor(&self, event: &AuditEvent) -> String {
        let Some(id) = event.actors.first() else {
            return self.client(event);
        };
        isolated(self.clients.get(id).unwrap_or(id))
    }

    fn place(&self, event: &AuditEvent) -> String {
        let Some(id) = event.resource.as_ref().map(ResourceId::as_str) else {
            return String::new();
        };
        format!(" at {}", isolated(self.resources.get(id).map_or(id, String::as_str)))
    }

    fn more(&self, event: &AuditEvent) -> String {
        let mut parts = Vec::new();
        let scopes = event.granted.as_ref().or(event.asked.as_ref()).filter(|scopes| !scopes.is_empty());
        let label = if event.reason == "consent_changed" { "Still allowed" } else { "For" };
        parts.extend(scopes.map(|scopes| ended(format!("{label}: {}", self.scopes(event, scopes)))));
        if let Some([_, earlier @ ..]) = Some(event.actors.as_slice()).filter(|actors| actors.len() > 1) {
            let names: Vec<String> = earlier.iter().map(|id| isolated(self.clients.get(id).unwrap_or(id))).collect();
            parts.push(format!("Asked to by {}.", names.join(", before that ")));
        }
        if event.outcome == EventOutcome::Refused {
            parts.extend(ReasonCode::from_code(&event.reason).map(|reason| why(reason).to_owned()));
        }
        parts.join(" ")
    }

    fn scopes(&self, event: &AuditEvent, scopes: &ScopeSet) -> String {
        let backend = event.resource.as_ref().map(|resource| resource.as_str().to_owned()).unwrap_or_default();
        let words = |scope: &Scope| {
            let known = self.scopes.get(&(backend.clone(), scope.as_str().to_owned()));
            known.map_or_else(|| scope.as_str().to_owned(), Clone::clone)
        };
        let mut told: Vec<String> = scopes.iter().take(SCOPES).map(words).collect();
        let more = scopes.iter().count().saturating_sub(SCOPES);
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        told.join("; ")
    }
}

/// With a full stop, unless it was cut.
fn ended(sentence: String) -> String {
    if sentence.ends_with('…') { sentence } else { sentence + "." }
}

fn consent(reason: &str, client: &str, place: &str) -> String {
    match reason {
        "consent_given" => format!("You allowed {client} to act for you{place}."),
        "consent_denied" => format!("You said no to {client}{place}."),
        "consent_changed" => format!("You let {client} do less{place}, or for less time."),
        "consent_paused" => format!("You paused {client}{place}."),
        "consent_resumed" => format!("You let {client} go on{place}."),
        "grant_family_ended" => {
            format!("A connection of {client}{place} was cut: what it connects or renews itself with was used twice.")
        }
        "token_returned" => format!("{client} gave back a pass that it had{place}."),
        "grant_family_returned" => format!("{client} gave back what it had{place}."),
        "consent_revoked" => format!("You ended what {client} may do for you{place}."),
        _ => format!("You changed what {client} may do for you{place}."),
    }
}

fn administration(reason: &str, client: &str, place: &str) -> String {
    match reason {
        "consent_given" => format!("An administrator recorded that you allow {client} to act for you{place}."),
        "consent_revoked" => format!("An administrator ended what {client} may do for you{place}."),
        "user_suspended" => "An administrator stopped every app from acting for you.".to_owned(),
        "everything_revoked" => "An administrator ended all that apps held to act for you.".to_owned(),
        "user_resumed" => "An administrator let apps act for you again.".to_owned(),
        _ => "An administrator changed something about you.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, outcome: EventOutcome, reason: &str) -> AuditEvent {
        let mut event = AuditEvent::new(0, "req_1".to_owned(), kind, outcome, reason);
        event.client = Some("assistant".parse().unwrap());
        event.resource = Some("records".parse().unwrap());
        event
    }

    fn plain(text: &str) -> String {
        text.replace(['\u{2068}', '\u{2069}'], "")
    }

    #[test]
    fn an_event_is_said_in_names_and_plain_words() {
        let mut names = Names::default();
        names.clients.insert("assistant".to_owned(), "Acme Assistant".to_owned());
        names.resources.insert("records".to_owned(), "Health records".to_owned());
        names.scopes.insert(("records".to_owned(), "records.read".to_owned()), "See your health records".to_owned());
        let mut granted = event(EventKind::TokenExchange, EventOutcome::Granted, "granted");
        granted.granted = Some("records.read".parse().unwrap());
        granted.actors = vec!["assistant".to_owned(), "planner".to_owned()];
        let said = names.sentence(&granted);
        assert_eq!(plain(&said.text), "Acme Assistant got a pass at Health records to act for you.");
        assert_eq!(plain(&said.more), "For: See your health records. Asked to by planner.");
        let refused = event(EventKind::TokenExchange, EventOutcome::Refused, "consent_paused");
        assert_eq!(names.sentence(&refused).more, "You had paused it.");
        let said_no = event(EventKind::Consent, EventOutcome::Done, "consent_denied");
        assert_eq!(plain(&names.sentence(&said_no).text), "You said no to Acme Assistant at Health records.");
        let mut less = event(EventKind::Consent, EventOutcome::Done, "consent_changed");
        less.granted = Some("records.read".parse().unwrap());
        let said = names.sentence(&less);
        assert_eq!(plain(&said.text), "You let Acme Assistant do less at Health records, or for less time.");
        assert_eq!(said.more, "Still allowed: See your health records.");
        let ended = event(EventKind::TokenExchange, EventOutcome::Refused, "subject_session_ended");
        assert!(names.sentence(&ended).more.contains("had ended it"));
        let recorded = event(EventKind::Administration, EventOutcome::Done, "consent_given");
        assert_eq!(
            plain(&names.sentence(&recorded).text),
            "An administrator recorded that you allow Acme Assistant to act for you at Health records."
        );
        let connected = event(EventKind::Authorization, EventOutcome::Done, "code_issued");
        assert_eq!(
            plain(&names.sentence(&connected).text),
            "Acme Assistant was connected to act for you at Health records."
        );
        let returned = event(EventKind::Consent, EventOutcome::Done, "grant_family_returned");
        assert_eq!(plain(&names.sentence(&returned).text), "Acme Assistant gave back what it had at Health records.");
    }
}
