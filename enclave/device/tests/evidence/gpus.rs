//! GPUs through a real dlopen of a library built here, which answers as NVML does, and also as it should not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use hanzo_attestation::bundle::{Base64, DeviceCollateral, DeviceEvidence};
use hanzo_attestation::evidence::authenticate_devices;
use hanzo_attestation::{Anchors, AuthenticDevices, Collateral, UnixTime};
use hanzo_device::nvml::{CcState, GpuError, MultiGpu, NvmlGpus};
use hanzo_device::{Endorsements, GpuSource, ReadyPass, Surroundings, detect};
use hanzo_simulated_tee::{DeviceSpec, RimSpec, SimulatedNvidia, SimulatedRimIssuer};
use tdx_attest_rs::Roots;

use super::fake_kernel::{FakeKernel, tree};
use super::say;

const NONCE: [u8; 32] = [0x3c; 32];

/// A guest with NVIDIA devices on its bus, and a library.
struct Machine {
    _dir: tempfile::TempDir,
    roots: Roots,
    library: PathBuf,
}

impl Machine {
    /// `None`, and said aloud, where there is no C compiler.
    fn new(gpus: usize, flags: &[&str], scenario: &str) -> Option<Self> {
        let (dir, roots) = tree();
        let library = dir.path().join("libnvidia-ml.so.1");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/evidence/library/nvml.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror"])
            .args(flags)
            .arg("-o")
            .arg(&library)
            .arg(source)
            .status();
        match compiled {
            Ok(status) => assert!(status.success(), "the test library does not compile"),
            Err(_) => {
                say("C COMPILER MISSING: the path through libnvidia-ml was NOT checked");
                return None;
            }
        }
        fs::write(dir.path().join("scenario"), format!("gpus={gpus} {scenario}")).unwrap();
        fs::write(dir.path().join("chain.pem"), b"-----BEGIN CERTIFICATE-----\n").unwrap();
        for index in 0..gpus {
            let device = roots.sys.join(format!("bus/pci/devices/0000:0{index}:00.0"));
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("vendor"), "0x10de\n").unwrap();
            fs::write(device.join("class"), "0x030200\n").unwrap();
            let report = [&[0x11, 0xe0, 1, 0xff][..], &[0; 33], &[index as u8; 1000]].concat();
            fs::write(dir.path().join(format!("report-{index}")), report).unwrap();
        }
        // Of the same vendor, and no GPU: a switch and an audio function. And another vendor's display.
        for (name, vendor, class) in [
            ("0000:40:00.0", "0x10de", "0x068000"),
            ("0000:41:00.1", "0x10de", "0x040300"),
            ("0000:42:00.0", "0x1234", "0x030000"),
        ] {
            let device = roots.sys.join("bus/pci/devices").join(name);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("vendor"), vendor).unwrap();
            fs::write(device.join("class"), class).unwrap();
        }
        Some(Self {
            _dir: dir,
            roots,
            library,
        })
    }

    fn gpus(&self) -> Result<NvmlGpus, GpuError> {
        NvmlGpus::load(self.library.as_os_str(), &self.roots.sys)
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.library.with_file_name("calls")).unwrap_or_default()
    }
}

/// The code of the first refusal; `ok` if there is none.
fn outcome(gpus: usize, flags: &[&str], scenario: &str) -> Option<&'static str> {
    let machine = Machine::new(gpus, flags, scenario)?;
    let listed = machine.gpus().and_then(|source| source.gpus(&NONCE));
    Some(listed.map_or_else(|e| e.code(), |_| "ok"))
}

#[test]
fn every_gpu_answers_the_nonce_in_the_drivers_order() {
    let Some(machine) = Machine::new(3, &[], "multi_gpu=1") else {
        return;
    };
    let source = machine.gpus().unwrap();
    let devices = source.gpus(&NONCE).unwrap();
    assert_eq!(devices.len(), 3);
    for (index, device) in devices.iter().enumerate() {
        assert_eq!((device.kind.as_str(), device.arch.as_str()), ("nvidia", "hopper"));
        assert_eq!(device.report.0.len(), 1037);
        assert_eq!(device.report.0[4..36], NONCE);
        assert_eq!(device.report.0[1036], index as u8);
        assert!(device.certificates.0.starts_with(b"-----BEGIN"));
    }
    let state = source.cc_state().unwrap();
    assert_eq!(
        state,
        CcState {
            enabled: true,
            environment: 2,
            devtools: false,
            multi_gpu: Some(MultiGpu::ProtectedPcie),
            ready: false,
        }
    );
    assert_eq!(machine.calls(), "", "nothing was set");
    assert_eq!(outcome(1, &[], "architecture=10").unwrap_or("ok"), "ok", "Blackwell");
}

