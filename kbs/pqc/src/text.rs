//! Lower-case hex, the one text form of keys and signatures.

use crate::PqcError;

/// Lower-case hex of long keys and signatures.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut digits = vec![0; bytes.len().saturating_mul(2)];
    match hex::encode_to_slice(bytes, &mut digits) {
        Ok(()) => String::from_utf8(digits).unwrap_or_default(),
        // Never: the slice has the right length.
        Err(_) => hex::encode(bytes),
    }
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
