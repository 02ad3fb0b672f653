//! The keys of the way back, which every protocol here derives alike (RFC 9458 section 4.4).

use hanzo_pqc::aead::NONCE_LEN;
use hanzo_pqc::gcm::{Gcm, GcmKey, nonce_of};
use hanzo_pqc::kdf::hkdf_sha256;
use zeroize::Zeroizing;

use crate::error::SealedError;

/// max(Nn, Nk): length of the response nonce and of the exported secret in bytes.
pub(crate) fn entropy_len(gcm: Gcm) -> usize {
    gcm.key_len().max(NONCE_LEN)
}

/// What one side keeps of a request until its answer: the exported secret and `enc`.
pub(crate) struct Exported {
    pub(crate) gcm: Gcm,
    pub(crate) secret: Zeroizing<Vec<u8>>,
    pub(crate) enc: Vec<u8>,
}

impl Exported {
    /// `prk = Extract(enc || nonce, secret)`, `key = Expand(prk, "key", Nk)`, `nonce = Expand(prk, "nonce", Nn)`.
    pub(crate) fn derive(&self, response_nonce: &[u8]) -> Result<(Zeroizing<Vec<u8>>, [u8; NONCE_LEN]), SealedError> {
        let salt = [self.enc.as_slice(), response_nonce].concat();
        let mut key = Zeroizing::new(vec![0; self.gcm.key_len()]);
        let mut base_nonce = [0; NONCE_LEN];
        hkdf_sha256(&salt, &self.secret, b"key", &mut key).map_err(SealedError::Backend)?;
        hkdf_sha256(&salt, &self.secret, b"nonce", &mut base_nonce).map_err(SealedError::Backend)?;
        Ok((key, base_nonce))
    }

    pub(crate) fn keys(&self, response_nonce: &[u8]) -> Result<ResponseKeys, SealedError> {
        let (key, base_nonce) = self.derive(response_nonce)?;
        Ok(ResponseKeys {
            key: GcmKey::new(self.gcm, &key).map_err(SealedError::Backend)?,
            base_nonce,
            counter: 0,
        })
    }

    /// Draws the response nonce.
    pub(crate) fn fresh_nonce(&self) -> Result<Vec<u8>, SealedError> {
        let mut nonce = vec![0; entropy_len(self.gcm)];
        hanzo_pqc::random::fill(&mut nonce).map_err(SealedError::Backend)?;
        Ok(nonce)
    }
}

/// AEAD key, base nonce and counter of one answer.
pub(crate) struct ResponseKeys {
    key: GcmKey,
    base_nonce: [u8; NONCE_LEN],
    counter: u64,
}

impl ResponseKeys {
    fn next_nonce(&mut self) -> Result<[u8; NONCE_LEN], SealedError> {
        let nonce = nonce_of(&self.base_nonce, self.counter);
        self.counter = self.counter.checked_add(1).ok_or(SealedError::TooLong {
            what: "answer",
            limit: usize::MAX,
        })?;
        Ok(nonce)
    }

    pub(crate) fn seal(&mut self, aad: &[u8], part: &[u8]) -> Result<Vec<u8>, SealedError> {
        let nonce = self.next_nonce()?;
        let mut data = Vec::with_capacity(part.len() + hanzo_pqc::aead::TAG_LEN);
        data.extend_from_slice(part);
        self.key
            .seal_in_place(&nonce, aad, &mut data)
            .map_err(SealedError::Backend)?;
        Ok(data)
    }

    pub(crate) fn open(&mut self, aad: &[u8], sealed: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, SealedError> {
        let nonce = self.next_nonce()?;
        let mut data = Zeroizing::new(sealed);
        self.key
            .open_in_place(&nonce, aad, &mut data)
            .map_err(SealedError::opening("answer"))?;
        Ok(data)
    }
}
