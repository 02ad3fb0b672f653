//! The ACPI blobs that QEMU hands to the firmware, and what of them depends on the firmware itself.
//!
//! OVMF measures the blobs as fw_cfg delivers them, before it links and patches its own copies. QEMU builds them when they
//! are first read, which is after the firmware has placed the BARs: so a dump equals what will be measured if the BARs
//! were put where this firmware puts them, see [`Placement`].

mod window;

pub use window::{Bar, Cpu, Placement, Reserved, Vendor, WindowError, low_memory_bytes, place, window64};

use crate::digests::Digests;

/// Longest blob in bytes: QEMU's tables have 128 KiB.
pub const BLOB_BYTES_MAX: usize = 4 << 20;
/// An entry of the linker/loader script.
const LOADER_ENTRY_BYTES: usize = 128;
/// Length of an RSDP of ACPI 2.0, and of 1.0.
const RSDP_BYTES: [usize; 2] = [36, 20];

/// The blobs as a dump of the machine gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcpiBlobs<'a> {
    /// fw_cfg `etc/table-loader`.
    pub loader: &'a [u8],
    /// fw_cfg `etc/acpi/rsdp`.
    pub rsdp: &'a [u8],
    /// fw_cfg `etc/tpm/log`: zeros, and only there with a TPM.
    pub tpm_log: Option<&'a [u8]>,
    /// fw_cfg `etc/acpi/tables`.
    pub tables: &'a [u8],
}

/// What firmware measures of the blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcpiDigests {
    /// Of `etc/table-loader`.
    pub loader: Digests,
    /// Of `etc/acpi/rsdp`.
    pub rsdp: Digests,
    /// Of `etc/tpm/log`.
    pub tpm_log: Option<Digests>,
    /// Of `etc/acpi/tables`.
    pub tables: Digests,
}

impl AcpiBlobs<'_> {
    /// Checks that each blob is what its name says, and hashes it.
    ///
    /// # Does not establish
    /// That the tables are good: the guest's kernel executes what is in them.
    ///
    /// # Errors
    /// [`AcpiError`].
    pub fn digests(&self) -> Result<AcpiDigests, AcpiError> {
        let loader = Blob("etc/table-loader", self.loader);
        let rsdp = Blob("etc/acpi/rsdp", self.rsdp);
        let tables = Blob("etc/acpi/tables", self.tables);
        for blob in [loader, rsdp, tables] {
            blob.bounded()?;
        }
        if !loader.1.len().is_multiple_of(LOADER_ENTRY_BYTES) {
            return Err(loader.wrong("expected entries of 128 bytes each"));
        }
        if !rsdp.1.starts_with(b"RSD PTR ") || !RSDP_BYTES.contains(&rsdp.1.len()) {
            return Err(rsdp.wrong("expected 36 or 20 bytes that begin with RSD PTR"));
        }
        // QEMU's first table is always the FACS, which the linker aligns first.
        if !tables.1.starts_with(b"FACS") && !tables.1.starts_with(b"DSDT") {
            return Err(tables.wrong("expected an ACPI table (FACS or DSDT) at offset 0"));
        }
        let tpm_log = match self.tpm_log {
            None => None,
            Some(bytes) => {
                let blob = Blob("etc/tpm/log", bytes);
                blob.bounded()?;
                if bytes.iter().any(|b| *b != 0) {
                    return Err(blob.wrong("expected zeros, as QEMU allocates it"));
                }
                Some(Digests::of(bytes))
            }
        };
        Ok(AcpiDigests {
            loader: Digests::of(loader.1),
            rsdp: Digests::of(rsdp.1),
            tpm_log,
            tables: Digests::of(tables.1),
        })
    }
}

#[derive(Clone, Copy)]
struct Blob<'a>(&'static str, &'a [u8]);

impl Blob<'_> {
    fn bounded(self) -> Result<(), AcpiError> {
        match self.1.len() {
            1..=BLOB_BYTES_MAX => Ok(()),
            got => Err(AcpiError::Length { blob: self.0, got }),
        }
    }

    fn wrong(self, detail: &'static str) -> AcpiError {
        AcpiError::Shape { blob: self.0, detail }
    }
}

/// Why a dump was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AcpiError {
    /// Empty or too long.
    #[error("ACPI dump: {blob}: expected 1 to {BLOB_BYTES_MAX} bytes, got {got}")]
    Length {
        /// Name in fw_cfg.
        blob: &'static str,
        /// What came.
        got: usize,
    },
    /// Not what its name says: blobs were mixed up, or the dump was cut.
    #[error("ACPI dump: {blob}: {detail}")]
    Shape {
        /// Name in fw_cfg.
        blob: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
}

impl AcpiError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "acpi.length",
            Self::Shape { .. } => "acpi.shape",
        }
    }
}
