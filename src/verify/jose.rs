//! Compact JWS, read strictly (RFC 7515, RFC 8725): three segments, canonical base64url, no repeated member.

use super::json::{self, JsonProblem};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The largest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The longest `kid`, in bytes. It is a key of a map and nothing else (rule JW-10).
pub const MAX_KID_BYTES: usize = 256;

/// Header parameters that would choose the key or change how the token is read (rules JO-01, JW-10).
const REFUSED_PARAMETERS: [&str; 6] = ["crit", "b64", "jwk", "jku", "x5u", "x5c"];

/// A compact JWS taken apart; nothing in it has been verified.
#[derive(Clone)]
pub struct Unverified {
    /// The JOSE header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
    /// The bytes that the signature is over.
    pub signing_input: String,
    /// The signature.
    pub signature: Vec<u8>,
}

impl std::fmt::Debug for Unverified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unverified").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Unverified {
    /// The header's `alg`; [`parse`] made sure that there is one.
    pub fn alg(&self) -> &str {
        self.header.get("alg").and_then(Value::as_str).unwrap_or_default()
    }

    /// The header's `kid`.
    pub fn kid(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }

    /// The header's `typ` as a media type: lower case, without `application/` (RFC 7515 §4.1.9).
    pub fn typ(&self) -> Option<String> {
        let typ = self.header.get("typ").and_then(Value::as_str)?.to_ascii_lowercase();
        Some(typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ))
    }
}

/// Why a text is not a compact JWS that we read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoseProblem {
    /// Not three segments separated by dots: an opaque token.
    #[error("not a compact JWS")]
    Opaque,
    /// Larger than 16 KiB.
    #[error("larger than 16 KiB")]
    TooLarge,
    /// In words.
    #[error("{0}")]
    Malformed(String),
    /// `crit`, `b64` or a key of its own in the header (rules JO-01, JW-10).
    #[error("{0}")]
    HeaderRefused(String),
    /// `act` nested deeper than any chain may be (rule TX-74); the rest was not read.
    #[error("act is nested deeper than any chain may be")]
    ChainTooDeep,
}

/// Takes a compact JWS apart.
///
/// # Errors
/// [`JoseProblem`]; no message holds a part of the token.
pub fn parse(token: &str) -> Result<Unverified, JoseProblem> {
    if token.len() > MAX_TOKEN_BYTES { Err(JoseProblem::TooLarge) } else { parse_of_any_size(token) }
}

/// As [`parse`], for what may be larger than a token and was bounded before.
pub(crate) fn parse_of_any_size(token: &str) -> Result<Unverified, JoseProblem> {
    if token.trim_start().starts_with('{') {
        return Err(JoseProblem::Malformed("JSON serialization; only compact serialization is read".to_owned()));
    }
    let segments: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = segments.as_slice() else {
        return Err(if segments.len() == 5 {
            JoseProblem::Malformed("five segments: an encrypted token (JWE), which is not read".to_owned())
        } else {
            JoseProblem::Opaque
        });
    };
    let signing_input =
        token.get(..header.len() + 1 + payload.len()).expect("both segments and the dot between are in the token");
    let header = object("header", header)?;
    check_header(&header)?;
    Ok(Unverified {
        claims: object("payload", payload)?,
        signature: decode("signature", signature)?,
        signing_input: signing_input.to_owned(),
        header,
    })
}

/// Decodes one segment. The engine takes neither padding nor white space nor bits that do not count (rule JO-02).
fn decode(segment: &str, text: &str) -> Result<Vec<u8>, JoseProblem> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| JoseProblem::Malformed(format!("the {segment} is not canonical base64url")))
}

fn object(segment: &str, text: &str) -> Result<Map<String, Value>, JoseProblem> {
    json::object(&decode(segment, text)?).map_err(|problem| match problem {
        JsonProblem::ChainTooDeep => JoseProblem::ChainTooDeep,
        JsonProblem::Malformed(problem) => JoseProblem::Malformed(format!("the {segment} {problem}")),
    })
}

