//! The ID block's authentication.

use hanzo_attestation::digest::Digest384;

use super::key::{ID_KEY_BYTES, IdKey, IdSignature, SIGNATURE_BYTES};
use super::{IdBlock, IdBlockError};
use crate::cursor::View;

/// Length of an authentication block.
pub const AUTH_BLOCK_BYTES: usize = 4096;
/// ECDSA P-384 with SHA-384.
const ALGORITHM: u32 = 1;

const BLOCK_SIGNATURE: usize = 0x40;
const ID_KEY: usize = 0x240;
const KEY_SIGNATURE: usize = 0x680;
const AUTHOR_KEY: usize = 0x880;
/// Where zeros are, from and to.
const RESERVED: [(usize, usize); 3] = [(0x8, 0x40), (0x644, 0x680), (0xc84, AUTH_BLOCK_BYTES)];

/// Keys and signatures that vouch for an [`IdBlock`].
///
/// # Layout
/// u32 ID key algorithm (1) 0x0, u32 author key algorithm (1) 0x4, zeros, signature of the ID block 0x40, ID key 0x240,
/// zeros, the author's signature of the ID key 0x680, author key 0x880, zeros to 0x1000. Without an author key its algorithm,
/// signature and key are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthBlock {
    block_signature: IdSignature,
    id_key: IdKey,
    author: Option<(IdSignature, IdKey)>,
}

/// What a report of the guest shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDigests {
    /// ID_KEY_DIGEST.
    pub id_key: Digest384,
    /// AUTHOR_KEY_DIGEST, if an author vouches for the ID key.
    pub author_key: Option<Digest384>,
}

impl AuthBlock {
    /// Puts keys and signatures together. [`AuthBlock::verify`] says whether they hold.
    pub fn new(id_key: IdKey, block_signature: IdSignature, author: Option<(IdKey, IdSignature)>) -> Self {
        Self {
            block_signature,
            id_key,
            author: author.map(|(key, signature)| (signature, key)),
        }
    }

    /// The block.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0; AUTH_BLOCK_BYTES];
        let mut put = |at: usize, bytes: &[u8]| {
            for (to, from) in out.iter_mut().skip(at).zip(bytes) {
                *to = *from;
            }
        };
        put(0, &ALGORITHM.to_le_bytes());
        put(BLOCK_SIGNATURE, self.block_signature.bytes());
        put(ID_KEY, self.id_key.bytes());
        if let Some((signature, key)) = &self.author {
            put(4, &ALGORITHM.to_le_bytes());
            put(KEY_SIGNATURE, signature.bytes());
            put(AUTHOR_KEY, key.bytes());
        }
        out
    }

    /// Reads a block.
    ///
    /// # Errors
    /// [`IdBlockError`]: another length or algorithm, a reserved byte that is set, a key that is no point of the curve.
    pub fn parse(bytes: &[u8]) -> Result<Self, IdBlockError> {
        let wrong = IdBlockError::Length {
            what: "authentication block",
            expected: AUTH_BLOCK_BYTES,
            got: bytes.len(),
        };
        let view = View(bytes);
        let (Some(id_algorithm), Some(author_algorithm), AUTH_BLOCK_BYTES) = (view.u32(0), view.u32(4), bytes.len())
        else {
            return Err(wrong);
        };
        let algorithm = |what, at, got| IdBlockError::Algorithm {
            what,
            at,
            expected: ALGORITHM,
            got,
        };
        if id_algorithm != ALGORITHM {
            return Err(algorithm("ID key algorithm", 0, id_algorithm));
        }
        for (from, to) in RESERVED {
            zeros(bytes, from, to)?;
        }
        let signature = |at| -> Result<IdSignature, IdBlockError> {
            let field: [u8; SIGNATURE_BYTES] = view.array(at).ok_or(wrong.clone())?;
            IdSignature::read(&field, at)
        };
        let key = |at| -> Result<IdKey, IdBlockError> {
            let field: [u8; ID_KEY_BYTES] = view.array(at).ok_or(wrong.clone())?;
            IdKey::read(&field, at)
        };
        let author = match author_algorithm {
            0 => {
                zeros(bytes, KEY_SIGNATURE, AUTH_BLOCK_BYTES)?;
                None
            }
            ALGORITHM => Some((signature(KEY_SIGNATURE)?, key(AUTHOR_KEY)?)),
            other => return Err(algorithm("author key algorithm", 4, other)),
        };
        Ok(Self {
            block_signature: signature(BLOCK_SIGNATURE)?,
            id_key: key(ID_KEY)?,
            author,
        })
    }

    /// Verifies both signatures, as the security processor does at SNP_LAUNCH_FINISH.
    ///
    /// # Establishes
    /// That the ID key signed `block`, and the author key, if there is one, the ID key.
    ///
    /// # Does not establish
    /// That these keys are anybody's: compare the digests.
    ///
    /// # Errors
    /// [`IdBlockError::Signature`].
    pub fn verify(&self, block: &IdBlock) -> Result<KeyDigests, IdBlockError> {
        self.id_key.verify("ID block", &block.bytes(), &self.block_signature)?;
        if let Some((signature, author)) = &self.author {
            author.verify("ID key", self.id_key.bytes(), signature)?;
        }
        Ok(KeyDigests {
            id_key: self.id_key.digest(),
            author_key: self.author.as_ref().map(|(_, key)| key.digest()),
        })
    }
}

fn zeros(bytes: &[u8], from: usize, to: usize) -> Result<(), IdBlockError> {
    let range = bytes.get(from..to).unwrap_or_default();
    match range.iter().position(|b| *b != 0) {
        Some(at) => Err(IdBlockError::Reserved {
            at: from.saturating_add(at),
        }),
        None => Ok(()),
    }
}
