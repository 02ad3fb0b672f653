//! What is asked of Intel TDX evidence.

use hanzo_attestation::name::Name;
use hanzo_attestation::tdx::TcbStatus;
use hanzo_attestation::{Digest256, Digest384};
use serde::{Deserialize, Serialize};

use super::bits::{BitRules, TdAttribute};
use super::check::{all_differ, holds, references, unique};
use super::error::PolicyError;
use super::lists::{AllowList, Presence};
use super::number::{Hex64, Svn};
use crate::hardware::Ppid;

/// What is asked of Intel TDX evidence, a guest's own or its paravisor's.
///
/// Whatever it says, DEBUG and its group, MIGRATABLE, a module that Intel did not sign and the status Revoked are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxPolicy {
    /// Which platforms may answer, by the PPID of their PCK certificate.
    pub hardware: AllowList<Ppid>,
    /// Accepted statuses of Intel's TCB info.
    pub tcb_statuses: Vec<AcceptedStatus>,
    /// Advisories (e.g. `INTEL-SA-00837`) that may apply. Each that applies must be listed, whatever the status.
    pub advisories: Vec<String>,
    /// Least tcbEvaluationDataNumber of the collateral: older collateral does not know newer weaknesses.
    pub minimum_tcb_evaluation_data_number: u32,
    /// Least TEE_TCB_SVN, and TEE_TCB_SVN2 where stated, byte by byte: 32 lower-case hex digits.
    pub tee_tcb_svn_floor: Svn,
    /// Bits of XFAM that may be set, as a number of 16 lower-case hex digits. FP and SSE must be.
    pub xfam_allowed: Hex64,
    /// MRSEAM: which TDX modules.
    pub mr_seam: AllowList<Digest384>,
    /// MRCONFIGID.
    pub mr_config_id: AllowList<Digest384>,
    /// MROWNER.
    pub mr_owner: AllowList<Digest384>,
    /// MROWNERCONFIG.
    pub mr_owner_config: AllowList<Digest384>,
    /// MRSERVICETD values that may be bound to the guest. Empty: no service TD.
    pub service_tds: Vec<Digest384>,
    /// Whether the CCEL event log must have come along. One that comes must replay to the registers in any case.
    pub event_log: Presence,
    /// Bits of TDATTRIBUTES.
    pub attributes: BitRules<TdAttribute>,
    /// Which image with which configuration. Empty: none.
    pub references: Vec<TdxReference>,
    /// Which paravisors may stand under a guest whose image its vTPM proves. Empty: none.
    pub paravisors: Vec<TdxParavisor>,
}

/// A status that a policy can accept, in Intel's spelling. Revoked is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AcceptedStatus {
    /// Nothing to do.
    UpToDate,
    /// Software must mitigate an advisory.
    #[serde(rename = "SWHardeningNeeded")]
    SwHardeningNeeded,
    /// The platform's configuration must change.
    ConfigurationNeeded,
    /// Both.
    #[serde(rename = "ConfigurationAndSWHardeningNeeded")]
    ConfigurationAndSwHardeningNeeded,
    /// The platform is current and the guest was started under an older TDX module.
    #[serde(rename = "TDRelaunchAdvised")]
    TdRelaunchAdvised,
    /// So, and the configuration must change.
    #[serde(rename = "TDRelaunchAdvisedConfigurationNeeded")]
    TdRelaunchAdvisedConfigurationNeeded,
    /// Firmware is behind.
    OutOfDate,
    /// Firmware is behind and the configuration must change.
    OutOfDateConfigurationNeeded,
}

impl AcceptedStatus {
    /// The policy's word for `status`; `None` for Revoked, which nothing accepts.
    pub fn of(status: TcbStatus) -> Option<Self> {
        match status {
            TcbStatus::UpToDate => Some(Self::UpToDate),
            TcbStatus::SwHardeningNeeded => Some(Self::SwHardeningNeeded),
            TcbStatus::ConfigurationNeeded => Some(Self::ConfigurationNeeded),
            TcbStatus::ConfigurationAndSwHardeningNeeded => Some(Self::ConfigurationAndSwHardeningNeeded),
            TcbStatus::TdRelaunchAdvised => Some(Self::TdRelaunchAdvised),
            TcbStatus::TdRelaunchAdvisedConfigurationNeeded => Some(Self::TdRelaunchAdvisedConfigurationNeeded),
            TcbStatus::OutOfDate => Some(Self::OutOfDate),
            TcbStatus::OutOfDateConfigurationNeeded => Some(Self::OutOfDateConfigurationNeeded),
            TcbStatus::Revoked => None,
        }
    }
}

