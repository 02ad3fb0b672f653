//! What a confidential guest's kernel offers for attestation, as files: reports through configfs-tsm (TDX, SEV-SNP and
//! SVSM services), TDREPORTs through `/dev/tdx_guest`, runtime measurement registers, and the CCEL event log.
//!
//! The name is that of the crate which Intel's DCAP ships with its C library; this one needs neither. It holds no unsafe
//! code: the one `ioctl` it cannot make safely is an argument of [`Machine::td_report`].
//!
//! It never judges what it reads and opens nothing but the files below its [`Roots`].
//!
//! ```no_run
//! use tdx_attest_rs::{Machine, Provider, Request};
//! let machine = Machine::host();
//! let report = machine.report(&Request::new(Provider::TdxGuest, &[7; 64]))?;
//! assert!(report.outblob.len() > 632, "a TD quote");
//! # Ok::<(), tdx_attest_rs::AttestError>(())
//! ```
//!
//! # Spec
//! Linux `Documentation/ABI/testing/configfs-tsm-report`, `sysfs-devices-virtual-misc-tdx_guest` (6.16),
//! `Documentation/virt/coco/tdx-guest.rst`; ACPI 6.5 section 5.2.34 (CCEL); Intel TDX Module ABI, TDREPORT_STRUCT.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod ccel;
mod error;
mod kernel;
mod report0;
mod rtmr;
mod tsm;

pub use ccel::CCEL_LOG_BYTES_MAX;
pub use error::AttestError;
pub use kernel::{HostKernel, Kernel, Machine, Roots};
pub use report0::{TDX_CMD_GET_REPORT0, TdReport, TdReportRequest};
pub use tsm::{Provider, Report, Request, SvsmService};
