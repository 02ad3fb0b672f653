//! The root as it is, in a file that only its owner can read.

use std::path::PathBuf;

use hanzo_vault::Root;

use crate::file;
use crate::{RootError, RootProvider};

/// 32 raw bytes, mode 0600 or 0400. Whoever can read the file has the root.
pub(crate) struct KeyFile {
    pub(crate) path: PathBuf,
}

const WHAT: &str = "root key file";

impl RootProvider for KeyFile {
    fn kind(&self) -> &'static str {
        "key-file"
    }

    fn load(&self) -> Result<Root, RootError> {
        let bytes = file::read_private(WHAT, &self.path, 64)?;
        of_bytes(WHAT, &self.path, &bytes)
    }

    fn reachable(&self) -> Result<(), RootError> {
        file::is_private(WHAT, &self.path)
    }

    fn keep(&self, root: &Root) -> Result<(), RootError> {
        file::write_new(&self.path, root.expose())
    }
}

/// A root out of exactly 32 bytes that are not all zero.
pub(crate) fn of_bytes(what: &'static str, path: &std::path::Path, bytes: &[u8]) -> Result<Root, RootError> {
    Root::from_slice(bytes).map_err(|_| RootError::Shape {
        what,
        path: path.to_owned(),
        expected: "32 bytes, not all zero",
        got: format!("{} bytes", bytes.len()),
    })
}
