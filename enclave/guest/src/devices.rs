//! GPUs at boot: the guest verifies them itself, with a nonce of its own, before the driver may give them work.

use std::sync::Arc;

use hanzo_attestation::evidence::authenticate_devices;
use hanzo_attestation::{AttestationError, AuthenticDevices, Collateral, UnixTime};
use hanzo_device::cuda::CudaError;
use hanzo_device::entropy::mixed_seed;
use hanzo_device::probe::{ProbeError, agree, agree_with_evidence};
use hanzo_device::{Attester, DeviceError, ReadyPass};
use tokio::task::spawn_blocking;

use crate::options::DeviceTrust;
use crate::probe::{self, Asking};

/// Why GPUs did not get ready.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// They gave no evidence, did not pass, or the driver refused.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Their evidence is not authentic.
    #[error("own GPU: {0}")]
    NotAuthentic(#[from] AttestationError),
    /// What CUDA, NVML and the evidence say is not one thing.
    #[error("own GPU: {0}")]
    Probe(#[from] ProbeError),
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
            Self::Probe(e) => e.code(),
            Self::Ended => "evidence.ended",
        }
    }
}

/// Verifies every GPU and lets the driver give them work. Without GPUs there is nothing to do.
///
/// # Establishes
/// No GPU of this guest computes anything before all of them have passed; and they stay ready only if CUDA, where the image has it, shows
/// the very GPUs that NVML shows, and takes bytes to each and back.
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
        if let Err(error) = probed(attester.as_ref(), &authentic, &trust.survey) {
            // The boot ends with the first reason, whatever comes of this.
            let _ = attester.withdraw_devices();
            return Err(error);
        }
        tracing::info!(devices = devices.len(), "GPUs verified and ready");
        Ok(())
    });
    admitting.await.map_err(|_| AdmissionError::Ended)?
}

fn probed(attester: &dyn Attester, authentic: &AuthenticDevices, program: &[String]) -> Result<(), AdmissionError> {
    let Some(nvml) = attester.survey_devices()? else {
        return Ok(());
    };
    agree_with_evidence(&nvml, authentic)?;
    match probe::ask(program, Asking::Guest) {
        Ok(cuda) => agree(&nvml, &cuda)?,
        // The measured image has none: nothing in it can use a GPU.
        Err(CudaError::Library) => tracing::info!("this image has no CUDA: its GPUs are attested and not used"),
        Err(error) => return Err(ProbeError::Cuda(error).into()),
    }
    Ok(())
}
