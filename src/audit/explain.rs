//! Audit events in words: what `explain` and `who` print. Events hold no token, so the text is safe to pass on.

use super::words::{distance, moment, moment_ms, printable};
use crate::domain::consent::{Consent, ConsentSource, ConsentingUser};
use crate::domain::decision::{Gate, ReasonCode};
use crate::domain::event::{AuditEvent, EventKind, EventOutcome, EventSubject};
use crate::domain::names::{ClientId, ResourceId};
use crate::domain::scope::ScopeSet;

/// Why a request was granted or refused, gate by gate, as text of several lines.
pub fn explain(event: &AuditEvent) -> String {
    let mut page = Page::default();
    page.line("Request", &event.request_id);
    page.line("When", moment_ms(event.at_ms));
    page.line("What", kind(event.kind));
    outcome(&mut page, event);
    page.option("Client", client(event));
    page.option("For", event.subject.as_ref().map(subject));
    page.option("Actors", actors(event));
    page.option("Backend", backend(event));
    scopes(&mut page, event);
    page.option("Consent", event.grant_id.as_deref());
    page.option("Policies", policies(event));
    page.option("Subject token", subject_token(event));
    page.option("Token", token(event));
    page.option("Used at", event.used_at.map(moment));
    page.option("Used for", event.used_for.as_deref());
    page.option("Backend's id", event.backend_request_id.as_deref());
    page.option("Transaction", event.txn.as_deref());
    page.option("From", event.source.as_deref());
    page.option("Trace id", event.trace_id.as_deref());
    gates(&mut page, event);
    page.text()
}

/// What is known of a token besides the event that issued it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// Every event of its transaction.
    pub transaction: &'a [AuditEvent],
    /// What backends reported of its use.
    pub uses: &'a [AuditEvent],
    /// The consent that it rests on.
    pub consent: Option<&'a Consent>,
    /// How it was ended before its time, in words.
    pub ended: Option<&'a str>,
}

/// Who acted, for whom, through whom, where, when: the event that issued the token, and the earlier hops of its
/// transaction, oldest first; the tokens it was exchanged for; and what backends reported of its use.
pub fn who(event: &AuditEvent, beside: &Beside<'_>, now_ms: i64) -> String {
    let now = now_ms.div_euclid(1000);
    let Beside { transaction, uses, .. } = *beside;
    let earlier = earlier_hops(event, transaction);
    let mut page = Page::default();
    page.paragraph(&sentence(event));
    page.blank();
    page.option("Who acted", client(event));
    page.option("For whom", event.subject.as_ref().map(subject));
    page.option("Through whom", path(event));
    page.option("Where", backend(event));
    page.line("When", format!("{}, {}", moment_ms(event.at_ms), distance(event.at_ms.div_euclid(1000), now)));
    page.option("Token ends", event.expires_at.map(|end| ends(end, now)));
    page.option("Ended early", beside.ended);
    page.line("May do", event.granted.as_ref().map_or_else(|| "nothing".to_owned(), scope_list));
    page.option("Consent", event.grant_id.as_deref().map(|id| consent(id, beside.consent)));
    page.option("Session", session(event).or_else(|| earlier.iter().find_map(|hop| session(hop))));
    page.option("Policies", policies(event));
    page.option("Token", event.jti.as_deref());
    page.option("Got with", subject_token(event));
    page.option("Transaction", event.txn.as_deref());
    page.line("Request", &event.request_id);
    page.option("From", event.source.as_deref());
    page.option("Trace id", event.trace_id.as_deref());

    hops(&mut page, "Earlier hops of the same transaction, oldest first:", &earlier);
    hops(&mut page, "The token was exchanged onward:", &next_hops(event, transaction));
    page.blank();
    if uses.is_empty() {
        page.paragraph(
            "This is what the token allows. What was done with it is in the backend's own log, under the jti.",
        );
        return page.text();
    }
    page.paragraph("What it was used for, as its backend reports:");
    for used in uses {
        page.paragraph(&format!("  {}", use_of(used, event.expires_at)));
    }
    page.text()
}

