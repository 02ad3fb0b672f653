//! Opening a pack for the one root that configuration and grant name.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_device::sha256::LANES;
use hanzo_pqc::Dek;

use crate::OnProgress;
use crate::cipher::{PackCipher, TAG_BYTES};
use crate::error::PackError;
use crate::header::{CHUNK_BYTES, HEADER_BYTES, Header};
use crate::parallel::for_each_group;
use crate::seal::Layout;
use crate::source::Source;
use crate::staging::Staged;
use crate::table::{DataChunk, PackedFile, Table, chunk_leaf, chunk_leaves, data_chunks};

/// How many places a chunk that fails is tried at, the nearest first, to say whether it was moved.
const DIAGNOSIS_PLACES_MAX: usize = 256;

/// A model whose every byte is under the root it was opened for.
#[derive(Debug)]
pub struct OpenedPack {
    /// Where its files are: `out_dir/<root in hex>`, mode 0700, files 0400.
    pub dir: PathBuf,
    /// The files, in byte order of names.
    pub files: Vec<PackedFile>,
    /// The root they were checked against.
    pub weights_root: Digest256,
    /// The pack's public salt. Two packs with one salt were sealed wrongly: refuse the second.
    pub salt: [u8; 32],
}

impl OpenedPack {
    /// SHA-256 of one file's bytes; `None` if the model has no such file.
    ///
    /// # Errors
    /// `pack.io`.
    pub fn file_sha256(&self, name: &str) -> Result<Option<Digest256>, PackError> {
        if !self.files.iter().any(|f| f.name.as_str() == name) {
            return Ok(None);
        }
        let path = self.dir.join(name);
        let bytes = fs::read(&path).map_err(PackError::io("reading", &path))?;
        Ok(Some(Digest256::of(&bytes)))
    }
}

/// Opens `pack`, a file or a disk (a block device), under `dek` into a new directory inside `out_dir`, which must exist.
///
/// # Establishes
/// Every byte of every file in [`OpenedPack::dir`] is under `root`, and there are no other files. It does not establish who
/// sealed them: `root` comes from the measured configuration.
///
/// # Errors
/// [`PackError`]; nothing is left in `out_dir`.
pub fn open(
    pack: &Path,
    dek: &Dek,
    root: &Digest256,
    out_dir: &Path,
    progress: OnProgress<'_>,
) -> Result<OpenedPack, PackError> {
    let target = out_dir.join(root.to_string());
    if target.symlink_metadata().is_ok() {
        return Err(PackError::OutputExists { path: target });
    }
    open_from(Source::open(pack)?, dek, root, out_dir, progress)
}

/// What a pack holds, as far as whoever has its DEK can know.
#[derive(Debug)]
pub struct CheckedPack {
    /// The files, in byte order of names.
    pub files: Vec<PackedFile>,
    /// The root that all of them are under.
    pub weights_root: Digest256,
}

/// Opens every chunk of `pack` under `dek` in memory and keeps none.
///
/// # Establishes
/// The pack is whole, and [`open`] will take it for this root and no other. Whether it is the root that somebody wants, the caller compares.
///
/// # Errors
/// [`PackError`].
pub fn check(pack: &Path, dek: &Dek, progress: OnProgress<'_>) -> Result<CheckedPack, PackError> {
    let sealed = Sealed::open(Source::open(pack)?, dek)?;
    let weights_root = sealed.table.weights_root();
    sealed.check_length()?;
    let chunks = data_chunks(&sealed.table.files);
    for_each_group(&chunks, LANES, progress, &|first, group, buffers| {
        sealed.open_group(first as u64, group, buffers, &chunks)
    })?;
    Ok(CheckedPack {
        files: sealed.table.files,
        weights_root,
    })
}

pub(crate) fn open_from(
    source: Source,
    dek: &Dek,
    root: &Digest256,
    out_dir: &Path,
    progress: OnProgress<'_>,
) -> Result<OpenedPack, PackError> {
    let target = out_dir.join(root.to_string());
    let sealed = Sealed::open(source, dek)?;
    let got = sealed.table.weights_root();
    if got != *root {
        return Err(PackError::Root { expected: *root, got });
    }
    sealed.check_length()?;
    let staged = Staged::dir_in(out_dir)?;
    sealed.write_files(staged.path(), progress)?;
    staged.rename(&target)?;
    Ok(OpenedPack {
        dir: target,
        files: sealed.table.files,
        weights_root: *root,
        salt: sealed.header.salt,
    })
}

/// A pack whose header and table are read and authentic.
struct Sealed {
    source: Source,
    header: Header,
    layout: Layout,
    cipher: PackCipher,
    table: Table,
}

impl Sealed {
    fn open(source: Source, dek: &Dek) -> Result<Self, PackError> {
        let mut bytes = [0; HEADER_BYTES];
        source.read_at(&mut bytes, 0)?;
        let header = Header::decode(&bytes)?;
        let layout = Layout::new(&header);
        let got = source.bytes();
        if got < layout.data_start() {
            return Err(PackError::Truncated {
                chunk: (got - HEADER_BYTES as u64) / (CHUNK_BYTES + TAG_BYTES) as u64,
                expected: layout.data_start(),
                got,
            });
        }
        let cipher = PackCipher::derive(dek, &header)?;
        let table = Table::decode(&read_table(&source, &header, &layout, &cipher)?, header.data_chunks)?;
        Ok(Self {
            source,
            header,
            layout,
            cipher,
            table,
        })
    }

