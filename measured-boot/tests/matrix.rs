//! The matrix of reference values: what it says, and that a policy takes it.

#[path = "support/image.rs"]
mod image;

use hanzo_attestation::digest::{Digest256, Digest384};
use hanzo_attestation::name::Name;
use hanzo_measured_boot::firmware::Firmware;
use hanzo_measured_boot::matrix::{
    BootFiles, Machine, MatrixError, Measured, ReferenceMatrix, SHAPES_MAX, SecureTsc, SnpAxes, SnpMachine, TdxMachine,
    VmShape,
};
use hanzo_measured_boot::snp::{
    CpuModel, GuestFeatures, HostKernel, KernelHashes, SnpLaunch, SnpShape, TscFields, Vmm,
};
use hanzo_measured_boot::tdx::{PageOrder, mrtd};
use hanzo_policy::{AppraisalPolicy, PrivacyTier, SnpPolicy, SnpReference, TcbFloors, TdxPolicy, TdxReference};
use image::Image;

const CMDLINE: &str =
    "console=ttyS0 hanzo.config=1111111111111111111111111111111111111111111111111111111111111111 quiet";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn axes() -> SnpAxes {
    SnpAxes {
        image: name("hanzo-core-1.0"),
        vmms: vec![(Vmm::Qemu, name("10.0.2"))],
        host_kernels: vec![HostKernel::FromLinux6_10],
        vcpus: vec![1, 4],
        cpus: vec![CpuModel::Milan, CpuModel::Genoa],
        ram_mib: 4096,
        guest_features: vec![GuestFeatures::SNP, GuestFeatures::SNP_DEBUG_SWAP],
        secure_tsc: vec![SecureTsc::Off, SecureTsc::On],
    }
}

fn snp(text: &str, change: impl FnOnce(&mut SnpMachine)) -> VmShape {
    let mut machine = SnpMachine {
        vmm: Vmm::Qemu,
        vmm_version: name("10.0.2"),
        host_kernel: HostKernel::FromLinux6_10,
        vcpus: 2,
        cpu: CpuModel::Milan,
        ram_mib: 4096,
        guest_features: GuestFeatures::SNP,
        secure_tsc: SecureTsc::Off,
    };
    change(&mut machine);
    VmShape {
        name: name(text),
        machine: Machine::Snp(machine),
    }
}

fn tdx(text: &str, page_order: PageOrder) -> VmShape {
    VmShape {
        name: name(text),
        machine: Machine::Tdx(TdxMachine {
            vmm_version: name("qemu-10.0.2"),
            page_order,
            vcpus: 2,
            ram_mib: 4096,
        }),
    }
}

fn files(firmware: &[u8]) -> BootFiles<'_> {
    BootFiles {
        firmware,
        kernel: Some(b"kernel"),
        initrd: Some(b"initrd"),
        cmdline: CMDLINE,
    }
}

#[test]
fn each_value_is_the_digest_of_its_machine() {
    let bytes = Image::new(65_536).build();
    let mut shapes = axes().shapes().unwrap();
    assert_eq!(shapes.len(), 16);
    assert_eq!(shapes[0].name, name("hanzo-core-1.0.qemu.6.10.epyc-milan.1v.f1"));
    assert_eq!(shapes[15].name, name("hanzo-core-1.0.qemu.6.10.epyc-genoa.4v.f21.tsc"));
    shapes.extend([tdx("td-1", PageOrder::SinglePass), tdx("td-2", PageOrder::TwoPass)]);
    let matrix = ReferenceMatrix::predict(&files(&bytes), &shapes).unwrap();
    let firmware = Firmware::parse(&bytes).unwrap();
    let launch = SnpLaunch::new(&firmware).unwrap();
    let kernel = KernelHashes::of(b"kernel", b"initrd", CMDLINE).unwrap();
    for value in matrix.values() {
        match (&value.shape.machine, &value.measured) {
            (Machine::Snp(machine), Measured::Snp { measurement }) => {
                let tsc = if machine.secure_tsc == SecureTsc::On { 0x200 } else { 0 };
                let shape = SnpShape {
                    vmm: machine.vmm,
                    vcpus: machine.vcpus,
                    cpu: machine.cpu.signature(),
                    features: GuestFeatures::new(machine.guest_features.bits() | tsc).unwrap(),
                    host: machine.host_kernel,
                    tsc: TscFields::default(),
                };
                assert_eq!(
                    launch.digest(Some(&kernel), &shape),
                    Ok(*measurement),
                    "{}",
                    value.shape.name
                );
            }
            (Machine::Tdx(machine), Measured::Tdx { mrtd: got, rtmrs: None }) => {
                assert_eq!(mrtd(&firmware, machine.page_order), Ok(*got));
            }
            other => panic!("{other:?}"),
        }
    }
    let inputs = matrix.inputs();
    assert_eq!(inputs.firmware.sha256, Digest256::of(&bytes));
    assert_eq!(inputs.kernel.as_ref().unwrap().sha256, Digest256::of(b"kernel"));
    assert_eq!(
        (inputs.initrd.as_ref().unwrap().bytes, inputs.cmdline.as_str()),
        (6, CMDLINE)
    );
}

