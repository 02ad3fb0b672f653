//! What a QEMU q35 machine with OVMF, TPM and a kernel on QEMU's command line measures into PCR 0 to 9.
//!
//! | PCR | what |
//! |---|---|
//! | 0 | version string and volumes of the firmware, separator |
//! | 1 | ACPI blobs, BootOrder, boot options, separator |
//! | 2, 3, 6 | separator |
//! | 4 | Authenticode hash of the kernel, `Calling EFI Application from Boot Option`, separator |
//! | 5 | separator, `Exit Boot Services Invocation`, `… Returned with Success` |
//! | 7 | the five variables of Secure Boot, separator |
//! | 8 | nothing |
//! | 9 | command line, initrd: by the kernel's EFI stub; of a unified kernel image as its stub hands them on |
//! | 11 | of a unified kernel image: names and bytes of its sections |

use hanzo_attestation::eventlog::kind;

use crate::acpi::AcpiDigests;
use crate::crtm::{Crtm, EV_EFI_PLATFORM_FIRMWARE_BLOB};
use crate::digests::Digests;
use crate::efi;
use crate::event::{ExpectedEvent, Sequence, Step};
use crate::uki::{Handover, MeasuredSection};

/// EV_PLATFORM_CONFIG_FLAGS.
pub const EV_PLATFORM_CONFIG_FLAGS: u32 = 0x0a;

/// What decides PCR 0 to 9.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmBoot {
    /// What the firmware measures of itself.
    pub crtm: Crtm,
    /// Of the variables SecureBoot, PK, KEK, db, dbx as UEFI_VARIABLE_DATA; [`efi::no_secure_boot`] without keys.
    pub secure_boot: [Digests; 5],
    /// The blobs of this machine; `None` with firmware that does not measure them.
    pub acpi: Option<AcpiDigests>,
    /// BootOrder and the boot options.
    pub boot_variables: BootVariables,
    /// What is started.
    pub image: BootImage,
}

/// Digests of the values (not the names) of the boot variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootVariables {
    /// Of BootOrder.
    pub order: Digests,
    /// Of Boot#### in that order.
    pub options: Vec<Digests>,
}

impl Default for BootVariables {
    /// Those that OVMF makes with empty variables and a kernel from QEMU: UiApp alone.
    fn default() -> Self {
        Self {
            order: Digests::of(&efi::BOOT_ORDER_FIRST),
            options: vec![Digests::of(&efi::boot_ui_app())],
        }
    }
}

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootImage {
    /// A kernel with command line and initrd, given to QEMU.
    Direct {
        /// Authenticode hash of the bytes that QEMU hands over.
        kernel: Digests,
        /// Of [`efi::load_options`].
        load_options: Digests,
        /// Of the initrd file.
        initrd: Option<Digests>,
    },
    /// A unified kernel image.
    Unified {
        /// Authenticode hash of the image.
        image: Digests,
        /// Authenticode hash of the kernel in it, which newer stubs start through the firmware.
        inner_kernel: Option<Digests>,
        /// Its sections.
        sections: Vec<MeasuredSection>,
        /// What its stub hands on, where that is known ([`crate::uki::Uki::handover`]): PCR 9, and nothing in PCR 12.
        handover: Option<Handover>,
    },
}

/// Registers that are predicted for an image.
pub fn predicted(image: &BootImage) -> &'static [u32] {
    match image {
        BootImage::Direct { .. } => &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        BootImage::Unified { handover: None, .. } => &[0, 1, 2, 3, 4, 5, 6, 7, 8, 11],
        BootImage::Unified { .. } => &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12],
    }
}

impl TpmBoot {
    /// The events in the order of the log.
    pub fn events(&self) -> Vec<ExpectedEvent> {
        let mut log = Sequence::new();
        log.tpm(0, kind::EV_S_CRTM_VERSION, Step::CrtmVersion, self.crtm.version);
        for volume in &self.crtm.volumes {
            log.tpm(0, EV_EFI_PLATFORM_FIRMWARE_BLOB, Step::FirmwareVolume, *volume);
        }
        for variable in self.secure_boot {
            log.tpm(
                7,
                kind::EV_EFI_VARIABLE_DRIVER_CONFIG,
                Step::SecureBootVariable,
                variable,
            );
        }
        let separator = Digests::of(&efi::SEPARATOR);
        log.tpm(7, kind::EV_SEPARATOR, Step::Separator, separator);
        if let Some(acpi) = &self.acpi {
            log.tpm(1, EV_PLATFORM_CONFIG_FLAGS, Step::AcpiLoader, acpi.loader);
            log.tpm(1, EV_PLATFORM_CONFIG_FLAGS, Step::AcpiRsdp, acpi.rsdp);
            if let Some(tpm_log) = acpi.tpm_log {
                log.tpm(1, EV_PLATFORM_CONFIG_FLAGS, Step::AcpiTpmLog, tpm_log);
            }
            log.tpm(1, EV_PLATFORM_CONFIG_FLAGS, Step::AcpiTables, acpi.tables);
        }
        let image = match &self.image {
            BootImage::Direct { kernel, .. } => kernel,
            BootImage::Unified { image, .. } => image,
        };
        log.tpm(4, kind::EV_EFI_BOOT_SERVICES_APPLICATION, Step::Image, *image);
        log.tpm(
            1,
            kind::EV_EFI_VARIABLE_BOOT,
            Step::BootOrder,
            self.boot_variables.order,
        );
        for option in &self.boot_variables.options {
            log.tpm(1, kind::EV_EFI_VARIABLE_BOOT, Step::BootOption, *option);
        }
        let calling = Digests::of(efi::CALLING_APPLICATION);
        log.tpm(4, kind::EV_EFI_ACTION, Step::CallingApplication, calling);
        for register in 0..=6 {
            log.tpm(register, kind::EV_SEPARATOR, Step::Separator, separator);
        }
        self.stub(&mut log);
        let (invocation, success) = (Digests::of(efi::EXIT_INVOCATION), Digests::of(efi::EXIT_SUCCESS));
        log.tpm(5, kind::EV_EFI_ACTION, Step::ExitInvocation, invocation);
        log.tpm(5, kind::EV_EFI_ACTION, Step::ExitSuccess, success);
        log.finish()
    }

    /// What the image measures once it runs.
    fn stub(&self, log: &mut Sequence) {
        match &self.image {
            BootImage::Direct {
                load_options, initrd, ..
            } => {
                log.tpm(9, kind::EV_EVENT_TAG, Step::LoadOptions, *load_options);
                if let Some(initrd) = initrd {
                    log.tpm(9, kind::EV_EVENT_TAG, Step::Initrd, *initrd);
                }
            }
            BootImage::Unified {
                inner_kernel,
                sections,
                handover,
                ..
            } => {
                for section in sections {
                    log.tpm(11, kind::EV_IPL, Step::SectionName, section.name_digests);
                    log.tpm(11, kind::EV_IPL, Step::SectionData, section.data_digests);
                }
                if let Some(kernel) = inner_kernel {
                    log.tpm(4, kind::EV_EFI_BOOT_SERVICES_APPLICATION, Step::InnerKernel, *kernel);
                }
                if let Some(handover) = handover {
                    log.tpm(9, kind::EV_EVENT_TAG, Step::LoadOptions, handover.load_options);
                    if let Some(initrd) = handover.initrd {
                        log.tpm(9, kind::EV_EVENT_TAG, Step::Initrd, initrd);
                    }
                }
            }
        }
    }
}
