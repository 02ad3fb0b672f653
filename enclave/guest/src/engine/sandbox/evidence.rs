//! What a validator's sandbox shows besides a node's, so that it makes evidence of its own.
//!
//! A TPM's device and log become the node's own files. Entries of configfs-tsm belong to root whoever makes them (Linux
//! `fs/configfs/inode.c`), so a validator on SEV-SNP or TDX keeps one capability, CAP_DAC_OVERRIDE; which files it opens stays Landlock's
//! list, and no file of it is another's.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use hanzo_device::namespace::Shown;
use rustix::thread::CapabilitySet;

use super::SandboxError;

/// Resource manager, and the firmware's log.
const TPM: &[(&str, Shown)] = &[
    ("/dev/tpmrm0", Shown::Device),
    ("/sys/kernel/security/tpm0/binary_bios_measurements", Shown::Readable),
];
/// Reports and, of TDX, the log and which clock runs.
const TSM: &[(&str, Shown)] = &[
    ("/sys/kernel/config/tsm/report", Shown::Writable),
    ("/sys/firmware/acpi/tables", Shown::Readable),
    ("/sys/devices/system/clocksource", Shown::Readable),
];

/// How this machine's evidence is made, by [`hanzo_device::Attester::kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Source {
    /// By a TPM.
    Tpm,
    /// By the kernel's configfs-tsm.
    Tsm,
}

impl Source {
    pub(super) fn of(kind: &'static str) -> Result<Self, SandboxError> {
        match kind {
            "tpm" | "az-snp-vtpm" => Ok(Self::Tpm),
            "snp" | "tdx" => Ok(Self::Tsm),
            got => Err(SandboxError::Evidence { got }),
        }
    }

    /// What is shown of it. What is not there, this machine made its evidence without.
    pub(super) fn entries(self) -> impl Iterator<Item = (PathBuf, Shown)> {
        let all = match self {
            Self::Tpm => TPM,
            Self::Tsm => TSM,
        };
        let there = all.iter().filter(|(path, _)| Path::new(path).exists());
        there.map(|(path, how)| (PathBuf::from(path), *how))
    }

    /// Capabilities that it takes.
    pub(super) fn capabilities(self) -> CapabilitySet {
        match self {
            Self::Tpm => CapabilitySet::empty(),
            Self::Tsm => CapabilitySet::DAC_OVERRIDE,
        }
    }

    /// Makes what needs no capability the node's own.
    pub(super) fn hand_over(self, uid: u32) -> Result<(), SandboxError> {
        if self == Self::Tsm {
            return Ok(());
        }
        for (path, _) in self.entries() {
            chown(&path, Some(uid), Some(uid)).map_err(|source| SandboxError::Path { path, source })?;
        }
        Ok(())
    }
}
