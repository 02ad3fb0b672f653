//! A third recorded boot: a unified kernel image (systemd-stub of Debian's systemd-boot-efi, trixie, put together with
//! objcopy) under QEMU 10.0.2, OVMF 2025.02 and swtpm, given to QEMU with `-kernel`. Its log was read from the guest's memory.

use hanzo_attestation::eventlog::{Algorithm, EventLog};
use hanzo_measured_boot::Digests;
use hanzo_measured_boot::acpi::AcpiDigests;
use hanzo_measured_boot::event::{ExpectedEvent, Platform, Step, registers_of};
use hanzo_measured_boot::pcr::{BootImage, TpmBoot, predicted};
use hanzo_measured_boot::pe::{Padding, Pe};
use hanzo_measured_boot::replay::Replay;
use hanzo_measured_boot::uki::{Handover, MeasuredSection, Uki};

use crate::images::{cpio, elf, pe, section};
use crate::local::{self, pair};

const LOG: &[u8] = include_bytes!("../vectors/uki-systemd-257.eventlog.bin");

/// Authenticode hash of the image.
fn image() -> Digests {
    pair(
        "ffb3d50cf29f5625e28563fd231f6e1c03be933a32a8191be9edcd6dfa8fa309",
        "5064a067fb9604fa2b16fb5554d83ec69b6b43ec1f55045856924dc34cabb199214325aeec66c4bf77fd5144402ffc06",
    )
}

/// What its stub measures: small sections from their bytes, kernel file and the stub's own .sbat from their digests.
fn sections() -> Vec<MeasuredSection> {
    let initrd = cpio("init", &elf(62));
    let linux = pair(
        "d1bc2c60a78ae6979736d081bc3c90e45ace6baf414f767dff588e319d3492bd",
        "0adcf9ca3379c794faddb5438aada5be9ed947ee018119d803987543e3c832a6878d20a4c907e0bf48d5a34ee47ba6ec",
    );
    let sbat = pair(
        "e34e16fc3b661f29d138dd017ec14683617b3bdec85d175f57731529f6a7a343",
        "b0e32954b0446f4d81148789c9ec24176c891d2a3914ffe107fbf1abc57d6e825b9ce0499fe4265a3783477ff37dad8a",
    );
    [
        (".linux", linux),
        (".osrel", Digests::of(b"ID=hanzo\nVERSION_ID=1\n")),
        (".cmdline", Digests::of(b"console=ttyS0 panic=0")),
        (".initrd", Digests::of(&initrd)),
        (".uname", Digests::of(b"6.12.107")),
        (".sbat", sbat),
    ]
    .map(|(name, data_digests)| MeasuredSection {
        name,
        name_digests: Digests::of_parts(&[name.as_bytes(), &[0]]),
        data_digests,
    })
    .to_vec()
}

/// What its stub handed to the kernel, from the sections that it made that of.
fn handover() -> Handover {
    let initrd = cpio("init", &elf(62));
    let sections = [
        section(".linux", b"kernel"),
        section(".osrel", b"ID=hanzo\nVERSION_ID=1\n"),
        section(".cmdline", b"console=ttyS0 panic=0"),
        section(".initrd", &initrd),
    ];
    let file = pe(&sections, b"");
    Uki::parse(&file).unwrap().handover().unwrap()
}

/// The boot; its ACPI blobs are those that the log names, as none were dumped.
fn boot(image: Digests, inner_kernel: Digests, sections: Vec<MeasuredSection>, log: &EventLog) -> TpmBoot {
    let blobs: Vec<_> = log
        .events()
        .iter()
        .filter(|e| e.kind == 0x0a)
        .map(|e| {
            let hex = |bank| hex::encode(&e.digests[&bank]);
            pair(&hex(Algorithm::Sha256), &hex(Algorithm::Sha384))
        })
        .collect();
    TpmBoot {
        acpi: Some(AcpiDigests {
            loader: blobs[0],
            rsdp: blobs[1],
            tpm_log: Some(blobs[2]),
            tables: blobs[3],
        }),
        image: BootImage::Unified {
            image,
            inner_kernel: Some(inner_kernel),
            sections,
            handover: Some(handover()),
        },
        ..local::boot()
    }
}

/// The log is the prediction, event by event.
fn check(boot: &TpmBoot) {
    let replay = Replay::strict(LOG, Platform::Tpm).unwrap();
    let events: Vec<ExpectedEvent> = boot.events();
    let logged = replay.log.events();
    assert_eq!(logged.len(), events.len());
    for (got, expected) in logged.iter().zip(&events) {
        assert_eq!(
            (got.register, got.kind),
            (expected.register, expected.kind),
            "{expected:?}"
        );
        for bank in [Algorithm::Sha256, Algorithm::Sha384] {
            assert_eq!(Some(&got.digests[&bank][..]), expected.digest(bank), "{expected:?}");
        }
    }
    for value in registers_of(Platform::Tpm, predicted(&boot.image), &events) {
        // Nothing was measured into these two.
        if ![8, 12].contains(&value.register) {
            let got = &replay.banks[&Algorithm::Sha256][&value.register];
            assert_eq!(*got, value.sha256.unwrap().0, "PCR {}", value.register);
        }
    }
}

fn inner_kernel() -> Digests {
    let BootImage::Direct { kernel, .. } = local::boot().image else {
        panic!("a kernel")
    };
    kernel
}

#[test]
fn the_stub_measures_sections_into_pcr_11_and_the_kernel_in_it_into_pcr_4() {
    let log = EventLog::parse_tcg(LOG).unwrap();
    let boot = boot(image(), inner_kernel(), sections(), &log);
    check(&boot);
    let last = boot.events().into_iter().rfind(|e| e.register == 4).unwrap();
    assert_eq!(last.step, Step::InnerKernel);
}

#[test]
fn the_hashes_of_the_real_unified_image_are_computed_from_its_file() {
    let Some(path) = std::env::var_os("HANZO_TEST_UKI") else {
        eprintln!("HANZO_TEST_UKI is not set: the hashes of the real unified image were NOT computed");
        return;
    };
    let file = std::fs::read(path).unwrap();
    let uki = Uki::parse(&file).unwrap();
    assert_eq!(uki.measured(), sections());
    assert_eq!(uki.handover(), Ok(handover()));
    let kernel = Pe::parse(uki.section(".linux").unwrap()).unwrap();
    let log = EventLog::parse_tcg(LOG).unwrap();
    check(&boot(
        uki.pe().authenticode(Padding::AsMeasured),
        kernel.authenticode(Padding::AsMeasured),
        uki.measured(),
        &log,
    ));
}
