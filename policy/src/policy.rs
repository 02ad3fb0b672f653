//! The appraisal policy: what a relying party asks of evidence. File format in `policy/SPEC.md`.
//!
//! # Layout
//! TOML of at most 256 KiB for people, JCS (RFC 8785) for digests and for embedding. One table for each kind of evidence;
//! within a table every key is written out: a missing key is refused, because a default would be a check that nobody asked
//! to skip. Unknown and repeated keys are refused.

pub mod bits;
mod check;
mod error;
mod floors;
pub mod gpu;
mod lists;
pub mod number;
pub mod release;
pub mod snp;
pub mod tdx;
pub mod tpm;

pub(crate) use check::all_differ;
pub use error::PolicyError;
pub use floors::{EpycTcb, TcbFloors, TurinTcb};
pub use lists::{Admission, AllowList, Count, HardwareList, Presence};
pub use release::ReleasePolicy;

use gpu::GpuPolicy;
use hanzo_attestation::{Digest384, jcs};
use serde::{Deserialize, Serialize};
use snp::SnpPolicy;
use tdx::TdxPolicy;
use tpm::TpmPolicy;

use crate::tier::PrivacyTier;

/// Longest policy in bytes, in either form.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;
/// The version of the format without a table `[release]`.
pub const FORMAT_VERSION: u32 = 2;
/// The version of the format with one. Readers of version 2 refuse it, and nobody takes one for the other.
pub const RELEASE_FORMAT_VERSION: u32 = 3;

/// What a relying party asks of evidence.
///
/// One table for each kind of evidence. A kind without table reaches nothing above tier 0: that a table is absent never
/// skips a check. The members are public so that programs can write policies. Every reader goes through
/// [`AppraisalPolicy::check`]; and `appraise` runs it again, so that a policy put together by hand with a value out of
/// range grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Unchecked")]
pub struct AppraisalPolicy {
    /// Format version: 2, or 3 with a table `[release]`.
    pub version: u32,
    /// Evidence that reaches less is refused.
    pub minimum_tier: PrivacyTier,
    /// How long a result counts, in seconds: 1 to 86,400. Then the guest is asked again.
    pub max_age_s: u64,
    /// What to do without a revocation list for the CPU's, or a TPM's, certificates.
    pub revocation: RevocationPolicy,
    /// SEV-SNP, also under a paravisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snp: Option<SnpPolicy>,
    /// TDX, also under a paravisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tdx: Option<TdxPolicy>,
    /// TPM quotes, alone and of a paravisor's vTPM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm: Option<TpmPolicy>,
    /// GPUs and switches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuPolicy>,
    /// Where the references come from, if they are not written out. A policy with this table grants nothing until a release
    /// was verified and applied ([`crate::release::VerifiedRelease::apply`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleasePolicy>,
}

/// What to do when there is no revocation list for the certificates.
///
/// SNP: AMD's CRL. TDX: Intel's CRLs are part of the collateral without which no quote is authentic, so a TDX guest always
/// has them. A TPM key that the caller pinned has no list but the caller's own pins; one that chains to a pinned root has
/// certificates for which this version reads no list, so it counts as without. GPUs have a key of their own (`gpu.ocsp`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationPolicy {
    /// Every tier above 0 needs a fresh list.
    Required,
    /// A missing list is accepted. A list that names the certificate is refused in any case.
    AcceptMissing,
}

impl AppraisalPolicy {
    /// A policy that says nothing and therefore grants nothing above tier 0: add tables to it.
    pub fn closed(minimum_tier: PrivacyTier) -> Self {
        Self {
            version: FORMAT_VERSION,
            minimum_tier,
            max_age_s: 3600,
            revocation: RevocationPolicy::Required,
            snp: None,
            tdx: None,
            tpm: None,
            gpu: None,
            release: None,
        }
    }

    /// With this table for releases; of version 3.
    pub fn with_release(mut self, table: ReleasePolicy) -> Self {
        self.version = RELEASE_FORMAT_VERSION;
        self.release = Some(table);
        self
    }

    /// With this table for SEV-SNP.
    pub fn with_snp(mut self, table: SnpPolicy) -> Self {
        self.snp = Some(table);
        self
    }

    /// With this table for TDX.
    pub fn with_tdx(mut self, table: TdxPolicy) -> Self {
        self.tdx = Some(table);
        self
    }

    /// With this table for TPM quotes.
    pub fn with_tpm(mut self, table: TpmPolicy) -> Self {
        self.tpm = Some(table);
        self
    }

    /// With this table for GPUs and switches.
    pub fn with_gpu(mut self, table: GpuPolicy) -> Self {
        self.gpu = Some(table);
        self
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`]: over 256 KiB, not UTF-8 or TOML, another version, an unknown, repeated or missing key, a value out of
    /// its range.
    pub fn from_toml(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLarge { got: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|e| PolicyError::Toml {
            line: 1 + bytes.iter().take(e.valid_up_to()).filter(|b| **b == b'\n').count(),
            detail: "not UTF-8".into(),
        })?;
        // Another version has other keys; say that, and not that the first of them is unknown.
        if let Ok(AnyVersion { version: got }) = toml::from_str(text)
            && ![FORMAT_VERSION, RELEASE_FORMAT_VERSION].contains(&got)
        {
            return Err(PolicyError::Version { got });
        }
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
    snp: Option<SnpPolicy>,
    tdx: Option<TdxPolicy>,
    tpm: Option<TpmPolicy>,
    gpu: Option<GpuPolicy>,
    release: Option<ReleasePolicy>,
}

impl TryFrom<Unchecked> for AppraisalPolicy {
    type Error = PolicyError;

    fn try_from(unchecked: Unchecked) -> Result<Self, PolicyError> {
        let Unchecked {
            version,
            minimum_tier,
            max_age_s,
            revocation,
            snp,
            tdx,
            tpm,
            gpu,
            release,
        } = unchecked;
        let policy = Self {
            version,
            minimum_tier,
            max_age_s,
            revocation,
            snp,
            tdx,
            tpm,
            gpu,
            release,
        };
        policy.check()?;
        Ok(policy)
    }
}

/// The one key that every version has.
#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}
