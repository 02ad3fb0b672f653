//! The kernel's files, and where they are.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::error::AttestError;

/// Where the kernel's file systems are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// `/sys`.
    pub sys: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
}

impl Roots {
    /// The real ones.
    pub fn host() -> Self {
        Self {
            sys: "/sys".into(),
            dev: "/dev".into(),
            proc: "/proc".into(),
        }
    }

    /// `sys`, `dev` and `proc` below one directory.
    pub fn under(root: &Path) -> Self {
        Self {
            sys: root.join("sys"),
            dev: root.join("dev"),
            proc: root.join("proc"),
        }
    }
}

/// What is asked of the kernel. Real kernels answer [`HostKernel`]; in tests a directory tree does, with the reactions
/// (a directory that fills itself, an attribute that follows another) that plain files lack.
pub trait Kernel: Send + Sync {
    /// Makes a directory, which for configfs makes its attributes.
    ///
    /// # Errors
    /// The kernel's.
    fn make_dir(&self, path: &Path) -> io::Result<()>;

    /// Reads a file to its end, or `bytes_max + 1` bytes of it.
    ///
    /// # Errors
    /// The kernel's.
    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>>;

    /// Writes an attribute in one piece.
    ///
    /// # Errors
    /// The kernel's.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Removes a directory, which for configfs removes its attributes.
    ///
    /// # Errors
    /// The kernel's.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
}

/// System calls and nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostKernel;

impl Kernel for HostKernel {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // configfs takes a binary attribute in one write and commits it at close.
        OpenOptions::new().write(true).open(path)?.write_all(bytes)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }
}

/// A guest's kernel with its roots.
pub struct Machine {
    pub(crate) roots: Roots,
    pub(crate) kernel: Box<dyn Kernel>,
}

impl Machine {
    /// This machine.
    pub fn host() -> Self {
        Self::at(Roots::host())
    }

    /// The real kernel, other roots.
    pub fn at(roots: Roots) -> Self {
        Self::with_kernel(roots, Box::new(HostKernel))
    }

    /// Another kernel.
    pub fn with_kernel(roots: Roots, kernel: Box<dyn Kernel>) -> Self {
        Self { roots, kernel }
    }

    /// Where its file systems are.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Reads a file of at most `bytes_max` bytes. `needs` says what would make a missing one exist.
    ///
    /// # Errors
    /// [`AttestError::Absent`], [`AttestError::Denied`], [`AttestError::Io`]; [`AttestError::Malformed`] if it is longer.
    pub fn read(
        &self,
        path: &Path,
        field: &'static str,
        bytes_max: usize,
        needs: &'static str,
    ) -> Result<Vec<u8>, AttestError> {
        let bytes = self
            .kernel
            .read(path, bytes_max)
            .map_err(AttestError::file(path, needs))?;
        if bytes.len() > bytes_max {
            return Err(AttestError::Malformed {
                field,
                expected: "an attribute within its bound",
                got: format!("more than {bytes_max} bytes"),
            });
        }
        Ok(bytes)
    }
}
