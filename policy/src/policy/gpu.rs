//! What is asked of NVIDIA GPUs and switches.

use hanzo_attestation::Digest384;
use hanzo_attestation::bundle::DEVICES_MAX;
use hanzo_attestation::nvidia::NvidiaArch;
use serde::{Deserialize, Serialize};

use super::check::{all_differ, holds, unique};
use super::error::PolicyError;
use super::lists::{Admission, AllowList, Count, Presence};
use super::number::DottedVersion;
use crate::hardware::Ueid;

/// What is asked of NVIDIA GPUs and switches, each and together.
///
/// Whatever it says, each device's measurements must match its RIMs, and more than one GPU needs protected PCIe with every
/// switch attested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuPolicy {
    /// Which devices may answer, GPUs and switches, by UEID or device id.
    pub hardware: AllowList<Ueid>,
    /// Accepted families, of GPUs and switches.
    pub architectures: Vec<Architecture>,
    /// How many GPUs there must be. At least one is needed in any case.
    pub gpus: Count,
    /// How many switches there must be.
    pub switches: Count,
    /// Least driver version of a GPU.
    pub minimum_driver: DottedVersion,
    /// Whether NVIDIA's OCSP answers for the device's certificates must be there. A revoked certificate is never authentic.
    pub ocsp: Presence,
    /// What to do with certificates that are on hold.
    pub on_hold: Admission,
    /// Whether a GPU's report must state the firmware id of its certificate. Drivers before 550 state none; another id than
    /// the certificate's is never authentic.
    pub fwid: Presence,
    /// Accepted raw feature flags of a GPU (opaque field 36). A report that states none passes `any` alone.
    pub feature_flags: AllowList<u32>,
    /// Which GPUs' device information each `dev_info` of a TDX Connect quote covers: what tier 4 needs. Empty: no tier 4.
    pub tee_io: Vec<TeeIoReference>,
}

/// A device family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// GPU, GH100.
    Hopper,
    /// GPU, GB100.
    Blackwell,
    /// Switch of Hopper machines.
    Ls10,
}

impl From<NvidiaArch> for Architecture {
    fn from(arch: NvidiaArch) -> Self {
        match arch {
            NvidiaArch::Hopper => Self::Hopper,
            NvidiaArch::Blackwell => Self::Blackwell,
            NvidiaArch::Ls10 => Self::Ls10,
        }
    }
}

/// The GPUs that are bound to a trust domain whose quote shows `dev_info`.
///
/// No public document says how `dev_info` is computed from a GPU's own identity, so nothing here computes it: whoever
/// writes the policy observed it on a machine that they trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeeIoReference {
    /// DEV_INFO of the quote's body (type 4).
    pub dev_info: Digest384,
    /// Exactly these GPUs, by UEID or device id.
    pub ueids: Vec<Ueid>,
}

impl GpuPolicy {
    /// Admits nothing: open it member by member.
    pub fn closed() -> Self {
        Self {
            hardware: AllowList::none(),
            architectures: Vec::new(),
            gpus: Count::Exactly(0),
            switches: Count::Exactly(0),
            minimum_driver: DottedVersion::ZERO,
            ocsp: Presence::Required,
            on_hold: Admission::Refuse,
            fwid: Presence::Required,
            feature_flags: AllowList::none(),
            tee_io: Vec::new(),
        }
    }

    /// Exactly `gpus` GPUs and `switches` switches of any genuine Hopper or Blackwell make, with OCSP answers.
    pub fn any_device(gpus: u8, switches: u8) -> Self {
        Self {
            hardware: AllowList::Any,
            architectures: vec![Architecture::Hopper, Architecture::Blackwell, Architecture::Ls10],
            gpus: Count::Exactly(gpus),
            switches: Count::Exactly(switches),
            feature_flags: AllowList::Any,
            ..Self::closed()
        }
    }

    pub(super) fn check(&self) -> Result<(), PolicyError> {
        unique("gpu.hardware", &self.hardware)?;
        unique("gpu.feature_flags", &self.feature_flags)?;
        holds(
            all_differ(self.architectures.iter().collect()),
            "gpu.architectures",
            "each family once",
            "a family twice",
        )?;
        for (field, count) in [("gpu.gpus", self.gpus), ("gpu.switches", self.switches)] {
            holds(
                !matches!(count, Count::Exactly(n) if usize::from(n) > DEVICES_MAX),
                field,
                "\"any\" or at most 32",
                count.to_string(),
            )?;
        }
        for reference in &self.tee_io {
            holds(
                !reference.ueids.is_empty()
                    && reference.ueids.len() <= DEVICES_MAX
                    && all_differ(reference.ueids.iter().collect()),
                "gpu.tee_io.ueids",
                "1 to 32 GPUs, each once",
                format!("{} entries", reference.ueids.len()),
            )?;
            holds(
                reference.dev_info.0 != [0; 48],
                "gpu.tee_io.dev_info",
                "a value that is not zero: zero is a guest without bound devices",
                "zero",
            )?;
        }
        holds(
            self.tee_io.len() <= 1024 && all_differ(self.tee_io.iter().map(|t| t.dev_info).collect()),
            "gpu.tee_io",
            "at most 1024 entries, each dev_info once",
            format!("{} entries, or a dev_info twice", self.tee_io.len()),
        )
    }
}
