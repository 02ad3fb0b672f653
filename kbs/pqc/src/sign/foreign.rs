//! Ed25519 alone, for formats of other projects that know nothing else: a key of its own for each, which signs nothing of ours.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use crate::{PqcError, ed25519};

/// A private key for one foreign format. It signs bytes as they are, which is why it is no [`super::SigningKeys`]: keep one for each format.
///
/// ```compile_fail,E0277
/// fn wants_clone<T: Clone>() {}
/// wants_clone::<hanzo_pqc::sign::ForeignSigningKey>();
/// ```
/// ```compile_fail,E0277
/// fn wants_debug<T: std::fmt::Debug>() {}
/// wants_debug::<hanzo_pqc::sign::ForeignSigningKey>();
/// ```
pub struct ForeignSigningKey {
    key: Ed25519KeyPair,
    public: [u8; ed25519::PUBLIC_KEY_LEN],
}

impl ForeignSigningKey {
    /// Takes an RFC 8032 private key, which must be drawn for this format alone.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if memory runs out.
    pub fn from_seed(seed: &[u8; ed25519::SEED_LEN]) -> Result<Self, PqcError> {
        let failed = || PqcError::Backend {
            what: "signing key derivation",
        };
        let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| failed())?;
        let public = key.public_key().as_ref().try_into().map_err(|_| failed())?;
        Ok(Self { key, public })
    }

    /// The public key.
    pub fn public_key(&self) -> &[u8; ed25519::PUBLIC_KEY_LEN] {
        &self.public
    }

    /// Signs exactly `message`.
    ///
    /// # Errors
    /// [`PqcError::Backend`].
    pub fn sign(&self, message: &[u8]) -> Result<[u8; ed25519::SIGNATURE_LEN], PqcError> {
        let failed = || PqcError::Backend { what: "signing" };
        let signature = self.key.try_sign(message).map_err(|_| failed())?;
        signature.as_ref().try_into().map_err(|_| failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::WitnessVerifyingKey;

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn it_signs_what_rfc_8032_signs() {
        let seed = hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
        let key = ForeignSigningKey::from_seed(seed.as_slice().try_into().unwrap()).unwrap();
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        assert_eq!(hex::encode(key.public_key()), public);
        let signature = key.sign(&[0x72]).unwrap();
        let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(hex::encode(signature), expected);
        let verifying = WitnessVerifyingKey::from_bytes(key.public_key()).unwrap();
        verifying.verify(&[0x72], &signature).unwrap();
        assert!(verifying.verify(&[0x73], &signature).is_err());
    }
}
