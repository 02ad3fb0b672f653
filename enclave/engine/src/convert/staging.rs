//! An output directory that appears complete or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::{ConvertError, Progress};

/// A directory beside the final one, removed again unless [`Staging::publish`] renames it into place.
pub(crate) struct Staging {
    target: PathBuf,
    dir: PathBuf,
}

impl Staging {
    pub(crate) fn new(target: &Path) -> Result<Self, ConvertError> {
        if target.exists() {
            return Err(ConvertError::OutputExists { path: target.into() });
        }
        let name = target
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&parent).map_err(|source| ConvertError::Io {
            what: "creating",
            path: parent.clone(),
            source,
        })?;
        let prefix = format!(".{name}.partial-");
        remove_abandoned(&parent, &prefix);
        let dir = parent.join(format!("{prefix}{}", std::process::id()));
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(|source| ConvertError::Io {
                what: "removing",
                path: dir.clone(),
                source,
            })?;
        }
        fs::create_dir(&dir).map_err(|source| ConvertError::Io {
            what: "creating",
            path: dir.clone(),
            source,
        })?;
        Ok(Self {
            target: target.into(),
            dir,
        })
    }

    /// Writes one file through `fill` and syncs it.
    pub(crate) fn write<F>(&self, name: &str, fill: F) -> Result<(), ConvertError>
    where
        F: FnOnce(&mut BufWriter<File>, &Path) -> Result<(), ConvertError>,
    {
        let path = self.dir.join(name);
        let io = |what| {
            let path = path.clone();
            move |source| ConvertError::Io { what, path, source }
        };
        let mut writer = BufWriter::with_capacity(1 << 20, File::create_new(&path).map_err(io("creating"))?);
        fill(&mut writer, &path)?;
        writer.flush().map_err(io("writing"))?;
        writer.get_ref().sync_all().map_err(io("syncing"))
    }

    pub(crate) fn write_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), ConvertError> {
        self.write(name, |writer, path| {
            writer.write_all(bytes).map_err(|source| ConvertError::Io {
                what: "writing",
                path: path.into(),
                source,
            })
        })
    }

    /// Copies a file, reporting bytes as they go.
    pub(crate) fn copy(
        &self,
        from: &Path,
        name: &str,
        done: &mut u64,
        total: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ConvertError> {
        let mut reader = File::open(from).map_err(|source| ConvertError::Io {
            what: "opening",
            path: from.into(),
            source,
        })?;
        self.write(name, |writer, path| {
            let mut buffer = vec![0u8; 1 << 20];
            loop {
                let count = reader.read(&mut buffer).map_err(|source| ConvertError::Io {
                    what: "reading",
                    path: from.into(),
                    source,
                })?;
                let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else {
                    return Ok(());
                };
                writer.write_all(chunk).map_err(|source| ConvertError::Io {
                    what: "writing",
                    path: path.into(),
                    source,
                })?;
                *done += count as u64;
                progress(Progress {
                    step: "copying",
                    done: *done,
                    total,
                });
            }
        })
    }

    /// Makes the directory visible under its final name.
    pub(crate) fn publish(self) -> Result<(), ConvertError> {
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |source| ConvertError::Io { what, path, source }
        };
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(io("syncing", &self.dir))?;
        fs::rename(&self.dir, &self.target).map_err(io("renaming into place", &self.target))
    }
}

/// What processes that were killed left here. That it stays is no reason to fail.
fn remove_abandoned(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|n| n.strip_prefix(prefix)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After publish the directory is gone and there is nothing to remove.
        if self.dir.exists() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
