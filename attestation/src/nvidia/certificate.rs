//! X.509 certificates as NVIDIA issues them: P-384 keys, ECDSA with SHA-384, and nothing else.
//!
//! A certificate is bounded before it is parsed and its signature is checked over the bytes that came, never over a
//! re-encoding.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use der::asn1::{BitStringRef, OctetString};
use der::oid::ObjectIdentifier;
use der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::name::Name;

use super::chain::Level;
use super::error::NvidiaError;
use super::fwid;
use crate::evidence::UnixTime;

/// Longest certificate in bytes; NVIDIA's are below 1000.
pub const CERTIFICATE_BYTES_MAX: usize = 4096;

/// ecdsa-with-SHA384, without parameters (RFC 5758, section 3.2).
const ECDSA_SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");

/// A parsed certificate.
pub(super) struct Certificate {
    level: Level,
    der: Vec<u8>,
    tbs: Vec<u8>,
    signature: Vec<u8>,
    point: Vec<u8>,
    common_name: String,
    inner: x509_cert::Certificate,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {:?})", self.level, self.common_name)
    }
}

impl Certificate {
    pub(super) fn parse(level: Level, der: &[u8]) -> Result<Self, NvidiaError> {
        let wrong = |detail| NvidiaError::Certificate { level, detail };
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(wrong("longer than 4096 bytes"));
        }
        let (tbs, signature) = split(der).ok_or(wrong(
            "no X.509 certificate signed with ECDSA and SHA-384 (ecdsa-with-SHA384)",
        ))?;
        let inner = x509_cert::Certificate::from_der(der).map_err(|_| wrong("no X.509 certificate in DER"))?;
        let fields = inner.tbs_certificate();
        if fields.version() != x509_cert::Version::V3 {
            return Err(wrong("no X.509 version 3"));
        }
        if fields.signature() != inner.signature_algorithm() {
            return Err(wrong("inner and outer signature algorithm differ"));
        }
        let common_name = common_name(fields.subject()).ok_or(wrong("the subject has not exactly one common name"))?;
        let point = p384_point(&inner).ok_or(wrong("no P-384 key"))?.to_vec();
        check_extensions(level, fields.extensions().map_or(&[][..], |v| v))?;
        Ok(Self {
            level,
            der: der.to_vec(),
            tbs,
            signature,
            point,
            common_name,
            inner,
        })
    }

    /// The bytes that came.
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its place in the chain.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// CN of the subject.
    pub(super) fn common_name(&self) -> &str {
        &self.common_name
    }

    /// Bytes of the serial number, without the zero that only keeps it positive.
    pub(super) fn serial(&self) -> &[u8] {
        let serial = self.inner.tbs_certificate().serial_number().as_bytes();
        match serial {
            [0, rest @ ..] if !rest.is_empty() => rest,
            _ => serial,
        }
    }

    /// Subject and SubjectPublicKeyInfo are the same.
    pub(super) fn is_same_authority(&self, other: &Self) -> bool {
        self.subject() == other.subject() && self.spki_der() == other.spki_der()
    }

    /// SubjectPublicKeyInfo as DER.
    pub(super) fn spki_der(&self) -> Option<Vec<u8>> {
        self.inner.tbs_certificate().subject_public_key_info().to_der().ok()
    }

    fn subject(&self) -> &Name {
        self.inner.tbs_certificate().subject()
    }

    /// Content of the extension with this identifier. At most one exists (see [`Certificate::parse`]).
    pub(super) fn extension(&self, oid: ObjectIdentifier) -> Option<&OctetString> {
        let extensions = self.inner.tbs_certificate().extensions()?;
        extensions.iter().find(|e| e.extn_id == oid).map(|e| &e.extn_value)
    }

    /// True if the holder of this key made the signature: r and s, 48 bytes each, big endian.
    pub(super) fn verifies_fixed(&self, message: &[u8], signature: &[u8; 96]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &self.point)
            .verify(message, signature)
            .is_ok()
    }

    /// The issuer's name is `issuer`'s.
    pub(super) fn names_as_issuer(&self, issuer: &Self) -> bool {
        self.inner.tbs_certificate().issuer() == issuer.subject()
    }

    /// Name, signature and right to sign of `issuer`, all three.
    pub(super) fn verify_issued_by(&self, issuer: &Self) -> Result<(), NvidiaError> {
        let level = self.level;
        let wrong = |detail| Err(NvidiaError::Link { level, detail });
        if !self.names_as_issuer(issuer) {
            return wrong("its issuer is not the subject of the certificate above it");
        }
        let Some(constraints) = issuer.authority() else {
            return wrong("the certificate above it is none of a certificate authority");
        };
        if constraints
            .path_len_constraint
            .is_some_and(|most| level.authorities_below_issuer() > most)
        {
            return wrong("the certificate above it allows a shorter path than this");
        }
        let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, &issuer.point);
        if key.verify(&self.tbs, &self.signature).is_err() {
            return wrong("its signature does not verify under the key of the certificate above it");
        }
        Ok(())
    }

    /// basicConstraints, if this is a certificate of an authority that signs certificates.
    fn authority(&self) -> Option<BasicConstraints> {
        let constraints = BasicConstraints::from_der(self.extension(BASIC_CONSTRAINTS)?.as_bytes()).ok()?;
        let usage = self.key_usage()?;
        (constraints.ca && usage.key_cert_sign()).then_some(constraints)
    }

    fn key_usage(&self) -> Option<KeyUsage> {
        KeyUsage::from_der(self.extension(KEY_USAGE)?.as_bytes()).ok()
    }

    /// The certificate of a key that signs reports: digitalSignature, and no authority.
    pub(super) fn check_end_entity(&self) -> Result<(), NvidiaError> {
        let level = self.level;
        let wrong = |detail| Err(NvidiaError::Link { level, detail });
        if self
            .extension(BASIC_CONSTRAINTS)
            .is_some_and(|v| BasicConstraints::from_der(v.as_bytes()).map_or(true, |constraints| constraints.ca))
        {
            return wrong("expected the certificate of a device, got one of a certificate authority");
        }
        if !self.key_usage().is_some_and(|usage| usage.digital_signature()) {
            return wrong("its key usage does not allow digital signatures");
        }
        Ok(())
    }

    pub(super) fn check_validity(&self, now: UnixTime) -> Result<(), NvidiaError> {
        let (level, now) = (self.level, now.0);
        let validity = self.inner.tbs_certificate().validity();
        let not_before = validity.not_before.to_unix_duration().as_secs();
        let not_after = validity.not_after.to_unix_duration().as_secs();
        if now < not_before {
            return Err(NvidiaError::NotYetValid { level, not_before, now });
        }
        if now > not_after {
            return Err(NvidiaError::Expired { level, not_after, now });
        }
        Ok(())
    }
}

