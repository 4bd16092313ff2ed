//! Where a code may be sent: which URIs can be registered, and whether a request names one that is (RFC 6749 §3.1.2,
//! RFC 8252 §7, RFC 9700 §2.1; rules OA-02, NA-01 to NA-06).

use url::{Host, Url};

/// Schemes that a browser would run, or would open from the user's own machine (rule NA-03).
const DANGEROUS_SCHEMES: [&str; 11] =
    ["javascript", "data", "file", "blob", "vbscript", "about", "filesystem", "view-source", "intent", "ftp", "ws"];

/// The longest redirect URI, in bytes.
const MOST_BYTES: usize = 2048;

/// What `http` may lead to, as it is written: other spellings of this machine are other machines to us (rule NA-06).
const LOOPBACK_HOSTS: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// Web pages that hand on whatever they get to a program on the user's device, and say nothing of which.
const HANDED_ON: [&str; 2] = ["https://vscode.dev/redirect", "https://insiders.vscode.dev/redirect"];

/// What kind of place a redirect URI is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectKind {
    /// A web site. Only its owner gets the code.
    Https,
    /// A program on the user's own machine, behind any port: which one cannot be told (RFC 8252 §7.3, §8.3).
    Loopback,
    /// Whatever program has claimed the scheme on the user's device (RFC 8252 §7.1, §8.6).
    PrivateUse,
}

/// True if a request may name `asked`, given that the client registered `registered`.
///
/// Byte for byte the same, with one exception: of an `http` URI on `127.0.0.1`, `[::1]` or `localhost` the port may be
/// another one, or be absent in either, since a program takes the port that is free (RFC 8252 §7.3; rule NA-02).
/// Nothing is decoded, folded or normalised, and the three hosts are not each other.
pub fn matches(registered: &str, asked: &str) -> bool {
    registered == asked
        || loopback_parts(registered).zip(loopback_parts(asked)).is_some_and(|(registered, asked)| registered == asked)
}

/// Host as written, and path with query as written, of an `http` loopback URI; the port is left out.
fn loopback_parts(uri: &str) -> Option<(&'static str, &str)> {
    let authority = uri.strip_prefix("http://")?;
    let (host, rest) = LOOPBACK_HOSTS.iter().find_map(|host| Some((*host, authority.strip_prefix(host)?)))?;
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(port_and_rest) => {
            let digits = port_and_rest.bytes().take_while(u8::is_ascii_digit).count();
            let (port, rest) = port_and_rest.split_at_checked(digits)?;
            port.parse::<u16>().ok().filter(|port| *port != 0)?;
            rest
        }
    };
    let is_end = rest.is_empty() || rest.starts_with(['/', '?']);
    (is_end && !rest.contains('#')).then_some((host, rest))
}

/// What kind of place the URI is; none if it is none that a code may be sent to.
pub fn kind(uri: &str) -> Option<RedirectKind> {
    check(uri).ok()
}

/// True if nobody but the owner of the host sees what is sent there: a web site, and none that hands it on to a program
/// (rule NA-04).
pub fn leads_to_its_owner_alone(uri: &str) -> bool {
    kind(uri) == Some(RedirectKind::Https) && !hands_on(uri)
}

/// True for a page that is known to hand on what it gets to a program on the user's device.
pub fn hands_on(uri: &str) -> bool {
    HANDED_ON
        .iter()
        .any(|page| uri.strip_prefix(page).is_some_and(|rest| rest.is_empty() || rest.starts_with(['?', '/'])))
}

/// The host, for people to read, as a URL parser writes it: letters that only look like others show as `xn--`. Of a
/// private-use scheme, the scheme with its colon.
pub fn host(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    match url.scheme() {
        "https" | "http" => url.host_str().map(str::to_owned),
        scheme => Some(format!("{scheme}:")),
    }
}

