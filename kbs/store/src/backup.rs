//! Copies of a store while it is in use, and putting one back.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use hanzo_pqc::Dek;
use rusqlite::{Connection, OpenFlags};

use crate::db::{connect, create_empty, give_key, verify_pages};
use crate::key_file::sync_dir;
use crate::sqlite::SqliteLink;
use crate::writer::LiveWriter;
use crate::{Link, StoreError, Tx};

/// Copies the SQLCipher store at `path` to `to`, under the same key, as it was at one moment. The store may be in use, and
/// goes on. Every page of the copy has been read and verified, and it is on the disk, when this returns.
///
/// # Errors
/// [`StoreError`]; nothing is at `to` then. A file that is there already is never replaced.
pub fn back_up(path: &Path, key: &Dek, to: &Path) -> Result<(), StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    let temporary = with_end(to, ".tmp");
    create_empty(&temporary)?;
    let copied = copy(path, key, &temporary).and_then(|()| {
        // A link is refused if the name is taken; a rename would replace an older copy.
        fs::hard_link(&temporary, to).map_err(|e| StoreError::io("create backup", to, e))
    });
    let cleaned = fs::remove_file(&temporary);
    copied?;
    cleaned.map_err(|e| StoreError::io("remove temporary file", &temporary, e))?;
    sync_parent(to)
}

fn copy(path: &Path, key: &Dek, temporary: &Path) -> Result<(), StoreError> {
    let name = temporary.to_str().ok_or_else(|| StoreError::Foreign {
        path: temporary.to_owned(),
        what: "the name of a backup has to be UTF-8".into(),
    })?;
    connect(path, key)?.execute("VACUUM INTO ?1", [name])?;
    File::open(temporary)
        .and_then(|file| file.sync_all())
        .map_err(|e| StoreError::io("sync backup", temporary, e))?;
    verify_pages(&open_copy(temporary, key)?)
}

fn open_copy(path: &Path, key: &Dek) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    crate::db::library_ready();
    let connection = Connection::open_with_flags(path, flags)?;
    give_key(&connection, key)?;
    Ok(connection)
}

/// Runs `f`, which only reads, on a copy that [`back_up`] made.
///
/// # Errors
/// Those of `f`; [`StoreError`].
pub fn read_copy<T, E: From<StoreError>>(
    path: &Path,
    key: &Dek,
    f: impl FnOnce(&Tx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let mut link = SqliteLink::reader(open_copy(path, key)?)?;
    link.begin_read()?;
    f(&Tx::new(&mut link))
}

/// A store that is being put back: no other process can use its place meanwhile.
///
/// The candidate is a file beside the store, to be filled, opened and judged by the caller, who then calls
/// [`Restoring::finish`]. Dropped before that, it leaves the store as it was.
#[derive(Debug)]
pub struct Restoring {
    path: PathBuf,
    candidate: PathBuf,
    lock: LiveWriter,
}

impl Restoring {
    /// Locks the place of the store at `path`, whether there is one or not.
    ///
    /// # Errors
    /// [`StoreError::InUse`]; [`StoreError::Io`].
    pub fn begin(path: &Path) -> Result<Self, StoreError> {
        let restoring = Self {
            path: path.to_owned(),
            candidate: with_end(path, ".restoring"),
            lock: LiveWriter::acquire(path)?,
        };
        // Of a restore that was interrupted.
        restoring.clear();
        Ok(restoring)
    }

    /// Copies `from` to the candidate.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::DiskFull`].
    pub fn fill(&self, from: &Path) -> Result<&Path, StoreError> {
        create_empty(&self.candidate)?;
        let wrote = |e| StoreError::io("copy backup to", &self.candidate, e);
        let mut to = File::options().write(true).open(&self.candidate).map_err(wrote)?;
        File::open(from)
            .and_then(|mut from| std::io::copy(&mut from, &mut to))
            .and_then(|_| to.sync_all())
            .map_err(wrote)?;
        Ok(&self.candidate)
    }

    /// Puts the candidate in the store's place. What was there stays beside it, its names ending in `.before-<mark>`.
    ///
    /// # Errors
    /// [`StoreError::Io`]. Interrupted in the middle, the place is empty, which is noticed (`store.missing`): restore again.
    pub fn finish(mut self, key: &Dek, mark: u64) -> Result<(), StoreError> {
        // The old log goes first: over another file it would be applied to that.
        for end in ["-wal", "-shm", ""] {
            let from = with_end(&self.path, end);
            let to = with_end(&self.path, &format!(".before-{mark}{end}"));
            match fs::rename(&from, &to) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(StoreError::io("move aside", &from, e)),
                _ => {}
            }
        }
        sync_parent(&self.path)?;
        fs::rename(&self.candidate, &self.path).map_err(|e| StoreError::io("put back", &self.path, e))?;
        sync_parent(&self.path)?;
        self.lock.remember(key)
    }

    fn clear(&self) {
        for end in ["", "-wal", "-shm", ".lock"] {
            let _ = fs::remove_file(with_end(&self.candidate, end));
        }
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        self.clear();
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    PathBuf::from(name)
}

fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    sync_dir(dir).map_err(|e| StoreError::io("sync directory", dir, e))
}
