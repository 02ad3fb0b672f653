//! Whether CUDA shows the GPUs that NVML shows, and NVML those whose evidence was verified.
//!
//! Both libraries belong to the measured image, and the driver below them does; what is caught here is a device, or a part of one, that is
//! shown to one and not to the other, a driver of which half is another release, and memory that does not keep what it is given.

use hanzo_attestation::nvidia::NvidiaArch;
use hanzo_attestation::{AuthenticDevices, DeviceClaims};

use crate::cuda::{CudaError, CudaGpu, CudaSurvey};
use crate::nvml::{NvmlGpu, NvmlSurvey};

/// Why GPUs are not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// CUDA shows none at all, or failed.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// There is none to compare.
    #[error("neither NVML nor CUDA shows a GPU: give this machine one, or look for it with lspci -d 10de:")]
    None,
    /// One shows a GPU that the other does not.
    #[error(
        "GPU {uuid}: {by} shows it and {missing_from} does not: every GPU must be whole and visible to both (no MIG, no CUDA_VISIBLE_DEVICES)"
    )]
    Missing {
        /// Which.
        uuid: String,
        /// `NVML` or `CUDA`.
        by: &'static str,
        /// The other.
        missing_from: &'static str,
    },
    /// One GPU twice.
    #[error("GPU {uuid}: {by} shows it twice")]
    Twice {
        /// Which.
        uuid: String,
        /// `NVML` or `CUDA`.
        by: &'static str,
    },
    /// They say different things.
    #[error(
        "{of}: {field}: NVML says {nvml}, {other} says {got}: the libraries are not of one driver, or not of this GPU"
    )]
    Differs {
        /// The driver, or the GPU's UUID.
        of: String,
        /// Which statement.
        field: &'static str,
        /// NVML's.
        nvml: String,
        /// `CUDA`, or `the evidence`.
        other: &'static str,
        /// The other's.
        got: String,
    },
}

impl ProbeError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Cuda(e) => e.code(),
            Self::None => "gpu.probe.none",
            Self::Missing { .. } => "gpu.probe.missing",
            Self::Twice { .. } => "gpu.probe.twice",
            Self::Differs { .. } => "gpu.probe.differs",
        }
    }
}

/// Holds what CUDA shows against what NVML shows: the same GPUs, each once, of the same name, place and compute capability, no more
/// memory than there is, one driver.
///
/// # Errors
/// [`ProbeError`], the first disagreement.
pub fn agree(nvml: &NvmlSurvey, cuda: &CudaSurvey) -> Result<(), ProbeError> {
    let nvmls: Vec<_> = nvml.gpus.iter().map(|gpu| gpu.uuid.as_str()).collect();
    let cudas: Vec<_> = cuda.gpus.iter().map(|gpu| gpu.uuid.as_str()).collect();
    if nvmls.is_empty() && cudas.is_empty() {
        return Err(ProbeError::None);
    }
    once(&nvmls, "NVML")?;
    once(&cudas, "CUDA")?;
    all_of(&nvmls, "NVML", &cudas, "CUDA")?;
    all_of(&cudas, "CUDA", &nvmls, "NVML")?;
    same(
        "the driver",
        "CUDA API version",
        &nvml.cuda_api,
        "CUDA",
        &cuda.driver_api,
    )?;
    for one in &nvml.gpus {
        if let Some(other) = cuda.gpus.iter().find(|other| other.uuid == one.uuid) {
            same_gpu(one, other)?;
        }
    }
    Ok(())
}

fn same_gpu(nvml: &NvmlGpu, cuda: &CudaGpu) -> Result<(), ProbeError> {
    let of = nvml.uuid.as_str();
    same(of, "name", &nvml.name, "CUDA", &cuda.name)?;
    same(of, "PCI address", &nvml.pci, "CUDA", &cuda.pci)?;
    let version = |[major, minor]: [u32; 2]| format!("{major}.{minor}");
    let (one, other) = (version(nvml.compute_capability), version(cuda.compute_capability));
    same(of, "compute capability", &one, "CUDA", &other)?;
    // CUDA leaves out what the driver keeps for itself.
    let usable = 1..=nvml.memory_bytes;
    if !usable.contains(&cuda.memory_bytes) || cuda.memory_free_bytes > cuda.memory_bytes {
        return Err(ProbeError::Differs {
            of: of.into(),
            field: "memory",
            nvml: format!("{} bytes", nvml.memory_bytes),
            other: "CUDA",
            got: format!("{} bytes, {} free", cuda.memory_bytes, cuda.memory_free_bytes),
        });
    }
    Ok(())
}

/// Holds what NVML shows against verified evidence, in NVML's order: as many GPUs, each of the architecture that its certificates name,
/// under the driver that its report names.
///
/// # Does not establish
/// Which GPU is which: no field of a report is the UUID.
///
/// # Errors
/// [`ProbeError::Differs`].
pub fn agree_with_evidence(nvml: &NvmlSurvey, devices: &AuthenticDevices) -> Result<(), ProbeError> {
    let evidence = "the evidence";
    let (shown, verified) = (nvml.gpus.len(), devices.devices().len());
    same("this guest", "GPUs", &shown, evidence, &verified)?;
    for (gpu, device) in nvml.gpus.iter().zip(devices.devices()) {
        let DeviceClaims::Nvidia(claims) = device.claims();
        let [major, minor] = gpu.compute_capability;
        let fits = match claims.arch {
            NvidiaArch::Hopper => major == 9,
            NvidiaArch::Blackwell => major == 10 || major == 12,
            NvidiaArch::Ls10 => false,
        };
        if !fits {
            return Err(ProbeError::Differs {
                of: gpu.uuid.clone(),
                field: "architecture",
                nvml: format!("compute capability {major}.{minor}"),
                other: evidence,
                got: format!("{:?}", claims.arch),
            });
        }
        let driver = claims.driver_version.as_deref().unwrap_or("none");
        same(
            &gpu.uuid,
            "driver version",
            &nvml.driver_version.as_str(),
            evidence,
            &driver,
        )?;
    }
    Ok(())
}

fn once(these: &[&str], by: &'static str) -> Result<(), ProbeError> {
    for (at, uuid) in these.iter().enumerate() {
        if these.iter().skip(at + 1).any(|other| other == uuid) {
            return Err(ProbeError::Twice {
                uuid: (*uuid).to_owned(),
                by,
            });
        }
    }
    Ok(())
}

fn all_of(these: &[&str], by: &'static str, those: &[&str], missing_from: &'static str) -> Result<(), ProbeError> {
    match these.iter().find(|uuid| !those.contains(uuid)) {
        None => Ok(()),
        Some(uuid) => Err(ProbeError::Missing {
            uuid: (*uuid).to_owned(),
            by,
            missing_from,
        }),
    }
}

fn same<T: PartialEq + ToString>(
    of: &str,
    field: &'static str,
    nvml: &T,
    other: &'static str,
    got: &T,
) -> Result<(), ProbeError> {
    if nvml == got {
        return Ok(());
    }
    Err(ProbeError::Differs {
        of: of.into(),
        field,
        nvml: nvml.to_string(),
        other,
        got: got.to_string(),
    })
}