/// Who agreed, and when; and whether it still stands.
fn consent(id: &str, known: Option<&Consent>) -> String {
    let Some(consent) = known else { return id.to_owned() };
    let by = match (&consent.user, consent.source) {
        (ConsentingUser::Everyone, _) => "an administrator for everyone",
        (ConsentingUser::One(_), ConsentSource::Admin) => "an administrator for the user",
        (ConsentingUser::One(_), ConsentSource::User) => "the user",
    };
    let since = match (consent.revoked_at, consent.paused_at) {
        (Some(at), _) => format!("; taken back or replaced {}", moment(at)),
        (None, Some(at)) => format!("; paused since {}", moment(at)),
        (None, None) => String::new(),
    };
    format!("{id}, given by {by} {}{since}", moment(consent.granted_at))
}

/// A reported use in one line. `ends`: when the token did.
fn use_of(event: &AuditEvent, ends: Option<i64>) -> String {
    let at = event.used_at.map_or_else(|| moment_ms(event.at_ms), moment);
    let by = event.client.as_ref().map_or("an unknown client", ClientId::as_str);
    let id = event.backend_request_id.as_ref().map(|id| format!(", its request {id}"));
    let what = event.used_for.as_deref().unwrap_or("nothing that was said");
    let is_late = event.used_at.zip(ends).is_some_and(|(used_at, ends)| used_at >= ends);
    let late = if is_late { ", after the token ended" } else { "" };
    format!("{at}{late}  {what} (reported by {by}{}, request {})", id.unwrap_or_default(), event.request_id)
}

/// The events that led to this one, oldest first: whose token was the subject token of the next.
pub fn earlier_hops<'a>(event: &AuditEvent, transaction: &'a [AuditEvent]) -> Vec<&'a AuditEvent> {
    let mut hops: Vec<&AuditEvent> = Vec::new();
    let mut wanted = event.subject_jti.as_deref();
    // Bounded, should a damaged trail lead in a circle.
    while let Some(jti) = wanted.filter(|_| hops.len() < transaction.len()) {
        let issued = transaction.iter().find(|earlier| earlier.jti.as_deref() == Some(jti));
        hops.extend(issued);
        wanted = issued.and_then(|earlier| earlier.subject_jti.as_deref());
    }
    hops.reverse();
    hops
}

/// The events whose subject token is the token of this one.
fn next_hops<'a>(event: &AuditEvent, transaction: &'a [AuditEvent]) -> Vec<&'a AuditEvent> {
    let is_next = |later: &&AuditEvent| later.jti.is_some() && later.subject_jti == event.jti;
    transaction.iter().filter(is_next).filter(|_| event.jti.is_some()).collect()
}

fn hops(page: &mut Page, title: &str, hops: &[&AuditEvent]) {
    if hops.is_empty() {
        return;
    }
    page.blank();
    page.paragraph(title);
    for hop in hops {
        let jti = hop.jti.as_deref().unwrap_or("unknown");
        page.paragraph(&format!(
            "  {}  {} Token {jti}, request {}.",
            moment_ms(hop.at_ms),
            sentence(hop),
            hop.request_id
        ));
    }
}

/// The event in one sentence.
fn sentence(event: &AuditEvent) -> String {
    let actor = event.actors.first().map(String::as_str).or_else(|| event.client.as_ref().map(ClientId::as_str));
    let actor = actor.unwrap_or("An unknown client");
    let place = match (&event.resource, &event.audience) {
        (Some(resource), _) => format!("at the backend {resource}"),
        (None, Some(_)) => "at this server".to_owned(),
        (None, None) => "at no backend".to_owned(),
    };
    let verb = match event.outcome {
        EventOutcome::Granted => "got a token to act",
        EventOutcome::Refused => "was refused a token to act",
        EventOutcome::Done => "acted",
    };
    let through = match event.actors.get(1..) {
        None | Some([]) => String::new(),
        Some(earlier) => format!(", asked by {}", earlier.join(", asked by ")),
    };
    match &event.subject {
        Some(user) if user.idp.is_some() => format!("{actor} {verb} for the user {} {place}{through}.", user.sub),
        Some(client) if client.sub != actor => {
            format!("{actor} {verb} for the client {} {place}{through}.", client.sub)
        }
        Some(_) => format!("{actor} {verb} for itself {place}."),
        None => format!("{actor} {verb} {place}{through}."),
    }
}

fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::TokenExchange => "token exchange",
        EventKind::ClientCredentials => "client credentials: a client's own token",
        EventKind::AuthorizationCode => "authorization code",
        EventKind::RefreshToken => "refresh token",
        EventKind::Authorization => "an authorization request in a browser",
        EventKind::SignIn => "a sign-in at an identity provider",
        EventKind::SignOut => "the end of a sign-in",
        EventKind::Consent => "a user's agreement",
        EventKind::Registration => "a client's own registration",
        EventKind::TokenRequest => "a token request, refused before its grant was known",
        EventKind::Use => "the use of a token, as its backend reports it",
        EventKind::Administration => "a change by an administrator",
        EventKind::WriterStarted => "a server and its chain of events",
    }
}

fn outcome(page: &mut Page, event: &AuditEvent) {
    let result = match event.outcome {
        EventOutcome::Granted => "granted",
        EventOutcome::Refused => "refused",
        EventOutcome::Done => "done",
    };
    match event.outcome {
        EventOutcome::Granted => page.line("Outcome", result),
        EventOutcome::Refused | EventOutcome::Done => page.line("Outcome", format!("{result}: {}", event.reason)),
    }
    page.option("Detail", event.detail.as_deref());
    // What a user did on a page can have the name of a reason; it is none there.
    let is_refusal = event.kind.is_decision() || event.kind == EventKind::Use;
    if let Some(reason) = ReasonCode::from_code(&event.reason).filter(|_| is_refusal) {
        page.line("Meaning", reason.meaning());
        page.line("Fix", reason.fix());
    }
    page.option("Answered", event.error.as_ref().map(|error| format!("error={error}")));
}

fn client(event: &AuditEvent) -> Option<String> {
    let client = event.client.as_ref()?;
    Some(match (&event.client_authentication, event.outcome) {
        (Some(method), _) => format!("{client}, authenticated by {method}"),
        (None, EventOutcome::Refused) => format!("{client}, as claimed: it did not authenticate"),
        (None, EventOutcome::Granted | EventOutcome::Done) => client.to_string(),
    })
}

fn subject(subject: &EventSubject) -> String {
    match (&subject.idp, &subject.idp_sub) {
        (Some(idp), Some(idp_sub)) => {
            format!("the user {}, known to the identity provider {idp} as {idp_sub}", subject.sub)
        }
        (Some(idp), None) => format!("the user {}, vouched for by the identity provider {idp}", subject.sub),
        (None, _) => format!("the client {}; no user is involved", subject.sub),
    }
}

/// Where a user had signed in, as `procura revoke --session` takes it.
fn session(event: &AuditEvent) -> Option<String> {
    let subject = event.subject.as_ref()?;
    let (idp, session) = (subject.idp.as_ref()?, subject.idp_session.as_ref()?);
    Some(format!("{session} at the identity provider {idp}"))
}

/// The chain as it acts: the first actor was asked by the subject.
fn actors(event: &AuditEvent) -> Option<String> {
    match event.actors.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        [current, earlier @ ..] => Some(format!("{current} now; before it {}", earlier.join(", before it "))),
    }
}

/// From the subject over every actor to the backend.
fn path(event: &AuditEvent) -> Option<String> {
    let mut path = vec![event.subject_sub()?];
    path.extend(event.actors.iter().rev().map(String::as_str));
    path.extend(event.resource.as_ref().map(ResourceId::as_str));
    Some(path.join(" -> "))
}

