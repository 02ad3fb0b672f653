//! TDX evidence, through the public API: real quotes, quotes of the simulator with one thing wrong, and noise.

mod real;
mod vectors;

use hanzo_attestation::bundle::{Base64, TdxCollateral, TdxEvidence};
use hanzo_attestation::{Anchors, AttestationError, Authentic, Claims, Collateral, RawEvidence, UnixTime};

fn evidence(quote: Vec<u8>, collateral: Option<TdxCollateral>) -> TdxEvidence {
    TdxEvidence {
        collateral,
        event_log: None,
        quote: Base64(quote),
    }
}

/// Parses and authenticates.
fn judge(
    evidence: TdxEvidence,
    anchors: &Anchors,
    collateral: &Collateral,
    now: UnixTime,
) -> Result<Authentic<Claims>, AttestationError> {
    RawEvidence::Tdx(evidence)
        .parse()?
        .authenticate(anchors, collateral, now)
}
