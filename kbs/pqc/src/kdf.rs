//! Key derivation: HKDF (RFC 5869) and the one-step KDF of SP 800-56C rev. 2, all inside AWS-LC.

use aws_lc_rs::hkdf::{self, KeyType, Salt};
use aws_lc_rs::kdf::{SskdfDigestAlgorithmId, get_sskdf_digest_algorithm, sskdf_digest};

use crate::PqcError;

/// HKDF-SHA-256, extract then expand, into the whole of `out`. `salt` is public, `ikm` secret.
///
/// # Errors
/// [`PqcError::OutputTooLong`] above 255 x 32 bytes.
pub fn hkdf_sha256(salt: &[u8], ikm: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), PqcError> {
    derive(hkdf::HKDF_SHA256, 255 * 32, salt, ikm, info, out)
}

/// HKDF-SHA-384, extract then expand, into the whole of `out`. `salt` is public, `ikm` secret.
///
/// # Errors
/// [`PqcError::OutputTooLong`] above 255 x 48 bytes.
pub fn hkdf_sha384(salt: &[u8], ikm: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), PqcError> {
    derive(hkdf::HKDF_SHA384, 255 * 48, salt, ikm, info, out)
}

/// One-step KDF with SHA-384: `SHA-384(counter || z || fixed_info)`, counter a big-endian u32 from 1.
///
/// # Errors
/// [`PqcError::Length`] for an empty `z` or an empty `out`, [`PqcError::OutputTooLong`] above 2^30 bytes.
///
/// # Spec
/// SP 800-56C rev. 2 section 4.1, option 1.
pub fn one_step(z: &[u8], fixed_info: &[u8], out: &mut [u8]) -> Result<(), PqcError> {
    const LIMIT: usize = 1 << 30;
    if z.is_empty() || out.is_empty() {
        return Err(PqcError::Length {
            what: "one-step KDF: Z and output",
            expected: 1,
            got: 0,
        });
    }
    if out.len() > LIMIT || z.len() > LIMIT || fixed_info.len() > LIMIT {
        return Err(PqcError::OutputTooLong {
            what: "one-step KDF",
            limit: LIMIT,
            got: out.len(),
        });
    }
    let algorithm =
        get_sskdf_digest_algorithm(SskdfDigestAlgorithmId::Sha384).ok_or(PqcError::Backend { what: "one-step KDF" })?;
    sskdf_digest(algorithm, z, fixed_info, out).map_err(|_| PqcError::Backend { what: "one-step KDF" })
}

struct OutputLen(usize);

impl KeyType for OutputLen {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive(
    algorithm: hkdf::Algorithm,
    limit: usize,
    salt: &[u8],
    ikm: &[u8],
    info: &[u8],
    out: &mut [u8],
) -> Result<(), PqcError> {
    if out.len() > limit {
        return Err(PqcError::OutputTooLong {
            what: "HKDF",
            limit,
            got: out.len(),
        });
    }
    let failed = |_| PqcError::Backend { what: "HKDF" };
    let prk = Salt::new(algorithm, salt).extract(ikm);
    prk.expand(&[info], OutputLen(out.len()))
        .map_err(failed)?
        .fill(out)
        .map_err(failed)
}
