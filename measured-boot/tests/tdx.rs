//! MRTD: known values, both page orders, and what changes it.

#[path = "support/image.rs"]
mod image;

use hanzo_attestation::digest::Digest256;
use hanzo_measured_boot::firmware::Firmware;
use hanzo_measured_boot::snp::{CpuModel, GuestFeatures, HostKernel, SnpLaunch, SnpShape, TscFields, Vmm};
use hanzo_measured_boot::tdx::{PageOrder, mrtd};
use image::Image;

const VALUES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../shared/vectors/measured-boot/local/debian-ovmf.json"
);

fn of(image: &Image, order: PageOrder) -> Result<String, &'static str> {
    let bytes = image.build();
    let firmware = Firmware::parse(&bytes).map_err(|e| e.code())?;
    mrtd(&firmware, order).map(|d| d.to_string()).map_err(|e| e.code())
}

/// Computed by a second program from SPEC.md's text alone, for our own image.
#[test]
fn both_orders() {
    let image = Image::new(65_536);
    assert_eq!(
        of(&image, PageOrder::SinglePass).unwrap(),
        "4db424376967a1e17e698a3912d68df06df8403016f4d5283ed0a5e03869eb3cd5ceffaf52722c32d6e0c61ea1fb83b5"
    );
    assert_eq!(
        of(&image, PageOrder::TwoPass).unwrap(),
        "b1cca249deffe7a04a8658235ac19d439c90be59571e0038a38581f0b726dd2b05a22c058d8ec6f8214cc84c1f9e3ee7"
    );
}

/// SHA-256 of a file, MRTD in both orders, SNP digest.
type Built = (&'static str, Option<[&'static str; 2]>, Option<&'static str>);

/// Firmware built from Debian's edk2 2025.02-8+deb13u1 source, by SHA-256: MRTD in both orders, and the SNP digest of one
/// EPYC-v4 processor without a kernel. Computed once with two other programs; no hardware.
const BUILT: [Built; 2] = [
    (
        "e1747cb0b79aa0f75bb886498c8c28fbe6a1f4d1a38f8f2182187a5e3eae25aa", // IntelTdxX64
        Some([
            "eec1c3242a6d27a4ac4b4ecc7c09def2cab1b25fb6b5473273bfd435ed5295777b31f5b7a07f0f286f907be35afb3d3b",
            "ad058d3030997602405bcf1b4291945e4357eefdadaeb0a7b13522f46cf1a98947a163c8e29a21142bffd0d9cb3ad7c2",
        ]),
        None,
    ),
    (
        "f0074f9a73866d3f4efa5513971cd6591567d8f7b9ac868d25f09d669453afe3", // AmdSevX64
        None,
        Some("f90d5d4672b9e6b19c8b5893aea06472e68c1a95f2c76ae5696947e83528190a58558929d12bd322caf895e6f3ae9e71"),
    ),
];

fn snp(firmware: &Firmware<'_>) -> String {
    let shape = SnpShape {
        vmm: Vmm::Qemu,
        vcpus: 1,
        cpu: CpuModel::EpycV4.signature(),
        features: GuestFeatures::SNP,
        host: HostKernel::FromLinux6_10,
        tsc: TscFields::default(),
    };
    let launch = SnpLaunch::new(firmware).unwrap();
    launch.digest(None, &shape).unwrap().to_string()
}

/// A firmware file that this machine may have (`HANZO_OVMF_FD`): what was computed for its SHA-256.
#[test]
fn our_builds_of_edk2() {
    let Some(bytes) = std::env::var_os("HANZO_OVMF_FD").and_then(|place| std::fs::read(place).ok()) else {
        eprintln!("FIRMWARE MISSING (HANZO_OVMF_FD): AmdSevX64 and IntelTdxX64 were NOT checked");
        return;
    };
    let digest = Digest256::of(&bytes).to_string();
    let firmware = Firmware::parse(&bytes).unwrap();
    let Some((_, mrtds, launch)) = BUILT.iter().find(|(sha256, ..)| *sha256 == digest) else {
        eprintln!("FIRMWARE OTHER (HANZO_OVMF_FD): neither AmdSevX64 nor IntelTdxX64 as pinned: NOT checked");
        return;
    };
    if let Some([single, two]) = mrtds {
        assert_eq!(mrtd(&firmware, PageOrder::SinglePass).unwrap().to_string(), *single);
        assert_eq!(mrtd(&firmware, PageOrder::TwoPass).unwrap().to_string(), *two);
    }
    if let Some(launch) = launch {
        assert_eq!(snp(&firmware), *launch);
    }
}

