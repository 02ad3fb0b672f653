//! Unified kernel images: what systemd's stub measures of one.
//!
//! The stub walks its sections in one fixed order, whatever their order in the file, and measures each that is there
//! twice: its name with a zero, then its bytes as they lie in memory. On a machine with a TPM that goes to PCR 11, in a TD
//! to RTMR2. The signature section cannot be in its own measurement and is left out.
//!
//! # Spec
//! systemd-stub(7), "TPM PCR Notes"; UAPI.5 Unified Kernel Image (UKI).

mod handover;

pub use handover::Handover;

use crate::digests::Digests;
use crate::pe::{Pe, PeError, Section};

/// Sections that are measured, in the order of their measurement.
pub const MEASURED: [&str; 11] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey", ".hwids",
];
/// Which of several counts depends on the machine or on a choice at boot, so that one file has several measurements.
const DEPENDENT: [&str; 3] = [".profile", ".dtbauto", ".efifw"];
/// Not measured: it signs the measurement of the others.
const SIGNATURE: &str = ".pcrsig";

/// Most bytes of memory that a section may have beyond its bytes in the file.
const FILL_BYTES_MAX: usize = 64 << 10;

/// A unified kernel image with one kernel and each section at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uki<'a> {
    pe: Pe<'a>,
    sections: Vec<(&'static str, Section<'a>)>,
}

/// What one section adds to the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeasuredSection {
    /// Which.
    pub name: &'static str,
    /// Of its name with a zero, extended first.
    pub name_digests: Digests,
    /// Of its bytes, extended second.
    pub data_digests: Digests,
}

impl<'a> Uki<'a> {
    /// Reads an image.
    ///
    /// # Errors
    /// [`UkiError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, UkiError> {
        let pe = Pe::parse(bytes)?;
        let mut sections = Vec::new();
        for name in DEPENDENT {
            if pe.sections().iter().any(|s| s.name == name.as_bytes()) {
                return Err(UkiError::Dependent { name });
            }
        }
        for name in MEASURED.into_iter().chain([SIGNATURE]) {
            let mut found = pe
                .sections()
                .iter()
                .filter(|s| s.name == name.as_bytes() && s.virtual_bytes != 0);
            let Some(section) = found.next() else { continue };
            if found.next().is_some() {
                return Err(UkiError::Twice { name });
            }
            let memory = usize::try_from(section.virtual_bytes).unwrap_or(usize::MAX);
            if memory.saturating_sub(section.raw.len()) > FILL_BYTES_MAX {
                return Err(UkiError::Fill {
                    name,
                    memory,
                    file: section.raw.len(),
                });
            }
            sections.push((name, *section));
        }
        if !sections.iter().any(|(name, _)| *name == ".linux") {
            return Err(UkiError::NoKernel);
        }
        Ok(Self { pe, sections })
    }

    /// The image as firmware sees it.
    pub fn pe(&self) -> &Pe<'a> {
        &self.pe
    }

    /// Bytes of a section as far as they are in the file and in memory.
    pub fn section(&self, name: &str) -> Option<&'a [u8]> {
        let (_, section) = self.sections.iter().find(|(n, _)| *n == name)?;
        Some(in_memory(section))
    }

    /// What the stub measures, in order. The same digests go to PCR 11 and, in a TD, to RTMR2.
    ///
    /// # Does not establish
    /// What follows: the command line that the stub hands on and the initrd that it puts together (PCR 9 and 12, or
    /// RTMR2), which depend on the stub's version and on files beside the image: [`Uki::handover`].
    pub fn measured(&self) -> Vec<MeasuredSection> {
        let measured = self.sections.iter().filter(|(name, _)| *name != SIGNATURE);
        measured
            .map(|(name, section)| {
                let data = in_memory(section);
                let memory = usize::try_from(section.virtual_bytes).unwrap_or(usize::MAX);
                let fill = vec![0; memory.saturating_sub(data.len())];
                MeasuredSection {
                    name,
                    name_digests: Digests::of_parts(&[name.as_bytes(), &[0]]),
                    data_digests: Digests::of_parts(&[data, &fill]),
                }
            })
            .collect()
    }
}

fn in_memory<'a>(section: &Section<'a>) -> &'a [u8] {
    let memory = usize::try_from(section.virtual_bytes).unwrap_or(usize::MAX);
    section.raw.get(..memory).unwrap_or(section.raw)
}

/// Why an image was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UkiError {
    /// Not even a PE image.
    #[error("unified kernel image: {0}")]
    Pe(#[from] PeError),
    /// No kernel in it.
    #[error("unified kernel image: expected a section .linux, got none: a plain kernel, or another boot loader")]
    NoKernel,
    /// A section of which the stub takes one.
    #[error("unified kernel image: section {name}: expected once, got it twice")]
    Twice {
        /// Which.
        name: &'static str,
    },
    /// The stub chooses among these at boot, so there is no one measurement.
    #[error(
        "unified kernel image: section {name}: what is measured then depends on the machine or on a choice at boot: \
         build an image without it"
    )]
    Dependent {
        /// Which.
        name: &'static str,
    },
    /// A section that the stub passes on in a way that is not known here.
    #[error(
        "unified kernel image: section {name}: what the kernel gets of it is not predicted: build an image without it"
    )]
    Handover {
        /// Which.
        name: &'static str,
    },
    /// A command line that the stub would change, or none.
    #[error(
        "unified kernel image: section .cmdline: expected 1 to 2047 printable ASCII characters without a space at either end, got {got} bytes"
    )]
    CommandLine {
        /// Its length in bytes.
        got: usize,
    },
    /// A section that is far longer in memory than in the file.
    #[error(
        "unified kernel image: section {name}: {memory} bytes in memory, {file} in the file: expected at most 65536 more"
    )]
    Fill {
        /// Which.
        name: &'static str,
        /// VirtualSize.
        memory: usize,
        /// SizeOfRawData.
        file: usize,
    },
}

impl UkiError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Pe(e) => e.code(),
            Self::NoKernel => "uki.no_kernel",
            Self::Twice { .. } => "uki.section.twice",
            Self::Dependent { .. } => "uki.section.dependent",
            Self::Handover { .. } => "uki.handover",
            Self::CommandLine { .. } => "uki.command_line",
            Self::Fill { .. } => "uki.section.fill",
        }
    }
}
