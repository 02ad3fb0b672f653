//! What the benches verify: each case is one whole verification, from bytes, that must accept.
//!
//! The simulated guests are those of the verdict tests; real evidence comes from the shared vectors where they are there.

use std::path::Path;
use std::sync::Arc;

use hanzo_attestation::bundle::{BUNDLE_BYTES_MAX, Base64, Bundle, CpuEvidence, TdxCollateral};
use hanzo_attestation::foreign::{ForeignEvidence, ForeignExpectation, ForeignFormat, Supplied};
use hanzo_attestation::tdx::PreparedTdx;
use hanzo_attestation::{Anchors, Collateral, UnixTime};
use hanzo_policy::{AppraisalPolicy, PrivacyTier};
use hanzo_simulated_tee::{RimSpec, SimulatedDevice};
use hanzo_verifier::foreign::verify_foreign;
use hanzo_verifier::{AttestationResult, VerifierContext, verify_bundle};

use crate::{fixture, machine, tdx, tpm};

/// One verification.
pub struct Case {
    pub name: &'static str,
    /// Bytes that come in.
    pub bytes: usize,
    /// Verifies once, and panics unless it accepts.
    pub verify: Box<dyn Fn() + Send + Sync>,
}

/// A bundle with what it is verified by.
pub struct Guest {
    pub bytes: Vec<u8>,
    pub context: VerifierContext,
}

impl Guest {
    fn new(bundle: &Bundle, context: VerifierContext) -> Self {
        let bytes = bundle.canonical().expect("a bundle");
        Self { bytes, context }
    }

    pub fn verify(&self) -> AttestationResult {
        verify_bundle(&self.bytes, &fixture::CHALLENGE, &self.context, fixture::NOW).expect("accepted")
    }

    fn case(self, name: &'static str) -> Case {
        Case {
            name,
            bytes: self.bytes.len(),
            verify: Box::new(move || drop(self.verify())),
        }
    }
}

/// A TDX guest.
pub fn trust_domain() -> Guest {
    let td = tdx::td();
    Guest::new(&fixture::answer_by(tdx::by(&td)), tdx::context_of(&td))
}

/// The same, with the collateral that it staples verified before.
pub fn trust_domain_prepared() -> Guest {
    let td = tdx::td();
    let bundle = fixture::answer_by(tdx::by(&td));
    let mut context = tdx::context_of(&td);
    let CpuEvidence::Tdx(evidence) = &bundle.cpu else {
        panic!("TDX evidence")
    };
    let stapled = evidence.collateral.as_ref().expect("collateral");
    let prepared = PreparedTdx::prepare(stapled, &context.anchors).expect("authentic collateral");
    context.collateral.prepared_tdx = vec![Arc::new(prepared)];
    Guest::new(&bundle, context)
}

/// A machine in protected PCIe mode: an SNP guest, eight GPUs and four switches, with RIMs and OCSP answers.
fn machine_of_eight() -> (Bundle, VerifierContext) {
    let devices = machine::vendor().machine(1, 8, 4);
    (machine::compose(&devices, machine::snp), machine::context_with(8, 4))
}

/// The same, filled up to the longest bundle by RIMs of other versions, each of which every device looks at.
pub fn longest() -> Guest {
    let (mut bundle, context) = machine_of_eight();
    let gpu: Vec<SimulatedDevice> = machine::vendor().machine(1, 1, 0);
    let measured = &gpu[0].spec().measurements;
    let mut bytes = bundle.canonical().expect("a bundle").len();
    for version in 0.. {
        let spec = RimSpec::of_measurements("GH100", &format!("999.{version}"), measured, 1..=64);
        let rim = Base64(machine::issuer().sign(&spec));
        bytes += rim.0.len().div_ceil(3) * 4 + 3;
        if bytes > BUNDLE_BYTES_MAX {
            break;
        }
        bundle.collateral.rims.push(rim);
    }
    Guest::new(&bundle, context)
}

