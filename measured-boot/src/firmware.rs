//! A firmware image (OVMF and its kin): the tables at its end that say what a launch measures.
//!
//! # Layout
//! The image ends at 4 GiB. Its footer table ends 32 bytes before the end of the file and is read backwards: each entry is
//! `{data, u16 length of the entry, 16-byte GUID}`, the last one (the first read) is the footer itself, whose length counts
//! the whole table. All numbers are little-endian. Two entries hold an offset, from the end of the file, to a list of
//! memory sections: SEV's ([`SevSection`]) and TDX's ([`TdvfSection`]).
//!
//! A file may carry lists for both, of which one is of no use (a part of an image has TDVF sections that lie outside of it):
//! a list is read, and refused, when it is asked for.
//!
//! # Spec
//! edk2 `OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm` and `X64/OvmfSevMetadata.asm`; Intel TDVF design guide, "TDVF metadata".

mod error;
mod footer;
mod guid;
mod sev;
mod tdvf;

pub use error::FirmwareError;
pub use guid::Guid;
pub use sev::{SevSection, SevSectionKind};
pub use tdvf::{TdvfAttributes, TdvfSection, TdvfSectionKind};

use footer::Footer;

/// Longest firmware image in bytes. Real ones have 2 to 16 MiB.
pub const FIRMWARE_BYTES_MAX: usize = 64 << 20;
/// A page: what a launch measures at a time.
pub const PAGE_BYTES: usize = 4096;
/// Where a firmware image ends in guest memory.
pub const IMAGE_END: u64 = 1 << 32;

/// A firmware image whose footer table was read.
#[derive(Debug, Clone)]
pub struct Firmware<'a> {
    bytes: &'a [u8],
    footer: Footer,
}

/// A place in guest memory that the firmware names in its footer table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Guest physical address.
    pub gpa: u32,
    /// Length in bytes.
    pub bytes: u32,
}

impl<'a> Firmware<'a> {
    /// Reads the footer table. An image without one is accepted: what needs an entry says which is missing.
    ///
    /// # Errors
    /// [`FirmwareError::Size`] if the image is empty, no multiple of 4096 bytes or over [`FIRMWARE_BYTES_MAX`];
    /// [`FirmwareError::Entry`], [`FirmwareError::Duplicate`] for a malformed table.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FirmwareError> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(PAGE_BYTES) || bytes.len() > FIRMWARE_BYTES_MAX {
            return Err(FirmwareError::Size { got: bytes.len() });
        }
        let footer = Footer::read(bytes)?;
        Ok(Self { bytes, footer })
    }

    /// The whole file.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Guest physical address of the first byte of an image that ends at 4 GiB.
    pub fn gpa(&self) -> u64 {
        // At most 64 MiB long.
        IMAGE_END.saturating_sub(self.bytes.len() as u64)
    }

    /// Where application processors start under SEV-ES and SNP: the instruction pointer of their first VMSA.
    ///
    /// # Errors
    /// [`FirmwareError::Missing`], [`FirmwareError::Length`].
    pub fn reset_eip(&self) -> Result<u32, FirmwareError> {
        let what = "SEV-ES reset block";
        self.footer
            .u32(what, guid::SEV_ES_RESET)?
            .ok_or(FirmwareError::Missing {
                what,
                help: "use firmware built with SEV-ES support; application processors cannot be started without it",
            })
    }

    /// Where the VMM puts the hashes of kernel, initrd and command line, if this firmware checks them.
    ///
    /// # Errors
    /// [`FirmwareError::Length`].
    pub fn hash_table(&self) -> Result<Option<Area>, FirmwareError> {
        self.footer.area("SEV hash table", guid::SEV_HASH_TABLE)
    }

    /// Where the VMM puts a launch secret (SEV and SEV-ES), if this firmware takes one.
    ///
    /// # Errors
    /// [`FirmwareError::Length`].
    pub fn launch_secret(&self) -> Result<Option<Area>, FirmwareError> {
        self.footer.area("SEV launch secret", guid::SEV_LAUNCH_SECRET)
    }

    /// Offset of an SVSM's first instruction from its first byte, if this image is an SVSM.
    ///
    /// # Errors
    /// [`FirmwareError::Length`].
    pub fn svsm_entry(&self) -> Result<Option<u32>, FirmwareError> {
        self.footer.u32("SVSM info", guid::SVSM_INFO)
    }

    /// Memory sections for SNP, in the file's order, which is the order of measurement. Sections of size 0 are kept.
    ///
    /// # Errors
    /// [`FirmwareError`]: no such list, a malformed one, sections that overlap or end above 4 GiB.
    pub fn sev_sections(&self) -> Result<Vec<SevSection>, FirmwareError> {
        sev::read(self)
    }

    /// Memory sections for TDX, in the file's order, which is the order of measurement.
    ///
    /// # Errors
    /// [`FirmwareError`]: no such list, a malformed one, sections that overlap or take bytes that the file has not.
    pub fn tdvf_sections(&self) -> Result<Vec<TdvfSection>, FirmwareError> {
        tdvf::read(self)
    }

    /// Every GUID of the footer table, sorted.
    pub fn guids(&self) -> impl Iterator<Item = Guid> + '_ {
        self.footer.guids()
    }
}
