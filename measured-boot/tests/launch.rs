//! SNP launch digests of our own images: what changes them, and what has none.

#[path = "support/image.rs"]
mod image;

use std::collections::BTreeSet;

use hanzo_attestation::digest::Digest384;
use hanzo_measured_boot::firmware::{Firmware, PAGE_BYTES};
use hanzo_measured_boot::sha384;
use hanzo_measured_boot::snp::{
    BSP_EIP, CpuModel, CpuSignature, EsShape, GuestFeatures, HostKernel, KERNEL_TABLE_BYTES, KernelHashes,
    LaunchContext, PageKind, SnpError, SnpLaunch, SnpShape, SvsmShape, TscFields, VMSA_GPA, Vmm, Vmsa, sev_digest,
    sev_es_digest, svsm_digest,
};
use image::{HASH_TABLE_GUID, Image, RESET_GUID, SVSM_GUID};

const BYTES: usize = 65_536;

fn qemu(vcpus: u32) -> SnpShape {
    SnpShape {
        vmm: Vmm::Qemu,
        vcpus,
        cpu: CpuModel::Milan.signature(),
        features: GuestFeatures::SNP,
        host: HostKernel::FromLinux6_10,
        tsc: TscFields::default(),
    }
}

fn boot() -> KernelHashes {
    KernelHashes::of(b"kernel", b"initrd", "console=ttyS0").unwrap()
}

fn digest(image: &Image, kernel: Option<&KernelHashes>, shape: &SnpShape) -> Result<Digest384, SnpError> {
    let bytes = image.build();
    SnpLaunch::new(&Firmware::parse(&bytes)?)?.digest(kernel, shape)
}

fn code(image: &Image, kernel: Option<&KernelHashes>, shape: &SnpShape) -> &'static str {
    digest(image, kernel, shape).map_or_else(|e| e.code(), |_| "ok")
}

/// Computed with sev-snp-measure 0.0.13 for the same image, `kernel`, `initrd` and command line.
#[test]
fn values_of_another_tool() {
    let image = Image::new(BYTES);
    let both = |shape: &SnpShape| {
        let with = digest(&image, Some(&boot()), shape).unwrap().to_string();
        (with, digest(&image, None, shape).unwrap().to_string())
    };
    let shape = |vmm, vcpus| SnpShape { vmm, ..qemu(vcpus) };
    for (shape, with, without) in [
        (
            shape(Vmm::Qemu, 1),
            "8674ff660edeb2aa36a132fdf202a728cf840c010471e0ab17d641ad3ba98ddd0e938d5d750cdd8fe6af9b1dbe3c7838",
            "e2ee8bd0b08c27cebc43f8aab9b81a7e2779125cad6954eb1a98c5242eea88c8bd9e5cad96af667aee48506a7f041f7f",
        ),
        (
            shape(Vmm::Qemu, 4),
            "0cdc78ce95042a2249068d8324cbda5f979c6efae5ec1827ba8f8601b3228b236cc74bd802222b34416c81a271405ecf",
            "c80c46afdb47dadcb9f224ad2920ba439c14a79f85f3ad928cbbe644ff6f343459716aacac822ffa307d3ccd2dadf0c7",
        ),
        (
            shape(Vmm::Ec2, 4),
            "290c9c89eb202c04bd5ae407fc4d04d42821c9448ee7181b572da15dacd791e1510be724f38726a4b72b7442352b255c",
            "dfa1245b4f12c31d6d6c6c12955bc7b9f711879d8798ecae20cb08325e1d2aa162b5109ce2417687f0258a3324d8588f",
        ),
        (
            shape(Vmm::Gce, 4),
            "755ed218ac4a2c261ef7271d6d3d615ae15ae6dddbf9a7a0e4c2c3d5a5afa7f48e2b72a66bd3aaabd8ea75d33c88ea8b",
            "cb744a5032708e4080e72db9968004b08fac0322ab08f616b578e49cab40e92122abcc28bcecac43eead223ec201d663",
        ),
    ] {
        assert_eq!(both(&shape), (with.to_owned(), without.to_owned()), "{shape:?}");
    }
}

