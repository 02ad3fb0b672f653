//! An NV index of a TPM that can only be extended, and a note beside the journal that says what it was extended by.
//!
//! The index holds `V = SHA-256(V before || tag of the head)`. The note says `V before` and the head; nobody signs it, because nobody
//! can make up another that gives the same V. Before the index moves, the note tells both heads, so that a crash on either side of it
//! finds its own. Two signers cannot both move it from the same V: each reads it afterwards, and expects its own.
//!
//! As fresh as whoever keeps the TPM's state: of a TPM that the host emulates, this proves nothing (`SECURITY.md`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{FreshnessError, FreshnessSource, Head};
use crate::codec::{Cursor, sha256};
use crate::key::PublicKey;

const VIA: &str = "tpm nv";
const DOMAIN: &str = "hanzo/signer-tpm-head/v1";
const MAGIC: &[u8; 8] = b"HANZONVN";
const VERSION: u8 = 1;
const NOTE_BYTES_MAX: u64 = 256;

/// An index that can only be extended, authorised and authenticated (`hanzo_device::tpm::NvFence`).
pub trait NvExtend: Send {
    /// What it holds; `None` if there is no such index.
    ///
    /// # Errors
    /// What went wrong, in words.
    fn value(&mut self) -> Result<Option<[u8; 32]>, String>;

    /// Makes it hold `SHA-256(what it holds || data)`.
    ///
    /// # Errors
    /// What went wrong, in words: then it may or may not have been extended.
    fn extend(&mut self, data: &[u8; 32]) -> Result<(), String>;
}

/// What the index held before it took a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taken {
    before: [u8; 32],
    head: Head,
}

/// The head of one key's journal in one index.
pub struct TpmNv<N> {
    nv: N,
    note: PathBuf,
    key: [u8; 32],
    held: Option<Taken>,
}

/// What an index is extended by for `head` of `key`'s journal: `SHA-256(SHA-256("hanzo/signer-tpm-head/v1") || digest of the key ||
/// records || chain hash)`.
fn tag(key: &[u8; 32], head: &Head) -> [u8; 32] {
    sha256(&[
        &sha256(&[DOMAIN.as_bytes()]),
        key,
        &head.count.to_be_bytes(),
        &head.hash,
    ])
}

impl Taken {
    fn value(&self, key: &[u8; 32]) -> [u8; 32] {
        sha256(&[&self.before, &tag(key, &self.head)])
    }
}

impl<N: NvExtend> TpmNv<N> {
    /// Enrols a key: writes a note that is not there yet, then has `define` define an index and extend it by the bytes that it is
    /// given. Once for each key and index, while nobody who must not know the index's secret is on the TPM's bus. Where `define` fails,
    /// the note is taken away again: nothing was signed under it, and whether an index is left over says `define`.
    ///
    /// # Errors
    /// [`FreshnessError::Setup`] if there is a note; [`FreshnessError::Unreachable`].
    pub fn enrol(
        note: &Path,
        key: &PublicKey,
        define: impl FnOnce(&[u8; 32]) -> Result<N, String>,
    ) -> Result<Self, FreshnessError> {
        if note.exists() {
            let rule = "a note of another enrolment is there: an index is enrolled once for each key; if that enrolment was cut off before it ended, take the note and its index away";
            return Err(FreshnessError::Setup { via: VIA, rule });
        }
        let key = key.digest();
        let first = Taken {
            before: [0; 32],
            head: Head::EMPTY,
        };
        write(note, &[first]).map_err(|e| unreachable(note, e))?;
        match define(&tag(&key, &Head::EMPTY)) {
            Ok(nv) => Ok(Self::open(nv, note, key)),
            Err(cause) => {
                let cause = match remove(note) {
                    Ok(()) => cause,
                    Err(e) => format!("{cause}; take its note {} away: {e}", note.display()),
                };
                Err(FreshnessError::Unreachable { via: VIA, cause })
            }
        }
    }

