//! Our issuer: the one text that every client, backend and token must agree on, so it has one spelling.

use super::ConfigProblem;
use super::settings::Settings;
use std::net::SocketAddr;
use url::{Host, Url};

/// The configured issuer, or the address we listen on while that is loopback.
pub(super) fn of(settings: &Settings, listen: SocketAddr) -> Result<String, ConfigProblem> {
    match settings.text("issuer")? {
        Some(text) => check(&text).map(|()| text).map_err(|problem| settings.problem("issuer", problem)),
        None if listen.ip().is_loopback() && listen.port() != 0 => Ok(format!("http://{listen}")),
        None => {
            let problem = format!("must be set, since clients cannot tell it from the listen address {listen}");
            Err(settings.problem("issuer", problem))
        }
    }
}

/// RFC 8414 §2: https, without query and fragment. Our own rule: no trailing slash, and exactly one spelling, since it
/// is compared byte for byte.
fn check(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|_| "is not a URL such as https://auth.example.com".to_owned())?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err("must use https; http is for loopback only".to_owned()),
        _ => return Err("must be a https URL".to_owned()),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must have no query and no fragment (RFC 8414 section 2)".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must have no user and no password".to_owned());
    }
    let spelling = url.as_str().trim_end_matches('/');
    if text.ends_with('/') {
        return Err(format!("must not end with a slash: write {spelling}"));
    }
    if text != spelling {
        return Err(format!("is compared byte for byte, so it has one spelling: write {spelling}"));
    }
    Ok(())
}

/// True if the host is this machine by its name or its address.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_has_one_spelling_and_is_https_or_loopback() {
        for good in ["https://auth.example.com", "https://a.example/t/1", "http://127.0.0.1:8420", "http://[::1]:1"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, part) in [
            ("auth.example.com", "is not a URL"),
            ("http://auth.example.com", "must use https"),
            ("http://localhost.example.com", "must use https"),
            ("ftp://a.example", "must be a https URL"),
            ("https://a.example/", "write https://a.example"),
            ("https://a.example?x", "no query"),
            ("https://a.example#x", "no fragment"),
            ("https://u:p@a.example", "no user"),
            ("https://A.example", "write https://a.example"),
            ("https://a.example:443", "write https://a.example"),
        ] {
            assert!(check(bad).unwrap_err().contains(part), "{bad}: {:?}", check(bad));
        }
    }
}
