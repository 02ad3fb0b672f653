//! The whole prediction from files: a QEMU q35 machine with OVMF that starts a kernel given on QEMU's command line.

use hanzo_attestation::name::{Name, NameError};

use crate::acpi::{AcpiBlobs, AcpiError};
use crate::crtm::{Crtm, CrtmError, Profile};
use crate::digests::Digests;
use crate::efi::{self, CommandLineError};
use crate::event::{Input, Platform, Step};
use crate::explain::Known;
use crate::firmware::{Firmware, FirmwareError, TdvfSectionKind};
use crate::kernel::{Handover, Initrd, InitrdError, Kernel, KernelError, Patch, PatchError, handed_over};
use crate::pcr::{BootImage, BootVariables, TpmBoot, predicted};
use crate::pe::{Padding, Pe, PeError};
use crate::prediction::{InputFile, Prediction, PredictionError, Shape, TpmModel};
use crate::rtmr::{AcceptedMemory, HobError, PREDICTED, TdBoot, TdImage, td_hob};

/// What is started, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectBoot<'a> {
    /// The firmware file.
    pub firmware: &'a [u8],
    /// The kernel file.
    pub kernel: &'a [u8],
    /// The command line as it is given to QEMU, without `initrd=`.
    pub command_line: &'a str,
    /// The initrd file.
    pub initrd: Option<&'a [u8]>,
    /// The blobs that this machine's QEMU makes, with the BARs where the firmware puts them.
    pub acpi: AcpiBlobs<'a>,
    /// Which bytes of the kernel the firmware gets.
    pub handover: Handover,
    /// The machine.
    pub shape: Shape,
}

impl DirectBoot<'_> {
    /// PCR 0 to 9. Variables are empty: no Secure Boot, and the boot option that OVMF makes for itself.
    ///
    /// `crtm`: what this firmware measures of itself, [`Crtm::known`] or [`Crtm::recorded_in`].
    ///
    /// # Errors
    /// [`BootError`].
    pub fn predict_tpm(&self, crtm: Crtm) -> Result<Prediction, BootError> {
        if self.shape.tpm == TpmModel::None || self.acpi.tpm_log.is_none() {
            return Err(BootError::NoTpm);
        }
        // Old firmware does not know the file that new QEMU offers.
        if (crtm.profile, self.handover) == (Profile::Ovmf2022_11, Handover::Raw) {
            return Err(BootError::OldFirmware);
        }
        let digests = self.digests()?;
        let acpi = self.acpi.digests()?;
        let boot = TpmBoot {
            secure_boot: efi::no_secure_boot(crtm.profile),
            acpi: (crtm.profile != Profile::Ovmf2022_11).then_some(acpi),
            crtm,
            boot_variables: BootVariables::default(),
            image: BootImage::Direct {
                kernel: digests.kernel,
                load_options: digests.load_options,
                initrd: digests.initrd,
            },
        };
        let registers = predicted(&boot.image);
        let prediction = Prediction::new(
            Platform::Tpm,
            registers,
            boot.events(),
            self.inputs(),
            self.shape.clone(),
        )?;
        Ok(prediction)
    }

    /// RTMR0 to RTMR2, with firmware before edk2-stable202505. The variable store and the memory sections are the
    /// firmware file's.
    ///
    /// # Errors
    /// [`BootError`].
    pub fn predict_tdx(&self) -> Result<Prediction, BootError> {
        let firmware = Firmware::parse(self.firmware)?;
        let digests = self.digests()?;
        let acpi = self.acpi.digests()?;
        let mut accepted = Vec::new();
        let (mut hob_start, mut variables) = (None, None);
        for section in firmware.tdvf_sections()? {
            match section.kind {
                TdvfSectionKind::TdHob => hob_start = hob_start.or(Some(section.gpa)),
                TdvfSectionKind::TempMem => {}
                TdvfSectionKind::Cfv => {
                    let end = section.offset.saturating_add(section.raw_bytes);
                    variables = variables.or(self.firmware.get(section.offset..end));
                    continue;
                }
                _ => continue,
            }
            accepted.push(AcceptedMemory {
                start: section.gpa,
                bytes: section.bytes,
            });
        }
        let hob_start = hob_start.ok_or(BootError::Section { kind: "TD_HOB" })?;
        let variables = variables.ok_or(BootError::Section { kind: "CFV" })?;
        let hob = td_hob(hob_start, &accepted, self.shape.memory_bytes)?;
        let boot_variables = BootVariables::default();
        let boot = TdBoot {
            td_hob: crate::sha384(&[&hob]),
            configuration_volume: crate::sha384(&[variables]),
            secure_boot: efi::no_secure_boot(Profile::Ovmf2025_02).map(|d| d.sha384),
            acpi_loader: acpi.loader.sha384,
            acpi_rsdp: acpi.rsdp.sha384,
            acpi_tpm_log: acpi.tpm_log.map(|d| d.sha384),
            acpi_tables: acpi.tables.sha384,
            boot_order: boot_variables.order.sha384,
            boot_options: boot_variables.options.iter().map(|d| d.sha384).collect(),
            image: TdImage::Direct {
                kernel: digests.kernel.sha384,
                load_options: digests.load_options.sha384,
                initrd: digests.initrd.map(|d| d.sha384),
            },
        };
        let prediction = Prediction::new(
            Platform::Tdx,
            &PREDICTED,
            boot.events(),
            self.inputs(),
            self.shape.clone(),
        )?;
        Ok(prediction)
    }

    /// What often is measured instead: the kernel as the other kind of QEMU hands it over, and the command line without
    /// what OVMF appends.
    ///
    /// # Errors
    /// [`BootError`].
    pub fn alternatives(&self) -> Result<Vec<Known>, BootError> {
        let name = |text: &str| Name::new(text);
        let kernel = Kernel::parse(self.kernel)?;
        let mut known = Vec::new();
        let raw = kernel.pe().authenticode(Padding::AsMeasured);
        known.push(Known::new(Step::Image, name("kernel-raw")?, raw));
        let patch = Handover::Patched(Patch {
            memory_bytes: self.shape.memory_bytes,
            initrd_bytes: self.initrd.map(length),
        });
        // A machine that no old QEMU would start has no such alternative.
        if let Ok(patched) = handed_over(&kernel, self.command_line, patch) {
            let patched = Pe::parse(&patched)?.authenticode(Padding::AsMeasured);
            known.push(Known::new(Step::Image, name("kernel-patched-by-qemu")?, patched));
        }
        for (what, with_initrd) in [
            ("command-line-without-initrd", false),
            ("command-line-with-initrd", true),
        ] {
            let options = Digests::of(&efi::load_options(self.command_line, with_initrd)?);
            known.push(Known::new(Step::LoadOptions, name(what)?, options));
        }
        Ok(known)
    }

    fn digests(&self) -> Result<ImageDigests, BootError> {
        let kernel = Kernel::parse(self.kernel)?;
        if let Some(initrd) = self.initrd {
            Initrd::parse(initrd)?;
        }
        if let Handover::Patched(patch) = self.handover
            && (patch.memory_bytes, patch.initrd_bytes) != (self.shape.memory_bytes, self.initrd.map(length))
        {
            return Err(BootError::Handover);
        }
        let handed = handed_over(&kernel, self.command_line, self.handover)?;
        Ok(ImageDigests {
            kernel: Pe::parse(&handed)?.authenticode(Padding::AsMeasured),
            load_options: Digests::of(&efi::load_options(self.command_line, self.initrd.is_some())?),
            initrd: self.initrd.map(Digests::of),
        })
    }

    fn inputs(&self) -> Vec<InputFile> {
        let files = [
            (Input::Firmware, Some(self.firmware)),
            (Input::AcpiLoader, Some(self.acpi.loader)),
            (Input::AcpiRsdp, Some(self.acpi.rsdp)),
            (Input::AcpiTpmLog, self.acpi.tpm_log),
            (Input::AcpiTables, Some(self.acpi.tables)),
            (Input::Kernel, Some(self.kernel)),
            (Input::CommandLine, Some(self.command_line.as_bytes())),
            (Input::Initrd, self.initrd),
        ];
        let files = files.into_iter().filter_map(|(input, bytes)| Some((input, bytes?)));
        files.map(|(input, bytes)| InputFile::of(input, bytes)).collect()
    }
}

