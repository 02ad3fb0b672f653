//! What the guest asks its machine for: evidence of its processor, its vTPM and its GPUs, its measured configuration
//! digest, entropy, and a process that leaks nothing into dumps.
//!
//! [`Attester`] is the boundary. [`detect`] finds the one this machine has: [`SnpConfigfs`] and [`TdxConfigfs`] through the
//! kernel's configfs-tsm, [`tpm::AzureVtpm`] and [`tpm::Vtpm`] through a TPM, each with the GPUs of [`nvml`] beside it. The
//! simulator's attesters live with its callers, which never ship in `hanzo-guest`.
//!
//! This is the only crate of the workspace with `unsafe` code: intrinsics ([`entropy`]: RDSEED; [`sha256`]), one `ioctl`
//! ([`tdx::td_report`]), four calls of the first process ([`machine`]), three of a process that gives up its surroundings
//! ([`namespace`], [`process`]), the boot clock ([`clock`]) and calls into NVIDIA's libraries ([`nvml`], [`cuda`]). It never judges whether evidence is acceptable and never opens
//! a network connection.
//!
//! ```no_run
//! use hanzo_attestation::statement::Statement;
//! use hanzo_attestation::{Digest384, Nonce};
//! use hanzo_device::{Endorsements, Surroundings, detect};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let attester = detect(Surroundings::host(Endorsements::default()))?;
//! let statement = Statement::for_cpu(Digest384([1; 48]), Nonce([2; 32]), Statement::no_devices());
//! println!("{}", attester.evidence(&statement.request()?)?.kind());
//! # Ok(())
//! # }
//! ```
//!
//! # Spec
//! Linux `Documentation/ABI/testing/configfs-tsm-report`; AMD 56421 (GHCB) section 4.1.8.1, certificate table;
//! AMD 56860 table 23, ATTESTATION_REPORT; Intel TDX DCAP Quoting Library API, TD quote; TCG TPM 2.0 Library; NVML API.
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests say so by failing"
    )
)]

pub mod attester;
pub mod certificate_table;
pub mod clock;
pub mod cmdline;
pub mod cuda;
pub mod detect;
pub mod endorsements;
pub mod entropy;
pub mod error;
mod files;
pub mod machine;
pub mod namespace;
pub mod nvml;
pub mod probe;
pub mod process;
pub mod sha256;
pub mod snp;
pub mod tdx;
pub mod tpm;

pub use attester::{Attester, TimeSource};
pub use detect::{Surroundings, WithGpus, detect};
pub use endorsements::Endorsements;
pub use error::DeviceError;
pub use nvml::{GpuSource, ReadyPass};
pub use process::{harden_process, keep_standard_descriptors_alone};
pub use snp::SnpConfigfs;
pub use tdx::TdxConfigfs;
