//! A directory that appears whole or not at all.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::error::ImageError;

/// A directory in the making, beside its final place. Dropped before [`Output::publish`], it takes everything with it.
#[derive(Debug)]
pub struct Output {
    making: tempfile::TempDir,
    place: PathBuf,
}

impl Output {
    /// Begins one that will appear at `place`.
    ///
    /// # Errors
    /// [`ImageError::Exists`] if something is there, [`ImageError::Io`].
    pub fn begin(place: &Path) -> Result<Self, ImageError> {
        if place.symlink_metadata().is_ok() {
            return Err(ImageError::Exists { path: place.to_owned() });
        }
        let parent = match place.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // Beside it, because a rename does not cross file systems.
        let making = tempfile::Builder::new()
            .prefix(".hanzo-image-")
            .tempdir_in(parent)
            .map_err(ImageError::io(parent))?;
        Ok(Self {
            making,
            place: place.to_owned(),
        })
    }

    /// Writes one file of mode 0644, through to the disk.
    ///
    /// # Errors
    /// [`ImageError::NoSpace`], [`ImageError::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.making.path().join(name);
        let failed = ImageError::io(&path);
        let mut file = File::create(&path).map_err(&failed)?;
        file.write_all(bytes).map_err(&failed)?;
        // Whatever the umask.
        file.set_permissions(fs::Permissions::from_mode(0o644))
            .map_err(&failed)?;
        file.sync_all().map_err(&failed)
    }

    /// Makes it appear.
    ///
    /// # Errors
    /// [`ImageError::Io`]; nothing is left behind then.
    pub fn publish(self) -> Result<(), ImageError> {
        use std::os::unix::fs::PermissionsExt as _;
        let failed = ImageError::io(&self.place);
        fs::set_permissions(self.making.path(), fs::Permissions::from_mode(0o755)).map_err(&failed)?;
        // Refuses a directory that has appeared meanwhile, unless it is empty.
        fs::rename(self.making.path(), &self.place).map_err(&failed)?;
        // Its path is gone; there is nothing left to remove.
        let _ = self.making.keep();
        if let Some(parent) = self.place.parent().and_then(|p| File::open(p).ok()) {
            parent.sync_all().map_err(&failed)?;
        }
        Ok(())
    }
}
