//! X.509 certificates of attestation keys and their issuers (RFC 5280; TCG EK Credential Profile 2.5, section 3).
//!
//! Bounded before it is parsed; signatures are checked over the bytes that came.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use der::asn1::BitStringRef;
use der::oid::ObjectIdentifier;
use der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use super::key::Key;

/// Longest certificate in bytes; Azure's and Google's are below 1700.
const CERTIFICATE_BYTES_MAX: usize = 8192;

const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// tcg-kp-AIKCertificate.
const AIK_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.3");

/// AlgorithmIdentifiers (RFC 4055 section 5; RFC 5758 section 3.2).
const RSA_SHA256: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";
const RSA_SHA384: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00";
const RSA_SHA512: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00";
const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ECDSA_SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";

/// A parsed certificate.
pub(super) struct Certificate {
    tbs: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    inner: x509_cert::Certificate,
    key: Key,
    constraints: Option<BasicConstraints>,
    usage: Option<KeyUsage>,
    purposes: Option<ExtendedKeyUsage>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({:?})", self.key)
    }
}

impl Certificate {
    /// Reads a certificate; the error says what is wrong with it.
    pub(super) fn parse(der: &[u8]) -> Result<Self, &'static str> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err("longer than 8192 bytes");
        }
        let not_x509 = "no X.509 certificate in DER";
        let (tbs, algorithm, signature) = split(der).ok_or(not_x509)?;
        let inner = x509_cert::Certificate::from_der(der).map_err(|_| not_x509)?;
        let fields = inner.tbs_certificate();
        if fields.version() != x509_cert::Version::V3 {
            return Err("no X.509 version 3");
        }
        if fields.signature() != inner.signature_algorithm() {
            return Err("inner and outer signature algorithm differ");
        }
        let spki = fields.subject_public_key_info().to_der().map_err(|_| not_x509)?;
        let key = Key::from_spki(&spki).map_err(|_| "no RSA, P-256 or P-384 key")?;
        let extensions = fields.extensions().map_or(&[][..], |v| v);
        check_extensions(extensions)?;
        let extension = |oid| {
            extensions
                .iter()
                .find(|e| e.extn_id == oid)
                .map(|e| e.extn_value.as_bytes())
        };
        let read = |_| "basicConstraints, keyUsage or extKeyUsage cannot be read";
        let constraints = extension(BASIC_CONSTRAINTS)
            .map(BasicConstraints::from_der)
            .transpose()
            .map_err(read)?;
        let usage = extension(KEY_USAGE).map(KeyUsage::from_der).transpose().map_err(read)?;
        let purposes = extension(EXTENDED_KEY_USAGE)
            .map(ExtendedKeyUsage::from_der)
            .transpose()
            .map_err(read)?;
        Ok(Self {
            tbs,
            algorithm,
            signature,
            key,
            constraints,
            usage,
            purposes,
            inner,
        })
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn names_as_issuer(&self, issuer: &Self) -> bool {
        self.inner.tbs_certificate().issuer() == issuer.inner.tbs_certificate().subject()
    }

    /// True if the holder of `issuer`'s key signed this.
    pub(super) fn is_signed_by(&self, issuer: &Self) -> bool {
        let (algorithm, key): (&'static dyn VerificationAlgorithm, _) = match (&issuer.key, self.algorithm.as_slice()) {
            (Key::Rsa(key), RSA_SHA256) => (&RSA_PKCS1_2048_8192_SHA256, key),
            (Key::Rsa(key), RSA_SHA384) => (&RSA_PKCS1_2048_8192_SHA384, key),
            (Key::Rsa(key), RSA_SHA512) => (&RSA_PKCS1_2048_8192_SHA512, key),
            (Key::P256(point), ECDSA_SHA256) => (&ECDSA_P256_SHA256_ASN1, point),
            (Key::P384(point), ECDSA_SHA384) => (&ECDSA_P384_SHA384_ASN1, point),
            _ => return false,
        };
        UnparsedPublicKey::new(algorithm, key)
            .verify(&self.tbs, &self.signature)
            .is_ok()
    }

    /// True if this may issue certificates with `below` issuing certificates between them and itself.
    pub(super) fn may_issue(&self, below: usize) -> bool {
        let Some(constraints) = &self.constraints else {
            return false;
        };
        let length_ok = constraints
            .path_len_constraint
            .is_none_or(|most| below <= usize::from(most));
        constraints.ca && length_ok && self.usage.as_ref().is_some_and(KeyUsage::key_cert_sign)
    }

    /// What is wrong with this as the certificate of an attestation key; `None` if nothing is.
    pub(super) fn fault_as_leaf(&self) -> Option<&'static str> {
        if self.constraints.as_ref().is_some_and(|c| c.ca) {
            return Some("the certificate of an authority cannot be an attestation key's");
        }
        if !self.usage.as_ref().is_some_and(KeyUsage::digital_signature) {
            return Some("keyUsage: expected digitalSignature");
        }
        // Without extKeyUsage (Google's have none) the issuer does not restrict the key.
        if self.purposes.as_ref().is_some_and(|p| !p.0.contains(&AIK_CERTIFICATE)) {
            return Some(
                "extKeyUsage: expected tcg-kp-AIKCertificate (2.23.133.8.3): no attestation key's certificate",
            );
        }
        None
    }

    /// First and last second.
    pub(super) fn validity(&self) -> (u64, u64) {
        let validity = self.inner.tbs_certificate().validity();
        let unix = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs();
        (unix(&validity.not_before), unix(&validity.not_after))
    }
}

/// To-be-signed bytes, algorithm and signature of the outer SEQUENCE, with nothing after it.
fn split(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let mut outer = SliceReader::new(der).ok()?;
    let parts = outer
        .sequence(|r| -> der::Result<_> {
            let tbs = r.tlv_bytes()?;
            let algorithm = r.tlv_bytes()?;
            let signature = BitStringRef::decode(r)?;
            Ok((tbs, algorithm, signature))
        })
        .ok()?;
    outer.finish().ok()?;
    let (tbs, algorithm, signature) = parts;
    Some((tbs.to_vec(), algorithm.to_vec(), signature.as_bytes()?.to_vec()))
}

/// No extension twice; none critical that this code does not act on. An alternative name, critical where the subject is
/// empty, names the TPM's model: nothing here goes by names.
fn check_extensions(extensions: &[x509_cert::ext::Extension]) -> Result<(), &'static str> {
    for (i, extension) in extensions.iter().enumerate() {
        let oid = extension.extn_id;
        if extensions
            .iter()
            .skip(i.saturating_add(1))
            .any(|other| other.extn_id == oid)
        {
            return Err("an extension occurs twice");
        }
        if extension.critical && ![KEY_USAGE, BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE, SUBJECT_ALT_NAME].contains(&oid) {
            return Err("an unknown extension is critical");
        }
    }
    Ok(())
}
