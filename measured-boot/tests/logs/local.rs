//! A recorded boot (QEMU 10.0.2, OVMF 2025.02, swtpm, Linux 6.12): the prediction from its inputs equals log and PCRs.

use hanzo_attestation::Digest256;
use hanzo_attestation::Digest384;
use hanzo_attestation::eventlog::{Algorithm, EventLog};
use hanzo_measured_boot::Digests;
use hanzo_measured_boot::acpi::AcpiDigests;
use hanzo_measured_boot::crtm::{Crtm, Profile};
use hanzo_measured_boot::efi;
use hanzo_measured_boot::event::{Platform, registers_of};
use hanzo_measured_boot::pcr::{BootImage, BootVariables, TpmBoot, predicted};
use hanzo_measured_boot::pe::Padding;

use crate::vectors::vector;

pub const LOG: &str = "measured-boot/local/qemu10-ovmf2025.02-swtpm-direct612.eventlog.bin";

pub fn pair(sha256: &str, sha384: &str) -> Digests {
    Digests {
        sha256: Digest256::from_hex(sha256).unwrap(),
        sha384: Digest384::from_hex(sha384).unwrap(),
    }
}

/// The boot from what is on record of its inputs: firmware by SHA-256, Authenticode hash of the kernel, command line,
/// SHA-256 of the initrd, dumped blobs. SHA-384 of kernel, initrd and blobs stand here as they were computed.
pub fn boot() -> TpmBoot {
    let firmware = "14954040cc754ade0c625ac3470ea46d4c14318b5b1396de4ef77090203d76db";
    TpmBoot {
        crtm: Crtm::known(&Digest256::from_hex(firmware).unwrap()).unwrap(),
        secure_boot: efi::no_secure_boot(Profile::Ovmf2025_02),
        acpi: Some(AcpiDigests {
            loader: pair(
                "55513b7a1fe669bf8f10721e88c6003f35a765f54518324843f09b1bc0b014d1",
                LOADER_384,
            ),
            rsdp: pair(
                "b64c966ec3d0fbb98b3d3890d97822de9327fca795f656362ad3290c6da9b23b",
                RSDP_384,
            ),
            tpm_log: Some(Digests::of(&[0; 65_536])),
            tables: pair(
                "84e76ac1a5ebc3a4a045a02c273785920fc6eb426bd9bcb8f126c3f1f86d8eff",
                TABLES_384,
            ),
        }),
        boot_variables: BootVariables::default(),
        image: BootImage::Direct {
            kernel: pair(
                "782467f032ce2d6a96d9131eac2bcf910ba46099c99e6cfd20555da97a7f1390",
                KERNEL_384,
            ),
            load_options: Digests::of(&efi::load_options("console=ttyS0 panic=-1 quiet", true).unwrap()),
            initrd: Some(pair(
                "c514652734d106da8c455556898bc34a30766d7f12e1399975bf237428c7de85",
                INITRD_384,
            )),
        },
    }
}

const LOADER_384: &str =
    "c131ecc2a1b694c2a08db162f5661ff9e47778dd8bdaccacebc376ff4a26a7fcf7f49d40c65aafcadffce9a4b87371e4";
const RSDP_384: &str =
    "c6067e6b807edd3ab32ba558a7dec45d9cb6f2976bf16cde283137cc7b1a76d6a035331cdfd4e4c8454964b3449341c0";
const TABLES_384: &str =
    "a70a00be3d9a6c0b832f45ffead6ebf966baba6ac33b67ea14c7740dbf122c804f510ae091cc2740ee5aa4873a8146ff";
const KERNEL_384: &str =
    "b87b2bfd7eb3fcc0c5e3f28a8bd807420d85d8d2ccd0d2727a5b7025aa2d16a6c3369b80556175dad1e1749843ee8f93";
const INITRD_384: &str =
    "a387a71a2b7bcb560f4f6f5541f8db84f94c24dbbdd70c4878cc4201f5364d5c1c78dc70966458a12472609f2de2e3b1";

#[test]
fn the_predicted_events_are_those_of_the_recorded_log_in_both_banks() {
    let Some(log) = vector(LOG) else { return };
    let log = EventLog::parse_tcg(&log).unwrap();
    let events = boot().events();
    assert_eq!(log.events().len(), events.len());
    for (got, expected) in log.events().iter().zip(&events) {
        assert_eq!(
            (got.register, got.kind),
            (expected.register, expected.kind),
            "{expected:?}"
        );
        for bank in [Algorithm::Sha256, Algorithm::Sha384] {
            assert_eq!(Some(&got.digests[&bank][..]), expected.digest(bank), "{expected:?}");
        }
    }
    // What one recorded boot tells of its firmware is what is known of it.
    assert_eq!(Crtm::recorded_in(&log).unwrap(), boot().crtm);
}

