//! From a bundle to reference values that count.

use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest384, UnixTime};
use hanzo_log::{AuthenticDatedCheckpoint, SignedDatedCheckpoint, tree};
use hanzo_pqc::Domain;
use serde::{Deserialize, Serialize};

use super::bundle::{ReleaseBundle, ReleaseEntry};
use super::error::ReleaseError;
use super::is_ahead;
use super::keys::ReleaseKeys;
use super::manifest::ReleaseManifest;
use crate::policy::release::ReleasePolicy;
use crate::policy::{AppraisalPolicy, FORMAT_VERSION};

/// A release that a quorum signed and the log holds. Time was not looked at yet: [`VerifiedRelease::apply`] does, each time.
///
/// Only [`ReleaseBundle::verify`] makes one:
/// ```compile_fail,E0451
/// use hanzo_policy::release::{ReleaseManifest, VerifiedRelease};
/// fn forge(old: VerifiedRelease, manifest: ReleaseManifest) -> VerifiedRelease {
///     VerifiedRelease { manifest, ..old }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRelease {
    manifest: ReleaseManifest,
    digest: Digest384,
    asked: ReleasePolicy,
    signers: Vec<Name>,
    keys: ReleaseKeys,
    head: AuthenticDatedCheckpoint,
}

/// What a relying party keeps of the newest release that it took, so as never to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastSeen {
    /// SHA-384 of the manifest.
    pub manifest_sha384: Digest384,
    /// Its version.
    pub version: u64,
}

impl ReleaseBundle {
    /// Checks quorum, rotations, the log's head and the proofs under it.
    ///
    /// # Establishes
    /// See the module's text, apart from time.
    ///
    /// # Errors
    /// [`ReleaseError`], the first that applies.
    pub fn verify(&self, asked: &ReleasePolicy) -> Result<VerifiedRelease, ReleaseError> {
        asked.check()?;
        let head = SignedDatedCheckpoint::parse(self.checkpoint.as_bytes())?.verify(&asked.log.verifier()?)?;
        let mut keys = asked.keys();
        let mut before = 0;
        for entry in &self.rotations {
            entry.verify(&keys, asked, &head, before)?;
            before = entry.manifest.version;
            keys = entry.manifest.next_keys.clone().ok_or(ReleaseError::Rotation {
                version: before,
                what: "a manifest that names no new keys stands among the rotations",
            })?;
        }
        let signers = self.release.verify(&keys, asked, &head, before)?;
        let manifest = self.release.manifest.clone();
        if manifest.version < asked.minimum_version {
            return Err(ReleaseError::TooOld {
                minimum: asked.minimum_version,
                got: manifest.version,
            });
        }
        Ok(VerifiedRelease {
            digest: manifest.digest()?,
            manifest,
            asked: asked.clone(),
            signers,
            keys,
            head,
        })
    }
}

impl ReleaseEntry {
    /// The names of those who signed, in the order of the key set.
    fn verify(
        &self,
        keys: &ReleaseKeys,
        asked: &ReleasePolicy,
        head: &AuthenticDatedCheckpoint,
        before: u64,
    ) -> Result<Vec<Name>, ReleaseError> {
        let manifest = &self.manifest;
        manifest.check()?;
        if manifest.name != asked.name {
            return Err(ReleaseError::Line {
                expected: asked.name.clone(),
                got: manifest.name.clone(),
            });
        }
        if manifest.version <= before {
            return Err(ReleaseError::Rotation {
                version: manifest.version,
                what: "expected a higher version than that of the rotation before it",
            });
        }
        let signers = self.check_quorum(keys)?;
        let checkpoint = head.checkpoint();
        let leaf = tree::leaf_hash(&[&manifest.log_entry()?]);
        tree::verify_inclusion(leaf, self.index, checkpoint.size(), &self.path, &checkpoint.root())?;
        Ok(signers)
    }

    /// The names of those of `keys` who signed. Every signature of theirs must verify; those of other keys are passed over
    /// and do not count.
    ///
    /// # Errors
    /// [`ReleaseError::Quorum`], [`ReleaseError::Repeated`], [`ReleaseError::Signature`].
    pub fn check_quorum(&self, keys: &ReleaseKeys) -> Result<Vec<Name>, ReleaseError> {
        let message = self.manifest.canonical()?;
        let version = self.manifest.version;
        keys.quorum(Domain::ReleaseManifest, version, &message, &self.signatures)
    }
}

