//! Published launch digests: each with the parameters that its own project gives for it.

use hanzo_attestation::digest::Digest384;
use hanzo_measured_boot::firmware::Firmware;
use hanzo_measured_boot::snp::{
    CpuModel, EsShape, GuestFeatures, HostKernel, KernelHashes, SnpLaunch, SnpShape, SvsmShape, TscFields, Vmm,
    sev_digest, sev_es_digest, svsm_digest,
};

#[path = "support/image.rs"]
mod image;
use image::Image;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/measured-boot");
/// The digest of the firmware's pages that two of the cases start from: that of `ovmf_AmdSev_suffix.bin`.
const PREFIX: &str = "086e2e9149ebf45abdc3445fba5b2da8270bdbb04094d7a2c37faaa4b24af3aa16aff8c374c2a55c467a50da6d466b74";
const CMDLINE: &str = "console=ttyS0 loglevel=7";

fn file(name: &str) -> Option<Vec<u8>> {
    let read = std::fs::read(format!("{VECTORS}/{name}")).ok();
    if read.is_none() {
        eprintln!("VECTORS MISSING (shared/vectors beside the repository): {name}: not run");
    }
    read
}

fn shape(vmm: Vmm, vcpus: u32, features: u64, host: HostKernel) -> SnpShape {
    SnpShape {
        vmm,
        vcpus,
        cpu: CpuModel::EpycV4.signature(),
        features: GuestFeatures::new(features).unwrap(),
        host,
        tsc: TscFields::default(),
    }
}

fn kernel(cmdline: &str) -> KernelHashes {
    KernelHashes::of(b"", b"", cmdline).unwrap()
}

struct Files {
    amd_sev: Vec<u8>,
    ovmf: Vec<u8>,
    svsm: Vec<u8>,
    svsm_ovmf: Vec<u8>,
}

impl Files {
    fn snp(&self, kernel: Option<KernelHashes>, shape: SnpShape) -> String {
        let firmware = Firmware::parse(&self.amd_sev).unwrap();
        let launch = SnpLaunch::new(&firmware).unwrap();
        launch.digest(kernel.as_ref(), &shape).unwrap().to_string()
    }

    fn with_prefix(&self, prefix: &str, cmdline: &str, features: u64, host: HostKernel) -> String {
        let firmware = Firmware::parse(&self.amd_sev).unwrap();
        let launch = SnpLaunch::resume(&firmware, Digest384::from_hex(prefix).unwrap()).unwrap();
        let shape = shape(Vmm::Qemu, 1, features, host);
        launch.digest(Some(&kernel(cmdline)), &shape).unwrap().to_string()
    }

    fn svsm(&self, vcpus: u32) -> String {
        let (firmware, svsm) = (
            Firmware::parse(&self.svsm_ovmf).unwrap(),
            Firmware::parse(&self.svsm).unwrap(),
        );
        let shape = SvsmShape {
            vcpus,
            cpu: CpuModel::EpycV4.signature(),
            vars_bytes: 540_672,
        };
        svsm_digest(&firmware, &svsm, &shape).unwrap().to_string()
    }
}

fn files() -> Option<Files> {
    Some(Files {
        amd_sev: file("snp/ovmf_AmdSev_suffix.bin")?,
        ovmf: file("snp/ovmf_OvmfX64_suffix.bin")?,
        svsm: file("svsm/svsm.bin")?,
        svsm_ovmf: file("svsm/svsm_ovmf.fd")?,
    })
}

/// Each published case by its name, with its parameters spelled in our types.
fn ours(files: &Files, name: &str) -> String {
    let new = HostKernel::FromLinux6_10;
    let qemu = |vcpus, features| shape(Vmm::Qemu, vcpus, features, new);
    let amd_sev = || Firmware::parse(&files.amd_sev).unwrap();
    match name {
        "test_snp_ovmf_hash_gen_default" => files.with_prefix(PREFIX, "", 0x21, new),
        "test_snp_ovmf_hash_gen_feature_snp_only" => files.with_prefix(PREFIX, "", 0x1, new),
        "test_snp_ovmf_hash_full_feature_snp_only" => {
            let prefix = SnpLaunch::new(&amd_sev()).unwrap().prefix().to_string();
            assert_eq!(prefix, PREFIX);
            files.with_prefix(&prefix, CMDLINE, 0x1, new)
        }
        "test_snp_ec2_default" => files.snp(Some(kernel("")), shape(Vmm::Ec2, 1, 0x21, new)),
        "test_snp_gce_default" => files.snp(Some(kernel("")), shape(Vmm::Gce, 1, 0x1, new)),
        "test_snp_gce_with_multiple_vcpus_default" => files.snp(Some(kernel("")), shape(Vmm::Gce, 4, 0x1, new)),
        "test_snp_guest_feature_snp_only" => files.snp(Some(kernel(CMDLINE)), qemu(1, 0x1)),
        "test_snp_without_kernel_default" => files.snp(None, qemu(1, 0x21)),
        "test_snp_with_multiple_vcpus_default" => files.snp(Some(kernel("")), qemu(4, 0x21)),
        "test_snp_with_multiple_vcpus_feature_snp_only" => files.snp(Some(kernel("")), qemu(4, 0x1)),
        "test_snp_with_ovmfx64_without_kernel_feature_snp_only" => {
            let firmware = Firmware::parse(&files.ovmf).unwrap();
            let launch = SnpLaunch::new(&firmware).unwrap();
            launch.digest(None, &qemu(1, 0x1)).unwrap().to_string()
        }
        "test_seves" => {
            let shape = EsShape {
                vmm: Vmm::Qemu,
                vcpus: 1,
                cpu: CpuModel::EpycV4.signature(),
                host: new,
            };
            sev_es_digest(&amd_sev(), Some(&kernel("")), &shape)
                .unwrap()
                .to_string()
        }
        "test_sev" => sev_digest(&amd_sev(), Some(&kernel(CMDLINE))).unwrap().to_string(),
        "test_sev_with_kernel_without_initrd_and_append" => {
            sev_digest(&amd_sev(), Some(&kernel(""))).unwrap().to_string()
        }
        "test_snp_svsm_4_vcpus" => files.svsm(4),
        "test_snp_svsm_2_vcpus" => files.svsm(2),
        other => panic!("a published case without parameters here: {other}"),
    }
}

