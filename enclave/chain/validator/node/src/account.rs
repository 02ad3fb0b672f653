//! An account whose key this process was given by whoever started it: in a guest's image by the launcher, which has it from a key broker.
//!
//! # Layout
//! The descriptor gives exactly 32 bytes and ends. The account's key is ML-DSA-65's of the seed HKDF-SHA-384(ikm = those bytes, no salt,
//! info = `hanzo/validator-account/v1`, 32 bytes): whoever lets the bytes be used for anything else gives nothing of the account away.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use hanzo_init::node::ACCOUNT_KEY_BYTES;
use hanzo_pqc::kdf::hkdf_sha384;
use hanzo_signer::{MiningWallet, SecurityLevel};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::NodeError;

/// What the account's seed is for.
const DOMAIN: &[u8] = b"hanzo/validator-account/v1";

/// The seed of an account, in this process' memory alone.
pub struct GivenAccount(Zeroizing<[u8; 32]>);

/// Why a descriptor gives no account.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GivenError {
    /// No open descriptor of this process.
    #[error("descriptor {number}: expected one that this process was started with, 3 or above, got {got}")]
    Closed {
        /// Which.
        number: i32,
        /// What the kernel said.
        got: String,
    },
    /// Something that others may read, or a person types into.
    #[error(
        "descriptor {number}: expected a pipe, a file without a name or one that its owner alone may read (0600), got {got}"
    )]
    Kind {
        /// Which.
        number: i32,
        /// What it is.
        got: &'static str,
    },
    /// It cannot be read.
    #[error("descriptor {number}: {got}")]
    Read {
        /// Which.
        number: i32,
        /// What the kernel said.
        got: String,
    },
    /// Fewer bytes.
    #[error("descriptor {number}: expected exactly 32 bytes, got {got}")]
    Short {
        /// Which.
        number: i32,
        /// How many came.
        got: usize,
    },
    /// More bytes.
    #[error("descriptor {number}: expected exactly 32 bytes, got more")]
    Long {
        /// Which.
        number: i32,
    },
}

impl GivenError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed { .. } => "node.account.closed",
            Self::Kind { .. } => "node.account.kind",
            Self::Read { .. } => "node.account.read",
            Self::Short { .. } => "node.account.short",
            Self::Long { .. } => "node.account.long",
        }
    }
}

impl From<GivenError> for NodeError {
    fn from(error: GivenError) -> Self {
        Self::part("--account-fd", error.code(), error)
    }
}

/// What may hand a secret over: nothing that another user could read, or that waits for a person.
fn kind(of: &Metadata) -> Result<(), &'static str> {
    let kind = of.file_type();
    match () {
        () if kind.is_fifo() => Ok(()),
        // A memfd has every permission and no name.
        () if kind.is_file() && of.nlink() == 0 => Ok(()),
        () if kind.is_file() && of.mode() & 0o077 == 0 => Ok(()),
        () if kind.is_file() => Err("a file that others may read"),
        () if kind.is_char_device() => Err("a terminal or another device"),
        () => Err("something else"),
    }
}

impl GivenAccount {
    /// Reads the descriptor to its end and closes it. Call it first thing in `main`.
    ///
    /// # Errors
    /// [`GivenError`].
    pub fn take(number: i32) -> Result<Self, GivenError> {
        let owned = hanzo_device::process::inherited_descriptor(number).map_err(|e| GivenError::Closed {
            number,
            got: e.to_string(),
        })?;
        Self::read(File::from(owned), number)
    }

    /// Reads a file to its end and closes it; `number` is for errors.
    ///
    /// # Errors
    /// [`GivenError`].
    pub fn read(mut file: File, number: i32) -> Result<Self, GivenError> {
        let failed = |e: std::io::Error| GivenError::Read {
            number,
            got: e.to_string(),
        };
        kind(&file.metadata().map_err(failed)?).map_err(|got| GivenError::Kind { number, got })?;
        let mut bytes = Zeroizing::new([0; ACCOUNT_KEY_BYTES + 1]);
        let mut got = 0_usize;
        while let Some(rest) = bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match file.read(rest) {
                Ok(0) => break,
                Ok(more) => got = got.saturating_add(more),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed(e)),
            }
        }
        match got.cmp(&ACCOUNT_KEY_BYTES) {
            std::cmp::Ordering::Less => Err(GivenError::Short { number, got }),
            std::cmp::Ordering::Greater => Err(GivenError::Long { number }),
            std::cmp::Ordering::Equal => {
                let mut seed = Zeroizing::new([0; 32]);
                let ikm = bytes.get(..ACCOUNT_KEY_BYTES).unwrap_or_default();
                hkdf_sha384(&[], ikm, DOMAIN, seed.as_mut_slice()).map_err(|e| GivenError::Read {
                    number,
                    got: e.to_string(),
                })?;
                bytes.zeroize();
                Ok(Self(seed))
            }
        }
    }

    /// The account's wallet.
    ///
    /// # Errors
    /// [`NodeError::Part`] if memory runs out.
    pub fn wallet(&self) -> Result<MiningWallet, NodeError> {
        MiningWallet::from_seed(SecurityLevel::MlDsa65, self.0.clone())
            .map_err(|e| NodeError::part("wallet", e.code(), e))
    }
}
