//! Blobs as documents: canonical JSON (RFC 8785) that names its format.

use std::path::Path;

use hanzo_attestation::jcs;
use hanzo_vault::Root;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::RootError;
use crate::file;

const BYTES_MAX: usize = 16 * 1024;

/// A document with a `format` member.
pub(crate) trait Document: Serialize + DeserializeOwned {
    /// What it is, for errors.
    const WHAT: &'static str;
    /// Name and version of the format.
    const FORMAT: &'static str;

    /// The member.
    fn format(&self) -> &str;

    /// Reads a private file.
    fn read(path: &Path) -> Result<Self, RootError> {
        let bytes = file::read_private(Self::WHAT, path, BYTES_MAX)?;
        let document: Self = jcs::from_slice(Self::WHAT, &bytes, BYTES_MAX).map_err(|source| RootError::Malformed {
            path: path.to_owned(),
            source,
        })?;
        match document.format() == Self::FORMAT {
            true => Ok(document),
            false => Err(RootError::Format {
                path: path.to_owned(),
                expected: Self::FORMAT,
            }),
        }
    }

    /// Writes a new private file.
    fn write_new(&self, path: &Path) -> Result<(), RootError> {
        let bytes = zeroize::Zeroizing::new(jcs::to_vec(Self::WHAT, self)?);
        file::write_new(path, &bytes)
    }
}

/// Lower-case hex of exactly `N` bytes.
pub(crate) fn bytes<const N: usize>(path: &Path, field: &'static str, text: &str) -> Result<[u8; N], RootError> {
    let mut out = [0; N];
    let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match lower && hex::decode_to_slice(text, &mut out).is_ok() {
        true => Ok(out),
        false => Err(RootError::Shape {
            what: field,
            path: path.to_owned(),
            expected: "lower-case hex of the format's length",
            got: format!("{} characters", text.len()),
        }),
    }
}

/// Lower-case hex of at most `bytes_max` bytes.
pub(crate) fn some_bytes(path: &Path, field: &'static str, text: &str, bytes_max: usize) -> Result<Vec<u8>, RootError> {
    let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let refused = || RootError::Shape {
        what: field,
        path: path.to_owned(),
        expected: "lower-case hex",
        got: format!("{} characters", text.len()),
    };
    if !lower || text.len() > 2 * bytes_max {
        return Err(refused());
    }
    hex::decode(text).map_err(|_| refused())
}

/// Makes a root of what a provider opened, and compares it with the commitment that was written beside it.
pub(crate) fn committed(what: &Path, opened: &[u8], commitment: &str) -> Result<Root, RootError> {
    let refused = || RootError::Commitment {
        what: what.display().to_string(),
    };
    let root = Root::from_slice(opened).map_err(|_| refused())?;
    match hex::encode(root.commitment()?) == commitment {
        true => Ok(root),
        false => Err(refused()),
    }
}
