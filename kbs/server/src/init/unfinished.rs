//! A broker in the making: what is there until its configuration has its name.
//!
//! # Layout
//! `kbs.toml.unfinished`: made first, held under an advisory lock (flock) by the process that works, becomes `kbs.toml` last.
//! While it is there and `kbs.toml` is not, no broker ever ran here, and every other file of one belongs to an init that
//! was interrupted.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hanzo_store::StoreError;

use crate::KbsError;

pub(super) const CONFIG: &str = "kbs.toml";
const UNFINISHED: &str = "kbs.toml.unfinished";

/// Every other file of a broker.
const FILES: [&str; 8] = [
    "identity.json",
    "admin.key",
    "kbs.key",
    "kbs.db",
    "kbs.db-wal",
    "kbs.db-shm",
    "kbs.db.lock",
    "kbs.head",
];

pub(super) fn simulator_root(n: usize) -> String {
    format!("simulator-root-{n}.der")
}

/// The right to make a broker in a folder.
pub(super) struct Unfinished {
    dir: PathBuf,
    path: PathBuf,
    file: File,
    files: Vec<PathBuf>,
    is_new: bool,
    interrupted: bool,
}

impl Unfinished {
    /// Takes the folder. What an interrupted predecessor left is removed, and nothing else.
    pub(super) fn begin(dir: &Path, simulator_roots: usize) -> Result<Self, KbsError> {
        let is_new = !dir.exists();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| StoreError::io("create directory", dir, e))?;
        let path = dir.join(UNFINISHED);
        let roots = (0..simulator_roots).map(|n| dir.join(simulator_root(n)));
        let files: Vec<PathBuf> = FILES.iter().map(|name| dir.join(name)).chain(roots).collect();
        let config = dir.join(CONFIG);
        let interrupted = path.exists();
        // Only what came after the file of this name is known to be an init's own.
        let foreign = files.iter().filter(|_| !interrupted);
        // Names that lead nowhere count too.
        let is_taken = |path: &&PathBuf| path.symlink_metadata().is_ok();
        if let Some(path) = [&config].into_iter().chain(foreign).find(is_taken) {
            return Err(KbsError::Exists { path: path.clone() });
        }
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        match interrupted {
            true => options.create(false),
            false => options.create_new(true),
        };
        let file = match options.open(&path) {
            Ok(file) => file,
            // Another init has just begun, or just ended.
            Err(e) if matches!(e.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
                return Err(KbsError::Initialising { path });
            }
            Err(e) => return Err(StoreError::io("create", &path, e).into()),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(KbsError::Initialising { path }),
            Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", &path, e).into()),
        }
        // Between opening and locking, its owner may have finished: then the name is gone, or another file's.
        let same = |meta: fs::Metadata| file.metadata().is_ok_and(|own| own.ino() == meta.ino());
        if !fs::metadata(&path).is_ok_and(same) {
            return Err(KbsError::Initialising { path });
        }
        let place = Self {
            dir: dir.to_owned(),
            path,
            file,
            files,
            is_new,
            interrupted,
        };
        if interrupted {
            place.clear();
        }
        place.sync_dir()?;
        Ok(place)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something was left here by an init that was interrupted.
    pub(super) fn interrupted(&self) -> bool {
        self.interrupted
    }

    /// Writes what will be the configuration.
    pub(super) fn write(&self, text: &[u8]) -> Result<(), KbsError> {
        let mut file = &self.file;
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(text))
            .and_then(|()| file.sync_all())
            .map_err(|e| StoreError::io("write", &self.path, e).into())
    }

    /// From here on there is a broker.
    pub(super) fn finish(&self, config: &Path) -> Result<(), KbsError> {
        // The other files' names first.
        self.sync_dir()?;
        fs::rename(&self.path, config).map_err(|e| StoreError::io("rename", &self.path, e))?;
        self.sync_dir()
    }

    /// Leaves nothing behind.
    pub(super) fn abandon(&self) {
        self.clear();
        let _ = fs::remove_file(self.dir.join(CONFIG));
        let _ = fs::remove_file(&self.path);
        if self.is_new {
            let _ = fs::remove_dir(&self.dir);
        }
    }

    fn clear(&self) {
        for path in &self.files {
            let _ = fs::remove_file(path);
        }
        // Of a key file that did not get its name.
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if [".key-", ".root-"].iter().any(|start| name.starts_with(start)) && name.ends_with(".tmp") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn sync_dir(&self) -> Result<(), KbsError> {
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|e| StoreError::io("sync directory", &self.dir, e).into())
    }
}
