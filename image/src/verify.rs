//! An image against the image made again: the first difference by file, entry and offset.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use crate::assemble::{self, Files, INITRD, Parts, Progress};
use crate::cpio::{self, NUMBERS, RawEntry};
use crate::error::ImageError;
use crate::manifest::{FILE, Manifest};

/// Largest file of an image, in bytes.
const FILE_BYTES_MAX: u64 = 2 << 30;
/// Largest archive of an image before compression, in bytes.
const ARCHIVE_BYTES_MAX: u64 = 4 << 30;

/// Makes the image of `dir` again from `parts` and the decisions in its manifest, and compares every byte.
///
/// # Establishes
/// The directory holds exactly the files that these parts and its recorded decisions give.
///
/// # Does not establish
/// That the decisions (configuration, profile, network) are the ones somebody wants: they are the image's own.
///
/// # Errors
/// [`ImageError::Different`] names the first difference; others of making and reading.
pub fn verify(dir: &Path, parts: &Parts, progress: Progress<'_>) -> Result<Manifest, ImageError> {
    let claimed = Manifest::read(dir)?;
    let (made, manifest) = assemble::files(parts, &claimed.recipe()?, progress)?;
    progress("comparing");
    compare(dir, &made)?;
    Ok(manifest)
}

/// Compares a directory with the files it should hold; the manifest last, because it only repeats the others.
///
/// # Errors
/// [`ImageError::Different`], [`ImageError::Io`].
pub fn compare(dir: &Path, made: &Files) -> Result<(), ImageError> {
    for entry in fs::read_dir(dir).map_err(ImageError::io(dir))? {
        let name = entry.map_err(ImageError::io(dir))?.file_name();
        let name = name.to_string_lossy();
        if !made.contains_key(name.as_ref()) {
            return Err(ImageError::Different {
                file: name.into_owned(),
                how: "is no file of an image".into(),
            });
        }
    }
    let order = made
        .keys()
        .filter(|name| **name != FILE)
        .chain(made.keys().filter(|name| **name == FILE));
    for name in order {
        let Some(expected) = made.get(name) else { continue };
        let path = dir.join(name);
        let got = read(&path)?;
        if got != *expected {
            return Err(ImageError::Different {
                file: (*name).to_owned(),
                how: explain(name, expected, &got)?,
            });
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(ImageError::io(path))?;
    Ok(bytes)
}

fn explain(name: &str, expected: &[u8], got: &[u8]) -> Result<String, ImageError> {
    let plain = first_difference(expected, got);
    if name != INITRD {
        return Ok(plain);
    }
    // An archive that cannot be read at all is told by its bytes.
    let Ok(got) = decompress(got) else {
        return Ok(format!("{plain}; it is no zstd frame"));
    };
    let expected = decompress(expected)?;
    if expected == got {
        return Ok(format!(
            "{plain}; the archive inside is the same: another zstd or another level wrote it"
        ));
    }
    let expected = cpio::read(name, &expected)?;
    Ok(match cpio::read(name, &got) {
        Ok(got) => entries(&expected, &got),
        Err(error) => format!("{plain}; the archive inside cannot be read: {error}"),
    })
}

fn first_difference(expected: &[u8], got: &[u8]) -> String {
    match expected.iter().zip(got).position(|(a, b)| a != b) {
        Some(at) => {
            let byte = |bytes: &[u8]| bytes.get(at).copied().unwrap_or_default();
            format!("offset {at}: expected {:02x}, got {:02x}", byte(expected), byte(got))
        }
        None => format!("expected {} bytes, got {}", expected.len(), got.len()),
    }
}

fn decompress(frame: &[u8]) -> Result<Vec<u8>, ImageError> {
    let failed = |source| ImageError::Io {
        path: INITRD.into(),
        source,
    };
    let mut bytes = Vec::new();
    zstd::stream::read::Decoder::with_buffer(frame)
        .map_err(failed)?
        .take(ARCHIVE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// The first entry that is missing, additional or different.
fn entries(expected: &[RawEntry<'_>], got: &[RawEntry<'_>]) -> String {
    for (position, want) in expected.iter().enumerate() {
        let Some(have) = got.get(position) else {
            return format!("entry {} is missing", want.path);
        };
        let at = have.offset;
        if have.path != want.path {
            return format!(
                "offset {at} of the archive: expected entry {}, got {}",
                want.path, have.path
            );
        }
        let numbers = want.numbers.iter().zip(&have.numbers).zip(NUMBERS);
        for ((want_number, have_number), what) in numbers {
            // Sizes differ because bytes do; the bytes say more.
            if want_number != have_number && what != "size" {
                return format!(
                    "entry {}, offset {at} of the archive: {what}: expected {want_number:#o}, got {have_number:#o}",
                    want.path
                );
            }
        }
        if have.bytes != want.bytes {
            let from = have.bytes_offset;
            let how = first_difference(want.bytes, have.bytes);
            return format!("entry {}, whose bytes begin at {from} of the archive: {how}", want.path);
        }
    }
    match got.get(expected.len()) {
        Some(more) => format!("offset {} of the archive: entry {} is too much", more.offset, more.path),
        None => "padding of the archive differs".into(),
    }
}
