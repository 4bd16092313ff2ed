//! What a backend reports of a token's use: by its own client, of a token for it, within bounds.

use super::params::Params;
use super::{Caller, Failure, Received, refused_early};
use crate::app::App;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::event::{AuditEvent, EventKind, EventOutcome};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The longest `for`, in bytes: an SQL statement fits.
const FOR_AT_MOST: usize = 4096;
/// The longest `request_id`, in bytes.
const REQUEST_ID_AT_MOST: usize = 256;
/// How far the backend's clock may be from ours, in seconds.
const SKEW_SECONDS: i64 = 60;
/// A use is reported within so many seconds.
const LATE_AT_MOST_SECONDS: i64 = 86_400;

/// What a report may have, and how its client says who it is.
const MEMBERS: &[&str] =
    &["jti", "for", "used_at", "request_id", "client_id", "client_secret", "client_assertion", "client_assertion_type"];
/// What stands in the place of a token.
const REMOVED: &str = "[token removed]";
/// How what is secret and no JWT begins here: codes, refresh tokens, client secrets, registration tokens.
const SECRETS_BEGIN: [&str; 4] = ["pac_", "prf_", "pcs_", "prt_"];
/// None of them is shorter.
const SECRET_LENGTH: usize = 24;
/// By so many letters a JWT is known: 15 bytes of its header.
const HEADER_LENGTH: usize = 20;

/// What is reported.
#[derive(Debug)]
struct Report<'a> {
    jti: &'a str,
    used_at: Option<i64>,
    used_for: String,
    request_id: Option<String>,
}

/// Why nothing is on record.
#[derive(Debug)]
pub enum UseFailure {
    /// Refused, and the refusal is on record, unless it could not be.
    Failed(Failure),
    /// Too many reports: seconds to wait are in it. Nothing is on record, or reports could fill the disk.
    TooMany(Refusal),
}

impl<T: Into<Failure>> From<T> for UseFailure {
    fn from(failure: T) -> Self {
        Self::Failed(failure.into())
    }
}

/// Puts a use on record. Returns once that is durable.
///
/// A token that is not known and one for another backend get the same answer.
pub async fn report(app: &App, received: &Received, caller: &Caller, params: &Params) -> Result<(), UseFailure> {
    let client = &caller.client.client.id;
    let too_many = |seconds: u64| {
        let refusal = Refusal::new(ReasonCode::UsesTooMany, "");
        UseFailure::TooMany(Refusal { retry_after_seconds: Some(seconds), ..refusal })
    };
    if let Some(seconds) = app.use_reports.count(client) {
        return Err(too_many(seconds));
    }
    let report = match Report::read(params) {
        Ok(report) => report,
        Err(refusal) => return Err(refused(app, received, caller, refusal).await.into()),
    };
    let issued = match issued(app, caller, report.jti).await? {
        Ok(issued) => issued,
        Err(detail) => {
            let refusal = Refusal::new(ReasonCode::UseTokenUnknown, detail);
            return Err(refused(app, received, caller, refusal).await.into());
        }
    };
    if let Err(refusal) = report.is_in_time(&issued, received.now()) {
        return Err(refused(app, received, caller, refusal).await.into());
    }
    if let Some(seconds) = app.use_reports.count_token(report.jti) {
        return Err(too_many(seconds));
    }
    let most = i64::from(app.config.evidence.uses_per_token);
    if app.store.count_uses_of_token(report.jti, most).await? >= most {
        let refusal = Refusal::new(ReasonCode::UseTokenFull, format!("token {} has {most} uses on record", report.jti));
        return Err(refused(app, received, caller, refusal).await.into());
    }
    app.audit.record(report.event(received, caller, issued), None).await?;
    Ok(())
}

/// The event that issued the token, if it was for a backend of this client; else why not, for the record.
async fn issued(app: &App, caller: &Caller, jti: &str) -> Result<Result<AuditEvent, String>, Failure> {
    let client = &caller.client.client.id;
    let Some(event) = app.store.event_of_token(jti).await? else {
        // What was sent is not repeated: it may be a token.
        return Ok(Err("no token of this jti is on record".to_owned()));
    };
    let snapshot = app.snapshot();
    let resource = event.resource.as_ref().and_then(|id| snapshot.registry.resource(id));
    let is_its_own = resource.is_some_and(|resource| resource.clients.contains(client));
    Ok(if is_its_own { Ok(event) } else { Err(format!("token {jti} is not for a backend of client {client}")) })
}

