//! The key schedule of HPKE base mode (RFC 9180 section 5.1) and what a context does with it.

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::KemSuite;
use crate::PqcError;
use crate::aead::{Aes256Gcm, KEY_LEN, NONCE_LEN};

const VERSION: &[u8] = b"HPKE-v1";
const MODE_BASE: u8 = 0x00;
/// AES-256-GCM in the IANA registry: the one AEAD of all our suites.
pub(super) const AES_256_GCM: u16 = 0x0002;

/// HKDF by hash, with its IANA number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kdf {
    Sha256,
    Sha384,
    #[cfg(test)]
    Sha512,
}

impl Kdf {
    const fn id(self) -> u16 {
        match self {
            Self::Sha256 => 0x0001,
            Self::Sha384 => 0x0002,
            #[cfg(test)]
            Self::Sha512 => 0x0003,
        }
    }

    const fn hash_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            #[cfg(test)]
            Self::Sha512 => 64,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            #[cfg(test)]
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// The three numbers of an HPKE suite.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    pub(super) kem: u16,
    pub(super) kdf: Kdf,
    pub(super) aead: u16,
}

impl Ids {
    pub(super) fn of(suite: KemSuite) -> Self {
        let kdf = match suite {
            KemSuite::Xwing => Kdf::Sha256,
            KemSuite::MlKem1024P384 => Kdf::Sha384,
        };
        Self {
            kem: suite.kem_id(),
            kdf,
            aead: AES_256_GCM,
        }
    }

    fn suite_id(self) -> Vec<u8> {
        let mut id = b"HPKE".to_vec();
        for number in [self.kem, self.kdf.id(), self.aead] {
            id.extend_from_slice(&number.to_be_bytes());
        }
        id
    }
}

/// Both labelled functions of RFC 9180 section 4, over HMAC so that every intermediate secret stands in a buffer of
/// ours that is wiped.
pub(super) struct Labeled {
    kdf: Kdf,
    suite_id: Vec<u8>,
}

type Secret = Zeroizing<Vec<u8>>;

impl Labeled {
    pub(super) fn new(kdf: Kdf, suite_id: Vec<u8>) -> Self {
        Self { kdf, suite_id }
    }

    fn mac(&self, key: &[u8], data: &[u8]) -> Result<Secret, PqcError> {
        let key = hmac::Key::new(self.kdf.hmac(), key);
        let mut out = Zeroizing::new(vec![0u8; self.kdf.hash_len()]);
        hmac::sign_to_buffer(&key, data, &mut out).map_err(|_| PqcError::Backend {
            what: "HPKE key schedule",
        })?;
        Ok(out)
    }

    pub(super) fn extract(&self, salt: &[u8], label: &[u8], ikm: &[u8]) -> Result<Secret, PqcError> {
        let len = VERSION.len() + self.suite_id.len() + label.len() + ikm.len();
        let mut labeled = Zeroizing::new(Vec::with_capacity(len));
        for part in [VERSION, &self.suite_id, label, ikm] {
            labeled.extend_from_slice(part);
        }
        self.mac(salt, &labeled)
    }

    pub(super) fn expand(&self, prk: &[u8], label: &[u8], info: &[u8], len: usize) -> Result<Secret, PqcError> {
        let too_long = || PqcError::OutputTooLong {
            what: "HPKE",
            limit: 255 * self.kdf.hash_len(),
            got: len,
        };
        if len > 255 * self.kdf.hash_len() {
            return Err(too_long());
        }
        let encoded_len = u16::try_from(len).map_err(|_| too_long())?.to_be_bytes();
        let labeled: Vec<u8> = [&encoded_len, VERSION, &self.suite_id, label, info].concat();

        let mut out = Zeroizing::new(Vec::with_capacity(len));
        let mut input = Zeroizing::new(Vec::with_capacity(self.kdf.hash_len() + labeled.len() + 1));
        for counter in 1..=u8::MAX {
            let missing = len - out.len();
            if missing == 0 {
                break;
            }
            input.extend_from_slice(&labeled);
            input.push(counter);
            let block = self.mac(prk, &input)?;
            out.extend(block.iter().take(missing));
            input.clear();
            input.extend_from_slice(&block);
        }
        Ok(out)
    }
}

/// A KeySchedule up to its one secret, out of which the rest is expanded.
struct Started {
    labeled: Labeled,
    secret: Secret,
    context: Vec<u8>,
}

