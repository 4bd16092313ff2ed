//! SHA-256 hashes as text: 64 digits of lower-case hex, and no other spelling.

/// A SHA-256 hash.
pub type Hash = [u8; 32];

const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

/// The hash as text.
pub fn encode(hash: &Hash) -> String {
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or('0');
    hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The hash of a text; none for any other text.
pub fn decode(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 {
        return None;
    }
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(hash)
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// True if the text is the hash, without writing either anew.
pub fn is(text: &str, hash: &Hash) -> bool {
    decode(text).is_some_and(|decoded| decoded == *hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_one_spelling() {
        let hash: Hash = std::array::from_fn(|index| u8::try_from(index * 8 % 256).unwrap());
        let text = encode(&hash);
        assert_eq!((text.len(), &text[..8]), (64, "00081018"));
        assert_eq!(decode(&text), Some(hash));
        assert!(is(&text, &hash) && !is(&text, &[0; 32]));
        for other in [text.to_uppercase(), text[1..].to_owned(), format!("{text}0"), text.replace('0', "g")] {
            assert_eq!(decode(&other), None, "{other}");
        }
    }
}
