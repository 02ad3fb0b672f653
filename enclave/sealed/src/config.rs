//! Key configurations (RFC 9458 section 3): what a client must know about a key, on the wire and in the keyset.
//!
//! # Layout
//! `key_id` (1), KEM (2), public key (Npk), length of the suites in bytes (2), then for each KDF (2) and AEAD (2); all
//! big-endian. `application/ohttp-keys` is a list of them, each after its length (2).

use hanzo_attestation::keyset::OhttpKey;
use hanzo_pqc::gcm::Gcm;
use hanzo_pqc::hpke::message::{MessageKem, MessagePublicKey};

use crate::error::SealedError;

/// Media type of a list of key configurations.
pub const KEYS_MEDIA_TYPE: &str = "application/ohttp-keys";
/// HKDF-SHA256, the one KDF of all suites.
pub const KDF_HKDF_SHA256: u16 = 0x0001;
/// Life of a key in seconds from its keyset's `issued_at` on. What was sealed to it cannot be opened by anybody afterwards.
pub const KEY_LIFE_S: u64 = 3600;
/// Longest list of key configurations that is read, in bytes.
pub const KEYS_BYTES_MAX: usize = 16 * 1024;

/// What a key in the keyset is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Oblivious HTTP, chunked or not.
    Ohttp,
    /// EHBP v0.3.1.
    Ehbp,
}

impl Protocol {
    /// The word in the keyset.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ohttp => "ohttp",
            Self::Ehbp => "ehbp",
        }
    }
}

/// One key, as clients need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfig {
    key_id: u8,
    public_key: MessagePublicKey,
    aeads: Vec<Gcm>,
}

impl KeyConfig {
    /// Of a key that offers `aeads`, the preferred one first.
    pub fn new(key_id: u8, public_key: MessagePublicKey, aeads: &[Gcm]) -> Self {
        Self {
            key_id,
            public_key,
            aeads: aeads.to_vec(),
        }
    }

    /// The key identifier.
    pub fn key_id(&self) -> u8 {
        self.key_id
    }

    /// The KEM.
    pub fn kem(&self) -> MessageKem {
        self.public_key.kem()
    }

    /// The public key.
    pub fn public_key(&self) -> &MessagePublicKey {
        &self.public_key
    }

    /// The AEADs on offer, the preferred one first.
    pub fn aeads(&self) -> &[Gcm] {
        &self.aeads
    }

    /// The preferred AEAD.
    ///
    /// # Errors
    /// [`SealedError::Config`] if there is none.
    pub fn preferred(&self) -> Result<Gcm, SealedError> {
        self.aeads.first().copied().ok_or(NO_SUITE)
    }