impl Started {
    fn new(ids: Ids, mode: u8, shared_secret: &[u8], info: &[u8], psk: &[u8], psk_id: &[u8]) -> Result<Self, PqcError> {
        let labeled = Labeled {
            kdf: ids.kdf,
            suite_id: ids.suite_id(),
        };
        let psk_id_hash = labeled.extract(b"", b"psk_id_hash", psk_id)?;
        let info_hash = labeled.extract(b"", b"info_hash", info)?;
        Ok(Self {
            context: [&[mode], psk_id_hash.as_slice(), info_hash.as_slice()].concat(),
            secret: labeled.extract(shared_secret, b"secret", psk)?,
            labeled,
        })
    }

    fn expand(&self, label: &[u8], len: usize) -> Result<Secret, PqcError> {
        self.labeled.expand(&self.secret, label, &self.context, len)
    }
}

/// Context.Export of a base-mode context that does nothing else: without the key and nonce that nobody would use.
pub(super) fn export_once(
    ids: Ids,
    shared_secret: &[u8],
    info: &[u8],
    exporter_context: &[u8],
    len: usize,
) -> Result<Secret, PqcError> {
    let started = Started::new(ids, MODE_BASE, shared_secret, info, b"", b"")?;
    let exporter_secret = started.expand(b"exp", ids.kdf.hash_len())?;
    started.labeled.expand(&exporter_secret, b"sec", exporter_context, len)
}

/// A set-up context: the same for sender and recipient in base mode.
pub(super) struct Context {
    key: Zeroizing<Vec<u8>>,
    base_nonce: Zeroizing<Vec<u8>>,
    exporter_secret: Secret,
    labeled: Labeled,
}

impl Context {
    /// KeySchedule of RFC 9180 section 5.1 with mode base and the default (empty) PSK inputs.
    pub(super) fn new(ids: Ids, shared_secret: &[u8], info: &[u8]) -> Result<Self, PqcError> {
        Self::with_mode(ids, MODE_BASE, shared_secret, info, b"", b"", KEY_LEN)
    }

    /// The same with an AEAD key of another length, for sealed messages.
    pub(super) fn of_messages(ids: Ids, shared_secret: &[u8], info: &[u8], key_len: usize) -> Result<Self, PqcError> {
        Self::with_mode(ids, MODE_BASE, shared_secret, info, b"", b"", key_len)
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The whole KeySchedule. Only vectors have another mode than base, a PSK, or a key of another length.
    pub(super) fn with_mode(
        ids: Ids,
        mode: u8,
        shared_secret: &[u8],
        info: &[u8],
        psk: &[u8],
        psk_id: &[u8],
        key_len: usize,
    ) -> Result<Self, PqcError> {
        let started = Started::new(ids, mode, shared_secret, info, psk, psk_id)?;
        Ok(Self {
            key: started.expand(b"key", key_len)?,
            base_nonce: started.expand(b"base_nonce", NONCE_LEN)?,
            exporter_secret: started.expand(b"exp", ids.kdf.hash_len())?,
            labeled: started.labeled,
        })
    }

    /// The AEAD nonce of a sequence number: base nonce XOR the number, big-endian (RFC 9180 section 5.2).
    pub(super) fn nonce(&self, sequence: u64) -> [u8; NONCE_LEN] {
        let mut nonce = [0u8; NONCE_LEN];
        let number = [[0u8; 4].as_slice(), &sequence.to_be_bytes()].concat();
        for ((out, base), n) in nonce.iter_mut().zip(self.base_nonce.iter()).zip(number) {
            *out = base ^ n;
        }
        nonce
    }

    fn aead(&self) -> Result<Aes256Gcm, PqcError> {
        let key: &[u8; KEY_LEN] = self
            .key
            .as_slice()
            .try_into()
            .map_err(|_| PqcError::Backend { what: "HPKE AEAD key" })?;
        Aes256Gcm::new(key)
    }

    pub(super) fn seal_in_place(&self, sequence: u64, aad: &[u8], data: &mut Vec<u8>) -> Result<(), PqcError> {
        self.aead()?.seal_in_place(&self.nonce(sequence), aad, data)
    }

    pub(super) fn open_in_place(&self, sequence: u64, aad: &[u8], data: &mut Vec<u8>) -> Result<(), PqcError> {
        self.aead()?
            .open_in_place(&self.nonce(sequence), aad, data)
            .map_err(|_| PqcError::Open { what: "HPKE message" })
    }

    /// Context.Export of RFC 9180 section 5.3.
    pub(super) fn export(&self, exporter_context: &[u8], len: usize) -> Result<Secret, PqcError> {
        self.labeled
            .expand(&self.exporter_secret, b"sec", exporter_context, len)
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> (&[u8], &[u8], &[u8]) {
        (&self.key, &self.base_nonce, &self.exporter_secret)
    }
}
