//! The body of a request, and a place to work on it: the bounds that every endpoint for clients has.

use crate::app::App;
use axum::body::{Body, Bytes, to_bytes};
use std::time::Duration;
use tokio::sync::SemaphorePermit;

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyProblem {
    /// More bytes than the endpoint takes.
    TooLarge,
    /// It did not come in half the time that a request has: what then still comes is too late for a decision, and whoever
    /// is slow hears so.
    TooSlow,
    /// The connection ended before it did.
    Incomplete,
}

/// Reads the body, of `most` bytes at the most.
pub(super) async fn read(app: &App, body: Body, most: usize) -> Result<Bytes, BodyProblem> {
    let at_most = match app.config.limits.request_seconds {
        0 => Duration::MAX,
        seconds => Duration::from_secs(u64::from(seconds)) / 2,
    };
    let read = tokio::time::timeout(at_most, to_bytes(body, most)).await.map_err(|_| BodyProblem::TooSlow)?;
    read.map_err(|error| {
        let is_too_large = std::error::Error::source(&error)
            .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        if is_too_large { BodyProblem::TooLarge } else { BodyProblem::Incomplete }
    })
}

/// A place among the requests that are worked on, if what comes of this one can be recorded. It is taken only after the
/// body has come: a peer that sends slowly keeps nobody out.
///
/// # Errors
/// Why there is none, for the log.
pub(super) fn admit(app: &App) -> Result<SemaphorePermit<'_>, String> {
    let place = app.in_flight.try_acquire().map_err(|_| "too many requests at once".to_owned())?;
    // Nobody waits for a decision that cannot be recorded.
    app.audit.admit().map_err(|error| error.to_string())?;
    if app.is_behind() {
        return Err("what changed in the database could not be taken in".to_owned());
    }
    Ok(place)
}
