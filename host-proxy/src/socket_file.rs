//! Unix sockets in the file system: leftovers are replaced, and only one's own is removed.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// The name of a listening socket; removed when dropped, unless another process has put its own there since.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

impl SocketFile {
    /// Makes the name free: a socket that nobody answers is a leftover of an earlier run.
    pub(crate) fn claim(path: &Path) -> io::Result<Self> {
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
        if is_socket && !is_answered(path) {
            std::fs::remove_file(path)?;
        }
        Ok(Self {
            path: path.to_owned(),
            inode: None,
        })
    }

    /// To be called once the socket is bound.
    pub(crate) fn bound(mut self) -> Self {
        self.inode = inode(&self.path);
        self
    }
}

/// Datagram, stream and packet sockets refuse a stranger's connection differently; only "refused" means nobody.
fn is_answered(path: &Path) -> bool {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => true,
        Err(e) => e.kind() != io::ErrorKind::ConnectionRefused,
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.inode.is_some() && self.inode == inode(&self.path) {
            // Best effort: a socket left behind is replaced at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
