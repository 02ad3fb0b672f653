//! Reading what may be longer than it should be.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::error::DeviceError;

/// Reads a file of at most `bytes_max` bytes.
pub(crate) fn read_bounded(path: &Path, field: &'static str, bytes_max: usize) -> Result<Vec<u8>, DeviceError> {
    let failed = |source| DeviceError::Io {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > bytes_max {
        return Err(DeviceError::Malformed {
            field,
            expected: "a file within its bound",
            got: format!("more than {bytes_max} bytes in {}", path.display()),
        });
    }
    Ok(bytes)
}

/// As [`read_bounded`]; `None` if there is no such file.
pub(crate) fn read_if_there(
    path: &Path,
    field: &'static str,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, DeviceError> {
    match read_bounded(path, field, bytes_max) {
        Err(DeviceError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