/// The same computed a second time by the rules of SPEC.md, page after page.
#[test]
fn the_order_of_pages() {
    let image = Image::new(BYTES);
    let bytes = image.build();
    let mut context = LaunchContext::default();
    for (index, page) in bytes.chunks(PAGE_BYTES).enumerate() {
        let gpa = 0xffff_0000 + (index * PAGE_BYTES) as u64;
        context.page(PageKind::Normal, gpa, &sha384(&[page]));
    }
    context.pages(PageKind::Zero, 0x80_0000, 0x9000);
    context.pages(PageKind::Zero, 0x80_a000, 0x3000);
    context.pages(PageKind::Secrets, 0x80_d000, 0x1000);
    context.pages(PageKind::Cpuid, 0x80_e000, 0x1000);
    context.pages(PageKind::Zero, 0x80_f000, 0x1000);
    let mut table = vec![0; PAGE_BYTES];
    table[0xc00..0xc00 + KERNEL_TABLE_BYTES].copy_from_slice(&boot().table());
    context.page(PageKind::Normal, 0x81_0000, &sha384(&[&table]));
    context.pages(PageKind::Zero, 0x81_1000, 0xf000);
    for eip in [BSP_EIP, 0x80_b004, 0x80_b004] {
        let shape = qemu(3);
        let page = Vmsa::real_mode(shape.vmm, eip, shape.cpu, Some(shape.features), shape.host, shape.tsc);
        context.page(PageKind::Vmsa, VMSA_GPA, &sha384(&[page.bytes()]));
    }
    assert_eq!(digest(&image, Some(&boot()), &qemu(3)).unwrap(), context.digest());
}

/// Every parameter counts: no two of these share a digest.
#[test]
fn each_parameter_changes_the_digest() {
    let image = Image::new(BYTES);
    let one = qemu(2);
    let tsc = GuestFeatures::SNP_SECURE_TSC;
    let shapes = [
        one,
        qemu(3),
        SnpShape {
            cpu: CpuModel::Genoa.signature(),
            ..one
        },
        SnpShape {
            features: GuestFeatures::SNP_DEBUG_SWAP,
            ..one
        },
        SnpShape { features: tsc, ..one },
        SnpShape {
            features: tsc,
            tsc: TscFields {
                scale: 1 << 32,
                offset: 0,
            },
            ..one
        },
        SnpShape {
            features: tsc,
            tsc: TscFields {
                scale: 0,
                offset: 1 << 32,
            },
            ..one
        },
        SnpShape {
            host: HostKernel::BeforeLinux6_10,
            ..one
        },
        SnpShape { vmm: Vmm::Ec2, ..one },
        SnpShape { vmm: Vmm::Gce, ..one },
    ];
    let of = |kernel: Option<&KernelHashes>| -> Vec<_> {
        shapes
            .iter()
            .map(|s| digest(&image, kernel, s).unwrap().to_string())
            .collect()
    };
    let mut all: BTreeSet<_> = of(None).into_iter().chain(of(Some(&boot()))).collect();
    assert_eq!(all.len(), 2 * shapes.len());
    for (kernel, initrd, cmdline) in [
        (b"kernem", b"initrd", "console=ttyS0"),
        (b"kernel", b"initre", "console=ttyS0"),
        (b"kernel", b"initrd", "console=ttyS1"),
        (b"kernel", b"initrd", "console=ttyS0 "),
    ] {
        let changed = KernelHashes::of(kernel, initrd, cmdline).unwrap();
        assert!(all.insert(digest(&image, Some(&changed), &one).unwrap().to_string()));
    }
    // One bit of the firmware, anywhere outside of its tables.
    let bytes = image.build();
    for at in [0, 1, 4096, BYTES / 2, BYTES - 5000, BYTES - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        let launch = SnpLaunch::new(&Firmware::parse(&flipped).unwrap()).unwrap();
        assert!(all.insert(launch.digest(None, &one).unwrap().to_string()), "{at:#x}");
    }
}

