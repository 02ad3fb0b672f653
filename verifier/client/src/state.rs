//! What a client keeps on disk: its owner secret, the bundles it verified and the receipts it got. Never a prompt or an
//! answer.
//!
//! # Layout
//! Directories 0700, files 0600, every file written whole and renamed into place.
//! - `owner.secret`: 64 lower-case hex digits, drawn once per installation; what guests file receipts under is derived from
//!   it ([`OwnerSecret::for_guest`]);
//! - `bundles/<keyset_digest>.json`: a bundle's exact bytes; `bundles/<keyset_digest>.meta.json`: [`BundleRecord`](crate::receipts::BundleRecord);
//! - `receipts/<id>.json`: [`crate::receipts::ReceiptRecord`];
//! - `releases/<id>.json`: the newest release of a line that was taken.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hanzo_attestation::{Digest256, Digest384};
use hyper::header::HeaderValue;
use zeroize::Zeroizing;

use crate::pinned::Pinned;

/// Why state could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system said no.
    #[error("state: {action} {path}: {source} (another directory can be given with --state)")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others could read or change it.
    #[error(
        "state: {path}: mode is {got:04o}, expected {expected:04o}: run `chmod {expected:o} {path}` after checking who could read it"
    )]
    Mode {
        /// Which file or directory.
        path: PathBuf,
        /// Its permission bits.
        got: u32,
        /// What is accepted.
        expected: u32,
    },
    /// The content is not of its format.
    #[error("state: {path}: expected {expected}; move the file away to start anew")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// There is no such record.
    #[error("state: no {what} {id} in {dir}: was it kept in another directory (--state)?")]
    Missing {
        /// `receipt` or `bundle`.
        what: &'static str,
        /// Its id.
        id: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// The id is no id, so no file name is made of it.
    #[error("state: {what} id: expected {digits} lower-case hex digits")]
    Id {
        /// `receipt` or `bundle`.
        what: &'static str,
        /// Length of a right one.
        digits: usize,
    },
    /// The system's random source failed.
    #[error("state: no random bytes for the owner secret")]
    Random,
    /// The key derivation failed.
    #[error("state: nothing could be derived from the owner secret")]
    Derive,
}

impl StateError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "state.io",
            Self::Mode { .. } => "state.mode",
            Self::Content { .. } => "state.content",
            Self::Missing { .. } => "state.missing",
            Self::Id { .. } => "state.id",
            Self::Random => "state.random",
            Self::Derive => "state.derive",
        }
    }
}

/// Domain of the derivation below.
const OWNER_DOMAIN: &[u8] = b"hanzo/owner/v1";

/// The per-installation secret that receipts are fetched with. It never leaves; guests see what is derived for them.
pub struct OwnerSecret(Zeroizing<String>);

impl OwnerSecret {
    /// Draws a new one.
    ///
    /// # Errors
    /// [`StateError::Random`].
    pub fn draw() -> Result<Self, StateError> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        hanzo_pqc::random::fill(bytes.as_mut_slice()).map_err(|_| StateError::Random)?;
        Ok(Self(Zeroizing::new(hex::encode(bytes.as_slice()))))
    }

    /// The `hanzo-owner` value for guests of one measurement and configuration: 64 lower-case hex digits of
    /// HKDF-SHA-384(ikm = secret, no salt, info = domain || measurement || config_digest || simulated). Another guest, above
    /// all a simulated one whose host reads everything, learns nothing that opens or links receipts elsewhere.
    ///
    /// # Errors
    /// [`StateError::Derive`].
    pub fn for_guest(
        &self,
        measurement: &Digest384,
        config_digest: &Digest256,
        simulated: bool,
    ) -> Result<Zeroizing<String>, StateError> {
        let simulated = [u8::from(simulated)];
        let info = [OWNER_DOMAIN, &measurement.0, &config_digest.0, &simulated].concat();
        let mut owner = Zeroizing::new([0_u8; 32]);
        hanzo_pqc::kdf::hkdf_sha384(&[], self.0.as_bytes(), &info, owner.as_mut_slice())
            .map_err(|_| StateError::Derive)?;
        Ok(Zeroizing::new(hex::encode(owner.as_slice())))
    }

    pub(crate) fn header(&self, pinned: &Pinned) -> Result<HeaderValue, StateError> {
        let result = pinned.result();
        let owner = self.for_guest(
            &result.measurement(),
            &pinned.keyset().config_digest,
            result.simulated(),
        )?;
        let mut value = HeaderValue::from_str(&owner).map_err(|_| StateError::Derive)?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn expose(&self) -> &str {
        &self.0
    }
}

