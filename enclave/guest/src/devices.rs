//! GPUs at boot: the guest verifies them itself, with a nonce of its own, before the driver may give them work.

use std::sync::Arc;

use hanzo_attestation::evidence::authenticate_devices;
use hanzo_attestation::{AttestationError, Collateral, UnixTime};
use hanzo_device::entropy::mixed_seed;
use hanzo_device::{Attester, DeviceError, ReadyPass};
use tokio::task::spawn_blocking;

use crate::options::DeviceTrust;

/// Why GPUs did not get ready.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// They gave no evidence, did not pass, or the driver refused.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Their evidence is not authentic.
    #[error("own GPU: {0}")]
    NotAuthentic(#[from] AttestationError),
    /// The task that verifies them died.
    #[error("own GPU: the task that verifies it ended")]
    Ended,
}

impl AdmissionError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Device(e) => e.code(),
            Self::NotAuthentic(e) => e.code(),
            Self::Ended => "evidence.ended",
        }
    }
}

/// Verifies every GPU and lets the driver give them work. Without GPUs there is nothing to do.
///
/// # Establishes
/// No GPU of this guest computes anything before all of them have passed.
///
/// # Errors
/// [`AdmissionError`]; the boot ends, and the GPUs stay as they are: not ready.
pub(crate) async fn admit_devices(
    attester: &Arc<dyn Attester>,
    trust: &DeviceTrust,
    now: UnixTime,
) -> Result<(), AdmissionError> {
    let (attester, trust) = (attester.clone(), trust.clone());
    let admitting = spawn_blocking(move || -> Result<(), AdmissionError> {
        // Fresh and known to nobody else: a report over it is of no use outside.
        let nonce = *mixed_seed::<32>()?;
        let devices = attester.devices(&nonce)?;
        if devices.is_empty() {
            return Ok(());
        }
        let own = Collateral::default();
        let authentic = authenticate_devices(&devices, &trust.collateral, &trust.anchors, &own, now)?;
        let pass = ReadyPass::of(&authentic, &nonce).map_err(DeviceError::Gpu)?;
        attester.admit_devices(&pass)?;
        tracing::info!(devices = devices.len(), "GPUs verified and ready");
        Ok(())
    });
    admitting.await.map_err(|_| AdmissionError::Ended)?
}
