//! SEV-SNP evidence, through the public API: real reports, reports of the simulator with one thing wrong, and noise.

mod anything;
mod lists;
mod mutants;
mod oracle;
mod real;
mod roots;

use std::sync::LazyLock;

use hanzo_attestation::bundle::{Base64, SnpEvidence};
use hanzo_attestation::{
    Anchors, AttestationError, Authentic, Claims, Collateral, Digest256, Digest384, KnownSignatures, RawEvidence,
    UnixTime,
};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};

/// 2025-09-01T00:00:00Z: most public evidence is alive then.
const NOW: UnixTime = UnixTime(1_756_684_800);

/// Parses and authenticates. Every case of this suite is also judged with the signatures known that verified in any case
/// before it: the verdict must be the same.
fn judge(
    evidence: SnpEvidence,
    anchors: &Anchors,
    collateral: &Collateral,
    now: UnixTime,
) -> Result<Authentic<Claims>, AttestationError> {
    static KNOWN: LazyLock<KnownSignatures> = LazyLock::new(|| KnownSignatures::bounded(1024));
    let once = |collateral: &Collateral| {
        RawEvidence::Snp(evidence.clone())
            .parse()?
            .authenticate(anchors, collateral, now)
    };
    let verdict = once(collateral);
    let knowing = Collateral {
        known: KNOWN.clone(),
        ..collateral.clone()
    };
    for _ in 0..2 {
        let facts = |v: &Result<Authentic<Claims>, AttestationError>| match v {
            Ok(a) => Ok((a.claims().clone(), a.is_simulated(), a.revocation())),
            Err(e) => Err(e.to_string()),
        };
        assert_eq!(facts(&once(&knowing)), facts(&verdict));
    }
    verdict
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
