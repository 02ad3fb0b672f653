//! The same inputs through another implementation, `sev-snp-measure` of PyPI, in one run.
//!
//! It is looked for as a Python module, in `HANZO_SEV_SNP_MEASURE` first:
//! `pip install --no-deps --target DIR sev-snp-measure==0.0.13`.

#[path = "support/image.rs"]
mod image;

use std::path::Path;
use std::process::Command;

use hanzo_measured_boot::firmware::Firmware;
use hanzo_measured_boot::snp::{
    CpuModel, EsShape, GuestFeatures, HostKernel, KernelHashes, SnpLaunch, SnpShape, SvsmShape, TscFields, Vmm,
    sev_digest, sev_es_digest, svsm_digest,
};
use image::{Image, SVSM_GUID};

const CMDLINE: &str = "console=ttyS0 panic=-1 quiet";

const PEER: &str = r#"
import sys
from sevsnpmeasure import guest, vcpu_types, vmm_types
from sevsnpmeasure.sev_mode import SevMode as M
folder = sys.argv[1]
ovmf, kernel, initrd, svsm = (f"{folder}/{n}" for n in ("ovmf", "kernel", "initrd", "svsm"))
for line in sys.stdin:
    mode, vmm, vcpus, cpu, features, boot = line.split()
    files = (kernel, initrd, sys.argv[2]) if boot == "kernel" else (None, None, None)
    extra = {"svsm_file": svsm, "ovmf_vars_size": 0x21000} if mode == "SEV_SNP_SVSM" else {}
    digest = guest.calc_launch_digest(M[mode], int(vcpus), vcpu_types.CPU_SIGS[cpu], ovmf, *files, int(features, 0),
                                      vmm_type=vmm_types.VMMType[vmm], **extra)
    print(digest.hex())
"#;

/// `mode vmm vcpus cpu features kernel|none`.
const CASES: [&str; 18] = [
    "SEV_SNP QEMU 1 EPYC-v4 0x1 kernel",
    "SEV_SNP QEMU 2 EPYC-v4 0x1 kernel",
    "SEV_SNP QEMU 1 EPYC-Milan 0x1 kernel",
    "SEV_SNP QEMU 64 EPYC-Milan-v2 0x21 kernel",
    "SEV_SNP QEMU 3 EPYC-Genoa 0x1 none",
    "SEV_SNP QEMU 255 EPYC-Genoa-v1 0x201 kernel",
    "SEV_SNP QEMU 4 EPYC-Turin 0x1 kernel",
    "SEV_SNP QEMU 4 EPYC-Rome-v3 0x21 none",
    "SEV_SNP QEMU 1 EPYC-IBPB 0x3 kernel",
    "SEV_SNP ec2 1 EPYC-v4 0x1 kernel",
    "SEV_SNP ec2 8 EPYC-Milan 0x21 none",
    "SEV_SNP gce 1 EPYC-v4 0x1 kernel",
    "SEV_SNP gce 16 EPYC-Milan 0x1 none",
    "SEV_SNP_SVSM QEMU 1 EPYC-v4 0x1 none",
    "SEV_SNP_SVSM QEMU 5 EPYC-Genoa 0x1 none",
    "SEV_ES QEMU 1 EPYC-v4 0x0 kernel",
    "SEV_ES QEMU 9 EPYC-Milan 0x0 none",
    "SEV QEMU 1 EPYC-v4 0x0 kernel",
];

struct Inputs {
    ovmf: Vec<u8>,
    svsm: Vec<u8>,
    kernel: Vec<u8>,
    initrd: Vec<u8>,
}

impl Inputs {
    fn new() -> Self {
        let mut svsm = Image::new(32_768);
        svsm.sev = vec![(0, 0x9_e000, 1), (0x9_e000, 0x1000, 2), (0x9_f000, 0x1000, 3)];
        svsm.with_tdvf = false;
        svsm.entries.push((SVSM_GUID, vec![0x40, 0, 0, 0]));
        Self {
            ovmf: Image::new(262_144).build(),
            svsm: svsm.build(),
            kernel: (0..100_001_u32).map(|i| (i.wrapping_mul(i) >> 3) as u8).collect(),
            initrd: (0..55_555_u32).map(|i| ((i * 7) >> 2) as u8).collect(),
        }
    }