    /// The bytes of one key configuration.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.key_id];
        out.extend_from_slice(&self.kem().id().to_be_bytes());
        out.extend_from_slice(self.public_key.as_bytes());
        // At most two AEADs exist.
        out.extend_from_slice(&((self.aeads.len() * 4) as u16).to_be_bytes());
        for aead in &self.aeads {
            out.extend_from_slice(&KDF_HKDF_SHA256.to_be_bytes());
            out.extend_from_slice(&aead.id().to_be_bytes());
        }
        out
    }

    /// Reads exactly one key configuration. Suites that are not on the closed list are passed over, as RFC 9458 asks.
    ///
    /// # Errors
    /// [`SealedError::Config`]; [`SealedError::Suite`] for another KEM, or if no suite is left.
    pub fn parse(bytes: &[u8]) -> Result<Self, SealedError> {
        let cut = |what| SealedError::Config {
            what,
            expected: "as many bytes as its KEM and its lengths say",
        };
        let (key_id, rest) = bytes.split_first().ok_or(cut("key identifier"))?;
        let (kem, rest) = rest.split_first_chunk::<2>().ok_or(cut("KEM"))?;
        let kem = u16::from_be_bytes(*kem);
        let kem = MessageKem::from_id(kem).ok_or(SealedError::Suite { what: "KEM", got: kem })?;
        let (public, rest) = rest.split_at_checked(kem.public_key_len()).ok_or(cut("public key"))?;
        let public_key = MessagePublicKey::from_bytes(kem, public).map_err(|_| BAD_KEY)?;
        let (len, suites) = rest.split_first_chunk::<2>().ok_or(cut("length of the suites"))?;
        let (pairs, odd) = suites.as_chunks::<4>();
        if usize::from(u16::from_be_bytes(*len)) != suites.len() || !odd.is_empty() {
            return Err(cut("suites"));
        }
        let mut aeads = Vec::new();
        for [k0, k1, a0, a1] in pairs {
            let aead = Gcm::from_id(u16::from_be_bytes([*a0, *a1]));
            match aead {
                Some(aead) if u16::from_be_bytes([*k0, *k1]) == KDF_HKDF_SHA256 && !aeads.contains(&aead) => {
                    aeads.push(aead);
                }
                _ => {}
            }
        }
        if aeads.is_empty() {
            return Err(NO_SUITE);
        }
        Ok(Self::new(*key_id, public_key, &aeads))
    }

    /// As the keyset has it.
    pub fn to_keyset(&self, protocol: Protocol) -> OhttpKey {
        OhttpKey {
            aeads: self.aeads.iter().map(|aead| aead.name().to_owned()).collect(),
            kem: self.kem().name().to_owned(),
            key_id: self.key_id,
            protocol: protocol.name().to_owned(),
            public_key: self.public_key.to_hex(),
        }
    }

    /// Out of a keyset. Unlike on the wire, a word that this side does not know is refused.
    ///
    /// # Errors
    /// [`SealedError::Config`].
    pub fn from_keyset(key: &OhttpKey) -> Result<Self, SealedError> {
        let kem = MessageKem::from_name(&key.kem).ok_or(SealedError::Config {
            what: "ohttp_keys.kem",
            expected: "x-wing or x25519",
        })?;
        let public_key = MessagePublicKey::from_hex(kem, &key.public_key).map_err(|_| BAD_KEY)?;
        let mut aeads = Vec::new();
        for name in &key.aeads {
            match Gcm::from_name(name) {
                Some(aead) if !aeads.contains(&aead) => aeads.push(aead),
                _ => {
                    return Err(SealedError::Config {
                        what: "ohttp_keys.aeads",
                        expected: "aes-128-gcm and aes-256-gcm, each once at most",
                    });
                }
            }
        }
        if aeads.is_empty() {
            return Err(NO_SUITE);
        }
        Ok(Self::new(key.key_id, public_key, &aeads))
    }
}

const NO_SUITE: SealedError = SealedError::Config {
    what: "suites",
    expected: "HKDF-SHA256 with AES-128-GCM or AES-256-GCM",
};
const BAD_KEY: SealedError = SealedError::Config {
    what: "public key",
    expected: "a canonical public key that is of no small order",
};

/// Writes `application/ohttp-keys`.
pub fn encode_list(configs: &[KeyConfig]) -> Vec<u8> {
    let mut out = Vec::new();
    for config in configs {
        let bytes = config.encode();
        // The longest is an X-Wing key with two suites: 1229 bytes.
        out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
        out.extend_from_slice(&bytes);
    }
    out
}

/// Reads `application/ohttp-keys`. Configurations of other KEMs and suites are passed over; a malformed one makes the
/// whole list malformed.
///
/// # Errors
/// [`SealedError::Config`], [`SealedError::TooLong`].
pub fn parse_list(mut bytes: &[u8]) -> Result<Vec<KeyConfig>, SealedError> {
    if bytes.len() > KEYS_BYTES_MAX {
        return Err(SealedError::TooLong {
            what: KEYS_MEDIA_TYPE,
            limit: KEYS_BYTES_MAX,
        });
    }
    let cut = SealedError::Config {
        what: "list",
        expected: "configurations after their lengths and nothing else",
    };
    let mut configs = Vec::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk::<2>().ok_or(cut.clone())?;
        let (one, rest) = rest
            .split_at_checked(usize::from(u16::from_be_bytes(*len)))
            .ok_or(cut.clone())?;
        match KeyConfig::parse(one) {
            Ok(config) => configs.push(config),
            Err(SealedError::Suite { .. }) => {}
            Err(error) if error == NO_SUITE => {}
            Err(error) => return Err(error),
        }
        bytes = rest;
    }
    Ok(configs)
}
