//! SEV-SNP and TDX through configfs-tsm, and which attester a machine gets.

use std::fs;
use std::sync::Arc;

use hanzo_attestation::Digest256;
use hanzo_attestation::bundle::{Base64, CpuEvidence};
use hanzo_device::{Attester, DeviceError, Endorsements, SnpConfigfs, Surroundings, TdxConfigfs, TimeSource, detect};
use tdx_attest_rs::{Machine, Roots};

use super::fake_kernel::{FakeKernel, put_ccel, tree};
use super::request;

const REPORT_BYTES: usize = 1184;
const VCEK: [u8; 16] = 0x63da758d_e664_4564_adc5_f4b93be8accd_u128.to_be_bytes();

fn table(certificate: &[u8]) -> Vec<u8> {
    let mut table = VCEK.to_vec();
    table.extend_from_slice(&48_u32.to_le_bytes());
    table.extend_from_slice(&(certificate.len() as u32).to_le_bytes());
    table.resize(48, 0);
    table.extend_from_slice(certificate);
    table
}

/// An SEV-SNP processor that does what it should, changed.
fn snp(change: fn(&mut Vec<u8>), aux: Vec<u8>) -> FakeKernel {
    FakeKernel::new(
        "sev_guest",
        Arc::new(move |asked| {
            let mut report = vec![0; REPORT_BYTES];
            report[0x50..0x90].copy_from_slice(asked);
            change(&mut report);
            Ok((report, aux.clone()))
        }),
    )
}

fn tdx(version: u16, change: fn(&mut Vec<u8>)) -> FakeKernel {
    FakeKernel::new(
        "tdx_guest",
        Arc::new(move |asked| {
            let mut quote = vec![0; 5006];
            quote[..2].copy_from_slice(&version.to_le_bytes());
            let at = if version == 4 { 568 } else { 574 };
            quote[at..at + 64].copy_from_slice(asked);
            change(&mut quote);
            Ok((quote, Vec::new()))
        }),
    )
}

fn ask_snp(kernel: FakeKernel, endorsements: Endorsements) -> Result<CpuEvidence, DeviceError> {
    let (_dir, roots) = tree();
    SnpConfigfs::new(Machine::with_kernel(roots, Box::new(kernel)), endorsements).evidence(&request())
}

#[test]
fn a_report_travels_with_the_certificate_of_the_key_that_signed() {
    let healthy = || snp(|_| (), table(b"vcek"));
    let Ok(CpuEvidence::Snp(evidence)) = ask_snp(healthy(), Endorsements::default()) else {
        panic!("no evidence")
    };
    assert_eq!(evidence.report.0[0x50..0x90], request().report_data()[..]);
    assert_eq!((evidence.vek.0, evidence.crl), (b"vcek".to_vec(), None));

    let beside = Endorsements {
        vek: Some(b"beside".to_vec()),
        ask: Some(b"ask".to_vec()),
        crl: Some(b"crl".to_vec()),
        ..Endorsements::default()
    };
    for (aux, vek) in [(table(b"vcek"), &b"vcek"[..]), (Vec::new(), b"beside")] {
        let Ok(CpuEvidence::Snp(evidence)) = ask_snp(snp(|_| (), aux), beside.clone()) else {
            panic!("no evidence")
        };
        assert_eq!(evidence.vek.0, vek);
        assert_eq!(evidence.crl, Some(Base64(b"crl".to_vec())));
    }
}

#[test]
fn a_report_that_answers_otherwise_is_refused_by_name() {
    let code = |kernel| ask_snp(kernel, Endorsements::default()).unwrap_err().code();
    assert_eq!(code(snp(|r| r.truncate(1183), table(b"v"))), "device.malformed");
    assert_eq!(code(snp(|r| r.push(0), table(b"v"))), "device.malformed");
    assert_eq!(code(snp(|r| r[0x50] ^= 1, table(b"v"))), "device.report_data");
    assert_eq!(code(snp(|r| r[0x8f] ^= 1, table(b"v"))), "device.report_data");
    // VLEK signed, VCEK given; no key signed.
    assert_eq!(code(snp(|r| r[0x48] = 1 << 2, table(b"v"))), "device.no_certificate");
    assert_eq!(code(snp(|r| r[0x48] = 7 << 2, table(b"v"))), "device.malformed");
    assert_eq!(code(snp(|_| (), Vec::new())), "device.no_certificate");
    assert_eq!(code(snp(|_| (), vec![1])), "device.malformed");
    let lacking = FakeKernel {
        lacks: vec!["auxblob"],
        ..snp(|_| (), Vec::new())
    };
    assert_eq!(code(lacking), "device.no_certificate");
    assert_eq!(code(tdx(4, |_| ())), "tsm.provider");
}

#[test]
fn a_quote_travels_with_the_event_log() {
    let (_dir, roots) = tree();
    put_ccel(&roots, b"log");
    for version in [4, 5] {
        let ask = |change| {
            let machine = Machine::with_kernel(roots.clone(), Box::new(tdx(version, change)));
            TdxConfigfs::new(machine, Endorsements::default()).evidence(&request())
        };
        let Ok(CpuEvidence::Tdx(evidence)) = ask(|_| ()) else {
            panic!("no evidence")
        };
        assert_eq!(evidence.quote.0.len(), 5006);
        assert_eq!(evidence.event_log, Some(Base64(b"log".to_vec())));
        assert_eq!(evidence.collateral, None);
        let code = |change| ask(change).unwrap_err().code();
        assert_eq!(code(|q| q[600] ^= 1), "device.report_data");
        assert_eq!(code(|q| q[0] = 3), "device.malformed", "an SGX quote");
        assert_eq!(code(|q| q[0] = 6), "device.malformed");
        assert_eq!(code(|q| q.truncate(600)), "device.malformed");
        assert_eq!(code(|q| q.truncate(1)), "device.malformed");
    }
    let machine = Machine::with_kernel(roots, Box::new(snp(|_| (), Vec::new())));
    let wrong = TdxConfigfs::new(machine, Endorsements::default()).evidence(&request());
    assert_eq!(wrong.unwrap_err().code(), "tsm.provider");
}

