//! TPM 2.0 quotes (TCG TPM 2.0 Library, Part 2: TPMS_ATTEST, TPMT_SIGNATURE) and Azure's paravisor evidence.

use std::collections::BTreeMap;

use crate::bundle::{AzSnpEvidence, AzTdxEvidence, TpmEvidence};
use crate::digest::Digest256;
use crate::eventlog::ReplayedLog;
use crate::evidence::{Anchors, AttestationError, Class, Collateral, Revocation, UnixTime};
use crate::snp::SnpClaims;
use crate::tdx::TdxClaims;

/// Authenticated claims of a quote: the signature is the attestation key's (AK). Who holds that key is [`AkOrigin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmClaims {
    /// extraData: what the guest had signed, whole (at most 64 bytes).
    pub qualifying_data: Vec<u8>,
    /// The SHA-256 bank as selected by the quote; the quote's pcrDigest covers exactly these.
    pub pcrs: BTreeMap<u8, [u8; 32]>,
    /// firmwareVersion.
    pub firmware_version: u64,
    /// resetCount, restartCount.
    pub resets: (u32, u32),
    /// clockInfo.safe.
    pub clock_safe: bool,
    /// SHA-256 of the AK's SubjectPublicKeyInfo.
    pub ak: Digest256,
    /// What stands behind the AK.
    pub ak_origin: AkOrigin,
    /// Replay of the log that came along, already compared with the PCRs.
    pub event_log: Option<ReplayedLog>,
}

/// What stands behind an attestation key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AkOrigin {
    /// Its certificate chains to a root that the caller pinned.
    Chained {
        /// SHA-256 of the root certificate.
        root: Digest256,
    },
    /// The caller pinned the key itself.
    Pinned,
    /// The CPU's evidence names it (Azure: in the var data whose hash is REPORT_DATA).
    CpuEvidence,
    /// Nothing: anybody's software TPM. Never more than tier 0.
    Unknown,
}

/// What Azure's paravisor says in its HCL report, bound by the hash in REPORT_DATA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HclClaims {
    /// The var data JSON, verbatim.
    pub var_data: Vec<u8>,
    /// user-data (up to 64 bytes), if there is one.
    pub user_data: Option<Vec<u8>>,
}

/// An Azure SNP guest under a paravisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzSnpClaims {
    /// The paravisor's report.
    pub snp: SnpClaims,
    /// The guest's vTPM.
    pub tpm: TpmClaims,
    /// What binds the two.
    pub hcl: HclClaims,
}

/// An Azure TDX guest under a paravisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzTdxClaims {
    /// The paravisor's quote.
    pub tdx: TdxClaims,
    /// The guest's vTPM.
    pub tpm: TpmClaims,
    /// What binds the two.
    pub hcl: HclClaims,
}

/// Parsed, not authenticated.
#[derive(Debug)]
pub struct ParsedTpm {}

/// Parsed, not authenticated.
#[derive(Debug)]
pub struct ParsedAzSnp {}

/// Parsed, not authenticated.
#[derive(Debug)]
pub struct ParsedAzTdx {}

pub(crate) struct Verified<T> {
    pub(crate) claims: T,
    pub(crate) simulated: bool,
    pub(crate) revocation: Revocation,
}

impl ParsedTpm {
    pub(crate) fn parse(_raw: TpmEvidence) -> Result<Self, TpmError> {
        Err(TpmError::NotVerified)
    }

    pub(crate) fn authenticate(self, _anchors: &Anchors, _now: UnixTime) -> Result<Verified<TpmClaims>, TpmError> {
        Err(TpmError::NotVerified)
    }
}

impl ParsedAzSnp {
    pub(crate) fn parse(_raw: AzSnpEvidence) -> Result<Self, AttestationError> {
        Err(TpmError::NotVerified.into())
    }

    pub(crate) fn authenticate(
        self,
        _anchors: &Anchors,
        _collateral: &Collateral,
        _now: UnixTime,
    ) -> Result<Verified<AzSnpClaims>, AttestationError> {
        Err(TpmError::NotVerified.into())
    }
}

impl ParsedAzTdx {
    pub(crate) fn parse(_raw: AzTdxEvidence) -> Result<Self, AttestationError> {
        Err(TpmError::NotVerified.into())
    }

    pub(crate) fn authenticate(
        self,
        _anchors: &Anchors,
        _collateral: &Collateral,
        _now: UnixTime,
    ) -> Result<Verified<AzTdxClaims>, AttestationError> {
        Err(TpmError::NotVerified.into())
    }
}

/// Why a quote was not accepted as authentic.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TpmError {
    /// Not built yet.
    #[error("TPM quote: this version verifies none")]
    NotVerified,
}

impl TpmError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        "tpm.not_verified"
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        Class::NotAuthentic
    }
}