/// Simulated guests of every kind.
pub fn simulated() -> Vec<Case> {
    let (bundle, context) = machine_of_eight();
    vec![
        Guest::new(&fixture::healthy_bundle(), fixture::context()).case("bundle: SNP"),
        trust_domain().case("bundle: TDX"),
        Guest::new(&fixture::answer_by(tpm::by_az_snp), tpm::azure()).case("bundle: Azure SNP paravisor"),
        Guest::new(&fixture::answer_by(tpm::by_az_tdx), tpm::azure()).case("bundle: Azure TDX paravisor"),
        Guest::new(&bundle, context).case("bundle: SNP, 8 GPUs, 4 switches"),
    ]
}

/// 2025-07-01, 2025-09-01 and 2026-07-01: the clocks of the vectors.
const JULY_2025: UnixTime = UnixTime(1_751_328_000);
const SEPTEMBER_2025: UnixTime = UnixTime(1_756_684_800);
const JULY_2026: UnixTime = UnixTime(1_782_864_000);

/// Evidence of real machines; empty without the shared vectors.
pub fn real() -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors");
    let read = |name: &str| std::fs::read(Path::new(folder).join(name)).ok();
    let mut cases = Vec::new();
    let mut add = |name, format, file: &str, supplied, now| {
        if let Some(bytes) = read(file) {
            cases.push(foreign(name, format, bytes, supplied, now));
        }
    };
    let none = Supplied::default();
    add(
        "real Genoa report (CoCo)",
        ForeignFormat::CocoSnp,
        "snp/trustee_evidence_v3_genoa.json",
        none.clone(),
        SEPTEMBER_2025,
    );
    let with_collateral = Supplied {
        tdx: read("tdx/collateral/tdx_quote_collateral.json").map(|json| intel_collateral(&json)),
        ..none.clone()
    };
    add(
        "real TDX quote",
        ForeignFormat::TdxQuote,
        "tdx/v4_dcapqvl.dat",
        with_collateral,
        JULY_2025,
    );
    let with_chain = Supplied {
        device_certificates: read("nvidia/hopper_550_90.chain.pem"),
        ..none.clone()
    };
    add(
        "real Hopper report",
        ForeignFormat::NvidiaReport,
        "nvidia/hopper_550_90.report.bin",
        with_chain,
        JULY_2026,
    );
    add(
        "real Hopper machine, 8 reports",
        ForeignFormat::NvidiaSdk,
        "nvidia/json/ppcie_8gpu.json",
        none,
        JULY_2026,
    );
    cases
}

fn foreign(name: &'static str, format: ForeignFormat, bytes: Vec<u8>, supplied: Supplied, now: UnixTime) -> Case {
    let context = VerifierContext {
        anchors: Anchors::vendor(),
        collateral: Collateral::default(),
        policy: AppraisalPolicy::closed(PrivacyTier::Open),
    };
    Case {
        name,
        bytes: bytes.len(),
        verify: Box::new(move || {
            let evidence = ForeignEvidence::read(format, &bytes, &supplied).expect("readable");
            let reading = verify_foreign(&evidence, &ForeignExpectation::default(), &context, now);
            assert!(!reading.expect("genuine").simulated());
        }),
    }
}

/// Intel's collateral as crate `dcap-qvl` writes it.
fn intel_collateral(json: &[u8]) -> TdxCollateral {
    let document: serde_json::Value = serde_json::from_slice(json).expect("JSON");
    let text = |key: &str| document[key].as_str().expect("text").to_owned();
    let bytes = |key: &str| Base64(hex::decode(text(key)).expect("hex"));
    TdxCollateral {
        pck_crl: bytes("pck_crl"),
        pck_crl_issuer_chain: text("pck_crl_issuer_chain"),
        qe_identity: text("qe_identity"),
        qe_identity_issuer_chain: text("qe_identity_issuer_chain"),
        qe_identity_signature: bytes("qe_identity_signature"),
        root_ca_crl: bytes("root_ca_crl"),
        tcb_info: text("tcb_info"),
        tcb_info_issuer_chain: text("tcb_info_issuer_chain"),
        tcb_info_signature: bytes("tcb_info_signature"),
    }
}
