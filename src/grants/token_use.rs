//! What a backend reports of a token's use: by its own client, of a token for it, within bounds.

use super::params::Params;
use super::{Caller, Failure, Received, refused_early};
use crate::app::App;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::event::{AuditEvent, EventKind, EventOutcome};

/// The longest `for`, in bytes.
const FOR_AT_MOST: usize = 1024;
/// The longest `request_id`, in bytes.
const REQUEST_ID_AT_MOST: usize = 256;
/// How far the backend's clock may be from ours, in seconds.
const SKEW_SECONDS: i64 = 60;
/// A use is reported within so many seconds.
const LATE_AT_MOST_SECONDS: i64 = 86_400;

/// What is reported.
#[derive(Debug)]
struct Report<'a> {
    jti: &'a str,
    used_at: Option<i64>,
    used_for: &'a str,
    request_id: Option<&'a str>,
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
        let text = |name: &'static str, text: &'a str, most: usize| {
            if text.len() > most {
                return Err(invalid(format!("{name} is longer than {most} bytes")));
            }
            if text.chars().any(char::is_control) {
                return Err(invalid(format!("{name} has a control character")));
            }
            Ok(text)
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
            return Ok(());
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
        event.used_for = Some(self.used_for.to_owned());
        event.backend_request_id = self.request_id.map(str::to_owned);
        event
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
