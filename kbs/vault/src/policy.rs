//! The release policy of one key.

use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest384, UnixTime};
use hanzo_policy::{AppraisalPolicy, PolicyError};
use serde::{Deserialize, Serialize};

/// Longest time between a grant and its opening, in seconds.
pub const GRANT_LIFETIME_S_MAX: u64 = 300;

const POLICY_BYTES_MAX: usize = 512 * 1024;

/// Under which conditions a key is released. Canonical JSON; `policy_digest` is SHA-384 of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPolicy {
    /// Whether simulated guests get the key. Fixed when the key is made.
    pub allow_simulated: bool,
    /// What is asked of the guest's evidence.
    pub appraisal: AppraisalPolicy,
    /// How long a wrap may be opened after the decision, in seconds: 1 to 300.
    pub grant_lifetime_s: u64,
    /// How many grants there may ever be for one version of the key: 1 to 2^53 - 1.
    pub max_uses: u64,
    /// Last second in which the key is released, Unix seconds.
    pub not_after: u64,
    /// Weights root (64 hex digits) or store id that the key is for.
    pub subject: Name,
}

/// Why a release policy was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyPolicyError {
    /// Not canonical JSON of this shape.
    #[error(transparent)]
    Malformed(#[from] JcsError),
    /// Its appraisal policy.
    #[error("key policy: appraisal: {0}")]
    Appraisal(#[from] PolicyError),
    /// A value out of its range.
    #[error("key policy: {field}: expected {expected}, got {got}")]
    Value {
        /// The member at fault.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: u64,
    },
    /// Fixed when the key was made.
    #[error("key policy: allow_simulated cannot be changed after the key was made: make another key")]
    SimulatedIsFixed,
}

impl KeyPolicyError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "key_policy.malformed",
            Self::Appraisal(e) => e.code(),
            Self::Value { .. } => "key_policy.value",
            Self::SimulatedIsFixed => "key_policy.allow_simulated",
        }
    }
}

impl KeyPolicy {
    /// Reads the canonical form and checks the ranges.
    ///
    /// # Errors
    /// [`KeyPolicyError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyPolicyError> {
        let policy: Self = jcs::from_slice("key policy", bytes, POLICY_BYTES_MAX)?;
        policy.check()?;
        Ok(policy)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`KeyPolicyError::Value`], [`KeyPolicyError::Appraisal`].
    pub fn check(&self) -> Result<(), KeyPolicyError> {
        self.appraisal.check()?;
        const WIDE: u64 = (1 << 53) - 1;
        for (field, range, expected, got) in [
            (
                "grant_lifetime_s",
                1..=GRANT_LIFETIME_S_MAX,
                "1 to 300",
                self.grant_lifetime_s,
            ),
            ("max_uses", 1..=WIDE, "1 to 2^53 - 1", self.max_uses),
            ("not_after", 1..=WIDE, "Unix seconds below 2^53", self.not_after),
        ] {
            if !range.contains(&got) {
                return Err(KeyPolicyError::Value { field, expected, got });
            }
        }
        Ok(())
    }

    /// Checks that this policy may follow `earlier` for the same key.
    ///
    /// # Errors
    /// [`KeyPolicyError::SimulatedIsFixed`].
    pub fn may_follow(&self, earlier: &Self) -> Result<(), KeyPolicyError> {
        if self.allow_simulated != earlier.allow_simulated {
            return Err(KeyPolicyError::SimulatedIsFixed);
        }
        Ok(())
    }

    /// The canonical form.
    ///
    /// # Errors
    /// [`JcsError`], never for values of this type.
    pub fn canonical(&self) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("key policy", self)
    }

    /// SHA-384 of the canonical form.
    ///
    /// # Errors
    /// As [`KeyPolicy::canonical`].
    pub fn digest(&self) -> Result<Digest384, JcsError> {
        Ok(Digest384::of(&self.canonical()?))
    }

    /// When a grant made at `now` ends.
    pub(crate) fn grant_not_after(&self, now: UnixTime) -> u64 {
        now.0.saturating_add(self.grant_lifetime_s).min(self.not_after)
    }
}
