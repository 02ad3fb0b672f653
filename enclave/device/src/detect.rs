//! Which attester this machine has.

use std::ffi::OsString;

use hanzo_attestation::Digest256;
use hanzo_attestation::bundle::{CpuEvidence, DeviceEvidence};
use hanzo_attestation::statement::EvidenceRequest;
use tdx_attest_rs::{AttestError, Kernel, Machine, Provider, Roots};

use crate::attester::{Attester, TimeSource};
use crate::endorsements::Endorsements;
use crate::error::DeviceError;
use crate::nvml::{GpuSource, NVML_LIBRARY, NvmlGpus, NvmlSurvey, ReadyPass};
use crate::snp::SnpConfigfs;
use crate::tdx::TdxConfigfs;
use crate::tpm::{AzureVtpm, Vtpm};

/// Where to look.
pub struct Surroundings {
    /// The kernel's file systems.
    pub roots: Roots,
    /// Who answers there; the real kernel except in tests.
    pub kernel: Box<dyn Kernel>,
    /// NVIDIA's management library.
    pub nvml: OsString,
    /// What the host laid beside the guest.
    pub endorsements: Endorsements,
}

impl Surroundings {
    /// This machine's.
    pub fn host(endorsements: Endorsements) -> Self {
        Self {
            roots: Roots::host(),
            kernel: Box::new(tdx_attest_rs::HostKernel),
            nvml: NVML_LIBRARY.into(),
            endorsements,
        }
    }
}

/// Finds the best evidence that this machine gives: SEV-SNP or TDX through configfs-tsm, else a paravisor's or another
/// vTPM; and the GPUs, if the bus shows any.
///
/// What is found never falls back to something weaker: a TEE that exists and fails is an error.
///
/// # Errors
/// [`DeviceError::Absent`] where there is nothing; [`DeviceError::NoQuote`] for a TEE whose kernel is too old;
/// [`DeviceError::Gpu`] if the bus shows GPUs and the driver's library does not load.
pub fn detect(surroundings: Surroundings) -> Result<Box<dyn Attester>, DeviceError> {
    let Surroundings {
        roots,
        kernel,
        nvml,
        endorsements,
    } = surroundings;
    let gpus: Option<Box<dyn GpuSource>> = match NvmlGpus::on_the_bus(&roots.sys) {
        0 => None,
        _ => Some(Box::new(NvmlGpus::load(&nvml, &roots.sys)?)),
    };
    let cpu = detect_cpu(Machine::with_kernel(roots, kernel), endorsements)?;
    Ok(match gpus {
        None => cpu,
        Some(gpus) => Box::new(WithGpus::new(cpu, gpus)),
    })
}

fn detect_cpu(machine: Machine, endorsements: Endorsements) -> Result<Box<dyn Attester>, DeviceError> {
    match machine.provider() {
        Ok(Provider::SevGuest) => return Ok(Box::new(SnpConfigfs::new(machine, endorsements))),
        Ok(Provider::TdxGuest) => return Ok(Box::new(TdxConfigfs::new(machine, endorsements))),
        Err(AttestError::Absent { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let roots = machine.roots().clone();
    for (name, gives) in [
        ("tdx_guest", "a TDREPORT"),
        ("sev-guest", "a report without this program's interface"),
    ] {
        let device = roots.dev.join(name);
        if device.exists() {
            return Err(DeviceError::NoQuote { device, gives });
        }
    }
    if !roots.dev.join("tpmrm0").exists() {
        return Err(DeviceError::Absent { dev: roots.dev });
    }
    let paravisor = AzureVtpm::new(roots.clone(), endorsements.clone());
    match paravisor.detect()? {
        Some(crate::tpm::HclKind::Snp) => Ok(Box::new(paravisor)),
        Some(crate::tpm::HclKind::Tdx) => Err(DeviceError::ParavisorQuote),
        None => Ok(Box::new(Vtpm::detect(roots, endorsements)?)),
    }
}

/// An attester together with GPUs.
pub struct WithGpus {
    cpu: Box<dyn Attester>,
    gpus: Box<dyn GpuSource>,
}

impl WithGpus {
    /// `cpu` makes the primary evidence, `gpus` the device list.
    pub fn new(cpu: Box<dyn Attester>, gpus: Box<dyn GpuSource>) -> Self {
        Self { cpu, gpus }
    }
}

impl Attester for WithGpus {
    fn kind(&self) -> &'static str {
        self.cpu.kind()
    }

    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, DeviceError> {
        self.cpu.evidence(request)
    }

    fn devices(&self, nonce: &[u8; 32]) -> Result<Vec<DeviceEvidence>, DeviceError> {
        Ok(self.gpus.gpus(nonce)?)
    }

    fn admit_devices(&self, pass: &ReadyPass) -> Result<(), DeviceError> {
        Ok(self.gpus.set_ready(pass)?)
    }

    fn survey_devices(&self) -> Result<Option<NvmlSurvey>, DeviceError> {
        Ok(Some(self.gpus.survey()?))
    }

    fn withdraw_devices(&self) -> Result<(), DeviceError> {
        Ok(self.gpus.set_not_ready()?)
    }

    fn measured_config_digest(&self) -> Result<Digest256, DeviceError> {
        self.cpu.measured_config_digest()
    }

    fn time_source(&self) -> TimeSource {
        self.cpu.time_source()
    }
}
