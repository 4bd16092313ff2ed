//! Which URIs a declaration may hold.

use crate::config::is_loopback;
use url::Url;

/// An `iss` of a provider: https without query and fragment (OpenID Connect Core §2), or a loopback one by permission.
pub(super) fn issuer(text: &str, allow_private: bool) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    document_uri(&url, allow_private)?;
    if url.query().is_some() { Err("must have no query".to_owned()) } else { Ok(()) }
}

/// A URL from which documents are fetched.
pub(super) fn document_uri(url: &Url, allow_private: bool) -> Result<(), String> {
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(url) && allow_private => {}
        "http" if is_loopback(url) => {
            return Err("must use https; http on loopback needs allow_private_addresses = true".to_owned());
        }
        _ => return Err("must use https".to_owned()),
    }
    if url.fragment().is_some() {
        return Err("must have no fragment".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must have no user and no password".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_reached_by_https_or_with_leave_on_loopback() {
        assert_eq!(issuer("https://login.example.com/tenant/v2.0", false), Ok(()));
        assert_eq!(issuer("http://127.0.0.1:9000", true), Ok(()));
        for (text, allow) in [
            ("http://127.0.0.1:9000", false),
            ("http://idp.example.com", true),
            ("https://idp.example.com?x", true),
            ("https://idp.example.com#x", true),
            ("https://user@idp.example.com", true),
            ("idp.example.com", true),
        ] {
            assert!(issuer(text, allow).is_err(), "{text}");
        }
    }
}
