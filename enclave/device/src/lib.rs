//! What the guest asks its machine for: evidence, its measured configuration digest, entropy, and a process that leaks
//! nothing into dumps.
//!
//! [`Attester`] is the boundary: one real implementation here ([`SnpConfigfs`], SEV-SNP through the kernel's
//! configfs-tsm), and one in the simulator crate's callers, which never ship in `hanzo-guest`.
//!
//! This is the only crate of the workspace with `unsafe` code, and all of it is one intrinsic ([`entropy`]: RDSEED).
//! It never judges evidence and never opens a network connection.
//!
//! ```no_run
//! use hanzo_device::{Attester, SnpConfigfs};
//! use hanzo_attestation::statement::Statement;
//! use hanzo_attestation::{Digest384, Nonce};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let statement = Statement::for_cpu(Digest384([1; 48]), Nonce([2; 32]), Statement::no_devices());
//! let evidence = SnpConfigfs::system().evidence(&statement.request()?)?;
//! assert_eq!(evidence.kind(), "snp");
//! # Ok(())
//! # }
//! ```
//!
//! # Spec
//! Linux `Documentation/ABI/testing/configfs-tsm-report`; AMD 56421 (GHCB) section 4.1.8.1, certificate table;
//! AMD 56860 table 23, ATTESTATION_REPORT.
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod attester;
pub mod certificate_table;
pub mod cmdline;
pub mod configfs;
pub mod entropy;
pub mod error;
pub mod process;

pub use attester::{Attester, TimeSource};
pub use configfs::SnpConfigfs;
pub use error::DeviceError;
pub use process::harden_process;