#[test]
fn every_published_digest() {
    let (Some(files), Some(cases)) = (files(), file("snp/launch-digests.json")) else {
        return;
    };
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&cases).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let (name, expected) = (case["name"].as_str().unwrap(), case["expected"].as_str().unwrap());
        if ours(&files, name) != expected {
            wrong.push(name);
        }
    }
    assert_eq!((cases.len(), wrong), (16, vec![]));
}

/// The same project's values for its older firmware, of releases before and after 0.0.10, which followed Linux 6.10. Of that
/// firmware two digests of pages are published, and its sections are those of AmdSevX64 before it had an SVSM area.
#[test]
fn the_host_kernel_is_a_parameter() {
    let mut image = Image::new(4096);
    image.sev = vec![
        (0x80_0000, 0x9000, 1),
        (0x80_a000, 0x3000, 1),
        (0x80_d000, 0x1000, 2),
        (0x80_e000, 0x1000, 3),
        (0x80_f000, 0x1000, 0x10),
        (0x81_0000, 0x1_0000, 1),
    ];
    image.with_tdvf = false;
    image.entries[2].1 = [0x80_fc00_u32.to_le_bytes(), 0x400_u32.to_le_bytes()].concat();
    let image = image.build();
    let firmware = Firmware::parse(&image).unwrap();
    let digest = |prefix: &str, cmdline, vcpus, features, host| {
        let launch = SnpLaunch::resume(&firmware, Digest384::from_hex(prefix).unwrap()).unwrap();
        let shape = shape(Vmm::Qemu, vcpus, features, host);
        launch.digest(Some(&kernel(cmdline)), &shape).unwrap().to_string()
    };
    let (whole, suffix) = (
        "cab7e085874b3acfdbe2d96dcaa3125111f00c35c6fc9708464c2ae74bfdb048a198cb9a9ccae0b3e5e1a33f5f249819",
        "edcf6d1c57ce868a167c990f58c8667c698269ef9e0803246419eea914186343054d557e1f17acd93b032c106bc70d25",
    );
    let (old, new) = (HostKernel::BeforeLinux6_10, HostKernel::FromLinux6_10);
    for (prefix, cmdline, vcpus, features, host, expected) in [
        (
            whole,
            "",
            1,
            0x1,
            old,
            "db06fb267824b1ccb56edbe2a9c2ce88841bca5090dc6dac91d9cd30f3c2c0bf42daccb30d55d6625bfbf0dae5c50c6d",
        ),
        (
            whole,
            "",
            1,
            0x21,
            old,
            "a076e1b0e6cf55fd94c82e2c25245f8c15f76690b941ba379b31527f82eafe7ad489777ff510d080bac9cd14d41bc205",
        ),
        (
            whole,
            "",
            1,
            0x1,
            new,
            "3c018b826531c5f625f10004d51ee51ab5dbfaf1fdd79998ab649cff11b4afbdb2f50941d2a23b5d77fe00cf988242e7",
        ),
        (
            whole,
            "",
            1,
            0x21,
            new,
            "aa6f24465c304e3ad553a18069510996fc92a84f48ae2140cb95dfbd422cdb14087588fb6eec89ef0a65e6d376d9a300",
        ),
        (
            suffix,
            CMDLINE,
            1,
            0x1,
            old,
            "f07864303ad8243132029e8110b92805c78d1135a15da75f67abb9a711d78740347f24ee76f603e650ec4adf3611cc1e",
        ),
        (
            suffix,
            "",
            4,
            0x1,
            old,
            "1c784beb8c49aa604b7fd57fbc73b36ec53a3f5fb48a2b895ad6cc2ea15d18ee7cc15e3e57c792766b45f944c3e81cfe",
        ),
    ] {
        assert_eq!(digest(prefix, cmdline, vcpus, features, host), expected);
    }
}

/// Firmware that checks no kernel is not measured with one.
#[test]
fn a_kernel_that_nothing_checks_has_no_digest() {
    let Some(files) = files() else { return };
    let firmware = Firmware::parse(&files.ovmf).unwrap();
    let launch = SnpLaunch::new(&firmware).unwrap();
    let shape = shape(Vmm::Qemu, 1, 0x1, HostKernel::FromLinux6_10);
    let refused = launch.digest(Some(&kernel("")), &shape).unwrap_err();
    assert_eq!(refused.code(), "snp.kernel_unchecked");
    assert_eq!(
        sev_digest(&firmware, Some(&kernel(""))).unwrap_err().code(),
        "snp.kernel_unchecked"
    );
}
