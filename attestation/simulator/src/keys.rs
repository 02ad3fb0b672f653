//! Keys that derive from the seed.

use aws_lc_rs::agreement::{ECDH_P384, PrivateKey};
use aws_lc_rs::digest::{Context, SHA384, SHA512};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PSS_SHA384};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rsa::RsaPrivateKey;
use rsa::pkcs8::EncodePrivateKey;
use zeroize::Zeroizing;

use crate::DOMAIN;
use crate::processor::SimulatorError;

const RSA_BITS: usize = 4096;

/// An RSA key of the simulated vendor: the ARK's or the ASK's.
pub(crate) struct VendorKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: RsaKeyPair,
}

impl VendorKey {
    /// Searches the primes: seconds.
    pub(crate) fn derive(seed: &[u8; 32], what: &str) -> Result<Self, SimulatorError> {
        let mut stream_seed = Zeroizing::new([0; 32]);
        stream_seed.copy_from_slice(&derive(seed, &[what.as_bytes()])[..32]);
        let mut stream = ChaCha20Rng::from_seed(*stream_seed);
        let key = RsaPrivateKey::new(&mut stream, RSA_BITS).map_err(|_| SimulatorError::KeyGeneration)?;
        let pkcs8 = key.to_pkcs8_der().map_err(|_| SimulatorError::KeyGeneration)?;
        Self::from_pkcs8(pkcs8.as_bytes())
    }

    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, SimulatorError> {
        let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| SimulatorError::Material)?;
        Ok(Self {
            pkcs8: Zeroizing::new(pkcs8.to_vec()),
            pair,
        })
    }

    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// RSAPublicKey (PKCS #1).
    pub(crate) fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// RSA-PSS, SHA-384, salt 48.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PSS_SHA384, &SystemRandom::new(), message, &mut signature)
            .expect("an RSA key that was accepted signs");
        signature
    }
}

/// The key that signs reports: a VCEK (per chip and TCB) or a VLEK.
pub(crate) struct ReportKey(EcdsaKeyPair);

impl ReportKey {
    pub(crate) fn derive(seed: &[u8; 32], parts: &[&[u8]]) -> Self {
        // A candidate is no scalar of P-384 about once in 2^190.
        let pair = (0..=u8::MAX).find_map(|attempt| {
            let attempt = [attempt];
            let parts = [parts, &[&attempt]].concat();
            let scalar = derive(seed, &parts);
            let public = PrivateKey::from_private_key(&ECDH_P384, &scalar[..48])
                .ok()?
                .compute_public_key()
                .ok()?;
            let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, &scalar[..48], public.as_ref()).ok()
        });
        Self(pair.expect("one of 256 candidates is a scalar"))
    }

    /// Uncompressed point.
    pub(crate) fn public_key(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// r and s, 48 bytes each, big endian.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 96] {
        let signature = self
            .0
            .sign(&SystemRandom::new(), message)
            .expect("a P-384 key that was accepted signs");
        let mut fixed = [0; 96];
        fixed.copy_from_slice(signature.as_ref());
        fixed
    }
}

/// SHA-512 over the domain, the length of each part, each part, and the seed.
pub(crate) fn derive(seed: &[u8; 32], parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
    let mut hash = Context::new(&SHA512);
    hash.update(DOMAIN.as_bytes());
    for part in parts {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(seed);
    let mut out = Zeroizing::new([0; 64]);
    out.copy_from_slice(hash.finish().as_ref());
    out
}

/// SHA-384 over the domain and public parts of fixed length.
pub(crate) fn public_digest(parts: &[&[u8]]) -> [u8; 48] {
    let mut hash = Context::new(&SHA384);
    hash.update(DOMAIN.as_bytes());
    for part in parts {
        hash.update(part);
    }
    let mut out = [0; 48];
    out.copy_from_slice(hash.finish().as_ref());
    out
}
