//! Compressed frames of the archive, and a cache of them: the engine's alone costs seconds each time it is made.

use std::fs;
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;

use crate::assemble::{ARCHIVE, Progress};
use crate::error::ImageError;

/// How hard zstd tries. With the crate's version it decides the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Everything but the engine: as small as it gets.
    Whole,
    /// The engine: an eighth more than at level 19, for a fifteenth of the time.
    Engine,
}

impl Level {
    fn number(self) -> i32 {
        match self {
            Self::Whole => 22,
            Self::Engine => 12,
        }
    }
}

/// Makes frames, or finds them where they were kept.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    kept: Option<PathBuf>,
}

impl Frames {
    /// Keeps frames in `dir`, which must exist.
    ///
    /// # Does not establish
    /// That a kept frame is what zstd would write now: it holds the same archive, which is looked at. `verify` compares bytes.
    pub fn kept_in(dir: &Path) -> Self {
        Self {
            kept: Some(dir.to_owned()),
        }
    }

    /// One frame that holds `archive`.
    pub(crate) fn compress(&self, archive: &[u8], level: Level, progress: Progress<'_>) -> Result<Vec<u8>, ImageError> {
        let number = level.number();
        // What is not the engine changes with every configuration: kept, it would only fill the disk.
        let Some(dir) = self.kept.as_ref().filter(|_| level == Level::Engine) else {
            progress("compressing the archive");
            return made(archive, number);
        };
        let path = dir.join(format!("{}-{number}.zst", Digest256::of(archive)));
        if let Ok(frame) = fs::read(&path)
            && zstd::bulk::decompress(&frame, archive.len()).is_ok_and(|inside| inside == archive)
        {
            return Ok(frame);
        }
        progress("compressing the engine; kept for the next image");
        let frame = made(archive, number)?;
        let staged = tempfile::NamedTempFile::new_in(dir).map_err(ImageError::io(dir))?;
        fs::write(staged.path(), &frame).map_err(ImageError::io(staged.path()))?;
        staged.persist(&path).map_err(|e| ImageError::io(&path)(e.error))?;
        Ok(frame)
    }
}

fn made(archive: &[u8], level: i32) -> Result<Vec<u8>, ImageError> {
    zstd::bulk::compress(archive, level).map_err(|source| ImageError::Io {
        path: ARCHIVE.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_frame_is_used_if_it_holds_the_archive_and_replaced_if_not() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, kept) = (Frames::default(), Frames::kept_in(dir.path()));
        let archive = b"an archive".repeat(100);
        let told = std::cell::Cell::new(0);
        let progress = |_: &str| told.set(told.get() + 1);
        let frame = plain.compress(&archive, Level::Engine, &progress).unwrap();
        assert_eq!(kept.compress(&archive, Level::Engine, &progress).unwrap(), frame);
        assert_eq!(told.get(), 2);
        assert_eq!(kept.compress(&archive, Level::Engine, &progress).unwrap(), frame);
        assert_eq!(told.get(), 2, "out of the cache");
        let file = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        fs::write(&file, zstd::bulk::compress(b"another", 1).unwrap()).unwrap();
        assert_eq!(kept.compress(&archive, Level::Engine, &progress).unwrap(), frame);
        assert_eq!(told.get(), 3);
        assert_eq!(fs::read(&file).unwrap(), frame);
        kept.compress(b"a configuration", Level::Whole, &progress).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the engine alone is kept");
    }
}
