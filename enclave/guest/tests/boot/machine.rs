//! A guest on a machine made of files: what the kernel and the driver would give, given by simulated hardware through the
//! very attesters of a production guest, and verified by the verifier.

use std::sync::{Arc, Mutex};

use hanzo_attestation::bundle::{Base64, Bundle, CpuEvidence, DeviceCollateral, DeviceEvidence, device_list_digest};
use hanzo_attestation::channel::ATTESTATION_PATH;
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{Anchors, Digest384, Nonce, UnixTime};
use hanzo_device::cuda::PciAddress;
use hanzo_device::nvml::{CcState, GpuError, NvmlGpu, NvmlSurvey};
use hanzo_device::{Attester, Endorsements, GpuSource, ReadyPass, Surroundings, WithGpus, detect};
use hanzo_guest::DeviceTrust;
use hanzo_guest::probe::SUBCOMMAND;
use hanzo_simulated_tee::{
    DeviceSpec, QuoteFormat, RimSpec, SimulatedDevice, SimulatedGuest, SimulatedNvidia, SimulatedRimIssuer,
    SimulatedTdx, TdSpec,
};
use hanzo_verifier::verify_bundle;
use hyper::StatusCode;

use crate::client::connect;
use crate::fake_kernel::{FakeKernel, tree};
use crate::served::context;
use crate::world::{World, simulator_root};

/// GHCB certificate table: GUID, offset, length per entry; zeros end it.
fn certificate_table(entries: &[(u128, &[u8])]) -> Vec<u8> {
    let (mut head, mut data) = (Vec::new(), Vec::new());
    let start = (entries.len() + 1) * 24;
    for (guid, certificate) in entries {
        head.extend(guid.to_be_bytes());
        head.extend(((start + data.len()) as u32).to_le_bytes());
        head.extend((certificate.len() as u32).to_le_bytes());
        data.extend_from_slice(certificate);
    }
    head.resize(start, 0);
    [head, data].concat()
}

/// What `detect` finds on a machine whose security processor is `guest`'s.
fn snp_machine(guest: SimulatedGuest) -> Box<dyn Attester> {
    let (dir, roots) = tree();
    let config = guest.spec().config_digest;
    std::fs::write(roots.proc.join("cmdline"), format!("quiet hanzo.config={config}\n")).unwrap();
    let kernel = FakeKernel::new(
        "sev_guest",
        Arc::new(move |asked| {
            let _the_tree_lives_as_long_as_the_kernel = &dir;
            let evidence = guest.evidence(asked);
            let ask = evidence.ask.map(|a| a.0).unwrap_or_default();
            let table = certificate_table(&[
                (0x63da758d_e664_4564_adc5_f4b93be8accd, &evidence.vek.0),
                (0x4ab7b379_bbac_4fe4_a02f_05aef327c782, &ask),
            ]);
            Ok((evidence.report.0, table))
        }),
    );
    detect(Surroundings {
        roots,
        kernel: Box::new(kernel),
        nvml: "/nonexistent".into(),
        endorsements: Endorsements::default(),
    })
    .unwrap()
}

/// What was asked of the GPUs, in order.
#[derive(Debug, Clone, PartialEq)]
enum Asked {
    Listed([u8; 32]),
    Ready,
    NotReady,
}

struct SimulatedGpus {
    devices: Vec<SimulatedDevice>,
    asked: Arc<Mutex<Vec<Asked>>>,
    listed: Mutex<Option<Digest384>>,
    /// The release that NVML states.
    driver: String,
}

impl GpuSource for SimulatedGpus {
    fn cc_state(&self) -> Result<CcState, GpuError> {
        Err(GpuError::CcOff)
    }

    fn gpus(&self, nonce: &[u8; 32]) -> Result<Vec<DeviceEvidence>, GpuError> {
        self.asked.lock().unwrap().push(Asked::Listed(*nonce));
        let list: Vec<_> = self.devices.iter().map(|d| d.evidence(nonce)).collect();
        *self.listed.lock().unwrap() = Some(device_list_digest(&list).unwrap());
        Ok(list)
    }

    fn set_ready(&self, pass: &ReadyPass) -> Result<(), GpuError> {
        if self.listed.lock().unwrap().take() != Some(pass.list()) {
            return Err(GpuError::NotThisList);
        }
        self.asked.lock().unwrap().push(Asked::Ready);
        Ok(())
    }

    fn set_not_ready(&self) -> Result<(), GpuError> {
        self.asked.lock().unwrap().push(Asked::NotReady);
        Ok(())
    }

