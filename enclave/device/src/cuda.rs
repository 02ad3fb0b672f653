//! GPUs through CUDA's driver library, `libcuda.so.1`, loaded at run time.
//!
//! [`survey`] is for a process of its own, that has no secrets: the library maps device memory, starts threads and may end its
//! process, and crate cudarc panics where a library or function is missing (both are looked for first) and takes a result code that it
//! does not know for one that it does.

use std::sync::Arc;

use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
use cudarc::driver::{CudaContext, DriverError};
use serde::{Deserialize, Serialize};

/// What the loader is asked for.
pub const CUDA_LIBRARY: &str = "libcuda.so.1";
/// The API that this program was compiled for, as CUDA numbers it: 1000 × major + 10 × minor.
pub const CUDA_API: u32 = 12_040;
/// Bytes that go to each GPU and come back.
pub const COPY_BYTES: usize = 1 << 20;
/// More GPUs than this are in no machine.
pub const GPUS_MAX: u32 = 64;

/// Every function that [`survey`] calls, under the name that the library exports.
const FUNCTIONS: &[&str] = &[
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetUuid",
    "cuDeviceGetAttribute",
    "cuDeviceTotalMem_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemAllocAsync",
    "cuMemFreeAsync",
    "cuMemsetD8Async",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuEventDestroy_v2",
    "cuStreamWaitEvent",
    "cuStreamSynchronize",
];

/// Every GPU as CUDA shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CudaSurvey {
    /// The driver's API version, numbered as [`CUDA_API`].
    pub driver_api: u32,
    /// In CUDA's order, which is not NVML's.
    pub gpus: Vec<CudaGpu>,
}

/// One GPU as CUDA shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CudaGpu {
    /// `GPU-` and a UUID, spelt as NVML does.
    pub uuid: String,
    /// E.g. `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Where it is on the bus.
    pub pci: PciAddress,
    /// Major and minor: `[9, 0]` is Hopper.
    pub compute_capability: [u32; 2],
    /// What programs can use of its memory, in bytes.
    pub memory_bytes: u64,
    /// What of that is free, in bytes.
    pub memory_free_bytes: u64,
    /// How many bytes went there from pinned memory and came back the same.
    pub copied_bytes: u64,
}

/// Domain, bus and device. A GPU is function 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PciAddress {
    /// 0 to 0xffff, more under some hypervisors.
    pub domain: u32,
    /// 0 to 255.
    pub bus: u32,
    /// 0 to 31.
    pub device: u32,
}

impl std::fmt::Display for PciAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.0", self.domain, self.bus, self.device)
    }
}

/// Why CUDA shows no GPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CudaError {
    /// No library.
    #[error(
        "{CUDA_LIBRARY}: the loader finds none: CUDA's driver library comes with the NVIDIA driver (Debian: libcuda1), of the same release"
    )]
    Library,
    /// A library without a function.
    #[error("{CUDA_LIBRARY}: it has no function {name}: expected one of driver 550 (CUDA 12.4) or newer")]
    Function {
        /// Which.
        name: String,
    },
    /// An older driver.
    #[error(
        "{CUDA_LIBRARY}: API version {got}: expected {CUDA_API} (CUDA 12.4) or higher: install driver 550 or newer"
    )]
    Version {
        /// What the driver states.
        got: u32,
    },
    /// The driver refused.
    #[error("{what}: {got}{}", at(*.gpu))]
    Refused {
        /// What was asked for.
        what: String,
        /// CUDA's name of its answer.
        got: String,
        /// In CUDA's order, if it is about one.
        gpu: Option<u32>,
    },
    /// A number that cannot be.
    #[error("{what}: {got}: expected {expected}{}", at(*.gpu))]
    Value {
        /// Which number.
        what: String,
        /// What is accepted.
        expected: String,
        /// What the driver stated.
        got: i64,
        /// In CUDA's order, if it is about one.
        gpu: Option<u32>,
    },
    /// Memory that does not keep what is put there.
    #[error(
        "GPU {gpu}: {COPY_BYTES} bytes went there and came back different, first at {offset}: do not use it; look for Xid errors in the kernel's log"
    )]
    Copy {
        /// In CUDA's order.
        gpu: u32,
        /// Of the first wrong byte.
        offset: u64,
    },
    /// The process that asks CUDA.
    #[error("the process that asks CUDA: {why}")]
    Process {
        /// How it failed.
        why: String,
    },
}

