//! The encrypted file of a wallet.
//!
//! # Layout
//! | bytes | field |
//! |---|---|
//! | 8 | `HANZOWLT` |
//! | 1 | version, 1 |
//! | 1 | cipher: 1 XChaCha20-Poly1305, 2 AES-256-GCM |
//! | 1 | level: 44, 65 or 87 |
//! | 4 | Argon2id memory in KiB (u32, big endian), 19,456 to 262,144 |
//! | 4 | passes, 2 to 10 |
//! | 4 | lanes, 1 to 8 |
//! | 16 | salt |
//! | 24 or 12 | nonce |
//! | 32 | digest of the public key ([`crate::PublicKey::digest`]) |
//! | 48 | the seed, encrypted, with its tag |
//!
//! Key = Argon2id v1.3 of the passphrase in NFKD, 32 bytes. Additional data = `SHA-256("hanzo/wallet-file/v1")` and everything
//! before the encrypted seed. All fields are held against their bounds before any memory is taken.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hanzo_pqc::{PqcError, aead, random};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::{SEED_LEN, WalletError};
use crate::codec::{Cursor, sha256};
use crate::key::{PublicKey, SecurityLevel};

const DOMAIN: &str = "hanzo/wallet-file/v1";
const MAGIC: &[u8; 8] = b"HANZOWLT";
const VERSION: u8 = 1;
const SALT_LEN: usize = 16;
const TAG_LEN: usize = 16;
/// Longest file in bytes; every file has this length, or 12 less.
pub const FILE_BYTES_MAX: usize = 8 + 3 + 12 + SALT_LEN + 24 + 32 + SEED_LEN + TAG_LEN;

/// What encrypts the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// XChaCha20-Poly1305.
    XChaCha20Poly1305,
    /// AES-256-GCM of the validated backend, for the FIPS profile.
    Aes256Gcm,
}

impl Cipher {
    const fn tag(self) -> u8 {
        match self {
            Self::XChaCha20Poly1305 => 1,
            Self::Aes256Gcm => 2,
        }
    }

    const fn nonce_len(self) -> usize {
        match self {
            Self::XChaCha20Poly1305 => 24,
            Self::Aes256Gcm => aead::NONCE_LEN,
        }
    }
}

/// What one guess of the passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB: 19,456 (19 MiB) to 262,144 (256 MiB).
    pub memory_kib: u32,
    /// Passes over it: 2 to 10.
    pub passes: u32,
    /// Lanes: 1 to 8.
    pub lanes: u32,
}

impl Default for Cost {
    /// RFC 9106's second recommended option: 64 MiB, 3 passes, 4 lanes.
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 4,
        }
    }
}

fn field(field: &'static str, expected: &'static str, got: impl ToString) -> WalletError {
    let got = got.to_string();
    WalletError::File { field, expected, got }
}

impl Cost {
    fn check(self) -> Result<Self, WalletError> {
        for (name, range, expected, got) in [
            ("memory", 19_456..=262_144, "19456 to 262144 KiB", self.memory_kib),
            ("passes", 2..=10, "2 to 10", self.passes),
            ("lanes", 1..=8, "1 to 8", self.lanes),
        ] {
            if !range.contains(&got) {
                return Err(field(name, expected, got));
            }
        }
        Ok(self)
    }
}

/// Everything before the encrypted seed.
struct Header<'a> {
    level: SecurityLevel,
    cipher: Cipher,
    cost: Cost,
    salt: [u8; SALT_LEN],
    nonce: &'a [u8],
    fingerprint: [u8; 32],
}

impl Header<'_> {
    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[VERSION, self.cipher.tag(), self.level.tag()]);
        for number in [self.cost.memory_kib, self.cost.passes, self.cost.lanes] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(self.nonce);
        out.extend_from_slice(&self.fingerprint);
        out
    }

    /// The key of the file. The passphrase is normalised, so that it is the same from every keyboard.
    fn derive(&self, passphrase: &str) -> Result<Zeroizing<[u8; 32]>, WalletError> {
        let failed = |_| WalletError::Crypto(PqcError::Backend { what: "Argon2id" });
        let passphrase = normal(passphrase)?;
        let params = Params::new(self.cost.memory_kib, self.cost.passes, self.cost.lanes, Some(32)).map_err(failed)?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), &self.salt, key.as_mut_slice())
            .map_err(failed)?;
        Ok(key)
    }
}

fn normal(passphrase: &str) -> Result<Zeroizing<String>, WalletError> {
    let refused = |got| WalletError::Passphrase { got };
    if passphrase.len() > 1024 {
        return Err(refused(passphrase.len()));
    }
    // Room enough that it does not grow: a grown string leaves its old bytes behind. NFKD makes a character at most 18 others.
    let mut out = Zeroizing::new(String::with_capacity(passphrase.len() * 18));
    out.extend(passphrase.nfkd());
    match (12..=1024).contains(&out.len()) {
        true => Ok(out),
        false => Err(refused(out.len())),
    }
}

fn additional(header: &[u8]) -> Vec<u8> {
    [&sha256(&[DOMAIN.as_bytes()])[..], header].concat()
}