/// The signed bytes and the signature of the outer SEQUENCE; `None` unless it is ecdsa-with-SHA384.
fn split(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut outer = SliceReader::new(der).ok()?;
    let (tbs, algorithm, signature) = outer
        .sequence(|r| -> der::Result<_> {
            let tbs = r.tlv_bytes()?;
            let algorithm = r.tlv_bytes()?;
            let signature = BitStringRef::decode(r)?;
            Ok((tbs, algorithm, signature))
        })
        .ok()?;
    outer.finish().ok()?;
    (algorithm == ECDSA_SHA384).then_some(())?;
    Some((tbs.to_vec(), signature.as_bytes()?.to_vec()))
}

/// The P-384 point (uncompressed, 97 bytes), if it is one.
fn p384_point(certificate: &x509_cert::Certificate) -> Option<&[u8]> {
    let spki = certificate.tbs_certificate().subject_public_key_info();
    let curve: ObjectIdentifier = spki.algorithm.parameters.as_ref()?.decode_as().ok()?;
    let point = spki.subject_public_key.as_bytes()?;
    (spki.algorithm.oid == EC_PUBLIC_KEY && curve == SECP384R1 && point.len() == 97 && point.first() == Some(&4))
        .then_some(point)
}

fn common_name(name: &Name) -> Option<String> {
    let mut found = name.iter().filter(|a| a.oid == der::oid::db::rfc4519::COMMON_NAME);
    let (one, None) = (found.next()?, found.next()) else {
        return None;
    };
    std::str::from_utf8(one.value.value()).ok().map(str::to_owned)
}

/// No extension twice; none critical that this code does not act on.
fn check_extensions(level: Level, extensions: &[x509_cert::ext::Extension]) -> Result<(), NvidiaError> {
    let wrong = |detail| Err(NvidiaError::Certificate { level, detail });
    let known = [KEY_USAGE, BASIC_CONSTRAINTS, fwid::COMPOSITE_DEVICE_ID, fwid::TCB_INFO];
    for (i, extension) in extensions.iter().enumerate() {
        let mut rest = extensions.iter().skip(i.saturating_add(1));
        if rest.any(|other| other.extn_id == extension.extn_id) {
            return wrong("an extension occurs twice");
        }
        if extension.critical && !known.contains(&extension.extn_id) {
            return wrong("an unknown extension is critical");
        }
    }
    Ok(())
}
