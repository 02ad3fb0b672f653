//! The proof without which GPUs do not get ready.

use hanzo_attestation::nvidia::{OcspOutcome, RimOutcome};
use hanzo_attestation::{AuthenticDevices, DeviceClaims, Digest384};

use super::GpuError;

/// Says that every device of one list was verified by this guest itself. Only [`ReadyPass::of`] makes one, out of claims
/// that only a verification makes:
/// ```compile_fail
/// use hanzo_attestation::Digest384;
/// let forged = hanzo_device::ReadyPass { list: Digest384([0; 48]) };
/// ```
#[derive(Debug)]
pub struct ReadyPass {
    list: Digest384,
}

impl ReadyPass {
    /// Judges what the guest's own verification found.
    ///
    /// # Establishes
    /// There are devices; each is genuine, answered `nonce`, runs firmware and driver whose measurements equal the vendor's
    /// reference values, and is not on hold.
    ///
    /// # Does not establish
    /// Which tier that makes: verifiers decide.
    ///
    /// # Errors
    /// [`GpuError::NotPassed`].
    pub fn of(devices: &AuthenticDevices, nonce: &[u8; 32]) -> Result<Self, GpuError> {
        let refuse = |index, why| Err(GpuError::NotPassed { index, why });
        if devices.devices().is_empty() {
            return refuse(0, "there are no devices");
        }
        for (index, device) in devices.devices().iter().enumerate() {
            let DeviceClaims::Nvidia(claims) = device.claims();
            if claims.nonce != *nonce {
                return refuse(index, "it answered another nonce");
            }
            match claims.rim {
                RimOutcome::Matched { .. } => {}
                RimOutcome::Missing { .. } => {
                    return refuse(index, "a RIM of its driver or VBIOS is missing among the endorsements");
                }
                RimOutcome::Mismatch { .. } => {
                    return refuse(index, "its measurements differ from the vendor's reference values");
                }
            }
            if claims.ocsp == OcspOutcome::OnHold {
                return refuse(index, "its certificate is on hold");
            }
        }
        Ok(Self { list: devices.digest() })
    }

    /// SHA-384 of JCS of the list that passed.
    pub fn list(&self) -> Digest384 {
        self.list
    }
}
