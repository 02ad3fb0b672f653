//! What evidence of each kind says, for showing.

use std::collections::BTreeMap;

use hanzo_attestation::nvidia::{Fwid, NvidiaClaims, OcspOutcome, RimOutcome};
use hanzo_attestation::tdx::{TcbStatus, TdxClaims};
use hanzo_attestation::tpm::{AkOrigin, TpmClaims};
use hanzo_attestation::{Authentic, DeviceClaims};
use serde::Serialize;

/// What is worth showing of a TDX quote, the guest's own or its paravisor's. Registers and ids are lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TdxView {
    /// 4 or 5.
    pub quote_version: u16,
    /// MRTD.
    pub mrtd: String,
    /// RTMR0 to RTMR3.
    pub rtmr: [String; 4],
    /// MRSEAM: the TDX module.
    pub mr_seam: String,
    /// MRCONFIGID.
    pub mr_config_id: String,
    /// MROWNER.
    pub mr_owner: String,
    /// MROWNERCONFIG.
    pub mr_owner_config: String,
    /// TDATTRIBUTES, 16 digits, most significant first.
    pub td_attributes: String,
    /// PPID of the platform.
    pub ppid: String,
    /// FMSPC: the platform's model.
    pub fmspc: String,
    /// Status of Intel's TCB info, in Intel's spelling.
    pub tcb_status: &'static str,
    /// Advisories that apply.
    pub advisories: Vec<String>,
    /// tcbEvaluationDataNumber of the collateral.
    pub tcb_evaluation_data_number: u32,
    /// When the collateral ends, Unix seconds.
    pub collateral_expires: u64,
    /// DEV_INFO of a TD that devices are bound to (TDX Connect); `null` without.
    pub dev_info: Option<String>,
    /// True if an event log came along and replays to the registers.
    pub event_log: bool,
}

/// What is worth showing of a TPM quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TpmView {
    /// SHA-256 of the attestation key's SubjectPublicKeyInfo.
    pub ak: String,
    /// What stands behind that key: `chained`, `pinned`, `cpu-evidence` or `unknown`.
    pub ak_origin: &'static str,
    /// SHA-256 of the pinned root that it chains to; `null` for the other origins.
    pub ak_root: Option<String>,
    /// The quoted registers of the SHA-256 bank.
    pub pcrs: BTreeMap<u8, String>,
    /// Those of the SHA-384 bank; empty if the quote leaves it out.
    pub pcrs_sha384: BTreeMap<u8, String>,
    /// True if an event log came along and replays to the registers of each quoted bank.
    pub event_log: bool,
}

/// What is worth showing of a GPU or switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeviceView {
    /// `gpu` or `switch`.
    pub role: &'static str,
    /// `hopper`, `blackwell` or `ls10`.
    pub arch: &'static str,
    /// Serial number of its leaf certificate: a firmware update changes it.
    pub ueid: String,
    /// Serial number of its BROM certificate: nothing changes it.
    pub device_id: String,
    /// Driver; `null` for a switch.
    pub driver: Option<String>,
    /// Firmware.
    pub vbios: String,
    /// `matched`, `missing` or `mismatch`: reference measurements.
    pub rim: &'static str,
    /// `good`, `no-answer` or `on-hold`: certificates.
    pub ocsp: &'static str,
    /// True if the report repeats the firmware id of its certificate.
    pub fwid: bool,
    /// Protected PCIe; `null` if not stated.
    pub protected_pcie: Option<bool>,
    /// Feature flag, raw; `null` if not stated.
    pub feature_flag: Option<u32>,
    /// True if its root, or that of its reference measurements, is not NVIDIA's.
    pub simulated: bool,
}

impl TdxView {
    pub(super) fn of(claims: &TdxClaims) -> Self {
        Self {
            quote_version: claims.quote_version,
            mrtd: hex::encode(claims.mr_td),
            rtmr: claims.rtmr.map(hex::encode),
            mr_seam: hex::encode(claims.mr_seam),
            mr_config_id: hex::encode(claims.mr_config_id),
            mr_owner: hex::encode(claims.mr_owner),
            mr_owner_config: hex::encode(claims.mr_owner_config),
            td_attributes: format!("{:016x}", claims.td_attributes),
            ppid: hex::encode(claims.ppid),
            fmspc: hex::encode(claims.fmspc),
            tcb_status: tcb_status(claims.tcb_status),
            advisories: claims.advisories.clone(),
            tcb_evaluation_data_number: claims.tcb_evaluation_data_number,
            collateral_expires: claims.collateral_expires.0,
            dev_info: claims
                .td15_extended
                .as_ref()
                .filter(|t| t.dev_info != [0; 48])
                .map(|t| hex::encode(t.dev_info)),
            event_log: claims.event_log.is_some(),
        }
    }
}

impl TpmView {
    pub(super) fn of(claims: &TpmClaims) -> Self {
        let (ak_origin, ak_root) = match &claims.ak_origin {
            AkOrigin::Chained { root } => ("chained", Some(root.to_string())),
            AkOrigin::Pinned => ("pinned", None),
            AkOrigin::CpuEvidence => ("cpu-evidence", None),
            AkOrigin::Unknown => ("unknown", None),
        };
        Self {
            ak: claims.ak.to_string(),
            ak_origin,
            ak_root,
            pcrs: claims
                .pcrs
                .iter()
                .map(|(index, value)| (*index, hex::encode(value)))
                .collect(),
            pcrs_sha384: claims
                .pcrs_sha384
                .iter()
                .map(|(index, value)| (*index, hex::encode(value)))
                .collect(),
            event_log: claims.event_log.is_some(),
        }
    }
}

impl DeviceView {
    pub(crate) fn all(devices: &[Authentic<DeviceClaims>]) -> Vec<Self> {
        devices
            .iter()
            .map(|device| match device.claims() {
                DeviceClaims::Nvidia(claims) => Self::nvidia(claims, device.is_simulated()),
            })
            .collect()
    }

    fn nvidia(claims: &NvidiaClaims, simulated: bool) -> Self {
        Self {
            role: if claims.arch.is_gpu() { "gpu" } else { "switch" },
            arch: claims.arch.word(),
            ueid: claims.ueid.clone(),
            device_id: claims.device_id.clone(),
            driver: claims.driver_version.clone(),
            vbios: claims.vbios_version.clone(),
            rim: match claims.rim {
                RimOutcome::Missing { .. } => "missing",
                RimOutcome::Matched { .. } => "matched",
                RimOutcome::Mismatch { .. } => "mismatch",
            },
            ocsp: match claims.ocsp {
                OcspOutcome::NoAnswer => "no-answer",
                OcspOutcome::Good { .. } => "good",
                OcspOutcome::OnHold => "on-hold",
            },
            fwid: claims.fwid == Fwid::Matched,
            protected_pcie: claims.protected_pcie,
            feature_flag: claims.feature_flag,
            simulated,
        }
    }
}

/// In Intel's spelling.
fn tcb_status(status: TcbStatus) -> &'static str {
    match status {
        TcbStatus::UpToDate => "UpToDate",
        TcbStatus::SwHardeningNeeded => "SWHardeningNeeded",
        TcbStatus::ConfigurationNeeded => "ConfigurationNeeded",
        TcbStatus::ConfigurationAndSwHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
        TcbStatus::TdRelaunchAdvised => "TDRelaunchAdvised",
        TcbStatus::TdRelaunchAdvisedConfigurationNeeded => "TDRelaunchAdvisedConfigurationNeeded",
        TcbStatus::OutOfDate => "OutOfDate",
        TcbStatus::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
        TcbStatus::Revoked => "Revoked",
    }
}
