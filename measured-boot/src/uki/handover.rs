//! What systemd's stub gives to the kernel, which measures it on its own account: command line and initrd, PCR 9.
//!
//! # Layout
//! The command line is `.cmdline`, in UTF-16 with a zero. The initrd is `.initrd`, padded with zeros to 4 bytes, and then an
//! archive (cpio, newc) that the stub makes of `.osrel`: directory `.extra` (mode 0555, inode 1), file `.extra/os-release`
//! (mode 0444, inode 2), trailer (inode 0); one link each, owner, time and devices 0, lower-case hexadecimal but for the
//! trailer's `0000000B`. Without `.osrel` it is `.initrd` alone, as it is.
//!
//! # Spec
//! systemd 257, `src/boot/stub.c` and `src/boot/cpio.c`; seen in a boot of 257.13.

use super::{Uki, UkiError};
use crate::digests::Digests;

/// Sections that the stub passes on in ways that were not seen in a boot.
const OTHER: [&str; 4] = [".ucode", ".pcrsig", ".pcrpkey", ".dtb"];
/// The last entry, which the stub has as a constant; its one hexadecimal letter is a capital.
const TRAILER: &[u8] = b"07070100000000000000000000000000000000000000010000000000000000\
      000000000000000000000000000000000000000B00000000TRAILER!!!\0\0\0\0";
const LINE_BYTES_MAX: usize = 2047;

/// What the kernel in a unified image is given by the stub of systemd 257. PCR 9; nothing goes to PCR 12 as long as firmware
/// hands the image no options and nothing lies beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    /// Of the command line.
    pub load_options: Digests,
    /// Of the initrd; `None` if there is nothing to hand over.
    pub initrd: Option<Digests>,
}

impl Uki<'_> {
    /// What the stub of systemd 257 hands on.
    ///
    /// # Does not establish
    /// That nothing else is handed on: credentials, extensions and add-ons beside the image, or load options of the firmware,
    /// are further input, measured into PCR 12 and 13.
    ///
    /// # Errors
    /// [`UkiError::Handover`] for a section whose way to the kernel is not known here, [`UkiError::CommandLine`].
    pub fn handover(&self) -> Result<Handover, UkiError> {
        for name in OTHER {
            if self.section(name).is_some() {
                return Err(UkiError::Handover { name });
            }
        }
        let line = self.section(".cmdline").unwrap_or_default();
        let plain = line.iter().all(|b| (b' '..=b'~').contains(b));
        let ends = line.starts_with(b" ") || line.ends_with(b" ");
        if line.is_empty() || line.len() > LINE_BYTES_MAX || !plain || ends {
            return Err(UkiError::CommandLine { got: line.len() });
        }
        let options: Vec<u8> = line.iter().chain(&[0]).flat_map(|b| [*b, 0]).collect();
        let initrd = self.section(".initrd").unwrap_or_default();
        let archive = self.section(".osrel").map(os_release).unwrap_or_default();
        let pad = match archive.is_empty() {
            true => 0,
            false => initrd.len().wrapping_neg() % 4,
        };
        let handed = !initrd.is_empty() || !archive.is_empty();
        let zeros = [0_u8; 4];
        Ok(Handover {
            load_options: Digests::of(&options),
            initrd: handed.then(|| Digests::of_parts(&[initrd, zeros.get(..pad).unwrap_or_default(), &archive])),
        })
    }
}

/// The stub's archive.
fn os_release(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    entry(&mut out, 1, 0o40_555, ".extra", &[]);
    entry(&mut out, 2, 0o100_444, ".extra/os-release", bytes);
    out.extend(TRAILER);
    out
}

fn entry(out: &mut Vec<u8>, inode: usize, mode: usize, name: &str, bytes: &[u8]) {
    out.extend(b"070701");
    let name_bytes = name.len().saturating_add(1);
    for field in [inode, mode, 0, 0, 1, 0, bytes.len(), 0, 0, 0, 0, name_bytes, 0] {
        out.extend(format!("{field:08x}").bytes());
    }
    out.extend(name.bytes());
    out.push(0);
    pad(out);
    out.extend(bytes);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}
