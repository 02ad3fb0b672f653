//! `libnvidia-ml.so.1`, through nvml-wrapper; the two calls whose lengths the wrapper does not check are made here.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use hanzo_attestation::Digest384;
use hanzo_attestation::bundle::{Base64, DeviceEvidence, device_list_digest};
use nvml_wrapper::enums::device::DeviceArchitecture;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::{
    NVML_CC_SYSTEM_DEVTOOLS_MODE_OFF, NVML_CC_SYSTEM_ENVIRONMENT_PROD, NVML_CC_SYSTEM_FEATURE_ENABLED,
    nvmlConfComputeGpuAttestationReport_t, nvmlConfComputeGpuCertificate_t, nvmlConfComputeSystemState_t,
    nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH, nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED,
    nvmlReturn_enum_NVML_SUCCESS, nvmlSystemConfComputeSettings_t,
};

use super::{CcState, GpuError, GpuSource, MultiGpu, NvmlSurvey, ReadyPass};

/// Where the loader looks for it.
pub const NVML_LIBRARY: &str = "libnvidia-ml.so.1";
const PCI_VENDOR: &[u8] = b"0x10de";
/// PCI class of display controllers (VGA and 3D).
const PCI_DISPLAY: &[u8] = b"0x03";
/// The verifier's nonce in the SPDM request that begins a report.
const NONCE_AT: usize = 4;

/// The GPUs of this guest.
pub struct NvmlGpus {
    nvml: Nvml,
    sys: PathBuf,
    /// Digest of the list that was given last and has not been admitted.
    listed: Mutex<Option<Digest384>>,
}

impl NvmlGpus {
    /// Loads `library` and starts it. `sys` is where sysfs is.
    ///
    /// # Errors
    /// [`GpuError::Library`].
    pub fn load(library: &OsStr, sys: &Path) -> Result<Self, GpuError> {
        let nvml = Nvml::builder().lib_path(library).init();
        let nvml = nvml.map_err(|e| GpuError::Library {
            path: library.to_string_lossy().into_owned(),
            why: e.to_string(),
        })?;
        Ok(Self {
            nvml,
            sys: sys.to_owned(),
            listed: Mutex::new(None),
        })
    }

    pub(super) fn nvml(&self) -> &Nvml {
        &self.nvml
    }

    /// NVIDIA GPUs that the PCI bus shows, with or without a driver.
    pub fn on_the_bus(sys: &Path) -> usize {
        let Ok(devices) = fs::read_dir(sys.join("bus/pci/devices")) else {
            return 0;
        };
        let is_gpu = |device: &Path| {
            let begins = |file: &str, with: &[u8]| fs::read(device.join(file)).is_ok_and(|text| text.starts_with(with));
            begins("vendor", PCI_VENDOR) && begins("class", PCI_DISPLAY)
        };
        devices.flatten().filter(|device| is_gpu(&device.path())).count()
    }

    fn evidence_of(&self, index: u32, device: &Device<'_>, nonce: &[u8; 32]) -> Result<DeviceEvidence, GpuError> {
        let arch = match device.architecture() {
            Ok(DeviceArchitecture::Hopper) => "hopper",
            Ok(DeviceArchitecture::Blackwell) => "blackwell",
            Ok(other) => {
                return Err(GpuError::Architecture {
                    index,
                    got: format!("{other:?}"),
                });
            }
            Err(error) => return Err(nvml_error("nvmlDeviceGetArchitecture", &error)),
        };
        let report = self.report(device, nonce)?;
        if report.get(NONCE_AT..NONCE_AT + nonce.len()) != Some(&nonce[..]) {
            return Err(GpuError::Nonce { index });
        }
        Ok(DeviceEvidence {
            arch: arch.to_owned(),
            certificates: Base64(self.certificates(device)?),
            kind: "nvidia".to_owned(),
            report: Base64(report),
        })
    }

