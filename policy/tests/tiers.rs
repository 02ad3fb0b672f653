//! Every tier by signed evidence, through the public API: made by the simulators, authenticated, bound, appraised.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hanzo_attestation::binding::{RcarRuntime, bind_rcar};
use hanzo_attestation::bundle::{Base64, DeviceCollateral};
use hanzo_attestation::evidence::authenticate_devices;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Anchors, Bound, Claims, Collateral, Digest256, Digest384, RawEvidence, UnixTime};
use hanzo_policy::{
    Appraisal, AppraisalPolicy, CpuGpuBinding, EpycTcb, GpuPolicy, PcrValues, PrivacyTier, RevocationPolicy,
    SnpParavisor, SnpPolicy, TcbFloors, TdxParavisor, TdxPolicy, TdxReference, TeeIoReference, TpmPolicy, TpmReference,
    Ueid, appraise,
};
use hanzo_simulated_tee::{
    AkKind, CollateralSpec, DeviceSpec, LaunchSpec, OcspSpec, QuoteFormat, RimSpec, SimulatedDevice, SimulatedNvidia,
    SimulatedProcessor, SimulatedRimIssuer, SimulatedTdx, SimulatedTpm, TdSpec, TpmSpec,
};

/// 2026-07-01T00:00:00Z.
const NOW: UnixTime = UnixTime(1_782_864_000);
const CONFIG: Digest256 = Digest256([2; 32]);

static VENDOR: LazyLock<SimulatedNvidia> = LazyLock::new(SimulatedNvidia::for_tests);
static RIMS: LazyLock<SimulatedRimIssuer> = LazyLock::new(SimulatedRimIssuer::for_tests);
static TDX: LazyLock<SimulatedTdx> = LazyLock::new(SimulatedTdx::for_tests);
static VTPM: LazyLock<SimulatedTpm> = LazyLock::new(|| {
    let mut spec = TpmSpec::new("vtpm");
    spec.ak = AkKind::Rsa2048;
    SimulatedTpm::from_seed(b"tests of the tpm module, seed 01", &spec).unwrap()
});

fn anchors() -> Anchors {
    Anchors::vendor()
        .with_simulator_ark(SimulatedProcessor::for_tests().ark_der().to_vec())
        .with_simulator_tdx_root(TDX.root_der().to_vec())
        .with_simulator_nvidia_root(VENDOR.device_root_der().to_vec())
        .with_simulator_rim_root(RIMS.root_der().to_vec())
}

