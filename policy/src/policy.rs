//! The appraisal policy: what a relying party asks of evidence. File format in `policy/SPEC.md`.
//!
//! # Layout
//! TOML of at most 256 KiB for people, JCS (RFC 8785) for digests and for embedding. Every key is written out: a missing
//! key is refused, because a default would be a check that nobody asked to skip. Unknown and repeated keys are refused.

mod check;
mod error;
mod floors;

pub use error::PolicyError;
pub use floors::{EpycTcb, TcbFloors, TurinTcb};

use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384, jcs};
use serde::{Deserialize, Serialize};

use crate::hardware::HardwareList;
use crate::tier::PrivacyTier;

/// Longest policy in bytes, in either form.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;

/// What a relying party asks of evidence.
///
/// The members are public so that programs can write policies. Every reader goes through [`AppraisalPolicy::check`]; and
/// `appraise` runs it again, so that a policy put together by hand with a value out of range grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Unchecked")]
pub struct AppraisalPolicy {
    /// Format version: 1.
    pub version: u32,
    /// Evidence that reaches less is refused.
    pub minimum_tier: PrivacyTier,
    /// How long a result counts, in seconds: 1 to 86,400. Then the guest is asked again.
    pub max_age_s: u64,
    /// What to do without a revocation list.
    pub revocation: RevocationPolicy,
    /// Which chips may answer.
    pub hardware: HardwareList,
    /// Whether EPYC Milan may reach tier 2 although its root seed can be extracted.
    pub milan: MilanPolicy,
    /// Privilege levels from which a report may come, 0 to 3; `[0]` without a paravisor.
    pub vmpl: Vec<u32>,
    /// Lowest firmware per product. A product without floor is refused.
    pub tcb_floor: TcbFloors,
    /// Which image with which configuration. Empty: none.
    pub references: Vec<Reference>,
}

/// What to do when there is no revocation list for the certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationPolicy {
    /// Tier 2 needs a fresh list.
    Required,
    /// A missing list is accepted. A list that names the certificate is refused in any case.
    AcceptMissing,
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

/// A launch measurement with the configuration it was computed for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// For people: which image and configuration this is.
    pub name: Name,
    /// Launch digest, 48 bytes.
    pub measurement: Digest384,
    /// SHA-256 of the configuration text on the measured command line.
    pub config_digest: Digest256,
}

impl AppraisalPolicy {
    /// A policy that says nothing and therefore grants nothing above tier 0: open it member by member.
    pub fn closed(minimum_tier: PrivacyTier) -> Self {
        Self {
            version: 1,
            minimum_tier,
            max_age_s: 3600,
            revocation: RevocationPolicy::Required,
            hardware: HardwareList::Listed(Vec::new()),
            milan: MilanPolicy::Refuse,
            vmpl: Vec::new(),
            tcb_floor: TcbFloors::default(),
            references: Vec::new(),
        }
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`]: over 256 KiB, not UTF-8 or TOML, an unknown, repeated or missing key, a value out of its range.
    pub fn from_toml(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLarge { got: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|e| PolicyError::Toml {
            line: 1 + bytes.iter().take(e.valid_up_to()).filter(|b| **b == b'\n').count(),
            detail: "not UTF-8".into(),
        })?;
        let unchecked: Unchecked = toml::from_str(text).map_err(|e| PolicyError::from_toml(text, &e))?;
        Self::try_from(unchecked)
    }

    /// Writes a policy file.
    ///
    /// # Errors
    /// [`PolicyError::Toml`] if a number does not fit TOML's 64 bits, which no checked policy has.
    pub fn to_toml(&self) -> Result<String, PolicyError> {
        toml::to_string(self).map_err(|e| PolicyError::Toml {
            line: 0,
            detail: e.to_string(),
        })
    }

    /// Reads the canonical JSON form.
    ///
    /// # Errors
    /// [`PolicyError::Json`].
    pub fn from_jcs(bytes: &[u8]) -> Result<Self, PolicyError> {
        Ok(jcs::from_slice("appraisal policy", bytes, POLICY_BYTES_MAX)?)
    }

    /// The canonical JSON form.
    ///
    /// # Errors
    /// [`PolicyError::Json`], never for values of this type.
    pub fn canonical(&self) -> Result<Vec<u8>, PolicyError> {
        Ok(jcs::to_vec("appraisal policy", self)?)
    }

    /// SHA-384 of the canonical JSON form.
    ///
    /// # Errors
    /// As [`AppraisalPolicy::canonical`].
    pub fn digest(&self) -> Result<Digest384, PolicyError> {
        Ok(Digest384::of(&self.canonical()?))
    }
}

/// The same members before their ranges were checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    version: u32,
    minimum_tier: PrivacyTier,
    max_age_s: u64,
    revocation: RevocationPolicy,
    hardware: HardwareList,
    milan: MilanPolicy,
    vmpl: Vec<u32>,
    tcb_floor: TcbFloors,
    references: Vec<Reference>,
}

impl TryFrom<Unchecked> for AppraisalPolicy {
    type Error = PolicyError;

    fn try_from(u: Unchecked) -> Result<Self, PolicyError> {
        let policy = Self {
            version: u.version,
            minimum_tier: u.minimum_tier,
            max_age_s: u.max_age_s,
            revocation: u.revocation,
            hardware: u.hardware,
            milan: u.milan,
            vmpl: u.vmpl,
            tcb_floor: u.tcb_floor,
            references: u.references,
        };
        policy.check()?;
        Ok(policy)
    }
}