/// The canonical form is read back, and nothing else is.
#[test]
fn the_canonical_form() {
    let bytes = Image::new(65_536).build();
    let shapes = [snp("one", |_| {}), tdx("two", PageOrder::TwoPass)];
    let mut matrix = ReferenceMatrix::predict(&files(&bytes), &shapes).unwrap();
    matrix.set_rtmrs(&name("two"), [Digest384([7; 48]); 4]).unwrap();
    let text = matrix.canonical().unwrap();
    assert_eq!(ReferenceMatrix::from_canonical(&text), Ok(matrix));
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(r#""host_kernel":"from-linux6-10""#) && text.contains(r#""page_order":"two-pass""#));
    let code = |from: &str, to: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        ReferenceMatrix::from_canonical(changed.as_bytes()).unwrap_err().code()
    };
    assert_eq!(code("\"version\":1", "\"version\":2"), "matrix.version");
    assert_eq!(code("\"name\":\"two\"", "\"name\":\"one\""), "matrix.twice");
    assert_eq!(code("\"guest_features\":1", "\"guest_features\":2"), "matrix.malformed");
    assert_eq!(code("\"vcpus\":2", "\"vcpus\":02"), "matrix.malformed");
    assert_eq!(code("EPYC-Milan", "EPYC-Milano"), "matrix.malformed");
    assert_eq!(code("\"ram_mib\"", "\"ram_mib \""), "matrix.malformed");
    assert_eq!(code("{\"snp\":{\"measurement\"", "{\"tdx\":{\"mrtd\""), "matrix.kind");
    assert_eq!(
        ReferenceMatrix::from_canonical(text.trim_end_matches('}').as_bytes())
            .unwrap_err()
            .code(),
        "matrix.malformed"
    );
}

/// What a matrix gives for a policy is what a policy takes.
#[test]
fn references_feed_a_policy() {
    let bytes = Image::new(65_536).build();
    let mut shapes = axes().shapes().unwrap();
    // Another name for a machine that measures the same: the policy takes each measurement once.
    shapes.push(snp("twin", |m| m.vcpus = 1));
    shapes.extend([tdx("td-1", PageOrder::SinglePass), tdx("td-2", PageOrder::TwoPass)]);
    let mut matrix = ReferenceMatrix::predict(&files(&bytes), &shapes).unwrap();
    let text = serde_json::to_vec(&matrix.snp_references().unwrap()).unwrap();
    let references: Vec<SnpReference> = serde_json::from_slice(&text).unwrap();
    assert_eq!(references.len(), 16);
    assert_eq!(references[0].config_digest, Digest256([0x11; 32]));
    // MRTD alone is no reference.
    assert_eq!(matrix.tdx_references().unwrap(), vec![]);
    matrix.set_rtmrs(&name("td-2"), [Digest384([7; 48]); 4]).unwrap();
    let text = serde_json::to_vec(&matrix.tdx_references().unwrap()).unwrap();
    let registers: Vec<TdxReference> = serde_json::from_slice(&text).unwrap();
    assert_eq!((registers.len(), registers[0].name.as_str()), (1, "td-2"));
    let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee)
        .with_snp(SnpPolicy::any_chip(TcbFloors::default(), references))
        .with_tdx(TdxPolicy::any_platform(registers));
    let written = policy.to_toml().unwrap();
    assert_eq!(AppraisalPolicy::from_toml(written.as_bytes()), Ok(policy));
}