fn backend(event: &AuditEvent) -> Option<String> {
    match (&event.resource, &event.audience) {
        (Some(resource), Some(audience)) => Some(format!("{resource}, {audience}")),
        (Some(resource), None) => Some(resource.to_string()),
        (None, Some(audience)) => Some(format!("{audience}; no registered backend")),
        (None, None) => None,
    }
}

fn scopes(page: &mut Page, event: &AuditEvent) {
    if !event.kind.is_decision() {
        page.option("Scopes", event.granted.as_ref().map(scope_list));
        return;
    }
    let asked = event.asked.as_ref().map_or_else(|| "left open: all that may be had".to_owned(), scope_list);
    page.line("Scopes asked", asked);
    page.option("Granted", event.granted.as_ref().map(scope_list));
    for (index, cut) in event.cut.iter().enumerate() {
        let meaning = ReasonCode::from_code(&cut.reason).map(|reason| format!(": {}", reason.meaning()));
        let label = if index == 0 { "Cut" } else { "" };
        page.line(label, format!("{} [{}]{}", cut.scope, cut.reason, meaning.unwrap_or_default()));
    }
}

fn scope_list(scopes: &ScopeSet) -> String {
    if scopes.is_empty() { "none".to_owned() } else { scopes.to_string() }
}

fn policies(event: &AuditEvent) -> Option<String> {
    let names = if event.policies.is_empty() { None } else { Some(event.policies.join(", ")) };
    match (names, &event.policy_hash) {
        (Some(names), Some(hash)) => Some(format!("{names}, of the policy set {hash}")),
        (Some(names), None) => Some(names),
        (None, Some(hash)) => Some(format!("the policy set {hash}")),
        (None, None) => None,
    }
}

fn subject_token(event: &AuditEvent) -> Option<String> {
    match (&event.subject_issuer, &event.subject_jti) {
        (Some(issuer), Some(jti)) => Some(format!("a token of {issuer}, jti {jti}")),
        (Some(issuer), None) => Some(format!("a token of {issuer}, which has no jti")),
        (None, Some(jti)) => Some(format!("a token with the jti {jti}")),
        (None, None) => None,
    }
}

fn token(event: &AuditEvent) -> Option<String> {
    let end = event.expires_at.map(|end| format!(", ends {}", moment(end)));
    let key = event.kid.as_ref().map(|kid| format!(", signed by {kid}"));
    event.jti.as_ref().map(|jti| format!("{jti}{}{}", end.unwrap_or_default(), key.unwrap_or_default()))
}

fn ends(end: i64, now: i64) -> String {
    let verb = if end <= now { "ended" } else { "ends" };
    format!("{}, {verb} {}", moment(end), distance(end, now))
}

fn gates(page: &mut Page, event: &AuditEvent) {
    if !event.kind.is_decision() {
        return;
    }
    page.blank();
    page.paragraph("Gates, in order:");
    // Only a request that could not be read has a line for that.
    let shown = |gate: &&Gate| **gate != Gate::Request || event.trace.iter().any(|line| line.gate == Gate::Request);
    for gate in Gate::ALL.iter().filter(shown) {
        let mut reached = false;
        for line in event.trace.iter().filter(|line| line.gate == *gate) {
            reached = true;
            page.paragraph(&format!("  {line}"));
        }
        if !reached {
            page.paragraph(&format!("  {:>2}  {:<8}  {}: not reached", gate.number(), "-", gate.title()));
        }
    }
}

/// Lines of text: labels in one column, values in another.
#[derive(Default)]
struct Page(Vec<String>);

impl Page {
    const LABEL_WIDTH: usize = 14;

    fn line(&mut self, label: &str, value: impl AsRef<str>) {
        let value = printable(value.as_ref());
        self.0.push(format!("{label:<width$}{value}", width = Self::LABEL_WIDTH).trim_end().to_owned());
    }

    fn option(&mut self, label: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.line(label, value);
        }
    }

    fn paragraph(&mut self, text: &str) {
        self.0.push(printable(text));
    }

    fn blank(&mut self) {
        self.0.push(String::new());
    }

    fn text(self) -> String {
        self.0.join("\n")
    }
}
