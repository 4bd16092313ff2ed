//! Forms that only the browser they were shown to can send back, once, and not much later.
//!
//! All that a form is about is in one hidden field, sealed: nothing is remembered between showing and sending.

use super::error::{error, error_with_link, unavailable};
use super::session::Browser;
use crate::app::App;
use crate::secrets::{digest, equal, random_id};
use crate::tokens::seal::{open_for, seal_for};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;

/// For how long a form can be sent, in seconds.
pub(super) const FORM_SECONDS: i64 = 1800;

/// What forms are sealed for.
const SEALED_FOR: &str = "seal forms";
/// The longest sealed form that is opened, in bytes.
const SEALED_BYTES: usize = 65_536;

#[derive(Serialize, Deserialize)]
struct Sealed<P, T> {
    purpose: P,
    /// Digest of the browser's key.
    browser: String,
    made_at: i64,
    id: String,
    about: T,
}

/// The value of the hidden field `form`. `purpose` tells one kind of form from another.
pub(super) async fn seal(
    app: &App,
    browser: &Browser,
    purpose: &'static str,
    about: &impl Serialize,
) -> Result<String, Response> {
    let browser = digest(&browser.key(app).await?);
    let sealed = Sealed { purpose, browser, made_at: app.clock.now(), id: random_id("frm"), about };
    let text = serde_json::to_string(&sealed).map_err(|problem| unavailable(app, &problem.to_string()))?;
    Ok(seal_for(&app.secrets_key, SEALED_FOR, &text))
}

/// What the form is about. `again`: where the page of the form is, below the issuer. Loading the answer to a form again
/// would only send the form once more.
///
/// # Errors
/// A page: 403 if the form is another browser's, was sent before, is altered, or comes from another site; 400 if it is
/// too old. It leads to where the page of the form is.
pub(super) async fn open<T: DeserializeOwned>(
    app: &App,
    browser: &Browser,
    headers: &HeaderMap,
    (purpose, field): (&'static str, &str),
    again: impl Fn(&T) -> Option<String>,
) -> Result<T, Response> {
    let refused = |text: &str| error(app, StatusCode::FORBIDDEN, "This form cannot be used", text);
    if !is_from_here(&app.config.issuer, headers) {
        return Err(refused("It was sent by a page of another site. Nothing was changed."));
    }
    let damaged = "It is damaged, or is not one of this page. Nothing was changed. Go back to where you came from and start \
                   again there.";
    let sealed = Some(field).filter(|field| field.len() <= SEALED_BYTES);
    let text = sealed.and_then(|sealed| open_for(&app.secrets_key, SEALED_FOR, sealed));
    let form = text.and_then(|text| serde_json::from_str::<Sealed<String, serde_json::Value>>(&text).ok());
    let form = form.filter(|form| form.purpose == purpose).ok_or_else(|| refused(damaged))?;
    let about = T::deserialize(form.about).map_err(|_| refused(damaged))?;
    let again = again(&about);
    let stale = |status: StatusCode, title: &str, text: &str| match &again {
        Some(path) => error_with_link(app, status, title, text, ("Show the page again", path)),
        None => error(app, status, title, &format!("{text} Go back to where you came from and start again there.")),
    };
    let key = browser.known_key(app).await?.map(|key| digest(&key));
    if !key.is_some_and(|key| equal(key.as_bytes(), form.browser.as_bytes())) {
        let text = "It was shown in another browser, or before you signed in or out. Nothing was changed.";
        return Err(stale(StatusCode::FORBIDDEN, "This form cannot be used", text));
    }
    let ends_at = form.made_at.saturating_add(FORM_SECONDS);
    if app.clock.now() >= ends_at {
        let text = "It was open for too long. Nothing was changed.";
        return Err(stale(StatusCode::BAD_REQUEST, "This form has expired", text));
    }
    // Last, so that a form which is refused can still be sent as it should.
    let is_first = app.store.use_form(&form.id, ends_at).await;
    if !is_first.map_err(|cause| unavailable(app, &cause.to_string()))? {
        let text = "It was sent before, and what you answered then counts.";
        return Err(stale(StatusCode::FORBIDDEN, "This form cannot be used", text));
    }
    Ok(about)
}

/// What the browser says of where a form came from. Browsers of today send `Sec-Fetch-Site`. `Origin` is `null` from our
/// own pages, since they give no referrer (Fetch standard, "append a request Origin header"), so `null` says nothing.
fn is_from_here(issuer: &str, headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let ours = Url::parse(issuer).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    headers.get(header::ORIGIN).is_none_or(|origin| origin == "null" || origin.as_bytes() == ours.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    #[test]
    fn a_form_of_another_site_is_told_by_what_the_browser_says() {
        let is_ours = |pairs: &[(&'static str, &'static str)]| {
            let pairs =
                pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            is_from_here("https://auth.example.com/t1", &pairs.collect())
        };
        for ours in [
            [].as_slice(),
            &[("origin", "https://auth.example.com")],
            &[("origin", "null")],
            &[("sec-fetch-site", "same-origin"), ("origin", "null")],
        ] {
            assert!(is_ours(ours), "{ours:?}");
        }
        for other in [
            [("origin", "https://evil.example")].as_slice(),
            &[("origin", "http://auth.example.com")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site"), ("origin", "https://auth.example.com")],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(!is_ours(other), "{other:?}");
        }
    }
}
