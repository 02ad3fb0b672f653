//! What evidence claims, once authentic.

use crate::digest::{Digest384, Hasher384};
use crate::evidence::UnixTime;
use crate::nvidia::NvidiaClaims;
use crate::snp::SnpClaims;
use crate::tdx::TdxClaims;
use crate::tpm::{AzSnpClaims, AzTdxClaims, TpmClaims};

/// What was found out about revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// An authentic list, fresh at the given time, does not name the certificates.
    Checked {
        /// When the next list is due.
        next_update: UnixTime,
    },
    /// There was no list. Policy decides what that means.
    NoList,
}

/// Claims that hardware signed and whose certificates chain to one of the [`super::Anchors`].
///
/// Only [`super::ParsedEvidence::authenticate`] and [`super::ParsedDevice::authenticate`] make one:
/// ```compile_fail
/// use hanzo_attestation::{Authentic, Revocation};
/// let forged = Authentic { claims: (), simulated: false, revocation: Revocation::NoList };
/// ```
#[derive(Debug, Clone)]
pub struct Authentic<T> {
    claims: T,
    simulated: bool,
    revocation: Revocation,
}

impl<T> Authentic<T> {
    pub(super) fn new(claims: T, simulated: bool, revocation: Revocation) -> Self {
        Self {
            claims,
            simulated,
            revocation,
        }
    }

    /// The claims.
    pub fn claims(&self) -> &T {
        &self.claims
    }

    /// True if the chain ends in a root that is not a vendor's.
    pub fn is_simulated(&self) -> bool {
        self.simulated
    }

    /// What is known about revocation.
    pub fn revocation(&self) -> Revocation {
        self.revocation
    }
}

/// What primary evidence claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claims {
    /// An SEV-SNP guest.
    Snp(SnpClaims),
    /// A TDX guest.
    Tdx(Box<TdxClaims>),
    /// A TPM alone.
    Tpm(Box<TpmClaims>),
    /// An SNP guest under Azure's paravisor.
    AzSnp(Box<AzSnpClaims>),
    /// A TDX guest under Azure's paravisor.
    AzTdx(Box<AzTdxClaims>),
}

/// The field that a guest fills and hardware signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commitment<'a> {
    /// REPORT_DATA of SNP and TDX.
    ReportData(&'a [u8; 64]),
    /// Qualifying data of a TPM quote, whole.
    QualifyingData(&'a [u8]),
}

impl Claims {
    /// What the guest had signed.
    pub fn commitment(&self) -> Commitment<'_> {
        match self {
            Self::Snp(c) => Commitment::ReportData(&c.report.report_data),
            Self::Tdx(c) => Commitment::ReportData(&c.report_data),
            Self::Tpm(c) => Commitment::QualifyingData(&c.qualifying_data),
            Self::AzSnp(c) => Commitment::QualifyingData(&c.tpm.qualifying_data),
            Self::AzTdx(c) => Commitment::QualifyingData(&c.tpm.qualifying_data),
        }
    }

    /// The SNP report, the guest's own or its paravisor's.
    pub fn snp(&self) -> Option<&SnpClaims> {
        match self {
            Self::Snp(c) => Some(c),
            Self::AzSnp(c) => Some(&c.snp),
            _ => None,
        }
    }

    /// The TDX quote, the guest's own or its paravisor's.
    pub fn tdx(&self) -> Option<&TdxClaims> {
        match self {
            Self::Tdx(c) => Some(c),
            Self::AzTdx(c) => Some(&c.tdx),
            _ => None,
        }
    }

    /// The TPM quote.
    pub fn tpm(&self) -> Option<&TpmClaims> {
        match self {
            Self::Tpm(c) => Some(c),
            Self::AzSnp(c) => Some(&c.tpm),
            Self::AzTdx(c) => Some(&c.tpm),
            _ => None,
        }
    }

    /// One digest for what was started: MEASUREMENT of SNP; else SHA-384 over a label and the registers: for TDX MRTD and
    /// RTMR0 to RTMR3 (240 bytes), with a vTPM the selected registers of the SHA-256 bank as index byte and
    /// value in ascending order.
    pub fn measurement(&self) -> Digest384 {
        match (self, self.tpm(), self.tdx()) {
            (Self::Snp(c), ..) => Digest384(c.report.measurement),
            (_, Some(tpm), _) => {
                let mut hasher = Hasher384::default();
                hasher.update(b"hanzo/pcrs/v1");
                for (index, value) in &tpm.pcrs {
                    hasher.update(&[*index]);
                    hasher.update(value);
                }
                hasher.finish()
            }
            (_, _, Some(tdx)) => {
                let mut hasher = Hasher384::default();
                hasher.update(b"hanzo/td-registers/v1");
                hasher.update(&tdx.mr_td);
                for register in &tdx.rtmr {
                    hasher.update(register);
                }
                hasher.finish()
            }
            // Every kind has one of the three.
            _ => Digest384([0; 48]),
        }
    }

    /// `snp`, `tdx`, `tpm`, `az-snp-vtpm` or `az-tdx-vtpm`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Snp(_) => "snp",
            Self::Tdx(_) => "tdx",
            Self::Tpm(_) => "tpm",
            Self::AzSnp(_) => "az-snp-vtpm",
            Self::AzTdx(_) => "az-tdx-vtpm",
        }
    }
}

/// What one device claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceClaims {
    /// An NVIDIA GPU or switch.
    Nvidia(Box<NvidiaClaims>),
}

impl DeviceClaims {
    /// The nonce that the device answered.
    pub fn nonce(&self) -> &[u8; 32] {
        match self {
            Self::Nvidia(c) => &c.nonce,
        }
    }

    /// The device's identity, for telling devices apart: one that no firmware update changes.
    pub fn identity(&self) -> &str {
        match self {
            Self::Nvidia(c) => &c.device_id,
        }
    }
}
