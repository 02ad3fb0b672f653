//! Inputs to start from, all made by the simulator: `HANZO_WRITE_SEEDS=corpus` with any target writes them and ends.

#[path = "../../../measured-boot/tests/support/igvm.rs"]
pub mod igvm;
#[path = "../../../measured-boot/tests/support/image.rs"]
mod image;

use std::path::Path;

use hanzo_attestation::UnixTime;
use hanzo_simulated_tee::{
    AkKind, CollateralSpec, DeviceSpec, LogBuilder, OcspSpec, QuoteFormat, RimSpec, SimulatedNvidia,
    SimulatedRimIssuer, SimulatedTdx, SimulatedTpm, TdSpec, TpmSpec,
};

use crate::{NOW, snp_seed};

/// Writes the committed corpus if the environment asks for it.
pub fn write_if_asked() {
    let Some(folder) = std::env::var_os("HANZO_WRITE_SEEDS") else {
        return;
    };
    for (target, name, bytes) in all() {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder).expect("a folder for seeds");
        std::fs::write(folder.join(name), bytes).expect("a seed");
    }
    for (target, name, bytes) in crate::ledger::seeds() {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder).expect("a folder for seeds");
        std::fs::write(folder.join(name), bytes).expect("a seed");
    }
    std::process::exit(0);
}

/// Each part after its length, as the targets split them.
fn joined<const N: usize>(parts: [&[u8]; N]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend(u16::try_from(part.len()).expect("a short part").to_le_bytes());
        out.extend(part);
    }
    out
}

fn all() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let snp = snp_seed();
    let tdx = SimulatedTdx::for_tests();
    let formats = [
        ("td10-v4", QuoteFormat::V4),
        ("td15-v5", QuoteFormat::V5Td15),
        ("td15-extended-v5", QuoteFormat::V5Td15Extended),
    ];
    let collateral = tdx.collateral(&CollateralSpec::new(UnixTime(NOW.0)));
    let tpm = SimulatedTpm::for_tests();
    let quote = tpm.evidence(&[7; 32]);
    let booted = SimulatedTpm::for_tests().booted(&LogBuilder::tcg_both().boot("quiet"));
    let both = booted.evidence(&[7; 32]);
    let azure = TpmSpec {
        ak: AkKind::Rsa2048,
        ..TpmSpec::new("azure")
    };
    let azure = SimulatedTpm::from_seed(&[5; 32], &azure).expect("an RSA key");
    let hcl = azure.az_snp(&crate::guest(), &[7; 32]);
    let vendor = SimulatedNvidia::for_tests();
    let device = vendor.device(DeviceSpec::hopper(1));
    let gpu = device.evidence(&[7; 32]);
    let read = hanzo_attestation::nvidia::read_unauthenticated(&gpu).expect("the simulator's report");
    let rim = RimSpec::of_measurements("GH100", "550.90.07", &read.measurements, 1..=8);
    let ocsp = vendor.ocsp(&device, 0, &OcspSpec::good(NOW.0));
    let bundle = include_bytes!("../../../attestation/tests/vectors/bundle.json").to_vec();
    let policy = include_bytes!("../../../policy/example-policy.toml").to_vec();
    let mut verify = NOW.0.to_le_bytes().to_vec();
    verify.extend(joined([&policy]));
    verify.extend(&bundle);
    let leaf = include_bytes!("../../../attestation/tests/vectors/ratls_leaf.der").to_vec();
    let wrapped = hanzo_attestation::ratls::wrap(&bundle).expect("a short bundle");
    let mut out = vec![
        ("ratls", "leaf", leaf),
        ("ratls", "wrapped", wrapped),
        ("snp_report", "report", snp.report.0.clone()),
        ("snp_evidence", "evidence", joined([&snp.report.0, &snp.vek.0, &[], &[]])),
        (
            "tdx_collateral",
            "collateral",
            joined([
                &collateral.pck_crl.0,
                collateral.pck_crl_issuer_chain.as_bytes(),
                collateral.qe_identity.as_bytes(),
                collateral.qe_identity_issuer_chain.as_bytes(),
                &collateral.qe_identity_signature.0,
                &collateral.root_ca_crl.0,
                collateral.tcb_info.as_bytes(),
                collateral.tcb_info_issuer_chain.as_bytes(),
                &collateral.tcb_info_signature.0,
            ]),
        ),
        (
            "tpm_quote",
            "quote",
            joined([&quote.ak_public.0, &quote.quote.message.0, &quote.quote.signature.0, &[], &[]]),
        ),
        (
            "tpm_quote",
            "both-banks",
            joined([&both.ak_public.0, &both.quote.message.0, &both.quote.signature.0, &[], &[]]),
        ),
        ("event_log", "tcg-both", LogBuilder::tcg_both().boot("quiet").bytes().to_vec()),
        (
            "hcl_report",
            "snp",
            joined([&hcl.hcl_report.0, &hcl.quote.message.0, &hcl.quote.signature.0, &hcl.vek.0]),
        ),
        ("prediction", "log", LogBuilder::tcg().boot("quiet").bytes().to_vec()),
        ("event_log", "tcg", LogBuilder::tcg().boot("quiet").bytes().to_vec()),
        ("event_log", "ccel", LogBuilder::ccel().boot("quiet").bytes().to_vec()),
        ("nvidia_report", "hopper", joined([&gpu.certificates.0, &gpu.report.0])),
        ("rim", "driver", SimulatedRimIssuer::for_tests().sign(&rim)),
        ("ocsp", "good", joined([&device.certificates()[0], &device.certificates()[1], &ocsp])),
        ("foreign", "bundle", bundle.clone()),
        ("foreign", "snp-report", snp.report.0.clone()),
        ("bundle", "bundle", bundle.clone()),
        ("config", "config", include_bytes!("../../../attestation/tests/vectors/config.toml").to_vec()),
        ("policy", "policy", policy),
        ("verify", "verify", verify),
    ];
    out.extend(crate::boot::seeds());
    out.extend(crate::sealed::seeds());
    out.extend(crate::release::seeds());
    out.extend(measured_boot());
    for (name, format) in formats {
        out.push(("tdx_quote", name, tdx.quote(&TdSpec::new(format), &[7; 64])));
    }
    out
}