    fn report(&self, device: &Device<'_>, nonce: &[u8; 32]) -> Result<Vec<u8>, GpuError> {
        let call = "nvmlDeviceGetConfComputeGpuAttestationReport";
        let Ok(function) = &self.nvml.lib().nvmlDeviceGetConfComputeGpuAttestationReport else {
            return Err(GpuError::NoFunction { call });
        };
        let mut answer = Box::new(nvmlConfComputeGpuAttestationReport_t {
            isCecAttestationReportPresent: 0,
            attestationReportSize: 0,
            cecAttestationReportSize: 0,
            nonce: *nonce,
            attestationReport: [0; 8192],
            cecAttestationReport: [0; 4096],
        });
        #[allow(
            unsafe_code,
            reason = "the wrapper's own call indexes by a length that the driver states"
        )]
        // SAFETY: the symbol was loaded from the library that `self.nvml` keeps open and started, under NVML's documented
        // signature; the handle is the device's, which borrows that same `Nvml`; the structure is NVML's own layout,
        // initialised, and borrowed mutably for the whole call.
        let code = unsafe { function(device.handle(), &mut *answer) };
        succeeded(call, code)?;
        stated(
            "attestationReport",
            &answer.attestationReport,
            answer.attestationReportSize,
        )
    }

    fn certificates(&self, device: &Device<'_>) -> Result<Vec<u8>, GpuError> {
        let call = "nvmlDeviceGetConfComputeGpuCertificate";
        let Ok(function) = &self.nvml.lib().nvmlDeviceGetConfComputeGpuCertificate else {
            return Err(GpuError::NoFunction { call });
        };
        let mut answer = Box::new(nvmlConfComputeGpuCertificate_t {
            certChainSize: 0,
            attestationCertChainSize: 0,
            certChain: [0; 4096],
            attestationCertChain: [0; 5120],
        });
        #[allow(
            unsafe_code,
            reason = "the wrapper's own call indexes by lengths that the driver states"
        )]
        // SAFETY: as in `report`: a loaded symbol of an open library, that library's handle, NVML's own structure.
        let code = unsafe { function(device.handle(), &mut *answer) };
        succeeded(call, code)?;
        stated(
            "attestationCertChain",
            &answer.attestationCertChain,
            answer.attestationCertChainSize,
        )
    }

    fn settings(&self) -> Result<CcState, GpuError> {
        let call = "nvmlSystemGetConfComputeSettings";
        let Ok(function) = &self.nvml.lib().nvmlSystemGetConfComputeSettings else {
            return self.older_state();
        };
        let mut answer = nvmlSystemConfComputeSettings_t {
            // NVML_STRUCT_VERSION: size, and version 1 in the top byte.
            version: size_of::<nvmlSystemConfComputeSettings_t>() as u32 | 1 << 24,
            environment: 0,
            ccFeature: 0,
            devToolsMode: 0,
            multiGpuMode: 0,
        };
        #[allow(unsafe_code, reason = "the wrapper asks for one of the four fields at a time")]
        // SAFETY: a loaded symbol of the library that `self.nvml` keeps open and started; NVML's own structure of the
        // version that it states.
        let code = unsafe { function(&mut answer) };
        if [
            nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
            nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED,
        ]
        .contains(&code)
        {
            return self.older_state();
        }
        succeeded(call, code)?;
        Ok(CcState {
            enabled: answer.ccFeature == NVML_CC_SYSTEM_FEATURE_ENABLED,
            environment: answer.environment,
            // A mode that this version does not know is not the safe one.
            devtools: answer.devToolsMode != NVML_CC_SYSTEM_DEVTOOLS_MODE_OFF,
            multi_gpu: Some(match answer.multiGpuMode {
                0 => MultiGpu::None,
                1 => MultiGpu::ProtectedPcie,
                2 => MultiGpu::NvlinkEncryption,
                other => MultiGpu::Unknown(other),
            }),
            ready: false,
        })
    }

    /// Drivers before 550 state less.
    fn older_state(&self) -> Result<CcState, GpuError> {
        let call = "nvmlSystemGetConfComputeState";
        let Ok(function) = &self.nvml.lib().nvmlSystemGetConfComputeState else {
            return Err(GpuError::NoFunction { call });
        };
        let mut answer = nvmlConfComputeSystemState_t {
            environment: 0,
            ccFeature: 0,
            devToolsMode: 0,
        };
        #[allow(unsafe_code, reason = "the wrapper mixes this state with others")]
        // SAFETY: as in `settings`.
        let code = unsafe { function(&mut answer) };
        succeeded(call, code)?;
        Ok(CcState {
            enabled: answer.ccFeature == NVML_CC_SYSTEM_FEATURE_ENABLED,
            environment: answer.environment,
            devtools: answer.devToolsMode != NVML_CC_SYSTEM_DEVTOOLS_MODE_OFF,
            multi_gpu: None,
            ready: false,
        })
    }

    /// State and readiness are the system's, although the wrapper hangs them on a device.
    fn first(&self) -> Result<Device<'_>, GpuError> {
        self.nvml
            .device_by_index(0)
            .map_err(|e| nvml_error("nvmlDeviceGetHandleByIndex_v2", &e))
    }

    fn ready(&self) -> Result<bool, GpuError> {
        self.first()?
            .get_confidential_compute_state()
            .map_err(|e| nvml_error("nvmlSystemGetConfComputeGpusReadyState", &e))
    }
}

