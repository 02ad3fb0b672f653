//! What each fuzz target does with its bytes. A target fails by panic, by taking over a second, or by holding over 64 MiB.
//!
//! Targets take exactly the bytes that an attacker would send; none decodes a structure of its own first, so a crash file
//! is an input for the function that is named.
#![forbid(unsafe_code)]

pub mod boot;
pub mod ledger;
mod release;
pub mod sealed;
pub mod seeds;

use std::sync::LazyLock;

pub use release::release;

use hanzo_attestation::bundle::{
    AzSnpEvidence, AzTdxEvidence, Base64, Bundle, DeviceCollateral, DeviceEvidence, Pcr, SnpEvidence, TdxCollateral,
    TdxEvidence, TpmEvidence, TpmQuote,
};
use hanzo_attestation::config::Config;
use hanzo_attestation::evidence::authenticate_devices;
use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied, detect};
use hanzo_attestation::{Anchors, Collateral, Nonce, RawEvidence, UnixTime};
use hanzo_policy::AppraisalPolicy;
use hanzo_simulated_tee::SimulatedProcessor;
use hanzo_verifier::VerifierContext;

/// The clock of the seeds.
pub const NOW: UnixTime = UnixTime(1_756_684_800);

/// Fails an execution that holds more than this at once.
#[global_allocator]
static ALLOCATOR: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, usize::MAX);

/// Bounds what one execution may hold; libFuzzer's own tables are there before.
pub fn bounded(run: impl FnOnce()) {
    const LIMIT: usize = 64 << 20;
    // What is held outside cannot grow meanwhile: a target runs on one thread.
    let _ = ALLOCATOR.set_limit(ALLOCATOR.allocated() + LIMIT);
    run();
    let _ = ALLOCATOR.set_limit(usize::MAX);
}

static PROCESSOR: LazyLock<SimulatedProcessor> = LazyLock::new(SimulatedProcessor::for_tests);

/// The seeds chain to these, so that a mutated one gets past its certificates.
fn anchors() -> Anchors {
    static ANCHORS: LazyLock<Anchors> = LazyLock::new(|| {
        Anchors::vendor()
            .with_simulator_ark(PROCESSOR.ark_der().to_vec())
            .with_simulator_tdx_root(hanzo_simulated_tee::SimulatedTdx::for_tests().root_der().to_vec())
            .with_simulator_nvidia_root(hanzo_simulated_tee::SimulatedNvidia::for_tests().device_root_der().to_vec())
            .with_simulator_rim_root(hanzo_simulated_tee::SimulatedRimIssuer::for_tests().root_der().to_vec())
            .with_tpm_root(hanzo_simulated_tee::SimulatedTpm::for_tests().root_der().to_vec())
    });
    ANCHORS.clone()
}

/// Splits input at 16-bit little-endian lengths: the parts of one piece of evidence.
fn parts<const N: usize>(mut data: &[u8]) -> [Vec<u8>; N] {
    std::array::from_fn(|_| {
        let Some((length, rest)) = data.split_first_chunk::<2>() else {
            return Vec::new();
        };
        let (part, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*length))));
        data = rest;
        part.to_vec()
    })
}

fn authenticate(evidence: RawEvidence) {
    if let Ok(parsed) = evidence.parse() {
        let _ = parsed.authenticate(&anchors(), &Collateral::default(), NOW);
    }
}

fn guest() -> hanzo_simulated_tee::SimulatedGuest {
    use hanzo_attestation::{Digest256, Digest384};
    PROCESSOR.launch(hanzo_simulated_tee::LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32])))
}

fn snp_seed() -> SnpEvidence {
    guest().evidence(&[7; 64])
}

/// An SNP report alone, with the certificates of the simulator.
pub fn snp_report(data: &[u8]) {
    static ENDORSED: LazyLock<SnpEvidence> = LazyLock::new(snp_seed);
    authenticate(RawEvidence::Snp(SnpEvidence {
        report: Base64(data.to_vec()),
        ..ENDORSED.clone()
    }));
}

