//! Files out of a Debian package.
//!
//! # Layout
//! `ar` archive (`ar(5)`, common format): 8 bytes `!<arch>\n`, then members of a 60-byte header (name 16, time 12, owner 6,
//! group 6, mode 8, size 10 decimal, end mark 2) and their bytes, padded to 2. Members `debian-binary` ("2.0\n"),
//! `control.tar.*`, `data.tar.{xz,zst}`, in this order (`deb(5)`).

use std::collections::BTreeMap;
use std::io::Read;

use lzma_rust2::XzReader;

use crate::error::ImageError;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER_BYTES: usize = 60;
/// Largest file taken out of a package, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most memory that a compressed stream may ask for, in KiB.
const DECODER_KIB_MAX: u32 = 256 * 1024;

/// The regular files of a package for which `wanted` says so, by path without a leading `./`.
///
/// # Errors
/// [`ImageError::Malformed`] with the offset in the package, or in its data archive; [`ImageError::TooLarge`].
pub fn files(
    name: &str,
    package: &[u8],
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Vec<u8>>, ImageError> {
    let (offset, member, data) = data_member(name, package)?;
    let malformed = |expected, got: String| ImageError::Malformed {
        file: format!("{name}: {member}"),
        offset: offset as u64,
        expected,
        got,
    };
    let stream: Box<dyn Read + '_> = match member.as_str() {
        "data.tar.xz" => Box::new(XzReader::new_mem_limit(data, false, DECODER_KIB_MAX)),
        "data.tar.zst" => Box::new(
            zstd::stream::read::Decoder::with_buffer(data)
                .map_err(|e| malformed("a zstd stream (RFC 8878)", e.to_string()))?,
        ),
        "data.tar" => Box::new(data),
        _ => return Err(malformed("data.tar.xz or data.tar.zst", member.clone())),
    };
    let mut found = BTreeMap::new();
    let mut archive = tar::Archive::new(stream);
    let entries = archive
        .entries()
        .map_err(|e| malformed("a tar archive", e.to_string()))?;
    for entry in entries {
        let mut entry = entry.map_err(|e| malformed("a tar archive", e.to_string()))?;
        let path = entry.path().map_err(|e| malformed("a path", e.to_string()))?;
        let path = path.to_string_lossy().trim_start_matches("./").to_owned();
        if !entry.header().entry_type().is_file() || !wanted(&path) {
            continue;
        }
        let size = entry.size();
        if size > FILE_BYTES_MAX {
            return Err(ImageError::TooLarge {
                path: path.into(),
                got: size,
                bytes_max: FILE_BYTES_MAX,
            });
        }
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .map_err(|e| malformed("a whole file in the tar archive", e.to_string()))?;
        if bytes.len() as u64 != size {
            return Err(malformed(
                "a whole file in the tar archive",
                format!("{} of {size} bytes", bytes.len()),
            ));
        }
        found.insert(path, bytes);
    }
    Ok(found)
}

/// An `xz` file's content.
///
/// # Errors
/// [`ImageError::Malformed`], [`ImageError::TooLarge`].
pub fn unxz(name: &str, compressed: &[u8]) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    XzReader::new_mem_limit(compressed, false, DECODER_KIB_MAX)
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| ImageError::Malformed {
            file: name.to_owned(),
            offset: 0,
            expected: "an xz stream",
            got: e.to_string(),
        })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ImageError::TooLarge {
            path: name.into(),
            got: bytes.len() as u64,
            bytes_max: FILE_BYTES_MAX,
        });
    }
    Ok(bytes)
}

/// Offset, name and bytes of the data member, the third one.
fn data_member<'a>(name: &str, package: &'a [u8]) -> Result<(usize, String, &'a [u8]), ImageError> {
    let malformed = |offset: usize, expected, got: String| ImageError::Malformed {
        file: name.to_owned(),
        offset: offset as u64,
        expected,
        got,
    };
    if !package.starts_with(MAGIC) {
        return Err(malformed(0, "!<arch> (a Debian package)", "other bytes".into()));
    }
    let mut at = MAGIC.len();
    let mut position = 0;
    while at < package.len() {
        let header = package
            .get(at..at + HEADER_BYTES)
            .ok_or_else(|| malformed(at, "a 60-byte member header", "the end of the file".into()))?;
        if !header.ends_with(b"`\n") {
            return Err(malformed(
                at + 58,
                "the end mark of a member header",
                "other bytes".into(),
            ));
        }
        let text = |range: std::ops::Range<usize>| {
            let field = header.get(range).unwrap_or_default();
            String::from_utf8_lossy(field)
                .trim_end()
                .trim_end_matches('/')
                .to_owned()
        };
        let (member, size) = (text(0..16), text(48..58));
        let bytes: usize = size.parse().map_err(|_| malformed(at + 48, "a decimal size", size))?;
        let start = at + HEADER_BYTES;
        let end = start.checked_add(bytes).filter(|end| *end <= package.len());
        let content = end
            .and_then(|end| package.get(start..end))
            .ok_or_else(|| malformed(at + 48, "a size within the file", bytes.to_string()))?;
        match position {
            0 if member == "debian-binary" && content == b"2.0\n" => {}
            0 => return Err(malformed(at, "debian-binary with 2.0", member)),
            1 if member.starts_with("control.tar") => {}
            1 => return Err(malformed(at, "control.tar", member)),
            _ => return Ok((start, member, content)),
        }
        position += 1;
        at = start + bytes + bytes % 2;
    }
    Err(malformed(at, "data.tar", "the end of the file".into()))
}
