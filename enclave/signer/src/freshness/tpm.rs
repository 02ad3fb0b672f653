//! A counter in a TPM's NV memory: as fresh as whoever keeps the TPM's state, so weak under a host that emulates it.

use super::{FreshnessError, FreshnessSource, Head};

const VIA: &str = "tpm nv";

/// Refuses: this program drives no TPM for signers. It stands here so that a configuration that asks for one is told so.
pub struct TpmNv;

impl FreshnessSource for TpmNv {
    fn newest(&mut self) -> Result<Head, FreshnessError> {
        Err(FreshnessError::NotBuilt { via: VIA })
    }

    fn advance(&mut self, _: Head, _: Head) -> Result<(), FreshnessError> {
        Err(FreshnessError::NotBuilt { via: VIA })
    }
}
