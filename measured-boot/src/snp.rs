//! Launch digests of AMD's encrypted guests: SEV-SNP, with and without an SVSM, and the older SEV and SEV-ES.
//!
//! [`SnpLaunch`] holds a firmware image and digests it once; each [`SnpShape`] then costs a few hundred hashes. The order of
//! measurement is the VMM's: the whole firmware file, its memory sections in the file's order, and one register page for
//! each virtual processor. What depends on the VMM, on the host's kernel or on the processor model is a parameter with a
//! documented type, never a default.
//!
//! # Spec
//! SEV-SNP Firmware ABI (AMD 56860) 8.17.2 "PAGE_INFO"; AMD64 APM volume 2, table B-4 (VMSA).

mod cpu;
mod error;
mod features;
pub mod id_block;
mod kernel;
mod launch;
mod legacy;
mod page;
mod search;
mod svsm;
mod vmsa;

pub use cpu::{CpuModel, CpuSignature};
pub use error::SnpError;
pub use features::GuestFeatures;
pub use kernel::{KERNEL_TABLE_BYTES, KernelHashes};
pub use launch::{SnpLaunch, SnpShape};
pub use legacy::{EsShape, sev_digest, sev_es_digest};
pub use page::{LaunchContext, PageKind, VMSA_GPA};
pub use search::SnpMatch;
pub use svsm::{SvsmShape, svsm_digest};
pub use vmsa::{BSP_EIP, HostKernel, TscFields, Vmm, Vmsa};

/// Most virtual processors of one guest.
pub const VCPUS_MAX: u32 = 4096;
