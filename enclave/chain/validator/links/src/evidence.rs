//! Evidence made and judged: both are the caller's, because one of them needs hardware and the other a policy.

use std::time::{SystemTime, UNIX_EPOCH};

use hanzo_attestation::UnixTime;
use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::foreign::{ForeignEvidence, ForeignExpectation, ForeignFormat, Supplied};
use hanzo_attestation::jcs;
use hanzo_attestation::statement::EvidenceRequest;
use hanzo_chain_types::{EVIDENCE_BYTES_MAX, ValidatorKeys};
use hanzo_verifier::VerifierContext;
use hanzo_verifier::foreign::verify_foreign;

use crate::error::LinkError;

/// The machine's clock.
pub(crate) fn clock() -> UnixTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(now.as_secs())
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
#[error("evidence: {0}")]
pub struct AttestError(pub String);

/// Makes evidence about this machine.
pub trait Attester: Send + Sync {
    /// Evidence whose REPORT_DATA is the request's.
    ///
    /// # Errors
    /// [`AttestError`].
    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, AttestError>;
}

/// What evidence was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appraised {
    /// Its tier by the caller's policy.
    pub tier: u8,
    /// True if its root is not a vendor's.
    pub simulated: bool,
}

/// Judges evidence.
pub trait Appraiser: Send + Sync {
    /// Whether `evidence` (JCS of the `cpu` member of a bundle) is genuine at `now`, signs the statement of exactly these keys, and is
    /// good enough.
    ///
    /// # Errors
    /// [`LinkError::Evidence`].
    fn appraise(&self, evidence: &[u8], keys: &ValidatorKeys, now: UnixTime) -> Result<Appraised, LinkError>;
}

/// By roots and an appraisal policy, whatever made the evidence: SEV-SNP, TDX, a paravisor's guest on either, a TPM alone. The verifier
/// says which tier that is (a TPM alone: 1, if its key is pinned or chains to a pinned root, else none), and the network's rules whether
/// that is enough.
pub struct PolicyAppraiser(pub VerifierContext);

fn refused(code: &'static str, why: impl std::fmt::Display) -> LinkError {
    let why = why.to_string();
    LinkError::Evidence { code, why }
}

impl Appraiser for PolicyAppraiser {
    fn appraise(&self, evidence: &[u8], keys: &ValidatorKeys, now: UnixTime) -> Result<Appraised, LinkError> {
        let cpu: CpuEvidence =
            jcs::from_slice("evidence", evidence, EVIDENCE_BYTES_MAX).map_err(|e| refused("links.evidence.json", e))?;
        let evidence = ForeignEvidence::read(ForeignFormat::Member, evidence, &Supplied::default())
            .map_err(|e| refused(e.code(), e))?;
        let signed = keys
            .signed_in(&cpu)
            .map_err(|e| refused("links.evidence.statement", e))?;
        let expected = ForeignExpectation {
            report_data: Some(signed),
            nonce: None,
        };
        let reading = verify_foreign(&evidence, &expected, &self.0, now).map_err(|e| refused(e.code(), e))?;
        Ok(Appraised {
            tier: reading.tier_if_fresh().number(),
            simulated: reading.simulated(),
        })
    }
}
