//! Secret columns: sealed once more, to the row they belong to.
//!
//! # Layout
//! `nonce (12 random bytes) || AES-256-GCM ciphertext || tag (16)` under HKDF-SHA-256(store key, "hanzo/store-column/v1").
//! AAD = for each of table, column, row id, version: its length as u32 big endian, then its bytes (version: u64 big
//! endian). A value copied to another row, or an older version put back into its row, does not open.

use hanzo_pqc::{Dek, aead, kdf, random};
use zeroize::Zeroizing;

use crate::StoreError;

const NONCE_BYTES: usize = 12;

/// Seals and opens secret columns of one store.
pub struct ColumnSealer {
    key: Zeroizing<[u8; 32]>,
}

impl ColumnSealer {
    /// A sealer under the store's key.
    ///
    /// # Errors
    /// [`StoreError::Crypto`].
    pub fn new(store_key: &Dek) -> Result<Self, StoreError> {
        let mut key = Zeroizing::new([0; 32]);
        kdf::hkdf_sha256(b"", store_key.expose(), b"hanzo/store-column/v1", key.as_mut())?;
        Ok(Self { key })
    }

    /// Seals `secret` to its place.
    ///
    /// # Errors
    /// [`StoreError::Column`]: not for secrets of sensible length.
    pub fn seal(
        &self,
        table: &'static str,
        column: &'static str,
        row_id: &[u8],
        version: u64,
        secret: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_BYTES];
        random::fill(&mut nonce)?;
        let mut sealed = Zeroizing::new(secret.to_vec());
        aead::seal_in_place(&self.key, &nonce, &place(table, column, row_id, version), &mut sealed)
            .map_err(|_| StoreError::Column { table, column })?;
        let mut out = nonce.to_vec();
        out.append(&mut sealed);
        Ok(out)
    }

    /// Opens what [`ColumnSealer::seal`] made for the same place.
    ///
    /// # Errors
    /// [`StoreError::Column`].
    pub fn open(
        &self,
        table: &'static str,
        column: &'static str,
        row_id: &[u8],
        version: u64,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let refused = || StoreError::Column { table, column };
        let (nonce, body) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(refused)?;
        let mut secret = Zeroizing::new(body.to_vec());
        aead::open_in_place(&self.key, nonce, &place(table, column, row_id, version), &mut secret)
            .map_err(|_| refused())?;
        Ok(secret)
    }
}

fn place(table: &str, column: &str, row_id: &[u8], version: u64) -> Vec<u8> {
    let mut aad = Vec::new();
    for part in [table.as_bytes(), column.as_bytes(), row_id, &version.to_be_bytes()] {
        aad.extend_from_slice(&(part.len() as u32).to_be_bytes());
        aad.extend_from_slice(part);
    }
    aad
}