/// An open state directory.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
}

/// Largest state file that is read: a bundle is at most 1 MiB.
const FILE_BYTES_MAX: u64 = 4 << 20;

impl StateDir {
    /// `$XDG_STATE_HOME/hanzo`, or `~/.local/state/hanzo`; `None` if neither variable is set.
    pub fn default_path() -> Option<PathBuf> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|base| base.join("hanzo"))
    }

    /// Opens the directory; makes it and its parts if they are missing.
    ///
    /// # Errors
    /// [`StateError`]: not writable, or open to others.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        for dir in [
            root.to_path_buf(),
            root.join("bundles"),
            root.join("receipts"),
            root.join("releases"),
        ] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(|e| io_error("create", &dir, e))?;
            require_mode(&dir, 0o700)?;
        }
        Ok(Self {
            root: root.to_path_buf(),
        })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads the owner secret; draws it at the first start. Two processes that start together agree on one.
    ///
    /// # Errors
    /// [`StateError`]: a file that others can read is refused rather than used.
    pub fn owner(&self) -> Result<OwnerSecret, StateError> {
        let path = self.root.join("owner.secret");
        if !path.exists() {
            let temporary = self.write_temporary(&path, OwnerSecret::draw()?.expose().as_bytes())?;
            let linked = fs::hard_link(&temporary, &path);
            let _ = fs::remove_file(&temporary);
            match linked {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(io_error("create", &path, e)),
                _ => {}
            }
        }
        require_mode(&path, 0o600)?;
        let text = Zeroizing::new(self.read(&path)?);
        let is_secret = text.len() == 64 && text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match std::str::from_utf8(&text) {
            Ok(text) if is_secret => Ok(OwnerSecret(Zeroizing::new(text.to_owned()))),
            _ => Err(StateError::Content {
                path,
                expected: "64 lower-case hex digits",
            }),
        }
    }

    /// Keeps a bundle and the record of how it was verified.
    pub(crate) fn save_bundle(&self, keyset_digest: &str, bundle: &[u8], meta: &[u8]) -> Result<(), StateError> {
        let dir = self.root.join("bundles");
        check_id("bundle", keyset_digest, 96)?;
        self.write(&dir.join(format!("{keyset_digest}.json")), bundle)?;
        self.write(&dir.join(format!("{keyset_digest}.meta.json")), meta)
    }

    /// A kept bundle and its record, as bytes.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn load_bundle(&self, keyset_digest: &str) -> Result<(Vec<u8>, Vec<u8>), StateError> {
        check_id("bundle", keyset_digest, 96)?;
        let dir = self.root.join("bundles");
        let load = |name: String| self.load("bundle", keyset_digest, &dir.join(name));
        Ok((
            load(format!("{keyset_digest}.json"))?,
            load(format!("{keyset_digest}.meta.json"))?,
        ))
    }

    /// Keeps a receipt.
    pub(crate) fn save_receipt(&self, id: &str, record: &[u8]) -> Result<PathBuf, StateError> {
        check_id("receipt", id, 32)?;
        let path = self.root.join("receipts").join(format!("{id}.json"));
        self.write(&path, record)?;
        Ok(path)
    }

    /// A kept receipt, as bytes.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn load_receipt(&self, id: &str) -> Result<Vec<u8>, StateError> {
        check_id("receipt", id, 32)?;
        self.load("receipt", id, &self.root.join("receipts").join(format!("{id}.json")))
    }

    /// Ids of all kept receipts, in order.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn receipt_ids(&self) -> Result<Vec<String>, StateError> {
        let dir = self.root.join("receipts");
        let mut ids = Vec::new();
        for entry in fs::read_dir(&dir).map_err(|e| io_error("read", &dir, e))? {
            let name = entry.map_err(|e| io_error("read", &dir, e))?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            ids.extend(id.filter(|id| check_id("receipt", id, 32).is_ok()).map(str::to_owned));
        }
        ids.sort();
        Ok(ids)
    }

    /// Remembers the newest release of a line.
    pub(crate) fn save_release(&self, line: &Digest256, record: &[u8]) -> Result<(), StateError> {
        self.write(&self.root.join("releases").join(format!("{line}.json")), record)
    }

    /// What is remembered of a line, and where.
    pub(crate) fn load_release(&self, line: &Digest256) -> Result<Option<(PathBuf, Vec<u8>)>, StateError> {
        let path = self.root.join("releases").join(format!("{line}.json"));
        match path.exists() {
            true => self.read(&path).map(|bytes| Some((path, bytes))),
            false => Ok(None),
        }
    }

    fn load(&self, what: &'static str, id: &str, path: &Path) -> Result<Vec<u8>, StateError> {
        if !path.exists() {
            return Err(StateError::Missing {
                what,
                id: id.to_owned(),
                dir: self.root.clone(),
            });
        }
        self.read(path)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, StateError> {
        let fail = |e| io_error("read", path, e);
        let file = fs::File::open(path).map_err(fail)?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(StateError::Content {
                path: path.to_path_buf(),
                expected: "at most 4 MiB",
            });
        }
        Ok(bytes)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StateError> {
        let temporary = self.write_temporary(path, bytes)?;
        fs::rename(&temporary, path).map_err(|e| {
            let _ = fs::remove_file(&temporary);
            io_error("rename into place", path, e)
        })
    }

    fn write_temporary(&self, path: &Path, bytes: &[u8]) -> Result<PathBuf, StateError> {
        let mut suffix = [0_u8; 8];
        hanzo_pqc::random::fill(&mut suffix).map_err(|_| StateError::Random)?;
        let temporary = path.with_extension(format!("{}.tmp", hex::encode(suffix)));
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
        written.map_err(|e| {
            let _ = fs::remove_file(&temporary);
            io_error("write", &temporary, e)
        })?;
        Ok(temporary)
    }
}

