//! Before gate 10: the user signed in as well, and as lately, as the backend wants (RFC 9470).

use super::{Question, ReasonCode, Refusal, SignInNeeded};
use crate::domain::resource::Resource;
use crate::domain::subject::Subject;

/// Refuses a sign-in that is too weak or too old for the backend. What the provider did not say counts as too little.
pub(super) fn strong_enough(question: &Question<'_>, token: &Subject, resource: &Resource) -> Result<(), Refusal> {
    let needed = || {
        let (acr_values, max_age) = (resource.acr_values.clone(), resource.max_auth_age_seconds);
        Some(Box::new(SignInNeeded { acr_values, max_age }))
    };
    let refuse = |reason, detail| Err(Refusal { sign_in: needed(), ..Refusal::new(reason, detail) });
    if !resource.acr_values.is_empty() && !token.acr.as_ref().is_some_and(|acr| resource.acr_values.contains(acr)) {
        let acr = token.acr.as_ref().map_or_else(|| "there is no acr".to_owned(), |acr| format!("acr is {acr:?}"));
        let detail = format!("{acr}; {} wants one of {:?}", resource.id, resource.acr_values);
        return refuse(ReasonCode::SignInTooWeak, detail);
    }
    let Some(max_age) = resource.max_auth_age_seconds else {
        return Ok(());
    };
    match token.auth_time.map(|at| question.now.saturating_sub(at)) {
        Some(age) if age <= i64::from(max_age) => Ok(()),
        Some(age) => {
            let detail = format!("the user signed in {age} seconds ago; {} wants at most {max_age}", resource.id);
            refuse(ReasonCode::SignInTooOld, detail)
        }
        None => {
            let detail = format!("the subject token has no auth_time, and {} wants at most {max_age}", resource.id);
            refuse(ReasonCode::SignInTooOld, detail)
        }
    }
}