pub(super) fn write(
    public: &PublicKey,
    seed: &[u8; SEED_LEN],
    passphrase: &str,
    cipher: Cipher,
    cost: Cost,
) -> Result<Vec<u8>, WalletError> {
    let cost = cost.check()?;
    let mut drawn = [0; SALT_LEN + 24];
    random::fill(&mut drawn)?;
    let (salt, nonce) = drawn.split_at(SALT_LEN);
    let header = Header {
        level: public.level(),
        cipher,
        cost,
        salt: salt.try_into().unwrap_or_default(),
        nonce: nonce.get(..cipher.nonce_len()).unwrap_or_default(),
        fingerprint: public.digest(),
    };
    seal(&header, seed, passphrase)
}

fn seal(header: &Header<'_>, seed: &[u8; SEED_LEN], passphrase: &str) -> Result<Vec<u8>, WalletError> {
    let failed = || WalletError::Crypto(PqcError::Backend { what: "wallet cipher" });
    let key = header.derive(passphrase)?;
    let mut out = header.encode();
    let aad = additional(&out);
    let sealed = match header.cipher {
        Cipher::XChaCha20Poly1305 => {
            let nonce = XNonce::try_from(header.nonce).map_err(|_| failed())?;
            let payload = Payload { msg: seed, aad: &aad };
            let cipher = XChaCha20Poly1305::new_from_slice(key.as_slice()).map_err(|_| failed())?;
            cipher.encrypt(&nonce, payload).map_err(|_| failed())?
        }
        Cipher::Aes256Gcm => {
            let nonce = header.nonce.try_into().map_err(|_| failed())?;
            let mut data = Vec::with_capacity(SEED_LEN + TAG_LEN);
            data.extend_from_slice(seed);
            aead::seal_in_place(&key, nonce, &aad, &mut data)?;
            data
        }
    };
    out.extend_from_slice(&sealed);
    Ok(out)
}

/// Level, seed and the digest of the public key that the file names.
pub(super) type Opened = (SecurityLevel, Zeroizing<[u8; SEED_LEN]>, [u8; 32]);

/// Opens a file.
pub(super) fn read(bytes: &[u8], passphrase: &str) -> Result<Opened, WalletError> {
    let (header, sealed) = parse(bytes)?;
    let key = header.derive(passphrase)?;
    let aad = additional(&header.encode());
    let opened = Zeroizing::new(match header.cipher {
        Cipher::XChaCha20Poly1305 => {
            let nonce = XNonce::try_from(header.nonce).map_err(|_| WalletError::Open)?;
            let payload = Payload { msg: sealed, aad: &aad };
            let cipher = XChaCha20Poly1305::new_from_slice(key.as_slice()).map_err(|_| WalletError::Open)?;
            cipher.decrypt(&nonce, payload).map_err(|_| WalletError::Open)?
        }
        Cipher::Aes256Gcm => {
            let nonce = header.nonce.try_into().map_err(|_| WalletError::Open)?;
            let mut data = sealed.to_vec();
            aead::open_in_place(&key, nonce, &aad, &mut data).map_err(|_| WalletError::Open)?;
            data
        }
    });
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    match opened.len() == SEED_LEN {
        true => seed.copy_from_slice(&opened),
        false => return Err(WalletError::Open),
    }
    Ok((header.level, seed, header.fingerprint))
}

fn parse(bytes: &[u8]) -> Result<(Header<'_>, &[u8]), WalletError> {
    let short = || field("length", "115 or 127 bytes", bytes.len());
    if bytes.len() > FILE_BYTES_MAX {
        return Err(short());
    }
    let mut c = Cursor::new(bytes);
    if c.take(MAGIC.len()).ok_or_else(short)? != MAGIC {
        return Err(field("magic", "HANZOWLT", "something else"));
    }
    let (version, cipher, level) = (c.u8(), c.u8(), c.u8());
    match version.ok_or_else(short)? {
        VERSION => {}
        got => return Err(field("version", "1", got)),
    }
    let tag = cipher.ok_or_else(short)?;
    let cipher = [Cipher::XChaCha20Poly1305, Cipher::Aes256Gcm]
        .into_iter()
        .find(|cipher| cipher.tag() == tag)
        .ok_or_else(|| field("cipher", "1 or 2", tag))?;
    let tag = level.ok_or_else(short)?;
    let level = SecurityLevel::from_tag(tag).ok_or_else(|| field("level", "44, 65 or 87", tag))?;
    let cost = Cost {
        memory_kib: c.u32().ok_or_else(short)?,
        passes: c.u32().ok_or_else(short)?,
        lanes: c.u32().ok_or_else(short)?,
    }
    .check()?;
    let header = Header {
        level,
        cipher,
        cost,
        salt: c.array().ok_or_else(short)?,
        nonce: c.take(cipher.nonce_len()).ok_or_else(short)?,
        fingerprint: c.array().ok_or_else(short)?,
    };
    let sealed = c.take(SEED_LEN + TAG_LEN).ok_or_else(short)?;
    c.done((header, sealed)).ok_or_else(short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MiningWallet;

    #[test]
    fn a_file_whose_key_is_not_the_one_that_it_names_is_refused_after_it_opened() {
        let header = Header {
            level: SecurityLevel::MlDsa44,
            cipher: Cipher::XChaCha20Poly1305,
            cost: Cost {
                memory_kib: 19_456,
                passes: 2,
                lanes: 1,
            },
            salt: [1; SALT_LEN],
            nonce: &[2; 24],
            fingerprint: [3; 32],
        };
        let bytes = seal(&header, &[4; SEED_LEN], "six random words").unwrap();
        let refused = MiningWallet::import_from_bytes(&bytes, "six random words")
            .err()
            .unwrap();
        assert_eq!(refused, WalletError::OtherKey);
    }
}
