//! X.509 certificates as Intel issues them (SGX PCK Certificate and CRL Profile Specification, revision 1.5): ECDSA P-256
//! with SHA-256, and nothing else.
//!
//! A certificate is bounded before it is parsed and its signature is checked over the bytes that came, never over a
//! re-encoding.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use der::asn1::BitStringRef;
use der::oid::ObjectIdentifier;
use der::{Decode, Reader, SliceReader};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::name::Name;
use x509_cert::time::Time;

use super::error::TdxError;
use crate::evidence::UnixTime;

/// Longest certificate in bytes; Intel's are below 1400.
pub const CERTIFICATE_BYTES_MAX: usize = 4096;

/// AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758): no parameters.
const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");

/// A certificate's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Intel SGX Root CA.
    Root,
    /// Intel SGX PCK Platform CA or Processor CA.
    PckCa,
    /// The provisioning certification key of one platform.
    Pck,
    /// Intel SGX TCB Signing.
    TcbSigning,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::PckCa => "PCK CA",
            Self::Pck => "PCK",
            Self::TcbSigning => "TCB signing",
        })
    }
}

impl Role {
    fn is_authority(self) -> bool {
        matches!(self, Self::Root | Self::PckCa)
    }
}

/// Something signed as X.509 signs: the bytes that are covered, and the signature over them.
pub(super) struct Signed {
    tbs: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    /// Splits the outer SEQUENCE of a certificate or CRL; `None` unless it is ECDSA with SHA-256.
    pub(super) fn split(der: &[u8]) -> Option<Self> {
        let mut outer = SliceReader::new(der).ok()?;
        let split = outer
            .sequence(|r| -> der::Result<_> {
                let tbs = r.tlv_bytes()?;
                let algorithm = r.tlv_bytes()?;
                let signature = BitStringRef::decode(r)?;
                Ok((tbs, algorithm, signature))
            })
            .ok()?;
        outer.finish().ok()?;
        let (tbs, algorithm, signature) = split;
        (algorithm == ECDSA_SHA256).then_some(())?;
        Some(Self {
            tbs: tbs.to_vec(),
            signature: signature.as_bytes()?.to_vec(),
        })
    }

    /// True if the holder of `issuer`'s key signed this.
    pub(super) fn is_signed_by(&self, issuer: &Certificate) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, issuer.point())
            .verify(&self.tbs, &self.signature)
            .is_ok()
    }
}

/// A parsed certificate.
pub(super) struct Certificate {
    role: Role,
    der: Vec<u8>,
    signed: Signed,
    inner: x509_cert::Certificate,
    point: [u8; 65],
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {:?})", self.role, self.common_name())
    }
}

impl Certificate {
    pub(super) fn parse(role: Role, der: &[u8]) -> Result<Self, TdxError> {
        let wrong = |detail| TdxError::Certificate { role, detail };
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(wrong("longer than 4096 bytes"));
        }
        let signed = Signed::split(der).ok_or(wrong("no X.509 certificate signed with ECDSA and SHA-256"))?;
        let inner = x509_cert::Certificate::from_der(der).map_err(|_| wrong("no X.509 certificate in DER"))?;
        let tbs = inner.tbs_certificate();
        if tbs.version() != x509_cert::Version::V3 {
            return Err(wrong("no X.509 version 3"));
        }
        if tbs.signature() != inner.signature_algorithm() {
            return Err(wrong("inner and outer signature algorithm differ"));
        }
        check_extensions(role, tbs.extensions().map_or(&[][..], |v| v))?;
        let point = p256_point(&inner).ok_or(wrong("no P-256 key"))?;
        let certificate = Self {
            role,
            der: der.to_vec(),
            signed,
            inner,
            point,
        };
        certificate.check_usage()?;
        Ok(certificate)
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Uncompressed point of the key.
    pub(super) fn point(&self) -> &[u8; 65] {
        &self.point
    }

    /// CN of the subject, as far as it can be shown.
    pub(super) fn common_name(&self) -> String {
        common_name(self.subject()).unwrap_or_else(|| "a certificate without common name".into())
    }

    pub(super) fn subject(&self) -> &Name {
        self.inner.tbs_certificate().subject()
    }

    /// Bytes of the serial number.
    pub(super) fn serial(&self) -> &[u8] {
        self.inner.tbs_certificate().serial_number().as_bytes()
    }

