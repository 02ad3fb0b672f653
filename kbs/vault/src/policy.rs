//! The release policy of one key. Format in `kbs/vault/POLICY.md`.

mod change;
mod check;
mod error;
mod stored;

use std::collections::BTreeMap;

use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Digest384, UnixTime};
use hanzo_policy::AppraisalPolicy;
use serde::{Deserialize, Serialize};

pub use check::{GRANT_LIFETIME_S_MAX, IMAGE_VERSIONS_MAX};
pub use error::KeyPolicyError;
pub use stored::StoredPolicy;

/// Longest release policy in bytes.
pub const POLICY_BYTES_MAX: usize = 512 * 1024;

/// How a secret may travel to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrap {
    /// JWE to an ML-KEM key (`ML-KEM-768+A192KW`), as newer CoCo clients offer it.
    Akp,
    /// JWE to an EC or RSA key: whoever records it opens it with a quantum computer. Only where it is written out.
    Classical,
    /// HPKE to an X-Wing or MLKEM1024-P384 key: this project's guests.
    Hpke,
}

impl Wrap {
    /// The word of the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Akp => "akp",
            Self::Classical => "classical",
            Self::Hpke => "hpke",
        }
    }
}

/// Under which conditions a key is released. Canonical JSON with every member written out; `policy_digest` is SHA-384 of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPolicy {
    /// Whether simulated guests get the key. Fixed when the key is made.
    pub allow_simulated: bool,
    /// What is asked of the guest's evidence.
    pub appraisal: AppraisalPolicy,
    /// How long a wrap may be opened after the decision, in seconds: 1 to 300.
    pub grant_lifetime_s: u64,
    /// Version of the image behind each reference value of `appraisal`, by the reference's name: 1 to 2^53 - 1. A reference
    /// that is not named here has no version.
    pub image_versions: BTreeMap<Name, u64>,
    /// How many grants there may ever be for one version of the key: 1 to 2^53 - 1.
    pub max_uses: u64,
    /// Images of a lower version do not get the key; 0 asks for none. It only goes up in the life of a key, and so does the
    /// newest version that the key was granted to.
    pub minimum_image_version: u64,
    /// Last second in which the key is released, Unix seconds.
    pub not_after: u64,
    /// First second in which the key is released, Unix seconds; 0 is always.
    pub not_before: u64,
    /// A Rego module (`package policy`, rule `allow`) that must allow the release as well, or `null`. It only narrows.
    #[serde(deserialize_with = "Option::deserialize")]
    pub rego: Option<String>,
    /// Weights root (64 hex digits) or store id that the key is for.
    pub subject: Name,
    /// Whose key it is: the key id's repository.
    pub tenant: Name,
    /// The ways in which the secret may travel, ascending.
    pub wrap: Vec<Wrap>,
}

/// Members that documents of before tenants and image versions lack, with what to write to keep what they meant.
const LATER_MEMBERS: [(&str, &str); 7] = [
    ("image_versions", "{} or a version for each reference's name"),
    ("minimum_image_version", "0 or the lowest version"),
    ("not_before", "0 or the first second"),
    ("rego", "null or a module's text"),
    ("subject", "the weights root or store id"),
    ("tenant", "the key id's repository"),
    ("wrap", "[\"hpke\"] or more ways"),
];

impl KeyPolicy {
    /// Reads the canonical form and checks every value.
    ///
    /// # Errors
    /// [`KeyPolicyError`]. A document that lacks members is told which, and what to write.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyPolicyError> {
        let policy: Self = jcs::from_slice("key policy", bytes, POLICY_BYTES_MAX).map_err(|e| missing(bytes, e))?;
        policy.check()?;
        Ok(policy)
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

    /// Checks that this may be the policy of `key_id`.
    ///
    /// # Errors
    /// [`KeyPolicyError::Tenant`] if the key belongs to another tenant.
    pub fn check_for(&self, key_id: &KeyId) -> Result<(), KeyPolicyError> {
        let expected = key_id.repository();
        if self.tenant != *expected {
            return Err(KeyPolicyError::Tenant {
                expected: expected.clone(),
                got: self.tenant.clone(),
            });
        }
        Ok(())
    }

    /// When a grant made at `now` ends.
    pub(crate) fn grant_not_after(&self, now: UnixTime) -> u64 {
        now.0.saturating_add(self.grant_lifetime_s).min(self.not_after)
    }
}

/// The refusal of a document that is an object and lacks members, in words that help; any other error as it is.
fn missing(bytes: &[u8], e: JcsError) -> KeyPolicyError {
    let Ok(serde_json::Value::Object(members)) = serde_json::from_slice(bytes) else {
        return e.into();
    };
    let lacking = |(name, _): &&(&'static str, &'static str)| !members.contains_key(*name);
    let add: Vec<_> = LATER_MEMBERS.iter().filter(lacking).collect();
    if matches!(e, JcsError::TooLarge { .. }) || add.is_empty() {
        return e.into();
    }
    KeyPolicyError::Missing {
        add: add
            .iter()
            .map(|(name, what)| format!("\"{name}\": {what}"))
            .collect::<Vec<_>>()
            .join("; "),
    }
}
