//! The only source of randomness; client secrets, and the key that seals what must not be read in the database.

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Random bytes from the operating system.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks for randomness")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// `prefix`, an underscore, and 128 random bits in base64url.
pub fn random_id(prefix: &str) -> String {
    format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(random_bytes::<16>()))
}

/// `prefix`, an underscore, the time, and 128 random bits in base64url: ids in the order of their making.
///
/// An index over random ids is written all over; one over ordered ids grows at its end, which halves the cost of an
/// audit event in the database. The time, Unix milliseconds in nine digits of base 36, tells nothing that `iat` does not.
pub fn ordered_id(prefix: &str, at_ms: i64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut rest = u64::try_from(at_ms).unwrap_or(0);
    let mut time = [b'0'; 9];
    for place in time.iter_mut().rev() {
        let digit = usize::try_from(rest % 36).unwrap_or(0);
        *place = DIGITS.get(digit).copied().unwrap_or(b'0');
        rest /= 36;
    }
    let time: String = time.iter().copied().map(char::from).collect();
    format!("{prefix}_{time}{}", URL_SAFE_NO_PAD.encode(random_bytes::<16>()))
}

/// When an [`ordered_id`] with this prefix was made, in Unix milliseconds; none for any other text.
pub fn made_at_ms(prefix: &str, id: &str) -> Option<i64> {
    let rest = id.strip_prefix(prefix)?.strip_prefix('_')?;
    let time = rest.get(..9).filter(|time| time.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z')))?;
    i64::from_str_radix(time, 36).ok()
}

/// `prefix`, an underscore, and 256 random bits in base64url: for who has it and nobody else.
pub fn random_token(prefix: &str) -> SecretString {
    format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>())).into()
}

/// SHA-256 in base64url: how opaque tokens and handles are stored.
pub fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

/// Compares without telling where the difference is.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// `secrets_key`: 256 bits that are not in the database. It seals private keys, and other keys are derived from it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretsKey([u8; 32]);

impl std::fmt::Debug for SecretsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretsKey(redacted)")
    }
}

impl SecretsKey {
    /// A new key.
    pub fn generate() -> Self {
        Self(random_bytes())
    }

    /// Reads the base64 text of 32 bytes; none if it is not that.
    pub fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text.trim()).ok()?.try_into().ok().map(Self)
    }

    /// The base64 text, for the key file.
    pub fn to_base64(&self) -> SecretString {
        STANDARD.encode(self.0).into()
    }

    /// Tells this key from another one without telling anything of it.
    pub fn fingerprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.derive("fingerprint")))
    }

    /// A key for one purpose: HMAC-SHA256 of the purpose's name.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        mac(&self.0, &[purpose.as_bytes()])
    }
}

/// HMAC-SHA256 over the parts, each preceded by its length.
pub fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

const CLIENT_SECRET_PREFIX: &str = "pcs_";
const TAG_LENGTH: usize = 11; // 64 bits in base64url

/// A new client secret: 256 random bits, and a 64-bit tag that only this server can make.
///
/// The tag lets a stranger's guess be refused before argon2id, which costs milliseconds, is run.
pub fn new_client_secret(key: &SecretsKey) -> SecretString {
    let random = URL_SAFE_NO_PAD.encode(random_bytes::<32>());
    format!("{CLIENT_SECRET_PREFIX}{random}{}", tag(key, &random)).into()
}

/// True if this server made the secret, for whichever client.
pub fn is_own_client_secret(key: &SecretsKey, secret: &str) -> bool {
    let body = secret.strip_prefix(CLIENT_SECRET_PREFIX).unwrap_or_default();
    let Some((random, tag_sent)) = body.len().checked_sub(TAG_LENGTH).and_then(|at| body.split_at_checked(at)) else {
        return false;
    };
    equal(tag(key, random).as_bytes(), tag_sent.as_bytes())
}

fn tag(key: &SecretsKey, random: &str) -> String {
    let mut tag = URL_SAFE_NO_PAD.encode(mac(&key.derive("client secret tag"), &[random.as_bytes()]));
    tag.truncate(TAG_LENGTH);
    tag
}

/// argon2id with 19 MiB, two passes, one lane: the OWASP minimum. The secret has 256 bits, so it is not what keeps it.
fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

/// The argon2id hash of a client secret, in PHC form. Takes milliseconds: call it off the async threads.
pub fn hash_client_secret(secret: &SecretString) -> String {
    hasher()
        .hash_password(secret.expose_secret().as_bytes())
        .expect("the parameters are within argon2's limits")
        .to_string()
}

/// True if the secret is the one that was hashed. Takes milliseconds: call it off the async threads.
pub fn verify_client_secret(hash: &str, secret: &str) -> bool {
    hasher().verify_password(secret.as_bytes(), hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_verifies_against_its_own_hash_only() {
        let key = SecretsKey::generate();
        let (secret, other) = (new_client_secret(&key), new_client_secret(&key));
        let hash = hash_client_secret(&secret);
        assert!(hash.starts_with("$argon2id$"));
        assert!(verify_client_secret(&hash, secret.expose_secret()));
        assert!(!verify_client_secret(&hash, other.expose_secret()));
    }

    #[test]
    fn ordered_ids_sort_by_their_time_and_never_repeat() {
        let ids =
            [0, 1, 35, 36, 1_800_000_000_000, 1_800_000_000_001, i64::MAX / 100_000].map(|at| ordered_id("req", at));
        assert!(ids.is_sorted_by(|a, b| a[..13] < b[..13]), "{ids:?}");
        assert_ne!(ordered_id("req", 1), ordered_id("req", 1));
        assert!(ids.iter().all(|id| id.len() == 35));
        for at_ms in [0, 1, 35, 36, 1_800_000_000_000] {
            assert_eq!(made_at_ms("req", &ordered_id("req", at_ms)), Some(at_ms));
        }
        for other in ["", "req", "req_", "req_1", "req_éééééééééé", "req_+00000000", "dtk_000000000a", "req_00000000A"]
        {
            assert_eq!(made_at_ms("req", other), None, "{other}");
        }
    }

    #[test]
    fn a_guessed_secret_is_recognised_as_foreign() {
        let key = SecretsKey::generate();
        assert!(is_own_client_secret(&key, new_client_secret(&key).expose_secret()));
        assert!(!is_own_client_secret(&key, new_client_secret(&SecretsKey::generate()).expose_secret()));
        for guess in
            ["", "pcs_", "secret", "pcs_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "pcs_éééééééé"]
        {
            assert!(!is_own_client_secret(&key, guess), "{guess:?}");
        }
    }

    #[test]
    fn a_secrets_key_survives_its_text_form_and_is_never_printed() {
        let key = SecretsKey::generate();
        let text = key.to_base64();
        assert_eq!(SecretsKey::from_base64(text.expose_secret()).unwrap().derive("x"), key.derive("x"));
        assert!(SecretsKey::from_base64("c2hvcnQ=").is_none());
        assert_eq!(format!("{key:?}"), "SecretsKey(redacted)");
    }
}
