//! Whole readings of other projects' documents, from bytes: published evidence under the vendors' own roots, and
//! simulated guests with devices.

mod devices;
mod keysets;
mod published;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use hanzo_attestation::foreign::{ForeignEvidence, ForeignExpectation, ForeignFormat, Supplied};
use hanzo_attestation::{Anchors, Collateral, UnixTime};
use hanzo_policy::{AppraisalPolicy, PrivacyTier};
use hanzo_verifier::foreign::{ForeignReading, verify_foreign};
use hanzo_verifier::{VerifierContext, VerifyError};

/// 2025-09-01T00:00:00Z.
const SEPTEMBER_2025: UnixTime = UnixTime(1_756_684_800);
/// 2026-07-01T00:00:00Z.
const JULY_2026: UnixTime = UnixTime(1_782_864_000);
/// 2025-07-01T00:00:00Z.
const JULY_2025: UnixTime = UnixTime(1_751_328_000);

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
            "VECTORS MISSING (shared/vectors beside the repository): published foreign evidence was NOT verified"
        );
    }
    found
}

/// The vendors' roots, and a policy that asks for `tier` and names nothing.
fn context(tier: PrivacyTier) -> VerifierContext {
    VerifierContext {
        anchors: Anchors::vendor(),
        collateral: Collateral::default(),
        policy: AppraisalPolicy::closed(tier),
    }
}

fn nothing() -> ForeignExpectation {
    ForeignExpectation::default()
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

fn verify(
    format: ForeignFormat,
    bytes: &[u8],
    supplied: &Supplied,
    expected: &ForeignExpectation,
    now: UnixTime,
) -> Result<ForeignReading, VerifyError> {
    let evidence = ForeignEvidence::read(format, bytes, supplied)?;
    verify_foreign(&evidence, expected, &context(PrivacyTier::Open), now)
}

/// The code of the refusal, or `read`.
fn code(outcome: Result<ForeignReading, VerifyError>) -> &'static str {
    outcome.map_or_else(|e| e.code(), |_| "read")
}
