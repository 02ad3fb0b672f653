//! Small documents: read up to a bound, written whole or not at all.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::error::ToolError;

/// Reads at most `bytes_max` bytes.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, ToolError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max as u64 + 1).read_to_end(&mut bytes))
        .map_err(ToolError::io("reading", path))?;
    if bytes.len() > bytes_max {
        return Err(ToolError::Document {
            path: path.to_owned(),
            expected: "a document of its format",
            got: format!("more than {bytes_max} bytes"),
        });
    }
    Ok(bytes)
}

/// Writes a file that must not be there, through to the disk.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), ToolError> {
    let parent = parent(path);
    let failed = |source| ToolError::io("writing", path)(source);
    let mut part = tempfile::Builder::new()
        .prefix(".hanzo-model-")
        .tempfile_in(parent)
        .map_err(failed)?;
    part.write_all(bytes).map_err(failed)?;
    part.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o644))
        .and_then(|()| part.as_file().sync_all())
        .map_err(failed)?;
    part.persist_noclobber(path).map_err(|e| match e.error.kind() {
        std::io::ErrorKind::AlreadyExists => ToolError::Exists { path: path.to_owned() },
        _ => failed(e.error),
    })?;
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed)
}

pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
