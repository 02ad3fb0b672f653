//! The files of a boot, and what a matrix keeps of them.

use hanzo_attestation::digest::Digest256;
use serde::{Deserialize, Serialize};

use super::MatrixError;
use crate::snp::KernelHashes;

/// The argument that measures the configuration.
const CONFIG: &str = "hanzo.config=";

/// What is booted.
#[derive(Debug, Clone, Copy)]
pub struct BootFiles<'a> {
    /// The whole firmware image.
    pub firmware: &'a [u8],
    /// The kernel as the VMM hands it over, if it does.
    pub kernel: Option<&'a [u8]>,
    /// The initrd.
    pub initrd: Option<&'a [u8]>,
    /// The kernel's command line.
    pub cmdline: &'a str,
}

/// One file, by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Length.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: Digest256,
}

/// What the values were computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// The firmware image.
    pub firmware: FileDigest,
    /// The kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<FileDigest>,
    /// The initrd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initrd: Option<FileDigest>,
    /// The command line, as given.
    pub cmdline: String,
}

impl FileDigest {
    /// Digests a file.
    pub fn of(file: &[u8]) -> Self {
        Self {
            bytes: file.len() as u64,
            sha256: Digest256::of(file),
        }
    }
}

impl BootFiles<'_> {
    pub(super) fn check(&self) -> Result<(), MatrixError> {
        if self.kernel.is_none() {
            if self.initrd.is_some() {
                return Err(MatrixError::WithoutKernel { what: "an initrd" });
            }
            if !self.cmdline.is_empty() {
                return Err(MatrixError::WithoutKernel { what: "a command line" });
            }
        }
        Ok(())
    }

    pub(super) fn inputs(&self) -> Inputs {
        Inputs {
            firmware: FileDigest::of(self.firmware),
            kernel: self.kernel.map(FileDigest::of),
            initrd: self.initrd.map(FileDigest::of),
            cmdline: self.cmdline.to_owned(),
        }
    }

    /// The files' SHA-256 is in both: each is hashed once.
    pub(super) fn kernel_hashes(&self, inputs: &Inputs) -> Result<Option<KernelHashes>, MatrixError> {
        let Some(kernel) = &inputs.kernel else {
            return Ok(None);
        };
        // The command line is checked and hashed; the two files were already.
        let hashes = KernelHashes::of(&[], &[], self.cmdline)?;
        let initrd = inputs.initrd.as_ref().map_or(hashes.initrd, |i| i.sha256);
        Ok(Some(KernelHashes {
            kernel: kernel.sha256,
            initrd,
            ..hashes
        }))
    }
}

/// SHA-256 of the configuration that a command line measures: exactly one argument, spelled as the guest reads it.
pub(super) fn config_digest(cmdline: &str) -> Result<Digest256, MatrixError> {
    let mut values = cmdline.split_ascii_whitespace().filter_map(|a| a.strip_prefix(CONFIG));
    let first = values.next();
    let found = usize::from(first.is_some()).saturating_add(values.count());
    match first.and_then(Digest256::from_hex) {
        Some(digest) if found == 1 => Ok(digest),
        _ => Err(MatrixError::Config { found }),
    }
}
