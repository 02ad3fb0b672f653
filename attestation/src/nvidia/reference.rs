//! Which reference measurements (RIMs) a device must be compared with.

use super::ocsp::Answers;
use super::opaque::NVDEC0_STATUS;
use super::rim::{ReportFacts, Rims};
use super::{NvidiaArch, NvidiaClaims, NvidiaError, RimOutcome};

/// Ids of the RIMs of one device, as NVIDIA's RIM service names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RimIds {
    /// Of the driver; `None` for a switch, which has none.
    pub driver: Option<String>,
    /// Of the VBIOS (GPU) or BIOS (switch).
    pub vbios: String,
}

impl RimIds {
    /// All of them, the driver's first.
    pub fn to_vec(&self) -> Vec<String> {
        self.driver.iter().chain([&self.vbios]).cloned().collect()
    }
}

impl NvidiaClaims {
    /// Which RIMs this device must be compared with.
    ///
    /// A Hopper driver's id names GH100, a Blackwell driver's the chip of the report. (The service also answers Hopper's
    /// form for a Blackwell driver's version, with another product's values.)
    pub fn rim_ids(&self) -> RimIds {
        let (board, vbios) = (&self.board, self.vbios_version.replace('.', ""));
        let version = self.driver_version.as_deref().unwrap_or_default();
        match self.arch {
            NvidiaArch::Hopper => RimIds {
                driver: Some(format!("NV_GPU_DRIVER_GH100_{version}")),
                vbios: format!("NV_GPU_VBIOS_{board}_{vbios}"),
            },
            NvidiaArch::Blackwell => RimIds {
                driver: Some(format!("NV_GPU_CC_DRIVER_{}_{version}", self.chip)),
                vbios: format!("NV_GPU_VBIOS_{board}_{vbios}"),
            },
            NvidiaArch::Ls10 => RimIds {
                driver: None,
                vbios: format!("NV_SWITCH_BIOS_{board}_{vbios}"),
            },
        }
    }

    /// Compares the measurements with the RIMs among `rims` that are for this device; true if a simulator's was used.
    pub(super) fn compare(&self, rims: &Rims<'_>, answers: &Answers<'_>) -> Result<(RimOutcome, bool), NvidiaError> {
        let ids = self.rim_ids();
        let facts = ReportFacts {
            arch: self.arch,
            product: match self.arch {
                NvidiaArch::Hopper => "GH100",
                NvidiaArch::Blackwell => &self.chip,
                NvidiaArch::Ls10 => "LS10",
            },
            driver_version: self.driver_version.as_deref(),
            vbios_version: &self.vbios_version,
            driver_rim_id: ids.driver.as_deref(),
            vbios_rim_id: &ids.vbios,
            measurements: &self.measurements,
            nvdec0: self.opaque.get(&NVDEC0_STATUS).and_then(|value| value.first().copied()),
        };
        rims.compare(&facts, answers)
    }
}
