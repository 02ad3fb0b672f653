//! Attestation keys that derive from the seed.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rsa::RsaPrivateKey;
use rsa::pkcs8::EncodePrivateKey;
use zeroize::Zeroizing;

use crate::encode::{NULL, SEQUENCE, bit_string, integer, nest, oid, tlv};
use crate::keys::derive;
use crate::processor::SimulatorError;

/// Which key the TPM attests with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AkKind {
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// RSASSA with RSA-2048 and SHA-256, as Azure's vTPMs have it. Made in a fraction of a second.
    Rsa2048,
}

pub(super) enum AkKey {
    P256(Box<EcdsaKeyPair>),
    Rsa {
        pair: Box<RsaKeyPair>,
        /// Big endian, 256 bytes.
        modulus: Vec<u8>,
    },
}

impl AkKey {
    pub(super) fn derive(seed: &[u8; 32], name: &str, kind: AkKind) -> Result<Self, SimulatorError> {
        let label = [b"tpm-ak".as_slice(), name.as_bytes()];
        match kind {
            AkKind::P256 => {
                let pair = (0..=u8::MAX).find_map(|attempt| {
                    let scalar = derive(seed, &[label[0], label[1], &[attempt]]);
                    let public = PrivateKey::from_private_key(&ECDH_P256, &scalar[..32])
                        .ok()?
                        .compute_public_key()
                        .ok()?;
                    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                    EcdsaKeyPair::from_private_key_and_public_key(algorithm, &scalar[..32], public.as_ref()).ok()
                });
                Ok(Self::P256(Box::new(pair.ok_or(SimulatorError::KeyGeneration)?)))
            }
            AkKind::Rsa2048 => {
                let mut stream_seed = Zeroizing::new([0; 32]);
                stream_seed.copy_from_slice(&derive(seed, &label)[..32]);
                let mut stream = ChaCha20Rng::from_seed(*stream_seed);
                let key = RsaPrivateKey::new(&mut stream, 2048).map_err(|_| SimulatorError::KeyGeneration)?;
                let pkcs8 = key.to_pkcs8_der().map_err(|_| SimulatorError::KeyGeneration)?;
                let pair = RsaKeyPair::from_pkcs8(pkcs8.as_bytes()).map_err(|_| SimulatorError::KeyGeneration)?;
                let modulus = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
                Ok(Self::Rsa {
                    pair: Box::new(pair),
                    modulus,
                })
            }
        }
    }

    /// SubjectPublicKeyInfo.
    pub(super) fn spki(&self) -> Vec<u8> {
        let (algorithm, bits) = match self {
            Self::P256(pair) => (
                nest(
                    SEQUENCE,
                    &[&oid(&[1, 2, 840, 10_045, 2, 1]), &oid(&[1, 2, 840, 10_045, 3, 1, 7])],
                ),
                pair.public_key().as_ref().to_vec(),
            ),
            Self::Rsa { modulus, .. } => (
                nest(SEQUENCE, &[&oid(&[1, 2, 840, 113_549, 1, 1, 1]), &tlv(NULL, &[])]),
                nest(SEQUENCE, &[&integer(modulus), &integer(&[1, 0, 1])]),
            ),
        };
        nest(SEQUENCE, &[&algorithm, &bit_string(&bits)])
    }

    /// TPMT_PUBLIC parameters and unique, behind type and common fields.
    pub(super) fn tpmt_public(&self, attributes: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let kind: u16 = if matches!(self, Self::P256(_)) { 0x23 } else { 0x01 };
        out.extend(kind.to_be_bytes());
        out.extend(0x0b_u16.to_be_bytes());
        out.extend(attributes.to_be_bytes());
        out.extend([0, 0]);
        match self {
            Self::P256(pair) => {
                for word in [0x10_u16, 0x18, 0x0b, 0x03, 0x10] {
                    out.extend(word.to_be_bytes());
                }
                for half in pair.public_key().as_ref()[1..].chunks(32) {
                    out.extend([0, 32]);
                    out.extend(half);
                }
            }
            Self::Rsa { modulus, .. } => {
                for word in [0x10_u16, 0x14, 0x0b, 2048] {
                    out.extend(word.to_be_bytes());
                }
                out.extend([0; 4]);
                out.extend((modulus.len() as u16).to_be_bytes());
                out.extend(modulus);
            }
        }
        out
    }

    /// Modulus, for a JWK.
    pub(super) fn modulus(&self) -> Option<&[u8]> {
        match self {
            Self::P256(_) => None,
            Self::Rsa { modulus, .. } => Some(modulus),
        }
    }

    /// TPMT_SIGNATURE.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::P256(pair) => {
                let signature = pair
                    .sign(&SystemRandom::new(), message)
                    .expect("a P-256 key that was accepted signs");
                out.extend([0, 0x18, 0, 0x0b]);
                for half in signature.as_ref().chunks(32) {
                    // A TPM writes no leading zeros.
                    let start = half.iter().position(|b| *b != 0).unwrap_or(31);
                    out.extend(((32 - start) as u16).to_be_bytes());
                    out.extend(&half[start..]);
                }
            }
            Self::Rsa { pair, .. } => {
                let mut signature = vec![0; 256];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .expect("an RSA key that was accepted signs");
                out.extend([0, 0x14, 0, 0x0b, 1, 0]);
                out.extend(signature);
            }
        }
        out
    }
}
