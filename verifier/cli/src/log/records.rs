//! The lines of an export, each read within its bound.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use hanzo_log::audit::{AuditError, RECORD_BYTES_MAX, Record};

use crate::error::CliError;

pub(super) struct Records {
    path: PathBuf,
    file: BufReader<File>,
    bytes: u64,
    read: u64,
}

impl Records {
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let io = |source| CliError::Io {
            action: "read",
            path: path.to_path_buf(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        Ok(Self {
            path: path.to_path_buf(),
            file: BufReader::new(file),
            bytes,
            read: 0,
        })
    }

    /// Length of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How much of it was read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// The next record without its newline; `entry` is the number that it should have.
    pub(super) fn next(
        &mut self,
        entry: u64,
        fail: impl Fn(AuditError) -> CliError,
    ) -> Result<Option<Vec<u8>>, CliError> {
        let mut line = Vec::new();
        let limit = RECORD_BYTES_MAX as u64 + 2;
        let read = (&mut self.file).take(limit).read_until(b'\n', &mut line);
        self.read += read.map_err(|source| CliError::Io {
            action: "read",
            path: self.path.clone(),
            source,
        })? as u64;
        let malformed = |what: String| fail(AuditError::Malformed { entry, what });
        if line.is_empty() {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            return Err(malformed(match line.len() > RECORD_BYTES_MAX {
                true => format!("more than {RECORD_BYTES_MAX} bytes in one line"),
                false => "the file is cut off in the middle of a line".into(),
            }));
        }
        Ok(Some(line))
    }

    /// As [`Records::next`], where what is wrong does not matter.
    fn next_loosely(&mut self) -> Option<Record> {
        let refused = |source| CliError::Log {
            path: PathBuf::new(),
            source,
            first_difference: None,
        };
        let bytes = self.next(0, refused).ok()??;
        Record::parse(&bytes).ok()
    }

    /// The next entry's line; nothing of it is checked.
    pub(super) fn next_line_loosely(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Record::Entry { line, .. } = self.next_loosely()? {
                return Some(line);
            }
        }
    }

    /// The note of the last head; `None` if the file is no export.
    pub(super) fn last_head(&mut self) -> Option<String> {
        let mut last = None;
        while let Some(record) = self.next_loosely() {
            if let Record::Head { note } = record {
                last = Some(note);
            }
        }
        last
    }
}