/// Debian's packaged firmware, if this machine has it: MRTD and SNP digest.
#[test]
fn debians_firmware() {
    let places = [
        "/usr/share/ovmf/OVMF.fd".to_owned(),
        std::env::var("HANZO_OVMF_FD").unwrap_or_default(),
    ];
    let Ok(values) = std::fs::read(VALUES) else {
        eprintln!("VECTORS MISSING (shared/vectors beside the repository): debian-ovmf.json: not run");
        return;
    };
    let values: serde_json::Value = serde_json::from_slice(&values).unwrap();
    let mut checked = 0;
    for place in places {
        let Ok(bytes) = std::fs::read(&place) else { continue };
        let digest = Digest256::of(&bytes).to_string();
        let Some(known) = values.as_object().unwrap().values().find(|v| v["sha256"] == *digest) else {
            continue;
        };
        let firmware = Firmware::parse(&bytes).unwrap();
        for (order, key) in [
            (PageOrder::SinglePass, "mrtd_single_pass"),
            (PageOrder::TwoPass, "mrtd_two_pass"),
        ] {
            assert_eq!(
                mrtd(&firmware, order).unwrap().to_string(),
                known[key].as_str().unwrap(),
                "{key}"
            );
        }
        assert_eq!(
            snp(&firmware),
            known["snp_1vcpu_EPYC-v4_feat0x1_nokernel"].as_str().unwrap()
        );
        checked += 1;
    }
    if checked == 0 {
        eprintln!("FIRMWARE MISSING (Debian package ovmf, or HANZO_OVMF_FD): Debian's MRTD values were NOT checked");
    }
}

#[test]
fn what_is_measured() {
    let good = Image::new(65_536);
    let [single, two] = [PageOrder::SinglePass, PageOrder::TwoPass].map(|order| of(&good, order).unwrap());
    assert_ne!(single, two);
    // A bit of the code changes it; a bit of the variables, which are added and not measured, does not.
    let bytes = good.build();
    for (at, changes) in [(4096, true), (40_000, true), (0, false), (4095, false)] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        let firmware = Firmware::parse(&flipped).unwrap();
        let got = mrtd(&firmware, PageOrder::SinglePass).unwrap().to_string();
        assert_eq!(got != single, changes, "{at}");
    }
    // Addresses and their order count; pages that come after the launch do not.
    let with = |change: fn(&mut Image)| {
        let mut image = good.clone();
        change(&mut image);
        of(&image, PageOrder::SinglePass).unwrap()
    };
    assert_ne!(with(|i| i.tdvf[2].3 += 0x1000), single);
    assert_ne!(with(|i| i.tdvf.swap(2, 3)), single);
    assert_ne!(with(|i| i.tdvf[1].5 = 1), single);
    let late = (0, 0, 1 << 32, 64 << 20, 4, 2);
    let mut image = good.clone();
    image.tdvf.push(late);
    let bytes = image.build();
    // The list itself is measured code here, so compare two that differ in the late section alone.
    image.tdvf[6].3 *= 2;
    assert_ne!(bytes, image.build());
    let unmeasured = |image: &Image| {
        let mut image = image.clone();
        image.tdvf[0].5 = 0;
        of(&image, PageOrder::SinglePass).unwrap()
    };
    assert_eq!(unmeasured(&image), unmeasured(&good));
}

/// Contents that are shorter than their section end in zeros.
#[test]
fn short_contents_end_in_zeros() {
    let mut image = Image::new(65_536);
    image.tdvf[1] = (0, 100, 0xffff_0000, 4096, 1, 1);
    let short = of(&image, PageOrder::TwoPass).unwrap();
    // The same bytes: the image begins with a page of zeros.
    let mut whole = image.clone();
    whole.tdvf[1].1 = 4096;
    let with_code_unmeasured = |image: &Image| {
        let mut image = image.clone();
        image.tdvf[0].5 = 0;
        of(&image, PageOrder::TwoPass).unwrap()
    };
    assert_eq!(with_code_unmeasured(&image), with_code_unmeasured(&whole));
    assert_ne!(short, of(&Image::new(65_536), PageOrder::TwoPass).unwrap());
}

#[test]
fn firmware_without_an_mrtd() {
    let mut image = Image::new(65_536);
    image.with_tdvf = false;
    assert_eq!(of(&image, PageOrder::SinglePass), Err("firmware.missing"));
    // The code part of an image: its sections count from the whole image's start.
    let bytes = Image::new(65_536).build();
    let part = Firmware::parse(&bytes[4096..]).unwrap();
    let refused = mrtd(&part, PageOrder::SinglePass).unwrap_err();
    assert_eq!(refused.code(), "firmware.section.outside_file");
    assert!(refused.help().contains("OVMF.fd"), "{}", refused.help());
}
