//! The TLS key of one boot and its self-signed certificate.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use hanzo_attestation::Digest256;
use hanzo_attestation::ratls;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use zeroize::Zeroizing;

use crate::error::ChannelError;

/// Name in the certificate. Nobody checks it; the key is what counts.
pub const CERTIFICATE_NAME: &str = "hanzo-guest";

/// An ECDSA P-256 key with a certificate. It signs TLS handshakes and its own certificates, nothing else.
pub struct TlsIdentity {
    key: TlsKey,
    certified: Arc<CertifiedKey>,
    with_evidence: Option<Arc<CertifiedKey>>,
    spki_sha256: Digest256,
}

impl TlsIdentity {
    /// Makes the identity out of a secret seed; equal seeds make equal keys.
    ///
    /// # Errors
    /// [`ChannelError::Identity`] if the library refuses the key or cannot sign.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, ChannelError> {
        let key = TlsKey(Arc::new(ecdsa_from_seed(seed)?));
        let spki_sha256 = Digest256::of(&key.subject_public_key_info());
        Ok(Self {
            certified: certified(&key, Vec::new())?,
            key,
            with_evidence: None,
            spki_sha256,
        })
    }

    /// Makes a second certificate over the same key that carries `bundle` (RA-TLS), for clients that name a server.
    ///
    /// # Errors
    /// [`ChannelError::Evidence`] for a bundle that is too long for a certificate: then there is none, and the first
    /// certificate serves everybody. [`ChannelError::Identity`] if the library cannot sign.
    pub fn carry_evidence(&mut self, bundle: &[u8]) -> Result<(), ChannelError> {
        let value = ratls::wrap(bundle).map_err(ChannelError::Evidence)?;
        let extension = CustomExtension::from_oid_content(&ratls::EVIDENCE_OID, value);
        self.with_evidence = Some(certified(&self.key, vec![extension])?);
        Ok(())
    }

    /// The certificate that carries evidence, if there is one.
    pub fn evidence_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.with_evidence.as_ref().and_then(|c| c.cert.first())
    }

    /// SHA-256 of the certificate's SubjectPublicKeyInfo (DER), as it stands in the keyset.
    pub fn spki_sha256(&self) -> Digest256 {
        self.spki_sha256
    }

    pub(crate) fn leaves(&self) -> Leaves {
        Leaves {
            bare: self.certified.clone(),
            with_evidence: self.with_evidence.clone(),
        }
    }
}

fn certified(key: &TlsKey, extensions: Vec<CustomExtension>) -> Result<Arc<CertifiedKey>, ChannelError> {
    let mut params =
        CertificateParams::new(vec![CERTIFICATE_NAME.to_owned()]).map_err(|_| ChannelError::Identity("name"))?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, CERTIFICATE_NAME);
    params.custom_extensions = extensions;
    let certificate = params
        .self_signed(key)
        .map_err(|_| ChannelError::Identity("self-signature"))?;
    let chain = vec![certificate.der().clone()];
    Ok(Arc::new(CertifiedKey::new(chain, Arc::new(TlsKey(key.0.clone())))))
}

/// Which certificate a client gets: both are over the same key. Whoever names a server may be an RA-TLS client and gets
/// the evidence with it. This project's own client names none, attests by itself, and is spared some 20 KiB a handshake.
#[derive(Debug)]
pub(crate) struct Leaves {
    bare: Arc<CertifiedKey>,
    with_evidence: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Leaves {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and(self.with_evidence.as_ref());
        Some(named.unwrap_or(&self.bare).clone())
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

    #[test]
    fn the_certificate_with_evidence_is_over_the_same_key_and_a_longer_bundle_makes_none() {
        let mut identity = TlsIdentity::from_seed(&[1; 32]).unwrap();
        assert!(identity.evidence_certificate().is_none());
        let long = vec![b'x'; ratls::BUNDLE_BYTES_MAX + 1];
        let error = identity.carry_evidence(&long).unwrap_err();
        assert_eq!(error.code(), "ratls.too_large");
        assert!(identity.evidence_certificate().is_none());
        identity.carry_evidence(&long[1..]).unwrap();
        let read = ratls::RatlsCertificate::parse(identity.evidence_certificate().unwrap()).unwrap();
        assert_eq!(read.spki_sha256(), identity.spki_sha256());
        assert_eq!(read.bundle(), &long[1..]);
    }
}
