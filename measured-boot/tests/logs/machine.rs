//! A machine made of readable inputs, its prediction, and the log that it would write.

use hanzo_attestation::Digest256;
use hanzo_attestation::name::Name;
use hanzo_measured_boot::Digests;
use hanzo_measured_boot::acpi::AcpiBlobs;
use hanzo_measured_boot::crtm::{self, Crtm, Profile};
use hanzo_measured_boot::efi;
use hanzo_measured_boot::event::{ExpectedEvent, Input, Platform};
use hanzo_measured_boot::kernel::Kernel;
use hanzo_measured_boot::pcr::{BootImage, BootVariables, TpmBoot, predicted};
use hanzo_measured_boot::pe::Padding;
use hanzo_measured_boot::prediction::{InputFile, Prediction, Shape, TpmModel};

use crate::images::kernel;

/// All that such a machine is made of.
#[derive(Clone)]
pub struct Machine {
    pub firmware: Vec<u8>,
    pub secure_boot: Vec<u8>,
    pub loader: Vec<u8>,
    pub rsdp: Vec<u8>,
    pub tables: Vec<u8>,
    pub boot_option: Vec<u8>,
    pub kernel: Vec<u8>,
    pub command_line: String,
    pub initrd: Option<Vec<u8>>,
    pub tpm_log: bool,
}

pub const CONFIG: &str = "4b227777d4dd1fc61c6f884f48641d02b4d121d3fd328cb08b5531fcacdabf8a";

impl Machine {
    pub fn new() -> Self {
        Self {
            firmware: vec![0x0f; 8192],
            secure_boot: efi::variable_data(&efi::GLOBAL_VARIABLE, "SecureBoot", b""),
            loader: vec![1; 256],
            rsdp: [b"RSD PTR ", &[2; 28][..]].concat(),
            tables: [b"FACS", &[3; 60][..]].concat(),
            boot_option: efi::boot_ui_app(),
            kernel: kernel(&[4; 600]),
            command_line: format!("console=ttyS0 hanzo.config={CONFIG}"),
            initrd: Some(vec![5; 100]),
            tpm_log: true,
        }
    }

    pub fn boot(&self) -> TpmBoot {
        let zeros = vec![0; 65_536];
        let blobs = AcpiBlobs {
            loader: &self.loader,
            rsdp: &self.rsdp,
            tpm_log: self.tpm_log.then_some(&zeros),
            tables: &self.tables,
        };
        let mut secure_boot = efi::no_secure_boot(Profile::Ovmf2025_02);
        secure_boot[0] = Digests::of(&self.secure_boot);
        let load_options = efi::load_options(&self.command_line, self.initrd.is_some()).unwrap();
        let kernel = Kernel::parse(&self.kernel).unwrap();
        TpmBoot {
            // A stand-in: this machine's firmware hashes its two halves.
            crtm: Crtm {
                version: crtm::version("made"),
                volumes: self.firmware.chunks(4096).map(Digests::of).collect(),
                profile: Profile::Ovmf2025_02,
            },
            secure_boot,
            acpi: Some(blobs.digests().unwrap()),
            boot_variables: BootVariables {
                options: vec![Digests::of(&self.boot_option)],
                ..BootVariables::default()
            },
            image: BootImage::Direct {
                kernel: kernel.pe().authenticode(Padding::AsMeasured),
                load_options: Digests::of(&load_options),
                initrd: self.initrd.as_deref().map(Digests::of),
            },
        }
    }

    pub fn inputs(&self) -> Vec<InputFile> {
        let mut inputs = vec![
            InputFile::of(Input::Firmware, &self.firmware),
            InputFile::of(Input::AcpiLoader, &self.loader),
            InputFile::of(Input::AcpiRsdp, &self.rsdp),
            InputFile::of(Input::AcpiTables, &self.tables),
            InputFile::of(Input::Kernel, &self.kernel),
            InputFile::of(Input::CommandLine, self.command_line.as_bytes()),
        ];
        if self.tpm_log {
            inputs.push(InputFile::of(Input::AcpiTpmLog, &[0; 65_536]));
        }
        inputs.extend(self.initrd.iter().map(|i| InputFile::of(Input::Initrd, i)));
        inputs
    }

    pub fn prediction(&self) -> Prediction {
        let boot = self.boot();
        let registers = predicted(&boot.image);
        Prediction::new(Platform::Tpm, registers, boot.events(), self.inputs(), shape()).unwrap()
    }
}

pub fn shape() -> Shape {
    let name = |text: &str| Name::new(text).unwrap();
    Shape {
        cpu_model: name("qemu64"),
        devices: vec![name("virtio-net-pci")],
        machine: name("q35"),
        memory_bytes: 512 << 20,
        qemu: name("10.0.2"),
        qemu_sha256: Digest256([9; 32]),
        tpm: TpmModel::Crb,
        vcpus: 1,
    }
}

/// The log that these events make: a TPM's with both banks, or a TD's with SHA-384 alone. Event data is that of the real
/// ones where it is hashed.
pub fn log_of(events: &[ExpectedEvent]) -> Vec<u8> {
    let tpm = events.iter().all(|e| e.sha256.is_some());
    let banks: &[u8] = match tpm {
        true => &[2, 0, 0, 0, 0x0b, 0, 32, 0, 0x0c, 0, 48, 0],
        false => &[1, 0, 0, 0, 0x0c, 0, 48, 0],
    };
    let mut spec = b"Spec ID Event03\0".to_vec();
    spec.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    spec.extend(banks);
    spec.push(0);
    let mut out = [&0_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), &[0; 20]].concat();
    out.extend((spec.len() as u32).to_le_bytes());
    out.extend(spec);
    for event in events {
        out.extend(event.register.to_le_bytes());
        out.extend(event.kind.to_le_bytes());
        out.extend(&banks[..4]);
        if let Some(digest) = event.sha256 {
            out.extend([0x0b, 0]);
            out.extend(digest.0);
        }
        out.extend([0x0c, 0]);
        out.extend(event.sha384.0);
        let data = data_of(event);
        out.extend((data.len() as u32).to_le_bytes());
        out.extend(data);
    }
    out
}

/// Data whose hash the digest is, for the events of which the specification says so.
fn data_of(event: &ExpectedEvent) -> Vec<u8> {
    let mut known: Vec<Vec<u8>> = vec![
        efi::SEPARATOR.to_vec(),
        efi::CALLING_APPLICATION.to_vec(),
        efi::EXIT_INVOCATION.to_vec(),
        efi::EXIT_SUCCESS.to_vec(),
        efi::BOOT_ORDER_FIRST.to_vec(),
        efi::boot_ui_app(),
        "made\0".encode_utf16().flat_map(u16::to_le_bytes).collect(),
    ];
    // The option that the tests change.
    let mut other_option = efi::boot_ui_app();
    other_option[8] ^= 1;
    known.push(other_option);
    for (guid, name) in [
        (efi::GLOBAL_VARIABLE, "SecureBoot"),
        (efi::GLOBAL_VARIABLE, "PK"),
        (efi::GLOBAL_VARIABLE, "KEK"),
        (efi::IMAGE_SECURITY_DATABASE, "db"),
        (efi::IMAGE_SECURITY_DATABASE, "dbx"),
    ] {
        known.push(efi::variable_data(&guid, name, b""));
        known.push(efi::variable_data(&guid, name, &[1]));
    }
    let found = known.into_iter().find(|data| Digests::of(data).sha384 == event.sha384);
    found.unwrap_or_else(|| b"made".to_vec())
}
