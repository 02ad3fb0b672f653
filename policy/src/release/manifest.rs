//! The release manifest: what a release is, as its key holders sign it.

use std::collections::BTreeMap;

use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384, jcs};
use serde::{Deserialize, Serialize};

use super::error::ReleaseError;
use super::keys::ReleaseKeys;
use crate::policy::snp::SnpReference;
use crate::policy::tdx::TdxReference;
use crate::policy::tpm::TpmReference;
use crate::policy::{AppraisalPolicy, PolicyError, all_differ};
use crate::tier::PrivacyTier;
use crate::{SnpPolicy, TdxPolicy, TpmPolicy};

/// What `type` says.
pub const MANIFEST_TYPE: &str = "hanzo.release.v1";
/// Longest manifest in bytes.
pub const MANIFEST_BYTES_MAX: usize = 512 * 1024;
/// Longest life of a manifest in seconds: 400 days.
pub const LIFETIME_S_MAX: u64 = 400 * 86_400;

const NUMBER_MAX: u64 = (1 << 53) - 1;
const IMAGES_MAX: usize = 64;
const FILES_MAX: usize = 64;
const CAPABILITIES_MAX: usize = 512;
const SHAPE_WORDS_MAX: usize = 16;
const WHAT: &str = "release manifest";

/// What a release is. Canonical JSON (RFC 8785) of at most 512 KiB with every member written out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseManifest {
    /// All that an image of this release may be able to do, ascending. A guest that can do more is refused.
    pub capabilities: Vec<Name>,
    /// The images, by name, each with its files' digests.
    pub images: Vec<ReleasedImage>,
    /// When it was drafted, Unix seconds.
    pub issued_at: u64,
    /// The lowest version that it may follow on; 0 is any. Whoever holds an older one takes those between first.
    pub minimum_previous_version: u64,
    /// The line of releases.
    pub name: Name,
    /// Who signs the releases after this one, or `null`: the same.
    #[serde(deserialize_with = "Option::deserialize")]
    pub next_keys: Option<ReleaseKeys>,
    /// Last second in which it counts, Unix seconds; at most 400 days after `issued_at`.
    pub not_after: u64,
    /// Which measurements, with which configurations.
    pub references: ReferenceMatrix,
    /// SHA-384 of the software bill of materials.
    pub sbom_sha384: Digest384,
    /// For people: the machine behind a reference, by the reference's name. Nothing here is judged.
    pub shapes: BTreeMap<Name, BTreeMap<Name, Name>>,
    /// [`MANIFEST_TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// Of the line, from 1. It only goes up.
    pub version: u64,
}

/// One image, as `hanzo-image build` made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasedImage {
    /// The outputs that its manifest (`hanzo.image.v1`) names.
    pub files: BTreeMap<Name, ReleasedFile>,
    /// SHA-384 of that manifest.
    pub manifest_sha384: Digest384,
    /// For people.
    pub name: Name,
}

/// Size and digests of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasedFile {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: Digest256,
    /// SHA-384.
    pub sha384: Digest384,
}

/// Reference values by kind of evidence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceMatrix {
    /// SEV-SNP launch digests.
    pub snp: Vec<SnpReference>,
    /// TDX registers.
    pub tdx: Vec<TdxReference>,
    /// PCRs.
    pub tpm: Vec<TpmReference>,
}

impl ReferenceMatrix {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.snp.len() + self.tdx.len() + self.tpm.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of all.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        let snp = self.snp.iter().map(|r| &r.name);
        let tdx = self.tdx.iter().map(|r| &r.name);
        snp.chain(tdx).chain(self.tpm.iter().map(|r| &r.name))
    }

    /// A policy's own rules for references: how many, each name and each combination of values once, registers that count.
    fn check(&self) -> Result<(), ReleaseError> {
        let policy = AppraisalPolicy::closed(PrivacyTier::Open)
            .with_snp(SnpPolicy {
                references: self.snp.clone(),
                ..SnpPolicy::closed()
            })
            .with_tdx(TdxPolicy {
                references: self.tdx.clone(),
                ..TdxPolicy::closed()
            })
            .with_tpm(TpmPolicy {
                references: self.tpm.clone(),
                ..TpmPolicy::closed()
            });
        policy.check().map_err(|e| match e {
            PolicyError::Value { field, expected, got } => ReleaseError::Value { field, expected, got },
            other => ReleaseError::Value {
                field: "references",
                expected: "references that a policy can hold",
                got: other.to_string(),
            },
        })
    }
}