/// Checks that a URI can be registered: https, http on loopback, or a private-use scheme; absolute, without fragment,
/// user and password.
///
/// # Errors
/// In words that follow the URI's name, without the URI.
pub fn check(text: &str) -> Result<RedirectKind, &'static str> {
    if text.len() > MOST_BYTES {
        return Err("is longer than 2048 bytes");
    }
    if text.bytes().any(|byte| byte <= b' ' || matches!(byte, 0x7f | b'*')) {
        return Err("has a blank, a control character or a *");
    }
    // Where browsers and URL parsers disagree, nothing is sent.
    if !text.is_ascii() || text.bytes().any(|byte| matches!(byte, b'\\' | b'<' | b'>' | b'"' | b'`')) {
        return Err("has a character that a URI cannot have (RFC 3986 section 2)");
    }
    let url = Url::parse(text).map_err(|_| "is not an absolute URI")?;
    // The parser drops an empty fragment's text but keeps the mark; the text is what will be compared.
    if text.contains('#') {
        return Err("has a fragment");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password");
    }
    match url.scheme() {
        "https" => https(text, &url),
        "http" if loopback_parts(text).is_some() => Ok(RedirectKind::Loopback),
        "http" => Err("must use https; http is for 127.0.0.1, [::1] and localhost only"),
        scheme if DANGEROUS_SCHEMES.contains(&scheme) => Err("uses a scheme that a browser would run or open"),
        _ => Ok(RedirectKind::PrivateUse),
    }
}

