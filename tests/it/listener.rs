//! Listens to all that is said while the tests run: every span and event of this process at the finest level, the logs of
//! servers in processes of their own, every answer, every audit event that a test reads. When the server of a test ends,
//! no secret or token that it was sent or that it gave may have been among it.
//!
//! What is compared are the first sixteen characters of each unbroken run of base64url, so that a look costs nothing
//! however much was said. `secrecy` and `attacks::secrecy` send more, and look for every part in every output.

use axum::http::HeaderMap;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, Once, PoisonError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// So many characters in a row are a secret's and nothing else's.
const LENGTH: usize = 16;

/// The beginning of a run.
type Beginning = [u8; LENGTH];

/// Where something was said first.
#[derive(Clone, Copy)]
enum Place {
    Log(&'static Metadata<'static>, &'static str),
    Output(&'static str),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log(metadata, field) => write!(f, "the log, field {field} of {}", metadata.name()),
            Self::Output(place) => f.write_str(place),
        }
    }
}

static SAID: LazyLock<Mutex<HashMap<Beginning, Place>>> = LazyLock::new(Mutex::default);

fn said() -> MutexGuard<'static, HashMap<Beginning, Place>> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The beginnings of the runs that are long enough to be a secret.
fn beginnings(text: &str) -> impl Iterator<Item = Beginning> {
    let ends = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    text.as_bytes().split(ends).filter_map(|run| run.first_chunk().copied())
}

fn hear(text: &str, place: Place) {
    if text.len() >= LENGTH {
        let mut said = said();
        for beginning in beginnings(text) {
            said.entry(beginning).or_insert(place);
        }
    }
}

/// Takes in what somebody is shown.
pub(crate) fn shown(place: &'static str, text: &str) {
    hear(text, Place::Output(place));
}

/// Takes in every span and event from now on, whichever thread it is of.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Listener::default()).unwrap());
}

#[derive(Default)]
struct Listener {
    spans: AtomicU64,
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Fields(span.metadata()));
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields(event.metadata()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Fields(&'static Metadata<'static>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").unwrap();
        hear(&text, Place::Log(self.0, field.name()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        hear(value, Place::Log(self.0, field.name()));
    }
}

/// What must never be said. When it is dropped, it looks; a test that has failed already is left alone.
#[derive(Default)]
pub(crate) struct Marked(Mutex<BTreeMap<Beginning, &'static str>>);

impl Marked {
    /// From now on, this must not have been said. Of a token, neither the claims nor the signature.
    pub(crate) fn mark(&self, what: &'static str, secret: &str) {
        let parts: Vec<&str> = secret.split('.').collect();
        let secrets = if let [_, secrets @ ..] = parts.as_slice()
            && secrets.len() > 1
        {
            secrets
        } else {
            parts.as_slice()
        };
        let mut marked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for beginning in secrets.iter().flat_map(|part| beginnings(part)) {
            marked.insert(beginning, what);
        }
    }

    /// Marks what an `Authorization` header proves something with.
    pub(crate) fn mark_authorization(&self, value: &str) {
        self.mark("an Authorization header", value.split_once(' ').map_or(value, |(_, proof)| proof));
    }

    /// Marks the parameters of a form that hold a token or a secret.
    pub(crate) fn mark_form(&self, form: &[(&str, &str)]) {
        for (name, value) in form {
            match *name {
                "subject_token" => self.mark("a subject token", value),
                "actor_token" => self.mark("an actor token", value),
                "client_assertion" => self.mark("a client assertion", value),
                "client_secret" => self.mark("a posted client secret", value),
                _ => {}
            }
        }
    }

    /// Marks what an answer gives to the one that asked, and takes in the rest of it.
    pub(crate) fn answered(&self, headers: &HeaderMap, text: &str) {
        let mut headers = headers.clone();
        // For the backend behind the proxy that asked. Its claims begin as those of the token do.
        if let Some(caller) = headers.remove("x-procura-caller") {
            self.mark("the signature of a caller's header", caller.to_str().unwrap().rsplit('.').next().unwrap());
        }
        let mut rest = text.to_owned();
        if let Ok(Value::Object(body)) = serde_json::from_str(text) {
            for (member, what) in [
                ("access_token", "a token of ours"),
                ("consent_uri", "a consent link"),
                ("client_secret", "a client secret"),
                ("registration_access_token", "a registration access token"),
            ] {
                if let Some(value) = body.get(member).and_then(Value::as_str) {
                    self.mark(what, value.rsplit('/').next().unwrap_or_default());
                    rest = rest.replace(value, "");
                }
            }
        }
        shown("an answer", &rest);
        shown("the headers of an answer", &format!("{headers:?}"));
    }

    /// What was said although it was marked.
    fn leaks(&self) -> Vec<String> {
        let (marked, said) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), said());
        let leaks = marked.iter().filter_map(|(beginning, what)| Some((what, said.get(beginning)?, beginning)));
        leaks.map(|(what, place, at)| format!("{what} is in {place}: {}...", String::from_utf8_lossy(at))).collect()
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let leaks = self.leaks();
            assert!(leaks.is_empty(), "{}", leaks.join("\n"));
        }
    }
}

#[test]
fn a_secret_that_is_said_is_found_wherever_it_is() {
    listen();
    let marked = Marked::default();
    marked.mark("a token", "eyJhbGciOiJFUzI1NiJ9.the-claims-of-a-token.the-signature-of-a-token");
    marked.mark("a secret", "a-secret-that-is-logged");
    marked.mark("a link", "a-link-that-is-shown-to-somebody-else");
    tracing::trace!(
        header = "eyJhbGciOiJFUzI1NiJ9",
        short = "the-claims-of",
        "a header and what is cut are no secrets"
    );
    assert_eq!(marked.leaks(), Vec::<String>::new());
    tracing::trace!("Bearer eyJhbGciOiJFUzI1NiJ9.{}.x", "the-claims-of-a-token");
    let _span = tracing::trace_span!("a span", value = "secret=a-secret-that-is-logged");
    shown("a page", r#"<a href="/consent/a-link-that-is-shown-to-somebody-else">"#);
    let mut leaks = marked.leaks();
    leaks.sort();
    assert_eq!(leaks.len(), 3, "{leaks:?}");
    assert!(leaks[0].starts_with("a link is in a page: a-link-that-is-s"), "{leaks:?}");
    assert!(leaks[1].starts_with("a secret is in the log, field value of a span"), "{leaks:?}");
    assert!(leaks[2].starts_with("a token is in the log, field message of event tests/it/listener.rs:"), "{leaks:?}");
    // It would fail when it is dropped, as it should.
    marked.0.lock().unwrap().clear();
}