impl VerifiedRelease {
    /// The policy in force at `now`: the one that asked for this release, with the release's references in it.
    ///
    /// A kind of evidence without a table in the policy stays without: a release admits nothing by itself.
    ///
    /// # Errors
    /// [`ReleaseError::Missing`] if it was verified under another policy's table; as [`VerifiedRelease::check_time`].
    pub fn apply(&self, policy: &AppraisalPolicy, now: UnixTime) -> Result<AppraisalPolicy, ReleaseError> {
        if policy.release.as_ref() != Some(&self.asked) {
            return Err(ReleaseError::Missing {
                expected: policy.release.as_ref().unwrap_or(&self.asked).name.clone(),
            });
        }
        self.check_time(now)?;
        let mut out = policy.clone();
        out.release = None;
        out.version = FORMAT_VERSION;
        let from = &self.manifest.references;
        if let Some(table) = &mut out.snp {
            table.references.clone_from(&from.snp);
        }
        if let Some(table) = &mut out.tdx {
            table.references.clone_from(&from.tdx);
        }
        if let Some(table) = &mut out.tpm {
            table.references.clone_from(&from.tpm);
        }
        Ok(out)
    }

    /// Checks that the manifest is alive at `now` and that the log's head is no older than the policy allows.
    ///
    /// # Errors
    /// [`ReleaseError::NotYet`], [`ReleaseError::Expired`], [`ReleaseError::Stale`], [`ReleaseError::Future`].
    pub fn check_time(&self, now: UnixTime) -> Result<(), ReleaseError> {
        let (version, time) = (self.manifest.version, self.head.time().0);
        let (issued_at, not_after) = (self.manifest.issued_at, self.manifest.not_after);
        let now_s = now.0;
        if is_ahead(issued_at, now) {
            return Err(ReleaseError::NotYet {
                version,
                issued_at,
                now: now_s,
            });
        }
        if now_s > not_after {
            return Err(ReleaseError::Expired {
                version,
                not_after,
                now: now_s,
            });
        }
        if is_ahead(time, now) {
            return Err(ReleaseError::Future { time, now: now_s });
        }
        let max_age_s = self.asked.max_age_s;
        if now_s.saturating_sub(time) > max_age_s {
            return Err(ReleaseError::Stale {
                time,
                max_age_s,
                now: now_s,
            });
        }
        Ok(())
    }

    /// Checks that a guest can do nothing that no image of this release may.
    ///
    /// # Errors
    /// [`ReleaseError::Capability`] with the first that is outside the bound.
    pub fn check_capabilities(&self, capabilities: &[Name]) -> Result<(), ReleaseError> {
        let allowed = |name: &&Name| self.manifest.capabilities.binary_search(name).is_ok();
        match capabilities.iter().find(|name| !allowed(name)) {
            None => Ok(()),
            Some(got) => Err(ReleaseError::Capability {
                version: self.manifest.version,
                got: got.clone(),
            }),
        }
    }

    /// Checks that it may be taken after `last`: it is the same, or newer and not too far.
    ///
    /// # Errors
    /// [`ReleaseError::RolledBack`], [`ReleaseError::Forked`], [`ReleaseError::Gap`].
    pub fn may_follow(&self, last: &LastSeen) -> Result<(), ReleaseError> {
        let (version, seen) = (self.manifest.version, last.version);
        if version < seen {
            return Err(ReleaseError::RolledBack { seen, got: version });
        }
        if version == seen {
            return match self.digest == last.manifest_sha384 {
                true => Ok(()),
                false => Err(ReleaseError::Forked { version }),
            };
        }
        let minimum = self.manifest.minimum_previous_version;
        match seen < minimum {
            true => Err(ReleaseError::Gap { version, minimum, seen }),
            false => Ok(()),
        }
    }

    /// What to keep of it.
    pub fn last_seen(&self) -> LastSeen {
        LastSeen {
            manifest_sha384: self.digest,
            version: self.manifest.version,
        }
    }

    /// Last second in which it counts, as it is: its own end, or that of the head's age.
    pub fn valid_until(&self) -> UnixTime {
        let end_of_age = self.head.time().0.saturating_add(self.asked.max_age_s);
        UnixTime(end_of_age.min(self.manifest.not_after))
    }

    /// The manifest.
    pub fn manifest(&self) -> &ReleaseManifest {
        &self.manifest
    }

    /// SHA-384 of the manifest's canonical form.
    pub fn digest(&self) -> Digest384 {
        self.digest
    }

    /// Who signed, by the names of the key set.
    pub fn signers(&self) -> &[Name] {
        &self.signers
    }

    /// The key set that signed: the pinned one, or the one that the last rotation named.
    pub fn keys(&self) -> &ReleaseKeys {
        &self.keys
    }

    /// The log's head that it was proven under.
    pub fn head(&self) -> &AuthenticDatedCheckpoint {
        &self.head
    }

    /// How many witnesses saw that head too: this version knows none.
    pub fn witnesses(&self) -> u32 {
        0
    }
}
