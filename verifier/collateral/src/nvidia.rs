//! NVIDIA's RIM service and OCSP responder (RFC 6960).

use aws_lc_rs::digest::{SHA384, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::{Decode as _, Encode as _};
use serde::Deserialize;
use x509_cert::Certificate;

use crate::error::CollateralError;
use crate::http::{Http, Request};
use crate::key::Key;
use crate::sources::BaseUrl;

/// Longest RIM; NVIDIA's are below 100 kB.
const RIM_BYTES_MAX: usize = 1 << 20;
/// Longest OCSP answer; NVIDIA's are a few kB.
const OCSP_BYTES_MAX: usize = 64 << 10;
/// Length of the nonce in an OCSP request, in bytes (RFC 9654).
const NONCE_BYTES: usize = 32;

/// id-pkix-ocsp-nonce, 1.3.6.1.5.5.7.48.1.2, DER.
const OCSP_NONCE: &[u8] = b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x02";
/// SHA-384 as AlgorithmIdentifier, DER.
const SHA384_ALGORITHM: &[u8] = b"\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00";

/// `.../v1/rim/<id>`.
pub fn rim_url(service: &BaseUrl, id: &str) -> String {
    service.join(&format!("/v1/rim/{id}"))
}

#[derive(Deserialize)]
struct RimAnswer {
    id: Option<String>,
    /// The SWID tag, standard base64.
    rim: String,
}

pub(crate) async fn rim(http: &Http, service: &BaseUrl, key: &Key, id: &str) -> Result<Vec<u8>, CollateralError> {
    let answer = http
        .fetch(&Request {
            what: key.describe(),
            url: rim_url(service, id),
            post: None,
            accept: "application/json",
            bytes_max: 2 * RIM_BYTES_MAX,
        })
        .await?;
    let wrong = |field, expected| CollateralError::Answer {
        what: key.describe(),
        field,
        expected,
    };
    let parsed: RimAnswer =
        serde_json::from_slice(&answer.body).map_err(|_| wrong("body", "a JSON object with the member rim"))?;
    if parsed.id.is_some_and(|got| got != id) {
        return Err(wrong("id", "the id that was asked for"));
    }
    let rim = STANDARD
        .decode(parsed.rim.as_bytes())
        .map_err(|_| wrong("rim", "standard base64 with padding"))?;
    if rim.len() > RIM_BYTES_MAX {
        return Err(wrong("rim", "at most 1 MiB"));
    }
    Ok(rim)
}

/// CertID (RFC 6960 section 4.1.1) of a certificate under its issuer's, with SHA-384, DER. `None` unless both are X.509.
pub fn cert_id(certificate: &[u8], issuer: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let issuer = Certificate::from_der(issuer).ok()?;
    let name = certificate.tbs_certificate().issuer().to_der().ok()?;
    let key = issuer.tbs_certificate().subject_public_key_info();
    let octets = |bytes: &[u8]| tlv(0x04, digest(&SHA384, bytes).as_ref());
    let serial = certificate.tbs_certificate().serial_number().to_der().ok()?;
    let key_hash = octets(key.subject_public_key.as_bytes()?);
    Some(tlv(
        0x30,
        &[SHA384_ALGORITHM, &octets(&name), &key_hash, &serial].concat(),
    ))
}

/// OCSPRequest with one CertID and a nonce, DER.
pub fn ocsp_request(cert_id: &[u8], nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
    let list = tlv(0x30, &tlv(0x30, cert_id));
    let extension = tlv(0x30, &[OCSP_NONCE, &tlv(0x04, &tlv(0x04, nonce))].concat());
    let extensions = tlv(0xa2, &tlv(0x30, &extension));
    tlv(0x30, &tlv(0x30, &[list, extensions].concat()))
}

/// What came for a request, and the nonce that it went with.
pub(crate) async fn ocsp(
    http: &Http,
    service: &BaseUrl,
    key: &Key,
    cert_id: &[u8],
) -> Result<Vec<u8>, CollateralError> {
    let mut nonce = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| CollateralError::Random)?;
    let answer = http
        .fetch(&Request {
            what: key.describe(),
            url: service.to_string(),
            post: Some(("application/ocsp-request", ocsp_request(cert_id, &nonce))),
            accept: "application/ocsp-response",
            bytes_max: OCSP_BYTES_MAX,
        })
        .await?;
    let wrong = |field, expected| CollateralError::Answer {
        what: key.describe(),
        field,
        expected,
    };
    // Both stand in the signed part, whose signature is checked before the answer is kept. A responder may write the
    // algorithm's absent parameters in two ways; the hashes and the serial number have one spelling.
    let (_, named) = cert_id.split_at_checked(3 + SHA384_ALGORITHM.len()).unwrap_or_default();
    let has = |part: &[u8]| answer.body.windows(part.len().max(1)).any(|w| w == part);
    if has(OCSP_NONCE) && !has(&nonce) {
        return Err(wrong("nonce", "the nonce of the request: the answer is a replay"));
    }
    if named.is_empty() || !has(named) {
        return Err(wrong("certID", "the certificate that was asked about"));
    }
    Ok(answer.body)
}

/// Tag, length and content.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if let (true, Ok(short)) = (length < 0x80, u8::try_from(length)) {
        out.push(short);
    } else {
        let bytes = length.to_be_bytes();
        let used = bytes.iter().skip_while(|b| **b == 0);
        out.push(0x80 | u8::try_from(used.clone().count()).unwrap_or(0x7f));
        out.extend(used);
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_form_of_rfc_6960() {
        let cert_id = tlv(0x30, &[7; 130]);
        let request = ocsp_request(&cert_id, &[9; 32]);
        // SEQUENCE { tbsRequest SEQUENCE { requestList SEQUENCE { Request SEQUENCE { CertID } }, [2] extensions } }
        let expected = [
            &b"\x30\x81\xc3\x30\x81\xc0\x30\x81\x88\x30\x81\x85\x30\x81\x82"[..],
            &[7; 130],
            b"\xa2\x33\x30\x31\x30\x2f",
            OCSP_NONCE,
            b"\x04\x22\x04\x20",
            &[9; 32],
        ]
        .concat();
        assert_eq!(hex::encode(request), hex::encode(expected));
    }

    #[test]
    fn an_address_of_a_rim() {
        let service = BaseUrl::new("RIM service", "https://rim.attestation.nvidia.com").unwrap();
        assert_eq!(
            rim_url(&service, "NV_GPU_DRIVER_GH100_550.144.03"),
            "https://rim.attestation.nvidia.com/v1/rim/NV_GPU_DRIVER_GH100_550.144.03"
        );
    }
}
