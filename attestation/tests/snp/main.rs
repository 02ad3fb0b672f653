//! SEV-SNP evidence, through the public API: real reports, reports of the simulator with one thing wrong, and noise.

mod anything;
mod lists;
mod mutants;
mod oracle;
mod real;
mod roots;

use hanzo_attestation::bundle::{Base64, SnpEvidence};
use hanzo_attestation::{
    Anchors, AttestationError, Authentic, Claims, Collateral, Digest256, Digest384, RawEvidence, UnixTime,
};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};

/// 2025-09-01T00:00:00Z: most public evidence is alive then.
const NOW: UnixTime = UnixTime(1_756_684_800);

/// Parses and authenticates.
fn judge(
    evidence: SnpEvidence,
    anchors: &Anchors,
    collateral: &Collateral,
    now: UnixTime,
) -> Result<Authentic<Claims>, AttestationError> {
    RawEvidence::Snp(evidence)
        .parse()?
        .authenticate(anchors, collateral, now)
}

/// The code by which evidence is refused, or `accepted`.
fn verdict(evidence: SnpEvidence, anchors: &Anchors) -> &'static str {
    verdict_at(evidence, anchors, NOW)
}

fn verdict_at(evidence: SnpEvidence, anchors: &Anchors, now: UnixTime) -> &'static str {
    judge(evidence, anchors, &Collateral::default(), now).map_or_else(|e| e.code(), |_| "accepted")
}

fn simulator() -> (SimulatedProcessor, Anchors) {
    let processor = SimulatedProcessor::for_tests();
    let anchors = Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec());
    (processor, anchors)
}

fn healthy() -> LaunchSpec {
    LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32]))
}

fn evidence_of(report: Vec<u8>, vek: Vec<u8>) -> SnpEvidence {
    SnpEvidence {
        ask: None,
        crl: None,
        report: Base64(report),
        vek: Base64(vek),
    }
}