#[test]
fn a_tdx_guest_without_configfs_has_a_report_and_no_quote() {
    let (_dir, roots) = tree();
    fs::write(roots.dev.join("tdx_guest"), b"").unwrap();
    // The number of the system call reaches the kernel: a plain file has no such command.
    let machine = Machine::at(roots);
    let error = hanzo_device::tdx::td_report(&machine, &[1; 64]).unwrap_err();
    assert_eq!(error.code(), "tsm.io");
    assert!(error.to_string().contains("os error 25"), "ENOTTY: {error}");
}

#[test]
fn a_clock_that_the_host_can_bend_is_not_called_secure() {
    let (_dir, roots) = tree();
    let source = || {
        let machine = Machine::with_kernel(roots.clone(), Box::new(tdx(4, |_| ())));
        TdxConfigfs::new(machine, Endorsements::default()).time_source()
    };
    assert_eq!(source(), TimeSource::Host, "unknown");
    let clocks = roots.sys.join("devices/system/clocksource/clocksource0");
    fs::create_dir_all(&clocks).unwrap();
    for (name, expected) in [
        ("tsc\n", TimeSource::SecureTsc),
        ("kvm-clock\n", TimeSource::Host),
        ("tsc-early\n", TimeSource::Host),
    ] {
        fs::write(clocks.join("current_clocksource"), name).unwrap();
        assert_eq!(source(), expected, "{name}");
    }
}

fn found(roots: &Roots, kernel: FakeKernel) -> Result<Box<dyn Attester>, DeviceError> {
    detect(Surroundings {
        roots: roots.clone(),
        kernel: Box::new(kernel),
        nvml: "/nonexistent/libnvidia-ml.so.1".into(),
        endorsements: Endorsements::default(),
    })
}

#[test]
fn detection_takes_what_the_kernel_names_and_falls_back_to_nothing_weaker() {
    let (_dir, roots) = tree();
    fs::write(
        roots.proc.join("cmdline"),
        format!("hanzo.config={}\n", "11".repeat(32)),
    )
    .unwrap();
    for (kernel, kind) in [(snp(|_| (), table(b"v")), "snp"), (tdx(4, |_| ()), "tdx")] {
        let attester = found(&roots, kernel).unwrap();
        assert_eq!(attester.evidence(&request()).unwrap().kind(), kind);
        assert_eq!(attester.devices(&[0; 32]).unwrap(), []);
        assert_eq!(attester.measured_config_digest().unwrap(), Digest256([0x11; 32]));
    }
    let code = |kernel| found(&roots, kernel).err().map(|e| e.code());
    let unknown = FakeKernel::new("arm_cca_guest", Arc::new(|_| Ok((Vec::new(), Vec::new()))));
    assert_eq!(code(unknown), Some("tsm.provider"));

    // An old kernel: its device alone proves nothing to others, and a vTPM beside it is not taken instead.
    fs::remove_dir(roots.sys.join("kernel/config/tsm/report")).unwrap();
    assert_eq!(code(tdx(4, |_| ())), Some("device.absent"));
    fs::write(roots.dev.join("tpmrm0"), b"").unwrap();
    for device in ["tdx_guest", "sev-guest"] {
        fs::write(roots.dev.join(device), b"").unwrap();
        assert_eq!(code(tdx(4, |_| ())), Some("device.no_quote"), "{device}");
        fs::remove_file(roots.dev.join(device)).unwrap();
    }
    assert_eq!(
        code(tdx(4, |_| ())),
        Some("vtpm.io"),
        "a file that answers nothing is no TPM"
    );
}

#[test]
fn endorsements_are_bounded_and_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let empty = Endorsements::load(dir.path()).unwrap();
    assert!(empty.vek.is_none() && empty.tdx.is_none() && empty.ak.is_empty() && empty.devices.rims.is_empty());
    for folder in ["ak", "rims", "ocsp"] {
        fs::create_dir(at(folder)).unwrap();
    }
    for (file, text) in [
        ("vek.der", "v"),
        ("ak/2", "b"),
        ("ak/1", "a"),
        ("rims/x", "r"),
        ("ocsp/y", "o"),
    ] {
        fs::write(at(file), text).unwrap();
    }
    let some = Endorsements::load(dir.path()).unwrap();
    assert_eq!(some.vek.as_deref(), Some(&b"v"[..]));
    assert_eq!(some.ak, [b"a", b"b"]);
    assert_eq!((some.devices.rims.len(), some.devices.ocsp.len()), (1, 1));

    let code = || Endorsements::load(dir.path()).unwrap_err().code();
    fs::write(at("tdx-collateral.json"), "{}").unwrap();
    assert_eq!(code(), "device.malformed");
    fs::remove_file(at("tdx-collateral.json")).unwrap();
    fs::write(at("vek.der"), vec![0; 16 * 1024 + 1]).unwrap();
    assert_eq!(code(), "device.malformed");
    fs::write(at("vek.der"), b"v").unwrap();
    for i in 0..8 {
        fs::write(at(&format!("ak/more-{i}")), b"x").unwrap();
    }
    assert_eq!(code(), "device.malformed", "more intermediates than any chain has");
}