/// The registers of a trust domain with the configuration they were computed for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxReference {
    /// For people: which image and configuration this is.
    pub name: Name,
    /// MRTD.
    pub mrtd: Digest384,
    /// RTMR0.
    pub rtmr0: Digest384,
    /// RTMR1.
    pub rtmr1: Digest384,
    /// RTMR2.
    pub rtmr2: Digest384,
    /// RTMR3.
    pub rtmr3: Digest384,
    /// SHA-256 of the configuration text on the measured command line.
    pub config_digest: Digest256,
}

/// The registers of a paravisor. They say nothing about the guest's image: the vTPM does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxParavisor {
    /// For people.
    pub name: Name,
    /// MRTD.
    pub mrtd: Digest384,
    /// RTMR0.
    pub rtmr0: Digest384,
    /// RTMR1.
    pub rtmr1: Digest384,
    /// RTMR2.
    pub rtmr2: Digest384,
    /// RTMR3.
    pub rtmr3: Digest384,
}

impl TdxReference {
    /// MRTD, then RTMR0 to RTMR3.
    pub fn registers(&self) -> [Digest384; 5] {
        [self.mrtd, self.rtmr0, self.rtmr1, self.rtmr2, self.rtmr3]
    }
}

impl TdxParavisor {
    /// MRTD, then RTMR0 to RTMR3.
    pub fn registers(&self) -> [Digest384; 5] {
        [self.mrtd, self.rtmr0, self.rtmr1, self.rtmr2, self.rtmr3]
    }
}

impl TdxPolicy {
    /// Admits nothing: open it member by member.
    pub fn closed() -> Self {
        Self {
            hardware: AllowList::none(),
            tcb_statuses: Vec::new(),
            advisories: Vec::new(),
            minimum_tcb_evaluation_data_number: 0,
            tee_tcb_svn_floor: Svn([0; 16]),
            xfam_allowed: Hex64(0),
            mr_seam: AllowList::none(),
            mr_config_id: AllowList::none(),
            mr_owner: AllowList::none(),
            mr_owner_config: AllowList::none(),
            service_tds: Vec::new(),
            event_log: Presence::Required,
            attributes: BitRules::known_bits(),
            references: Vec::new(),
            paravisors: Vec::new(),
        }
    }

    /// Any genuine platform that is up to date and launched one of `references`: SEPT_VE_DISABLE set, no service TD, no
    /// event log needed; MRSEAM, MRCONFIGID and the owner's fields are not looked at.
    pub fn any_platform(references: Vec<TdxReference>) -> Self {
        let mut attributes = BitRules::known_bits();
        attributes.required = vec![TdAttribute::SeptVeDisable];
        Self {
            hardware: AllowList::Any,
            tcb_statuses: vec![AcceptedStatus::UpToDate],
            xfam_allowed: Hex64(XFAM_KNOWN),
            mr_seam: AllowList::Any,
            mr_config_id: AllowList::Any,
            mr_owner: AllowList::Any,
            mr_owner_config: AllowList::Any,
            event_log: Presence::AcceptMissing,
            attributes,
            references,
            ..Self::closed()
        }
    }

    pub(super) fn check(&self) -> Result<(), PolicyError> {
        unique("tdx.hardware", &self.hardware)?;
        unique("tdx.mr_seam", &self.mr_seam)?;
        unique("tdx.mr_config_id", &self.mr_config_id)?;
        unique("tdx.mr_owner", &self.mr_owner)?;
        unique("tdx.mr_owner_config", &self.mr_owner_config)?;
        unique("tdx.service_tds", &AllowList::Listed(self.service_tds.clone()))?;
        unique("tdx.advisories", &AllowList::Listed(self.advisories.clone()))?;
        holds(
            self.advisories.iter().all(|a| is_advisory(a)),
            "tdx.advisories",
            "ids such as INTEL-SA-00837",
            "another text",
        )?;
        holds(
            all_differ(self.tcb_statuses.iter().collect()),
            "tdx.tcb_statuses",
            "each status once",
            "a status twice",
        )?;
        holds(
            self.attributes.is_consistent(),
            "tdx.attributes",
            "each bit once, required or forbidden",
            "a bit twice",
        )?;
        references(
            "tdx.references",
            self.references
                .iter()
                .map(|r| (&r.name, (r.registers(), r.config_digest))),
        )?;
        references(
            "tdx.paravisors",
            self.paravisors.iter().map(|p| (&p.name, p.registers())),
        )
    }
}

/// The state components that TDX modules let a guest have (Intel TDX Module ABI, XFAM): x87, SSE, AVX, AVX-512, PT, PKRU,
/// CET, UINTR, LBR and AMX.
pub const XFAM_KNOWN: u64 = 0x6_dbe7;

fn is_advisory(text: &str) -> bool {
    text.strip_prefix("INTEL-SA-")
        .is_some_and(|n| (1..=8).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()))
}