fn at(gpu: Option<u32>) -> String {
    gpu.map(|gpu| format!(" (GPU {gpu} in CUDA's order)"))
        .unwrap_or_default()
}

impl CudaError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Library => "cuda.library",
            Self::Function { .. } => "cuda.function",
            Self::Version { .. } => "cuda.version",
            Self::Refused { .. } => "cuda.refused",
            Self::Value { .. } => "cuda.value",
            Self::Copy { .. } => "cuda.copy",
            Self::Process { .. } => "cuda.process",
        }
    }
}

/// Asks CUDA for every GPU that it shows, and takes [`COPY_BYTES`] there and back. Measures nothing.
///
/// # Establishes
/// The library loads and starts; each GPU keeps what pinned memory gives it.
///
/// # Does not establish
/// That these are the GPUs whose evidence was verified: [`crate::probe`] compares.
///
/// # Errors
/// [`CudaError`]; none where there is no library, since that is found out before cudarc looks for it.
pub fn survey() -> Result<CudaSurvey, CudaError> {
    functions_are_there()?;
    let count = CudaContext::device_count().map_err(refused("cuInit, cuDeviceGetCount", None))?;
    let count = u32::try_from(count).ok().filter(|count| *count <= GPUS_MAX);
    let count = count.ok_or_else(|| value("cuDeviceGetCount", "0 to 64", -1, None))?;
    let driver_api = driver_api()?;
    if driver_api < CUDA_API {
        return Err(CudaError::Version { got: driver_api });
    }
    let gpus = (0..count).map(gpu).collect::<Result<_, _>>()?;
    Ok(CudaSurvey { driver_api, gpus })
}

/// cudarc panics without the library and without a function; after this it does neither.
fn functions_are_there() -> Result<(), CudaError> {
    #[allow(unsafe_code, reason = "loading a library runs its initialisers")]
    // SAFETY: the library is the loader's libcuda, of the measured image or of this machine's owner, and this process is for it alone.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::Library);
    }
    #[allow(unsafe_code, reason = "as above; the second look keeps the library open")]
    // SAFETY: as above. It was found a moment ago, so that this does not panic.
    let library = unsafe { sys::culib() };
    for name in FUNCTIONS {
        #[allow(unsafe_code, reason = "a symbol is looked up and not called")]
        // SAFETY: nothing is done with the symbol.
        let found = unsafe { library.get::<unsafe extern "C" fn()>(name.as_bytes()) };
        if found.is_err() {
            return Err(CudaError::Function { name: (*name).into() });
        }
    }
    Ok(())
}

fn driver_api() -> Result<u32, CudaError> {
    let mut version = 0;
    #[allow(unsafe_code, reason = "cudarc has no safe call for it")]
    // SAFETY: the function was found in the library, which stays open; it writes one int, which is borrowed for the call.
    let answer = unsafe { sys::cuDriverGetVersion(&mut version) };
    answer.result().map_err(refused("cuDriverGetVersion", None))?;
    u32::try_from(version).map_err(|_| value("cuDriverGetVersion", "a version", version.into(), None))
}