/// EC2 and GCE measure neither the processor's model nor the host kernel's x87 state.
#[test]
fn what_a_cloud_does_not_measure() {
    let image = Image::new(BYTES);
    for vmm in [Vmm::Ec2, Vmm::Gce] {
        let one = SnpShape { vmm, ..qemu(2) };
        let other = SnpShape {
            cpu: CpuModel::Turin.signature(),
            host: HostKernel::BeforeLinux6_10,
            ..one
        };
        assert_eq!(digest(&image, None, &one), digest(&image, None, &other));
    }
}

#[test]
fn a_prefix_stands_for_the_firmwares_pages() {
    let bytes = Image::new(BYTES).build();
    let whole = SnpLaunch::new(&Firmware::parse(&bytes).unwrap()).unwrap();
    // The last page has the tables.
    let end = Firmware::parse(&bytes[BYTES - 4096..]).unwrap();
    let resumed = SnpLaunch::resume(&end, whole.prefix()).unwrap();
    assert_eq!(resumed.digest(None, &qemu(2)), whole.digest(None, &qemu(2)));
    assert_ne!(
        SnpLaunch::new(&end).unwrap().digest(None, &qemu(2)),
        whole.digest(None, &qemu(2))
    );
}

#[test]
fn a_kernel_must_be_checked_by_the_firmware() {
    let kernel = boot();
    let good = Image::new(BYTES);
    assert_eq!(code(&good, Some(&kernel), &qemu(1)), "ok");
    let mut image = good.clone();
    image.sev.remove(5);
    assert_eq!(code(&image, Some(&kernel), &qemu(1)), "snp.kernel_unchecked");
    assert_eq!(code(&image, None, &qemu(1)), "ok");
    let mut image = good.clone();
    image.sev[5].1 = 0;
    assert_eq!(code(&image, Some(&kernel), &qemu(1)), "snp.kernel_unchecked");
    let mut image = good.clone();
    image.entries.remove(2);
    assert_eq!(code(&image, Some(&kernel), &qemu(1)), "snp.kernel_unchecked");
    // The table's last byte at the page's end, one byte further, in another page, and an area too short for it.
    for (gpa, bytes, expected) in [
        (0x81_0f50_u32, 0xb0_u32, "ok"),
        (0x81_0f51, 0xb0, "snp.hash_table.place"),
        (0x81_1000, 0x400, "snp.hash_table.place"),
        (0x80_fc00, 0x400, "snp.hash_table.place"),
        (0x81_0c00, 0xaf, "snp.hash_table.place"),
    ] {
        let mut image = good.clone();
        image.entries[2] = (HASH_TABLE_GUID, [gpa.to_le_bytes(), bytes.to_le_bytes()].concat());
        assert_eq!(code(&image, Some(&kernel), &qemu(1)), expected, "{gpa:#x}");
    }
}

#[test]
fn sections_that_no_vmm_launches() {
    let with = |index: usize, section| {
        let mut image = Image::new(BYTES);
        image.sev[index] = section;
        code(&image, None, &qemu(1))
    };
    assert_eq!(with(6, (0x82_0000, 0x1000, 1)), "ok");
    assert_eq!(with(2, (0x90_0000, 0x2000, 2)), "snp.section.bytes");
    assert_eq!(with(3, (0x90_0000, 0x2000, 3)), "snp.section.bytes");
    assert_eq!(with(5, (0x90_0000, 0x2000, 0x10)), "snp.section.bytes");
    assert_eq!(with(6, (0x82_0000, 0x1000, 2)), "snp.section.twice");
    assert_eq!(with(6, (0x82_0000, 0x1000, 3)), "snp.section.twice");
    assert_eq!(with(6, (0x82_0000, 0x1000, 0x10)), "snp.section.twice");
    assert_eq!(with(6, (0xfffe_f000, 0x1000, 1)), "ok");
    assert_eq!(with(6, (0xfffe_f000, 0x2000, 1)), "snp.section.over_image");
}

