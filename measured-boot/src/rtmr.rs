//! What a TDX guest measures into RTMR0 to RTMR2 with OVMF and a kernel on QEMU's command line.
//!
//! | RTMR | MR index | what |
//! |---|---|---|
//! | 0 | 1 | hand-off block, variable store, variables of Secure Boot, separator, ACPI blobs, BootOrder, boot options |
//! | 1 | 2 | Authenticode hash of the kernel, `Calling EFI Application…`, separator, the two events of ExitBootServices |
//! | 2 | 3 | command line, initrd; of a unified kernel image: names and bytes of its sections |
//!
//! RTMR3 (index 4) is the application's and zero after boot. MRTD is the launch measurement, no event extends it.
//!
//! This is the order of OVMF before edk2-stable202505. Newer OVMF measures further fw_cfg files and variables; it is not
//! predicted here.

mod hob;

pub use hob::{AcceptedMemory, HobError, td_hob};

use hanzo_attestation::digest::Digest384;
use hanzo_attestation::eventlog::kind;

use crate::efi;
use crate::event::{ExpectedEvent, Sequence, Step};
use crate::pcr::EV_PLATFORM_CONFIG_FLAGS;
use crate::uki::MeasuredSection;

/// EV_EFI_HANDOFF_TABLES2.
pub const EV_EFI_HANDOFF_TABLES2: u32 = 0x8000_000b;
/// EV_EFI_PLATFORM_FIRMWARE_BLOB2.
pub const EV_EFI_PLATFORM_FIRMWARE_BLOB2: u32 = 0x8000_000a;

/// Registers that are predicted, by their index in a CC event log: RTMR0 to RTMR2.
pub const PREDICTED: [u32; 3] = [1, 2, 3];

/// What decides RTMR0 to RTMR2; all digests are SHA-384.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdBoot {
    /// Of [`td_hob`].
    pub td_hob: Digest384,
    /// Of the configuration volume (the section of type CFV of the firmware file): the variable store.
    pub configuration_volume: Digest384,
    /// Of the variables SecureBoot, PK, KEK, db, dbx as UEFI_VARIABLE_DATA.
    pub secure_boot: [Digest384; 5],
    /// Of `etc/table-loader`.
    pub acpi_loader: Digest384,
    /// Of `etc/acpi/rsdp`.
    pub acpi_rsdp: Digest384,
    /// Of `etc/tpm/log`, with a TPM beside the TD alone.
    pub acpi_tpm_log: Option<Digest384>,
    /// Of `etc/acpi/tables`.
    pub acpi_tables: Digest384,
    /// Of BootOrder.
    pub boot_order: Digest384,
    /// Of Boot####, in that order.
    pub boot_options: Vec<Digest384>,
    /// What is started.
    pub image: TdImage,
}

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TdImage {
    /// A kernel with command line and initrd, given to QEMU.
    Direct {
        /// Authenticode hash of the bytes that QEMU hands over.
        kernel: Digest384,
        /// Of [`efi::load_options`].
        load_options: Digest384,
        /// Of the initrd file.
        initrd: Option<Digest384>,
    },
    /// A unified kernel image whose stub then starts the kernel.
    Unified {
        /// Authenticode hash of the image.
        image: Digest384,
        /// Authenticode hash of the kernel in it, which newer stubs start through the firmware.
        inner_kernel: Option<Digest384>,
        /// Its sections.
        sections: Vec<MeasuredSection>,
        /// Of the command line as the stub hands it on: UTF-16 with a zero.
        load_options: Digest384,
        /// Of the initrd as the stub put it together.
        initrd: Option<Digest384>,
    },
}

impl TdBoot {
    /// The events in the order of the log.
    pub fn events(&self) -> Vec<ExpectedEvent> {
        let separator = crate::sha384(&[&efi::SEPARATOR]);
        let mut log = Sequence::new();
        log.tdx(1, EV_EFI_HANDOFF_TABLES2, Step::TdHob, self.td_hob);
        log.tdx(
            1,
            EV_EFI_PLATFORM_FIRMWARE_BLOB2,
            Step::ConfigurationVolume,
            self.configuration_volume,
        );
        for variable in self.secure_boot {
            log.tdx(
                1,
                kind::EV_EFI_VARIABLE_DRIVER_CONFIG,
                Step::SecureBootVariable,
                variable,
            );
        }
        log.tdx(1, kind::EV_SEPARATOR, Step::Separator, separator);
        log.tdx(1, EV_PLATFORM_CONFIG_FLAGS, Step::AcpiLoader, self.acpi_loader);
        log.tdx(1, EV_PLATFORM_CONFIG_FLAGS, Step::AcpiRsdp, self.acpi_rsdp);
        if let Some(tpm_log) = self.acpi_tpm_log {
            log.tdx(1, EV_PLATFORM_CONFIG_FLAGS, Step::AcpiTpmLog, tpm_log);
        }
        log.tdx(1, EV_PLATFORM_CONFIG_FLAGS, Step::AcpiTables, self.acpi_tables);
        let (TdImage::Direct { kernel: image, .. } | TdImage::Unified { image, .. }) = &self.image;
        log.tdx(2, kind::EV_EFI_BOOT_SERVICES_APPLICATION, Step::Image, *image);
        log.tdx(1, kind::EV_EFI_VARIABLE_BOOT, Step::BootOrder, self.boot_order);
        for option in &self.boot_options {
            log.tdx(1, kind::EV_EFI_VARIABLE_BOOT, Step::BootOption, *option);
        }
        let calling = crate::sha384(&[efi::CALLING_APPLICATION]);
        log.tdx(2, kind::EV_EFI_ACTION, Step::CallingApplication, calling);
        log.tdx(2, kind::EV_SEPARATOR, Step::Separator, separator);
        let (TdImage::Direct {
            load_options, initrd, ..
        }
        | TdImage::Unified {
            load_options, initrd, ..
        }) = &self.image;
        if let TdImage::Unified {
            inner_kernel, sections, ..
        } = &self.image
        {
            for section in sections {
                log.tdx(3, kind::EV_IPL, Step::SectionName, section.name_digests.sha384);
                log.tdx(3, kind::EV_IPL, Step::SectionData, section.data_digests.sha384);
            }
            if let Some(kernel) = inner_kernel {
                log.tdx(2, kind::EV_EFI_BOOT_SERVICES_APPLICATION, Step::InnerKernel, *kernel);
            }
        }
        log.tdx(3, kind::EV_EVENT_TAG, Step::LoadOptions, *load_options);
        if let Some(initrd) = initrd {
            log.tdx(3, kind::EV_EVENT_TAG, Step::Initrd, *initrd);
        }
        let (invocation, success) = (
            crate::sha384(&[efi::EXIT_INVOCATION]),
            crate::sha384(&[efi::EXIT_SUCCESS]),
        );
        log.tdx(2, kind::EV_EFI_ACTION, Step::ExitInvocation, invocation);
        log.tdx(2, kind::EV_EFI_ACTION, Step::ExitSuccess, success);
        log.finish()
    }
}
