//! The form at `/token`, read once and strictly (RFC 6749 §3.2, appendix B).

use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::target::RequestedTargets;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;

/// More pairs than any client needs.
const MAX_PAIRS: usize = 64;
/// More targets than any client needs.
const MAX_TARGETS: usize = 16;

/// The names we know; others are ignored, and never repeated in a message, since a token may stand in their place.
const KNOWN: &[&str] = &[
    "grant_type",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "scope",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "code",
    "code_verifier",
    "redirect_uri",
    "refresh_token",
    "response_type",
    "response_mode",
    "state",
    "nonce",
    "prompt",
    "max_age",
    "acr_values",
    "login_hint",
    "id_token_hint",
    "code_challenge",
    "code_challenge_method",
    "request_uri",
    "request",
    "token",
    "token_type_hint",
    "jti",
    "used_at",
    "for",
    "request_id",
];

/// The parameters: each at most once, but for `resource` and `audience`. An empty value counts as absent.
pub struct Params {
    single: HashMap<String, String>,
    targets: RequestedTargets,
}

/// Names only: the values hold tokens and secrets.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.single.keys().filter(|name| KNOWN.contains(&name.as_str()))).finish_non_exhaustive()
    }
}

impl Params {
    /// Reads an `application/x-www-form-urlencoded` body.
    ///
    /// # Errors
    /// Text that is not form-encoded UTF-8, a repeated parameter, or too many of them.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut single = HashMap::new();
        let mut targets = RequestedTargets::default();
        let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        for (index, pair) in pairs.enumerate() {
            if index >= MAX_PAIRS {
                let detail = format!("more than {MAX_PAIRS} parameters");
                return Err(Refusal::new(ReasonCode::ParameterTooMany, detail));
            }
            let (name, value) = split_pair(pair)?;
            match name.as_str() {
                "resource" | "audience" if value.is_empty() => {}
                "resource" => targets.resources.push(value),
                "audience" => targets.audiences.push(value),
                _ => {
                    let known = KNOWN.iter().find(|known| **known == name).copied();
                    if single.insert(name, value).is_some() {
                        let detail = format!("{} was sent more than once", known.unwrap_or("an unknown parameter"));
                        return Err(Refusal::new(ReasonCode::ParameterRepeated, detail));
                    }
                }
            }
        }
        if targets.resources.len() + targets.audiences.len() > MAX_TARGETS {
            let detail = format!("more than {MAX_TARGETS} values of resource and audience");
            return Err(Refusal::new(ReasonCode::ParameterTooMany, detail));
        }
        Ok(Self { single, targets })
    }

    /// Takes the members of a JSON object for parameters: texts and whole numbers.
    ///
    /// # Errors
    /// A member of another kind, or too many of them.
    pub fn of_members(members: Map<String, Value>) -> Result<Self, Refusal> {
        if members.len() > MAX_PAIRS {
            return Err(Refusal::new(ReasonCode::ParameterTooMany, format!("more than {MAX_PAIRS} parameters")));
        }
        let mut single = HashMap::new();
        for (name, value) in members {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) if number.is_i64() => number.to_string(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    let known = KNOWN.iter().find(|known| **known == name).copied();
                    let detail = format!("{} is no text and no whole number", known.unwrap_or("an unknown parameter"));
                    return Err(Refusal::new(ReasonCode::ParameterInvalid, detail));
                }
            };
            single.insert(name, text);
        }
        Ok(Self { single, targets: RequestedTargets::default() })
    }

    /// The value, if there is one that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.single.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value.
    ///
    /// # Errors
    /// [`ReasonCode::ParameterMissing`].
    pub fn require(&self, name: &'static str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::new(ReasonCode::ParameterMissing, format!("{name} is missing")))
    }

    /// True if there is anything besides these.
    pub fn has_others(&self, names: &[&str]) -> bool {
        !self.targets.is_empty() || self.single.keys().any(|name| !names.contains(&name.as_str()))
    }

    /// `resource` and `audience`.
    pub fn targets(&self) -> &RequestedTargets {
        &self.targets
    }
}

fn split_pair(pair: &[u8]) -> Result<(String, String), Refusal> {
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    let name = decode(halves.next().unwrap_or_default());
    let value = decode(halves.next().unwrap_or_default());
    name.zip(value).ok_or_else(|| {
        Refusal::new(ReasonCode::ParameterInvalid, "the body is not form-encoded UTF-8 (a broken %-escape?)")
    })
}

/// Decodes one form-encoded text; none for a broken escape, or bytes that are not UTF-8.
///
/// Lenient decoders replace what they cannot read, and then two different inputs mean the same.
pub fn decode(encoded: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(*rest.next()?)? << 4 | hex(*rest.next()?)?,
            other => *other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reason(body: &str) -> ReasonCode {
        Params::parse(body.as_bytes()).unwrap_err().reason
    }

    #[test]
    fn only_resource_and_audience_may_repeat() {
        let params = Params::parse(b"resource=https%3A%2F%2Fa.example&resource=b&audience=c&scope=a+b").unwrap();
        assert_eq!(params.targets().resources, ["https://a.example", "b"]);
        assert_eq!(params.targets().audiences, ["c"]);
        assert_eq!(params.get("scope"), Some("a b"));
        for body in ["scope=a&scope=b", "scope=&scope=b", "subject_token=a&subject_token=a", "x=1&x=2"] {
            assert_eq!(reason(body), ReasonCode::ParameterRepeated, "{body}");
        }
    }

    #[test]
    fn an_unknown_name_is_not_repeated_in_the_message() {
        let refusal = Params::parse(b"eyJhbGciOi=1&eyJhbGciOi=2").unwrap_err();
        assert_eq!(refusal.detail, "an unknown parameter was sent more than once");
    }

    #[test]
    fn an_empty_value_counts_as_absent() {
        let params = Params::parse(b"scope=&resource=&audience").unwrap();
        assert_eq!(params.get("scope"), None);
        assert!(params.targets().is_empty());
        assert_eq!(params.require("scope").unwrap_err().reason, ReasonCode::ParameterMissing);
    }

    #[test]
    fn a_broken_escape_and_bytes_that_are_not_utf_8_are_refused() {
        for body in ["scope=%", "scope=%4", "scope=%zz", "scope=%ff", "%ff=a"] {
            assert_eq!(reason(body), ReasonCode::ParameterInvalid, "{body}");
        }
    }

    #[test]
    fn too_many_parameters_or_targets_are_refused() {
        let many = (0..65).map(|index| format!("p{index}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(reason(&many), ReasonCode::ParameterTooMany);
        assert_eq!(reason(&"resource=a&".repeat(17)), ReasonCode::ParameterTooMany);
    }

    proptest! {
        #[test]
        fn what_a_client_encodes_is_what_we_read(name in "[a-z_]{1,12}", value in "\\PC{0,40}") {
            let body = url::form_urlencoded::Serializer::new(String::new()).append_pair(&name, &value).finish();
            prop_assume!(name != "resource" && name != "audience");
            let params = Params::parse(body.as_bytes()).unwrap();
            prop_assert_eq!(params.get(&name), Some(value.as_str()).filter(|value| !value.is_empty()));
        }
    }
}
