//! The hashes of kernel, initrd and command line that a VMM puts into measured memory for the firmware to check.
//!
//! # Layout
//! 176 bytes: GUID `9438d606-4f22-4cc9-b479-a793d411fd21`, u16 168, then three entries `{GUID, u16 50, SHA-256}` for command
//! line (`97d02dd8-bd20-4c94-aa78-e7714d36ab2a`), initrd (`44baf731-3a2f-4bd7-9af1-41e29169781d`) and kernel
//! (`4de79437-abd2-427f-b835-d5b172d2045b`), then 8 zeros.
//!
//! # Spec
//! QEMU `target/i386/sev.c`, `build_kernel_loader_hashes`.

use hanzo_attestation::digest::Digest256;

use super::SnpError;
use crate::firmware::Guid;
use crate::hash::sha256;

/// Length of the table with its padding.
pub const KERNEL_TABLE_BYTES: usize = 176;
const TABLE: Guid = Guid::new(0x9438_d606, 0x4f22, 0x4cc9, 0xb479_a793_d411_fd21);
const CMDLINE: Guid = Guid::new(0x97d0_2dd8, 0xbd20, 0x4c94, 0xaa78_e771_4d36_ab2a);
const INITRD: Guid = Guid::new(0x44ba_f731, 0x3a2f, 0x4bd7, 0x9af1_41e2_9169_781d);
const KERNEL: Guid = Guid::new(0x4de7_9437, 0xabd2, 0x427f, 0xb835_d5b1_72d2_045b);
const TABLE_BYTES: u16 = 168;
const ENTRY_BYTES: u16 = 50;
const CMDLINE_BYTES_MAX: usize = 65_535;

/// What the firmware compares the boot files with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelHashes {
    /// SHA-256 of the kernel file as the VMM hands it over.
    pub kernel: Digest256,
    /// SHA-256 of the initrd; of nothing if there is none.
    pub initrd: Digest256,
    /// SHA-256 of the command line and its trailing NUL.
    pub cmdline: Digest256,
}

impl KernelHashes {
    /// Hashes the boot files. No initrd is an empty one; no command line is the empty one.
    ///
    /// # Errors
    /// [`SnpError::Cmdline`] for a NUL within the command line, or more than 65,535 bytes.
    pub fn of(kernel: &[u8], initrd: &[u8], cmdline: &str) -> Result<Self, SnpError> {
        if let Some(at) = cmdline.bytes().position(|b| b == 0) {
            return Err(SnpError::Cmdline { what: "a NUL byte", at });
        }
        if cmdline.len() > CMDLINE_BYTES_MAX {
            return Err(SnpError::Cmdline {
                what: "too long",
                at: CMDLINE_BYTES_MAX,
            });
        }
        Ok(Self {
            kernel: Digest256::of(kernel),
            initrd: Digest256::of(initrd),
            cmdline: sha256(&[cmdline.as_bytes(), &[0]]),
        })
    }

    /// The padded table.
    pub fn table(&self) -> [u8; KERNEL_TABLE_BYTES] {
        let mut out = Vec::with_capacity(KERNEL_TABLE_BYTES);
        out.extend(TABLE.0);
        out.extend(TABLE_BYTES.to_le_bytes());
        for (guid, hash) in [(CMDLINE, self.cmdline), (INITRD, self.initrd), (KERNEL, self.kernel)] {
            out.extend(guid.0);
            out.extend(ENTRY_BYTES.to_le_bytes());
            out.extend(hash.0);
        }
        let mut padded = [0; KERNEL_TABLE_BYTES];
        for (to, from) in padded.iter_mut().zip(out) {
            *to = from;
        }
        padded
    }
}
