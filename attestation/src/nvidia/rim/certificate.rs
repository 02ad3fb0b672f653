//! X.509 certificates as NVIDIA issues them for RIMs and OCSP answers: ECDSA on P-384 or P-256, and nothing else.
//!
//! Signatures are checked over the bytes that came, never over a re-encoding.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    EcdsaVerificationAlgorithm, UnparsedPublicKey,
};
use der::asn1::BitStringRef;
use der::oid::ObjectIdentifier;
use der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use crate::evidence::UnixTime;

/// Longest certificate in bytes; NVIDIA's are below 1000.
const CERTIFICATE_BYTES_MAX: usize = 4096;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// id-kp-OCSPSigning (RFC 6960, section 4.2.2.2).
const OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");

/// AlgorithmIdentifier of ecdsa-with-SHA384 and ecdsa-with-SHA256, without parameters (RFC 5758, section 3.2).
const ECDSA_SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";

/// The curves of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nvidia) enum Curve {
    P256,
    P384,
}

/// Checks an ECDSA signature in DER by the DER of its algorithm. False for any other algorithm.
pub(in crate::nvidia) fn verify_ecdsa(key: (Curve, &[u8]), algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (curve, point) = key;
    let verifier: &'static EcdsaVerificationAlgorithm = match (curve, algorithm) {
        (Curve::P384, ECDSA_SHA384) => &ECDSA_P384_SHA384_ASN1,
        (Curve::P384, ECDSA_SHA256) => &ECDSA_P384_SHA256_ASN1,
        (Curve::P256, ECDSA_SHA384) => &ECDSA_P256_SHA384_ASN1,
        (Curve::P256, ECDSA_SHA256) => &ECDSA_P256_SHA256_ASN1,
        _ => return false,
    };
    UnparsedPublicKey::new(verifier, point)
        .verify(message, signature)
        .is_ok()
}

