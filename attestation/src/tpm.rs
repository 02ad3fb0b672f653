//! TPM 2.0 quotes (TCG TPM 2.0 Library 1.83, Part 2: TPMS_ATTEST, TPMT_SIGNATURE) and Azure's paravisor evidence.
//!
//! A quote is a TPM's statement over register values and the caller's data, signed by an attestation key (AK). The signature
//! alone says little, anybody can run a software TPM: what counts is what stands behind the key. That is a root or a key
//! which the caller pinned or, under Azure's paravisor, the CPU's own evidence. Layouts, keys, chain and the paravisor's
//! report each have a file of their own.

mod attest;
mod azure;
mod certificate;
mod chain;
mod cursor;
mod error;
mod hcl;
mod key;
mod public;
mod quote;
mod signature;

use std::collections::BTreeMap;

use crate::bundle::TpmEvidence;
use crate::digest::Digest256;
use crate::eventlog::ReplayedLog;
use crate::evidence::{Anchors, AttestationError, Revocation, UnixTime};
use crate::snp::SnpClaims;
use crate::tdx::TdxClaims;
use certificate::Certificate;
use key::Key;
use quote::ParsedQuote;

pub use attest::Attest;
pub use azure::{ParsedAzSnp, ParsedAzTdx};
pub use error::TpmError;
pub use hcl::{HclError, HclKind, HclReport, VmConfiguration};
pub use public::{spki_of_jwk, spki_of_public};

/// Authenticated claims of a quote: the signature is the attestation key's (AK). Who holds that key is [`AkOrigin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmClaims {
    /// extraData: what the guest had signed, whole (at most 64 bytes).
    pub qualifying_data: Vec<u8>,
    /// The SHA-256 bank as selected by the quote; the quote's pcrDigest covers exactly these and `pcrs_sha384`.
    pub pcrs: BTreeMap<u8, [u8; 32]>,
    /// The SHA-384 bank as selected by the quote; empty if it selects none of it.
    pub pcrs_sha384: BTreeMap<u8, [u8; 48]>,
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
    /// Replay of the log that came along, already compared with the PCRs of each bank that is quoted. Its digests are SHA-256.
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
    /// user-data (up to 64 bytes), if there is one. A guest writes it before the paravisor makes its report.
    pub user_data: Option<Vec<u8>>,
    /// vm-configuration.
    pub configuration: VmConfiguration,
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
pub struct ParsedTpm {
    key: Key,
    chain: Vec<Certificate>,
    quote: ParsedQuote,
    event_log: Option<crate::bundle::Base64>,
}

pub(crate) struct Verified<T> {
    pub(crate) claims: T,
    pub(crate) simulated: bool,
    pub(crate) revocation: Revocation,
}

impl ParsedTpm {
    pub(crate) fn parse(raw: TpmEvidence) -> Result<Self, TpmError> {
        if raw.ak_certificates.len() > chain::CHAIN_MAX {
            return Err(TpmError::ChainLength {
                got: raw.ak_certificates.len(),
                most: chain::CHAIN_MAX,
            });
        }
        let certificates = raw.ak_certificates.iter().enumerate();
        let chain = certificates
            .map(|(place, der)| Certificate::parse(&der.0).map_err(|detail| TpmError::Certificate { place, detail }))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            key: Key::from_spki(&raw.ak_public.0)?,
            chain,
            quote: ParsedQuote::parse(raw.quote)?,
            event_log: raw.event_log,
        })
    }

    /// First what stands behind the key, then its signature. No result is simulated: which TPM roots count is the caller's
    /// choice, and claims say whether one was met. Revocation of TPM certificates is not looked at.
    pub(crate) fn authenticate(
        self,
        anchors: &Anchors,
        now: UnixTime,
    ) -> Result<Verified<TpmClaims>, AttestationError> {
        let ak_origin = chain::origin(&self.key, &self.chain, anchors, now)?;
        let log = self.event_log.as_ref().map(|log| log.0.as_slice());
        Ok(Verified {
            claims: self.quote.authenticate(&self.key, ak_origin, log)?,
            simulated: false,
            revocation: Revocation::NoList,
        })
    }
}
