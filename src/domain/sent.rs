//! What a client sent, as it may be written down: clients put tokens and secrets in the wrong place.

/// The most of a text that is repeated, in characters.
const MOST_REPEATED: usize = 512;

/// A text from a request, for a message to operators: quoted, or left out if it looks like a token or a secret.
pub fn repeatable(text: &str) -> String {
    if looks_secret(text) {
        "something that looks like a token or a secret".to_owned()
    } else {
        format!("{:?}", text.chars().take(MOST_REPEATED).collect::<String>())
    }
}

/// True if a word of the text looks like a JWT or a part of one, like a secret of ours, or like a random value of 160
/// bits and more.
///
/// A password that somebody thought up cannot be told from a name.
pub fn looks_secret(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let is_uri = text.contains(':');
    text.split(|c| !is_word(c)).any(|word| is_ours_or_jwt(word) || is_random(word))
        || (!is_uri && text.split(|c| !is_base64(c)).any(is_random))
}

/// `eyJ` is how base64 of a JSON object begins; `pcs_`, `pac_`, `prf_` and `prt_` are how our client secrets, codes, refresh
/// tokens and registration access tokens begin.
fn is_ours_or_jwt(word: &str) -> bool {
    ["eyJ", "pcs_", "pac_", "prf_", "prt_"].iter().any(|start| word.starts_with(start))
}

/// Names of this length are made of words; none has digits and letters of both cases all through it.
fn is_random(word: &str) -> bool {
    let has = |test: fn(&u8) -> bool| word.as_bytes().iter().any(&test);
    let is_hex = word.len() >= 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_mixed = word.len() >= 27 && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    has(u8::is_ascii_digit) && (is_hex || is_mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_uris_are_repeated() {
        for text in [
            "",
            "recrods",
            "https://records.example.com/api/v2?tenant=42",
            "urn:example:3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            "the_very_long_name_of_a_scope_that_somebody_thought_up_in_2024",
            "https://www.googleapis.com/auth/CloudPlatform.Read-Only/v2/Projects",
            "a\nb",
        ] {
            assert_eq!(repeatable(text), format!("{text:?}"));
        }
        assert_eq!(repeatable(&"é".repeat(600)).chars().count(), 514);
    }

    #[test]
    fn tokens_parts_of_tokens_and_secrets_are_not() {
        let signature = "2XsGq5c0V4lXo8SOQJmJ4nqCkq0rVdfu1yWc7iQ2q8dB1cOXoWyvhNQxGkFJYkU9H2m1GZ7hYw3c1r0dJb1E9w";
        for secret in [
            "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
            "eyJzdWIiOiJhbGljZSJ9",
            "pcs_AbCdEf",
            signature,
            "https://records.example.com/api?access_token=eyJhbGciOiJFUzI1NiJ9",
            "https://user:pcs_AbCdEf@records.example.com",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "dGhp/yBpcyBh+HNlY3JldCBr/XkgMTIzNDU2Nzg5MEE=",
        ] {
            let told = repeatable(secret);
            assert!(told.starts_with("something that looks like"), "{told}");
        }
    }
}