/// Refuses a file or directory whose permission bits go beyond `expected`.
///
/// # Errors
/// [`StateError::Mode`], or [`StateError::Io`] if it cannot be looked at.
pub fn require_mode(path: &Path, expected: u32) -> Result<(), StateError> {
    let got = fs::metadata(path).map_err(|e| io_error("look at", path, e))?.mode() & 0o777;
    if got & !expected != 0 {
        return Err(StateError::Mode {
            path: path.to_path_buf(),
            got,
            expected,
        });
    }
    Ok(())
}

fn check_id(what: &'static str, id: &str, digits: usize) -> Result<(), StateError> {
    if id.len() == digits && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        Ok(())
    } else {
        Err(StateError::Id { what, digits })
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> StateError {
    StateError::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_owner_secret_is_drawn_once_and_refused_when_others_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("s")).unwrap();
        let first = state.owner().unwrap().expose().to_owned();
        assert_eq!(state.owner().unwrap().expose(), first);
        let path = state.root().join("owner.secret");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(state.owner().err().unwrap().code(), "state.mode");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert_eq!(state.owner().err().unwrap().code(), "state.content");
        assert_eq!(
            fs::read_dir(state.root()).unwrap().count(),
            4,
            "nothing temporary is left"
        );
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(StateDir::open(dir.path()).err().unwrap().code(), "state.mode");
    }

    #[test]
    fn receipts_come_back_and_no_path_is_made_of_a_foreign_id() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("s")).unwrap();
        let id = "ab".repeat(16);
        state.save_receipt(&id, b"{}").unwrap();
        assert_eq!(state.load_receipt(&id).unwrap(), b"{}");
        assert_eq!(
            state.load_receipt(&"cd".repeat(16)).unwrap_err().code(),
            "state.missing"
        );
        for bad in ["../owner.secret", "", &"AB".repeat(16)] {
            assert_eq!(state.load_receipt(bad).unwrap_err().code(), "state.id");
        }
    }
}
