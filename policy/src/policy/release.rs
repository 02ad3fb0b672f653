//! Which releases count: the table `[release]`.

use hanzo_attestation::name::Name;
use hanzo_log::LogKey;
use serde::{Deserialize, Serialize};

use crate::release::{ReleaseError, ReleaseKey, ReleaseKeys};

use super::check::holds;
use super::error::PolicyError;
use super::{AppraisalPolicy, RELEASE_FORMAT_VERSION};

/// Oldest head of a release log that any policy accepts: 90 days.
const AGE_S_MAX: u64 = 90 * 86_400;
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// Which releases count. The policy's references then come from the release and from nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasePolicy {
    /// The release keys.
    pub keys: Vec<ReleaseKey>,
    /// The log that the release must stand in.
    pub log: LogKey,
    /// How old the log's head may be, in seconds: 1 to 7,776,000 (90 days).
    pub max_age_s: u64,
    /// Lower versions are refused; from 1.
    pub minimum_version: u64,
    /// The line of releases.
    pub name: Name,
    /// How many keys must have signed: 2 to as many as there are.
    pub threshold: u8,
}

impl ReleasePolicy {
    /// The pinned keys as a set.
    pub fn keys(&self) -> ReleaseKeys {
        ReleaseKeys {
            keys: self.keys.clone(),
            threshold: self.threshold,
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`ReleaseError::Value`], [`ReleaseError::Key`], [`ReleaseError::Log`].
    pub fn check(&self) -> Result<(), ReleaseError> {
        crate::release::check_keys(&self.keys, self.threshold)?;
        for (ok, field, expected, got) in [
            (
                (1..=AGE_S_MAX).contains(&self.max_age_s),
                "max_age_s",
                "1 to 7776000",
                self.max_age_s,
            ),
            (
                (1..=NUMBER_MAX).contains(&self.minimum_version),
                "minimum_version",
                "1 to 2^53 - 1",
                self.minimum_version,
            ),
        ] {
            if !ok {
                return Err(ReleaseError::Value {
                    field,
                    expected,
                    got: got.to_string(),
                });
            }
        }
        self.log.verifier()?;
        Ok(())
    }

    /// As part of a policy: of version 3, and without references of its own.
    pub(super) fn check_in(&self, policy: &AppraisalPolicy) -> Result<(), PolicyError> {
        self.check().map_err(|e| PolicyError::Value {
            field: "release",
            expected: "pinned keys, a threshold, a log and bounds as policy/SPEC.md says",
            got: e.to_string(),
        })?;
        holds(
            policy.version == RELEASE_FORMAT_VERSION,
            "version",
            "3 with a table [release]",
            policy.version.to_string(),
        )?;
        let snp = policy.snp.as_ref().map_or(0, |t| t.references.len());
        let tdx = policy.tdx.as_ref().map_or(0, |t| t.references.len());
        let tpm = policy.tpm.as_ref().map_or(0, |t| t.references.len());
        holds(
            snp + tdx + tpm == 0,
            "references",
            "none with a table [release]: they come from the release",
            (snp + tdx + tpm).to_string(),
        )
    }
}