#[test]
fn a_reference_needs_a_measured_configuration() {
    let bytes = Image::new(65_536).build();
    let config = CMDLINE.split(' ').nth(1).unwrap();
    for cmdline in [
        "console=ttyS0".to_owned(),
        format!("{config} {config}"),
        format!("{config}00"),
        config.to_uppercase(),
        format!("x{config}"),
        "hanzo.config=".to_owned(),
    ] {
        let files = BootFiles {
            cmdline: &cmdline,
            ..files(&bytes)
        };
        let matrix = ReferenceMatrix::predict(&files, &[snp("one", |_| {})]).unwrap();
        assert_eq!(
            matrix.snp_references().unwrap_err().code(),
            "matrix.config",
            "{cmdline}"
        );
        assert_eq!(
            matrix.tdx_references().unwrap_err().code(),
            "matrix.config",
            "{cmdline}"
        );
    }
}

#[test]
fn one_bad_shape_leaves_no_matrix() {
    let bytes = Image::new(65_536).build();
    let code = |files: &BootFiles<'_>, shapes: &[VmShape]| {
        ReferenceMatrix::predict(files, shapes).map_or_else(|e| e.code(), |_| "ok")
    };
    let good = files(&bytes);
    let one = || snp("one", |_| {});
    assert_eq!(code(&good, &[one()]), "ok");
    assert_eq!(code(&good, &[]), "matrix.count");
    let many: Vec<_> = (0..=SHAPES_MAX).map(|i| snp(&format!("n{i}"), |_| {})).collect();
    assert_eq!(code(&good, &many[1..]), "ok");
    assert_eq!(code(&good, &many), "matrix.count");
    assert_eq!(code(&good, &[one(), tdx("one", PageOrder::TwoPass)]), "matrix.twice");
    assert_eq!(code(&good, &[one(), snp("two", |m| m.vcpus = 0)]), "snp.vcpus");
    let on = GuestFeatures::SNP_SECURE_TSC;
    assert_eq!(
        code(&good, &[snp("two", |m| m.guest_features = on)]),
        "matrix.secure_tsc"
    );
    assert_eq!(
        code(&BootFiles { kernel: None, ..good }, &[one()]),
        "matrix.without_kernel"
    );
    let none = BootFiles {
        kernel: None,
        initrd: None,
        cmdline: "",
        firmware: &bytes,
    };
    assert_eq!(code(&none, &[one()]), "ok");
    assert_eq!(
        code(
            &BootFiles {
                cmdline: "quiet",
                ..none
            },
            &[one()]
        ),
        "matrix.without_kernel"
    );
    let cut = BootFiles {
        firmware: &bytes[..65_535],
        ..good
    };
    assert_eq!(code(&cut, &[one()]), "firmware.size");
    // Firmware for TDX alone is none for SNP.
    let mut image = Image::new(65_536);
    image.with_sev = false;
    let bytes = image.build();
    assert_eq!(code(&files(&bytes), &[tdx("one", PageOrder::TwoPass)]), "ok");
    assert_eq!(
        code(&files(&bytes), &[tdx("one", PageOrder::TwoPass), snp("two", |_| {})]),
        "firmware.missing"
    );
}

#[test]
fn axes_are_bounded() {
    let mut none = axes();
    none.cpus.clear();
    assert_eq!(none.shapes(), Err(MatrixError::Count { got: 0 }));
    let mut many = axes();
    many.vcpus = (1..=65).collect();
    assert_eq!(many.shapes(), Err(MatrixError::Count { got: 520 }));
    let mut long = axes();
    long.image = name(&"x".repeat(40));
    assert_eq!(long.shapes().unwrap_err().code(), "matrix.name");
    let mut unknown = ReferenceMatrix::predict(&files(&Image::new(65_536).build()), &[snp("one", |_| {})]).unwrap();
    let refused = unknown.set_rtmrs(&name("one"), [Digest384([0; 48]); 4]).unwrap_err();
    assert_eq!(refused.code(), "matrix.unknown");
}
