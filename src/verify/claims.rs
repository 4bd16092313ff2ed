//! Claims read with their kinds: what is there but of the wrong kind is a problem, never as good as absent.

use crate::domain::scope::{Scope, ScopeSet};
use serde_json::{Map, Value};

/// 9999-12-31T23:59:59Z. A later time is a mistake, for example milliseconds (rule JO-08).
const LATEST: f64 = 253_402_300_799.0;

/// The claims of one token. Every problem is a sentence that names the claim and holds no value.
#[derive(Clone, Copy)]
pub(crate) struct Claims<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Claims<'a> {
    pub(crate) fn has(self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn value(self, name: &str) -> Option<&'a Value> {
        self.0.get(name)
    }

    pub(crate) fn text(self, name: &str) -> Result<Option<&'a str>, String> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name} is not a text")),
        }
    }

    #[cfg(feature = "server")]
    pub(crate) fn owned_text(self, name: &str) -> Result<Option<String>, String> {
        Ok(self.text(name)?.map(str::to_owned))
    }

    pub(crate) fn required_text(self, name: &str) -> Result<&'a str, String> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| format!("{name} is missing"))
    }

    /// A NumericDate in whole seconds (RFC 7519 §2). Fractions are allowed and cut off.
    pub(crate) fn time(self, name: &str) -> Result<Option<i64>, String> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let Value::Number(number) = value else { return Err(format!("{name} is not a number")) };
        let seconds = number.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds));
        let seconds = seconds.ok_or_else(|| format!("{name} is not between 1970 and the year 9999"))?;
        #[expect(clippy::cast_possible_truncation, reason = "the line above keeps it within 38 bits")]
        Ok(Some(seconds as i64))
    }

    /// `aud`: one text or several (RFC 7519 §4.1.3). Required everywhere (rule JW-09).
    pub(crate) fn audiences(self) -> Result<Vec<String>, String> {
        let audiences = self.texts("aud", true)?;
        if audiences.is_empty() { Err("aud is missing".to_owned()) } else { Ok(audiences) }
    }

    /// An array of texts; also one text, where the claim may be either. Absent is empty.
    pub(crate) fn texts(self, name: &str, may_be_one: bool) -> Result<Vec<String>, String> {
        self.0.get(name).map_or(Ok(Vec::new()), |value| texts_of(name, value, may_be_one))
    }

    /// `scope` as one text (RFC 8693 §4.2), or `scp` as providers write it: a text, or an array.
    ///
    /// What cannot be a scope here is left out: a subject token without it can only give less.
    pub(crate) fn scopes(self) -> Result<Option<ScopeSet>, String> {
        let words = if let Some(scope) = self.text("scope")? {
            vec![scope.to_owned()]
        } else if self.has("scp") {
            self.texts("scp", true)?
        } else {
            return Ok(None);
        };
        let scopes = words.iter().flat_map(|text| text.split(' ')).filter_map(|word| word.parse::<Scope>().ok());
        Ok(Some(scopes.take(ScopeSet::MAX_ASKED).collect()))
    }
}

/// An array of texts, or one text if it may be one.
pub(crate) fn texts_of(name: &str, value: &Value, may_be_one: bool) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) if may_be_one => Ok(vec![text.clone()]),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| format!("{name} has something but texts in it")))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) | Value::String(_) => {
            Err(format!("{name} is not an array of texts"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: &Value) -> Claims<'_> {
        Claims(value.as_object().unwrap())
    }

    #[test]
    fn a_numeric_date_is_a_number_between_1970_and_9999() {
        let time = |value: &Value| claims(&json!({ "exp": value })).time("exp");
        assert_eq!(time(&json!(1_795_500_000)), Ok(Some(1_795_500_000)));
        assert_eq!(time(&json!(1_795_500_000.9)), Ok(Some(1_795_500_000)));
        assert_eq!(time(&json!(253_402_300_799_i64)), Ok(Some(253_402_300_799)));
        for bad in [
            json!("1795500000"),
            json!(-1),
            json!(-0.5),
            json!(253_402_300_800_i64),
            json!(1e300),
            json!(null),
            json!(true),
        ] {
            assert!(time(&bad).is_err(), "{bad}");
        }
        assert_eq!(claims(&json!({})).time("exp"), Ok(None));
    }

    #[test]
    fn aud_is_a_text_or_an_array_of_texts() {
        let audiences = |value: &Value| claims(value).audiences();
        assert_eq!(audiences(&json!({"aud": "a"})).unwrap(), ["a"]);
        assert_eq!(audiences(&json!({"aud": ["a", "b"]})).unwrap(), ["a", "b"]);
        for bad in
            [json!({}), json!({"aud": []}), json!({"aud": 1}), json!({"aud": ["a", 1]}), json!({"aud": {"a": 1}})]
        {
            assert!(audiences(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scope_and_scp_are_read_as_providers_write_them() {
        let scopes = |value: &Value| claims(value).scopes().map(|set| set.map(|set| set.to_string()));
        assert_eq!(scopes(&json!({})), Ok(None));
        assert_eq!(scopes(&json!({"scope": ""})), Ok(Some(String::new())));
        assert_eq!(scopes(&json!({"scope": "b a"})), Ok(Some("a b".to_owned())));
        assert_eq!(scopes(&json!({"scp": "b a"})), Ok(Some("a b".to_owned())));
        assert_eq!(scopes(&json!({"scp": ["b", "a"]})), Ok(Some("a b".to_owned())));
        assert_eq!(scopes(&json!({"scope": "a \"b\" c\\"})), Ok(Some("a".to_owned())));
        assert!(scopes(&json!({"scope": ["a"]})).is_err());
        assert!(scopes(&json!({"scp": 1})).is_err());
    }
}
