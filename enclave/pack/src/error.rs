//! Everything that can be wrong with a pack or its source.

use std::io;
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;

/// Why a pack was not sealed or not opened. Nothing is left behind in either case.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The operating system refused.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// No space left where the result is written.
    #[error("{what} {}: no space left; free some and run again, nothing was left behind", path.display())]
    DiskFull {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
    },
    /// A file name that the format does not carry.
    #[error(
        "source file {}: expected a name of 1 to 128 characters out of A-Z a-z 0-9 . _ -, not starting with a dot; rename or remove it",
        path.display()
    )]
    SourceName {
        /// The file.
        path: PathBuf,
    },
    /// Something else than a plain file.
    #[error("source {}: expected a plain file, got a directory, link or device; a model directory is flat", path.display())]
    SourceKind {
        /// The entry.
        path: PathBuf,
    },
    /// No files, or too many, or too large.
    #[error("source {}: {what}: expected {expected}, got {got}", path.display())]
    SourceSize {
        /// The directory.
        path: PathBuf,
        /// Which count.
        what: &'static str,
        /// What is accepted.
        expected: String,
        /// What came.
        got: u64,
    },
    /// The file changed while it was read.
    #[error("source file {}: its size changed while it was read; run again when nothing writes to it", path.display())]
    SourceChanged {
        /// The file.
        path: PathBuf,
    },
    /// The header is not one of this format and version.
    #[error("pack header: {field}: expected {expected}, got {got}; this is no model pack of this version")]
    Header {
        /// Which field.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// Bytes are missing.
    #[error(
        "pack: expected {expected} bytes, got {got}: truncated in chunk {chunk}, or a chunk was dropped; copy the pack again"
    )]
    Truncated {
        /// First chunk that is not there whole (table chunks count first).
        chunk: u64,
        /// Bytes that header and table call for.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// Bytes follow the last chunk.
    #[error("pack: expected {expected} bytes, got {got}: bytes follow the last chunk; copy the pack again")]
    Trailing {
        /// Bytes that header and table call for.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// The file table does not authenticate.
    #[error(
        "pack table, chunk {chunk}: not authentic: the DEK is not this pack's, or header or table were changed; use the key the pack was sealed with, or copy the pack again"
    )]
    Table {
        /// Which chunk.
        chunk: u64,
    },
    /// The file table is authentic but breaks the format: whoever sealed it held the DEK.
    #[error("pack table: {field}: expected {expected}, got {got}; seal the model again with this version")]
    TableShape {
        /// Which field.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// Another model, or another version of it.
    #[error(
        "pack: weights root: expected {expected}, got {got}: another or an older pack under the same key; give the pack whose root the configuration names"
    )]
    Root {
        /// What configuration and grant name.
        expected: Digest256,
        /// What the pack holds.
        got: Digest256,
    },
    /// A chunk does not authenticate.
    #[error(
        "pack chunk {chunk} ({file} at byte {offset}): not authentic: flipped, cut, or out of another pack; copy the pack again"
    )]
    Chunk {
        /// Which chunk (table chunks count first).
        chunk: u64,
        /// In which file.
        file: String,
        /// Where in that file.
        offset: u64,
    },
    /// A chunk of this pack stands at another place.
    #[error(
        "pack chunk {chunk} ({file} at byte {offset}): holds chunk {found}: chunks were dropped, repeated or reordered; copy the pack again"
    )]
    Reordered {
        /// Which place.
        chunk: u64,
        /// Which chunk stands there.
        found: u64,
        /// In which file.
        file: String,
        /// Where in that file.
        offset: u64,
    },
    /// An authentic chunk does not match its leaf: whoever sealed it held the DEK.
    #[error(
        "pack chunk {chunk} ({file} at byte {offset}): its plaintext is not the one under the weights root; seal the model again"
    )]
    Leaf {
        /// Which chunk.
        chunk: u64,
        /// In which file.
        file: String,
        /// Where in that file.
        offset: u64,
    },
    /// The result is there already.
    #[error("output {}: exists already; remove it or choose another directory", path.display())]
    OutputExists {
        /// The path.
        path: PathBuf,
    },
    /// The cipher refused; not reachable with data of this format's sizes.
    #[error("pack: the cipher refused {what}")]
    Cipher {
        /// To do what.
        what: &'static str,
    },
    /// The system's random source failed.
    #[error("pack: the random source failed: no salt, so nothing was sealed")]
    Random,
}

impl PackError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "pack.io",
            Self::DiskFull { .. } => "pack.disk_full",
            Self::SourceName { .. } => "pack.source.name",
            Self::SourceKind { .. } => "pack.source.kind",
            Self::SourceSize { .. } => "pack.source.size",
            Self::SourceChanged { .. } => "pack.source.changed",
            Self::Header { .. } => "pack.header",
            Self::Truncated { .. } => "pack.truncated",
            Self::Trailing { .. } => "pack.trailing",
            Self::Table { .. } => "pack.table.not_authentic",
            Self::TableShape { .. } => "pack.table.malformed",
            Self::Root { .. } => "pack.root",
            Self::Chunk { .. } => "pack.chunk.not_authentic",
            Self::Reordered { .. } => "pack.chunk.reordered",
            Self::Leaf { .. } => "pack.chunk.leaf",
            Self::OutputExists { .. } => "pack.output.exists",
            Self::Cipher { .. } => "pack.cipher",
            Self::Random => "pack.random",
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { what, path },
            _ => Self::Io { what, path, source },
        }
    }

    /// The chunk at fault, to report the first of several.
    pub(crate) fn chunk(&self) -> Option<u64> {
        match self {
            Self::Chunk { chunk, .. } | Self::Reordered { chunk, .. } | Self::Leaf { chunk, .. } => Some(*chunk),
            _ => None,
        }
    }
}