/// Evidence of a session with these devices; `covered` says whether the session's digest covers the list.
fn session(
    evidence: impl FnOnce(&RcarRuntime<'_>) -> RawEvidence,
    devices: &[SimulatedDevice],
    covered: bool,
    anchors: &Anchors,
) -> Bound<Claims> {
    let key = serde_json::json!({"kty": "AKP"});
    let runtime = RcarRuntime {
        additional_evidence: if covered { "the device list" } else { "" },
        nonce: "n",
        tee_pubkey: &key,
    };
    let authentic = evidence(&runtime)
        .parse()
        .unwrap()
        .authenticate(anchors, &Collateral::default(), NOW)
        .unwrap();
    let nonce = runtime.device_nonce().unwrap();
    let list: Vec<_> = devices.iter().map(|d| d.evidence(&nonce)).collect();
    let stapled = DeviceCollateral {
        ocsp: devices.iter().flat_map(answers).collect(),
        rims: devices.iter().flat_map(|d| rims(d.spec())).collect(),
    };
    let list = authenticate_devices(&list, &stapled, anchors, &Collateral::default(), NOW).unwrap();
    bind_rcar(authentic, list, &runtime).unwrap()
}

fn answers(device: &SimulatedDevice) -> Vec<Base64> {
    let answer = |position| Base64(VENDOR.ocsp(device, position, &OcspSpec::good(NOW.0)));
    (1..=3).map(answer).collect()
}

fn rims(spec: &DeviceSpec) -> Vec<Base64> {
    let product = if spec.arch.is_gpu() {
        spec.certified_chip.as_str()
    } else {
        "LS10"
    };
    let vbios = RimSpec::of_measurements(product, &spec.vbios_text(), &spec.measurements, 1..=20);
    let driver = spec.driver_version.as_ref();
    let driver = driver.map(|version| RimSpec::of_measurements(product, version, &spec.measurements, 21..=30));
    driver
        .iter()
        .chain([&vbios])
        .map(|rim| Base64(RIMS.sign(rim)))
        .collect()
}

fn td(spec: &TdSpec) -> impl FnOnce(&RcarRuntime<'_>) -> RawEvidence {
    move |runtime| {
        let report_data = runtime.report_data().unwrap();
        RawEvidence::Tdx(TDX.evidence(spec, &report_data, &CollateralSpec::new(NOW)))
    }
}

fn tdx_policy(minimum: PrivacyTier, spec: &TdSpec) -> AppraisalPolicy {
    let [rtmr0, rtmr1, rtmr2, rtmr3] = spec.rtmr.map(Digest384);
    AppraisalPolicy::closed(minimum).with_tdx(TdxPolicy::any_platform(vec![TdxReference {
        name: name("image"),
        mrtd: Digest384(spec.mr_td),
        rtmr0,
        rtmr1,
        rtmr2,
        rtmr3,
        config_digest: CONFIG,
    }]))
}

fn tpm_policy(minimum: PrivacyTier, tpm: &SimulatedTpm) -> AppraisalPolicy {
    let pcrs = [4_u8, 7].map(|i| (i, Digest256(tpm.pcrs()[usize::from(i)])));
    AppraisalPolicy::closed(minimum).with_tpm(TpmPolicy::any_pinned(vec![TpmReference {
        name: name("image"),
        config_digest: CONFIG,
        pcrs: PcrValues(BTreeMap::from(pcrs)),
        pcrs_sha384: PcrValues::none(),
    }]))
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn failed(appraisal: &Appraisal, tier: PrivacyTier) -> Vec<&'static str> {
    let of_tier = appraisal.failures().iter().filter(|f| f.tier == tier);
    of_tier.map(|f| f.code).collect()
}

#[test]
fn tier_1_by_a_tpm_whose_key_the_caller_pins_and_0_by_anybodys() {
    let tpm = SimulatedTpm::for_tests();
    let evidence = |runtime: &RcarRuntime<'_>| RawEvidence::Tpm(tpm.evidence(&runtime.digest().unwrap().0));
    let mut policy = tpm_policy(PrivacyTier::AtRest, &tpm);
    let pinned = Anchors::vendor().with_tpm_ak(Digest256::of(&tpm.ak_public()));
    let appraisal = appraise(&session(evidence, &[], false, &pinned), None, &policy);
    assert_eq!(appraisal.tier(), PrivacyTier::AtRest);
    assert!(!appraisal.is_simulated(), "tier 1 rests on what the caller pins");

    // A chained key has certificates, and this version reads no list for them.
    let chained = Anchors::vendor().with_tpm_root(tpm.root_der().to_vec());
    let bound = session(evidence, &[], false, &chained);
    assert_eq!(
        failed(&appraise(&bound, None, &policy), PrivacyTier::AtRest),
        ["revocation.missing"]
    );
    policy.revocation = RevocationPolicy::AcceptMissing;
    assert_eq!(appraise(&bound, None, &policy).tier(), PrivacyTier::AtRest);

    let without_certificates = |runtime: &RcarRuntime<'_>| {
        let mut evidence = tpm.evidence(&runtime.digest().unwrap().0);
        evidence.ak_certificates.clear();
        RawEvidence::Tpm(evidence)
    };
    let nobodys = session(without_certificates, &[], false, &Anchors::vendor());
    let appraisal = appraise(&nobodys, None, &policy);
    assert_eq!(appraisal.tier(), PrivacyTier::Open);
    assert_eq!(failed(&appraisal, PrivacyTier::AtRest), ["tpm.ak.unknown"]);
}

#[test]
fn one_simulated_part_makes_the_whole_simulated() {
    let tpm = SimulatedTpm::for_tests();
    let evidence = |runtime: &RcarRuntime<'_>| RawEvidence::Tpm(tpm.evidence(&runtime.digest().unwrap().0));
    let policy = tpm_policy(PrivacyTier::AtRest, &tpm);
    let anchors = anchors().with_tpm_ak(Digest256::of(&tpm.ak_public()));
    let alone = appraise(&session(evidence, &[], true, &anchors), None, &policy);
    assert!(!alone.is_simulated());
    let gpu = VENDOR.device(DeviceSpec::hopper(1));
    let mixed = appraise(&session(evidence, &[gpu], true, &anchors), None, &policy);
    assert_eq!(mixed.tier(), PrivacyTier::AtRest);
    assert!(mixed.is_simulated(), "the GPU is a simulator's");
}

