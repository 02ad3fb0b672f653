//! A TPM 2.0 over its bare command interface: the few commands that evidence and the fences of signing keys need, marshalled here, so that no C stack
//! stands between the guest and `/dev/tpmrm0`.
//!
//! # Spec
//! TCG TPM 2.0 Library, Part 2 (structures), Part 3 (commands), revision 1.59.

mod attester;
mod client;
mod connection;
mod fence;
mod hcl;
mod public;
mod wire;

pub use attester::{AkSource, AzureVtpm, Vtpm};
pub use client::{PcrSelection, Tpm};
pub use fence::{FENCE_BYTES, NvFence};
pub use hcl::{HCL_INDEX, HclKind};
pub use public::AkPublic;

use std::path::PathBuf;

/// Why the TPM gave no evidence.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// The device could not be opened.
    #[error("{path}: {source}: is there a vTPM, and does this user own it?")]
    Open {
        /// Which device.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The device could not be read or written.
    #[error("{command}: {source}")]
    Io {
        /// During which command.
        command: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The TPM refused.
    #[error("{command}: response code {rc:#x}")]
    Refused {
        /// The command.
        command: &'static str,
        /// TPM_RC.
        rc: u32,
    },
    /// Nothing at this handle.
    #[error("{command}: handle {handle:#x}: there is nothing at it")]
    NoHandle {
        /// The command.
        command: &'static str,
        /// Which handle.
        handle: u32,
    },
    /// A response that is not of its format.
    #[error("{command}: {field}: expected {expected}")]
    Malformed {
        /// The command.
        command: &'static str,
        /// Which field.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
    },
    /// An answer that the TPM which holds the index did not give.
    #[error(
        "{command}: the answer is not authenticated: somebody between this guest and the TPM changed it, or the index is another's"
    )]
    Unauthenticated {
        /// The command.
        command: &'static str,
    },
    /// The index is there already.
    #[error(
        "TPM2_NV_DefineSpace: index {index:#x}: it is defined already: an index is defined once for each key; name another one"
    )]
    Defined {
        /// Which.
        index: u32,
    },
    /// Defining an index ended halfway.
    #[error(
        "{source}: index {index:#x} may be defined now, and nobody can use it: take it away (tpm2_nvundefine {index:#x}) before it is defined again, or name another one"
    )]
    LeftDefined {
        /// Which.
        index: u32,
        /// What failed.
        source: Box<TpmError>,
    },
    /// The random generator failed.
    #[error("no random bytes for a nonce")]
    Random,
    /// The key is no attestation key.
    #[error("attestation key: {what}")]
    Key {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The quote commits to something else.
    #[error("TPM2_Quote: extraData: the quote carries other bytes than the ones asked for")]
    QualifyingData,
    /// Registers changed between quoting and reading, again and again.
    #[error(
        "TPM2_Quote: pcrDigest: the registers changed at each of {tries} tries: something extends them all the time"
    )]
    Unstable {
        /// How often it was tried.
        tries: u32,
    },
}

impl TpmError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "vtpm.open",
            Self::Io { .. } => "vtpm.io",
            Self::Refused { .. } => "vtpm.refused",
            Self::NoHandle { .. } => "vtpm.no_handle",
            Self::Malformed { .. } => "vtpm.malformed",
            Self::Unauthenticated { .. } => "vtpm.unauthenticated",
            Self::Defined { .. } => "vtpm.defined",
            Self::LeftDefined { .. } => "vtpm.left_defined",
            Self::Random => "vtpm.random",
            Self::Key { .. } => "vtpm.key",
            Self::QualifyingData => "vtpm.qualifying_data",
            Self::Unstable { .. } => "vtpm.unstable",
        }
    }
}