fn gpu(index: u32) -> Result<CudaGpu, CudaError> {
    let refused = |what| refused(what, Some(index));
    let context = CudaContext::new(index as usize).map_err(refused("cuDevicePrimaryCtxRetain"))?;
    let attribute = |what: &'static str, attribute| {
        let got = context.attribute(attribute).map_err(refused(what))?;
        u32::try_from(got).map_err(|_| value(what, "0 or more", got.into(), Some(index)))
    };
    let uuid = context.uuid().map_err(refused("cuDeviceGetUuid"))?;
    let (free, _) = context.mem_get_info().map_err(refused("cuMemGetInfo"))?;
    Ok(CudaGpu {
        uuid: spelt(uuid.bytes.map(|byte| byte as u8)),
        name: context.name().map_err(refused("cuDeviceGetName"))?,
        pci: PciAddress {
            domain: attribute("PCI_DOMAIN_ID", Attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)?,
            bus: attribute("PCI_BUS_ID", Attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)?,
            device: attribute("PCI_DEVICE_ID", Attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)?,
        },
        compute_capability: [
            attribute(
                "COMPUTE_CAPABILITY_MAJOR",
                Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            )?,
            attribute(
                "COMPUTE_CAPABILITY_MINOR",
                Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )?,
        ],
        memory_bytes: context.total_mem().map_err(refused("cuDeviceTotalMem"))? as u64,
        memory_free_bytes: free as u64,
        copied_bytes: there_and_back(index, &context)?,
    })
}

/// From one pinned buffer to the GPU and into another, which held the complement.
fn there_and_back(index: u32, context: &Arc<CudaContext>) -> Result<u64, CudaError> {
    let refused = |what| refused(what, Some(index));
    let pinned = |of: fn(usize, u32) -> u8| {
        #[allow(unsafe_code, reason = "cudarc hands the memory out unset")]
        // SAFETY: every byte is set below before any is read. Flag 0: this side reads it too.
        let memory = unsafe { context.alloc_pinned_with_flags::<u8>(COPY_BYTES, 0) };
        let mut memory = memory.map_err(refused("cuMemHostAlloc"))?;
        let bytes = memory.as_mut_slice().map_err(refused("cuEventSynchronize"))?;
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = of(at, index);
        }
        Ok(memory)
    };
    let sent = pinned(pattern)?;
    let mut received = pinned(|at, index| !pattern(at, index))?;
    let stream = context.default_stream();
    let mut there = stream.alloc_zeros::<u8>(COPY_BYTES).map_err(refused("cuMemAlloc"))?;
    stream.memcpy_htod(&sent, &mut there).map_err(refused("cuMemcpyHtoD"))?;
    stream
        .memcpy_dtoh(&there, &mut received)
        .map_err(refused("cuMemcpyDtoH"))?;
    stream.synchronize().map_err(refused("cuStreamSynchronize"))?;
    let came = received.as_slice().map_err(refused("cuEventSynchronize"))?;
    let wrong = (0..COPY_BYTES).find(|at| came.get(*at) != Some(&pattern(*at, index)));
    match wrong {
        None => Ok(COPY_BYTES as u64),
        Some(offset) => Err(CudaError::Copy {
            gpu: index,
            offset: offset as u64,
        }),
    }
}

/// No two neighbouring rows of 256 bytes are alike, and no two GPUs get the same.
fn pattern(at: usize, gpu: u32) -> u8 {
    (at ^ at >> 8 ^ at >> 16) as u8 ^ (gpu as u8).wrapping_mul(0x5b) ^ 0xa5
}

fn spelt(uuid: [u8; 16]) -> String {
    let mut text = String::from("GPU-");
    for (at, byte) in uuid.iter().enumerate() {
        if [4, 6, 8, 10].contains(&at) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn refused(what: &'static str, gpu: Option<u32>) -> impl Fn(DriverError) -> CudaError {
    move |error| CudaError::Refused {
        what: what.into(),
        // Its name in cudarc's table: asking the library for a text would be one more call that can fail.
        got: format!("{:?}", error.0),
        gpu,
    }
}

fn value(what: &str, expected: &str, got: i64, gpu: Option<u32>) -> CudaError {
    CudaError::Value {
        what: what.into(),
        expected: expected.into(),
        got,
        gpu,
    }
}
