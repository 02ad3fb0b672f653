//! A guest on a machine made of files: what the kernel and the driver would give, given by simulated hardware through the
//! very attesters of a production guest, and verified by the verifier.

use std::sync::{Arc, Mutex};

use hanzo_attestation::bundle::{Base64, Bundle, CpuEvidence, DeviceCollateral, DeviceEvidence, device_list_digest};
use hanzo_attestation::channel::ATTESTATION_PATH;
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{Anchors, Digest384, Nonce, UnixTime};
use hanzo_device::nvml::{CcState, GpuError};
use hanzo_device::{Attester, Endorsements, GpuSource, ReadyPass, Surroundings, WithGpus, detect};
use hanzo_guest::DeviceTrust;
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
}

struct SimulatedGpus {
    devices: Vec<SimulatedDevice>,
    asked: Arc<Mutex<Vec<Asked>>>,
    listed: Mutex<Option<Digest384>>,
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
    }
}

/// A world whose machine has one GPU; what is asked of it is noted.
async fn world_with_gpu(trust: DeviceTrust) -> (World, Arc<Mutex<Vec<Asked>>>) {
    let mut world = World::new().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    world.options.devices = trust;
    world.attester = Some(Box::new(move |guest| {
        let gpus = SimulatedGpus {
            devices: vec![SimulatedNvidia::for_tests().device(DeviceSpec::hopper(1))],
            asked: noted.clone(),
            listed: Mutex::new(None),
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