/// Of the recorded boot: PCR 0 to 9 as its TPM quoted them.
pub const QUOTED: [&str; 10] = [
    "0101271704ccc2360ddbb08438d591c23fb8a0a9cb0cebc60cefea7868833f8e",
    "64ec3a3119159fe15a299de52e5ce212e60d0b52f57caa26c832e8deb9e64aef",
    "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
    "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
    "b647ed3ea6befbcd01a611fb66a94f9df9d3f211aeb14d6da0d5ea968a940cba",
    "a5ceb755d043f32431d63e39f5161464620a3437280494b5850dc1b47cc074e0",
    "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
    "b5710bf57d25623e4019027da116821fa99f5c81e9e38b87671cc574f9281439",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "fc2d7ec49a8afff930064c6ffc4e3417b4210caf3b2b6ed5d4d5c56f19ac3563",
];

#[test]
fn the_predicted_pcrs_are_those_that_the_tpm_quoted() {
    let boot = boot();
    let values = registers_of(Platform::Tpm, predicted(&boot.image), &boot.events());
    for (value, (register, quoted)) in values.iter().zip((0..).zip(QUOTED)) {
        assert_eq!(
            (value.register, value.sha256.unwrap().to_string()),
            (register, quoted.to_owned())
        );
    }
    // The first 8 bytes of SHA-384 PCR 1 of machine A as its note has them.
    assert!(values[1].sha384.to_string().starts_with("83d58ad17ad16981"));
    let Some(text) = vector("measured-boot/local/pcrs-sha256.txt") else {
        return;
    };
    let text = String::from_utf8(text).unwrap().to_lowercase();
    for (register, quoted) in QUOTED.iter().enumerate() {
        assert!(text.contains(&format!("pcr{register} {quoted}\n")), "PCR {register}");
    }
}

#[test]
fn firmware_without_a_recorded_boot_is_named() {
    let other = Digest256([7; 32]);
    let error = Crtm::known(&other).unwrap_err();
    assert_eq!(error.code(), "crtm.unknown");
    assert!(error.to_string().contains(&other.to_string()));
}

#[test]
fn a_command_line_that_would_be_measured_otherwise_is_refused() {
    assert!(efi::load_options(&"a".repeat(2047), true).is_ok());
    let code = |text: &str| efi::load_options(text, true).map_or_else(|e| e.code(), |_| "accepted");
    assert_eq!(code(&"a".repeat(2048)), "cmdline.length");
    assert_eq!(code("quiet\n"), "cmdline.character");
    assert_eq!(code("name=ä"), "cmdline.character");
    assert_eq!(code("quiet"), "accepted");
}

/// The kernel itself is Debian's linux-image-6.12.107+deb13-cloud-amd64 (`apt-get download`, suite trixie, while the
/// archive has it): give the path of its vmlinuz.
#[test]
fn the_authenticode_hash_of_the_recorded_kernel_is_computed_from_its_file() {
    let Some(path) = std::env::var_os("HANZO_TEST_VMLINUZ") else {
        eprintln!("HANZO_TEST_VMLINUZ is not set: the hash of the real kernel was NOT computed");
        return;
    };
    let file = std::fs::read(path).unwrap();
    assert_eq!(
        Digest256::of(&file).to_string(),
        "d1bc2c60a78ae6979736d081bc3c90e45ace6baf414f767dff588e319d3492bd",
        "another kernel than the recorded one"
    );
    let kernel = hanzo_measured_boot::kernel::Kernel::parse(&file).unwrap();
    let BootImage::Direct { kernel: expected, .. } = boot().image else {
        panic!("a kernel")
    };
    assert_eq!(kernel.pe().authenticode(Padding::AsMeasured), expected);
}

#[test]
fn the_specification_has_the_recorded_values() {
    let text = include_str!("../../LOGS.md");
    for value in QUOTED
        .iter()
        .filter(|v| !v.starts_with("0000"))
        .chain(&crate::td::QUOTED)
    {
        assert!(text.contains(value), "{value}");
    }
    let BootImage::Direct { kernel, .. } = boot().image else {
        panic!("a kernel")
    };
    assert!(text.contains(&kernel.sha256.to_string()));
    assert!(text.contains(&crate::td::boot().td_hob.to_string()));
}