    fn check_length(&self) -> Result<(), PackError> {
        let (expected, got) = (self.layout.pack_bytes(&self.table.files), self.source.bytes());
        if got >= expected && !self.source.ends_with_pack(expected)? {
            return Err(PackError::Trailing { expected, got });
        }
        if got < expected {
            let whole = (0_u64..)
                .zip(data_chunks(&self.table.files))
                .take_while(|(n, c)| self.layout.data_offset(n + 1, c.before + c.len as u64) <= got)
                .count() as u64;
            return Err(PackError::Truncated {
                chunk: self.header.table_chunks() + whole,
                expected,
                got,
            });
        }
        Ok(())
    }

    fn write_files(&self, dir: &Path, progress: OnProgress<'_>) -> Result<(), PackError> {
        let mut outputs = Vec::new();
        for packed in &self.table.files {
            let path = dir.join(packed.name.as_str());
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o400)
                .open(&path)
                .map_err(PackError::io("creating", &path))?;
            file.set_len(packed.size).map_err(PackError::io("sizing", &path))?;
            outputs.push((path, file));
        }
        let chunks = data_chunks(&self.table.files);
        for_each_group(&chunks, LANES, progress, &|first, group, buffers| {
            self.open_group(first as u64, group, buffers, &chunks)?;
            for (chunk, plain) in group.iter().zip(buffers) {
                match outputs.get(chunk.file) {
                    Some((path, file)) => file
                        .write_all_at(plain, chunk.offset)
                        .map_err(PackError::io("writing", path))?,
                    None => return Err(PackError::Cipher { what: "a file number" }),
                }
            }
            Ok(())
        })
    }

    /// Opens chunks that follow each other from `first` on; afterwards each one's buffer is its plaintext. The failure of the lowest
    /// counts.
    fn open_group(
        &self,
        first: u64,
        group: &[DataChunk],
        buffers: &mut [Vec<u8>],
        all: &[DataChunk],
    ) -> Result<(), PackError> {
        let mut failure = None;
        let mut opened = 0;
        for ((number, chunk), buffer) in (first..).zip(group).zip(buffers.iter_mut()) {
            failure = self.open_chunk(number, chunk, buffer, all).err();
            if failure.is_some() {
                break;
            }
            opened += 1;
        }
        let plain: Vec<&[u8]> = buffers.iter().take(opened).map(Vec::as_slice).collect();
        for (((number, chunk), plain), leaf) in (first..).zip(group).zip(&plain).zip(chunk_leaves(&plain)) {
            let expected = self.table.leaves.get(number as usize);
            // Nothing is refused by four hashes at a time alone.
            if expected != Some(&leaf) && expected != Some(&chunk_leaf(plain)) {
                return Err(PackError::Leaf {
                    chunk: self.layout.data_place(number).index,
                    file: self.name_of(chunk),
                    offset: chunk.offset,
                });
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Its leaf is not looked at.
    fn open_chunk(
        &self,
        number: u64,
        chunk: &DataChunk,
        buffer: &mut Vec<u8>,
        all: &[DataChunk],
    ) -> Result<(), PackError> {
        let place = self.layout.data_place(number);
        self.read(number, chunk, buffer)?;
        if self.cipher.open(place, buffer).is_some() {
            return Ok(());
        }
        let (file, offset) = (self.name_of(chunk), chunk.offset);
        Err(match self.found_at(number, chunk, all) {
            Some(found) => PackError::Reordered {
                chunk: place.index,
                found,
                file,
                offset,
            },
            None => PackError::Chunk {
                chunk: place.index,
                file,
                offset,
            },
        })
    }

    fn read(&self, number: u64, chunk: &DataChunk, buffer: &mut Vec<u8>) -> Result<(), PackError> {
        // What is left of the last chunk is overwritten; clearing it first would cost another pass.
        buffer.resize(chunk.len + TAG_BYTES, 0);
        self.source
            .read_at(buffer, self.layout.data_offset(number, chunk.before))
    }

    /// Which chunk of this pack stands at `number`, if it is one.
    fn found_at(&self, number: u64, chunk: &DataChunk, all: &[DataChunk]) -> Option<u64> {
        let mut buffer = Vec::new();
        let mut places: Vec<_> = (0_u64..)
            .zip(all)
            .filter(|(other, c)| *other != number && c.len == chunk.len)
            .collect();
        places.sort_by_key(|(other, _)| other.abs_diff(number));
        places
            .into_iter()
            .take(DIAGNOSIS_PLACES_MAX)
            .map(|(other, _)| self.layout.data_place(other))
            .find(|place| {
                self.read(number, chunk, &mut buffer).is_ok() && self.cipher.open(*place, &mut buffer).is_some()
            })
            .map(|place| place.index)
    }

    fn name_of(&self, chunk: &DataChunk) -> String {
        self.table
            .files
            .get(chunk.file)
            .map_or_else(String::new, |f| f.name.to_string())
    }
}

fn read_table(source: &Source, header: &Header, layout: &Layout, cipher: &PackCipher) -> Result<Vec<u8>, PackError> {
    // Bounded twice: by the format's limit and by the file's own length, both checked before.
    let mut table = Vec::with_capacity(header.table_bytes as usize);
    let mut buffer = Vec::new();
    for index in 0..header.table_chunks() {
        let left = header.table_bytes - index * CHUNK_BYTES as u64;
        buffer.clear();
        buffer.resize(left.min(CHUNK_BYTES as u64) as usize + TAG_BYTES, 0);
        source.read_at(&mut buffer, Layout::table_offset(index))?;
        match cipher.open(layout.table_place(index), &mut buffer) {
            Some(plain) => table.extend_from_slice(plain),
            None => return Err(PackError::Table { chunk: index }),
        }
    }
    Ok(table)
}
