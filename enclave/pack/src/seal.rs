//! Sealing a model directory.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use hanzo_attestation::Digest256;
use hanzo_pqc::Dek;

use crate::OnProgress;
use crate::cipher::{PackCipher, Place, TAG_BYTES};
use crate::error::PackError;
use crate::header::{CHUNK_BYTES, HEADER_BYTES, Header};
use crate::parallel::for_each_chunk;
use crate::root::{Leaves, Source};
use crate::staging::{Staged, parent_of, sync_dir};
use crate::table::{PackedFile, chunk_leaf, data_chunks, table_bytes};

/// What was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedPack {
    /// What configurations and grants name.
    pub weights_root: Digest256,
    /// The files, in byte order of names.
    pub files: Vec<PackedFile>,
    /// Size of the pack in bytes.
    pub pack_bytes: u64,
}

/// Seals the files of `src_dir` into `out_file` under a fresh random salt. The pack is complete and on disk when this
/// returns, and absent (or what it was before) when it fails.
///
/// # Errors
/// [`PackError`]: `pack.source.*` for what the format does not carry, `pack.disk_full`, `pack.io`.
pub fn seal(src_dir: &Path, dek: &Dek, out_file: &Path, progress: OnProgress<'_>) -> Result<SealedPack, PackError> {
    let mut salt = [0; 32];
    hanzo_pqc::random::fill(&mut salt).map_err(|_| PackError::Random)?;
    seal_with_salt(src_dir, dek, out_file, salt, progress)
}

/// As [`seal`] with a given salt. Not public: a repeated salt repeats nonces.
pub(crate) fn seal_with_salt(
    src_dir: &Path,
    dek: &Dek,
    out_file: &Path,
    salt: [u8; 32],
    progress: OnProgress<'_>,
) -> Result<SealedPack, PackError> {
    let source = Source::open(src_dir)?;
    let chunks = data_chunks(&source.files);
    let header = Header {
        salt,
        table_bytes: table_bytes(&source.files),
        data_chunks: chunks.len() as u64,
    };
    let cipher = PackCipher::derive(dek, &header)?;
    let (staged, file) = Staged::file_beside(out_file)?;
    let layout = Layout::new(&header);
    let leaves = Leaves::new(chunks.len());
    for_each_chunk(&chunks, progress, &|number, chunk, buffer| {
        source.read(chunk, buffer)?;
        leaves.set(number, chunk_leaf(buffer));
        cipher.seal(layout.data_place(number as u64), buffer)?;
        write(&file, &staged, buffer, layout.data_offset(number as u64, chunk.before))
    })?;
    source.unchanged()?;
    let table = leaves.into_table(source.files);
    write_head(&header, &cipher, &table.encode(), |bytes, at| {
        write(&file, &staged, bytes, at)
    })?;
    file.sync_all().map_err(PackError::io("syncing", out_file))?;
    let pack_bytes = layout.pack_bytes(&table.files);
    drop(file);
    staged.rename(out_file)?;
    sync_dir(parent_of(out_file))?;
    Ok(SealedPack {
        weights_root: table.weights_root(),
        files: table.files,
        pack_bytes,
    })
}

/// Writes header and sealed table.
pub(crate) fn write_head(
    header: &Header,
    cipher: &PackCipher,
    table: &[u8],
    write: impl Fn(&[u8], u64) -> Result<(), PackError>,
) -> Result<(), PackError> {
    write(&header.encode(), 0)?;
    let layout = Layout::new(header);
    for (index, chunk) in (0_u64..).zip(table.chunks(CHUNK_BYTES)) {
        let mut sealed = chunk.to_vec();
        cipher.seal(layout.table_place(index), &mut sealed)?;
        write(&sealed, Layout::table_offset(index))?;
    }
    Ok(())
}

fn write(file: &File, staged: &Staged, bytes: &[u8], at: u64) -> Result<(), PackError> {
    file.write_all_at(bytes, at)
        .map_err(PackError::io("writing", staged.path()))
}

/// Where chunks stand in a pack. Table chunks come first and count first.
pub(crate) struct Layout {
    table_chunks: u64,
    data_chunks: u64,
    data_start: u64,
}

impl Layout {
    pub(crate) fn new(header: &Header) -> Self {
        let table_chunks = header.table_chunks();
        Self {
            table_chunks,
            data_chunks: header.data_chunks,
            data_start: HEADER_BYTES as u64 + header.table_bytes + table_chunks * TAG_BYTES as u64,
        }
    }

    pub(crate) fn table_place(&self, index: u64) -> Place {
        self.place(index)
    }

    pub(crate) fn data_place(&self, number: u64) -> Place {
        self.place(self.table_chunks + number)
    }

    pub(crate) fn place(&self, index: u64) -> Place {
        Place {
            index,
            table: index < self.table_chunks,
            last: index + 1 == self.table_chunks + self.data_chunks,
        }
    }

    pub(crate) fn table_offset(index: u64) -> u64 {
        HEADER_BYTES as u64 + index * (CHUNK_BYTES + TAG_BYTES) as u64
    }

    pub(crate) fn data_start(&self) -> u64 {
        self.data_start
    }

    /// `before`: plaintext bytes of the data chunks before this one.
    pub(crate) fn data_offset(&self, number: u64, before: u64) -> u64 {
        self.data_start + before + number * TAG_BYTES as u64
    }

    pub(crate) fn pack_bytes(&self, files: &[PackedFile]) -> u64 {
        let plain: u64 = files.iter().map(|f| f.size).sum();
        self.data_offset(self.data_chunks, plain)
    }
}

/// Seals a table as it stands, with data chunks that match it: what a hostile holder of the DEK can make.
#[cfg(test)]
pub(crate) fn seal_forged(out_file: &Path, dek: &Dek, salt: [u8; 32], table: &[u8], data: &[&[u8]]) {
    let header = Header {
        salt,
        table_bytes: table.len() as u64,
        data_chunks: data.len() as u64,
    };
    let cipher = PackCipher::derive(dek, &header).unwrap();
    let layout = Layout::new(&header);
    let file = File::create(out_file).unwrap();
    let write = |bytes: &[u8], at| {
        file.write_all_at(bytes, at).unwrap();
        Ok(())
    };
    write_head(&header, &cipher, table, write).unwrap();
    let mut before = 0;
    for (number, chunk) in data.iter().enumerate() {
        let mut sealed = chunk.to_vec();
        cipher.seal(layout.data_place(number as u64), &mut sealed).unwrap();
        write(&sealed, layout.data_offset(number as u64, before)).unwrap();
        before += chunk.len() as u64;
    }
}
