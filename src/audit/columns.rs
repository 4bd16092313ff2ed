//! Whether the look-up columns of an event say what its body says, without making an event of the body.

use crate::domain::event::EventOutcome;
use crate::store::{StoredRow, searchable};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The members of a body that have columns. Their names and forms are those of
/// [`AuditEvent`](crate::domain::event::AuditEvent); a test holds the two together.
#[derive(Default)]
struct Copied<'a> {
    at_ms: Option<i64>,
    request_id: Option<Text<'a>>,
    outcome: Option<EventOutcome>,
    reason: Option<Text<'a>>,
    subject: Option<Subject<'a>>,
    client: Option<Text<'a>>,
    resource: Option<Text<'a>>,
    jti: Option<Text<'a>>,
    txn: Option<Text<'a>>,
    /// The trace was reached: it is last, long, and has no column.
    is_read: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    AtMs,
    RequestId,
    Outcome,
    Reason,
    Subject,
    Client,
    Resource,
    Jti,
    Txn,
    Trace,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Subject<'a> {
    #[serde(borrow)]
    sub: Text<'a>,
}

/// Borrowed wherever the body has no escape.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Fills what it is given, also if the reading ends early.
struct Filling<'c, 'a>(&'c mut Copied<'a>);

impl<'a> DeserializeSeed<'a> for Filling<'_, 'a> {
    type Value = ();
    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Filling<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        fn once<T, E: Error>(place: &mut Option<T>, value: T) -> Result<(), E> {
            if place.replace(value).is_some() { Err(E::custom("a member is there twice")) } else { Ok(()) }
        }
        let Self(copied) = self;
        while let Some(member) = map.next_key::<Member>()? {
            match member {
                Member::AtMs => once(&mut copied.at_ms, map.next_value()?)?,
                Member::RequestId => once(&mut copied.request_id, map.next_value()?)?,
                Member::Outcome => once(&mut copied.outcome, map.next_value()?)?,
                Member::Reason => once(&mut copied.reason, map.next_value()?)?,
                Member::Subject => once(&mut copied.subject, map.next_value()?)?,
                Member::Client => once(&mut copied.client, map.next_value()?)?,
                Member::Resource => once(&mut copied.resource, map.next_value()?)?,
                Member::Jti => once(&mut copied.jti, map.next_value()?)?,
                Member::Txn => once(&mut copied.txn, map.next_value()?)?,
                Member::Trace => {
                    copied.is_read = true;
                    return Ok(());
                }
                Member::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        copied.is_read = true;
        Ok(())
    }
}

impl<'a> Copied<'a> {
    /// Reads a body as far as its trace. That the rest is what was written is what its hash says.
    fn of(body: &'a str) -> Result<Self, String> {
        let mut copied = Self::default();
        let read = Filling(&mut copied).deserialize(&mut serde_json::Deserializer::from_str(body));
        match read {
            Err(problem) if !copied.is_read => Err(format!("its body cannot be read: {problem}")),
            Ok(()) | Err(_) => Ok(copied),
        }
    }
}

/// Compares the columns with the body.
///
/// # Errors
/// In words: the body is none of an event, or a column says something else.
pub(super) fn agree(row: &StoredRow<'_>) -> Result<(), String> {
    let body = Copied::of(row.body)?;
    let missing = |name: &str| format!("its body cannot be read: it has no {name}");
    let at_ms = body.at_ms.ok_or_else(|| missing("at_ms"))?;
    if row.at_ms != at_ms {
        return Err(format!("changed: its column at_ms says {}, its body {at_ms}", row.at_ms));
    }
    let outcome = match body.outcome.ok_or_else(|| missing("outcome"))? {
        EventOutcome::Granted => "granted",
        EventOutcome::Refused => "refused",
        EventOutcome::Done => "done",
    };
    let expected: [Option<&str>; 8] = [
        body.request_id.as_ref().map(|text| &*text.0),
        Some(outcome),
        body.reason.as_ref().map(|text| &*text.0),
        body.subject.as_ref().map(|subject| &*subject.sub.0),
        body.client.as_ref().map(|text| &*text.0),
        body.resource.as_ref().map(|text| &*text.0),
        body.jti.as_ref().map(|text| &*text.0),
        body.txn.as_ref().map(|text| &*text.0),
    ];
    for ((name, value), expected) in StoredRow::TEXTS.iter().zip(row.texts).zip(expected) {
        let expected = expected.map(searchable);
        if value != expected.as_deref() {
            let (value, expected) = (shown(value), shown(expected.as_deref()));
            return Err(format!("changed: its column {name} says {value}, its body {expected}"));
        }
    }
    Ok(())
}

fn shown(value: Option<&str>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::decision::{Gate, GateResult, TraceLine};
    use crate::domain::event::{AuditEvent, EventKind, EventSubject};

    /// Whoever adds a member with a column behind the trace would not have it compared.
    #[test]
    fn the_trace_is_the_last_member_of_an_event() {
        let mut event =
            AuditEvent::new(1, "req_1".to_owned(), EventKind::TokenExchange, EventOutcome::Granted, "granted");
        event.subject = Some(EventSubject::named("a\"\n\u{e9}"));
        event.jti = Some("t_1".to_owned());
        event.trace =
            vec![TraceLine { gate: Gate::Client, result: GateResult::Passed, reason: None, note: String::new() }];
        let body = serde_json::to_string(&event).unwrap();
        let (before, trace) = body.rsplit_once(r#","trace":["#).unwrap();
        assert!(trace.ends_with("]}") && before.contains(r#""trace_id""#) == event.trace_id.is_some());
        let copied = Copied::of(&body).unwrap();
        assert_eq!((copied.at_ms, copied.is_read), (Some(1), true));
        assert_eq!(copied.subject.map(|subject| subject.sub.0).as_deref(), Some("a\"\n\u{e9}"));
        assert_eq!(copied.jti.map(|text| text.0).as_deref(), Some("t_1"));
    }

    #[test]
    fn a_body_is_read_strictly_up_to_its_trace() {
        for body in ["", "[]", r#"{"at_ms":"1"}"#, r#"{"jti":"a","jti":"b"}"#, r#"{"subject":{}}"#, r#"{"jti":1}"#] {
            assert!(Copied::of(body).is_err(), "{body}");
        }
    }
}