impl ReleaseManifest {
    /// Reads the canonical form and checks every value.
    ///
    /// # Errors
    /// [`ReleaseError::Malformed`], [`ReleaseError::Value`], [`ReleaseError::Key`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReleaseError> {
        let manifest: Self =
            jcs::from_slice_bounded(WHAT, bytes, MANIFEST_BYTES_MAX).map_err(|e| ReleaseError::of_json(WHAT, &e))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The canonical form: what the release keys sign, under the domain `hanzo/release-manifest/v1`.
    ///
    /// # Errors
    /// [`ReleaseError::Malformed`] if it is longer than a reader accepts.
    pub fn canonical(&self) -> Result<Vec<u8>, ReleaseError> {
        let bytes = jcs::to_vec(WHAT, self).map_err(|e| ReleaseError::of_json(WHAT, &e))?;
        if bytes.len() > MANIFEST_BYTES_MAX {
            let e = jcs::JcsError::TooLarge {
                what: WHAT,
                limit: MANIFEST_BYTES_MAX,
                got: bytes.len(),
            };
            return Err(ReleaseError::of_json(WHAT, &e));
        }
        Ok(bytes)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`ReleaseError::Value`], [`ReleaseError::Key`].
    pub fn check(&self) -> Result<(), ReleaseError> {
        let ascending = self.capabilities.is_sorted_by(|a, b| a < b);
        let life = self.not_after.checked_sub(self.issued_at);
        let before = self.version.checked_sub(1);
        for (ok, field, expected, got) in [
            (self.kind == MANIFEST_TYPE, "type", MANIFEST_TYPE, "another".to_owned()),
            (
                (1..=NUMBER_MAX).contains(&self.version),
                "version",
                "1 to 2^53 - 1",
                self.version.to_string(),
            ),
            (
                before.is_some_and(|before| self.minimum_previous_version <= before),
                "minimum_previous_version",
                "a lower version, or 0",
                self.minimum_previous_version.to_string(),
            ),
            (
                self.not_after <= NUMBER_MAX && life.is_some_and(|s| (1..=LIFETIME_S_MAX).contains(&s)),
                "not_after",
                "1 s to 400 days after issued_at",
                self.not_after.to_string(),
            ),
            (
                ascending && self.capabilities.len() <= CAPABILITIES_MAX,
                "capabilities",
                "at most 512 names, ascending, each once",
                format!("{} names", self.capabilities.len()),
            ),
            (
                (1..=IMAGES_MAX).contains(&self.images.len())
                    && all_differ(self.images.iter().map(|i| &i.name).collect()),
                "images",
                "1 to 64, each name once",
                format!("{} images", self.images.len()),
            ),
            (
                self.images.iter().all(|i| (1..=FILES_MAX).contains(&i.files.len())),
                "images.files",
                "1 to 64 files of each image",
                "another number".into(),
            ),
            (
                self.images
                    .iter()
                    .flat_map(|i| i.files.values())
                    .all(|f| f.bytes <= NUMBER_MAX),
                "images.files.bytes",
                "below 2^53",
                "more".into(),
            ),
        ] {
            holds(ok, field, expected, got)?;
        }
        self.references.check()?;
        let known = |name| self.references.names().any(|n| n == name);
        holds(
            self.shapes
                .iter()
                .all(|(name, words)| known(name) && words.len() <= SHAPE_WORDS_MAX),
            "shapes",
            "names of references, at most 16 words each",
            "another name, or more words".to_owned(),
        )?;
        self.next_keys.as_ref().map_or(Ok(()), ReleaseKeys::check)
    }

    /// SHA-384 of the canonical form.
    ///
    /// # Errors
    /// As [`ReleaseManifest::canonical`].
    pub fn digest(&self) -> Result<Digest384, ReleaseError> {
        Ok(Digest384::of(&self.canonical()?))
    }

    /// The log's entry for it: small, readable, and of no other log's form.
    ///
    /// # Errors
    /// As [`ReleaseManifest::canonical`].
    pub fn log_entry(&self) -> Result<Vec<u8>, ReleaseError> {
        let entry = LogEntry {
            manifest_sha384: self.digest()?,
            name: &self.name,
            purpose: "hanzo.release-entry.v1",
            version: self.version,
        };
        jcs::to_vec("release entry", &entry).map_err(|e| ReleaseError::of_json("release entry", &e))
    }
}

/// A leaf of the release log.
#[derive(Serialize)]
struct LogEntry<'a> {
    manifest_sha384: Digest384,
    name: &'a Name,
    purpose: &'static str,
    version: u64,
}

fn holds(ok: bool, field: &'static str, expected: &'static str, got: String) -> Result<(), ReleaseError> {
    match ok {
        true => Ok(()),
        false => Err(ReleaseError::Value { field, expected, got }),
    }
}
