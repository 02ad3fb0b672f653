//! Files that only their owner can read, read with bounds and written whole.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, RenameFlags};
use zeroize::Zeroizing;

use crate::RootError;

/// Whether [`read_private`] would find a file that it reads.
pub(crate) fn is_private(what: &'static str, path: &Path) -> Result<(), RootError> {
    open_private(what, path).map(drop)
}

/// Whether [`read_given`] would find a file that it reads.
pub(crate) fn is_given(what: &'static str, path: &Path) -> Result<(), RootError> {
    open(what, path).map(drop)
}

/// Reads a private file of at most `bytes_max` bytes: a regular one, no symbolic link, closed to group and others.
pub(crate) fn read_private(what: &'static str, path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, RootError> {
    let file = open_private(what, path)?;
    read_open(what, path, file, bytes_max)
}

fn open_private(what: &'static str, path: &Path) -> Result<File, RootError> {
    let file = open(what, path)?;
    let mode = file.metadata().map_err(|e| RootError::io("inspect", path, e))?.mode() & 0o7777;
    match mode & 0o077 {
        0 => Ok(file),
        _ => Err(RootError::Mode {
            what,
            path: path.to_owned(),
            mode,
        }),
    }
}

/// As [`read_private`] for a directory whose owner sets the permissions: systemd's credentials carry ACLs.
pub(crate) fn read_given(what: &'static str, path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, RootError> {
    let file = open(what, path)?;
    read_open(what, path, file, bytes_max)
}

fn open(what: &'static str, path: &Path) -> Result<File, RootError> {
    let shape = |got: &str| RootError::Shape {
        what,
        path: path.to_owned(),
        expected: "a regular file",
        got: got.into(),
    };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path)
        .map_err(|e| match e.kind() {
            ErrorKind::NotFound => RootError::Missing {
                what,
                path: path.to_owned(),
            },
            _ if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => shape("a symbolic link"),
            _ => RootError::io("open", path, e),
        })?;
    let meta = file.metadata().map_err(|e| RootError::io("inspect", path, e))?;
    match meta.is_file() {
        true => Ok(file),
        false => Err(shape("something else")),
    }
}

fn read_open(what: &'static str, path: &Path, file: File, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, RootError> {
    // Room for one byte more than is accepted: the vector never grows and leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max + 1));
    file.take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| RootError::io("read", path, e))?;
    if bytes.len() > bytes_max {
        return Err(RootError::Shape {
            what,
            path: path.to_owned(),
            expected: "a short file",
            got: format!("more than {bytes_max} bytes"),
        });
    }
    Ok(bytes)
}

/// Writes a new private file. It appears whole or not at all, replaces nothing, and is on the disk when this returns.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), RootError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut suffix = [0; 8];
    hanzo_pqc::random::fill(&mut suffix)?;
    let temporary = dir.join(format!(".root-{}.tmp", hex::encode(suffix)));
    let placed = write_synced(&temporary, bytes)
        .map_err(|e| RootError::io("write", &temporary, e))
        .and_then(|()| place(&temporary, path));
    if placed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    placed?;
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| RootError::io("sync directory", dir, e))
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A rename that replaces nothing; where the file system has none, a link.
fn place(temporary: &Path, path: &Path) -> Result<(), RootError> {
    use rustix::fs::CWD;
    let exists = || RootError::Exists { path: path.to_owned() };
    match rustix::fs::renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST) => Err(exists()),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(temporary, path).map_err(|e| match e.kind() {
                ErrorKind::AlreadyExists => exists(),
                _ => RootError::io("create", path, e),
            })?;
            fs::remove_file(temporary).map_err(|e| RootError::io("remove", temporary, e))
        }
        Err(e) => Err(RootError::io("rename", path, e.into())),
    }
}
