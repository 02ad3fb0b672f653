//! `release.json`: a manifest with all that is needed to check it offline.

use hanzo_attestation::{Digest256, jcs};
use serde::{Deserialize, Serialize};

use super::error::ReleaseError;
use super::manifest::ReleaseManifest;

/// What `type` says.
pub const BUNDLE_TYPE: &str = "hanzo.release-bundle.v1";
/// Longest bundle in bytes.
pub const BUNDLE_BYTES_MAX: usize = 4 * 1024 * 1024;

const WHAT: &str = "release bundle";
const ROTATIONS_MAX: usize = 16;
const SIGNATURES_MAX: usize = 16;
const PATH_MAX: usize = 64;

/// A release with its signatures, the manifests that handed over to the keys that made them, and the log's proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseBundle {
    /// The log's head: a signed note over a dated checkpoint.
    pub checkpoint: String,
    /// The release.
    pub release: ReleaseEntry,
    /// Earlier manifests that named new keys, oldest first; `[]` while the pinned keys sign.
    pub rotations: Vec<ReleaseEntry>,
    /// [`BUNDLE_TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
}

/// A manifest, who signed it, and where it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseEntry {
    /// Its number in the log, from 0.
    pub index: u64,
    /// The manifest.
    pub manifest: ReleaseManifest,
    /// Hashes from its leaf to the head's root.
    pub path: Vec<Digest256>,
    /// Signatures over the manifest's canonical form.
    pub signatures: Vec<ReleaseSignature>,
}

/// Both signatures of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseSignature {
    /// Ed25519, lower-case hex.
    pub ed25519: String,
    /// The key's id.
    pub key: Digest256,
    /// ML-DSA-65, lower-case hex.
    pub ml_dsa: String,
}

impl ReleaseBundle {
    /// Reads the canonical form; nothing is verified.
    ///
    /// # Errors
    /// [`ReleaseError::Malformed`], [`ReleaseError::Value`], [`ReleaseError::Key`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReleaseError> {
        let bundle: Self =
            jcs::from_slice_bounded(WHAT, bytes, BUNDLE_BYTES_MAX).map_err(|e| ReleaseError::of_json(WHAT, &e))?;
        let wrong = |field, expected, got| Err(ReleaseError::Value { field, expected, got });
        if bundle.kind != BUNDLE_TYPE {
            return wrong("type", BUNDLE_TYPE, "another".into());
        }
        if bundle.rotations.len() > ROTATIONS_MAX {
            return wrong("rotations", "at most 16", bundle.rotations.len().to_string());
        }
        for entry in bundle.rotations.iter().chain([&bundle.release]) {
            if entry.signatures.len() > SIGNATURES_MAX {
                return wrong("signatures", "at most 16", entry.signatures.len().to_string());
            }
            if entry.path.len() > PATH_MAX {
                return wrong("path", "at most 64 hashes", entry.path.len().to_string());
            }
            entry.manifest.check()?;
        }
        Ok(bundle)
    }

    /// The canonical form.
    ///
    /// # Errors
    /// [`ReleaseError::Malformed`], never for values of this type.
    pub fn canonical(&self) -> Result<Vec<u8>, ReleaseError> {
        jcs::to_vec(WHAT, self).map_err(|e| ReleaseError::of_json(WHAT, &e))
    }
}