/// Report, VEK, ASK and CRL, each after its length.
pub fn snp_evidence(data: &[u8]) {
    let [report, vek, ask, crl] = parts(data);
    let some = |part: Vec<u8>| (!part.is_empty()).then_some(Base64(part));
    authenticate(RawEvidence::Snp(SnpEvidence {
        ask: some(ask),
        crl: some(crl),
        report: Base64(report),
        vek: Base64(vek),
    }));
}

/// A TDX quote.
pub fn tdx_quote(data: &[u8]) {
    authenticate(RawEvidence::Tdx(TdxEvidence {
        collateral: None,
        event_log: None,
        quote: Base64(data.to_vec()),
    }));
}

/// Intel's collateral: the nine parts in the order of their names, each after its length.
pub fn tdx_collateral(data: &[u8]) {
    let [
        pck_crl,
        pck_chain,
        qe,
        qe_chain,
        qe_signature,
        root_crl,
        tcb,
        tcb_chain,
        tcb_signature,
    ] = parts(data);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let collateral = TdxCollateral {
        pck_crl: Base64(pck_crl),
        pck_crl_issuer_chain: text(pck_chain),
        qe_identity: text(qe),
        qe_identity_issuer_chain: text(qe_chain),
        qe_identity_signature: Base64(qe_signature),
        root_ca_crl: Base64(root_crl),
        tcb_info: text(tcb),
        tcb_info_issuer_chain: text(tcb_chain),
        tcb_info_signature: Base64(tcb_signature),
    };
    let _ = hanzo_attestation::tdx::PreparedTdx::prepare(&collateral, &anchors());
}

/// AK, TPMS_ATTEST, signature, one certificate and a log, each after its length; the PCRs are zero.
pub fn tpm_quote(data: &[u8]) {
    let [ak, message, signature, certificate, log] = parts(data);
    authenticate(RawEvidence::Tpm(TpmEvidence {
        ak_certificates: (!certificate.is_empty()).then_some(Base64(certificate)).into_iter().collect(),
        ak_public: Base64(ak),
        event_log: (!log.is_empty()).then_some(Base64(log)),
        quote: quote(message, signature),
    }));
}

fn quote(message: Vec<u8>, signature: Vec<u8>) -> TpmQuote {
    let zero = |index| Pcr {
        index,
        value: hanzo_attestation::Digest256([0; 32]),
    };
    let zero_sha384 = |index| Pcr {
        index,
        value: hanzo_attestation::Digest384([0; 48]),
    };
    // As many of the second bank as the quote selects, so that more than its list is looked at.
    let selected = hanzo_attestation::tpm::Attest::read_unauthenticated(&message).map(|a| a.selected_sha384);
    TpmQuote {
        message: Base64(message),
        pcrs: (0..24).map(zero).collect(),
        pcrs_sha384: selected.into_iter().flatten().map(zero_sha384).collect(),
        signature: Base64(signature),
    }
}

/// HCL report, message, signature and VCEK or TD quote, each after its length; judged as both kinds.
pub fn hcl_report(data: &[u8]) {
    let [hcl, message, signature, endorsed] = parts(data);
    let _ = hanzo_attestation::tpm::HclReport::parse(&hcl);
    authenticate(RawEvidence::AzSnp(AzSnpEvidence {
        ask: None,
        crl: None,
        event_log: None,
        hcl_report: Base64(hcl.clone()),
        quote: quote(message.clone(), signature.clone()),
        vek: Base64(endorsed.clone()),
    }));
    authenticate(RawEvidence::AzTdx(AzTdxEvidence {
        event_log: None,
        hcl_report: Base64(hcl),
        quote: quote(message, signature),
        td: TdxEvidence {
            collateral: None,
            event_log: None,
            quote: Base64(endorsed),
        },
    }));
}

/// An event log, as CCEL, as TCG log and as dstack's JSON.
pub fn event_log(data: &[u8]) {
    use hanzo_attestation::eventlog::{replay_ccel, replay_dstack, replay_tcg, replay_tcg_sha384};
    let _ = replay_ccel(data, &[[0; 48]; 4]);
    let _ = replay_tcg(data, &(0..24).map(|i| (i, [0; 32])).collect());
    let _ = replay_tcg_sha384(data, &(0..24).map(|i| (i, [0; 48])).collect());
    let _ = replay_dstack(data, &[[0; 48]; 4]);
    let _ = hanzo_attestation::eventlog::CcelTable::parse(data);
}