    fn ours(&self, case: &str) -> String {
        let [mode, vmm, vcpus, cpu, features, boot] = case.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{case}");
        };
        let firmware = Firmware::parse(&self.ovmf).unwrap();
        let kernel = (boot == "kernel").then(|| KernelHashes::of(&self.kernel, &self.initrd, CMDLINE).unwrap());
        let (vcpus, cpu) = (vcpus.parse().unwrap(), cpu.parse::<CpuModel>().unwrap().signature());
        let vmm = match vmm {
            "QEMU" => Vmm::Qemu,
            "ec2" => Vmm::Ec2,
            _ => Vmm::Gce,
        };
        let host = HostKernel::FromLinux6_10;
        match mode {
            "SEV" => sev_digest(&firmware, kernel.as_ref()).unwrap().to_string(),
            "SEV_ES" => {
                let shape = EsShape { vmm, vcpus, cpu, host };
                sev_es_digest(&firmware, kernel.as_ref(), &shape).unwrap().to_string()
            }
            "SEV_SNP_SVSM" => {
                let svsm = Firmware::parse(&self.svsm).unwrap();
                let shape = SvsmShape {
                    vcpus,
                    cpu,
                    vars_bytes: 0x2_1000,
                };
                svsm_digest(&firmware, &svsm, &shape).unwrap().to_string()
            }
            _ => {
                let bits = u64::from_str_radix(features.trim_start_matches("0x"), 16).unwrap();
                let shape = SnpShape {
                    vmm,
                    vcpus,
                    cpu,
                    features: GuestFeatures::new(bits).unwrap(),
                    host,
                    tsc: TscFields::default(),
                };
                let launch = SnpLaunch::new(&firmware).unwrap();
                launch.digest(kernel.as_ref(), &shape).unwrap().to_string()
            }
        }
    }

    fn theirs(&self, folder: &Path) -> Option<Vec<String>> {
        for (name, bytes) in [
            ("ovmf", &self.ovmf),
            ("svsm", &self.svsm),
            ("kernel", &self.kernel),
            ("initrd", &self.initrd),
        ] {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        std::fs::write(folder.join("cases"), CASES.join("\n")).unwrap();
        let mut python = Command::new("python3");
        python.arg("-c").arg(PEER).arg(folder).arg(CMDLINE);
        if let Some(place) = std::env::var_os("HANZO_SEV_SNP_MEASURE") {
            python.env("PYTHONPATH", place);
        }
        let output = python
            .stdin(std::fs::File::open(folder.join("cases")).unwrap())
            .output()
            .ok()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if errors.contains("ModuleNotFoundError") {
            return None;
        }
        assert!(output.status.success(), "{errors}");
        let text = String::from_utf8(output.stdout).unwrap();
        Some(text.lines().map(str::to_owned).collect())
    }
}

#[test]
fn every_case_agrees_with_sev_snp_measure() {
    let inputs = Inputs::new();
    let folder = tempfile::tempdir().unwrap();
    let Some(theirs) = inputs.theirs(folder.path()) else {
        eprintln!(
            "PEER MISSING (Python module sevsnpmeasure; HANZO_SEV_SNP_MEASURE=<pip --target folder>): \
             {} digests were NOT compared",
            CASES.len()
        );
        return;
    };
    let ours: Vec<_> = CASES.iter().map(|case| inputs.ours(case)).collect();
    for (case, (ours, theirs)) in CASES.iter().zip(ours.iter().zip(&theirs)) {
        assert_eq!(ours, theirs, "{case}");
    }
    assert_eq!(theirs.len(), CASES.len());
}
