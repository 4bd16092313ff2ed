//! Identifiers, parsed once at the door: a value of one of these types is well formed.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text is not an identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {problem}")]
pub struct InvalidName {
    /// What the text should have been, for example `client id`.
    pub kind: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                $check(text).map_err(|problem| InvalidName { kind: $kind, problem })?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                $check(&text).map_err(|problem| InvalidName { kind: $kind, problem })?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The OAuth `client_id` of an LLM client (RFC 6749 §2.2, appendix A.1): 1 to 256 visible ASCII characters.
    ClientId, "client id", visible_ascii
}
name! {
    /// The registry's own name of an identity provider; also names its login callback.
    IdpId, "identity provider id", slug
}
name! {
    /// The registry's own name of a backend.
    ResourceId, "resource id", slug
}
name! {
    /// The registry's own name of a Cedar policy.
    PolicyId, "policy id", slug
}
name! {
    /// The user as backends see them, the `sub` of our tokens: 1 to 255 bytes without control or invisible characters.
    UserId, "user id", printable
}

fn visible_ascii(text: &str) -> Result<(), &'static str> {
    match text.len() {
        0 => Err("is empty"),
        1..=256 if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(()),
        1..=256 => Err("has a character that is not visible ASCII"),
        _ => Err("is longer than 256 characters"),
    }
}

fn slug(text: &str) -> Result<(), &'static str> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    match text.len() {
        0 => Err("is empty"),
        1..=64 if starts_well && text.chars().all(allowed) => Ok(()),
        1..=64 => Err("may hold only a-z, 0-9, '-', '_' and '.', and starts with a letter or digit"),
        _ => Err("is longer than 64 characters"),
    }
}

fn printable(text: &str) -> Result<(), &'static str> {
    match text.len() {
        0 => Err("is empty"),
        1..=255 if text.chars().any(is_unseen) => Err("has a control or invisible character"),
        1..=255 => Ok(()),
        _ => Err("is longer than 255 bytes"),
    }
}

/// True for what cannot be seen, or turns the text around it: control characters, zero-width and bidirectional ones.
/// Two names that look alike must not be two names (STANDARDS A57, A77).
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_is_visible_ascii() {
        assert!("https://chatgpt.com/oauth/client.json".parse::<ClientId>().is_ok());
        assert!("a b".parse::<ClientId>().is_err());
        assert!("".parse::<ClientId>().is_err());
        assert!("é".parse::<ClientId>().is_err());
        assert!("a".repeat(257).parse::<ClientId>().is_err());
    }

    #[test]
    fn a_registry_id_is_a_lower_case_slug() {
        assert!("records-v2.eu".parse::<ResourceId>().is_ok());
        assert!("Records".parse::<ResourceId>().is_err());
        assert!("-records".parse::<ResourceId>().is_err());
    }

    #[test]
    fn a_user_id_with_a_control_or_invisible_character_is_refused() {
        assert!("corp|al\u{200b}ice".parse::<UserId>().is_err());
        assert!("corp|\u{202e}ecila".parse::<UserId>().is_err());
        assert!("corp|Zoë 王".parse::<UserId>().is_ok());
        assert!("corp|alice".parse::<UserId>().is_ok());
        assert!("corp|al\nice".parse::<UserId>().is_err());
    }
}
