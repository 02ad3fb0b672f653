//! Key types of the HPKE suites.

use std::fmt;

use super::KemSuite;
use super::hybrid::{self, Hybrid, HybridKey, MlKem1024P384, SecretBytes, Xwing};
use crate::error::length;
use crate::{PqcError, text};

/// Length of a private key's seed, in every suite.
pub const SEED_LEN: usize = 32;

/// A validated public key.
///
/// # Layout
/// X-Wing: ML-KEM-768 encapsulation key (1184), X25519 point (32). MLKEM1024-P384: ML-KEM-1024 encapsulation key
/// (1568), uncompressed SEC 1 point (97).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    suite: KemSuite,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Reads a public key: lengths, the ML-KEM modulus check, and the point on its curve and not of small order.
    ///
    /// # Errors
    /// [`PqcError::Length`], [`PqcError::Encoding`], [`PqcError::LowOrder`].
    pub fn from_bytes(suite: KemSuite, bytes: &[u8]) -> Result<Self, PqcError> {
        length("HPKE public key", suite.public_key_len(), bytes.len())?;
        match suite {
            KemSuite::Xwing => hybrid::check_public_key::<Xwing>(bytes)?,
            KemSuite::MlKem1024P384 => hybrid::check_public_key::<MlKem1024P384>(bytes)?,
        }
        Ok(Self {
            suite,
            bytes: bytes.to_vec(),
        })
    }

    /// [`Self::from_bytes`] from lower-case hex.
    ///
    /// # Errors
    /// As there, and [`PqcError::Hex`].
    pub fn from_hex(suite: KemSuite, text: &str) -> Result<Self, PqcError> {
        Self::from_bytes(suite, &text::decode("HPKE public key", suite.public_key_len(), text)?)
    }

    /// The suite.
    pub fn suite(&self) -> KemSuite {
        self.suite
    }

    /// The encoded key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The encoded key, lower-case hex.
    pub fn to_hex(&self) -> String {
        hex::encode(&self.bytes)
    }

    pub(super) fn encapsulate(&self) -> Result<(Vec<u8>, SecretBytes), PqcError> {
        match self.suite {
            KemSuite::Xwing => hybrid::encapsulate::<Xwing>(&self.bytes),
            KemSuite::MlKem1024P384 => hybrid::encapsulate::<MlKem1024P384>(&self.bytes),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.suite.name(), self.to_hex())
    }
}

enum Key {
    Xwing(HybridKey<Xwing>),
    MlKem1024P384(HybridKey<MlKem1024P384>),
}

/// A private key, expanded once from its 32-byte seed and held by AWS-LC, which wipes it when dropped.
///
/// ```compile_fail,E0277
/// fn wants_clone<T: Clone>() {}
/// wants_clone::<hanzo_pqc::hpke::PrivateKey>();
/// ```
/// ```compile_fail,E0277
/// fn wants_debug<T: std::fmt::Debug>() {}
/// wants_debug::<hanzo_pqc::hpke::PrivateKey>();
/// ```
pub struct PrivateKey {
    key: Key,
    public: PublicKey,
}

impl PrivateKey {
    /// Draws a new key inside AWS-LC. It has no seed: where a key must outlive the process, draw a seed with
    /// [`crate::random::fill`], seal that and use [`Self::from_seed`].
    ///
    /// # Errors
    /// [`PqcError::Backend`] if the random generator fails.
    pub fn generate(suite: KemSuite) -> Result<Self, PqcError> {
        Ok(match suite {
            KemSuite::Xwing => Self::assemble(suite, Key::Xwing, HybridKey::generate()?),
            KemSuite::MlKem1024P384 => Self::assemble(suite, Key::MlKem1024P384, HybridKey::generate()?),
        })
    }

    /// Expands the 32-byte seed, which is the private key in both KEMs' drafts.
    ///
    /// # Errors
    /// [`PqcError::Encoding`] for the seeds, 2^-190 of them, that give no P-384 scalar.
    pub fn from_seed(suite: KemSuite, seed: &[u8; SEED_LEN]) -> Result<Self, PqcError> {
        Ok(match suite {
            KemSuite::Xwing => Self::assemble(suite, Key::Xwing, HybridKey::from_seed(seed)?),
            KemSuite::MlKem1024P384 => Self::assemble(suite, Key::MlKem1024P384, HybridKey::from_seed(seed)?),
        })
    }

    fn assemble<H: Hybrid>(
        suite: KemSuite,
        wrap: fn(HybridKey<H>) -> Key,
        (key, bytes): (HybridKey<H>, Vec<u8>),
    ) -> Self {
        Self {
            key: wrap(key),
            public: PublicKey { suite, bytes },
        }
    }

    /// The suite.
    pub fn suite(&self) -> KemSuite {
        self.public.suite
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn decapsulate(&self, enc: &[u8]) -> Result<SecretBytes, PqcError> {
        length("HPKE enc", self.suite().enc_len(), enc.len())?;
        match &self.key {
            Key::Xwing(key) => key.decapsulate(enc),
            Key::MlKem1024P384(key) => key.decapsulate(enc),
        }
    }
}
