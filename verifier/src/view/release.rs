//! What is worth showing of a release.

use hanzo_policy::release::VerifiedRelease;
use serde::Serialize;

/// A release that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReleaseView {
    /// The line.
    pub name: String,
    /// The version.
    pub version: u64,
    /// SHA-384 of the manifest.
    pub manifest_sha384: String,
    /// SHA-384 of the bill of materials.
    pub sbom_sha384: String,
    /// Who signed.
    pub signers: Vec<String>,
    /// How many had to.
    pub threshold: u8,
    /// How many could have.
    pub keys: usize,
    /// Last second of the manifest, Unix seconds.
    pub not_after: u64,
    /// The log.
    pub log: String,
    /// Entries under the head that it was proven under.
    pub log_size: u64,
    /// When the log signed that head, Unix seconds.
    pub head_time: u64,
    /// Who else saw that head: 0 says nothing about split views.
    pub witnesses: u32,
}

impl ReleaseView {
    pub(super) fn of(release: &VerifiedRelease) -> Self {
        let (manifest, head) = (release.manifest(), release.head());
        Self {
            name: manifest.name.to_string(),
            version: manifest.version,
            manifest_sha384: release.digest().to_string(),
            sbom_sha384: manifest.sbom_sha384.to_string(),
            signers: release.signers().iter().map(ToString::to_string).collect(),
            threshold: release.keys().threshold,
            keys: release.keys().keys.len(),
            not_after: manifest.not_after,
            log: head.checkpoint().checkpoint().origin.to_string(),
            log_size: head.checkpoint().size(),
            head_time: head.time().0,
            witnesses: release.witnesses(),
        }
    }
}
