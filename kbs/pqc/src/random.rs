//! Randomness: AWS-LC's SP 800-90A CTR_DRBG, seeded by the operating system. The guest mixes RDSEED into seeds of
//! its own (`enclave/device`) and hands them to the `from_seed` constructors.

use crate::PqcError;

/// Fills `out` with random bytes.
///
/// # Errors
/// [`PqcError::Backend`] if the generator cannot be seeded. Callers stop; there is no weaker source to fall back to.
pub fn fill(out: &mut [u8]) -> Result<(), PqcError> {
    aws_lc_rs::rand::fill(out).map_err(|_| PqcError::Backend {
        what: "random generator",
    })
}
