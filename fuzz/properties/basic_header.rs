//! What must hold of any bytes as `Authorization: Basic`, and of any id and secret that a client puts there.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use procura::domain::client::ClientAuthentication;
use procura::domain::names::ClientId;
use procura::domain::sent::looks_secret;
use procura::grants::params::Params;
use procura::oauth::client_auth::{Credentials, basic};
use url::form_urlencoded;

pub(crate) fn holds(bytes: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        as_sent(&value);
    }
    // A line of the id and then the secret, as a client would send them.
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some((id, secret)) = text.split_once('\n')
    {
        as_encoded(id, secret);
    }
}

fn headers(value: &HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, value.clone())])
}

fn encode(id: &str, secret: &str) -> HeaderValue {
    let form = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let encoded = STANDARD.encode(format!("{}:{}", form(id), form(secret)));
    HeaderValue::try_from(format!("Basic {encoded}")).expect("base64 is ASCII")
}

/// Either refused, or Basic in one reading: that of another decoder.
fn as_sent(value: &HeaderValue) {
    let Ok(read) = basic(&headers(value)) else { return };
    let (id, secret) = read.expect("there is a header");
    let text = value.to_str().expect("what was accepted is ASCII");
    let (scheme, encoded) = text.split_once(' ').expect("a scheme and credentials");
    assert!(scheme.eq_ignore_ascii_case("basic"));
    let decoded = STANDARD.decode(encoded.trim()).expect("canonical base64");
    assert_eq!(STANDARD.encode(&decoded), encoded.trim());
    let colon = decoded.iter().position(|byte| *byte == b':').expect("a colon");
    for (half, read) in [(&decoded[..colon], &id), (&decoded[colon + 1..], &secret)] {
        // `&` and `=` would end a value of a form; here they stand for themselves.
        let escaped = half.iter().flat_map(|byte| match byte {
            b'&' => b"%26".to_vec(),
            b'=' => b"%3D".to_vec(),
            other => vec![*other],
        });
        let half: Vec<u8> = escaped.collect();
        let form = [b"half=".as_slice(), &half].concat();
        let (_, lenient) = form_urlencoded::parse(&form).next().expect("one pair");
        assert_eq!(&lenient, read);
    }
    as_encoded(&id, &secret);
}

fn as_encoded(id: &str, secret: &str) {
    let headers = headers(&encode(id, secret));
    assert_eq!(basic(&headers), Ok(Some((id.to_owned(), secret.to_owned()))), "decode(encode(x)) is x");
    let credentials = |form: &[(&str, &str)]| {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        Credentials::read(&headers, &Params::parse(form.as_bytes()).expect("a form"))
    };
    let read = credentials(&[]).expect("credentials alone are enough");
    assert_eq!(read.claimed(), id.parse::<ClientId>().ok().filter(|_| !looks_secret(id)));
    let method = if secret.is_empty() { ClientAuthentication::None } else { ClientAuthentication::ClientSecretBasic };
    assert_eq!(read.method(), method);
    assert!(credentials(&[("client_id", id)]).is_ok(), "the same client may be named in the form too");
    assert!(credentials(&[("client_id", &format!("{id}x"))]).is_err(), "another client may not");
    assert!(credentials(&[("client_secret", "x")]).is_err(), "nor a second secret");
}