#[test]
fn a_driver_that_answers_otherwise_is_refused_by_name() {
    for (scenario, code) in [
        ("", "ok"),
        // Lengths beyond the buffers, which the wrapper crate would index by.
        ("report_size=8193", "gpu.length"),
        ("report_size=0xffffffff", "gpu.length"),
        ("report_size=0", "gpu.length"),
        ("report_size=35", "gpu.nonce"),
        ("chain_size=5121", "gpu.length"),
        ("chain_size=0xffffffff", "gpu.length"),
        ("chain_size=0", "gpu.length"),
        // Lengths of parts that are not used do no harm.
        ("cec_size=0xffffffff unused_chain=0xffffffff", "ok"),
        ("wrong_nonce=1", "gpu.nonce"),
        ("architecture=8", "gpu.architecture"),
        ("architecture=77", "gpu.nvml"),
        ("report=3", "gpu.nvml"),
        ("certificate=999", "gpu.nvml"),
        ("init=9", "gpu.library"),
        ("feature=0", "gpu.cc_off"),
        ("feature=2", "gpu.cc_off"),
        ("devtools=1", "gpu.devtools"),
        ("devtools=2", "gpu.devtools"),
        ("environment=1", "gpu.environment"),
        ("environment=0", "gpu.environment"),
        ("settings=999", "gpu.nvml"),
    ] {
        if let Some(got) = outcome(1, &[], scenario) {
            assert_eq!(got, code, "{scenario}");
        }
    }
    if let Some(got) = outcome(2, &[], "same_uuid=1") {
        assert_eq!(got, "gpu.duplicate");
    }
}

#[test]
fn a_gpu_on_the_bus_that_the_driver_hides_stops_the_list() {
    let Some(machine) = Machine::new(2, &[], "") else {
        return;
    };
    assert_eq!(NvmlGpus::on_the_bus(&machine.roots.sys), 2);
    let source = machine.gpus().unwrap();
    source.gpus(&NONCE).unwrap();
    fs::write(machine.library.with_file_name("scenario"), "gpus=1").unwrap();
    assert_eq!(source.gpus(&NONCE).unwrap_err().code(), "gpu.count");
    fs::write(machine.library.with_file_name("scenario"), "gpus=3").unwrap();
    assert_eq!(source.gpus(&NONCE).unwrap_err().code(), "gpu.count");
}

#[test]
fn older_drivers_state_less_and_drivers_without_reports_are_told_apart() {
    let Some(older) = Machine::new(1, &["-DWITHOUT_SETTINGS"], "") else {
        return;
    };
    let source = older.gpus().unwrap();
    assert_eq!(source.gpus(&NONCE).unwrap().len(), 1);
    assert_eq!(source.cc_state().unwrap().multi_gpu, None);
    assert_eq!(older.calls(), "older state\nolder state\n");
    // One that knows the function and not this version of its structure.
    assert_eq!(outcome(1, &[], "settings=25"), Some("ok"));
    assert_eq!(outcome(1, &["-DWITHOUT_SETTINGS"], "devtools=1"), Some("gpu.devtools"));
    assert_eq!(outcome(1, &["-DWITHOUT_REPORT"], ""), Some("gpu.no_function"));
}

const NOW: UnixTime = UnixTime(1_780_000_000);

/// Puts evidence of a simulated GPU, made for [`NONCE`], behind the library; returns what verifies it.
fn put_simulated(machine: &Machine) -> (Anchors, DeviceCollateral) {
    let vendor = SimulatedNvidia::for_tests();
    let issuer = SimulatedRimIssuer::for_tests();
    let spec = DeviceSpec::hopper(1);
    let evidence = vendor.device(spec.clone()).evidence(&NONCE);
    fs::write(machine.library.with_file_name("report-0"), &evidence.report.0).unwrap();
    fs::write(machine.library.with_file_name("chain.pem"), &evidence.certificates.0).unwrap();
    let driver = spec.driver_version.as_deref().unwrap();
    let rims = [
        RimSpec::of_measurements("GH100", driver, &spec.measurements, 21..=30),
        RimSpec::of_measurements("GH100", &spec.vbios_text(), &spec.measurements, 1..=20),
    ];
    let rims = rims.iter().map(|rim| Base64(issuer.sign(rim))).collect();
    let anchors = Anchors::vendor()
        .with_simulator_nvidia_root(vendor.device_root_der().to_vec())
        .with_simulator_rim_root(issuer.root_der().to_vec());
    (anchors, DeviceCollateral { rims, ocsp: Vec::new() })
}

