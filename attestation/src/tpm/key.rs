//! Attestation keys: RSA of 2048, 3072 or 4096 bits with exponent 65537, or a point of P-256 or P-384.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, UnparsedPublicKey, VerificationAlgorithm,
};
use der::asn1::{AnyRef, BitStringRef, UintRef};
use der::oid::ObjectIdentifier;
use der::{Decode, Encode, Sequence};
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::error::TpmError;
use super::signature::{HashAlgorithm, Signature};
use crate::digest::Digest256;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// 65537.
const EXPONENT: &[u8] = &[1, 0, 1];

/// RSAPublicKey (PKCS #1).
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// RSAPublicKey, DER.
    Rsa(Vec<u8>),
    /// Uncompressed point, 65 bytes.
    P256(Vec<u8>),
    /// Uncompressed point, 97 bytes.
    P384(Vec<u8>),
}

fn wrong(detail: &'static str) -> TpmError {
    TpmError::Key { detail }
}

impl Key {
    /// From SubjectPublicKeyInfo. Only the one canonical encoding is read, so that equal keys have equal digests.
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, TpmError> {
        let no_key = "expected a SubjectPublicKeyInfo in DER of an RSA, P-256 or P-384 key";
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| wrong(no_key))?;
        let bits = spki.subject_public_key.as_bytes().ok_or(wrong(no_key))?;
        let key = if spki.algorithm.oid == RSA_ENCRYPTION {
            let rsa = RsaPublicKey::from_der(bits).map_err(|_| wrong(no_key))?;
            Self::from_rsa(rsa.modulus.as_bytes(), rsa.exponent.as_bytes())?
        } else {
            let curve = spki.algorithm.parameters_oid().map_err(|_| wrong(no_key))?;
            match (spki.algorithm.oid, curve, bits.first(), bits.len()) {
                (EC_PUBLIC_KEY, SECP256R1, Some(4), 65) => Self::P256(bits.to_vec()),
                (EC_PUBLIC_KEY, SECP384R1, Some(4), 97) => Self::P384(bits.to_vec()),
                _ => return Err(wrong(no_key)),
            }
        };
        if key.spki()? == der {
            Ok(key)
        } else {
            Err(wrong("its SubjectPublicKeyInfo is not in canonical form"))
        }
    }

    /// From modulus and exponent, big endian.
    pub(super) fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, TpmError> {
        if !matches!(modulus.len(), 256 | 384 | 512) || modulus.first().is_none_or(|b| *b < 0x80) {
            return Err(wrong("expected an RSA modulus of 2048, 3072 or 4096 bits"));
        }
        if exponent != EXPONENT {
            return Err(wrong("expected RSA exponent 65537"));
        }
        let encode = || -> der::Result<Vec<u8>> {
            RsaPublicKey {
                modulus: UintRef::new(modulus)?,
                exponent: UintRef::new(exponent)?,
            }
            .to_der()
        };
        encode().map(Self::Rsa).map_err(|_| wrong("no RSA key"))
    }

    /// SubjectPublicKeyInfo, DER.
    pub(super) fn spki(&self) -> Result<Vec<u8>, TpmError> {
        let (oid, parameters, bits) = match self {
            Self::Rsa(key) => (RSA_ENCRYPTION, AnyRef::NULL, key),
            Self::P256(point) => (EC_PUBLIC_KEY, AnyRef::from(&SECP256R1), point),
            Self::P384(point) => (EC_PUBLIC_KEY, AnyRef::from(&SECP384R1), point),
        };
        let encode = || -> der::Result<Vec<u8>> {
            SubjectPublicKeyInfoRef {
                algorithm: AlgorithmIdentifierRef {
                    oid,
                    parameters: Some(parameters),
                },
                subject_public_key: BitStringRef::from_bytes(bits)?,
            }
            .to_der()
        };
        encode().map_err(|_| wrong("cannot be encoded"))
    }

    /// SHA-256 of the SubjectPublicKeyInfo: the key's name in pins and claims.
    pub(super) fn digest(&self) -> Result<Digest256, TpmError> {
        Ok(Digest256::of(&self.spki()?))
    }

    pub(super) fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), TpmError> {
        use HashAlgorithm::{Sha256, Sha384};
        let fixed;
        let (algorithm, key, bytes): (&'static dyn VerificationAlgorithm, _, &[u8]) = match (self, signature) {
            (Self::Rsa(key), Signature::Rsassa(Sha256, s)) => (&RSA_PKCS1_2048_8192_SHA256, key, s),
            (Self::Rsa(key), Signature::Rsassa(Sha384, s)) => (&RSA_PKCS1_2048_8192_SHA384, key, s),
            (Self::Rsa(key), Signature::Rsapss(Sha256, s)) => (&RSA_PSS_2048_8192_SHA256, key, s),
            (Self::Rsa(key), Signature::Rsapss(Sha384, s)) => (&RSA_PSS_2048_8192_SHA384, key, s),
            (Self::P256(point), Signature::Ecdsa(Sha256, r, s)) => {
                fixed = pad(r, s, 32)?;
                (&ECDSA_P256_SHA256_FIXED, point, &fixed)
            }
            (Self::P384(point), Signature::Ecdsa(Sha384, r, s)) => {
                fixed = pad(r, s, 48)?;
                (&ECDSA_P384_SHA384_FIXED, point, &fixed)
            }
            _ => {
                return Err(TpmError::SignatureAlgorithm {
                    detail: "expected RSASSA or RSAPSS for an RSA key, ECDSA with SHA-256 for P-256, with SHA-384 for P-384",
                });
            }
        };
        UnparsedPublicKey::new(algorithm, key)
            .verify(message, bytes)
            .map_err(|_| TpmError::Signature)
    }
}

/// r and s, each filled up with zeros on the left.
fn pad(r: &[u8], s: &[u8], bytes: usize) -> Result<Vec<u8>, TpmError> {
    let mut fixed = Vec::with_capacity(bytes.saturating_mul(2));
    for half in [r, s] {
        let zeros = bytes.checked_sub(half.len()).ok_or(TpmError::Signature)?;
        fixed.resize(fixed.len().saturating_add(zeros), 0);
        fixed.extend_from_slice(half);
    }
    Ok(fixed)
}