    fn survey(&self) -> Result<NvmlSurvey, GpuError> {
        Ok(NvmlSurvey {
            driver_version: self.driver.clone(),
            cuda_api: 13_000,
            gpus: vec![NvmlGpu {
                uuid: "GPU-00000000-0000-0000-0000-000000000000".into(),
                name: "TEST H100".into(),
                pci: PciAddress {
                    domain: 0,
                    bus: 0,
                    device: 0,
                },
                compute_capability: [9, 0],
                memory_bytes: 80 << 30,
            }],
        })
    }
}

fn device_trust() -> DeviceTrust {
    let issuer = SimulatedRimIssuer::for_tests();
    let spec = DeviceSpec::hopper(1);
    let rim = |version: &str, numbers: std::ops::RangeInclusive<u8>| {
        Base64(issuer.sign(&RimSpec::of_measurements("GH100", version, &spec.measurements, numbers)))
    };
    let rims = vec![
        rim(spec.driver_version.as_deref().unwrap(), 21..=30),
        rim(&spec.vbios_text(), 1..=20),
    ];
    DeviceTrust {
        anchors: Anchors::vendor()
            .with_simulator_nvidia_root(SimulatedNvidia::for_tests().device_root_der().to_vec())
            .with_simulator_rim_root(issuer.root_der().to_vec()),
        collateral: DeviceCollateral { rims, ocsp: Vec::new() },
        survey: [env!("CARGO_BIN_EXE_hanzo-guest"), SUBCOMMAND]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// A world whose machine has one GPU; what is asked of it is noted.
async fn world_with_gpu(trust: DeviceTrust) -> (World, Arc<Mutex<Vec<Asked>>>) {
    let driver = DeviceSpec::hopper(1).driver_version.unwrap();
    world_with_gpu_of(trust, driver).await
}

async fn world_with_gpu_of(trust: DeviceTrust, driver: String) -> (World, Arc<Mutex<Vec<Asked>>>) {
    let mut world = World::new().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    world.options.devices = trust;
    world.attester = Some(Box::new(move |guest| {
        let gpus = SimulatedGpus {
            devices: vec![SimulatedNvidia::for_tests().device(DeviceSpec::hopper(1))],
            asked: noted.clone(),
            listed: Mutex::new(None),
            driver: driver.clone(),
        };
        Box::new(WithGpus::new(snp_machine(guest), Box::new(gpus)))
    }));
    (world, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_came_through_the_kernels_files_is_accepted_by_the_verifier() {
    let mut world = World::new().await;
    world.attester = Some(Box::new(snp_machine));
    let guest = world.boot().await;
    let challenge = Nonce([7; 32]);
    let mut connection = connect(&guest.ready.address).await;
    let (status, bytes) = connection
        .get(&format!("{ATTESTATION_PATH}?challenge={challenge}"))
        .await;
    assert_eq!(status, StatusCode::OK);
    let bundle = Bundle::parse(&bytes).unwrap();
    assert!(matches!(bundle.cpu, CpuEvidence::Snp(_)) && bundle.devices.is_empty());
    let now = UnixTime(guest.ready.keyset.issued_at);
    let result = verify_bundle(&bytes, &challenge, &context(&world), now).unwrap();
    assert!(result.simulated());
    assert_eq!(result.keyset_digest(), Some(guest.ready.keyset_digest));
    drop(connection);
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn gpus_are_verified_before_they_get_ready_and_answer_before_the_cpu() {
    let (world, asked) = world_with_gpu(device_trust()).await;
    let guest = world.boot().await;
    let challenge = Nonce([8; 32]);
    let mut connection = connect(&guest.ready.address).await;
    let (status, bytes) = connection
        .get(&format!("{ATTESTATION_PATH}?challenge={challenge}"))
        .await;
    assert_eq!(status, StatusCode::OK);
    let bundle = Bundle::parse(&bytes).unwrap();
    let device_nonce = |nonce| {
        Statement::for_devices(guest.ready.keyset_digest, nonce)
            .digest256()
            .unwrap()
            .0
    };
    let asked = asked.lock().unwrap().clone();
    // For each of its two keys, and for the lease of the store, the broker gets a list of its own, and judges it by itself.
    let [
        Asked::Listed(_),
        Asked::Listed(_),
        Asked::Listed(_),
        Asked::Listed(own),
        Asked::Ready,
        Asked::Listed(standing),
        Asked::Listed(fresh),
    ] = asked.as_slice()
    else {
        panic!("{asked:?}")
    };
    assert_ne!(own, standing, "the boot's own nonce is no statement's");
    assert_eq!(*fresh, device_nonce(bundle.nonce));
    assert_eq!(bundle.devices.len(), 1);
    assert_eq!(bundle.collateral.rims.len(), 2, "stapled");

    let mut context = context(&world);
    let devices = world.options.devices.anchors.clone();
    context.anchors = devices.with_simulator_ark(simulator_root().to_vec());
    let now = UnixTime(guest.ready.keyset.issued_at);
    verify_bundle(&bytes, &challenge, &context, now).unwrap();

    // The CPU signed for this list and no other.
    let mut without = bundle.clone();
    without.devices.clear();
    let refused = verify_bundle(&without.canonical().unwrap(), &challenge, &context, now).unwrap_err();
    assert_eq!(refused.code(), "binding.report_data");
    drop(connection);
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tdx_guest_gets_its_keys_and_attests_as_one() {
    let mut world = World::new().await;
    world.attester = Some(Box::new(|guest| {
        let (dir, roots) = tree();
        let config = guest.spec().config_digest;
        std::fs::write(roots.proc.join("cmdline"), format!("hanzo.config={config}")).unwrap();
        let kernel = FakeKernel::new(
            "tdx_guest",
            Arc::new(move |asked| {
                let _the_tree_lives_as_long_as_the_kernel = &dir;
                Ok((
                    SimulatedTdx::for_tests().quote(&TdSpec::new(QuoteFormat::V4), asked),
                    Vec::new(),
                ))
            }),
        );
        detect(Surroundings {
            roots,
            kernel: Box::new(kernel),
            nvml: "/nonexistent".into(),
            endorsements: Endorsements::default(),
        })
        .unwrap()
    }));
    let guest = world.boot().await;
    let mut connection = connect(&guest.ready.address).await;
    let (status, bytes) = connection
        .get(&format!("{ATTESTATION_PATH}?challenge={}", Nonce([9; 32])))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(matches!(Bundle::parse(&bytes).unwrap().cpu, CpuEvidence::Tdx(_)));
    drop(connection);
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn gpus_that_do_not_pass_stop_the_boot_and_stay_as_they_are() {
    let mut no_rims = device_trust();
    no_rims.collateral.rims.clear();
    let mut vendors_alone = device_trust();
    vendors_alone.anchors = Anchors::vendor();
    for (trust, code) in [(no_rims, "gpu.not_passed"), (vendors_alone, "nvidia.chain.root")] {
        let (world, asked) = world_with_gpu(trust).await;
        let error = world.refused().await;
        assert_eq!(error.code(), code, "{error}");
        let asked = asked.lock().unwrap();
        assert!(asked.iter().all(|a| matches!(a, Asked::Listed(_))), "{asked:?}");
    }
}

/// A CUDA library of the tests below `dir`, and the process that asks it.
fn with_cuda(mut trust: DeviceTrust, dir: &std::path::Path, scenario: &str) -> Option<DeviceTrust> {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../device/tests/evidence/library/cuda.c");
    let library = dir.join(hanzo_device::cuda::CUDA_LIBRARY);
    let mut cc = std::process::Command::new("cc");
    match cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status() {
        Ok(status) => assert!(status.success()),
        Err(_) => {
            eprintln!("C COMPILER MISSING: GPUs were NOT probed");
            return None;
        }
    }
    std::fs::write(dir.join("scenario"), scenario).unwrap();
    // The process has a user of its own where the tests are root's.
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir, readable).unwrap();
    let told = format!("LD_LIBRARY_PATH={}", dir.display());
    trust.survey.splice(0..0, ["/usr/bin/env".to_owned(), told]);
    Some(trust)
}

#[tokio::test(flavor = "multi_thread")]
async fn gpus_that_cuda_shows_otherwise_are_taken_back_and_stop_the_boot() {
    let real = DeviceSpec::hopper(1).driver_version.unwrap();
    for (scenario, driver, code) in [
        ("other_uuid=1", real.as_str(), "gpu.probe.missing"),
        ("cuda_major=8", &real, "gpu.probe.differs"),
        ("wrong_byte=4711", &real, "cuda.copy"),
        ("dies=1", &real, "cuda.process"),
        // The evidence names another release than NVML.
        ("", "535.1", "gpu.probe.differs"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let Some(trust) = with_cuda(device_trust(), dir.path(), scenario) else {
            return;
        };
        let (world, asked) = world_with_gpu_of(trust, driver.to_owned()).await;
        let error = world.refused().await;
        assert_eq!(error.code(), code, "{scenario}: {error}");
        let last: Vec<_> = asked.lock().unwrap().iter().rev().take(2).cloned().collect();
        assert_eq!(last, [Asked::NotReady, Asked::Ready], "{scenario}");
    }
    // The twin: nothing is wrong, and it serves.
    let dir = tempfile::tempdir().unwrap();
    let Some(trust) = with_cuda(device_trust(), dir.path(), "") else {
        return;
    };
    let (world, asked) = world_with_gpu(trust).await;
    world.boot().await.stop().await.unwrap();
    assert!(!asked.lock().unwrap().contains(&Asked::NotReady));
}
