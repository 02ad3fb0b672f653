//! Intel TDX quotes, versions 4 and 5 (Intel TDX DCAP Quoting Library API; TDX Module ABI, "TD Quote Body").

use crate::bundle::TdxEvidence;
use crate::evidence::{Anchors, Class, Collateral, Revocation, UnixTime};

/// Authenticated claims of a trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdxClaims {
    /// 4 or 5.
    pub quote_version: u16,
    /// TEE_TCB_SVN, offset 0 of the body.
    pub tee_tcb_svn: [u8; 16],
    /// MRSEAM: SHA-384 of the TDX module.
    pub mr_seam: [u8; 48],
    /// MRSIGNERSEAM: zero for Intel's module.
    pub mr_signer_seam: [u8; 48],
    /// SEAMATTRIBUTES.
    pub seam_attributes: u64,
    /// TDATTRIBUTES; bit 0 is DEBUG.
    pub td_attributes: u64,
    /// XFAM.
    pub xfam: u64,
    /// MRTD: measurement of the initial contents.
    pub mr_td: [u8; 48],
    /// MRCONFIGID: set by the host at creation.
    pub mr_config_id: [u8; 48],
    /// MROWNER.
    pub mr_owner: [u8; 48],
    /// MROWNERCONFIG.
    pub mr_owner_config: [u8; 48],
    /// RTMR0 to RTMR3.
    pub rtmr: [[u8; 48]; 4],
    /// REPORTDATA: the 64 bytes the guest had signed.
    pub report_data: [u8; 64],
    /// Body types 3 and 4 (TD 1.5) have these as well.
    pub td15: Option<Td15>,
    /// Body type 4 (TD 1.5 extended, TDX Connect) has these as well.
    pub td15_extended: Option<Td15Extended>,
    /// FMSPC of the PCK certificate.
    pub fmspc: [u8; 6],
    /// PPID of the PCK certificate: the platform's identity.
    pub ppid: [u8; 16],
    /// What the collateral says of this TCB: the worst of platform, QE and TDX module.
    pub tcb_status: TcbStatus,
    /// Advisories that apply at this TCB level, e.g. `INTEL-SA-00837`; sorted, each once.
    pub advisories: Vec<String>,
    /// tcbEvaluationDataNumber of the TCB info.
    pub tcb_evaluation_data_number: u32,
    /// Earliest end of all collateral: signed nextUpdate and certificate dates.
    pub collateral_expires: UnixTime,
    /// Replay of the CCEL log that came along, already compared with RTMR0 to RTMR3.
    pub event_log: Option<crate::eventlog::ReplayedLog>,
}

/// What TD 1.5 adds to the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Td15 {
    /// TEE_TCB_SVN2.
    pub tee_tcb_svn2: [u8; 16],
    /// MRSERVICETD: hash of the bound service TDs; zero without one.
    pub mr_service_td: [u8; 48],
}

/// What TD 1.5 extended (body type 4, 885 bytes) adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Td15Extended {
    /// Hash of the device information (TDX Connect); zero without bound devices.
    pub dev_info: [u8; 48],
    /// The bytes of the extension after MRSERVICETD, as they stand in the quote.
    pub raw: Vec<u8>,
}

/// Statuses of Intel's TCB info, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TcbStatus {
    /// Nothing to do.
    UpToDate,
    /// Software must mitigate an advisory.
    SwHardeningNeeded,
    /// The platform's configuration must change.
    ConfigurationNeeded,
    /// Both.
    ConfigurationAndSwHardeningNeeded,
    /// Firmware is behind.
    OutOfDate,
    /// Firmware is behind and the configuration must change.
    OutOfDateConfigurationNeeded,
    /// Never acceptable.
    Revoked,
}

/// Parsed, not authenticated.
#[derive(Debug)]
pub struct ParsedTdx {}

pub(crate) struct VerifiedTdx {
    pub(crate) claims: TdxClaims,
    pub(crate) simulated: bool,
    pub(crate) revocation: Revocation,
}

impl ParsedTdx {
    pub(crate) fn parse(_raw: TdxEvidence) -> Result<Self, TdxError> {
        Err(TdxError::NotVerified)
    }

    pub(crate) fn authenticate(
        self,
        _anchors: &Anchors,
        _collateral: &Collateral,
        _now: UnixTime,
    ) -> Result<VerifiedTdx, TdxError> {
        Err(TdxError::NotVerified)
    }
}

/// Why a quote was not accepted as authentic.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TdxError {
    /// Not built yet.
    #[error("TDX quote: this version verifies none")]
    NotVerified,
}

impl TdxError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        "tdx.not_verified"
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        Class::NotAuthentic
    }
}
