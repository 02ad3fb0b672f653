//! Signatures: one holder at a time, offline; then a quorum of them together.

use std::path::Path;

use hanzo_attestation::jcs;
use hanzo_policy::release::{ReleaseEntry, ReleaseKeys, ReleaseManifest, ReleaseSignature};
use hanzo_pqc::Domain;
use serde::{Deserialize, Serialize};

use super::keys::{Holder, document};
use super::{ReleaseToolError, read, write};
use crate::ImageError;

/// What `type` says.
const SIGNED_TYPE: &str = "hanzo.signed-release.v1";

/// A manifest that a quorum signed and no log holds yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedRelease {
    /// The manifest.
    pub manifest: ReleaseManifest,
    /// Its signatures.
    pub signatures: Vec<ReleaseSignature>,
    /// `hanzo.signed-release.v1`.
    #[serde(rename = "type")]
    kind: String,
}

/// Reads a manifest.
///
/// # Errors
/// [`hanzo_policy::release::ReleaseError`].
pub fn manifest(path: &Path) -> Result<ReleaseManifest, ImageError> {
    let bytes = read(path, hanzo_policy::release::MANIFEST_BYTES_MAX as u64)?;
    Ok(ReleaseManifest::parse(&bytes).map_err(ReleaseToolError::from)?)
}

/// Signs a manifest with one holder's keys.
///
/// # Errors
/// [`ReleaseToolError::Crypto`].
pub fn sign(manifest: &ReleaseManifest, holder: &Holder) -> Result<ReleaseSignature, ImageError> {
    let message = manifest.canonical().map_err(ReleaseToolError::from)?;
    let signature = holder
        .keys
        .sign(Domain::ReleaseManifest, &message)
        .map_err(ReleaseToolError::from)?;
    Ok(ReleaseSignature {
        ed25519: signature.ed25519_hex(),
        key: holder.public.id(),
        ml_dsa: signature.ml_dsa_hex(),
    })
}

/// Puts signatures under a manifest; a quorum of `keys` must be among them.
///
/// # Errors
/// [`hanzo_policy::release::ReleaseError`]: too few, one twice, one that does not verify.
pub fn assemble(
    manifest: ReleaseManifest,
    signatures: Vec<ReleaseSignature>,
    keys: &ReleaseKeys,
) -> Result<SignedRelease, ImageError> {
    let entry = ReleaseEntry {
        index: 0,
        path: Vec::new(),
        manifest,
        signatures,
    };
    entry.check_quorum(keys).map_err(ReleaseToolError::from)?;
    Ok(SignedRelease {
        manifest: entry.manifest,
        signatures: entry.signatures,
        kind: SIGNED_TYPE.to_owned(),
    })
}

/// Reads a signature file.
///
/// # Errors
/// [`ReleaseToolError::File`].
pub fn signature(path: &Path) -> Result<ReleaseSignature, ImageError> {
    document(path, "a signature of `hanzo-image release sign`")
}

impl SignedRelease {
    /// Reads what `assemble` wrote.
    ///
    /// # Errors
    /// [`ReleaseToolError::File`], [`hanzo_policy::release::ReleaseError`].
    pub fn load(path: &Path) -> Result<Self, ImageError> {
        let signed: Self = document(path, "a signed release of `hanzo-image release assemble`")?;
        if signed.kind != SIGNED_TYPE {
            return Err(ReleaseToolError::File {
                path: path.to_owned(),
                expected: SIGNED_TYPE,
                got: "another type".into(),
            }
            .into());
        }
        signed.manifest.check().map_err(ReleaseToolError::from)?;
        Ok(signed)
    }
}

/// Writes a document in canonical form.
///
/// # Errors
/// [`ImageError::Io`], [`ImageError::NoSpace`].
pub fn store<T: Serialize>(path: &Path, what: &'static str, value: &T) -> Result<(), ImageError> {
    write(path, &jcs::to_vec(what, value)?)
}
