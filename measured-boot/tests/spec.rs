//! The worked example of SPEC.md, recomputed.

#[path = "support/image.rs"]
mod image;

use hanzo_attestation::digest::{Digest256, Digest384};
use hanzo_measured_boot::firmware::Firmware;
use hanzo_measured_boot::snp::{
    BSP_EIP, CpuModel, GuestFeatures, HostKernel, KernelHashes, SnpLaunch, SnpShape, TscFields, Vmm, Vmsa,
};
use hanzo_measured_boot::tdx::{PageOrder, mrtd};
use image::Image;

const SPEC: &str = include_str!("../SPEC.md");

#[test]
fn every_number_of_the_worked_example() {
    let bytes = Image::new(65_536).build();
    let firmware = Firmware::parse(&bytes).unwrap();
    let launch = SnpLaunch::new(&firmware).unwrap();
    let kernel = KernelHashes::of(b"kernel", b"initrd", "console=ttyS0").unwrap();
    let shape = |vmm, vcpus| SnpShape {
        vmm,
        vcpus,
        cpu: CpuModel::Milan.signature(),
        features: GuestFeatures::SNP,
        host: HostKernel::FromLinux6_10,
        tsc: TscFields::default(),
    };
    let digest = |shape: SnpShape| launch.digest(Some(&kernel), &shape).unwrap().to_string();
    let registers = |eip| {
        let shape = shape(Vmm::Qemu, 1);
        let page = Vmsa::real_mode(shape.vmm, eip, shape.cpu, Some(shape.features), shape.host, shape.tsc);
        Digest384::of(page.bytes()).to_string()
    };
    let four = shape(Vmm::Qemu, 4);
    let rows = [
        ("SHA-256 of the image", Digest256::of(&bytes).to_string()),
        ("its first byte in memory", format!("{:#x}", firmware.gpa())),
        (
            "digest after the image's 16 pages (prefix)",
            launch.prefix().to_string(),
        ),
        (
            "hash table at 0x810c00, SHA-256 of its 176 bytes",
            Digest256::of(&kernel.table()).to_string(),
        ),
        ("register page of the first processor, SHA-384", registers(BSP_EIP)),
        (
            "register page of the others (0x80b004), SHA-384",
            registers(firmware.reset_eip().unwrap()),
        ),
        ("launch digest, QEMU, 1 processor", digest(shape(Vmm::Qemu, 1))),
        ("launch digest, QEMU, 4 processors", digest(four)),
        (
            "launch digest, QEMU, 4 processors, Secure TSC",
            digest(SnpShape {
                features: GuestFeatures::SNP_SECURE_TSC,
                ..four
            }),
        ),
        (
            "launch digest, QEMU, 4 processors, before Linux 6.10",
            digest(SnpShape {
                host: HostKernel::BeforeLinux6_10,
                ..four
            }),
        ),
        ("launch digest, EC2, 4 processors", digest(shape(Vmm::Ec2, 4))),
        ("launch digest, GCE, 4 processors", digest(shape(Vmm::Gce, 4))),
        (
            "MRTD, single pass",
            mrtd(&firmware, PageOrder::SinglePass).unwrap().to_string(),
        ),
        (
            "MRTD, two pass",
            mrtd(&firmware, PageOrder::TwoPass).unwrap().to_string(),
        ),
    ];
    let missing: Vec<_> = rows
        .iter()
        .map(|(what, value)| format!("| {what} | `{value}` |"))
        .filter(|row| !SPEC.contains(row.as_str()))
        .collect();
    assert!(missing.is_empty(), "SPEC.md section 10 lacks:\n{}", missing.join("\n"));
    let in_example = SPEC
        .split("## 10. ")
        .nth(1)
        .and_then(|s| s.split("## 11. ").next())
        .unwrap();
    let written = in_example
        .lines()
        .filter(|l| l.starts_with("| ") && l.contains('`'))
        .count();
    assert_eq!(written, rows.len());
}
