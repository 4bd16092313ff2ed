//! A form as a browser of ours sends it: read strictly, with names that may repeat, since boxes can be ticked.

use super::error::error;
use crate::app::App;
use crate::grants::params::decode;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::Response;
use std::sync::Arc;

/// More fields than any page of ours has: one for each scope that can be asked for, and a few.
const MAX_FIELDS: usize = 1100;
/// The largest form where the server has no limit of its own.
const MAX_BYTES: usize = 1 << 20;

/// The fields, in their order.
#[derive(Debug)]
pub(super) struct Posted(Vec<(String, String)>);

impl Posted {
    /// Reads `application/x-www-form-urlencoded`; none if it cannot be read, or has too many fields.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        let field = |pair: &[u8]| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=').map(decode);
            Some((halves.next()??, halves.next().unwrap_or_else(|| Some(String::new()))?))
        };
        let fields: Vec<_> = pairs.map(field).take(MAX_FIELDS + 1).collect::<Option<_>>()?;
        (fields.len() <= MAX_FIELDS).then_some(Self(fields))
    }

    /// The value of a field that is there once.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Every value of a field.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl FromRequest<Arc<App>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let refuse = |status, text| error(app, status, "This form cannot be read", text);
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "It was not sent as a form. Nothing was changed."));
        }
        let limit = match app.config.limits.body_bytes {
            0 => MAX_BYTES,
            bytes => bytes.min(MAX_BYTES),
        };
        let Ok(body) = axum::body::to_bytes(request.into_body(), limit).await else {
            return Err(refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "It is too large, or did not arrive whole. Nothing was changed. Go back and send it again.",
            ));
        };
        let damaged = "It is damaged. Nothing was changed. Go back and send it again.";
        Self::parse(&body).ok_or_else(|| refuse(StatusCode::BAD_REQUEST, damaged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_must_be_there_once_is_not_there_twice() {
        let posted = Posted::parse(b"scope=a&scope=b+c&lasts=day&empty&broken=1&broken=2").unwrap();
        assert_eq!(posted.all("scope").collect::<Vec<_>>(), ["a", "b c"]);
        assert_eq!(posted.one("lasts"), Some("day"));
        assert_eq!(posted.one("empty"), Some(""));
        assert_eq!((posted.one("broken"), posted.one("missing")), (None, None));
    }

    #[test]
    fn a_damaged_form_and_one_with_too_many_fields_are_refused() {
        assert!(Posted::parse(b"scope=%zz").is_none());
        assert!(Posted::parse("a=1&".repeat(MAX_FIELDS).as_bytes()).is_some());
        assert!(Posted::parse("a=1&".repeat(MAX_FIELDS + 1).as_bytes()).is_none());
    }
}
