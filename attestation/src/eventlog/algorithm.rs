//! Hash algorithms of a log's banks (TCG Algorithm Registry, table 3).

use std::fmt;

use aws_lc_rs::digest;

/// A bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// 0x0004. Carried, never replayed.
    Sha1,
    /// 0x000B.
    Sha256,
    /// 0x000C.
    Sha384,
    /// 0x000D.
    Sha512,
    /// 0x0012. Carried, never replayed.
    Sm3,
}

impl Algorithm {
    pub(super) fn from_id(id: u16) -> Option<Self> {
        Some(match id {
            0x0004 => Self::Sha1,
            0x000b => Self::Sha256,
            0x000c => Self::Sha384,
            0x000d => Self::Sha512,
            0x0012 => Self::Sm3,
            _ => return None,
        })
    }

    /// Length of a digest in bytes.
    pub fn digest_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sm3 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Digest of the concatenation of `parts`; `None` for the algorithms that prove nothing here.
    pub(super) fn hash(self, parts: &[&[u8]]) -> Option<Vec<u8>> {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
            Self::Sha1 | Self::Sm3 => return None,
        };
        let mut context = digest::Context::new(algorithm);
        for part in parts {
            context.update(part);
        }
        Some(context.finish().as_ref().to_vec())
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
            Self::Sm3 => "SM3",
        })
    }
}