fn check_header(header: &Map<String, Value>) -> Result<(), JoseProblem> {
    if let Some(name) = REFUSED_PARAMETERS.iter().find(|name| header.contains_key(**name)) {
        return Err(JoseProblem::HeaderRefused(format!("the header has {name}")));
    }
    let text = |name: &str| match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JoseProblem::Malformed(format!("the header's {name} is not a text"))),
    };
    text("typ")?;
    if text("alg")?.is_none_or(String::is_empty) {
        return Err(JoseProblem::Malformed("the header has no alg".to_owned()));
    }
    if text("kid")?.is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
        return Err(JoseProblem::HeaderRefused(format!("kid is longer than {MAX_KID_BYTES} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(header: &str, payload: &str, signature: &str) -> String {
        format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    fn problem(token: &str) -> JoseProblem {
        parse(token).unwrap_err()
    }

    #[test]
    fn a_compact_jws_is_taken_apart() {
        let text = token(r#"{"alg":"ES256","typ":"application/AT+JWT","kid":"k"}"#, r#"{"sub":"a"}"#, "AQID");
        let parsed = parse(&text).unwrap();
        assert_eq!((parsed.alg(), parsed.kid(), parsed.typ().as_deref()), ("ES256", Some("k"), Some("at+jwt")));
        assert_eq!(parsed.signature, [1, 2, 3]);
        assert_eq!(format!("{}.AQID", parsed.signing_input), text);
        assert!(!format!("{parsed:?}").contains("sub"), "claims are not printed");
    }

    #[test]
    fn what_has_not_three_segments_is_opaque() {
        for text in ["", "opaque", "a.b", "a.b.c.d", "a.b.c.d.e.f"] {
            assert_eq!(problem(text), JoseProblem::Opaque, "{text:?}");
        }
    }

    #[test]
    fn jwe_and_json_serialization_are_named() {
        assert!(problem("a.b.c.d.e").to_string().contains("JWE"));
        assert!(problem(r#"{"payload":"a.b.c"}"#).to_string().contains("JSON serialization"));
    }

    #[test]
    fn base64url_must_be_canonical() {
        let good = token(r#"{"alg":"ES256"}"#, "{}", "AQ");
        assert!(parse(&good).is_ok());
        for signature in ["AQ==", "AR", "A", "A Q", "AQ\n", "A+", "A/"] {
            let text = token(r#"{"alg":"ES256"}"#, "{}", signature);
            assert!(matches!(problem(&text), JoseProblem::Malformed(_)), "{signature:?}");
        }
        assert!(parse(&format!(" {good}")).is_err());
    }

    #[test]
    fn a_header_that_brings_its_own_key_or_rules_is_refused() {
        for parameter in [
            r#""crit":["exp"]"#,
            r#""crit":[]"#,
            r#""b64":false"#,
            r#""jwk":{}"#,
            r#""jku":"x""#,
            r#""x5u":"x""#,
            r#""x5c":[]"#,
        ] {
            let text = token(&format!(r#"{{"alg":"ES256",{parameter}}}"#), "{}", "AQ");
            assert!(matches!(problem(&text), JoseProblem::HeaderRefused(_)), "{parameter}");
        }
    }

    #[test]
    fn alg_typ_and_kid_are_texts_and_kid_is_short() {
        for header in
            ["{}", r#"{"alg":1}"#, r#"{"alg":""}"#, r#"{"alg":"ES256","kid":1}"#, r#"{"alg":"ES256","typ":[]}"#]
        {
            assert!(matches!(problem(&token(header, "{}", "AQ")), JoseProblem::Malformed(_)), "{header}");
        }
        let long = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(MAX_KID_BYTES + 1));
        assert!(matches!(problem(&token(&long, "{}", "AQ")), JoseProblem::HeaderRefused(_)));
    }

    #[test]
    fn a_token_past_sixteen_kibibytes_is_not_looked_at() {
        assert_eq!(problem(&"a".repeat(MAX_TOKEN_BYTES + 1)), JoseProblem::TooLarge);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,64}", header in "\\PC{0,32}", payload in "\\PC{0,32}") {
            let _ = parse(&text);
            let _ = parse(&token(&header, &payload, "AQ"));
        }
    }
}