/// A parsed certificate, not verified.
pub(in crate::nvidia) struct Certificate<'a> {
    pub(in crate::nvidia) der: &'a [u8],
    tbs: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    inner: x509_cert::Certificate,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate; the error says what is wrong with it.
    pub(in crate::nvidia) fn parse(der: &'a [u8]) -> Result<Self, &'static str> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err("longer than 4096 bytes");
        }
        let (tbs, algorithm, signature) = split(der).ok_or("no X.509 certificate in DER")?;
        let inner = x509_cert::Certificate::from_der(der).map_err(|_| "no X.509 certificate in DER")?;
        let certificate = Self {
            der,
            tbs,
            algorithm,
            signature,
            inner,
        };
        let tbs = certificate.inner.tbs_certificate();
        if tbs.version() != x509_cert::Version::V3 {
            return Err("no X.509 version 3");
        }
        if tbs.signature() != certificate.inner.signature_algorithm() {
            return Err("inner and outer signature algorithm differ");
        }
        if certificate.key().is_none() {
            return Err("the key is none on P-384 or P-256");
        }
        certificate.check_extensions()?;
        Ok(certificate)
    }

    /// No extension twice; none critical that this code does not act on.
    fn check_extensions(&self) -> Result<(), &'static str> {
        let extensions = self.inner.tbs_certificate().extensions().map_or(&[][..], |v| v);
        for (i, extension) in extensions.iter().enumerate() {
            let mut later = extensions.iter().skip(i.saturating_add(1));
            if later.any(|other| other.extn_id == extension.extn_id) {
                return Err("an extension occurs twice");
            }
            let known = [KEY_USAGE, BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE];
            if extension.critical && !known.contains(&extension.extn_id) {
                return Err("an unknown extension is critical");
            }
        }
        Ok(())
    }

    /// The key: its curve and uncompressed point.
    pub(in crate::nvidia) fn key(&self) -> Option<(Curve, &[u8])> {
        let spki = self.inner.tbs_certificate().subject_public_key_info();
        let parameters = spki.algorithm.parameters.as_ref()?;
        let (curve, length) = match parameters.decode_as::<ObjectIdentifier>().ok()? {
            SECP384R1 => (Curve::P384, 97),
            SECP256R1 => (Curve::P256, 65),
            _ => return None,
        };
        let point = spki.subject_public_key.as_bytes()?;
        (spki.algorithm.oid == EC_PUBLIC_KEY && point.len() == length && point.first() == Some(&4))
            .then_some((curve, point))
    }

    /// Serial number, big endian, as encoded.
    pub(in crate::nvidia) fn serial(&self) -> &[u8] {
        self.inner.tbs_certificate().serial_number().as_bytes()
    }

    /// The subject's name, DER.
    pub(in crate::nvidia) fn subject_der(&self) -> Option<Vec<u8>> {
        self.inner.tbs_certificate().subject().to_der().ok()
    }

    /// First and last second.
    pub(in crate::nvidia) fn validity(&self) -> (UnixTime, UnixTime) {
        let validity = self.inner.tbs_certificate().validity();
        let unix = |time: &x509_cert::time::Time| UnixTime(time.to_unix_duration().as_secs());
        (unix(&validity.not_before), unix(&validity.not_after))
    }

    /// Name, right to sign certificates with `below` authorities under it, and signature of `issuer`.
    pub(in crate::nvidia) fn verify_signed_by(&self, issuer: &Certificate<'_>, below: u8) -> Result<(), &'static str> {
        if self.inner.tbs_certificate().issuer() != issuer.inner.tbs_certificate().subject() {
            return Err("its issuer is not the subject of the certificate above it");
        }
        if !issuer.is_ca(below) {
            return Err("the certificate above it is none of a certificate authority for this place in the chain");
        }
        let signed = issuer
            .key()
            .is_some_and(|key| verify_ecdsa(key, self.algorithm, self.tbs, self.signature));
        if !signed {
            return Err("its signature does not verify under the key of the certificate above it");
        }
        Ok(())
    }

    fn extension<T: for<'b> Decode<'b>>(&self, oid: ObjectIdentifier) -> Option<T> {
        let extensions = self.inner.tbs_certificate().extensions()?;
        let found = extensions.iter().find(|e| e.extn_id == oid)?;
        T::from_der(found.extn_value.as_bytes()).ok()
    }

    fn is_ca(&self, below: u8) -> bool {
        let (constraints, usage) = (
            self.extension::<BasicConstraints>(BASIC_CONSTRAINTS),
            self.extension::<KeyUsage>(KEY_USAGE),
        );
        matches!((constraints, usage), (Some(c), Some(u))
            if c.ca && u.key_cert_sign() && c.path_len_constraint.is_none_or(|most| below <= most))
    }

    /// True if this key may sign documents and is no authority.
    pub(in crate::nvidia) fn is_signer(&self) -> bool {
        let constraints = self.extension::<BasicConstraints>(BASIC_CONSTRAINTS);
        let usage = self.extension::<KeyUsage>(KEY_USAGE);
        usage.is_some_and(|u| u.digital_signature()) && constraints.is_none_or(|c| !c.ca)
    }

    /// True if the issuer lets this key answer for it (RFC 6960, section 4.2.2.2).
    pub(in crate::nvidia) fn is_ocsp_signer(&self) -> bool {
        let constraints = self.extension::<BasicConstraints>(BASIC_CONSTRAINTS);
        let usage = self.extension::<KeyUsage>(KEY_USAGE);
        let extended = self.extension::<ExtendedKeyUsage>(EXTENDED_KEY_USAGE);
        // Unlike the extended one, keyUsage restricts only where it stands.
        extended.is_some_and(|e| e.0.contains(&OCSP_SIGNING))
            && usage.is_none_or(|u| u.digital_signature())
            && constraints.is_none_or(|c| !c.ca)
    }
}

/// The three parts of something signed as X.509 signs.
fn split(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut outer = SliceReader::new(der).ok()?;
    let parts = outer
        .sequence(|r| -> der::Result<_> { Ok((r.tlv_bytes()?, r.tlv_bytes()?, BitStringRef::decode(r)?)) })
        .ok()?;
    outer.finish().ok()?;
    let (tbs, algorithm, signature) = parts;
    Some((tbs, algorithm, signature.as_bytes()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_as_long_as_its_authority_allows() {
        let issuer = hanzo_simulated_tee::SimulatedRimIssuer::for_tests();
        let chain = issuer.certificates();
        let [signer, third, second, root] = chain.each_ref().map(|der| Certificate::parse(der).unwrap());
        // The third level says pathLen 0, the others nothing.
        signer.verify_signed_by(&third, 0).unwrap();
        assert!(signer.verify_signed_by(&third, 1).unwrap_err().contains("authority"));
        third.verify_signed_by(&second, 1).unwrap();
        second.verify_signed_by(&root, 200).unwrap();
        assert!(third.verify_signed_by(&root, 0).unwrap_err().contains("issuer"));
        assert!(signer.verify_signed_by(&signer, 0).is_err());
        assert!(signer.is_signer() && !third.is_signer() && !signer.is_ocsp_signer());
    }
}