    /// Goes on with the index of an enrolled key. Nothing is asked yet.
    pub fn resume(nv: N, note: &Path, key: &PublicKey) -> Self {
        Self::open(nv, note, key.digest())
    }

    fn open(nv: N, note: &Path, key: [u8; 32]) -> Self {
        let (note, held) = (note.to_path_buf(), None);
        Self { nv, note, key, held }
    }

    fn value(&mut self) -> Result<[u8; 32], FreshnessError> {
        match self.nv.value() {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(FreshnessError::Missing { via: VIA }),
            Err(cause) => Err(FreshnessError::Unreachable { via: VIA, cause }),
        }
    }

    /// What the index took last, by the note that explains it.
    fn taken(&mut self) -> Result<Taken, FreshnessError> {
        let value = self.value()?;
        let told = read(&self.note).map_err(|e| unreachable(&self.note, e))?;
        let taken = told.into_iter().find(|taken| taken.value(&self.key) == value);
        let taken = taken.ok_or(FreshnessError::Unexplained { via: VIA })?;
        self.held = Some(taken);
        Ok(taken)
    }
}

impl<N: NvExtend> FreshnessSource for TpmNv<N> {
    fn newest(&mut self) -> Result<Head, FreshnessError> {
        Ok(self.taken()?.head)
    }

    fn advance(&mut self, from: Head, to: Head) -> Result<(), FreshnessError> {
        let held = match self.held.take() {
            Some(held) => held,
            None => self.taken()?,
        };
        self.held = None;
        if held.head != from || to.count <= from.count {
            return Err(FreshnessError::Moved {
                via: VIA,
                held: held.head.count,
                from: from.count,
            });
        }
        let now = held.value(&self.key);
        if self.value()? != now {
            return Err(FreshnessError::Unexplained { via: VIA });
        }
        let next = Taken { before: now, head: to };
        write(&self.note, &[held, next]).map_err(|e| unreachable(&self.note, e))?;
        let extended = self.nv.extend(&tag(&self.key, &to));
        extended.map_err(|cause| FreshnessError::Unreachable { via: VIA, cause })?;
        // Another signer's tag may have come before ours: then neither knows this value.
        if self.value()? != next.value(&self.key) {
            return Err(FreshnessError::Unexplained { via: VIA });
        }
        self.held = Some(next);
        Ok(())
    }
}

fn unreachable(note: &Path, source: io::Error) -> FreshnessError {
    FreshnessError::Unreachable {
        via: VIA,
        cause: format!("its note {}: {source}", note.display()),
    }
}

fn write(note: &Path, taken: &[Taken]) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    for one in taken {
        bytes.extend_from_slice(&one.before);
        bytes.extend_from_slice(&one.head.count.to_be_bytes());
        bytes.extend_from_slice(&one.head.hash);
    }
    let mut name = note.to_path_buf().into_os_string();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&new, note)?;
    sync_folder(note)
}

fn remove(note: &Path) -> io::Result<()> {
    fs::remove_file(note)?;
    sync_folder(note)
}

fn sync_folder(note: &Path) -> io::Result<()> {
    let folder = match note.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// One or two heads.
fn read(note: &Path) -> io::Result<Vec<Taken>> {
    let mut bytes = Vec::new();
    File::open(note)?.take(NOTE_BYTES_MAX).read_to_end(&mut bytes)?;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "it is no note of a TPM's index");
    let mut c = Cursor::new(&bytes);
    if c.take(MAGIC.len()) != Some(MAGIC) || c.u8() != Some(VERSION) {
        return Err(malformed());
    }
    let mut taken = Vec::new();
    while c.left() > 0 && taken.len() < 2 {
        let mut one = || {
            let before = c.array()?;
            let (count, hash) = (c.u64()?, c.array()?);
            let head = Head { count, hash };
            Some(Taken { before, head })
        };
        taken.push(one().ok_or_else(malformed)?);
    }
    match c.left() {
        0 => Ok(taken),
        _ => Err(malformed()),
    }
}
