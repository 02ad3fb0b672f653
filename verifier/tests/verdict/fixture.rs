//! A healthy guest and a policy that accepts it; each test changes one thing.

use std::sync::LazyLock;

use hanzo_attestation::bundle::{Base64, Bundle, CpuEvidence, DeviceEvidence, SnpEvidence, device_list_digest};
use hanzo_attestation::freshness::{window_nonce, window_path};
use hanzo_attestation::keyset::{KemKey, Keyset, ServedModel, SignerKeys, capability_digest};
use hanzo_attestation::name::Name;
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, Nonce, UnixTime};
use hanzo_policy::{AppraisalPolicy, EpycTcb, PrivacyTier, SnpPolicy, SnpReference, TcbFloors};
use hanzo_simulated_tee::{LaunchSpec, SimulatedGuest, SimulatedProcessor, simulated_measurement};
use hanzo_verifier::{AttestationResult, VerifierContext, VerifyError, verify_bundle};

/// 2025-09-01.
pub const NOW: UnixTime = UnixTime(1_756_684_800);
pub const CHALLENGE: Nonce = Nonce([0x5a; 32]);
pub const CONFIG: &str = "version = 1\n";
const IMAGE: Digest384 = Digest384([0x11; 48]);

/// Bytes of a report that its signature covers.
pub type Signed = [u8; 0x2a0];

static PROCESSOR: LazyLock<SimulatedProcessor> = LazyLock::new(SimulatedProcessor::for_tests);

pub fn processor() -> &'static SimulatedProcessor {
    &PROCESSOR
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn healthy() -> LaunchSpec {
    LaunchSpec::new(IMAGE, Digest256::of(CONFIG.as_bytes()))
}

pub fn launch(spec: LaunchSpec) -> SimulatedGuest {
    PROCESSOR.launch(spec).with_crl(PROCESSOR.crl_der(NOW))
}

/// Accepts exactly the healthy guest.
pub fn context() -> VerifierContext {
    let spec = healthy();
    let floors = TcbFloors {
        genoa: Some(EpycTcb {
            bootloader: spec.tcb.bootloader,
            tee: spec.tcb.tee,
            snp: spec.tcb.snp,
            microcode: spec.tcb.microcode,
        }),
        ..TcbFloors::default()
    };
    let reference = SnpReference {
        name: name("healthy"),
        measurement: simulated_measurement(&IMAGE, &spec.config_digest),
        config_digest: spec.config_digest,
    };
    let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee).with_snp(SnpPolicy::any_chip(floors, vec![reference]));
    VerifierContext {
        anchors: Anchors::vendor().with_simulator_ark(PROCESSOR.ark_der().to_vec()),
        collateral: Collateral::default(),
        policy,
    }
}

pub fn keyset() -> Keyset {
    Keyset {
        capability_digest: capability_digest(&capabilities()).unwrap(),
        channel_key: KemKey {
            public_key: "aa".repeat(1216),
            suite: "x-wing".into(),
        },
        config_digest: Digest256::of(CONFIG.as_bytes()),
        image: name("0.1.0"),
        issued_at: NOW.0 - 10,
        models: vec![ServedModel {
            base_root: None,
            chat_template_sha256: Digest256([1; 32]),
            counted_by: None,
            name: name("smollm2"),
            tokenizer_sha256: Digest256([2; 32]),
            weights_root: Digest256([3; 32]),
        }],
        not_after: NOW.0 + 7200,
        ohttp_keys: vec![],
        policy_digest: Digest384::of(b""),
        receipt_keys: SignerKeys {
            ed25519: "bb".repeat(32),
            ml_dsa: "cc".repeat(1952),
            suite: "ml-dsa-65".into(),
        },
        log: None,
        signer_keys: vec![],
        simulated: true,
        tier: 2,
        time: "host".into(),
        tls_spki_sha256: Digest256([4; 32]),
        version: 1,
    }
}

pub fn capabilities() -> Vec<Name> {
    vec![name("chat.completions"), name("receipts")]
}

/// All of a bundle that answers [`CHALLENGE`] but devices.
pub fn envelope(keyset: Keyset, cpu: CpuEvidence) -> Bundle {
    Bundle {
        collateral: Default::default(),
        capabilities: capabilities(),
        config: CONFIG.into(),
        cpu,
        devices: vec![],
        freshness: window_path(&[CHALLENGE], 0),
        keyset,
        nonce: nonce(),
        policy: String::new(),
        version: 1,
    }
}

/// The nonce of a window that holds [`CHALLENGE`] alone.
pub fn nonce() -> Nonce {
    window_nonce(&[CHALLENGE])
}

/// What a processor signs for `keyset` and exactly these devices.
pub fn cpu_statement(keyset: &Keyset, devices: &[DeviceEvidence]) -> Statement {
    Statement::for_cpu(keyset.digest().unwrap(), nonce(), device_list_digest(devices).unwrap())
}

/// A guest without devices, whose evidence `cpu` makes.
pub fn answer_by(cpu: impl FnOnce(&Statement) -> CpuEvidence) -> Bundle {
    envelope(keyset(), cpu(&cpu_statement(&keyset(), &[])))
}

/// What `guest` answers to [`CHALLENGE`], with the keyset and the report changed before they are signed.
pub fn answer_edited(guest: &SimulatedGuest, keyset: Keyset, edit: impl FnOnce(&mut Signed)) -> Bundle {
    let report_data = cpu_statement(&keyset, &[]).report_data().unwrap();
    let evidence = guest.evidence_edited(&report_data, edit);
    envelope(keyset, CpuEvidence::Snp(evidence))
}

pub fn answer(guest: &SimulatedGuest) -> Bundle {
    answer_edited(guest, keyset(), |_| {})
}

pub fn healthy_bundle() -> Bundle {
    answer(&launch(healthy()))
}

pub fn evidence_of(bundle: &mut Bundle) -> &mut SnpEvidence {
    match &mut bundle.cpu {
        CpuEvidence::Snp(evidence) => evidence,
        _ => panic!("SNP evidence"),
    }
}

pub fn report_of(bundle: &mut Bundle) -> &mut Vec<u8> {
    let Base64(report) = &mut evidence_of(bundle).report;
    report
}

pub fn verify(bundle: &Bundle, context: &VerifierContext) -> Result<AttestationResult, VerifyError> {
    verify_bundle(&bundle.canonical().unwrap(), &CHALLENGE, context, NOW)
}

/// Code and exit code of a refusal.
pub fn refusal(result: Result<AttestationResult, VerifyError>) -> (&'static str, u8) {
    let e = result.expect_err("accepted");
    assert!(!e.help().is_empty());
    (e.code(), e.exit_code())
}

/// Codes of all rules that failed, and the exit code.
pub fn failed(result: Result<AttestationResult, VerifyError>) -> (Vec<&'static str>, u8) {
    let e = result.expect_err("accepted");
    (e.failures().iter().map(|f| f.code).collect(), e.exit_code())
}

/// Codes of the rules that keep an accepted guest below the tiers above.
pub fn above(result: &AttestationResult) -> Vec<&'static str> {
    result.failures_above().map(|f| f.code).collect()
}
