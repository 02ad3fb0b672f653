//! The two hashes of measured boot.

use aws_lc_rs::digest;
use hanzo_attestation::digest::{Digest256, Digest384};

/// SHA-256 over the parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> Digest256 {
    let mut out = [0; 32];
    out.copy_from_slice(of(&digest::SHA256, parts).as_ref());
    Digest256(out)
}

/// SHA-384 over the parts, one after the other.
pub fn sha384(parts: &[&[u8]]) -> Digest384 {
    let mut out = [0; 48];
    out.copy_from_slice(of(&digest::SHA384, parts).as_ref());
    Digest384(out)
}

fn of(algorithm: &'static digest::Algorithm, parts: &[&[u8]]) -> digest::Digest {
    let mut context = digest::Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    context.finish()
}
