//! One Token Status List (draft-ietf-oauth-status-list): the signed list, and what it says of a token.

use super::claims::Claims;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The `typ` of a list.
pub(super) const STATUS_LIST_TYP: &str = "statuslist+jwt";

/// The largest list as it is sent, and inflated, in bytes. With two bits a token that is 16 million tokens.
pub(super) const MAX_LIST_JWT_BYTES: usize = 2 * 1024 * 1024;
const MAX_LIST_BYTES: usize = 4 * 1024 * 1024;

/// How often to ask if the list does not say, and the bounds of what it may say, in seconds.
const TTL_SECONDS: i64 = 60;
const TTL_BOUNDS: (i64, i64) = (1, 3600);

/// How far the issuer's clock may be ahead, in seconds.
const SKEW_SECONDS: i64 = 30;

/// Where a token's status is: the claim `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StatusReference {
    pub(super) uri: String,
    pub(super) index: u64,
}

impl StatusReference {
    /// Reads the claim; none if there is none. A list elsewhere than with the issuer is refused: whoever could name it
    /// would say for himself that nothing was revoked.
    pub(super) fn read(claims: Claims<'_>, issuer: Option<&str>) -> Result<Option<Self>, String> {
        let Some(status) = claims.value("status") else { return Ok(None) };
        let list = status.get("status_list").and_then(Value::as_object).ok_or("status has no status_list")?;
        let index = list.get("idx").and_then(Value::as_u64).ok_or("idx of its status is not a number from 0 on")?;
        let uri = list.get("uri").and_then(Value::as_str).ok_or("uri of its status is not a text")?;
        if issuer.is_some_and(|issuer| !is_list_of(uri, issuer)) {
            return Err("the list of its status is not the issuer's".to_owned());
        }
        Ok(Some(Self { uri: uri.to_owned(), index }))
    }
}

/// True for `<issuer>/status/<name>`, with a name that cannot lead elsewhere.
fn is_list_of(uri: &str, issuer: &str) -> bool {
    let name = uri.strip_prefix(issuer).and_then(|rest| rest.strip_prefix("/status/"));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    name.is_some_and(|name| (1..=64).contains(&name.len()) && name.bytes().all(is_plain))
}

/// What a list says of one token (section 7.1 of the draft).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenStatus {
    Valid,
    Revoked,
    Suspended,
    /// A value that means nothing here.
    Other(u8),
}

/// A list whose signature was verified.
#[derive(Clone)]
pub(super) struct StatusList {
    bits: u8,
    bytes: Vec<u8>,
    pub(super) issued_at: i64,
    pub(super) ttl: i64,
}

impl std::fmt::Debug for StatusList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusList")
            .field("bits", &self.bits)
            .field("issued_at", &self.issued_at)
            .finish_non_exhaustive()
    }
}

