//! The extensions of a dstack RA-TLS certificate. Who signed the certificate is not asked: its key is in the evidence.

use der::asn1::OctetString;
use der::oid::ObjectIdentifier;
use der::{Decode, Encode};

use crate::foreign::encoding::Fields;
use crate::foreign::{ForeignError, ForeignFormat};

const CERTIFICATE_BYTES_MAX: usize = 256 << 10;
const QUOTE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.62397.1.1");
const EVENT_LOG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.62397.1.2");
const ATTESTATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.62397.1.8");

pub(super) struct RaTls {
    /// SubjectPublicKeyInfo, DER.
    pub(super) spki: Vec<u8>,
    pub(super) quote: Option<Vec<u8>>,
    pub(super) event_log: Option<Vec<u8>>,
    pub(super) attestation: Option<Vec<u8>>,
}

/// True if the certificate has one of the extensions that carry evidence.
pub(in crate::foreign) fn is_ra_tls(bytes: &[u8]) -> bool {
    parse(ForeignFormat::DstackRaTls, bytes).is_ok_and(|c| c.quote.is_some() || c.attestation.is_some())
}

pub(super) fn parse(format: ForeignFormat, bytes: &[u8]) -> Result<RaTls, ForeignError> {
    let wrong = |expected| ForeignError::Field {
        format,
        field: "certificate",
        expected,
    };
    if bytes.len() > CERTIFICATE_BYTES_MAX {
        return Err(wrong("at most 262144 bytes"));
    }
    let der = match std::str::from_utf8(bytes) {
        Ok(text) if text.trim_start().starts_with("-----BEGIN") => {
            // Of a chain the leaf counts, which stands first.
            let chain = Fields(format).pem_certificates("certificate", text)?;
            chain.into_iter().next().ok_or(wrong("certificates in PEM"))?
        }
        _ => bytes.to_vec(),
    };
    let certificate = x509_cert::Certificate::from_der(&der).map_err(|_| wrong("an X.509 certificate, DER or PEM"))?;
    let tbs = certificate.tbs_certificate();
    let spki = tbs
        .subject_public_key_info()
        .to_der()
        .map_err(|_| wrong("a key that can be written in DER"))?;
    let mut out = RaTls {
        spki,
        quote: None,
        event_log: None,
        attestation: None,
    };
    for extension in tbs.extensions().into_iter().flatten() {
        let slot = match extension.extn_id {
            QUOTE => &mut out.quote,
            EVENT_LOG => &mut out.event_log,
            ATTESTATION => &mut out.attestation,
            _ => continue,
        };
        let value = OctetString::from_der(extension.extn_value.as_bytes())
            .map_err(|_| wrong("extensions of dstack as OCTET STRING"))?;
        if slot.replace(value.as_bytes().to_vec()).is_some() {
            return Err(wrong("each extension once"));
        }
    }
    Ok(out)
}
