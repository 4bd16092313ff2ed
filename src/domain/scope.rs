//! Scopes: what a token lets its bearer do at one backend (RFC 6749 §3.3).

use super::sent::looks_secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::collections::btree_set;
use std::fmt;
use std::str::FromStr;

/// A text that is not a scope, or not a list of scopes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a scope is 1 to 128 printable ASCII characters without space, '\"' and '\\', and nothing that looks like a token or \
     a secret"
)]
pub struct InvalidScope;

/// One scope token: printable ASCII without space, `"` or `\` (RFC 6749 §3.3), at most 128 characters.
///
/// Scopes are written into logs and events, so what looks like a token or a secret is none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

impl Scope {
    /// The scope as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_scope_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    (1..=128).contains(&text.len()) && text.bytes().all(is_allowed) && !looks_secret(text)
}

impl FromStr for Scope {
    type Err = InvalidScope;
    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        is_scope_token(text).then(|| Self(text.to_owned())).ok_or(InvalidScope)
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;
    fn try_from(text: String) -> Result<Self, InvalidScope> {
        if is_scope_token(&text) { Ok(Self(text)) } else { Err(InvalidScope) }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of scopes; its text form is the space-delimited `scope` of the wire, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScopeSet(BTreeSet<Scope>);

impl ScopeSet {
    /// The most scopes that one request may name.
    pub const MAX_ASKED: usize = 256;

    /// True if there is no scope in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many scopes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if `scope` is one of them.
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// True if every scope of this set is also in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The scopes in order.
    pub fn iter(&self) -> btree_set::Iter<'_, Scope> {
        self.0.iter()
    }

    /// Splits into the scopes that `keep` accepts and the others.
    pub fn partition(self, mut keep: impl FnMut(&Scope) -> bool) -> (Self, Self) {
        let (kept, cut) = self.0.into_iter().partition(|scope| keep(scope));
        (Self(kept), Self(cut))
    }
}

impl<'a> IntoIterator for &'a ScopeSet {
    type Item = &'a Scope;
    type IntoIter = btree_set::Iter<'a, Scope>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl FromStr for ScopeSet {
    type Err = InvalidScope;
    /// Reads a space-delimited list; the empty text is the empty set.
    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let set = text.split(' ').map(Scope::from_str).collect::<Result<BTreeSet<_>, _>>()?;
        if set.len() > Self::MAX_ASKED { Err(InvalidScope) } else { Ok(Self(set)) }
    }
}

impl TryFrom<String> for ScopeSet {
    type Error = InvalidScope;
    fn try_from(text: String) -> Result<Self, InvalidScope> {
        text.parse()
    }
}

impl From<ScopeSet> for String {
    fn from(set: ScopeSet) -> Self {
        set.to_string()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&scope.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_scope_with_a_space_quote_backslash_or_control_character_is_refused() {
        for text in ["", "a b", "a\"b", "a\\b", "a\nb", "é", "a\u{200b}"] {
            assert!(text.parse::<Scope>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_doubled_space_is_refused() {
        assert!("a  b".parse::<ScopeSet>().is_err());
    }

    proptest! {
        #[test]
        fn a_scope_set_survives_its_text_form(names in proptest::collection::vec("[!#-\\[\\]-~]{1,20}", 0..8)) {
            let set: ScopeSet = names.iter().map(|name| name.parse().unwrap()).collect();
            prop_assert_eq!(set.to_string().parse::<ScopeSet>().unwrap(), set);
        }
    }
}
