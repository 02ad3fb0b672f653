//! The folder for opened models and sockets: private, in memory where there is room, and gone when the run ends.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;

use crate::error::ApplianceError;
use crate::paths::{Layout, private_dir};

/// What must stay free beside the opened model, in bytes.
const SPARE: u64 = 64 << 20;

/// Removed with all it holds when dropped. A run that was killed leaves its folder; the next run of the same state removes it.
pub(crate) struct RuntimeFolder {
    path: PathBuf,
}

impl RuntimeFolder {
    /// Makes it anew; `bytes` will be opened in it. The caller holds the lock of the state folder.
    pub(crate) fn create(layout: &Layout, bytes: u64) -> Result<Self, ApplianceError> {
        let full = fs::canonicalize(&layout.state).map_err(ApplianceError::io("cannot read", &layout.state))?;
        let id = Digest256::of(full.as_os_str().as_encoded_bytes()).to_string();
        let own = format!(
            "hanzo-{}-{}",
            rustix::process::getuid().as_raw(),
            id.get(..16).unwrap_or_default()
        );
        let shm = Path::new("/dev/shm");
        let in_memory = shm.join(own);
        clear(&in_memory)?;
        if has_room(shm, bytes) {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(&in_memory)
                .map_err(ApplianceError::io("cannot make folder", &in_memory))?;
            return Ok(Self { path: in_memory });
        }
        // Below the run's folder, which was made anew and is private.
        let path = layout.run().join("runtime");
        private_dir(&path)?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RuntimeFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the folder of opened models could not be removed");
        }
    }
}

/// Removes what a killed run left, if it is this user's folder; anybody can make names in `/dev/shm`.
fn clear(path: &Path) -> Result<(), ApplianceError> {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !meta.is_dir() || meta.uid() != rustix::process::getuid().as_raw() {
        return Err(ApplianceError::Part(format!(
            "{}: expected nothing or a folder of this user's, got something else: remove it",
            path.display()
        )));
    }
    fs::remove_dir_all(path).map_err(ApplianceError::io("cannot remove", path))
}

/// A container's `/dev/shm` is often 64 MiB.
fn has_room(dir: &Path, bytes: u64) -> bool {
    dir.is_dir()
        && rustix::fs::statvfs(dir).is_ok_and(|s| s.f_bavail.saturating_mul(s.f_frsize) > bytes.saturating_add(SPARE))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_is_removed_and_strange_things_are_not() {
        let state = tempfile::tempdir().unwrap();
        let layout = Layout {
            state: state.path().to_path_buf(),
        };
        private_dir(&layout.run()).unwrap();
        let first = RuntimeFolder::create(&layout, 9).unwrap();
        let path = first.path().to_path_buf();
        fs::write(path.join("model.gguf"), "plaintext").unwrap();
        std::mem::forget(first);
        let second = RuntimeFolder::create(&layout, 9).unwrap();
        assert_eq!(second.path(), path);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        drop(second);
        assert!(!path.exists());

        std::os::unix::fs::symlink("/etc", &path).unwrap();
        let refused = clear(&path).unwrap_err().to_string();
        fs::remove_file(&path).unwrap();
        assert!(refused.contains("remove it"), "{refused}");
    }

    #[test]
    fn memory_is_used_only_where_the_model_fits() {
        assert!(!has_room(Path::new("/nonexistent"), 0));
        assert!(!has_room(Path::new("/"), u64::MAX));
        assert!(has_room(Path::new("/"), 0));
    }
}