impl<'a> Report<'a> {
    fn read(params: &'a Params) -> Result<Self, Refusal> {
        let invalid = |detail: String| Refusal::new(ReasonCode::UseReportInvalid, detail);
        if params.has_others(MEMBERS) {
            let detail = "it has more than jti, for, used_at and request_id, and what is not known would be lost";
            return Err(invalid(detail.to_owned()));
        }
        // Statements have lines.
        let is_refused = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t');
        let text = |name: &'static str, text: &'a str, most: usize| {
            if text.len() > most {
                return Err(invalid(format!("{name} is longer than {most} bytes")));
            }
            if text.chars().any(is_refused) {
                return Err(invalid(format!("{name} has a control character that ends no line and is no tab")));
            }
            Ok(without_tokens(text))
        };
        let used_at = params.get("used_at").map(|at| {
            at.parse().map_err(|_| invalid("used_at is not a whole number of seconds since 1970".to_owned()))
        });
        Ok(Self {
            jti: params.require("jti")?,
            used_at: used_at.transpose()?,
            used_for: text("for", params.require("for")?, FOR_AT_MOST)?,
            request_id: params.get("request_id").map(|id| text("request_id", id, REQUEST_ID_AT_MOST)).transpose()?,
        })
    }

    /// Nobody used the token before it was made, and nobody will have.
    fn is_in_time(&self, issued: &AuditEvent, now: i64) -> Result<(), Refusal> {
        let Some(used_at) = self.used_at else {
            // Without a time it was now.
            let is_over = issued.expires_at.is_some_and(|ends| now >= ends.saturating_add(SKEW_SECONDS));
            let problem = "used_at is missing, and the token has ended: say when it was used";
            return if is_over { Err(Refusal::new(ReasonCode::UseReportInvalid, problem)) } else { Ok(()) };
        };
        let problem = if used_at > now.saturating_add(SKEW_SECONDS) {
            "used_at is in the future"
        } else if used_at < issued.at_ms.div_euclid(1000).saturating_sub(SKEW_SECONDS) {
            "used_at is before the token was issued"
        } else if used_at < now.saturating_sub(LATE_AT_MOST_SECONDS) {
            "used_at is more than a day ago"
        } else {
            return Ok(());
        };
        Err(Refusal::new(ReasonCode::UseReportInvalid, problem))
    }

    fn event(&self, received: &Received, caller: &Caller, issued: AuditEvent) -> AuditEvent {
        let mut event = received.event(EventKind::Use, EventOutcome::Done, "used");
        event.client = Some(caller.client.client.id.clone());
        event.client_authentication = Some(caller.authentication.as_str().to_owned());
        event.subject = issued.subject;
        event.actors = issued.actors;
        event.resource = issued.resource;
        event.audience = issued.audience;
        event.jti = Some(self.jti.to_owned());
        event.used_at = Some(self.used_at.unwrap_or_else(|| received.now()));
        event.used_for = Some(self.used_for.clone());
        event.backend_request_id.clone_from(&self.request_id);
        event
    }
}

/// The text without what could be a token or a secret: the trail keeps what it says for years, and signs it.
fn without_tokens(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    let mut is_in_word = false;
    while let Some(letter) = rest.chars().next() {
        let secret = if is_in_word { 0 } else { secret_length(rest) };
        match jwt_length(rest).max(secret) {
            0 => {
                kept.push(letter);
                rest = rest.get(letter.len_utf8()..).unwrap_or_default();
                is_in_word = letter.is_ascii_alphanumeric();
            }
            length => {
                kept.push_str(REMOVED);
                rest = rest.get(length..).unwrap_or_default();
                is_in_word = false;
            }
        }
    }
    kept
}

/// How long a word is in letters of base64url, or dots as well.
fn word_length(text: &str, with_dots: bool) -> usize {
    let ends =
        |letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_') || (with_dots && letter == '.'));
    text.find(ends).unwrap_or(text.len())
}

/// Names and words have no capital, small letter and digit all together.
fn is_random(word: &str) -> bool {
    let has = |is_one: fn(&u8) -> bool| word.as_bytes().iter().any(is_one);
    has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
}

/// How long a code, a refresh token or a secret of ours is that begins here; 0 if none does. Theirs have 128 bits and more.
fn secret_length(text: &str) -> usize {
    let Some(begin) = SECRETS_BEGIN.iter().find(|begin| text.starts_with(**begin)) else { return 0 };
    let length = word_length(text, true);
    let is_random = text.get(begin.len()..length).is_some_and(is_random);
    if length >= SECRET_LENGTH && is_random { length } else { 0 }
}