#[test]
fn tier_2_by_a_trust_domain_and_0_with_another_register() {
    for format in [QuoteFormat::V4, QuoteFormat::V5Td15, QuoteFormat::V5Td15Extended] {
        let spec = TdSpec::new(format);
        let policy = tdx_policy(PrivacyTier::CpuTee, &spec);
        let appraisal = appraise(&session(td(&spec), &[], false, &anchors()), None, &policy);
        assert_eq!(appraisal.tier(), PrivacyTier::CpuTee, "{:?}", appraisal.failures());
        assert_eq!(appraisal.reference().unwrap().as_str(), "image");
        let mut other = spec.clone();
        other.rtmr[1][0] ^= 1;
        let appraisal = appraise(&session(td(&other), &[], false, &anchors()), None, &policy);
        assert_eq!(failed(&appraisal, PrivacyTier::CpuTee), ["tdx.measurement"]);
        assert_eq!(appraisal.tier(), PrivacyTier::Open);
    }
}

#[test]
fn tier_2_under_a_paravisor_by_both_and_0_without_the_image() {
    let processor = SimulatedProcessor::for_tests();
    let guest = processor.launch(LaunchSpec::new(Digest384([1; 48]), CONFIG));
    let spec = TdSpec::new(QuoteFormat::V4);
    let az_snp = |runtime: &RcarRuntime<'_>| RawEvidence::AzSnp(VTPM.az_snp(&guest, &runtime.digest().unwrap().0));
    let az_tdx = |runtime: &RcarRuntime<'_>| {
        let quote = |report_data: &[u8; 64]| TDX.evidence(&spec, report_data, &CollateralSpec::new(NOW));
        RawEvidence::AzTdx(VTPM.az_tdx(quote, &runtime.digest().unwrap().0))
    };

    let mut snp = SnpPolicy::any_chip(floors(), vec![]);
    snp.paravisors = vec![SnpParavisor {
        name: name("hcl"),
        measurement: guest.measurement(),
    }];
    let mut tdx = TdxPolicy::any_platform(vec![]);
    let [rtmr0, rtmr1, rtmr2, rtmr3] = spec.rtmr.map(Digest384);
    tdx.paravisors = vec![TdxParavisor {
        name: name("hcl"),
        mrtd: Digest384(spec.mr_td),
        rtmr0,
        rtmr1,
        rtmr2,
        rtmr3,
    }];
    let mut policy = tpm_policy(PrivacyTier::CpuTee, &VTPM).with_snp(snp).with_tdx(tdx);
    policy.revocation = RevocationPolicy::AcceptMissing;
    for bound in [
        session(az_snp, &[], false, &anchors()),
        session(az_tdx, &[], false, &anchors()),
    ] {
        let appraisal = appraise(&bound, None, &policy);
        assert_eq!(appraisal.tier(), PrivacyTier::CpuTee, "{:?}", appraisal.failures());
        assert_eq!(appraisal.paravisor().unwrap().as_str(), "hcl");
        let mut without_image = policy.clone();
        without_image.tpm.as_mut().unwrap().references.clear();
        let appraisal = appraise(&bound, None, &without_image);
        assert_eq!(appraisal.tier(), PrivacyTier::Open);
        assert_eq!(failed(&appraisal, PrivacyTier::CpuTee), ["tpm.pcrs"]);
    }
}

fn floors() -> TcbFloors {
    TcbFloors {
        genoa: Some(EpycTcb {
            bootloader: 1,
            tee: 0,
            snp: 1,
            microcode: 1,
        }),
        ..TcbFloors::default()
    }
}

