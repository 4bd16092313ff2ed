//! Gates 11 and 12: limits, and the end of the token.

use super::subject::ValidSubject;
use super::{Cut, Delegation, Gate, Question, ReasonCode, Refusal, Trace};
use crate::domain::client::GrantType;
use crate::domain::consent::Consent;
use crate::domain::limits::LimitState;
use crate::domain::resource::Resource;
use crate::domain::subject::Subject;

pub(super) fn limits(asked: Delegation<'_>, subject: &ValidSubject<'_>, trace: &mut Trace) -> Result<(), Refusal> {
    let over = |reason, seconds: u64, whose: &str| {
        let detail = format!("too many exchanges {whose}; the next one is possible in {seconds} seconds");
        Err(Refusal { retry_after_seconds: Some(seconds.max(1)), ..Refusal::new(reason, detail) })
    };
    match asked.limits {
        LimitState::UserOver { retry_after_seconds } => {
            over(ReasonCode::UserLimit, retry_after_seconds, "for this user")
        }
        LimitState::GrantOver { retry_after_seconds } => {
            over(ReasonCode::GrantLimit, retry_after_seconds, "by this client for this user")
        }
        LimitState::Within => {
            let note = if subject.user().is_some() { "within the limits" } else { "no user is involved" };
            trace.pass(Gate::Limits, note);
            Ok(())
        }
    }
}

/// The end of the token: never beyond the subject token, the consent, or the backend's maximum.
pub(super) fn lifetime(
    question: &Question<'_>,
    grant: GrantType,
    subject: &Subject,
    consent: Option<&Consent>,
    resource: &Resource,
    trace: &mut Trace,
) -> Result<i64, Refusal> {
    let longest = match grant {
        GrantType::AuthorizationCode | GrantType::RefreshToken => resource.connector_token_lifetime_seconds,
        GrantType::TokenExchange | GrantType::ClientCredentials => resource.token_lifetime_seconds,
    };
    let by_resource = question.now.saturating_add(i64::from(longest));
    let ends = [
        (by_resource, "the resource's maximum"),
        (subject.expires_at, if grant == GrantType::TokenExchange { "the subject token" } else { "the grant" }),
        (consent.and_then(|consent| consent.expires_at).unwrap_or(i64::MAX), "the consent"),
    ];
    let (end, bound) = ends.into_iter().min_by_key(|(end, _)| *end).unwrap_or((question.now, "nothing"));
    let seconds = end.saturating_sub(question.now);
    if seconds < 1 {
        return Err(Refusal::new(ReasonCode::LifetimeExhausted, format!("{bound} ends now")));
    }
    trace.pass(Gate::Lifetime, format!("{seconds} seconds, by {bound}"));
    Ok(end)
}

/// With `scope` left out nothing in particular was asked for, so nothing was cut.
pub(super) fn only_asked(question: &Question<'_>, cut: Vec<Cut>) -> Vec<Cut> {
    match question.scopes {
        Some(asked) if !asked.is_empty() => cut,
        Some(_) | None => Vec::new(),
    }
}
