//! Why a release policy was refused.

use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::name::Name;
use hanzo_policy::PolicyError;
use hanzo_rego::RegoError;

/// Why a release policy was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyPolicyError {
    /// Not canonical JSON of this shape.
    #[error(transparent)]
    Malformed(#[from] JcsError),
    /// Members are absent. None has a default: what is not written is not asked for by accident.
    #[error("key policy: members are missing, and nothing is implied: add {add}")]
    Missing {
        /// Which, and what to write.
        add: String,
    },
    /// Its appraisal policy.
    #[error("key policy: appraisal: {0}")]
    Appraisal(#[from] PolicyError),
    /// Its Rego module.
    #[error("key policy: {0}")]
    Rego(#[from] RegoError),
    /// A value out of its range.
    #[error("key policy: {field}: expected {expected}, got {got}")]
    Value {
        /// The member at fault.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// For another tenant's keys.
    #[error("key policy: tenant: expected {expected} (the key id's repository), got {got}")]
    Tenant {
        /// The key's tenant.
        expected: Name,
        /// What came.
        got: Name,
    },
    /// Fixed when the key was made.
    #[error("key policy: {field} cannot be changed after the key was made: make another key")]
    Fixed {
        /// The member.
        field: &'static str,
    },
    /// A value that only goes up went down.
    #[error(
        "key policy: minimum_image_version: expected {expected} or more, got {got}: it only goes up, so that older images stay out"
    )]
    Lowered {
        /// The earlier policy's.
        expected: u64,
        /// What came.
        got: u64,
    },
}

impl KeyPolicyError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "key_policy.malformed",
            Self::Missing { .. } => "key_policy.missing",
            Self::Appraisal(e) => e.code(),
            Self::Rego(e) => e.code(),
            Self::Value { .. } => "key_policy.value",
            Self::Tenant { .. } => "key_policy.tenant",
            Self::Fixed {
                field: "allow_simulated",
            } => "key_policy.allow_simulated",
            Self::Fixed { .. } => "key_policy.fixed",
            Self::Lowered { .. } => "key_policy.minimum_image_version",
        }
    }
}
