//! Where a sealed pack lies: a file, or a disk without a file system, whose end is padded to a whole sector.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::PackError;
use crate::header::HEADER_BYTES;

/// Bytes of a disk's sector.
const SECTOR_BYTES: u64 = 512;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    File,
    Disk,
}

/// An open pack of which nothing is believed.
pub(crate) struct Source {
    path: PathBuf,
    file: File,
    bytes: u64,
    medium: Medium,
}

impl Source {
    /// Opens a plain file or a block device.
    pub(crate) fn open(path: &Path) -> Result<Self, PackError> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32) // a FIFO would keep us waiting for ever
            .open(path)
            .map_err(PackError::io("opening", path))?;
        let meta = file.metadata().map_err(PackError::io("reading", path))?;
        if meta.file_type().is_block_device() {
            // The kernel gives a device's size at its end and nowhere else.
            let bytes = file.seek(SeekFrom::End(0)).map_err(PackError::io("reading", path))?;
            return Self::of(path, file, bytes, Medium::Disk);
        }
        let bytes = if meta.is_file() { meta.len() } else { 0 };
        Self::of(path, file, bytes, Medium::File)
    }

    pub(crate) fn of(path: &Path, file: File, bytes: u64, medium: Medium) -> Result<Self, PackError> {
        if bytes < HEADER_BYTES as u64 {
            return Err(PackError::Header {
                field: "length",
                expected: "a file or a disk of at least 64 bytes",
                got: format!("{bytes} bytes"),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            medium,
        })
    }

    /// Its length, padding included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads exactly this much.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), PackError> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(PackError::io("reading", &self.path))
    }

    /// True if nothing follows the pack's `expected` bytes but what a sector's end needs.
    pub(crate) fn ends_with_pack(&self, expected: u64) -> Result<bool, PackError> {
        if self.medium == Medium::File || self.bytes != expected.next_multiple_of(SECTOR_BYTES) {
            return Ok(self.bytes == expected);
        }
        let mut padding = [0; SECTOR_BYTES as usize];
        let padding = padding.get_mut(..(self.bytes - expected) as usize).unwrap_or_default();
        self.read_at(padding, expected)?;
        Ok(padding.iter().all(|byte| *byte == 0))
    }
}