#[test]
fn shapes_that_no_guest_has() {
    let image = Image::new(BYTES);
    for (vcpus, expected) in [
        (0, "snp.vcpus"),
        (1, "ok"),
        (4096, "ok"),
        (4097, "snp.vcpus"),
        (u32::MAX, "snp.vcpus"),
    ] {
        assert_eq!(code(&image, None, &qemu(vcpus)), expected, "{vcpus}");
    }
    for (bits, refused) in [
        (1, false),
        (0x21, false),
        (0xd7ff, false),
        (0, true),
        (0x20, true),
        (0x801, true),
        (1 << 63 | 1, true),
    ] {
        assert_eq!(GuestFeatures::new(bits).is_err(), refused, "{bits:#x}");
    }
    assert_eq!(GuestFeatures::new(0).unwrap_err().code(), "snp.features");
    let tsc = TscFields { scale: 1, offset: 0 };
    assert_eq!(code(&image, None, &SnpShape { tsc, ..qemu(1) }), "snp.tsc");
    let features = GuestFeatures::SNP.with_secure_tsc();
    assert_eq!(
        code(
            &image,
            None,
            &SnpShape {
                tsc,
                features,
                ..qemu(1)
            }
        ),
        "ok"
    );
    let long = "x".repeat(65_535);
    assert!(KernelHashes::of(b"", b"", &long).is_ok());
    for cmdline in [format!("{long}x"), "a\0b".to_owned()] {
        assert_eq!(KernelHashes::of(b"", b"", &cmdline).unwrap_err().code(), "snp.cmdline");
    }
    // One processor needs no place for the others to start.
    let mut image = image;
    image.entries.retain(|(guid, _)| *guid != RESET_GUID);
    assert_eq!(code(&image, None, &qemu(1)), "ok");
    assert_eq!(code(&image, None, &qemu(2)), "firmware.missing");
}

#[test]
fn processor_models() {
    assert_eq!(CpuModel::ALL.len(), 18);
    for model in CpuModel::ALL {
        assert_eq!(model.name().parse(), Ok(*model));
        assert_eq!(serde_json::to_value(model).unwrap(), model.name());
    }
    assert_eq!(CpuSignature::new(25, 1, 1), CpuSignature(0x00a0_0f11));
    assert_eq!(CpuSignature::new(23, 49, 0), CpuSignature(0x0083_0f10));
    assert_eq!("EPYC-milan".parse::<CpuModel>().unwrap_err().code(), "snp.cpu_model");
}

#[test]
fn older_guests() {
    let image = Image::new(BYTES);
    let bytes = image.build();
    let firmware = Firmware::parse(&bytes).unwrap();
    let shape = |vcpus| EsShape {
        vmm: Vmm::Qemu,
        vcpus,
        cpu: CpuModel::Milan.signature(),
        host: HostKernel::FromLinux6_10,
    };
    assert_eq!(
        sev_digest(&firmware, Some(&boot())).unwrap().to_string(),
        "3edd8cf13a28d33e24fcd84e7a73fe2db6b480951d974ca9263620ca62ebd19b"
    );
    assert_eq!(
        sev_es_digest(&firmware, Some(&boot()), &shape(3)).unwrap().to_string(),
        "6e240cba58a6429838671e06c9c1840cf8411eb974da3368048f9d7231c523c4"
    );
    assert_ne!(sev_digest(&firmware, None), sev_digest(&firmware, Some(&boot())));
    assert_eq!(
        sev_es_digest(&firmware, None, &shape(0)).unwrap_err().code(),
        "snp.vcpus"
    );
    let mut image = image;
    image.entries.retain(|(guid, _)| *guid != HASH_TABLE_GUID);
    let bytes = image.build();
    let firmware = Firmware::parse(&bytes).unwrap();
    assert!(sev_digest(&firmware, None).is_ok());
    assert_eq!(
        sev_digest(&firmware, Some(&boot())).unwrap_err().code(),
        "snp.kernel_unchecked"
    );
}

