//! Where a journal lies: a file under an exclusive lock, or memory for keys that live in memory alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Bytes that grow at their end. When [`Storage::append`] returns, what was appended survives the machine's end.
pub trait Storage: Send {
    /// Everything, at most `max` bytes.
    ///
    /// # Errors
    /// As the medium fails; `FileTooLarge` beyond `max`.
    fn read(&mut self, max: u64) -> io::Result<Vec<u8>>;

    /// Appends and syncs.
    ///
    /// # Errors
    /// As the medium fails. How much was written is then unknown.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts off what follows the first `len` bytes, and syncs.
    ///
    /// # Errors
    /// As the medium fails.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Writes `bytes` beside what is stored, in the place of what was staged before, and syncs. What is stored stays as it is.
    ///
    /// # Errors
    /// As the medium fails.
    fn stage(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// What is staged, at most `max` bytes; `None` if nothing is.
    ///
    /// # Errors
    /// As the medium fails; `FileTooLarge` beyond `max`.
    fn staged(&mut self, max: u64) -> io::Result<Option<Vec<u8>>>;

    /// Puts what is staged in the place of what is stored, at once: a crash leaves the one or the other whole.
    ///
    /// # Errors
    /// As the medium fails.
    fn adopt(&mut self) -> io::Result<()>;
}

/// A file with mode 0600 that one process holds. A compacted journal is staged beside it, under its name with `.compact`.
pub struct FileStorage {
    file: File,
    path: PathBuf,
    staged: Option<File>,
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

fn all_of(file: &mut File, max: u64) -> io::Result<Vec<u8>> {
    io::Seek::rewind(file)?;
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

impl FileStorage {
    /// Makes a file that is not there yet.
    ///
    /// # Errors
    /// `AlreadyExists`; as the file system fails.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true).mode(0o600);
        let storage = Self::locked(options.open(path)?, path)?;
        storage.file.sync_all()?;
        sync_folder(path)?;
        Ok(storage)
    }

    /// Opens a file that is there.
    ///
    /// # Errors
    /// `NotFound`: a journal that is gone is never begun again. `WouldBlock` while another process holds it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::locked(OpenOptions::new().read(true).append(true).open(path)?, path)
    }

    fn locked(file: File, path: &Path) -> io::Result<Self> {
        file.try_lock().map_err(io::Error::from)?;
        let (path, staged) = (path.to_path_buf(), None);
        Ok(Self { file, path, staged })
    }

    fn staged_path(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".compact");
        name.into()
    }
}

impl Storage for FileStorage {
    fn read(&mut self, max: u64) -> io::Result<Vec<u8>> {
        all_of(&mut self.file, max)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.file.sync_all()
    }

    fn stage(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.staged = None;
        match std::fs::remove_file(self.staged_path()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true).mode(0o600);
        let mut file = options.open(self.staged_path())?;
        // Held before it has the journal's name, so that nobody opens it between.
        file.try_lock().map_err(io::Error::from)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        sync_folder(&self.path)?;
        self.staged = Some(file);
        Ok(())
    }

    fn staged(&mut self, max: u64) -> io::Result<Option<Vec<u8>>> {
        let opened = OpenOptions::new().read(true).append(true).open(self.staged_path());
        let mut file = match opened {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        file.try_lock().map_err(io::Error::from)?;
        let bytes = all_of(&mut file, max)?;
        self.staged = Some(file);
        Ok(Some(bytes))
    }

    fn adopt(&mut self) -> io::Result<()> {
        let file = self.staged.take().ok_or(io::ErrorKind::NotFound)?;
        std::fs::rename(self.staged_path(), &self.path)?;
        sync_folder(&self.path)?;
        self.file = file;
        Ok(())
    }
}

/// Keeps nothing: for keys that end with the process, which nothing can be reopened for.
pub struct Volatile;

impl Storage for Volatile {
    fn read(&mut self, _: u64) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn stage(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn staged(&mut self, _: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn adopt(&mut self) -> io::Result<()> {
        Ok(())
    }
}
