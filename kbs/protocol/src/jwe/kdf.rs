//! Concat KDF (SP 800-56A, as RFC 7518 section 4.6.2 uses it) and KMAC256 (SP 800-185 section 4).

use aws_lc_rs::digest::{Context, SHA256};
use cshake::CShake256;
use cshake::digest::{ExtendableOutput, Update, XofReader};
use zeroize::Zeroizing;

/// Rate of cSHAKE256 in bytes.
const RATE: usize = 136;

/// Concat KDF with SHA-256 for at most 32 bytes: `SHA-256(1 || Z || len(alg) || alg || len(apu) || apu || len(apv) || apv ||
/// bits)`, every number a big-endian u32, cut to `out`'s length.
pub fn concat_kdf(z: &[u8], algorithm: &str, apu: &[u8], apv: &[u8], out: &mut [u8]) {
    debug_assert!(out.len() <= 32, "one round of SHA-256");
    let mut hash = Context::new(&SHA256);
    hash.update(&1u32.to_be_bytes());
    hash.update(z);
    for part in [algorithm.as_bytes(), apu, apv] {
        hash.update(&length(part.len()));
        hash.update(part);
    }
    hash.update(&length(out.len() * 8));
    let digest = hash.finish();
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
}

fn length(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()
}

/// KMAC256 with output of `out`'s length and customization `s`.
pub fn kmac256(key: &[u8], x: &[u8], s: &[u8], out: &mut [u8]) {
    let mut mac = CShake256::new_with_function_name(b"KMAC", s);
    // bytepad(encode_string(K), 136)
    let mut padded = Zeroizing::new(Vec::with_capacity(2 * RATE + key.len()));
    padded.extend_from_slice(&left_encode(RATE as u64));
    padded.extend_from_slice(&left_encode(8 * key.len() as u64));
    padded.extend_from_slice(key);
    let length = padded.len().next_multiple_of(RATE);
    padded.resize(length, 0);
    mac.update(&padded);
    mac.update(x);
    let mut bits = left_encode(8 * out.len() as u64);
    bits.rotate_left(1); // right_encode: the length of the number stands after it
    mac.update(&bits);
    mac.finalize_xof().read(out);
}

/// Number of bytes, then the bytes: big endian, without leading zeros but for 0 itself.
fn left_encode(n: u64) -> Vec<u8> {
    let bytes = n.to_be_bytes();
    let zeros = bytes.iter().take(7).take_while(|b| **b == 0).count();
    let number = bytes.iter().skip(zeros);
    let mut out = vec![u8::try_from(8 - zeros).unwrap_or(8)];
    out.extend(number);
    out
}