#[test]
fn gpus_get_ready_only_with_a_pass_for_the_list_that_was_given_last() {
    let refused = |error: GpuError| error.code();
    let nobody = ReadyPass::of(&AuthenticDevices::none(), &NONCE).unwrap_err();
    assert_eq!(refused(nobody), "gpu.not_passed");
    let Some(machine) = Machine::new(1, &[], "") else {
        return;
    };
    let (anchors, stapled) = put_simulated(&machine);
    let verify = |devices: &[DeviceEvidence], stapled: &DeviceCollateral, anchors: &Anchors| {
        authenticate_devices(devices, stapled, anchors, &Collateral::default(), NOW)
    };
    let source = machine.gpus().unwrap();
    let devices = source.gpus(&NONCE).unwrap();
    // Authentic to nobody who does not count the simulator's root.
    verify(&devices, &stapled, &Anchors::vendor()).unwrap_err();
    let authentic = verify(&devices, &stapled, &anchors).unwrap();
    let another_nonce = ReadyPass::of(&authentic, &[0; 32]).unwrap_err();
    assert_eq!(refused(another_nonce), "gpu.not_passed");
    let without_rims = verify(&devices, &DeviceCollateral::default(), &anchors).unwrap();
    let error = ReadyPass::of(&without_rims, &NONCE).unwrap_err();
    assert!(error.to_string().contains("RIM"), "{error}");
    assert_eq!((refused(error), machine.calls()), ("gpu.not_passed", String::new()));

    let pass = ReadyPass::of(&authentic, &NONCE).unwrap();
    assert!(!source.cc_state().unwrap().ready);
    source.set_ready(&pass).unwrap();
    assert!(source.cc_state().unwrap().ready);
    assert_eq!(machine.calls(), "ready\n");
    // Once; and not for a list that was given since.
    assert_eq!(refused(source.set_ready(&pass).unwrap_err()), "gpu.not_this_list");
    source.gpus(&[1; 32]).unwrap();
    assert_eq!(refused(source.set_ready(&pass).unwrap_err()), "gpu.not_this_list");
    for (scenario, code) in [("set_ready=3", "gpu.nvml"), ("forgets=1", "gpu.not_ready")] {
        let Some(machine) = Machine::new(1, &[], scenario) else {
            return;
        };
        let (anchors, stapled) = put_simulated(&machine);
        let source = machine.gpus().unwrap();
        let devices = source.gpus(&NONCE).unwrap();
        let pass = ReadyPass::of(&verify(&devices, &stapled, &anchors).unwrap(), &NONCE).unwrap();
        assert_eq!(refused(source.set_ready(&pass).unwrap_err()), code, "{scenario}");
    }
}

#[test]
fn a_machine_with_gpus_and_without_the_library_does_not_pretend_to_have_none() {
    let Some(machine) = Machine::new(1, &[], "") else {
        return;
    };
    let around = |nvml: &Path, roots: &Roots| Surroundings {
        roots: roots.clone(),
        kernel: Box::new(FakeKernel::new("tdx_guest", Arc::new(|_| Ok((vec![4, 0], Vec::new()))))),
        nvml: nvml.into(),
        endorsements: Endorsements::default(),
    };
    let attester = detect(around(&machine.library, &machine.roots)).unwrap();
    assert_eq!(attester.devices(&NONCE).unwrap().len(), 1);
    let missing = machine.library.with_file_name("libnone.so");
    let error = detect(around(&missing, &machine.roots)).err().unwrap();
    assert_eq!(error.code(), "gpu.library");
    assert!(error.to_string().contains("libnone.so"), "{error}");
    let (_dir, without) = tree();
    let attester = detect(around(&missing, &without)).unwrap();
    assert_eq!(attester.devices(&NONCE).unwrap(), []);
}