/// An NVIDIA report and its chain (PEM), each after its length, as every family.
pub fn nvidia_report(data: &[u8]) {
    let [chain, report] = parts(data);
    for arch in ["hopper", "blackwell", "ls10"] {
        let device = DeviceEvidence {
            arch: arch.into(),
            certificates: Base64(chain.clone()),
            kind: "nvidia".into(),
            report: Base64(report.clone()),
        };
        let none = DeviceCollateral::default();
        let _ = authenticate_devices(&[device], &none, &anchors(), &Collateral::default(), NOW);
    }
}

/// An NVIDIA RIM file.
pub fn rim(data: &[u8]) {
    let _ = hanzo_attestation::nvidia::rim::check_rim(data, &anchors(), NOW);
}

/// Issuer, subject and an OCSP answer about it, each after its length.
pub fn ocsp(data: &[u8]) {
    let [leaf, issuer, answer] = parts(data);
    let _ = hanzo_attestation::nvidia::ocsp::check(&[&leaf, &issuer], &[answer], NOW);
}

/// A document of any foreign format: told apart, then read as what it is and as what it is not.
pub fn foreign(data: &[u8]) {
    let told = detect(data);
    let supplied = Supplied {
        vek: Some(Vec::new()),
        device_certificates: Some(Vec::new()),
        ..Supplied::default()
    };
    for format in ForeignFormat::ALL {
        let read = ForeignEvidence::read(format, data, &supplied);
        if let (Ok(evidence), true) = (read, told == Some(format)) {
            if let Some(raw) = evidence.primary() {
                authenticate(raw.clone());
            }
        }
    }
}

/// An attestation result token.
pub fn ear(data: &[u8]) {
    static KEYS: LazyLock<hanzo_verifier::ear::TrustedKeys> =
        LazyLock::new(|| hanzo_verifier::ear::TrustedKeys::none(3600));
    let _ = hanzo_verifier::ear::verify_ear(data, &KEYS, NOW);
    let _ = hanzo_verifier::corim::SnpCorim::parse(data);
}

/// A configuration file.
pub fn config(data: &[u8]) {
    let _ = Config::parse(data);
}

/// A policy, in both forms.
pub fn policy(data: &[u8]) {
    let _ = AppraisalPolicy::from_toml(data);
    let _ = AppraisalPolicy::from_jcs(data);
}

/// A bundle.
pub fn bundle(data: &[u8]) {
    if let Ok(bundle) = Bundle::parse(data) {
        // What was read is what is written: one spelling.
        assert_eq!(bundle.canonical().ok().as_deref(), Some(data));
    }
}

/// An RA-TLS certificate, and what its extension holds.
pub fn ratls(data: &[u8]) {
    use hanzo_attestation::ratls::{RatlsCertificate, unwrap, wrap};
    if let Ok(certificate) = RatlsCertificate::parse(data) {
        bundle(certificate.bundle());
    }
    if let Ok(inside) = unwrap(data) {
        assert_eq!(wrap(inside).ok().as_deref(), Some(data), "one spelling");
    }
}

/// The whole verdict: clock (8 bytes), policy after its length, and the rest is the bundle.
pub fn verify(data: &[u8]) {
    let Some((clock, rest)) = data.split_first_chunk::<8>() else {
        return;
    };
    let Some((length, rest)) = rest.split_first_chunk::<2>() else {
        return;
    };
    let (policy, bundle) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*length))));
    let Ok(policy) = AppraisalPolicy::from_toml(policy) else {
        return;
    };
    let context = VerifierContext {
        anchors: anchors(),
        collateral: Collateral::default(),
        policy,
    };
    let now = UnixTime(u64::from_le_bytes(*clock));
    if let Ok(result) = hanzo_verifier::verify_bundle(bundle, &Nonce([2; 32]), &context, now) {
        assert!(result.simulated(), "no vendor signs what a fuzzer makes");
        assert!(result.valid_until() >= now);
    }
    let _ = hanzo_verifier::read_bundle(bundle, &context, now);
}