#[test]
fn tier_3_by_one_gpu_and_2_when_the_session_does_not_cover_it() {
    let spec = TdSpec::new(QuoteFormat::V4);
    let policy = tdx_policy(PrivacyTier::GpuCc, &spec).with_gpu(GpuPolicy::any_device(1, 0));
    for device in [DeviceSpec::hopper(1), DeviceSpec::blackwell(1)] {
        let gpu = [VENDOR.device(device)];
        let appraisal = appraise(&session(td(&spec), &gpu, true, &anchors()), None, &policy);
        assert_eq!(appraisal.tier(), PrivacyTier::GpuCc, "{:?}", appraisal.failures());
        assert_eq!(appraisal.cpu_gpu_binding(), CpuGpuBinding::Hash);
        assert!(appraisal.is_simulated());
        let appraisal = appraise(&session(td(&spec), &gpu, false, &anchors()), None, &policy);
        assert_eq!(appraisal.tier(), PrivacyTier::CpuTee);
        assert_eq!(failed(&appraisal, PrivacyTier::GpuCc), ["gpu.binding.nonce_only"]);
        assert_eq!(appraisal.cpu_gpu_binding(), CpuGpuBinding::Nonce);
    }
}

#[test]
fn tier_3_by_a_whole_machine_and_2_by_a_part_of_it() {
    let spec = TdSpec::new(QuoteFormat::V4);
    let policy = tdx_policy(PrivacyTier::GpuCc, &spec).with_gpu(GpuPolicy::any_device(4, 2));
    let mut machine = VENDOR.machine(1, 4, 2);
    let appraisal = appraise(&session(td(&spec), &machine, true, &anchors()), None, &policy);
    assert_eq!(appraisal.tier(), PrivacyTier::GpuCc, "{:?}", appraisal.failures());

    machine.pop();
    let appraisal = appraise(&session(td(&spec), &machine, true, &anchors()), None, &policy);
    assert_eq!(appraisal.tier(), PrivacyTier::CpuTee);
    assert_eq!(
        failed(&appraisal, PrivacyTier::GpuCc),
        ["gpu.switch_count", "gpu.topology"]
    );

    let unprotected: Vec<_> = (1..=4).map(|n| VENDOR.device(DeviceSpec::hopper(n))).collect();
    let policy = tdx_policy(PrivacyTier::GpuCc, &spec).with_gpu(GpuPolicy::any_device(4, 0));
    let appraisal = appraise(&session(td(&spec), &unprotected, true, &anchors()), None, &policy);
    assert_eq!(appraisal.tier(), PrivacyTier::CpuTee);
    assert_eq!(
        failed(&appraisal, PrivacyTier::GpuCc),
        ["gpu.multi.not_protected", "gpu.topology"]
    );
}

#[test]
fn tier_4_by_a_quote_that_names_this_gpu_and_3_by_one_that_names_another() {
    let mut spec = TdSpec::new(QuoteFormat::V5Td15Extended);
    spec.dev_info = [0xd1; 48];
    let gpus = [1, 2].map(|n| VENDOR.device(DeviceSpec::hopper(n)));
    let mut gpu = GpuPolicy::any_device(1, 0);
    gpu.tee_io = (0..2)
        .map(|i| TeeIoReference {
            dev_info: Digest384([0xd1 + i; 48]),
            ueids: vec![Ueid::from_hex(&gpus[usize::from(i)].device_id()).unwrap()],
        })
        .collect();
    let policy = tdx_policy(PrivacyTier::GpuTeeIo, &spec).with_gpu(gpu);
    let appraisal = appraise(&session(td(&spec), &gpus[..1], true, &anchors()), None, &policy);
    assert_eq!(appraisal.tier(), PrivacyTier::GpuTeeIo, "{:?}", appraisal.failures());
    assert_eq!(appraisal.cpu_gpu_binding(), CpuGpuBinding::Tdisp);

    let appraisal = appraise(&session(td(&spec), &gpus[1..], true, &anchors()), None, &policy);
    assert_eq!(appraisal.tier(), PrivacyTier::GpuCc);
    assert_eq!(failed(&appraisal, PrivacyTier::GpuTeeIo), ["gpu.tee_io.dev_info"]);
    spec.dev_info = [0xd2; 48];
    let appraisal = appraise(&session(td(&spec), &gpus[..1], true, &anchors()), None, &policy);
    assert_eq!(failed(&appraisal, PrivacyTier::GpuTeeIo), ["gpu.tee_io.dev_info"]);
}
