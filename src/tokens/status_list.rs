//! Status lists: which of our tokens count no more, signed, for backends that do not ask (draft-ietf-oauth-status-list).

use super::signing_keys::{KeyProblem, SigningKeys};
use crate::domain::resource::SigningAlgorithm;
use crate::domain::token_status::{ENTRIES_PER_LIST, TokenStatus, list_uri};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use miniz_oxide::deflate::compress_to_vec_zlib;
use serde_json::json;

/// The header `typ` of a status list (section 5.1).
pub const STATUS_LIST_TYP: &str = "statuslist+jwt";

/// Bits of an entry: valid, invalid and suspended need two.
const BITS: u8 = 2;
const ENTRIES_PER_BYTE: usize = 4;
const BYTES: usize = {
    assert!(ENTRIES_PER_LIST % 4 == 0 && ENTRIES_PER_LIST > 0);
    16_384
};

/// The smallest result: a list is made every few seconds at most.
const BEST: u8 = 9;

/// The statuses of one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<u8>);

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![0; BYTES])
    }
}

impl Statuses {
    /// Sets the status of a place, unless it has a worse one. A place past the list is none.
    pub fn set(&mut self, place: i64, status: TokenStatus) {
        let worst = self.get(place).or_worse(status);
        if let Some((byte, shift)) = position(place)
            && let Some(byte) = self.0.get_mut(byte)
        {
            *byte = (*byte & !(0b11 << shift)) | ((worst as u8) << shift);
        }
    }

    /// The status of a place.
    pub fn get(&self, place: i64) -> TokenStatus {
        let bits = position(place).and_then(|(byte, shift)| Some((self.0.get(byte)? >> shift) & 0b11)).unwrap_or(0);
        [TokenStatus::Valid, TokenStatus::Suspended]
            .into_iter()
            .find(|status| *status as u8 == bits)
            .unwrap_or(TokenStatus::Invalid)
    }

    /// The list as a signed token. `ttl`: for how many seconds it may be gone by.
    ///
    /// # Errors
    /// No key signs at `now`.
    pub fn sign(&self, issuer: &str, list: i64, now: i64, ttl: u32, keys: &SigningKeys) -> Result<String, KeyProblem> {
        // By then no token lives that has an entry of now.
        const LIFE_SECONDS: i64 = 3600;
        let algorithm = SigningAlgorithm::default();
        let key = keys
            .signer(algorithm, now)
            .ok_or_else(|| KeyProblem(format!("there is no {} key that signs yet", algorithm.as_str())))?;
        let packed = compress_to_vec_zlib(&self.0, BEST);
        let claims = json!({
            "sub": list_uri(issuer, list),
            "iss": issuer,
            "iat": now,
            "exp": now.saturating_add(LIFE_SECONDS),
            "ttl": ttl,
            "status_list": { "bits": BITS, "lst": URL_SAFE_NO_PAD.encode(packed) },
        });
        key.sign(STATUS_LIST_TYP, claims.to_string().as_bytes())
    }
}

/// The byte and the bit where a place begins: the lowest bits are the first entry (section 4.1).
fn position(place: i64) -> Option<(usize, u8)> {
    let place = usize::try_from(place).ok()?;
    Some((place / ENTRIES_PER_BYTE, u8::try_from(place % ENTRIES_PER_BYTE).ok()? * BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_packed_as_the_draft_shows_it() {
        // Section 4.1, the example with two bits: 1, 2, 0, 3 is 0xc9.
        let mut statuses = Statuses::default();
        statuses.set(0, TokenStatus::Invalid);
        statuses.set(1, TokenStatus::Suspended);
        assert_eq!(statuses.0[0] & 0b1111, 0xc9 & 0b1111);
        statuses.set(5, TokenStatus::Suspended);
        assert_eq!(statuses.0[1], 0b1000);
        assert_eq!(statuses.get(5), TokenStatus::Suspended);
        assert_eq!(statuses.get(4), TokenStatus::Valid);
    }

    #[test]
    fn a_worse_status_stays_and_a_place_past_the_list_is_none() {
        let mut statuses = Statuses::default();
        statuses.set(7, TokenStatus::Invalid);
        statuses.set(7, TokenStatus::Suspended);
        assert_eq!(statuses.get(7), TokenStatus::Invalid);
        statuses.set(8, TokenStatus::Suspended);
        statuses.set(8, TokenStatus::Invalid);
        assert_eq!(statuses.get(8), TokenStatus::Invalid);
        let before = statuses.clone();
        statuses.set(ENTRIES_PER_LIST, TokenStatus::Invalid);
        statuses.set(-1, TokenStatus::Invalid);
        assert_eq!(statuses, before);
        assert_eq!(i64::try_from(BYTES * ENTRIES_PER_BYTE).unwrap(), ENTRIES_PER_LIST);
    }
}
