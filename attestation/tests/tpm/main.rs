//! TPM quotes and Azure's paravisor evidence, through the public API: real ones, made ones with one thing wrong, and noise.

mod anything;
mod azure;
mod binding;
mod chain;
mod keys;
#[path = "../eventlog/manifest.rs"]
mod manifest;
mod quotes;
mod real;

use std::sync::LazyLock;

use hanzo_attestation::bundle::{AzSnpEvidence, AzTdxEvidence, TpmEvidence};
use hanzo_attestation::tpm::TpmClaims;
use hanzo_attestation::{
    Anchors, AttestationError, Authentic, Claims, Collateral, Digest256, Digest384, RawEvidence, UnixTime,
};
use hanzo_simulated_tee::{AkKind, LaunchSpec, SimulatedGuest, SimulatedProcessor, SimulatedTpm, TpmSpec};

/// 2026-07-01T00:00:00Z: the clock of the vectors.
const NOW: UnixTime = UnixTime(1_782_864_000);

/// The kinds of evidence that these tests judge.
trait Evidence {
    fn raw(self) -> RawEvidence;
}

impl Evidence for RawEvidence {
    fn raw(self) -> RawEvidence {
        self
    }
}

impl Evidence for TpmEvidence {
    fn raw(self) -> RawEvidence {
        RawEvidence::Tpm(self)
    }
}

impl Evidence for AzSnpEvidence {
    fn raw(self) -> RawEvidence {
        RawEvidence::AzSnp(self)
    }
}

impl Evidence for AzTdxEvidence {
    fn raw(self) -> RawEvidence {
        RawEvidence::AzTdx(self)
    }
}

/// Parses and authenticates.
fn judge(evidence: impl Evidence, anchors: &Anchors) -> Result<Authentic<Claims>, AttestationError> {
    evidence
        .raw()
        .parse()?
        .authenticate(anchors, &Collateral::default(), NOW)
}

/// The code by which evidence is refused, or `accepted`.
fn verdict(evidence: impl Evidence, anchors: &Anchors) -> &'static str {
    judge(evidence, anchors).map_or_else(|e| e.code(), |_| "accepted")
}

fn tpm(authentic: &Authentic<Claims>) -> &TpmClaims {
    authentic.claims().tpm().expect("TPM claims")
}

/// The digest that pins an AK.
fn pin(spki: &[u8]) -> Anchors {
    Anchors::vendor().with_tpm_ak(Digest256::of(spki))
}

/// A vTPM as Azure has them. The key is searched once.
static VTPM: LazyLock<SimulatedTpm> = LazyLock::new(|| rsa_tpm("vtpm"));
/// Another machine's.
static OTHER_VTPM: LazyLock<SimulatedTpm> = LazyLock::new(|| rsa_tpm("other vtpm"));

fn rsa_tpm(name: &str) -> SimulatedTpm {
    let mut spec = TpmSpec::new(name);
    spec.ak = AkKind::Rsa2048;
    SimulatedTpm::from_seed(b"tests of the tpm module, seed 01", &spec).unwrap()
}

fn snp_guest() -> (SimulatedGuest, Anchors) {
    let processor = SimulatedProcessor::for_tests();
    let anchors = Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec());
    (
        processor.launch(LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32]))),
        anchors,
    )
}
