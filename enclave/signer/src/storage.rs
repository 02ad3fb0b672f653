//! Where a journal lies: a file under an exclusive lock, or memory for keys that live in memory alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

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
}

/// A file with mode 0600 that one process holds.
pub struct FileStorage {
    file: File,
}

impl FileStorage {
    /// Makes a file that is not there yet.
    ///
    /// # Errors
    /// `AlreadyExists`; as the file system fails.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let storage = Self::locked(options.open(path)?)?;
        storage.file.sync_all()?;
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()?;
        Ok(storage)
    }

    /// Opens a file that is there.
    ///
    /// # Errors
    /// `NotFound`: a journal that is gone is never begun again. `WouldBlock` while another process holds it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::locked(OpenOptions::new().read(true).append(true).open(path)?)
    }

    fn locked(file: File) -> io::Result<Self> {
        file.try_lock().map_err(io::Error::from)?;
        Ok(Self { file })
    }
}

impl Storage for FileStorage {
    fn read(&mut self, max: u64) -> io::Result<Vec<u8>> {
        io::Seek::rewind(&mut self.file)?;
        let mut bytes = Vec::new();
        (&mut self.file).take(max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.file.sync_all()
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
}
