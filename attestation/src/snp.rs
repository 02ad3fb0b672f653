//! AMD SEV-SNP attestation reports (AMD 56860, ABI revision 1.58; VCEK specification 57230).

use crate::bundle::SnpEvidence;
use crate::evidence::{Anchors, Class, Collateral, Revocation, UnixTime};

/// Length of an ATTESTATION_REPORT in bytes.
pub const REPORT_BYTES: usize = 1184;

/// An AMD EPYC product line, as far as certificates and TCB layout differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// Family 0x19, models 0x00 to 0x0F.
    Milan,
    /// Family 0x19, models 0x10 to 0x1F and 0xA0 to 0xAF (Genoa, Bergamo and Siena share roots).
    Genoa,
    /// Family 0x1A.
    Turin,
}

/// Security versions of the platform's firmware; `fmc` exists on Turin alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcbVersion {
    /// Firmware of the security processor's first mutable code (Turin).
    pub fmc: Option<u8>,
    /// Boot loader.
    pub bootloader: u8,
    /// TEE, i.e. the security processor's operating system.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
}

/// The fields of a report (table 23 of 56860). The raw bytes are what the signature covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpReport {
    /// 2 to 5.
    pub version: u32,
    /// Guest security version from the ID block.
    pub guest_svn: u32,
    /// Guest policy; bit 19 is DEBUG, bit 18 MIGRATE_MA.
    pub policy: u64,
    /// Privilege level that asked for the report.
    pub vmpl: u32,
    /// The 64 bytes the guest had signed.
    pub report_data: [u8; 64],
    /// Launch digest.
    pub measurement: [u8; 48],
    /// From the host at launch.
    pub host_data: [u8; 32],
    /// The 64 bytes of CHIP_ID; zero when masked.
    pub chip_id: [u8; 64],
    /// What the VEK certificate's extensions must equal.
    pub reported_tcb: TcbVersion,
    /// TCB that was committed.
    pub committed_tcb: TcbVersion,
    /// TCB at launch of this guest.
    pub launch_tcb: TcbVersion,
    /// TCB running now.
    pub current_tcb: TcbVersion,
}

/// Which key signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKey {
    /// Of this chip.
    Vcek,
    /// Of a cloud provider; the chip is not named.
    Vlek,
}

/// Authenticated claims of an SNP guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpClaims {
    /// The report.
    pub report: SnpReport,
    /// From the certificate and, from report version 3 on, CPUID as well.
    pub product: Product,
    /// VCEK or VLEK.
    pub signing_key: SigningKey,
}

/// Parsed, not authenticated.
#[derive(Debug)]
pub struct ParsedSnp {
    _raw: SnpEvidence,
}

/// Verified claims on their way into `Authentic`.
pub(crate) struct VerifiedSnp {
    pub(crate) claims: SnpClaims,
    pub(crate) simulated: bool,
    pub(crate) revocation: Revocation,
}

/// Why a report was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SnpError {
    /// Not 1184 bytes.
    #[error("ATTESTATION_REPORT: expected 1184 bytes, got {got}")]
    Length {
        /// What came.
        got: usize,
    },
}

impl SnpError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "snp.report.length",
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        Class::Malformed
    }
}

impl ParsedSnp {
    pub(crate) fn parse(raw: SnpEvidence) -> Result<Self, SnpError> {
        Err(SnpError::Length {
            got: raw.report.0.len(),
        })
    }

    pub(crate) fn authenticate(
        self,
        _anchors: &Anchors,
        _collateral: &Collateral,
        _now: UnixTime,
    ) -> Result<VerifiedSnp, SnpError> {
        Err(SnpError::Length { got: 0 })
    }
}
