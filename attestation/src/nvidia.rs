//! NVIDIA GPUs and switches: SPDM 1.1 measurement reports (DMTF DSP0274), certificate chains, RIMs and OCSP answers.

pub mod ocsp;
pub mod rim;
mod xml;

use std::collections::BTreeMap;

use crate::bundle::DeviceEvidence;
use crate::evidence::{Anchors, Class, Collateral, UnixTime};

pub use xml::XmlError;

/// Device families whose reports are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NvidiaArch {
    /// H100, H200 and their kin (GH100).
    Hopper,
    /// B200 and its kin (GB100).
    Blackwell,
    /// The third-generation NVSwitch (LS10).
    Ls10,
}

impl NvidiaArch {
    /// True for a GPU, false for a switch.
    pub fn is_gpu(self) -> bool {
        !matches!(self, Self::Ls10)
    }
}

/// Authenticated claims of one GPU or switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvidiaClaims {
    /// From the certificates; the declared one must equal it.
    pub arch: NvidiaArch,
    /// Nonce of the SPDM request (bytes 4..36 of the report).
    pub nonce: [u8; 32],
    /// Identity of the device: serial number of its leaf certificate, lower-case hex.
    pub ueid: String,
    /// Opaque id 3; `None` for a switch.
    pub driver_version: Option<String>,
    /// Opaque id 6 in the usual notation, e.g. `96.00.9F.00.01`.
    pub vbios_version: String,
    /// What the report says about the firmware id (opaque id 20) of the leaf certificate.
    pub fwid: Fwid,
    /// Opaque id 21: protected PCIe on or off; `None` if not stated.
    pub protected_pcie: Option<bool>,
    /// Opaque id 36: raw feature flag. Its values are read differently by NVIDIA's own tools, so it is kept raw.
    pub feature_flag: Option<u32>,
    /// Opaque id 22 of a GPU: device ids of the switches it is connected to; zero entries dropped.
    pub switch_pdis: Vec<[u8; 8]>,
    /// Opaque id 26 of a switch: device ids of the GPUs it is connected to; zero entries dropped.
    pub gpu_pdis: Vec<[u8; 8]>,
    /// This device's own id where the report states it (a switch's opaque id for itself).
    pub own_pdi: Option<[u8; 8]>,
    /// Every opaque field, raw, by id.
    pub opaque: BTreeMap<u16, Vec<u8>>,
    /// Measurements by index (1 to 64).
    pub measurements: BTreeMap<u8, Vec<u8>>,
    /// Comparison with reference measurements.
    pub rim: RimOutcome,
    /// What OCSP answers say of the chain.
    pub ocsp: OcspOutcome,
}

/// Firmware id of the leaf certificate against the one in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fwid {
    /// The report states the certificate's. (Another one is not authentic.)
    Matched,
    /// The report states none (switches, drivers before 550).
    Absent,
}

/// Comparison of the measurements with the vendor's signed reference values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RimOutcome {
    /// There was no RIM for the driver or for the VBIOS.
    Missing {
        /// Ids of the RIMs that are missing, as the RIM service names them.
        ids: Vec<String>,
    },
    /// Every active reference value is matched.
    Matched {
        /// Ids of the RIMs.
        ids: Vec<String>,
        /// Earliest end of their certificates.
        expires: UnixTime,
    },
    /// Some are not.
    Mismatch {
        /// Measurement indexes, 1 to 64.
        indexes: Vec<u8>,
        /// Ids of the RIMs.
        ids: Vec<String>,
    },
}

/// What OCSP answers say of the certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OcspOutcome {
    /// No answer came along for at least one certificate of the chain.
    NoAnswer,
    /// All good.
    Good {
        /// Earliest nextUpdate.
        next_update: UnixTime,
    },
    /// Revoked for the reason certificateHold; policy decides.
    OnHold,
}

/// Parsed, not authenticated.
#[derive(Debug)]
pub struct ParsedNvidia {}

pub(crate) struct VerifiedNvidia {
    pub(crate) claims: NvidiaClaims,
    pub(crate) simulated: bool,
}

impl ParsedNvidia {
    pub(crate) fn parse(_raw: &DeviceEvidence) -> Result<Self, NvidiaError> {
        Err(NvidiaError::NotVerified)
    }

    pub(crate) fn authenticate(
        self,
        _anchors: &Anchors,
        _collateral: &Collateral,
        _now: UnixTime,
    ) -> Result<VerifiedNvidia, NvidiaError> {
        Err(NvidiaError::NotVerified)
    }
}

/// Why device evidence was not accepted as authentic.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NvidiaError {
    /// Not built yet.
    #[error("device evidence: this version verifies none")]
    NotVerified,
    /// Reference measurements.
    #[error(transparent)]
    Rim(#[from] rim::RimError),
    /// OCSP answers.
    #[error(transparent)]
    Ocsp(#[from] ocsp::OcspError),
}

impl NvidiaError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotVerified => "nvidia.not_verified",
            Self::Rim(e) => e.code(),
            Self::Ocsp(e) => e.code(),
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::NotVerified => Class::NotAuthentic,
            Self::Rim(e) => e.class(),
            Self::Ocsp(e) => e.class(),
        }
    }
}
