//! What must hold of any bytes as the form at `/token`: read as another decoder reads them, or refused for a reason; and
//! what is read can be written and read again.

use procura::grants::params::Params;
use procura::grants::request::{GrantRequest, grant_type};
use url::form_urlencoded;

/// The bounds of the form.
const MOST_PAIRS: usize = 64;
const MOST_TARGETS: usize = 16;

pub(crate) fn holds(body: &[u8]) {
    // The lenient decoder of the URL Standard; it replaces what it cannot read.
    let pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let params = Params::parse(body);
    assert_eq!(params.is_ok(), is_acceptable(body, &pairs), "accepted exactly if it is strict and unambiguous");
    let Ok(params) = params else { return };
    same(&params, &pairs);
    same(&Params::parse(&encoded(&pairs)).expect("what was read can be written and read again"), &pairs);
    let request = grant_type(&params).and_then(|grant| GrantRequest::parse(grant, &params));
    let Ok(request) = request else { return };
    let written = written(&request);
    let params = Params::parse(&encoded(&written)).expect("a request can be written as a form");
    let again = grant_type(&params).and_then(|grant| GrantRequest::parse(grant, &params));
    assert_eq!(self::written(&again.expect("a request that was written is one")), written);
}

fn is_acceptable(body: &[u8], pairs: &[(String, String)]) -> bool {
    let escapes = body.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    let escapes_are_whole = escapes
        .map(|(at, _)| body.get(at + 1..at + 3).unwrap_or_default())
        .all(|digits| digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit));
    let targets = pairs.iter().filter(|(name, value)| is_target(name) && !value.is_empty()).count();
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).filter(|name| !is_target(name)).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    escapes_are_whole && is_utf_8(body) && names.len() == count && targets <= MOST_TARGETS && pairs.len() <= MOST_PAIRS
}

/// Each name and each value by itself: an escape does not reach over `=` or `&`.
fn is_utf_8(body: &[u8]) -> bool {
    body.split(|byte| *byte == b'&').all(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        halves.all(|half| {
            let mut bytes = Vec::new();
            let mut rest = half;
            while let Some((first, after)) = rest.split_first() {
                let digits = (*first == b'%').then(|| after.get(..2)).flatten();
                let escaped = digits.and_then(|digits| std::str::from_utf8(digits).ok());
                let escaped = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(escaped.unwrap_or(*first));
                rest = if escaped.is_some() { &after[2..] } else { after };
            }
            std::str::from_utf8(&bytes).is_ok()
        })
    })
}

fn is_target(name: &str) -> bool {
    name == "resource" || name == "audience"
}

fn same(params: &Params, pairs: &[(String, String)]) {
    for (name, value) in pairs.iter().filter(|(name, _)| !is_target(name)) {
        assert_eq!(params.get(name), Some(value.as_str()).filter(|value| !value.is_empty()), "{name:?}");
    }
    let of = |wanted: &str| -> Vec<&String> {
        pairs.iter().filter(|(name, value)| name == wanted && !value.is_empty()).map(|(_, value)| value).collect()
    };
    assert!(params.targets().resources.iter().eq(of("resource")));
    assert!(params.targets().audiences.iter().eq(of("audience")));
}

fn encoded(pairs: &[(String, String)]) -> Vec<u8> {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
}

/// The request as a client would send it.
fn written(request: &GrantRequest) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut put = |name: &str, value: &str| pairs.push((name.to_owned(), value.to_owned()));
    let (targets, scopes) = match request {
        GrantRequest::TokenExchange(exchange) => {
            put("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
            put("subject_token", &exchange.subject_token);
            put("subject_token_type", &exchange.subject_token_type);
            put("requested_token_type", exchange.requested_type.uri());
            if let Some((token, token_type)) = &exchange.actor {
                put("actor_token", token);
                put("actor_token_type", token_type);
            }
            (&exchange.targets, &exchange.scopes)
        }
        GrantRequest::ClientCredentials(own) => {
            put("grant_type", "client_credentials");
            (&own.targets, &own.scopes)
        }
        GrantRequest::AuthorizationCode(code) => {
            put("grant_type", "authorization_code");
            put("code", &code.code);
            if let Some(redirect_uri) = &code.redirect_uri {
                put("redirect_uri", redirect_uri);
            }
            if let Some(verifier) = &code.code_verifier {
                put("code_verifier", verifier);
            }
            (&code.targets, &None)
        }
        GrantRequest::RefreshToken(refresh) => {
            put("grant_type", "refresh_token");
            put("refresh_token", &refresh.refresh_token);
            (&refresh.targets, &refresh.scopes)
        }
    };
    targets.resources.iter().for_each(|resource| put("resource", resource));
    targets.audiences.iter().for_each(|audience| put("audience", audience));
    if let Some(scopes) = scopes {
        assert!(!scopes.is_empty() && scopes.to_string().split(' ').all(|scope| !scope.is_empty()));
        put("scope", &scopes.to_string());
    }
    pairs
}
