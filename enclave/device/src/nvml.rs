//! NVIDIA GPUs through the driver's management library, loaded at run time.
//!
//! The library belongs to the measured image, the GPU behind it does not: lengths, nonces and counts are checked, and what
//! is not as it should be ends in an error, never in a shorter list.

mod library;
mod ready;
mod survey;

pub use library::{NVML_LIBRARY, NvmlGpus};
pub use ready::ReadyPass;
pub use survey::{NvmlGpu, NvmlSurvey};

use hanzo_attestation::bundle::DeviceEvidence;

/// The state of confidential computing, as the driver states it. Nothing signs it: the measured guest acts on it, and
/// verifiers read the reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CcState {
    /// CC feature on.
    pub enabled: bool,
    /// Environment: 0 unavailable, 1 simulation, 2 production.
    pub environment: u32,
    /// Devtools mode: memory is not protected from whoever debugs.
    pub devtools: bool,
    /// How several GPUs are protected; `None` if this driver does not say.
    pub multi_gpu: Option<MultiGpu>,
    /// Whether GPUs accept work.
    pub ready: bool,
}

/// How traffic between GPUs is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MultiGpu {
    /// Not at all: one GPU a guest.
    None,
    /// Protected PCIe (Hopper).
    ProtectedPcie,
    /// NVLink encryption (Blackwell).
    NvlinkEncryption,
    /// A number that this version does not know.
    Unknown(u32),
}

/// Where GPU evidence comes from.
pub trait GpuSource: Send + Sync {
    /// The state of confidential computing.
    ///
    /// # Errors
    /// [`GpuError`].
    fn cc_state(&self) -> Result<CcState, GpuError>;

    /// Evidence of every GPU, each over `nonce`, in the driver's order.
    ///
    /// # Errors
    /// [`GpuError`]; also when CC mode is off, in devtools mode, or when the driver shows fewer GPUs than the bus.
    fn gpus(&self, nonce: &[u8; 32]) -> Result<Vec<DeviceEvidence>, GpuError>;

    /// Lets GPUs accept work. The pass must be for the list that [`GpuSource::gpus`] gave last, and is good once.
    ///
    /// # Errors
    /// [`GpuError::NotThisList`]; [`GpuError`] if the driver refuses or does not do it.
    fn set_ready(&self, pass: &ReadyPass) -> Result<(), GpuError>;

    /// Takes the ready state back: GPUs accept no more work.
    ///
    /// # Errors
    /// [`GpuError`] if the driver refuses.
    fn set_not_ready(&self) -> Result<(), GpuError>;

    /// What the driver says of each GPU, in its order, to be held against what CUDA says.
    ///
    /// # Errors
    /// [`GpuError`].
    fn survey(&self) -> Result<NvmlSurvey, GpuError>;
}

/// Why there is no GPU evidence.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// The driver's library is not there or cannot start.
    #[error("{path}: {why}: the driver and its libnvidia-ml.so.1 must be in the image and loaded")]
    Library {
        /// What was loaded.
        path: String,
        /// NVML's reason.
        why: String,
    },
    /// The driver refused.
    #[error("{call}: {why}")]
    Nvml {
        /// Which function.
        call: &'static str,
        /// NVML's reason.
        why: String,
    },
    /// A driver without this function.
    #[error("{call}: this driver has no such function; confidential computing needs driver 535 or newer")]
    NoFunction {
        /// Which function.
        call: &'static str,
    },
    /// An answer longer than its buffer, or empty.
    #[error("{field}: expected 1 to {most} bytes, got {got}")]
    Length {
        /// Which field.
        field: &'static str,
        /// Its buffer.
        most: usize,
        /// What the driver stated.
        got: usize,
    },
    /// A report over another nonce.
    #[error("GPU {index}: the report carries another nonce than the one asked for")]
    Nonce {
        /// In the driver's order.
        index: u32,
    },
    /// An architecture without confidential computing, or one newer than this version.
    #[error("GPU {index}: architecture {got}: expected Hopper or Blackwell")]
    Architecture {
        /// In the driver's order.
        index: u32,
        /// What it is.
        got: String,
    },
    /// Confidential computing is off.
    #[error("confidential computing is off: switch CC mode on from the host and reset the GPU")]
    CcOff,
    /// Devtools mode.
    #[error("CC mode is devtools: memory is open to debuggers; switch to CC mode on")]
    Devtools,
    /// Not production.
    #[error("CC environment is {got}: expected 2 (production)")]
    Environment {
        /// 0 or 1.
        got: u32,
    },
    /// The driver shows other GPUs than the bus.
    #[error(
        "the bus shows {bus} NVIDIA GPUs, the driver {driver}: every GPU that the guest can see must give evidence"
    )]
    Count {
        /// On the PCI bus.
        bus: usize,
        /// By NVML.
        driver: usize,
    },
    /// One GPU twice.
    #[error("GPU {index}: its UUID is another GPU's")]
    Duplicate {
        /// In the driver's order.
        index: u32,
    },
    /// Devices did not pass.
    #[error("devices[{index}]: {why}: the GPU does not get ready")]
    NotPassed {
        /// Its place in the list.
        index: usize,
        /// What is missing.
        why: &'static str,
    },
    /// The pass is for another list.
    #[error("the pass is not for the devices that were listed last: list, verify and admit again")]
    NotThisList,
    /// The driver took the ready state and did not keep it.
    #[error("GPUs do not accept work after they were set ready")]
    NotReady,
}

impl GpuError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Library { .. } => "gpu.library",
            Self::Nvml { .. } => "gpu.nvml",
            Self::NoFunction { .. } => "gpu.no_function",
            Self::Length { .. } => "gpu.length",
            Self::Nonce { .. } => "gpu.nonce",
            Self::Architecture { .. } => "gpu.architecture",
            Self::CcOff => "gpu.cc_off",
            Self::Devtools => "gpu.devtools",
            Self::Environment { .. } => "gpu.environment",
            Self::Count { .. } => "gpu.count",
            Self::Duplicate { .. } => "gpu.duplicate",
            Self::NotPassed { .. } => "gpu.not_passed",
            Self::NotThisList => "gpu.not_this_list",
            Self::NotReady => "gpu.not_ready",
        }
    }
}
