//! HPKE contexts of sealed messages (RFC 9180 base mode): many parts in order, and secrets exported for the way back.
//!
//! | KEM | KDF | AEAD |
//! |---|---|---|
//! | 0x647a X-Wing | 0x0001 HKDF-SHA256 | 0x0001 AES-128-GCM or 0x0002 AES-256-GCM |
//! | 0x0020 DHKEM(X25519, HKDF-SHA256), for foreign clients alone | the same | the same |
//!
//! Data keys are never wrapped with these: that is [`super::seal`], whose list of suites is another.

use std::fmt;

use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519, agree};
use zeroize::Zeroizing;

use super::hybrid::{Hybrid, SecretBytes, Xwing};
use super::schedule::{self, Ids, Kdf, Labeled};
use super::{KemSuite, keys};
use crate::error::length;
use crate::gcm::{Gcm, GcmKey, nonce_of};
use crate::{PqcError, aead, text};

/// The closed list of KEMs that messages are sealed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKem {
    /// X-Wing, 0x647a: ML-KEM-768 and X25519.
    Xwing,
    /// DHKEM(X25519, HKDF-SHA256), 0x0020: classical, so what is recorded today can be opened by a quantum computer.
    X25519,
}

impl MessageKem {
    /// Every KEM.
    pub const ALL: [MessageKem; 2] = [MessageKem::Xwing, MessageKem::X25519];

    /// The number in the IANA HPKE registry.
    pub const fn id(self) -> u16 {
        match self {
            Self::Xwing => 0x647a,
            Self::X25519 => 0x0020,
        }
    }

    /// The KEM of that number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kem| kem.id() == id)
    }

    /// The name in formats.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xwing => "x-wing",
            Self::X25519 => "x25519",
        }
    }

    /// The KEM of that exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kem| kem.name() == name)
    }

    /// Length of a public key in bytes (Npk).
    pub const fn public_key_len(self) -> usize {
        match self {
            Self::Xwing => 1216,
            Self::X25519 => 32,
        }
    }

    /// Length of an encapsulation in bytes (Nenc).
    pub const fn enc_len(self) -> usize {
        match self {
            Self::Xwing => 1120,
            Self::X25519 => 32,
        }
    }
}

/// A validated public key that messages are sealed to.
#[derive(Clone, PartialEq, Eq)]
pub struct MessagePublicKey {
    kem: MessageKem,
    bytes: Vec<u8>,
}

impl MessagePublicKey {
    /// Reads a public key; points of small order and ML-KEM coefficients out of range are refused.
    ///
    /// # Errors
    /// [`PqcError::Length`], [`PqcError::Encoding`], [`PqcError::LowOrder`].
    pub fn from_bytes(kem: MessageKem, bytes: &[u8]) -> Result<Self, PqcError> {
        length("message public key", kem.public_key_len(), bytes.len())?;
        match kem {
            MessageKem::Xwing => {
                keys::PublicKey::from_bytes(KemSuite::Xwing, bytes)?;
            }
            MessageKem::X25519 => Xwing::check_point("message public key", bytes)?,
        }
        Ok(Self {
            kem,
            bytes: bytes.to_vec(),
        })
    }

    /// [`Self::from_bytes`] from lower-case hex.
    ///
    /// # Errors
    /// As there, and [`PqcError::Hex`].
    pub fn from_hex(kem: MessageKem, hex: &str) -> Result<Self, PqcError> {
        Self::from_bytes(kem, &text::decode("message public key", kem.public_key_len(), hex)?)
    }

    /// The KEM.
    pub fn kem(&self) -> MessageKem {
        self.kem
    }

    /// The encoded key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The encoded key, lower-case hex.
    pub fn to_hex(&self) -> String {
        hex::encode(&self.bytes)
    }
}

impl fmt::Debug for MessagePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessagePublicKey({}, {})", self.kem.name(), self.to_hex())
    }
}

enum Key {
    Xwing(keys::PrivateKey),
    X25519(agreement::PrivateKey),
}

/// A private key that messages are sealed to; AWS-LC wipes it when dropped.
///
/// ```compile_fail,E0277
/// fn wants_clone<T: Clone>() {}
/// wants_clone::<hanzo_pqc::hpke::message::MessageKey>();
/// ```
/// ```compile_fail,E0277
/// fn wants_debug<T: std::fmt::Debug>() {}
/// wants_debug::<hanzo_pqc::hpke::message::MessageKey>();
/// ```
pub struct MessageKey {
    key: Key,
    public: MessagePublicKey,
}

impl MessageKey {
    /// The key of a 32-byte secret: X-Wing's seed, or X25519's scalar (clamped when used).
    ///
    /// # Errors
    /// [`PqcError::Backend`] if AWS-LC refuses it.
    pub fn from_seed(kem: MessageKem, seed: &[u8; 32]) -> Result<Self, PqcError> {
        let refused = |_| PqcError::Backend { what: "X25519 key" };
        let (key, bytes) = match kem {
            MessageKem::Xwing => {
                let key = keys::PrivateKey::from_seed(KemSuite::Xwing, seed)?;
                let bytes = key.public_key().as_bytes().to_vec();
                (Key::Xwing(key), bytes)
            }
            MessageKem::X25519 => {
                let key = agreement::PrivateKey::from_private_key(&X25519, seed).map_err(refused)?;
                let bytes = key
                    .compute_public_key()
                    .map_err(|_| PqcError::Backend { what: "X25519 key" })?;
                (Key::X25519(key), bytes.as_ref().to_vec())
            }
        };
        Ok(Self {
            key,
            public: MessagePublicKey { kem, bytes },
        })
    }

