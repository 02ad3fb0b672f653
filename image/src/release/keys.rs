//! Key files of release key holders and of the release log.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use hanzo_attestation::jcs;
use hanzo_attestation::name::Name;
use hanzo_log::{LogKey, LogVerifier, Origin};
use hanzo_policy::release::{ReleaseKey, ReleaseKeys};
use hanzo_pqc::SignatureSuite;
use hanzo_pqc::sign::{NoteSigningKeys, SEED_LEN, SigningKeys};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{ReleaseToolError, read};
use crate::ImageError;

const SUITE: SignatureSuite = SignatureSuite::MlDsa65Ed25519;
const KEY_BYTES_MAX: u64 = 4096;
const DOCUMENT_BYTES_MAX: u64 = 512 * 1024;

/// A secret key on the disk: canonical JSON of mode 0600.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    /// The holder's name, or the log's origin.
    name: String,
    /// 64 bytes in lower-case hex: ML-DSA xi, then the Ed25519 seed.
    seed: String,
    #[serde(rename = "type")]
    kind: Kind,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// What a key signs, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    #[serde(rename = "hanzo.release-key.v1")]
    Release,
    #[serde(rename = "hanzo.release-log-key.v1")]
    Log,
}

/// A holder's keys.
pub struct Holder {
    /// Sign manifests alone.
    pub keys: SigningKeys,
    /// What policies pin.
    pub public: ReleaseKey,
}

/// The log's keys.
pub struct LogHolder {
    /// Sign heads alone.
    pub keys: NoteSigningKeys,
    /// What policies pin.
    pub verifier: LogVerifier,
}

/// Draws a release key. The secret goes into a new file of mode 0600.
///
/// # Errors
/// [`ImageError`]; an existing file is never replaced.
pub fn make_release_key(name: &Name, path: &Path) -> Result<ReleaseKey, ImageError> {
    let seed = draw()?;
    let holder = holder(name.clone(), &seed)?;
    store(path, Kind::Release, name.as_str(), &seed)?;
    Ok(holder.public)
}

/// Draws a log's key.
///
/// # Errors
/// As [`make_release_key`].
pub fn make_log_key(origin: &Origin, path: &Path) -> Result<LogKey, ImageError> {
    let seed = draw()?;
    let holder = log_holder(origin.clone(), &seed)?;
    store(path, Kind::Log, origin.as_str(), &seed)?;
    Ok(holder.verifier.key())
}

/// Reads a holder's key.
///
/// # Errors
/// [`ReleaseToolError::Exposed`], [`ReleaseToolError::File`].
pub fn release_key(path: &Path) -> Result<Holder, ImageError> {
    let (name, seed) = load(path, Kind::Release, "a release key of `hanzo-image release keygen`")?;
    let name = Name::new(&name).map_err(|e| file(path, "a name", e))?;
    holder(name, &seed)
}

/// Reads the log's key.
///
/// # Errors
/// As [`release_key`].
pub fn log_key(path: &Path) -> Result<LogHolder, ImageError> {
    let (origin, seed) = load(path, Kind::Log, "a log key of `hanzo-image release keygen --log`")?;
    let origin = Origin::new(&origin).map_err(|e| file(path, "an origin", e))?;
    log_holder(origin, &seed)
}

/// Puts public keys together, each from the file that `keygen` wrote beside the secret.
///
/// # Errors
/// [`ReleaseToolError::File`]; [`hanzo_policy::release::ReleaseError`] for a set that is none.
pub fn key_set(paths: &[std::path::PathBuf], threshold: u8) -> Result<ReleaseKeys, ImageError> {
    let one = |path: &std::path::PathBuf| document::<ReleaseKey>(path, "the public part of a release key");
    let set = ReleaseKeys {
        keys: paths.iter().map(one).collect::<Result<_, _>>()?,
        threshold,
    };
    set.check().map_err(ReleaseToolError::from)?;
    Ok(set)
}

/// Reads a canonical JSON document, of which a final newline is no part.
///
/// # Errors
/// [`ReleaseToolError::File`].
pub(crate) fn document<T: serde::de::DeserializeOwned + Serialize>(
    path: &Path,
    expected: &'static str,
) -> Result<T, ImageError> {
    let bytes = read(path, DOCUMENT_BYTES_MAX)?;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    jcs::from_slice(expected, bytes, DOCUMENT_BYTES_MAX as usize).map_err(|e| file(path, expected, e))
}

fn file(path: &Path, expected: &'static str, got: impl std::fmt::Display) -> ImageError {
    ImageError::Release(ReleaseToolError::File {
        path: path.to_owned(),
        expected,
        got: got.to_string(),
    })
}

fn draw() -> Result<Zeroizing<[u8; SEED_LEN]>, ImageError> {
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    hanzo_pqc::random::fill(seed.as_mut_slice()).map_err(ReleaseToolError::from)?;
    Ok(seed)
}

fn holder(name: Name, seed: &[u8; SEED_LEN]) -> Result<Holder, ImageError> {
    let keys = SigningKeys::from_seed(SUITE, seed).map_err(ReleaseToolError::from)?;
    let public = ReleaseKey {
        ed25519: keys.verifying_keys().ed25519_hex(),
        ml_dsa: keys.verifying_keys().ml_dsa_hex(),
        name,
    };
    Ok(Holder { keys, public })
}

fn log_holder(origin: Origin, seed: &[u8; SEED_LEN]) -> Result<LogHolder, ImageError> {
    let keys = NoteSigningKeys::from_seed(SUITE, seed).map_err(ReleaseToolError::from)?;
    let verifier = LogVerifier::new(origin, keys.verifying_keys().clone());
    Ok(LogHolder { keys, verifier })
}

fn store(path: &Path, kind: Kind, name: &str, seed: &[u8; SEED_LEN]) -> Result<(), ImageError> {
    let failed = ImageError::io(path);
    let key = KeyFile {
        name: name.to_owned(),
        seed: hex::encode(seed),
        kind,
    };
    let bytes = Zeroizing::new(jcs::to_vec("key file", &key)?);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(&failed)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(&failed)
}

fn load(path: &Path, kind: Kind, expected: &'static str) -> Result<(String, Zeroizing<[u8; SEED_LEN]>), ImageError> {
    let failed = ImageError::io(path);
    let mode = std::fs::metadata(path).map_err(&failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(ReleaseToolError::Exposed {
            path: path.to_owned(),
            mode,
        }
        .into());
    }
    let bytes = Zeroizing::new(read(path, KEY_BYTES_MAX)?);
    // The reason would quote the file.
    let wrong = || file(path, expected, "something else");
    let key: KeyFile = jcs::from_slice(expected, &bytes, KEY_BYTES_MAX as usize).map_err(|_| wrong())?;
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    hex::decode_to_slice(&key.seed, seed.as_mut_slice()).map_err(|_| wrong())?;
    match key.kind == kind {
        true => Ok((key.name.clone(), seed)),
        false => Err(wrong()),
    }
}
