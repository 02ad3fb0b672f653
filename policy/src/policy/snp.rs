//! What is asked of AMD SEV-SNP evidence.

use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384};
use serde::{Deserialize, Serialize};

use super::bits::{BitRules, GuestPolicyBit, PlatformBit};
use super::check::{ascending, holds, references, unique};
use super::error::PolicyError;
use super::floors::TcbFloors;
use super::lists::{Admission, AllowList};
use crate::hardware::ChipId;

/// What is asked of AMD SEV-SNP evidence, a guest's own or its paravisor's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpPolicy {
    /// Which chips may answer with a report that their own VCEK signed. A masked id is never listed.
    pub hardware: AllowList<ChipId>,
    /// Which providers' VLEKs (cspID, e.g. `CN=cc-us-east-2.amazonaws.com`) may sign. A VLEK names no chip: for such a
    /// report the provider stands in the place of `hardware`.
    pub vlek_providers: AllowList<String>,
    /// Whether EPYC Milan may reach tier 2 although its root seed can be extracted.
    pub milan: MilanPolicy,
    /// Privilege levels from which a report may come, 0 to 3; `[0]` without SVSM. A paravisor's report is from level 0 in
    /// any case.
    pub vmpl: Vec<u32>,
    /// Firmware that runs without being committed: it can be taken back to an older one.
    pub provisional_firmware: Admission,
    /// Mitigation bits (0 to 63) that must be set at launch and now. Reports before version 5 state none.
    pub mitigations: Vec<u8>,
    /// SHA-384 of ID keys; all zeros is a guest without ID block.
    pub id_keys: AllowList<Digest384>,
    /// SHA-384 of author keys; all zeros is a guest without author key.
    pub author_keys: AllowList<Digest384>,
    /// HOST_DATA.
    pub host_data: AllowList<Digest256>,
    /// Least GUEST_SVN of the ID block.
    pub guest_svn_minimum: u32,
    /// Least ABI version that the guest's POLICY asks for.
    pub minimum_abi: AbiVersion,
    /// Least CURRENT and COMMITTED firmware.
    pub minimum_firmware: FirmwareFloor,
    /// Lowest TCB per product. A product without floor is refused.
    pub tcb_floor: TcbFloors,
    /// Bits of the guest's POLICY besides DEBUG, MIGRATE_MA (always refused) and bit 17 (always one).
    pub guest_policy: BitRules<GuestPolicyBit>,
    /// Bits of PLATFORM_INFO.
    pub platform_info: BitRules<PlatformBit>,
    /// Which image with which configuration. Empty: none.
    pub references: Vec<SnpReference>,
    /// Which paravisors may stand under a guest whose image its vTPM proves. Empty: none.
    pub paravisors: Vec<SnpParavisor>,
}

/// What to think of EPYC Milan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MilanPolicy {
    /// Below tier 2: its VCEK root seed can be extracted by software (arXiv 2605.12990).
    Refuse,
    /// The operator of this policy accepts forged Milan reports as a risk.
    Accept,
}

/// An ABI version of the SNP firmware.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbiVersion {
    /// Major.
    pub major: u8,
    /// Minor.
    pub minor: u8,
}

/// A version of the SNP firmware.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirmwareFloor {
    /// Major.
    pub major: u8,
    /// Minor.
    pub minor: u8,
    /// Build.
    pub build: u8,
}

/// A launch measurement with the configuration it was computed for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpReference {
    /// For people: which image and configuration this is.
    pub name: Name,
    /// Launch digest, 48 bytes.
    pub measurement: Digest384,
    /// SHA-256 of the configuration text on the measured command line.
    pub config_digest: Digest256,
}

/// A paravisor's launch measurement. It says nothing about the guest's image: the vTPM does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpParavisor {
    /// For people.
    pub name: Name,
    /// Launch digest, 48 bytes.
    pub measurement: Digest384,
}

impl SnpPolicy {
    /// Admits nothing: open it member by member.
    pub fn closed() -> Self {
        Self {
            hardware: AllowList::none(),
            vlek_providers: AllowList::none(),
            milan: MilanPolicy::Refuse,
            vmpl: Vec::new(),
            provisional_firmware: Admission::Refuse,
            mitigations: Vec::new(),
            id_keys: AllowList::none(),
            author_keys: AllowList::none(),
            host_data: AllowList::none(),
            guest_svn_minimum: 0,
            minimum_abi: AbiVersion::default(),
            minimum_firmware: FirmwareFloor::default(),
            tcb_floor: TcbFloors::default(),
            guest_policy: BitRules::known_bits(),
            platform_info: BitRules::known_bits(),
            references: Vec::new(),
            paravisors: Vec::new(),
        }
    }

    /// Any genuine chip of a product in `tcb_floor` except Milan, at VMPL 0, with committed firmware, that launched one of
    /// `references`. ID block and HOST_DATA are not looked at; a VLEK is refused.
    pub fn any_chip(tcb_floor: TcbFloors, references: Vec<SnpReference>) -> Self {
        Self {
            hardware: AllowList::Any,
            vmpl: vec![0],
            id_keys: AllowList::Any,
            author_keys: AllowList::Any,
            host_data: AllowList::Any,
            tcb_floor,
            references,
            ..Self::closed()
        }
    }

    pub(super) fn check(&self) -> Result<(), PolicyError> {
        ascending("snp.vmpl", "levels 0 to 3, ascending, each once", &self.vmpl, 3)?;
        ascending(
            "snp.mitigations",
            "bits 0 to 63, ascending, each once",
            &self.mitigations,
            63,
        )?;
        unique("snp.hardware", &self.hardware)?;
        unique("snp.vlek_providers", &self.vlek_providers)?;
        unique("snp.id_keys", &self.id_keys)?;
        unique("snp.author_keys", &self.author_keys)?;
        unique("snp.host_data", &self.host_data)?;
        if let AllowList::Listed(providers) = &self.vlek_providers {
            holds(
                providers
                    .iter()
                    .all(|p| (1..=256).contains(&p.len()) && p.bytes().all(|b| matches!(b, b' '..=b'~'))),
                "snp.vlek_providers",
                "names of 1 to 256 printable ASCII characters",
                "another text",
            )?;
        }
        holds(
            self.guest_policy.is_consistent(),
            "snp.guest_policy",
            "each bit once, required or forbidden",
            "a bit twice",
        )?;
        holds(
            self.platform_info.is_consistent(),
            "snp.platform_info",
            "each bit once, required or forbidden",
            "a bit twice",
        )?;
        references(
            "snp.references",
            self.references
                .iter()
                .map(|r| (&r.name, (r.measurement, r.config_digest))),
        )?;
        references(
            "snp.paravisors",
            self.paravisors.iter().map(|p| (&p.name, p.measurement)),
        )
    }
}
