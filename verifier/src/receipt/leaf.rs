//! Leaves of a receipt log: receipts without salts, of each keyset one that says where its receipts begin, and orders of administrators.

use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::{Digest256, Digest384};
use serde::{Deserialize, Serialize};

use super::{ReceiptError, SignedReceipt};
use crate::order::SignedOrder;

/// Longest leaf in bytes: what an entry bundle of C2SP tlog-tiles holds.
pub const LEAF_BYTES_MAX: usize = u16::MAX as usize;

/// How large a log is, and its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogHead {
    /// RFC 6962 root over its leaves.
    pub root: Digest256,
    /// How many leaves.
    pub size: u64,
}

/// Who holds the head of a log, so that nobody puts an older log back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fence {
    /// The key broker: a guest whose log is older than the head there does not serve.
    Kbs,
    /// Nobody.
    None,
}

impl Fence {
    /// The word in leaves.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kbs => "kbs",
            Self::None => "none",
        }
    }
}

/// The leaf before the first receipt of a keyset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysetLeaf {
    /// Who holds the log's head.
    pub fence: Fence,
    /// Whose receipt keys sign what follows.
    pub keyset: Keyset,
    /// Its digest, as receipts name it.
    pub keyset_digest: Digest384,
    /// The log before this leaf.
    pub previous: LogHead,
    /// Format version: 1.
    pub version: u32,
}

impl KeysetLeaf {
    /// The leaf of a keyset, after a log that stands at `previous`.
    ///
    /// # Errors
    /// [`JcsError`], never for a keyset that was sealed.
    pub fn new(keyset: Keyset, previous: LogHead, fence: Fence) -> Result<Self, JcsError> {
        Ok(Self {
            fence,
            keyset_digest: keyset.digest()?,
            keyset,
            previous,
            version: 1,
        })
    }

    /// The canonical bytes: the leaf.
    ///
    /// # Errors
    /// As [`KeysetLeaf::new`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("keyset leaf", self)
    }
}

/// A leaf; nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// A keyset begins.
    Keyset(Box<KeysetLeaf>),
    /// A receipt.
    Receipt(Box<SignedReceipt>),
    /// An administrator narrowed what the guest does.
    Order(Box<SignedOrder>),
}

impl Leaf {
    /// Reads a canonical leaf of any kind.
    ///
    /// # Errors
    /// [`ReceiptError::Malformed`], [`ReceiptError::Value`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.starts_with(b"{\"receipt\":") {
            return Ok(Self::Receipt(Box::new(SignedReceipt::from_bytes(bytes)?)));
        }
        if bytes.starts_with(b"{\"order\":") {
            let signed = SignedOrder::parse(bytes).map_err(|_| ReceiptError::Value {
                field: "order",
                expected: "an order in canonical form",
                got: "another document".into(),
            })?;
            return Ok(Self::Order(Box::new(signed)));
        }
        let leaf: KeysetLeaf = jcs::from_slice("keyset leaf", bytes, LEAF_BYTES_MAX)?;
        let digest = leaf.keyset.digest()?;
        if digest != leaf.keyset_digest {
            return Err(ReceiptError::Keyset {
                expected: digest,
                got: leaf.keyset_digest,
            });
        }
        match leaf.version {
            1 => Ok(Self::Keyset(Box::new(leaf))),
            other => Err(ReceiptError::Value {
                field: "version",
                expected: "1",
                got: other.to_string(),
            }),
        }
    }
}