/// A firmware image: its tables, and every digest that it has.
pub fn firmware(data: &[u8]) {
    use hanzo_measured_boot::firmware::Firmware;
    use hanzo_measured_boot::snp::{
        CpuModel, GuestFeatures, HostKernel, KernelHashes, SnpLaunch, SnpShape, SvsmShape, TscFields, Vmm, svsm_digest,
    };
    use hanzo_measured_boot::tdx::{PageOrder, mrtd};
    let Ok(firmware) = Firmware::parse(data) else { return };
    let _ = (
        firmware.launch_secret(),
        firmware.hash_table(),
        firmware.svsm_entry(),
        firmware.guids().count(),
    );
    let _ = mrtd(&firmware, PageOrder::SinglePass);
    let _ = mrtd(&firmware, PageOrder::TwoPass);
    let cpu = CpuModel::Milan.signature();
    let svsm = SvsmShape {
        vcpus: 2,
        cpu,
        vars_bytes: 0x1_0000,
    };
    let _ = svsm_digest(&firmware, &firmware, &svsm);
    let Ok(launch) = SnpLaunch::new(&firmware) else { return };
    let kernel = KernelHashes {
        kernel: hanzo_attestation::Digest256([1; 32]),
        initrd: hanzo_attestation::Digest256([2; 32]),
        cmdline: hanzo_attestation::Digest256([3; 32]),
    };
    for vmm in [Vmm::Qemu, Vmm::Ec2, Vmm::Gce] {
        let shape = |vcpus| SnpShape {
            vmm,
            vcpus,
            cpu,
            features: GuestFeatures::SNP,
            host: HostKernel::FromLinux6_10,
            tsc: TscFields::default(),
        };
        let bare = launch.digest(None, &shape(1));
        // What a kernel's hashes do not change is a kernel that nothing checks.
        if let Ok(with) = launch.digest(Some(&kernel), &shape(1)) {
            assert_ne!(Ok(with), bare);
        }
        let _ = launch.digest(None, &shape(2));
    }
}

/// An SNP ID block and its authentication, one after the other.
pub fn id_block(data: &[u8]) {
    use hanzo_measured_boot::snp::id_block::{AuthBlock, ID_BLOCK_BYTES, IdBlock};
    let (block, auth) = data.split_at(data.len().min(ID_BLOCK_BYTES));
    let block = IdBlock::parse(block);
    if let Ok(block) = &block {
        assert_eq!(block.bytes(), data[..ID_BLOCK_BYTES]);
    }
    if let Ok(auth_block) = AuthBlock::parse(auth) {
        assert_eq!(auth_block.bytes(), auth);
        if let Ok(block) = &block {
            let _ = auth_block.verify(block);
        }
    }
}

/// An IGVM file: as it is, and with the checksum that an attacker would put in.
pub fn igvm(data: &[u8]) {
    use hanzo_measured_boot::igvm::{Igvm, Loader, ZeroPages};
    let measure = |bytes: &[u8]| {
        let Ok(igvm) = Igvm::parse(bytes) else { return };
        let _ = igvm.mrtd();
        let as_written = igvm.snp_digest(Loader::AsWritten, ZeroPages::Normal);
        let _ = igvm.snp_digest(Loader::AsWritten, ZeroPages::Native);
        if let Ok(kvm) = igvm.snp_digest(Loader::Kvm, ZeroPages::Normal) {
            assert_eq!(as_written, Ok(kvm));
        }
    };
    measure(data);
    if data.len() >= 24 {
        let mut sealed = data.to_vec();
        seeds::igvm::seal(&mut sealed);
        measure(&sealed);
    }
}

/// A matrix of reference values.
pub fn matrix(data: &[u8]) {
    use hanzo_measured_boot::matrix::ReferenceMatrix;
    if let Ok(matrix) = ReferenceMatrix::from_canonical(data) {
        assert_eq!(matrix.canonical().ok().as_deref(), Some(data));
        let _ = (matrix.snp_references(), matrix.tdx_references());
    }
}
