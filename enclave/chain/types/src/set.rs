//! Who votes in an epoch.

use hanzo_attestation::Digest256;
use hanzo_attestation::merkle::leaf_hash;
use hanzo_ledger::{Address, Canonical, DecodeError, Genesis, List, PublicKey, Reader};

use crate::quorum::{COMMITTEE_MAX, CommitteeError, quorum};

/// Longest validator set in bytes.
pub const VALIDATOR_SET_BYTES_MAX: usize = 1 + 8 + 2 + COMMITTEE_MAX * (32 + 1952);

const VERSION: u8 = 1;

/// One member of a committee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// Its account.
    pub id: Address,
    /// The key that signs its votes in this epoch.
    pub key: PublicKey,
}

impl Canonical for Validator {
    fn write(&self, out: &mut Vec<u8>) {
        self.id.write(out);
        self.key.write(out);
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        Ok(Self {
            id: Canonical::read(from, "Validator.id")?,
            key: Canonical::read(from, "Validator.key")?,
        })
    }
}

/// Not a validator set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The size.
    #[error(transparent)]
    Committee(#[from] CommitteeError),
    /// Another version.
    #[error("validator set: version: expected {VERSION}, got {got}")]
    Version {
        /// Its.
        got: u8,
    },
    /// Keys out of order or twice.
    #[error(
        "validator set: validator {at}: its key is not above the one before it: sort by key, and give each key once"
    )]
    Order {
        /// Which, from 0.
        at: usize,
    },
    /// One account with two keys.
    #[error("validator set: {id} stands in it twice: a validator has one key in an epoch")]
    Twice {
        /// Whose.
        id: Address,
    },
}

impl SetError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decode(e) => e.code(),
            Self::Committee(e) => e.code(),
            Self::Version { .. } => "chain.set.version",
            Self::Order { .. } => "chain.set.order",
            Self::Twice { .. } => "chain.set.twice",
        }
    }
}

/// The committee of one epoch: validators by key, of a size that is admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorSet {
    epoch: u64,
    validators: List<Validator, COMMITTEE_MAX>,
    quorum: usize,
}

impl ValidatorSet {
    /// Of validators in any order.
    ///
    /// # Errors
    /// [`SetError::Committee`], [`SetError::Order`] for one key twice, [`SetError::Twice`].
    pub fn new(epoch: u64, mut validators: Vec<Validator>) -> Result<Self, SetError> {
        validators.sort_by(|a, b| a.key.cmp(&b.key));
        let quorum = quorum(validators.len())?;
        let mut ids = Vec::with_capacity(validators.len());
        let mut before: Option<&PublicKey> = None;
        for (at, validator) in validators.iter().enumerate() {
            if before.is_some_and(|b| *b >= validator.key) {
                return Err(SetError::Order { at });
            }
            before = Some(&validator.key);
            if ids.contains(&validator.id) {
                return Err(SetError::Twice { id: validator.id });
            }
            ids.push(validator.id);
        }
        // The size was held against the bound.
        let validators = List::new(validators).unwrap_or_default();
        Ok(Self {
            epoch,
            validators,
            quorum,
        })
    }

    /// The committee that a chain starts with: epoch 0.
    ///
    /// # Errors
    /// As [`ValidatorSet::new`].
    pub fn of_genesis(genesis: &Genesis) -> Result<Self, SetError> {
        let first = genesis.validators.iter().map(|v| Validator {
            id: v.owner,
            key: v.key.clone(),
        });
        Self::new(0, first.collect())
    }

    /// Reads one, sorted as it must be.
    ///
    /// # Layout
    /// Version 1, epoch 8, count 2, then account 32 and ML-DSA-65 key 1952 of each, ascending by key. Big endian.
    ///
    /// # Errors
    /// [`SetError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SetError> {
        let parts = Parts::from_bytes("validator set", bytes, VALIDATOR_SET_BYTES_MAX)?;
        if parts.version != VERSION {
            return Err(SetError::Version { got: parts.version });
        }
        let keys = parts.validators.iter().map(|v| &v.key);
        let out_of_order = keys.clone().zip(keys.skip(1)).position(|(a, b)| a >= b);
        if let Some(at) = out_of_order {
            return Err(SetError::Order {
                at: at.saturating_add(1),
            });
        }
        Self::new(parts.epoch, parts.validators.to_vec())
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let parts = Parts {
            version: VERSION,
            epoch: self.epoch,
            validators: self.validators.clone(),
        };
        parts.to_bytes()
    }

    /// What names this set: SHA-256 over 0x00, a domain string and the canonical bytes.
    pub fn digest(&self) -> Digest256 {
        leaf_hash(&[b"hanzo/validator-set/v1", &self.to_bytes()])
    }

    /// When it votes.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// In the order of their keys; a place here is what certificates count.
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// How many votes make a certificate.
    pub fn quorum(&self) -> usize {
        self.quorum
    }

    /// The place of a key.
    pub fn position(&self, key: &PublicKey) -> Option<usize> {
        self.validators.binary_search_by(|v| v.key.cmp(key)).ok()
    }
}

/// As they are written.
struct Parts {
    version: u8,
    epoch: u64,
    validators: List<Validator, COMMITTEE_MAX>,
}

impl Canonical for Parts {
    fn write(&self, out: &mut Vec<u8>) {
        self.version.write(out);
        self.epoch.write(out);
        self.validators.write(out);
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        Ok(Self {
            version: Canonical::read(from, "ValidatorSet.version")?,
            epoch: Canonical::read(from, "ValidatorSet.epoch")?,
            validators: Canonical::read(from, "ValidatorSet.validators")?,
        })
    }
}
