//! Base64 (RFC 4648 section 4) at compile time, so that pinned certificates are plain byte arrays in the binary.

/// Decodes a constant; a wrong length or letter is a compile error.
#[allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "const evaluation of constants of this crate alone"
)]
pub(crate) const fn decode<const N: usize>(text: &str) -> [u8; N] {
    let text = text.as_bytes();
    let mut out = [0; N];
    let (mut i, mut at) = (0, 0);
    let (mut bits, mut held) = (0_u32, 0);
    while i < text.len() {
        if text[i] != b'=' {
            bits = (bits << 6) | value(text[i]);
            held += 6;
            if held >= 8 {
                held -= 8;
                out[at] = (bits >> held) as u8;
                at += 1;
                bits &= (1 << held) - 1;
            }
        }
        i += 1;
    }
    assert!(at == N, "constant has another length");
    out
}

#[allow(clippy::panic, reason = "const evaluation of constants of this crate alone")]
const fn value(letter: u8) -> u32 {
    (match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("not base64"),
    }) as u32
}
