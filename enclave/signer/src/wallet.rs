//! A miner's wallet: one ML-DSA key, its address, its encrypted file and its 24 words.
//!
//! What a wallet signs is under the domain `hanzo/wallet-message/v1`, which no chain reads: a signed message is never a transaction.
//! Transactions go through a [`crate::Signer`], which [`MiningWallet::into_key`] is for; what an owner says beside them is a
//! [`crate::Statement`].

mod file;
mod phrase;

use hanzo_pqc::{PqcError, random};
use zeroize::Zeroizing;

pub use file::{Cipher, Cost, FILE_BYTES_MAX};

use crate::key::{PublicKey, SecurityLevel, SignerKey};

const MESSAGE_DOMAIN: &str = "hanzo/wallet-message/v1";
/// Length of the seed in bytes.
pub const SEED_LEN: usize = 32;

/// Why a wallet's file, words or signature are refused. No text contains secret bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalletError {
    /// Cryptography.
    #[error(transparent)]
    Crypto(#[from] PqcError),
    /// Too short or too long a passphrase.
    #[error("passphrase: {got} bytes, expected 12 to 1024: six random words are a good one")]
    Passphrase {
        /// Bytes after normalisation.
        got: usize,
    },
    /// Not a wallet file.
    #[error(
        "wallet file: {field}: expected {expected}, got {got}: is this a wallet file, whole, and of this program's version?"
    )]
    File {
        /// Which field.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// Wrong passphrase or changed file: which, nobody can tell.
    #[error("wallet file: it does not open: the passphrase is another, or the file was changed; nothing was read")]
    Open,
    /// The seed inside is another key's.
    #[error(
        "wallet file: the key inside is not the one that the file names: it was not written by a wallet; do not use it"
    )]
    OtherKey,
    /// Words that are no phrase.
    #[error("recovery phrase: {rule}: check the 24 words and their order")]
    Phrase {
        /// What is wrong.
        rule: &'static str,
    },
}

impl WalletError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Crypto(e) => e.code(),
            Self::Passphrase { .. } => "wallet.passphrase",
            Self::File { .. } => "wallet.file",
            Self::Open => "wallet.open",
            Self::OtherKey => "wallet.other_key",
            Self::Phrase { .. } => "wallet.phrase",
        }
    }
}

/// A miner's key. Neither `Clone` nor `Debug`; wiped when dropped.
///
/// ```
/// use hanzo_signer::{MiningWallet, SecurityLevel};
///
/// # fn main() -> Result<(), hanzo_signer::wallet::WalletError> {
/// let wallet = MiningWallet::generate(SecurityLevel::MlDsa65)?;
/// assert!(wallet.address().starts_with("0x"));
/// let signature = wallet.sign(b"a message")?;
/// assert!(wallet.verify(b"a message", &signature).is_ok());
/// assert!(wallet.verify(b"another", &signature).is_err());
/// # Ok(())
/// # }
/// ```
/// ```compile_fail,E0277
/// fn wants_debug<T: std::fmt::Debug>() {}
/// wants_debug::<hanzo_signer::MiningWallet>();
/// ```
pub struct MiningWallet {
    seed: Zeroizing<[u8; SEED_LEN]>,
    key: SignerKey,
}

impl MiningWallet {
    /// Draws a key.
    ///
    /// # Errors
    /// [`WalletError::Crypto`] if the random generator fails.
    pub fn generate(level: SecurityLevel) -> Result<Self, WalletError> {
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        random::fill(seed.as_mut_slice())?;
        Self::from_seed(level, seed)
    }

    /// Expands the 32-byte seed xi of FIPS 204.
    ///
    /// # Errors
    /// [`WalletError::Crypto`] if memory runs out.
    pub fn from_seed(level: SecurityLevel, seed: Zeroizing<[u8; SEED_LEN]>) -> Result<Self, WalletError> {
        let key = SignerKey::from_seed(level, &seed)?;
        Ok(Self { seed, key })
    }

    /// The parameter set.
    pub fn level(&self) -> SecurityLevel {
        self.key.public().level()
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        self.key.public()
    }

    /// `0x` and 64 lower-case hex digits: [`PublicKey::digest`], the ledger's account.
    pub fn address(&self) -> String {
        address(self.key.public())
    }

    /// Signs a message, hedged: two signatures of one message differ.
    ///
    /// # Errors
    /// [`WalletError::Crypto`] if the random generator fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, WalletError> {
        Ok(self.key.sign(MESSAGE_DOMAIN, message)?)
    }

    /// Checks a signature of this wallet.
    ///
    /// # Errors
    /// As [`verify_message`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), WalletError> {
        verify_message(self.key.public(), message, signature)
    }

    pub(crate) fn signer_key(&self) -> &SignerKey {
        &self.key
    }

    /// The key, for a signer of role wallet or receipt. Where a guard has it, nothing else should.
    pub fn into_key(self) -> SignerKey {
        self.key
    }

    /// The wallet as an encrypted file: Argon2id (64 MiB, 3 passes, 4 lanes) and XChaCha20-Poly1305.
    ///
    /// # Errors
    /// [`WalletError::Passphrase`]; [`WalletError::Crypto`].
    pub fn export_to_bytes(&self, passphrase: &str) -> Result<Vec<u8>, WalletError> {
        self.export_with(passphrase, Cipher::XChaCha20Poly1305, Cost::default())
    }

    /// The same with a chosen cipher and cost.
    ///
    /// # Errors
    /// As [`MiningWallet::export_to_bytes`]; [`WalletError::File`] for a cost out of bounds.
    pub fn export_with(&self, passphrase: &str, cipher: Cipher, cost: Cost) -> Result<Vec<u8>, WalletError> {
        file::write(self.key.public(), &self.seed, passphrase, cipher, cost)
    }

    /// Opens an encrypted file.
    ///
    /// # Establishes
    /// The whole file is as it was written under this passphrase, and the key inside is the one that it names.
    ///
    /// # Errors
    /// [`WalletError::File`] before any memory is taken; [`WalletError::Open`]; [`WalletError::OtherKey`].
    pub fn import_from_bytes(bytes: &[u8], passphrase: &str) -> Result<Self, WalletError> {
        let (level, seed, fingerprint) = file::read(bytes, passphrase)?;
        let wallet = Self::from_seed(level, seed)?;
        if wallet.public().digest() != fingerprint {
            return Err(WalletError::OtherKey);
        }
        Ok(wallet)
    }

    /// The seed as 24 English words of BIP-39: 256 bits and a checksum of 8. Whoever reads them has the key.
    ///
    /// # Errors
    /// [`WalletError::Phrase`], never for a seed of 32 bytes.
    pub fn phrase(&self) -> Result<Zeroizing<String>, WalletError> {
        phrase::write(&self.seed)
    }

    /// The wallet of 24 words. They are the seed itself, not a password of BIP-39; the level is not in them.
    ///
    /// # Errors
    /// [`WalletError::Phrase`].
    pub fn from_phrase(level: SecurityLevel, words: &str) -> Result<Self, WalletError> {
        Self::from_seed(level, phrase::read(words)?)
    }
}

/// The address of a public key, as [`MiningWallet::address`] has it.
pub fn address(key: &PublicKey) -> String {
    format!("0x{}", hex::encode(key.digest()))
}

/// Checks the signature of a wallet's message.
///
/// # Errors
/// [`WalletError::Crypto`] with [`PqcError::Length`] or [`PqcError::MlDsa`].
pub fn verify_message(key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<(), WalletError> {
    Ok(key.verify(MESSAGE_DOMAIN, message, signature)?)
}
