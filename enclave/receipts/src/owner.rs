//! The owner of a receipt: whoever knows the 32 bytes that came with the request.

use hanzo_attestation::Digest256;
use hanzo_pqc::{PqcError, aead, kdf};
use hanzo_verifier::receipt::{ReceiptId, Salt, Salts};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The value of the `hanzo-owner` header: 32 bytes that the client drew and keeps. Stored as SHA-256 only.
pub struct Owner(Zeroizing<[u8; 32]>);

impl Owner {
    /// Reads exactly 64 lower-case hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        Salt::from_hex(text).map(|s| Self(Zeroizing::new(s.0)))
    }

    /// For a caller who showed a credential and no `hanzo-owner`, as clients of other projects' guests do: 32 bytes that follow from
    /// the credential, HKDF-SHA-384(ikm = credential, no salt, info = domain). What it owns is its for as long as it shows that one.
    ///
    /// # Errors
    /// [`PqcError`] for an empty one.
    pub fn from_credential(credential: &[u8]) -> Result<Self, PqcError> {
        let mut owner = Zeroizing::new([0; 32]);
        kdf::hkdf_sha384(&[], credential, b"hanzo/aci-credential/v1", owner.as_mut_slice())?;
        Ok(Self(owner))
    }

    /// What is stored of it.
    pub(crate) fn digest(&self) -> Digest256 {
        Digest256::of(self.0.as_slice())
    }

    pub(crate) fn is(&self, stored: &[u8]) -> bool {
        self.digest().0.as_slice().ct_eq(stored).into()
    }

    /// One key per (owner, receipt), so the nonce is constant: HKDF-SHA-384(ikm = owner, salt = id, info = domain).
    fn key(&self, id: &ReceiptId) -> Result<Zeroizing<[u8; 32]>, PqcError> {
        let mut key = Zeroizing::new([0; 32]);
        kdf::hkdf_sha384(&id.0, self.0.as_slice(), b"hanzo/receipt-salts/v1", key.as_mut_slice())?;
        Ok(key)
    }

    /// As [`Self::key`], for what is kept of an ACI receipt.
    pub(crate) fn aci_key(&self, id: &ReceiptId) -> Result<Zeroizing<[u8; 32]>, PqcError> {
        let mut key = Zeroizing::new([0; 32]);
        kdf::hkdf_sha384(&id.0, self.0.as_slice(), b"hanzo/aci-receipt/v1", key.as_mut_slice())?;
        Ok(key)
    }

    pub(crate) fn seal(&self, id: &ReceiptId, salts: &Salts) -> Result<Vec<u8>, PqcError> {
        let mut sealed = [salts.request.0, salts.response.0].concat();
        aead::seal_in_place(&*self.key(id)?, &[0; 12], &id.0, &mut sealed)?;
        Ok(sealed)
    }

    pub(crate) fn open(&self, id: &ReceiptId, sealed: &[u8]) -> Result<Option<Salts>, PqcError> {
        let mut plain = sealed.to_vec();
        if aead::open_in_place(&*self.key(id)?, &[0; 12], &id.0, &mut plain).is_err() {
            return Ok(None);
        }
        let (Some((request, rest)), true) = (plain.split_first_chunk::<32>(), plain.len() == 64) else {
            return Ok(None);
        };
        Ok(rest.first_chunk::<32>().map(|response| Salts {
            request: Salt(*request),
            response: Salt(*response),
        }))
    }
}
