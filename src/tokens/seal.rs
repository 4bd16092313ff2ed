//! Private keys at rest: JWE under `secrets_key` (RFC 7516, direct AES-256-GCM).

use crate::secrets::SecretsKey;
use josekit::jwe::{self, Dir, JweHeader};
use zeroize::Zeroizing;

const PURPOSE: &str = "seal private keys";

/// Seals a text.
pub fn seal(key: &SecretsKey, plain: &str) -> String {
    seal_for(key, PURPOSE, plain)
}

/// Seals a text for one purpose: for another it does not open.
pub fn seal_for(key: &SecretsKey, purpose: &str, plain: &str) -> String {
    let content_key = Zeroizing::new(key.derive(purpose));
    let encrypter = Dir.encrypter_from_bytes(content_key.as_slice()).expect("direct encryption takes any key");
    let mut header = JweHeader::new();
    header.set_content_encryption("A256GCM");
    jwe::serialize_compact(plain.as_bytes(), &header, &encrypter).expect("the key has the 256 bits of A256GCM")
}

/// Opens a sealed text; none if it was sealed under another key or altered.
pub fn open(key: &SecretsKey, sealed: &str) -> Option<String> {
    open_for(key, PURPOSE, sealed)
}

/// Opens what [`seal_for`] sealed for this purpose.
pub fn open_for(key: &SecretsKey, purpose: &str, sealed: &str) -> Option<String> {
    let content_key = Zeroizing::new(key.derive(purpose));
    let decrypter = Dir.decrypter_from_bytes(content_key.as_slice()).ok()?;
    let (plain, header) = jwe::deserialize_compact(sealed, &decrypter).ok()?;
    if header.content_encryption() != Some("A256GCM") {
        return None;
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_opens_under_its_own_key_only() {
        let key = SecretsKey::generate();
        let sealed = seal(&key, "a private key");
        assert!(!sealed.contains("private"));
        assert_ne!(sealed, seal(&key, "a private key"), "the nonce is new each time");
        assert_eq!(open(&key, &sealed).as_deref(), Some("a private key"));
        assert_eq!(open(&SecretsKey::generate(), &sealed), None);
    }

    #[test]
    fn an_altered_text_does_not_open() {
        let key = SecretsKey::generate();
        let sealed = seal(&key, "a private key");
        let (head, tag) = sealed.rsplit_once('.').unwrap();
        let other = if tag.starts_with('A') { "B" } else { "A" };
        assert_eq!(open(&key, &format!("{head}.{other}{}", &tag[1..])), None);
        assert_eq!(open(&key, ""), None);
        assert_eq!(open(&key, "a.b.c.d.e"), None);
    }
}