struct ImageDigests {
    kernel: Digests,
    load_options: Digests,
    initrd: Option<Digests>,
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Why nothing can be predicted. Each input's own error says where and what to do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BootError {
    /// PCRs without a TPM.
    #[error("virtual machine: expected a TPM (shape.tpm, and the blob etc/tpm/log), got none: no PCR is extended")]
    NoTpm,
    /// The parameters of the patched kernel are another machine's.
    #[error("virtual machine: the kernel's handover is for another RAM or initrd than this machine's")]
    Handover,
    /// A raw kernel for firmware that takes the patched one.
    #[error(
        "firmware: OVMF 2022.11 takes the kernel whose header QEMU patched: give the handover as patched, or newer firmware"
    )]
    OldFirmware,
    /// TDX firmware without a section that is measured.
    #[error("firmware: TDX metadata: expected a section of type {kind}, got none")]
    Section {
        /// Which.
        kind: &'static str,
    },
    /// The firmware.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// What the firmware measures of itself.
    #[error(transparent)]
    Crtm(#[from] CrtmError),
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel after it was handed over.
    #[error(transparent)]
    Pe(#[from] PeError),
    /// How it is handed over.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// The initrd.
    #[error(transparent)]
    Initrd(#[from] InitrdError),
    /// The command line.
    #[error(transparent)]
    CommandLine(#[from] CommandLineError),
    /// The dump.
    #[error(transparent)]
    Acpi(#[from] AcpiError),
    /// The machine's memory map.
    #[error(transparent)]
    Hob(#[from] HobError),
    /// The result.
    #[error(transparent)]
    Prediction(#[from] PredictionError),
    /// A name of an alternative.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl BootError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoTpm => "boot.no_tpm",
            Self::Handover => "boot.handover",
            Self::OldFirmware => "boot.old_firmware",
            Self::Section { .. } => "boot.section",
            Self::Firmware(e) => e.code(),
            Self::Crtm(e) => e.code(),
            Self::Kernel(e) => e.code(),
            Self::Pe(e) => e.code(),
            Self::Patch(e) => e.code(),
            Self::Initrd(e) => e.code(),
            Self::CommandLine(e) => e.code(),
            Self::Acpi(e) => e.code(),
            Self::Hob(e) => e.code(),
            Self::Prediction(e) => e.code(),
            Self::Name(_) => "boot.name",
        }
    }
}
