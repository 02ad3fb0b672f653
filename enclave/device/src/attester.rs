//! The boundary between the guest and whatever makes its evidence.

use hanzo_attestation::Digest256;
use hanzo_attestation::bundle::{CpuEvidence, DeviceEvidence};
use hanzo_attestation::statement::EvidenceRequest;

use crate::error::DeviceError;
use crate::nvml::{NvmlSurvey, ReadyPass};

/// Where the guest's clock comes from, as the keyset states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// The host can bend the clock: in-guest decisions that need a clock fail closed.
    Host,
    /// The counter's frequency and offset are fixed at launch, and the kernel's clock runs on it: SecureTSC, or a TDX guest
    /// whose clock source is the TSC.
    SecureTsc,
}

impl TimeSource {
    /// `host` or `securetsc`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::SecureTsc => "securetsc",
        }
    }
}

/// Something that makes evidence about this guest.
pub trait Attester: Send + Sync {
    /// What kind of evidence it makes, in the words of [`CpuEvidence::kind`]: a key broker is told before it is asked for a
    /// challenge.
    fn kind(&self) -> &'static str;

    /// Primary evidence that commits to `request`: REPORT_DATA of SNP and TDX, qualifying data of a vTPM.
    ///
    /// # Errors
    /// [`DeviceError`] when the machine has no security processor, refuses, or answers something else than asked.
    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, DeviceError>;

    /// Evidence of every GPU that this guest can see, each over `nonce`, in a stable order; none without GPUs.
    ///
    /// # Errors
    /// [`DeviceError`] when one of them gives none: a list with a gap is never returned.
    fn devices(&self, nonce: &[u8; 32]) -> Result<Vec<DeviceEvidence>, DeviceError> {
        let _ = nonce;
        Ok(Vec::new())
    }

    /// Lets the driver accept work on the GPUs of the last [`Attester::devices`], which `pass` says have passed. Until then
    /// they compute nothing.
    ///
    /// # Errors
    /// [`DeviceError`] if the pass is for another list, or the driver refuses.
    fn admit_devices(&self, pass: &ReadyPass) -> Result<(), DeviceError> {
        let _ = pass;
        Ok(())
    }

    /// What the driver says of each GPU of [`Attester::devices`], in that order; `None` without GPUs.
    ///
    /// # Errors
    /// [`DeviceError`] if the driver refuses.
    fn survey_devices(&self) -> Result<Option<NvmlSurvey>, DeviceError> {
        Ok(None)
    }

    /// Takes back what [`Attester::admit_devices`] gave.
    ///
    /// # Errors
    /// [`DeviceError`] if the driver refuses.
    fn withdraw_devices(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// SHA-256 of the configuration text, as measured at launch.
    ///
    /// # Errors
    /// [`DeviceError`] when the measured place does not name exactly one digest.
    fn measured_config_digest(&self) -> Result<Digest256, DeviceError>;

    /// Where this guest's clock comes from.
    fn time_source(&self) -> TimeSource;
}