fn https(text: &str, url: &Url) -> Result<RedirectKind, &'static str> {
    // `https:/host` and `https:host` are web sites to a URL parser only.
    if !text.starts_with("https://") || text.starts_with("https:///") {
        return Err("is not written https://HOST");
    }
    match url.host() {
        // The same host to DNS, and another to whoever compares.
        Some(Host::Domain(name)) if name.ends_with('.') => Err("has a host that ends with a dot"),
        Some(Host::Domain(name)) if !name.is_empty() => Ok(RedirectKind::Https),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => Ok(RedirectKind::Https),
        Some(Host::Domain(_)) | None => Err("has no host"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack A28.
    #[test]
    fn a28_anything_but_the_registered_text_is_another_uri() {
        let registered = "https://client.example.com/callback";
        assert!(matches(registered, registered));
        for asked in [
            "https://client.example.com/callback/",
            "https://client.example.com/callback/x",
            "https://client.example.com/Callback",
            "https://client.example.com/callback?x=1",
            "https://client.example.com/callback?",
            "https://client.example.com/callback#",
            "https://client.example.com/%63allback",
            "https://client.example.com/x/../callback",
            "https://client.example.com/x/%2e%2e/callback",
            "https://client.example.com/./callback",
            "https://client.example.com//callback",
            "https://client.example.com@evil.example/callback",
            "https://evil@client.example.com/callback",
            "https://evil.example\\@client.example.com/callback",
            "https://client.example.com:443/callback",
            "https://client.example.com:8443/callback",
            "http://client.example.com/callback",
            "HTTPS://client.example.com/callback",
            "https://CLIENT.example.com/callback",
            "https://client.example.com./callback",
            "https://evil.client.example.com/callback",
            "https://client.example.com.evil.example/callback",
            "https://cl\u{0456}ent.example.com/callback",
            " https://client.example.com/callback",
            "https://client.example.com/callback\n",
            "",
        ] {
            assert!(!matches(registered, asked), "{asked:?}");
            assert!(!matches(asked, registered), "{asked:?}, the other way round");
        }
    }

    /// Attack A29.
    #[test]
    fn a29_of_a_loopback_uri_only_the_port_may_vary() {
        for host in LOOPBACK_HOSTS {
            let registered = format!("http://{host}/callback?x=1");
            for port in ["", ":1", ":3334", ":65535"] {
                assert!(matches(&registered, &format!("http://{host}{port}/callback?x=1")), "{host}{port}");
                assert!(matches(&format!("http://{host}{port}/callback?x=1"), &registered), "{host}{port}");
            }
            for (asked, why) in [
                (format!("http://{host}:1/callback"), "another query"),
                (format!("http://{host}:1/callback/?x=1"), "another path"),
                (format!("http://{host}:1/CALLBACK?x=1"), "another case"),
                (format!("http://{host}:/callback?x=1"), "an empty port"),
                (format!("http://{host}:0/callback?x=1"), "port 0"),
                (format!("http://{host}:65536/callback?x=1"), "no port"),
                (format!("http://{host}:1@evil.example/callback?x=1"), "a user"),
                (format!("http://u@{host}:1/callback?x=1"), "a user"),
                (format!("http://{host}.evil.example:1/callback?x=1"), "another host"),
                (format!("http://{host}:1.evil.example/callback?x=1"), "another host"),
                (format!("https://{host}:1/callback?x=1"), "another scheme"),
                (format!("http://{host}:1/callback?x=1#"), "a fragment"),
                (format!("http:/{host}:1/callback?x=1"), "another spelling"),
                (format!("HTTP://{host}:1/callback?x=1"), "another spelling"),
            ] {
                assert!(!matches(&registered, &asked), "{asked}: {why}");
            }
        }
        let registered = "http://127.0.0.1/callback";
        for asked in [
            "http://localhost:1/callback",
            "http://[::1]:1/callback",
            "http://127.0.0.2:1/callback",
            "http://127.1:1/callback",
            "http://2130706433:1/callback",
            "http://0x7f.0.0.1:1/callback",
            "http://0.0.0.0:1/callback",
            "http://[::ffff:127.0.0.1]:1/callback",
            "http://LOCALHOST:1/callback",
            "http://localhost.evil.test:1/callback",
        ] {
            assert!(!matches(registered, asked), "{asked}");
        }
        assert!(!matches("http://localhost/callback", "http://LocalHost:1/callback"));
        assert!(!matches("http://127.0.0.1:33418/", "http://127.0.0.1:33418"), "the slash counts");
        assert!(!matches("cursor://a.b/oauth/callback", "cursor://a.b:1/oauth/callback"));
    }

    /// Attack A30.
    #[test]
    fn a30_what_a_browser_would_run_or_open_cannot_be_registered() {
        for bad in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "blob:https://a.example/1",
            "vbscript:x",
            "about:blank",
            "view-source:https://a.example/",
            "filesystem:https://a.example/x",
            "intent://x#Intent;end",
            "http://assistant.example.com/",
            "http://127.0.0.2/",
            "http://0.0.0.0/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost.evil.test/",
            "http://127.0.0.1@evil.example/",
            "https://a.example/#x",
            "https://a.example/#",
            "https://u@a.example/",
            "https://u:p@a.example/",
            "https://*.example.com/",
            "https://a.example\\@evil.example/",
            "https://cl\u{0430}ude.ai/",
            "https:/a.example/",
            "https:a.example",
            "https:///a.example/",
            "https://a.example./",
            "/callback",
            "callback",
            "",
            "https://",
            "https://a.example/ b",
            "java\nscript:alert(1)",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
            assert_eq!(kind(bad), None);
        }
        assert!(check(&format!("https://a.example/{}", "a".repeat(3000))).is_err());
    }

    #[test]
    fn a_page_that_hands_on_what_it_gets_is_not_its_owners_alone() {
        assert!(leads_to_its_owner_alone("https://claude.ai/api/mcp/auth_callback"));
        for uri in [
            "https://vscode.dev/redirect",
            "https://insiders.vscode.dev/redirect?x=1",
            "http://127.0.0.1:1/callback",
            "cursor://anysphere.cursor-mcp/oauth/callback",
        ] {
            assert!(!leads_to_its_owner_alone(uri), "{uri}");
        }
        assert!(leads_to_its_owner_alone("https://vscode.dev/redirected"));
    }

    #[test]
    fn a_redirect_uri_is_https_loopback_or_of_a_private_scheme() {
        for (good, expected, shown) in [
            ("https://assistant.example.com/callback?x=1", RedirectKind::Https, "assistant.example.com"),
            ("https://xn--clude-5ve.ai/", RedirectKind::Https, "xn--clude-5ve.ai"),
            ("http://127.0.0.1/", RedirectKind::Loopback, "127.0.0.1"),
            ("http://127.0.0.1", RedirectKind::Loopback, "127.0.0.1"),
            ("http://[::1]:33418/callback", RedirectKind::Loopback, "[::1]"),
            ("http://localhost:8080/", RedirectKind::Loopback, "localhost"),
            ("cursor://anysphere.cursor-mcp/oauth/callback", RedirectKind::PrivateUse, "cursor:"),
            ("com.example.app:/callback", RedirectKind::PrivateUse, "com.example.app:"),
        ] {
            assert_eq!(check(good), Ok(expected), "{good}");
            assert_eq!(host(good).as_deref(), Some(shown));
        }
    }
}