impl GpuSource for NvmlGpus {
    fn cc_state(&self) -> Result<CcState, GpuError> {
        let ready = self.ready()?;
        Ok(CcState {
            ready,
            ..self.settings()?
        })
    }

    fn gpus(&self, nonce: &[u8; 32]) -> Result<Vec<DeviceEvidence>, GpuError> {
        let mut listed = self.listed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *listed = None;
        let state = self.settings()?;
        if !state.enabled {
            return Err(GpuError::CcOff);
        }
        if state.devtools {
            return Err(GpuError::Devtools);
        }
        if state.environment != NVML_CC_SYSTEM_ENVIRONMENT_PROD {
            return Err(GpuError::Environment { got: state.environment });
        }
        let count = self
            .nvml
            .device_count()
            .map_err(|e| nvml_error("nvmlDeviceGetCount_v2", &e))?;
        let (bus, driver) = (Self::on_the_bus(&self.sys), count as usize);
        if bus != driver {
            return Err(GpuError::Count { bus, driver });
        }
        let mut seen = BTreeSet::new();
        let mut devices = Vec::new();
        for index in 0..count {
            let device = self
                .nvml
                .device_by_index(index)
                .map_err(|e| nvml_error("nvmlDeviceGetHandleByIndex_v2", &e))?;
            let uuid = device.uuid().map_err(|e| nvml_error("nvmlDeviceGetUUID", &e))?;
            if !seen.insert(uuid) {
                return Err(GpuError::Duplicate { index });
            }
            devices.push(self.evidence_of(index, &device, nonce)?);
        }
        *listed = device_list_digest(&devices).ok();
        Ok(devices)
    }

    fn set_ready(&self, pass: &ReadyPass) -> Result<(), GpuError> {
        let mut listed = self.listed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if listed.take() != Some(pass.list()) {
            return Err(GpuError::NotThisList);
        }
        self.first()?
            .set_confidential_compute_state(true)
            .map_err(|e| nvml_error("nvmlSystemSetConfComputeGpusReadyState", &e))?;
        if self.ready()? { Ok(()) } else { Err(GpuError::NotReady) }
    }

    fn set_not_ready(&self) -> Result<(), GpuError> {
        self.first()?
            .set_confidential_compute_state(false)
            .map_err(|e| nvml_error("nvmlSystemSetConfComputeGpusReadyState", &e))
    }

    fn survey(&self) -> Result<NvmlSurvey, GpuError> {
        self.surveyed()
    }
}

pub(super) fn nvml_error(call: &'static str, error: &NvmlError) -> GpuError {
    match error {
        NvmlError::FailedToLoadSymbol(_) => GpuError::NoFunction { call },
        other => GpuError::Nvml {
            call,
            why: other.to_string(),
        },
    }
}

fn succeeded(call: &'static str, code: u32) -> Result<(), GpuError> {
    if code == nvmlReturn_enum_NVML_SUCCESS {
        Ok(())
    } else {
        Err(GpuError::Nvml {
            call,
            why: format!("NVML code {code}"),
        })
    }
}

/// The part of a buffer that the driver says it filled.
fn stated(field: &'static str, buffer: &[u8], size: u32) -> Result<Vec<u8>, GpuError> {
    let got = usize::try_from(size).unwrap_or(usize::MAX);
    match buffer.get(..got) {
        Some(bytes) if !bytes.is_empty() => Ok(bytes.to_vec()),
        _ => Err(GpuError::Length {
            field,
            most: buffer.len(),
            got,
        }),
    }
}
