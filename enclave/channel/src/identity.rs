//! The TLS key of one boot and its self-signed certificate.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use hanzo_attestation::Digest256;
use rcgen::{CertificateParams, DistinguishedName, DnType, PublicKeyData as _};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use zeroize::Zeroizing;

use crate::error::ChannelError;

/// Name in the certificate. Nobody checks it; the key is what counts.
pub const CERTIFICATE_NAME: &str = "hanzo-guest";

/// An ECDSA P-256 key with a certificate. It signs TLS handshakes and its own certificate, nothing else.
pub struct TlsIdentity {
    certified: Arc<CertifiedKey>,
    spki_sha256: Digest256,
}

impl TlsIdentity {
    /// Makes the identity out of a secret seed; equal seeds make equal keys.
    ///
    /// # Errors
    /// [`ChannelError::Identity`] if the library refuses the key or cannot sign.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, ChannelError> {
        let key = TlsKey(Arc::new(ecdsa_from_seed(seed)?));
        let mut params =
            CertificateParams::new(vec![CERTIFICATE_NAME.to_owned()]).map_err(|_| ChannelError::Identity("name"))?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, CERTIFICATE_NAME);
        let certificate = params
            .self_signed(&key)
            .map_err(|_| ChannelError::Identity("self-signature"))?;
        let spki_sha256 = Digest256::of(&key.subject_public_key_info());
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(vec![certificate.der().clone()], Arc::new(key))),
            spki_sha256,
        })
    }

    /// SHA-256 of the certificate's SubjectPublicKeyInfo (DER), as it stands in the keyset.
    pub fn spki_sha256(&self) -> Digest256 {
        self.spki_sha256
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}

/// The scalar is the seed itself, or, for the 2^-32 part of seeds that are no scalar, the hash of it.
fn ecdsa_from_seed(seed: &[u8; 32]) -> Result<EcdsaKeyPair, ChannelError> {
    let refused = |_| ChannelError::Identity("P-256 key");
    let mut scalar = Zeroizing::new(*seed);
    for _ in 0..4 {
        let Ok(private) = PrivateKey::from_private_key(&ECDH_P256, scalar.as_slice()) else {
            *scalar = Digest256::of(scalar.as_slice()).0;
            continue;
        };
        let public = private.compute_public_key().map_err(refused)?;
        let bytes: EcPrivateKeyBin<'_> = private.as_be_bytes().map_err(refused)?;
        return EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            bytes.as_ref(),
            public.as_ref(),
        )
        .map_err(|_| ChannelError::Identity("P-256 key pair"));
    }
    Err(ChannelError::Identity("P-256 key: no scalar found"))
}

struct TlsKey(Arc<EcdsaKeyPair>);

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsKey")
    }
}

impl rcgen::PublicKeyData for TlsKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self.0.sign(&SystemRandom::new(), message) {
            Ok(signature) => Ok(signature.as_ref().to_vec()),
            Err(_) => Err(rcgen::Error::RemoteKeyError),
        }
    }
}

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
            .then(|| Box::new(Self(self.0.clone())) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        match self.0.sign(&SystemRandom::new(), message) {
            Ok(signature) => Ok(signature.as_ref().to_vec()),
            Err(_) => Err(rustls::Error::General("the TLS key could not sign".into())),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_the_seed_and_every_seed_makes_a_key() {
        let a = TlsIdentity::from_seed(&[1; 32]).unwrap();
        assert_eq!(a.spki_sha256(), TlsIdentity::from_seed(&[1; 32]).unwrap().spki_sha256());
        assert_ne!(a.spki_sha256(), TlsIdentity::from_seed(&[2; 32]).unwrap().spki_sha256());
        // No scalars of P-256: zero, and more than the order.
        TlsIdentity::from_seed(&[0; 32]).unwrap();
        TlsIdentity::from_seed(&[0xff; 32]).unwrap();
    }
}
