//! Making releases: keys, drafts, signatures by one holder at a time, the log, the bundle (`policy/RELEASE.md`).
//!
//! * [`keys`]: key files of release key holders and of the log. Secrets are in files of mode 0600, never in arguments.
//! * [`draft`]: from images, predictions and a bill of materials to a manifest that nobody has signed yet.
//! * [`sign`]: one holder's signature, made offline; a quorum of them together.
//! * [`log`]: the log's directory: tiles, entries, a dated head. Whoever keeps it needs no trust.
//!
//! Files appear whole or not at all. Verifying is `hanzo-policy`'s: what is made here is checked by the code that readers run.

pub mod cli;
pub mod draft;
mod error;
pub mod keys;
pub mod log;
pub mod sign;

pub use error::ReleaseToolError;

use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hanzo_attestation::UnixTime;

use crate::ImageError;

/// The machine's clock.
fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime(since.map_or(0, |since| since.as_secs()))
}

/// Reads a file of at most `bytes_max` bytes.
fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ImageError> {
    use std::io::Read as _;
    let failed = ImageError::io(path);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(&failed)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(&failed)?;
    let got = bytes.len() as u64;
    if got > bytes_max {
        return Err(ImageError::TooLarge {
            path: path.to_owned(),
            got,
            bytes_max,
        });
    }
    Ok(bytes)
}

/// Writes beside the target, through to the disk, and takes its place.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = ImageError::io(path);
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut part = tempfile::Builder::new()
        .prefix(".hanzo-release-")
        .tempfile_in(parent)
        .map_err(&failed)?;
    part.write_all(bytes).map_err(&failed)?;
    let file = part.as_file();
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
        .map_err(&failed)?;
    file.sync_all().map_err(&failed)?;
    part.persist(path).map_err(|e| failed(e.error))?;
    std::fs::File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(&failed)
}
