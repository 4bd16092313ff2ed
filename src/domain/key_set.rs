//! Public keys as somebody registers them (RFC 7517 §5).

use serde_json::Value;

/// Members of a JWK that only its owner may know (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Checks that it is a set of public keys.
///
/// # Errors
/// In words that follow the name of the set.
pub fn check_public(jwks: &Value) -> Result<(), &'static str> {
    let keys = jwks.get("keys").and_then(Value::as_array).filter(|keys| !keys.is_empty());
    let keys = keys.ok_or("is not a JWK Set: an object with an array of `keys` (RFC 7517 section 5)")?;
    for key in keys {
        let members = key.as_object().filter(|members| members.get("kty").is_some_and(Value::is_string));
        let members = members.ok_or("has a key without `kty` (RFC 7517 section 4.1)")?;
        if PRIVATE_MEMBERS.iter().any(|member| members.contains_key(*member)) {
            return Err("holds a private or symmetric key: register public keys only, and replace this one");
        }
    }
    // TOML has no null; `nan` and `inf` become one, and could not be exported again.
    if has_null(jwks) { Err("has a null, or a number that is not finite") } else { Ok(()) }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_set_with_a_private_key_is_refused() {
        let public = serde_json::json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}]});
        assert_eq!(check_public(&public), Ok(()));
        for member in PRIVATE_MEMBERS {
            let mut private = public.clone();
            private["keys"][0][member] = "secret".into();
            assert!(check_public(&private).unwrap_err().starts_with("holds a private"), "{member}");
        }
        assert!(check_public(&serde_json::json!({"keys": []})).is_err());
        let key = serde_json::json!({"kty": "EC", "x": {"y": [null]}});
        assert!(check_public(&serde_json::json!({ "keys": [key] })).unwrap_err().starts_with("has a null"));
        assert!(check_public(&serde_json::json!({"keys": [{"kty": "EC"}], "x": null})).is_err());
        assert!(check_public(&serde_json::json!([])).is_err());
    }
}
