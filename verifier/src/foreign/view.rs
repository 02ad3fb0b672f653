//! A foreign reading as a document.

use hanzo_attestation::DeviceClaims;
use hanzo_attestation::nvidia::{NvidiaArch, NvidiaClaims, OcspOutcome, RimOutcome};
use serde::Serialize;

use super::ForeignReading;
use crate::view::VerdictView;

/// Everything worth showing about a foreign document. For showing alone: no function takes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ForeignView {
    /// The format's name, e.g. `coco-snp`.
    pub format: &'static str,
    /// The verdict on the evidence; of a CPU's or TPM's claims nothing for devices alone.
    pub verdict: VerdictView,
    /// The devices.
    pub devices: Vec<ForeignDeviceView>,
    /// Names of the parts that were kept and not judged.
    pub documents: Vec<&'static str>,
}

/// What is worth showing of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ForeignDeviceView {
    /// `hopper`, `blackwell` or `ls10`.
    pub arch: &'static str,
    /// Serial number of its leaf certificate.
    pub ueid: String,
    /// Driver; `null` for a switch.
    pub driver: Option<String>,
    /// Firmware.
    pub vbios: String,
    /// `matched`, `missing` or `mismatch`: reference measurements.
    pub rim: &'static str,
    /// `good`, `no-answer` or `on-hold`: certificates.
    pub ocsp: &'static str,
}

impl ForeignView {
    pub(super) fn of(reading: &ForeignReading) -> Self {
        Self {
            format: reading.format.name(),
            verdict: reading.verdict(),
            devices: reading
                .devices()
                .iter()
                .map(|device| match device.claims() {
                    DeviceClaims::Nvidia(claims) => nvidia(claims),
                })
                .collect(),
            documents: reading.documents().iter().map(|d| d.name).collect(),
        }
    }
}

fn nvidia(claims: &NvidiaClaims) -> ForeignDeviceView {
    ForeignDeviceView {
        arch: match claims.arch {
            NvidiaArch::Hopper => "hopper",
            NvidiaArch::Blackwell => "blackwell",
            NvidiaArch::Ls10 => "ls10",
        },
        ueid: claims.ueid.clone(),
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
    }
}
