//! Other projects' formats, through the public API: published evidence, documents built here, and noise.

mod aci;
mod anything;
mod coco;
mod detection;
mod dstack;
mod nvidia;
mod raw;
mod rcar;
mod tinfoil;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_attestation::binding::{self, Binding, BindingError};
use hanzo_attestation::foreign::{ForeignError, ForeignEvidence, ForeignExpectation, ForeignFormat, Supplied};
use hanzo_attestation::{
    Anchors, AuthenticDevices, Bound, Claims, Collateral, Digest256, Digest384, RawEvidence, UnixTime,
};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};

/// 2025-09-01T00:00:00Z.
const NOW: UnixTime = UnixTime(1_756_684_800);

/// A published file; `None`, said loudly, where the vectors are absent.
fn vector(name: &str) -> Option<Vec<u8>> {
    let folder = vectors()?;
    Some(std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}")))
}

fn vectors() -> Option<PathBuf> {
    let found = ["/../../shared/vectors", "/../../../shared/vectors"]
        .map(|up| Path::new(&format!("{}{up}", env!("CARGO_MANIFEST_DIR"))).to_owned())
        .into_iter()
        .find(|folder| folder.join("MANIFEST.tsv").is_file());
    if found.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "VECTORS MISSING (shared/vectors beside the repository): published foreign evidence was NOT checked"
        );
    }
    found
}

fn read(format: ForeignFormat, bytes: &[u8]) -> Result<ForeignEvidence, ForeignError> {
    ForeignEvidence::read(format, bytes, &Supplied::default())
}

/// The code by which reading is refused, or `read`.
fn code(format: ForeignFormat, bytes: &[u8]) -> &'static str {
    read(format, bytes).map_or_else(|e| e.code(), |_| "read")
}

fn b64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A healthy simulated guest's report and VCEK over `report_data`.
fn simulated(report_data: &[u8; 64]) -> (Vec<u8>, Vec<u8>) {
    let guest = SimulatedProcessor::for_tests().launch(LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32])));
    let evidence = guest.evidence(report_data);
    (evidence.report.0, evidence.vek.0)
}

fn anchors() -> Anchors {
    Anchors::vendor().with_simulator_ark(SimulatedProcessor::for_tests().ark_der().to_vec())
}

/// Authenticates the primary evidence and binds it by the document's rule.
fn bind(evidence: &ForeignEvidence, expected: &ForeignExpectation) -> Result<Bound<Claims>, BindingError> {
    let mut primary = evidence.primary().unwrap().clone();
    if let RawEvidence::Snp(snp) = &mut primary {
        let ask = SimulatedProcessor::for_tests().ask_der().to_vec();
        snp.ask.get_or_insert(hanzo_attestation::bundle::Base64(ask));
    }
    let authentic = primary
        .parse()
        .unwrap()
        .authenticate(&anchors(), &Collateral::default(), NOW)
        .unwrap();
    binding::bind_foreign(authentic, AuthenticDevices::none(), evidence.rule(), expected)
}

fn bind_code(evidence: &ForeignEvidence, expected: &ForeignExpectation) -> &'static str {
    bind(evidence, expected).map_or_else(|e| e.code(), |_| "bound")
}

fn challenged(bound: &Bound<Claims>) -> bool {
    matches!(bound.binding(), Binding::Foreign { challenged: true, .. })
}

fn nonce(bytes: &[u8]) -> ForeignExpectation {
    ForeignExpectation {
        nonce: Some(bytes.to_vec()),
        report_data: None,
    }
}

fn report_data(bytes: &[u8]) -> ForeignExpectation {
    ForeignExpectation {
        nonce: None,
        report_data: Some(bytes.to_vec()),
    }
}

fn snp_report(evidence: &ForeignEvidence) -> &[u8] {
    match evidence.primary() {
        Some(RawEvidence::Snp(snp)) => &snp.report.0,
        other => panic!("expected SNP evidence, got {other:?}"),
    }
}

fn quote(evidence: &ForeignEvidence) -> &[u8] {
    match evidence.primary() {
        Some(RawEvidence::Tdx(tdx)) => &tdx.quote.0,
        other => panic!("expected TDX evidence, got {other:?}"),
    }
}
