//! Which URIs a declaration may hold.

use crate::config::is_loopback;
use url::Url;

/// Schemes that a browser would run, or would open from the user's own machine (rule NA-03).
const DANGEROUS_SCHEMES: [&str; 6] = ["javascript", "data", "file", "blob", "vbscript", "about"];

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

/// https anywhere, http on loopback, or a private-use scheme; no fragment (RFC 6749 §3.1.2, RFC 8252 §7).
pub(super) fn redirect_uri(text: &str) -> Result<(), String> {
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'*') {
        return Err("has a blank, a control character or a *".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("is not an absolute URI: {error}"))?;
    if url.fragment().is_some() {
        return Err("has a fragment".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password".to_owned());
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(&url) => Ok(()),
        "http" => Err("must use https; http is for loopback only".to_owned()),
        scheme if DANGEROUS_SCHEMES.contains(&scheme) => Err(format!("must not use the scheme {scheme}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_uri_is_https_loopback_or_of_a_private_scheme() {
        for good in [
            "https://assistant.example.com/callback?x=1",
            "http://127.0.0.1/",
            "http://[::1]:33418/callback",
            "http://localhost:8080/",
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "com.example.app:/callback",
        ] {
            assert_eq!(redirect_uri(good), Ok(()), "{good}");
        }
        for bad in [
            "http://assistant.example.com/",
            "https://a.example/#x",
            "https://u@a.example/",
            "https://*.example.com/",
            "/callback",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://a.example/ b",
        ] {
            assert!(redirect_uri(bad).is_err(), "{bad}");
        }
    }

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
