//! A place in the audit chain.

use std::fmt;

use hanzo_attestation::Digest384;

const LINE_START: &str = "hanzo-kbs-head v1 ";

/// A place in the chain: how many decisions there were, and the hash over them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    pub(crate) hash: Digest384,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LINE_START}{} {}", self.seq, self.hash)
    }
}

impl Head {
    /// Reads what `Display` writes; nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (seq, hash) = text.strip_prefix(LINE_START)?.split_once(' ')?;
        let head = Self {
            seq: seq.parse().ok()?,
            hash: Digest384::from_hex(hash)?,
        };
        (head.to_string() == text).then_some(head)
    }

    /// 8 bytes `seq`, big endian, then the hash.
    pub(crate) fn to_bytes(self) -> [u8; 56] {
        let mut bytes = [0; 56];
        let (seq, hash) = bytes.split_at_mut(8);
        seq.copy_from_slice(&self.seq.to_be_bytes());
        hash.copy_from_slice(&self.hash.0);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (seq, hash) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            seq: u64::from_be_bytes(*seq),
            hash: Digest384(hash.try_into().ok()?),
        })
    }
}
