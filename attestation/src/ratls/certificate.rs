//! The certificate around the wrapper.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use der::asn1::BitStringRef;
use der::oid::ObjectIdentifier;
use der::{Decode, Encode, Reader, SliceReader};
use x509_cert::Certificate;
use x509_cert::certificate::Version;

use super::error::RatlsError;
use super::{CERTIFICATE_BYTES_MAX, wrapper};
use crate::digest::Digest256;
use crate::keyset::Keyset;

const EVIDENCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.9");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// ecdsa-with-SHA256 (RFC 5758 section 3.2), without parameters.
const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";

/// A well-formed certificate whose own key signed it.
///
/// # Establishes
/// Whoever made it held the private key of [`RatlsCertificate::spki_sha256`], and put [`RatlsCertificate::bundle`] into it.
///
/// # Does not establish
/// That the bundle is genuine, or belongs to this key: [`RatlsCertificate::check_key`] compares the two once the bundle is
/// verified. That whoever shows the certificate holds its key: a TLS handshake does. When it was made: nothing does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatlsCertificate {
    spki_sha256: Digest256,
    bundle: Vec<u8>,
}

impl RatlsCertificate {
    /// Reads a certificate (DER).
    ///
    /// # Errors
    /// [`RatlsError`].
    pub fn parse(der: &[u8]) -> Result<Self, RatlsError> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(RatlsError::CertificateTooLarge { got: der.len() });
        }
        let wrong = |field, expected| RatlsError::Certificate { field, expected };
        let x509 = || wrong("Certificate", "X.509 in DER and nothing after it");
        let certificate = Certificate::from_der(der).map_err(|_| x509())?;
        let tbs = certificate.tbs_certificate();
        if tbs.version() != Version::V3 {
            return Err(wrong("version", "3"));
        }
        let signed = Signed::split(der).ok_or(wrong("signatureAlgorithm", "ecdsa-with-SHA256"))?;
        let inner = tbs.signature().to_der().map_err(|_| x509())?;
        if inner != ECDSA_SHA256 {
            return Err(wrong("tbsCertificate.signature", "ecdsa-with-SHA256"));
        }
        let bundle = evidence(&certificate)?;
        let spki = tbs.subject_public_key_info();
        let point = match spki
            .algorithm
            .parameters
            .as_ref()
            .map(|p| p.decode_as::<ObjectIdentifier>())
        {
            Some(Ok(SECP256R1)) if spki.algorithm.oid == EC_PUBLIC_KEY => spki.subject_public_key.as_bytes(),
            _ => None,
        };
        let point = point.ok_or(wrong("subjectPublicKeyInfo", "a P-256 key"))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(signed.tbs, &signed.signature)
            .map_err(|_| RatlsError::Signature)?;
        let spki = spki.to_der().map_err(|_| x509())?;
        Ok(Self {
            spki_sha256: Digest256::of(&spki),
            bundle,
        })
    }

    /// SHA-256 of the SubjectPublicKeyInfo (DER).
    pub fn spki_sha256(&self) -> Digest256 {
        self.spki_sha256
    }

    /// The bundle's bytes, unverified.
    pub fn bundle(&self) -> &[u8] {
        &self.bundle
    }

    /// Compares the certificate's key with the one that a *verified* keyset names.
    ///
    /// # Errors
    /// [`RatlsError::SpkiMismatch`].
    pub fn check_key(&self, keyset: &Keyset) -> Result<(), RatlsError> {
        if self.spki_sha256 == keyset.tls_spki_sha256 {
            return Ok(());
        }
        Err(RatlsError::SpkiMismatch {
            expected: keyset.tls_spki_sha256,
            got: self.spki_sha256,
        })
    }
}

/// The one extension with evidence, out of extensions of which none is critical and each stands once.
fn evidence(certificate: &Certificate) -> Result<Vec<u8>, RatlsError> {
    let extensions = certificate.tbs_certificate().extensions();
    let mut seen: Vec<ObjectIdentifier> = Vec::new();
    let mut value = None;
    for extension in extensions.into_iter().flatten() {
        if seen.contains(&extension.extn_id) {
            return Err(RatlsError::Duplicate);
        }
        if seen.len() == 16 {
            return Err(RatlsError::Certificate {
                field: "extensions",
                expected: "at most 16",
            });
        }
        seen.push(extension.extn_id);
        if extension.critical {
            return Err(RatlsError::Critical);
        }
        if extension.extn_id == EVIDENCE {
            value = Some(extension.extn_value.as_bytes());
        }
    }
    Ok(wrapper::unwrap(value.ok_or(RatlsError::NoEvidence)?)?.to_vec())
}

/// What is signed, as it came, and the signature over it.
struct Signed<'a> {
    tbs: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Signed<'a> {
    fn split(der: &'a [u8]) -> Option<Self> {
        let mut outer = SliceReader::new(der).ok()?;
        let (tbs, algorithm, signature) = outer
            .sequence(|r| -> der::Result<_> { Ok((r.tlv_bytes()?, r.tlv_bytes()?, BitStringRef::decode(r)?)) })
            .ok()?;
        outer.finish().ok()?;
        let signature = signature.as_bytes()?.to_vec();
        (algorithm == ECDSA_SHA256).then_some(Self { tbs, signature })
    }
}
