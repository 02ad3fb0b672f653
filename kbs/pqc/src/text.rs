//! Lower-case hex, the one text form of keys and signatures.

use crate::PqcError;

/// Lower-case hex of long keys, ciphertexts and signatures: two digits at a time, where `hex::encode` writes one.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| DIGITS.get(usize::from(n & 15)).copied().unwrap_or(b'0');
    let mut digits = Vec::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        digits.extend_from_slice(&[digit(byte >> 4), digit(*byte)]);
    }
    String::from_utf8(digits).unwrap_or_default()
}

/// Decodes exactly `len` bytes of lower-case hex; the length is checked before anything is allocated.
pub(crate) fn decode(what: &'static str, len: usize, text: &str) -> Result<Vec<u8>, PqcError> {
    if text.len() != 2 * len {
        return Err(PqcError::Length {
            what,
            expected: len,
            got: text.len() / 2,
        });
    }
    if !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err(PqcError::Hex { what });
    }
    hex::decode(text).map_err(|_| PqcError::Hex { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_written_as_hex_writes_it_and_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(encode(&all), hex::encode(&all));
        assert_eq!(decode("all", 256, &encode(&all)), Ok(all));
        assert_eq!(encode(&[]), "");
        assert!(decode("one", 1, "0A").is_err());
    }
}
