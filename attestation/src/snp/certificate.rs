//! X.509 certificates as AMD issues them (57230): RSA-PSS signatures by RSA-4096 keys, and nothing else.
//!
//! A certificate is bounded before it is parsed and its signature is checked over the bytes that came, never over a
//! re-encoding.

use std::fmt;

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA384, UnparsedPublicKey};
use der::asn1::{BitStringRef, OctetString};
use der::oid::ObjectIdentifier;
use der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::name::Name;
use x509_cert::time::Time;

use super::error::SnpError;
use crate::evidence::{KnownSignatures, UnixTime};

/// Longest certificate in bytes; AMD's are below 1700.
pub const CERTIFICATE_BYTES_MAX: usize = 4096;

/// id-RSASSA-PSS with SHA-384, MGF1 with SHA-384 and salt length 48 (RFC 4055), in the two encodings that AMD uses:
/// trailerField left out, as DER wants, and written.
const PSS_SHA384: [&[u8]; 2] = [
    b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\
      \x02\x02\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\
      \x03\x04\x02\x02\x05\x00\xa2\x03\x02\x01\x30",
    b"\x30\x46\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x39\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\
      \x02\x02\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\
      \x03\x04\x02\x02\x05\x00\xa2\x03\x02\x01\x30\xa3\x03\x02\x01\x01",
];
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");

/// A certificate's place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The root.
    Ark,
    /// The intermediate: ASK or ASVK.
    Ask,
    /// The key that signed the report: VCEK or VLEK.
    Vek,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ark => "ARK",
            Self::Ask => "ASK",
            Self::Vek => "VEK",
        })
    }
}

/// Something signed as X.509 signs: the bytes that are covered, and the signature over them.
#[derive(Clone)]
pub(super) struct Signed {
    tbs: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    /// Splits the outer SEQUENCE of a certificate or CRL; `None` unless it is RSA-PSS in one of the known encodings.
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
        PSS_SHA384.contains(&algorithm).then_some(())?;
        Some(Self {
            tbs: tbs.to_vec(),
            signature: signature.as_bytes()?.to_vec(),
        })
    }

    /// True if the holder of `issuer`'s key signed this.
    pub(super) fn is_signed_by(&self, issuer: &Certificate, known: &KnownSignatures) -> bool {
        let Some(key) = issuer.rsa_key() else { return false };
        known.verifies("RSA-PSS-SHA384", key, &self.tbs, &self.signature, || {
            UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA384, key)
                .verify(&self.tbs, &self.signature)
                .is_ok()
        })
    }
}

/// A parsed certificate.
#[derive(Clone)]
pub(super) struct Certificate {
    role: Role,
    signed: Signed,
    inner: x509_cert::Certificate,
    common_name: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {:?})", self.role, self.common_name)
    }
}