/// How long blanks and ends of lines are with which a text begins, also those written as `\r` and `\n`.
fn break_length(text: &str) -> usize {
    let mut rest = text;
    loop {
        let next = rest.trim_start_matches(['\r', '\n', ' ', '\t']);
        let next = next.strip_prefix("\\n").or_else(|| next.strip_prefix("\\r")).unwrap_or(next);
        if next.len() == rest.len() {
            return text.len() - rest.len();
        }
        rest = next;
    }
}

/// How long a JWT is that begins here, or what is there of one; 0 if none does. It may be written for a URL, or in lines.
fn jwt_length(text: &str) -> usize {
    // The header is an object, and this is how its letters begin, whatever comes next.
    let header = text.get(..HEADER_LENGTH).filter(|header| header.starts_with("eyJ"));
    let bytes = header.and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    if !bytes.is_some_and(|bytes| bytes.iter().all(|byte| (b' '..=b'~').contains(byte))) {
        return 0;
    }
    let mut length = 0;
    loop {
        let rest = text.get(length..).unwrap_or_default();
        let word = word_length(rest, false);
        let behind = rest.get(word..).unwrap_or_default();
        let dots = [".", "%2E", "%2e", "%252E", "%252e"];
        let dot = dots.iter().find(|dot| behind.starts_with(**dot)).map_or(0, |dot| dot.len());
        let break_length = if behind.starts_with([' ', '\t']) { 0 } else { break_length(behind) };
        let next = behind.get(break_length..).unwrap_or_default();
        let goes_on = break_length > 0
            && next.get(..word_length(next, true)).is_some_and(|word| word.len() >= HEADER_LENGTH && is_random(word));
        let step = word
            + if dot > 0 {
                dot
            } else if goes_on {
                break_length
            } else {
                0
            };
        length += step;
        if step == word {
            return length;
        }
    }
}

/// Puts a refusal on record.
async fn refused(app: &App, received: &Received, caller: &Caller, refusal: Refusal) -> Failure {
    let client = Some(&caller.client.client.id);
    let event = refused_early(received, EventKind::Use, client, Some(caller.authentication), &refusal);
    match app.audit.record(event, None).await {
        Ok(()) => Failure::Refused { refusal, consent: None },
        Err(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_token_is_taken_out_and_the_rest_stays() {
        let jwt = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhbGljZSJ9.AA-_bbbb7CbbbbbbbbbbbbbbbbbbbbbbbbbB8";
        let code = "pac_0123456789aBcDeFgHiJkL.abc-_";
        for (text, kept) in [
            (jwt.to_owned(), "[token removed]".to_owned()),
            (
                format!("select 1 /* {jwt} */ where a.b = 'eyJ'"),
                "select 1 /* [token removed] */ where a.b = 'eyJ'".to_owned(),
            ),
            (format!("?access_token={jwt}&x=1"), "?access_token=[token removed]&x=1".to_owned()),
            (format!("Bearer{jwt}."), "Bearer[token removed]".to_owned()),
            (jwt.replace('.', "%2E"), "[token removed]".to_owned()),
            (jwt.replace("IsInR", "Is\nInR").replace("AA-_bbbb", "AA-_bbbb\r\n"), "[token removed]".to_owned()),
            (jwt.replace("InR5", "InR5\\n").replace("AA-_bbbb", "AA-_bbbb\r\n"), "[token removed]".to_owned()),
            (jwt.replace('.', "%252E"), "[token removed]".to_owned()),
            (format!("my_{code}"), "my_[token removed]".to_owned()),
            (
                format!("{jwt}\nhealth_records.appointments_of_the_day"),
                "[token removed]\nhealth_records.appointments_of_the_day".to_owned(),
            ),
            (jwt.split('.').next().unwrap().to_owned() + " and more", "[token removed] and more".to_owned()),
            ("eyJhbGciOiJSU0EtT0FFUCJ9..iv.text.tag".to_owned(), "[token removed]".to_owned()),
            (
                format!("a {code}, {}; end", code.replace("pac_", "prf_")),
                "a [token removed], [token removed]; end".to_owned(),
            ),
            (format!("({})", code.replace("pac_", "pcs_")), "([token removed])".to_owned()),
        ] {
            assert_eq!(without_tokens(&text), kept);
        }
        for text in [
            "SELECT rprt_id, t.opac_id, capac_total, pac_id FROM impac_rates_of_the_whole_hospital",
            "SELECT keyJournalEntryReferenceNumber, eyJoinedByCustomerIdentifier FROM x",
            "SELECT *\nFROM \"Bücher\" -- doctor's\n\tWHERE a = 'eyJhbGciOiJ'",
            "pcs_short",
            "",
        ] {
            assert_eq!(without_tokens(text), text);
        }
    }
}
