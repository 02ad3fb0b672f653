//! Records of an export.

use hanzo_attestation::digest::Hasher384;
use hanzo_attestation::{Digest384, jcs};
use serde::{Deserialize, Serialize};

use crate::NOTE_BYTES_MAX;

/// Longest line in bytes: what an entry bundle of C2SP tlog-tiles holds.
pub(crate) const LINE_BYTES_MAX: usize = u16::MAX as usize;
/// Longest record in bytes: a signed head, in which every byte may be escaped.
pub const RECORD_BYTES_MAX: usize = 2 * NOTE_BYTES_MAX;

const HASH: &[u8] = b"{\"hash\":\"";
const LINE: &[u8] = b"\",\"line\":";

/// A record of an export, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An entry.
    Entry {
        /// Its canonical JSON; checked by [`sequence`].
        line: Vec<u8>,
        /// Its link.
        hash: Digest384,
    },
    /// A signed head.
    Head {
        /// The signed note.
        note: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadRecord {
    checkpoint: String,
}

impl Record {
    /// Reads a record without its newline. The line of an entry is taken as it stands; [`sequence`] checks it.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(format!(
                "record: {} bytes, at most {RECORD_BYTES_MAX} are accepted",
                bytes.len()
            ));
        }
        if let Some(rest) = bytes.strip_prefix(HASH) {
            let shape = || "record: expected {\"hash\":\"96 hex digits\",\"line\":{...}}".to_owned();
            let (hash, rest) = rest.split_at_checked(2 * Digest384::LEN).ok_or_else(shape)?;
            let hash = std::str::from_utf8(hash)
                .ok()
                .and_then(Digest384::from_hex)
                .ok_or_else(shape)?;
            let line = rest
                .strip_prefix(LINE)
                .and_then(|l| l.strip_suffix(b"}"))
                .ok_or_else(shape)?;
            return Ok(Self::Entry {
                line: line.to_vec(),
                hash,
            });
        }
        let head: HeadRecord = jcs::from_slice("record", bytes, RECORD_BYTES_MAX).map_err(|e| e.to_string())?;
        Ok(Self::Head { note: head.checkpoint })
    }
}

/// An entry as a record of an export, without a newline.
pub fn entry_record(line: &str, hash: &Digest384) -> String {
    format!("{{\"hash\":\"{hash}\",\"line\":{line}}}")
}

/// A signed head as a record of an export, without a newline.
pub fn head_record(note: &str) -> String {
    let record = HeadRecord {
        checkpoint: note.to_owned(),
    };
    let bytes = jcs::to_vec("record", &record).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// The chain's next hash: `SHA-384(previous || line)`.
pub fn link(previous: &Digest384, line: &[u8]) -> Digest384 {
    let mut hasher = Hasher384::default();
    hasher.update(previous.as_bytes());
    hasher.update(line);
    hasher.finish()
}

/// The number of a line, which must be a canonical JSON object with a positive integer `seq`; what is wrong, if something is.
///
/// # Errors
/// What is wrong, for people.
pub fn sequence(line: &[u8]) -> Result<u64, String> {
    let value: serde_json::Value = jcs::from_slice("line", line, LINE_BYTES_MAX).map_err(|e| e.to_string())?;
    value
        .as_object()
        .and_then(|object| object.get("seq"))
        .and_then(serde_json::Value::as_u64)
        .filter(|seq| (1..=crate::SIZE_MAX).contains(seq))
        .ok_or_else(|| "line: expected an object whose member seq is a positive integer".to_owned())
}
