//! Every GPU as NVML shows it, to be held against what CUDA shows and what the evidence says.

use serde::{Deserialize, Serialize};

use super::GpuError;
use super::library::{NvmlGpus, nvml_error};
use crate::cuda::PciAddress;

/// Every GPU as NVML shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NvmlSurvey {
    /// The driver's release, e.g. `550.163.01`.
    pub driver_version: String,
    /// The API version of the CUDA library that belongs to it: 1000 × major + 10 × minor.
    pub cuda_api: u32,
    /// In NVML's order: the bus's.
    pub gpus: Vec<NvmlGpu>,
}

/// One GPU as NVML shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NvmlGpu {
    /// `GPU-` and a UUID.
    pub uuid: String,
    /// E.g. `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Where it is on the bus.
    pub pci: PciAddress,
    /// Major and minor: `[9, 0]` is Hopper.
    pub compute_capability: [u32; 2],
    /// All of its memory, in bytes.
    pub memory_bytes: u64,
}

impl NvmlGpus {
    /// It needs no confidential computing.
    pub(super) fn surveyed(&self) -> Result<NvmlSurvey, GpuError> {
        let nvml = self.nvml();
        let failed = |call| move |e| nvml_error(call, &e);
        let count = nvml.device_count().map_err(failed("nvmlDeviceGetCount_v2"))?;
        let mut gpus = Vec::new();
        for index in 0..count {
            let device = nvml.device_by_index(index);
            let device = device.map_err(failed("nvmlDeviceGetHandleByIndex_v2"))?;
            let pci = device.pci_info().map_err(failed("nvmlDeviceGetPciInfo_v3"))?;
            let capability = device.cuda_compute_capability();
            let capability = capability.map_err(failed("nvmlDeviceGetCudaComputeCapability"))?;
            let memory = device.memory_info().map_err(failed("nvmlDeviceGetMemoryInfo_v2"))?;
            gpus.push(NvmlGpu {
                uuid: device.uuid().map_err(failed("nvmlDeviceGetUUID"))?,
                name: device.name().map_err(failed("nvmlDeviceGetName"))?,
                pci: PciAddress {
                    domain: pci.domain,
                    bus: pci.bus,
                    device: pci.device,
                },
                compute_capability: [capability.major, capability.minor].map(|part| u32::try_from(part).unwrap_or(0)),
                memory_bytes: memory.total,
            });
        }
        let api = nvml.sys_cuda_driver_version();
        let api = api.map_err(failed("nvmlSystemGetCudaDriverVersion_v2"))?;
        Ok(NvmlSurvey {
            driver_version: nvml
                .sys_driver_version()
                .map_err(failed("nvmlSystemGetDriverVersion"))?,
            cuda_api: u32::try_from(api).unwrap_or(0),
            gpus,
        })
    }
}