    /// Name and signature of `issuer`, which is an authority by its role.
    pub(super) fn verify_signed_by(&self, issuer: &Self) -> Result<(), TdxError> {
        let role = self.role;
        if self.inner.tbs_certificate().issuer() != issuer.subject() {
            return Err(TdxError::Chain {
                role,
                detail: "its issuer is not the subject of the certificate above it",
            });
        }
        if !issuer.role.is_authority() || !self.signed.is_signed_by(issuer) {
            return Err(TdxError::Chain {
                role,
                detail: "its signature does not verify under the key of the certificate above it",
            });
        }
        Ok(())
    }

    /// First and last second of its life.
    pub(super) fn validity(&self) -> (u64, u64) {
        let validity = self.inner.tbs_certificate().validity();
        (unix(&validity.not_before), unix(&validity.not_after))
    }

    pub(super) fn check_validity(&self, now: UnixTime) -> Result<(), TdxError> {
        let (role, now) = (self.role, now.0);
        let (not_before, not_after) = self.validity();
        if now < not_before {
            return Err(TdxError::NotYetValid { role, not_before, now });
        }
        if now > not_after {
            return Err(TdxError::Expired { role, not_after, now });
        }
        Ok(())
    }

    /// An authority may sign certificates and lists, with as many levels below it as its role has; the others may sign
    /// neither. So no certificate can stand in another's place.
    fn check_usage(&self) -> Result<(), TdxError> {
        let wrong = |detail| TdxError::Certificate {
            role: self.role,
            detail,
        };
        let constraints = self
            .extension(BASIC_CONSTRAINTS)
            .map(BasicConstraints::from_der)
            .ok_or(wrong("basicConstraints is missing"))?
            .map_err(|_| wrong("basicConstraints is malformed"))?;
        let usage = self
            .extension(KEY_USAGE)
            .map(KeyUsage::from_der)
            .ok_or(wrong("keyUsage is missing"))?
            .map_err(|_| wrong("keyUsage is malformed"))?;
        let levels_below = match self.role {
            Role::Root => 1,
            Role::PckCa => 0,
            Role::Pck | Role::TcbSigning => {
                if constraints.ca || usage.key_cert_sign() || usage.crl_sign() || !usage.digital_signature() {
                    return Err(wrong("expected the certificate of a signing key that is no authority"));
                }
                return Ok(());
            }
        };
        if !constraints.ca || !usage.key_cert_sign() || !usage.crl_sign() {
            return Err(wrong(
                "expected the certificate of an authority that signs certificates and lists",
            ));
        }
        if constraints.path_len_constraint.is_some_and(|n| n < levels_below) {
            return Err(wrong("pathLenConstraint forbids the chain"));
        }
        Ok(())
    }

    fn extension(&self, oid: ObjectIdentifier) -> Option<&[u8]> {
        let extensions = self.inner.tbs_certificate().extensions()?;
        extensions
            .iter()
            .find(|e| e.extn_id == oid)
            .map(|e| e.extn_value.as_bytes())
    }
}

pub(super) fn unix(time: &Time) -> u64 {
    time.to_unix_duration().as_secs()
}

fn common_name(name: &Name) -> Option<String> {
    let mut found = name.iter().filter(|a| a.oid == der::oid::db::rfc4519::COMMON_NAME);
    let (one, None) = (found.next()?, found.next()) else {
        return None;
    };
    let text = std::str::from_utf8(one.value.value()).ok()?;
    let shown = text.len() <= 64 && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    shown.then(|| text.to_owned())
}

fn p256_point(certificate: &x509_cert::Certificate) -> Option<[u8; 65]> {
    let spki = certificate.tbs_certificate().subject_public_key_info();
    let curve = spki
        .algorithm
        .parameters
        .as_ref()?
        .decode_as::<ObjectIdentifier>()
        .ok()?;
    let point: [u8; 65] = spki.subject_public_key.as_bytes()?.try_into().ok()?;
    (spki.algorithm.oid == EC_PUBLIC_KEY && curve == PRIME256V1 && point.first() == Some(&4)).then_some(point)
}

/// No extension twice; none critical that this code does not act on.
fn check_extensions(role: Role, extensions: &[x509_cert::ext::Extension]) -> Result<(), TdxError> {
    for (i, extension) in extensions.iter().enumerate() {
        let mut later = extensions.iter().skip(i.saturating_add(1));
        if later.any(|other| other.extn_id == extension.extn_id) {
            return Err(TdxError::Certificate {
                role,
                detail: "an extension occurs twice",
            });
        }
        if extension.critical && ![KEY_USAGE, BASIC_CONSTRAINTS].contains(&extension.extn_id) {
            return Err(TdxError::Certificate {
                role,
                detail: "an unknown extension is critical",
            });
        }
    }
    Ok(())
}