impl Certificate {
    pub(super) fn parse(role: Role, der: &[u8]) -> Result<Self, SnpError> {
        let wrong = |detail| SnpError::Certificate { role, detail };
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(wrong("longer than 4096 bytes"));
        }
        let signed = Signed::split(der).ok_or(wrong("no X.509 certificate signed with RSA-PSS, SHA-384, salt 48"))?;
        let inner = x509_cert::Certificate::from_der(der).map_err(|_| wrong("no X.509 certificate in DER"))?;
        let tbs = inner.tbs_certificate();
        if tbs.version() != x509_cert::Version::V3 {
            return Err(wrong("no X.509 version 3"));
        }
        if tbs.signature() != inner.signature_algorithm() {
            return Err(wrong("inner and outer signature algorithm differ"));
        }
        let common_name = common_name(tbs.subject()).ok_or(wrong("the subject has not exactly one common name"))?;
        check_extensions(role, tbs.extensions().map_or(&[][..], |v| v))?;
        let certificate = Self {
            role,
            common_name,
            signed,
            inner,
        };
        if role != Role::Vek && certificate.rsa_key().is_none() {
            return Err(wrong("no RSA key"));
        }
        Ok(certificate)
    }

    /// CN of the subject.
    pub(super) fn common_name(&self) -> &str {
        &self.common_name
    }

    /// CN of the issuer, as far as it can be shown.
    pub(super) fn issuer_common_name(&self) -> String {
        common_name(self.inner.tbs_certificate().issuer()).unwrap_or_else(|| "an issuer without common name".into())
    }

    pub(super) fn subject(&self) -> &Name {
        self.inner.tbs_certificate().subject()
    }

    pub(super) fn names_as_issuer(&self, issuer: &Self) -> bool {
        self.inner.tbs_certificate().issuer() == issuer.subject()
    }

    /// Bytes of the serial number. AMD gives every VCEK and VLEK the number 0.
    pub(super) fn serial(&self) -> &[u8] {
        self.inner.tbs_certificate().serial_number().as_bytes()
    }

    /// SubjectPublicKeyInfo as DER.
    pub(super) fn spki_der(&self) -> Option<Vec<u8>> {
        self.inner.tbs_certificate().subject_public_key_info().to_der().ok()
    }

    /// The RSA key (RSAPublicKey, PKCS #1), if it is one.
    fn rsa_key(&self) -> Option<&[u8]> {
        let spki = self.inner.tbs_certificate().subject_public_key_info();
        (spki.algorithm.oid == RSA_ENCRYPTION).then(|| spki.subject_public_key.as_bytes())?
    }

    /// The P-384 point (uncompressed, 97 bytes), if it is one.
    pub(super) fn p384_point(&self) -> Option<&[u8]> {
        let spki = self.inner.tbs_certificate().subject_public_key_info();
        let curve = spki
            .algorithm
            .parameters
            .as_ref()?
            .decode_as::<ObjectIdentifier>()
            .ok()?;
        let point = spki.subject_public_key.as_bytes()?;
        (spki.algorithm.oid == EC_PUBLIC_KEY && curve == SECP384R1 && point.len() == 97 && point.first() == Some(&4))
            .then_some(point)
    }

    /// Content of the extension with this identifier. At most one exists (see [`Certificate::parse`]).
    pub(super) fn extension(&self, oid: ObjectIdentifier) -> Option<&OctetString> {
        let extensions = self.inner.tbs_certificate().extensions()?;
        extensions.iter().find(|e| e.extn_id == oid).map(|e| &e.extn_value)
    }

    /// Name, signature and right to sign of `issuer`, all three.
    pub(super) fn verify_signed_by(&self, issuer: &Self, known: &KnownSignatures) -> Result<(), SnpError> {
        let wrong = |detail| match self.role {
            Role::Vek => SnpError::Vek { detail },
            Role::Ark | Role::Ask => SnpError::Ask { detail },
        };
        if !self.names_as_issuer(issuer) {
            return Err(wrong("its issuer is not the subject of the certificate above it"));
        }
        if !issuer.is_ca() {
            return Err(wrong("the certificate above it is none of a certificate authority"));
        }
        if !self.signed.is_signed_by(issuer, known) {
            return Err(wrong(
                "its signature does not verify under the key of the certificate above it",
            ));
        }
        Ok(())
    }

    fn is_ca(&self) -> bool {
        let constraints = self
            .extension(BASIC_CONSTRAINTS)
            .map(|v| BasicConstraints::from_der(v.as_bytes()));
        let usage = self.extension(KEY_USAGE).map(|v| KeyUsage::from_der(v.as_bytes()));
        matches!((constraints, usage), (Some(Ok(c)), Some(Ok(u))) if c.ca && u.key_cert_sign())
    }

    pub(super) fn check_validity(&self, now: UnixTime) -> Result<(), SnpError> {
        let (role, now) = (self.role, now.0);
        let validity = self.inner.tbs_certificate().validity();
        let (not_before, not_after) = (unix(&validity.not_before), unix(&validity.not_after));
        if now < not_before {
            return Err(SnpError::NotYetValid { role, not_before, now });
        }
        if now > not_after {
            return Err(SnpError::Expired { role, not_after, now });
        }
        Ok(())
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
    std::str::from_utf8(one.value.value()).ok().map(str::to_owned)
}

/// No extension twice; none critical that this code does not act on.
fn check_extensions(role: Role, extensions: &[x509_cert::ext::Extension]) -> Result<(), SnpError> {
    for (i, extension) in extensions.iter().enumerate() {
        if extensions
            .iter()
            .skip(i.saturating_add(1))
            .any(|other| other.extn_id == extension.extn_id)
        {
            return Err(SnpError::Certificate {
                role,
                detail: "an extension occurs twice",
            });
        }
        if extension.critical && ![KEY_USAGE, BASIC_CONSTRAINTS].contains(&extension.extn_id) {
            return Err(SnpError::Certificate {
                role,
                detail: "an unknown extension is critical",
            });
        }
    }
    Ok(())
}
