//! JSON, read strictly: no repeated member at any depth, and bounded nesting (RFC 8725 §3.7, RFC 7515 §4).

use crate::domain::delegation::ActChain;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;

/// How deep objects and arrays may be nested. Real tokens stay below six.
const MAX_DEPTH: usize = 16;

/// How deep `act` may be nested: one more than the longest chain that can be configured, so that the chain itself is
/// what gets refused; past this the rest of the text is not read at all.
const MAX_ACT_DEPTH: usize = ActChain::MAX_DEPTH + 1;

/// Why a text is not a JSON object that we read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JsonProblem {
    /// More `act` in `act` than any chain may have.
    ChainTooDeep,
    /// In words, without any value of the text.
    Malformed(String),
}

/// Reads one JSON object and nothing after it.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, JsonProblem> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonProblem::Malformed("is not UTF-8".to_owned()))?;
    let chain_too_deep = Cell::new(false);
    let mut input = serde_json::Deserializer::from_str(text);
    let seed = Strict { depth: 0, acts: Some(0), chain_too_deep: &chain_too_deep };
    let value = seed.deserialize(&mut input).and_then(|value| input.end().map(|()| value));
    match value {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(JsonProblem::Malformed("is not a JSON object".to_owned())),
        Err(_) if chain_too_deep.get() => Err(JsonProblem::ChainTooDeep),
        Err(problem) => Err(JsonProblem::Malformed(format!("is not acceptable JSON: {problem}"))),
    }
}

/// Reads one JSON object in which nothing is repeated and nothing is nested too deep.
///
/// # Errors
/// In words, without any value of the text.
pub fn plain_object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    object(bytes).map_err(|problem| match problem {
        JsonProblem::ChainTooDeep => "is nested too deep".to_owned(),
        JsonProblem::Malformed(problem) => problem,
    })
}

/// One value at a depth. `acts` counts the `act` members that lead to it, as long as nothing else does.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    acts: Option<usize>,
    chain_too_deep: &'a Cell<bool>,
}

impl Strict<'_> {
    fn below<E: Error>(self, member: Option<&str>) -> Result<Self, E> {
        let acts = self.acts.filter(|_| member == Some("act")).map(|acts| acts + 1);
        if acts.is_some_and(|acts| acts > MAX_ACT_DEPTH) {
            self.chain_too_deep.set(true);
            return Err(E::custom("act is nested too deep"));
        }
        // The objects of a chain are counted by themselves.
        let depth = if acts.is_some() { 1 } else { self.depth + 1 };
        if depth > MAX_DEPTH {
            return Err(E::custom(format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(Self { depth, acts, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.below(None)?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom("a member is repeated"));
            }
            let inner = self.below(Some(&name))?;
            let value = members.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn malformed(text: &str) -> bool {
        matches!(object(text.as_bytes()), Err(JsonProblem::Malformed(_)))
    }

    #[test]
    fn a_repeated_member_is_refused_at_any_depth() {
        assert!(malformed(r#"{"sub":"a","sub":"b"}"#));
        assert!(malformed(r#"{"a":{"b":[{"c":1,"c":1}]}}"#));
        assert!(malformed(r#"{"sub":"a","\u0073ub":"b"}"#));
        assert!(object(br#"{"a":{"sub":1},"b":{"sub":2}}"#).is_ok());
    }

    #[test]
    fn what_is_not_one_object_in_utf_8_is_refused() {
        for text in ["", "[]", "1", "{} {}", "{}x", "\u{feff}{}", r#"{"a":1e400}"#, r#"{"a":NaN}"#] {
            assert!(malformed(text), "{text:?}");
        }
        assert!(matches!(object(b"{\"a\":\"\xff\"}"), Err(JsonProblem::Malformed(_))));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(object(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert!(malformed(&nested(MAX_DEPTH)));
        assert!(malformed(&nested(100_000)));
    }

    #[test]
    fn an_act_bomb_is_named_as_such_and_costs_no_stack() {
        let chain = |depth: usize| format!("{}{{}}{}", "{\"act\":".repeat(depth), "}".repeat(depth));
        assert!(object(chain(MAX_ACT_DEPTH).as_bytes()).is_ok());
        for depth in [MAX_ACT_DEPTH + 1, 1_000, 100_000] {
            assert_eq!(object(chain(depth).as_bytes()), Err(JsonProblem::ChainTooDeep), "{depth}");
        }
        // Only a chain from the top counts as one.
        assert!(malformed(&format!("{{\"x\":{}}}", chain(1_000))));
    }

    proptest! {
        #[test]
        fn a_plain_object_reads_as_serde_json_reads_it(
            members in proptest::collection::btree_map(".{0,8}", (any::<i64>(), ".{0,8}"), 0..6),
        ) {
            let members: Map<String, Value> =
                members.into_iter().map(|(name, (number, text))| (name, serde_json::json!([number, text, null, true]))).collect();
            let text = serde_json::to_vec(&members).unwrap();
            prop_assert_eq!(object(&text).unwrap(), members);
        }
    }
}