impl StatusList {
    /// Reads the claims of a list that was fetched from `uri` and that the issuer signed.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub(super) fn read(claims: &Map<String, Value>, uri: &str, issuer: &str, now: i64) -> Result<Self, String> {
        let of = Claims(claims);
        if of.required_text("sub")? != uri {
            return Err("it is another list: its sub is not its address".to_owned());
        }
        if of.text("iss")?.is_some_and(|iss| iss != issuer) {
            return Err("it is another issuer's".to_owned());
        }
        let issued_at = of.time("iat")?.ok_or("iat is missing")?;
        if issued_at > now.saturating_add(SKEW_SECONDS) {
            return Err("its iat is in the future".to_owned());
        }
        if of.time("exp")?.is_some_and(|expires_at| expires_at <= now) {
            return Err("it has ended".to_owned());
        }
        let ttl = match claims.get("ttl") {
            None => TTL_SECONDS,
            Some(ttl) => ttl.as_i64().filter(|ttl| *ttl > 0).ok_or("its ttl is not a number above 0")?,
        };
        let list = claims.get("status_list").and_then(Value::as_object).ok_or("it has no status_list")?;
        let bits = list.get("bits").and_then(Value::as_u64).and_then(|bits| u8::try_from(bits).ok());
        let bits = bits.filter(|bits| matches!(bits, 1 | 2 | 4 | 8)).ok_or("its bits are not 1, 2, 4 or 8")?;
        let packed = list.get("lst").and_then(Value::as_str).ok_or("its lst is not a text")?;
        let packed = URL_SAFE_NO_PAD.decode(packed).map_err(|_| "its lst is not base64url".to_owned())?;
        let bytes = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&packed, MAX_LIST_BYTES)
            .map_err(|_| format!("its lst is not zlib of at most {MAX_LIST_BYTES} bytes"))?;
        Ok(Self { bits, bytes, issued_at, ttl: ttl.clamp(TTL_BOUNDS.0, TTL_BOUNDS.1) })
    }

    /// The status at an index; none beyond the end of the list.
    pub(super) fn status(&self, index: u64) -> Option<TokenStatus> {
        let (bits, per_byte) = (u64::from(self.bits), 8 / u64::from(self.bits));
        let byte = *self.bytes.get(usize::try_from(index / per_byte).ok()?)?;
        // The first status is in the lowest bits (section 4.1).
        let value = (u16::from(byte) >> (bits * (index % per_byte))) & ((1_u16 << bits) - 1);
        Some(match u8::try_from(value).ok()? {
            0 => TokenStatus::Valid,
            1 => TokenStatus::Revoked,
            2 => TokenStatus::Suspended,
            other => TokenStatus::Other(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const URI: &str = "https://auth.example.com/status/1";
    const ISSUER: &str = "https://auth.example.com";

    fn claims(bits: u8, lst: &str) -> Value {
        json!({"sub": URI, "iss": ISSUER, "iat": 1000, "exp": 2000, "ttl": 30, "status_list": {"bits": bits, "lst": lst}})
    }

    fn read(claims: &Value) -> Result<StatusList, String> {
        StatusList::read(claims.as_object().unwrap(), URI, ISSUER, 1500)
    }

    fn changed(name: &str, value: Value) -> Value {
        let mut claims = claims(1, "eNrbuRgAAhcBXQ");
        claims[name] = value;
        claims
    }

    /// The examples of section 4.1 of the draft.
    #[test]
    fn the_lists_of_the_draft_are_read_as_it_says() {
        let one_bit = read(&claims(1, "eNrbuRgAAhcBXQ")).unwrap();
        let statuses: Vec<TokenStatus> = (0..16).map(|index| one_bit.status(index).unwrap()).collect();
        let expected = [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1];
        assert_eq!(statuses, expected.map(|bit| if bit == 1 { TokenStatus::Revoked } else { TokenStatus::Valid }));
        assert_eq!(one_bit.status(16), None, "beyond the end");
        assert_eq!(one_bit.status(u64::MAX), None);
        let two_bits = read(&claims(2, "eNo76fITAAPfAgc")).unwrap();
        let expected = [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3];
        for (index, value) in (0..).zip(expected) {
            let status = match value {
                0 => TokenStatus::Valid,
                1 => TokenStatus::Revoked,
                2 => TokenStatus::Suspended,
                other => TokenStatus::Other(other),
            };
            assert_eq!(two_bits.status(index), Some(status), "{index}");
        }
        assert_eq!(two_bits.status(12), None);
    }

    #[test]
    fn four_and_eight_bits_are_read_too() {
        let lst = URL_SAFE_NO_PAD.encode(miniz_oxide::deflate::compress_to_vec_zlib(&[0x21, 0xf0], 6));
        let four = read(&claims(4, &lst)).unwrap();
        let of = |list: &StatusList, index| list.status(index).unwrap();
        assert_eq!([of(&four, 0), of(&four, 1)], [TokenStatus::Revoked, TokenStatus::Suspended]);
        assert_eq!([of(&four, 2), of(&four, 3)], [TokenStatus::Valid, TokenStatus::Other(15)]);
        let eight = read(&claims(8, &lst)).unwrap();
        assert_eq!([of(&eight, 0), of(&eight, 1)], [TokenStatus::Other(0x21), TokenStatus::Other(0xf0)]);
        assert_eq!(eight.status(2), None);
    }

    #[test]
    fn a_list_that_is_not_this_list_of_this_issuer_now_is_refused() {
        for (name, value, problem) in [
            ("sub", json!("https://auth.example.com/status/2"), "another list"),
            ("sub", json!(null), "sub is not a text"),
            ("iss", json!("https://elsewhere.example"), "another issuer"),
            ("iat", json!(1531), "in the future"),
            ("iat", json!("1000"), "iat is not a number"),
            ("exp", json!(1500), "ended"),
            ("ttl", json!(0), "ttl"),
            ("ttl", json!("30"), "ttl"),
            ("status_list", json!([]), "no status_list"),
            ("status_list", json!({"bits": 3, "lst": "eNrbuRgAAhcBXQ"}), "bits"),
            ("status_list", json!({"bits": 257, "lst": "eNrbuRgAAhcBXQ"}), "bits"),
            ("status_list", json!({"bits": 1, "lst": "eNrbuRgAAhcBXQ="}), "base64url"),
            ("status_list", json!({"bits": 1, "lst": "AAAA"}), "zlib"),
            ("status_list", json!({"bits": 1}), "lst"),
        ] {
            let refused = read(&changed(name, value.clone())).unwrap_err();
            assert!(refused.contains(problem), "{name} {value}: {refused}");
        }
        let mut without_iat = claims(1, "eNrbuRgAAhcBXQ");
        without_iat.as_object_mut().unwrap().remove("iat");
        assert_eq!(read(&without_iat).unwrap_err(), "iat is missing");
    }

    #[test]
    fn a_list_that_inflates_past_the_limit_is_refused_there() {
        let lst =
            |length: usize| URL_SAFE_NO_PAD.encode(miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; length], 9));
        assert!(read(&claims(1, &lst(MAX_LIST_BYTES))).is_ok());
        assert!(read(&claims(1, &lst(MAX_LIST_BYTES + 1))).unwrap_err().contains("zlib of at most"));
    }

    #[test]
    fn a_status_that_points_away_from_the_issuer_is_refused() {
        let reference = |status: Value| {
            let claims = json!({ "status": status });
            StatusReference::read(Claims(claims.as_object().unwrap()), Some(ISSUER))
        };
        let with_uri = |uri: &str| reference(json!({"status_list": {"idx": 3, "uri": uri}}));
        assert_eq!(with_uri(URI), Ok(Some(StatusReference { uri: URI.to_owned(), index: 3 })));
        for uri in [
            "https://evil.example/status/1",
            "https://auth.example.com.evil.example/status/1",
            "https://auth.example.com/other/1",
            "https://auth.example.com/status/",
            "https://auth.example.com/status/../token",
            "https://auth.example.com/status/1?x",
            "https://auth.example.com/status/1#x",
            "HTTPS://auth.example.com/status/1",
        ] {
            assert_eq!(with_uri(uri), Err("the list of its status is not the issuer's".to_owned()), "{uri}");
        }
        for status in [
            json!({}),
            json!([]),
            json!({"status_list": []}),
            json!({"status_list": {"uri": URI}}),
            json!({"status_list": {"idx": -1, "uri": URI}}),
            json!({"status_list": {"idx": "1", "uri": URI}}),
            json!({"status_list": {"idx": 1.5, "uri": URI}}),
            json!({"status_list": {"idx": 1}}),
        ] {
            assert!(reference(status.clone()).is_err(), "{status}");
        }
    }
}