    /// The public half.
    pub fn public_key(&self) -> &MessagePublicKey {
        &self.public
    }

    fn decapsulate(&self, enc: &[u8]) -> Result<SecretBytes, PqcError> {
        length("HPKE enc", self.public.kem.enc_len(), enc.len())?;
        match &self.key {
            Key::Xwing(key) => key.decapsulate(enc),
            Key::X25519(key) => {
                Xwing::check_point("HPKE enc", enc)?;
                dhkem("HPKE enc", key, enc, enc, &self.public.bytes)
            }
        }
    }
}

/// ExtractAndExpand of RFC 9180 section 4.1 over one X25519 exchange.
fn dhkem(
    what: &'static str,
    key: &agreement::PrivateKey,
    peer: &[u8],
    enc: &[u8],
    recipient: &[u8],
) -> Result<SecretBytes, PqcError> {
    let kem = MessageKem::X25519.id().to_be_bytes();
    let labeled = Labeled::new(Kdf::Sha256, [b"KEM".as_slice(), &kem].concat());
    let peer = UnparsedPublicKey::new(&X25519, peer);
    agree(key, peer, PqcError::LowOrder { what }, |dh| {
        let prk = labeled.extract(b"", b"eae_prk", dh)?;
        labeled.expand(&prk, b"shared_secret", &[enc, recipient].concat(), 32)
    })
}

/// One direction of one message: parts in order. In base mode sender and recipient hold the same context; which one
/// seals and which one opens is the protocol's affair.
pub struct MessageContext {
    schedule: schedule::Context,
    key: GcmKey,
    base_nonce: [u8; aead::NONCE_LEN],
    sequence: u64,
}

impl MessageContext {
    fn new(kem: MessageKem, gcm: Gcm, secret: &[u8], info: &[u8]) -> Result<Self, PqcError> {
        let ids = Ids {
            kem: kem.id(),
            kdf: Kdf::Sha256,
            aead: gcm.id(),
        };
        let schedule = schedule::Context::of_messages(ids, secret, info, gcm.key_len())?;
        let base_nonce = schedule.nonce(0);
        Ok(Self {
            key: GcmKey::new(gcm, schedule.key())?,
            schedule,
            base_nonce,
            sequence: 0,
        })
    }

    fn next_nonce(&mut self) -> Result<[u8; aead::NONCE_LEN], PqcError> {
        let nonce = nonce_of(&self.base_nonce, self.sequence);
        // 2^64 parts cannot be sent; the check stands here so that a nonce cannot come twice either.
        self.sequence = self.sequence.checked_add(1).ok_or(PqcError::OutputTooLong {
            what: "HPKE sequence",
            limit: usize::MAX,
            got: usize::MAX,
        })?;
        Ok(nonce)
    }

    /// Seals the next part where it stands.
    ///
    /// # Errors
    /// [`PqcError::Backend`].
    pub fn seal_in_place(&mut self, aad: &[u8], data: &mut Vec<u8>) -> Result<(), PqcError> {
        let nonce = self.next_nonce()?;
        self.key.seal_in_place(&nonce, aad, data)
    }

    /// Opens the next part where it stands. After an error the context is one part further: throw it away.
    ///
    /// # Errors
    /// [`PqcError::Open`]; `data` is then wiped and empty.
    pub fn open_in_place(&mut self, aad: &[u8], data: &mut Vec<u8>) -> Result<(), PqcError> {
        let nonce = self.next_nonce()?;
        self.key.open_in_place(&nonce, aad, data)
    }

    /// Context.Export of RFC 9180 section 5.3.
    ///
    /// # Errors
    /// [`PqcError::OutputTooLong`] above 255 x 32 bytes.
    pub fn export(&self, exporter_context: &[u8], len: usize) -> Result<Zeroizing<Vec<u8>>, PqcError> {
        self.schedule.export(exporter_context, len)
    }
}

/// SetupBaseS: returns `enc` and the context.
///
/// # Errors
/// [`PqcError::LowOrder`]; [`PqcError::Backend`].
pub fn setup_sender(key: &MessagePublicKey, gcm: Gcm, info: &[u8]) -> Result<(Vec<u8>, MessageContext), PqcError> {
    let (enc, secret) = match key.kem {
        MessageKem::Xwing => super::hybrid::encapsulate::<Xwing>(&key.bytes)?,
        MessageKem::X25519 => {
            let failed = || PqcError::Backend {
                what: "HPKE encapsulation",
            };
            let ephemeral = agreement::PrivateKey::generate(&X25519).map_err(|_| failed())?;
            let share = ephemeral.compute_public_key().map_err(|_| failed())?;
            let enc = share.as_ref().to_vec();
            let secret = dhkem("message public key", &ephemeral, &key.bytes, &enc, &key.bytes)?;
            (enc, secret)
        }
    };
    let context = MessageContext::new(key.kem, gcm, &secret, info)?;
    Ok((enc, context))
}

/// SetupBaseR.
///
/// # Errors
/// [`PqcError::Length`], [`PqcError::LowOrder`] for a malformed `enc`. A well-formed `enc` for another key gives a context
/// that opens nothing.
pub fn setup_recipient(key: &MessageKey, gcm: Gcm, enc: &[u8], info: &[u8]) -> Result<MessageContext, PqcError> {
    let secret = key.decapsulate(enc)?;
    MessageContext::new(key.public.kem, gcm, &secret, info)
}
