//! Codes and refresh tokens as texts: a family's id, which of its texts this is, and a MAC that only this server can make.
//!
//! So none of them is stored, not even as a digest, and the one that was given last can be given again when its answer was
//! lost. Whoever reads the database can make none; whether one counts is for the row of its family to say.

use crate::secrets::{SecretsKey, equal, mac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const CODE_PREFIX: &str = "pac_";
const REFRESH_PREFIX: &str = "prf_";
const FAMILY_PREFIX: &str = "fam_";

/// Makes and reads codes and refresh tokens.
#[derive(Debug)]
pub struct GrantTokens {
    code_key: [u8; 32],
    refresh_key: [u8; 32],
}

impl GrantTokens {
    pub(super) fn new(key: &SecretsKey) -> Self {
        Self { code_key: key.derive("authorization code"), refresh_key: key.derive("refresh token") }
    }

    /// The code of a family.
    pub fn code(&self, family: &str) -> String {
        let id = family.strip_prefix(FAMILY_PREFIX).unwrap_or(family);
        format!("{CODE_PREFIX}{id}.{}", tag(&self.code_key, &[family.as_bytes()]))
    }

    /// The family of a code; none if this server did not make it.
    pub fn family_of_code(&self, code: &str) -> Option<String> {
        let (id, sent) = code.strip_prefix(CODE_PREFIX)?.split_once('.')?;
        let family = format!("{FAMILY_PREFIX}{id}");
        equal(tag(&self.code_key, &[family.as_bytes()]).as_bytes(), sent.as_bytes()).then_some(family)
    }

    /// The refresh token of a family and generation.
    pub fn refresh_token(&self, family: &str, generation: i64) -> String {
        let id = family.strip_prefix(FAMILY_PREFIX).unwrap_or(family);
        let tag = tag(&self.refresh_key, &[family.as_bytes(), &generation.to_be_bytes()]);
        format!("{REFRESH_PREFIX}{id}.{generation}.{tag}")
    }

    /// Family and generation of a refresh token; none if this server did not make it.
    pub fn family_of_refresh_token(&self, token: &str) -> Option<(String, i64)> {
        let mut parts = token.strip_prefix(REFRESH_PREFIX)?.split('.');
        let (id, generation, sent) = (parts.next()?, parts.next()?, parts.next()?);
        let family = format!("{FAMILY_PREFIX}{id}");
        let number: i64 = generation.parse().ok()?;
        // One spelling: "07" and "+7" are not 7.
        if parts.next().is_some() || number.to_string() != generation {
            return None;
        }
        let right = tag(&self.refresh_key, &[family.as_bytes(), &number.to_be_bytes()]);
        equal(right.as_bytes(), sent.as_bytes()).then_some((family, number))
    }
}

fn tag(key: &[u8; 32], parts: &[&[u8]]) -> String {
    URL_SAFE_NO_PAD.encode(mac(key, parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sent::looks_secret;

    #[test]
    fn a_code_and_a_refresh_token_are_read_back_and_nothing_else_is() {
        let tokens = GrantTokens::new(&SecretsKey::generate());
        let family = crate::secrets::random_id("fam");
        let (code, refresh) = (tokens.code(&family), tokens.refresh_token(&family, 7));
        assert_eq!(tokens.family_of_code(&code), Some(family.clone()));
        assert_eq!(tokens.family_of_refresh_token(&refresh), Some((family.clone(), 7)));
        assert_eq!(tokens.family_of_code(&refresh), None);
        assert_eq!(tokens.family_of_refresh_token(&code), None);
        let other = GrantTokens::new(&SecretsKey::generate());
        assert_eq!(other.family_of_code(&code), None);
        assert_eq!(other.family_of_refresh_token(&refresh), None);
        for changed in [
            refresh.replace(".7.", ".8."),
            refresh.replace(".7.", ".07."),
            format!("{refresh}.x"),
            refresh[..refresh.len() - 1].to_owned(),
        ] {
            assert_eq!(tokens.family_of_refresh_token(&changed), None, "{changed}");
        }
    }

    #[test]
    fn they_are_recognised_where_they_do_not_belong() {
        let tokens = GrantTokens::new(&SecretsKey::generate());
        assert!(looks_secret(&tokens.code("fam_x")) && looks_secret(&tokens.refresh_token("fam_x", 0)));
    }
}