/// Firmware of our own, an ID block that nobody signed, and a matrix.
fn measured_boot() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    use hanzo_attestation::{Digest384, name::Name};
    use hanzo_measured_boot::matrix::{BootFiles, Machine, ReferenceMatrix, SnpAxes, TdxMachine, VmShape};
    use hanzo_measured_boot::snp::id_block::{AuthBlock, IdBlock, IdKey, IdSignature};
    use hanzo_measured_boot::snp::{CpuModel, GuestFeatures, HostKernel, Vmm};

    let ovmf = image::Image::new(8192).build();
    let mut svsm = image::Image::new(8192);
    svsm.sev = vec![(0, 0x9_e000, 1), (0x9_e000, 0x1000, 2), (0x9_f000, 0x1000, 3)];
    svsm.with_tdvf = false;
    svsm.entries.push((image::SVSM_GUID, vec![0x40, 0, 0, 0]));
    // The generator of P-384 (FIPS 186-5).
    let point = [
        "04",
        "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7",
        "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
    ]
    .concat();
    let point: Vec<u8> = (0..point.len() / 2)
        .map(|i| u8::from_str_radix(&point[2 * i..2 * i + 2], 16).expect("hex"))
        .collect();
    let key = IdKey::from_point(&point).expect("a point");
    let signature = IdSignature::from_fixed(&[1; 96]).expect("two numbers");
    let block = IdBlock {
        launch_digest: Digest384([9; 48]),
        family_id: [1; 16],
        image_id: [2; 16],
        guest_svn: 3,
        policy: 0x3_0000,
    };
    let auth = AuthBlock::new(key.clone(), signature.clone(), Some((key, signature)));
    let name = |text: &str| Name::new(text).expect("a name");
    let axes = SnpAxes {
        image: name("seed"),
        vmms: vec![(Vmm::Qemu, name("10.0.2"))],
        host_kernels: vec![HostKernel::FromLinux6_10],
        vcpus: vec![2],
        cpus: vec![CpuModel::Milan],
        ram_mib: 4096,
        guest_features: vec![GuestFeatures::SNP],
        secure_tsc: vec![hanzo_measured_boot::matrix::SecureTsc::On],
    };
    let mut shapes = axes.shapes().expect("one shape");
    shapes.push(VmShape {
        name: name("td"),
        machine: Machine::Tdx(TdxMachine {
            vmm_version: name("qemu-10.0.2"),
            page_order: hanzo_measured_boot::tdx::PageOrder::TwoPass,
            vcpus: 2,
            ram_mib: 4096,
        }),
    });
    let cmdline = format!("hanzo.config={}", "11".repeat(32));
    let files = BootFiles {
        firmware: &ovmf,
        kernel: Some(b"kernel"),
        initrd: None,
        cmdline: &cmdline,
    };
    let mut matrix = ReferenceMatrix::predict(&files, &shapes).expect("two values");
    matrix.set_rtmrs(&name("td"), [Digest384([7; 48]); 4]).expect("a TD");
    vec![
        ("firmware", "ovmf", ovmf.clone()),
        ("firmware", "svsm", svsm.build()),
        ("igvm", "snp-tdx", igvm_seed()),
        ("id_block", "unsigned", [&block.bytes()[..], &auth.bytes()].concat()),
        ("matrix", "two", matrix.canonical().expect("JSON")),
    ]
}

/// Each kind of directive once, without the contents of most pages: those are not looked at.
fn igvm_seed() -> Vec<u8> {
    let mut file = igvm::File::new(2);
    file.pages(0x10_0000, 3, 0, 0, igvm::page(3));
    file.pages(0x10_1000, 3, 0, 0, Vec::new());
    file.pages(0x10_2000, 3, 2, 0, Vec::new());
    file.pages(0x10_3000, 1, 0, 1, Vec::new());
    file.pages(0x10_4000, 1, 0, 2, Vec::new());
    file.pages(0x20_0000, 2, 1, 0, Vec::new());
    file.parameters(0, 0x2000, 0x40_0000, 3);
    file.registers(0xffff_ffff_f000, 0, igvm::registers());
    file.build()
}
