//! A policy as a store has it.

use std::ops::Deref;

use hanzo_attestation::Digest384;
use hanzo_attestation::jcs::JcsError;

use super::{KeyPolicy, KeyPolicyError};

/// A policy with the digest of its text. It cannot be changed, so the two belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPolicy {
    policy: KeyPolicy,
    digest: Digest384,
}

impl StoredPolicy {
    /// Reads the canonical form and checks every value.
    ///
    /// # Errors
    /// As [`KeyPolicy::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyPolicyError> {
        // Only canonical text is read, so its digest is the policy's.
        Ok(Self {
            policy: KeyPolicy::parse(bytes)?,
            digest: Digest384::of(bytes),
        })
    }

    /// A policy that was not read.
    ///
    /// # Errors
    /// [`JcsError`], never for values of this type.
    pub fn of(policy: KeyPolicy) -> Result<Self, JcsError> {
        let digest = policy.digest()?;
        Ok(Self { policy, digest })
    }

    /// SHA-384 of the canonical form.
    pub fn digest(&self) -> Digest384 {
        self.digest
    }
}

impl Deref for StoredPolicy {
    type Target = KeyPolicy;

    fn deref(&self) -> &KeyPolicy {
        &self.policy
    }
}