#[test]
fn an_svsm_lies_below_the_variables() {
    let firmware = Image::new(BYTES).build();
    let firmware = Firmware::parse(&firmware).unwrap();
    let mut image = Image::new(BYTES);
    image.sev = vec![(0, 0x9_e000, 1), (0x9_e000, 0x1000, 2), (0x9_f000, 0x1000, 3)];
    image.with_tdvf = false;
    image.entries.push((SVSM_GUID, vec![0x40, 0, 0, 0]));
    let bytes = image.build();
    let svsm = Firmware::parse(&bytes).unwrap();
    let shape = |vcpus, vars_bytes| SvsmShape {
        vcpus,
        cpu: CpuModel::EpycV4.signature(),
        vars_bytes,
    };
    assert_eq!(
        svsm_digest(&firmware, &svsm, &shape(2, 0x1_0000)).unwrap().to_string(),
        "54f50d2a8758455ff383ae7b37aad88ee78ccedb2ea5cb4f626759595d9f1e63b3dcf8982256f86c8b66c3271db4823d"
    );
    let of = |shape| svsm_digest(&firmware, &svsm, &shape).map_or_else(|e| e.code(), |_| "ok");
    assert_eq!(of(shape(0, 0x1_0000)), "snp.vcpus");
    assert_eq!(of(shape(1, 0x1_0001)), "snp.svsm");
    assert_eq!(of(shape(1, 0xfffe_0000)), "snp.section.over_image");
    assert_eq!(of(shape(1, 0xffff_0000)), "snp.svsm");
    assert_eq!(of(shape(1, u64::MAX - 4095)), "snp.svsm");
    // Any other firmware is no SVSM.
    let refused = svsm_digest(&firmware, &firmware, &shape(1, 0)).unwrap_err();
    assert_eq!(refused.code(), "snp.svsm");
}

/// A measurement that was not expected is traced to its machine, and another image's to none.
#[test]
fn a_measurement_names_its_machine() {
    let image = Image::new(BYTES);
    let bytes = image.build();
    let launch = SnpLaunch::new(&Firmware::parse(&bytes).unwrap()).unwrap();
    let kernel = boot();
    let find = |measurement: &Digest384, vcpus_max| launch.find(Some(&kernel), measurement, vcpus_max);
    for shape in [
        qemu(1),
        qemu(7),
        SnpShape {
            cpu: CpuModel::Turin.signature(),
            features: GuestFeatures::SNP_DEBUG_SWAP,
            host: HostKernel::BeforeLinux6_10,
            ..qemu(3)
        },
        SnpShape {
            features: GuestFeatures::SNP_SECURE_TSC,
            ..qemu(2)
        },
    ] {
        for has_kernel_hashes in [true, false] {
            let measured = launch.digest(has_kernel_hashes.then_some(&kernel), &shape).unwrap();
            let found = find(&measured, 8).unwrap();
            assert_eq!((found.shape, found.has_kernel_hashes), (shape, has_kernel_hashes));
        }
    }
    for vmm in [Vmm::Ec2, Vmm::Gce] {
        let measured = launch.digest(Some(&kernel), &SnpShape { vmm, ..qemu(2) }).unwrap();
        let found = find(&measured, 8).unwrap();
        assert_eq!((found.shape.vmm, found.shape.vcpus), (vmm, 2));
    }
    // One processor more than was looked for; another kernel; another firmware.
    let measured = launch.digest(Some(&kernel), &qemu(7)).unwrap();
    assert_eq!(find(&measured, 6), None);
    let other = KernelHashes::of(b"kernem", b"initrd", "console=ttyS0").unwrap();
    assert_eq!(find(&launch.digest(Some(&other), &qemu(1)).unwrap(), 8), None);
    let mut flipped = bytes.clone();
    flipped[0] ^= 1;
    let firmware = SnpLaunch::new(&Firmware::parse(&flipped).unwrap()).unwrap();
    assert_eq!(find(&firmware.digest(Some(&kernel), &qemu(1)).unwrap(), 8), None);
}
