//! Intel's provisioning certification service, version 4, and caching services with the same API.
//!
//! TCB info and QE identity come as `{"tcbInfo":{...},"signature":"<hex>"}`. What is signed is the inner object, byte for
//! byte, so it is cut out of the text and never written anew.

use hanzo_attestation::bundle::{Base64, TdxCollateral};
use percent_encoding::percent_decode_str;
use serde::de::IgnoredAny;

use crate::error::CollateralError;
use crate::http::{Answer, Http, Request};
use crate::key::{Key, PckCa};
use crate::sources::{BaseUrl, IntelSource};

const CRL_BYTES_MAX: usize = 512 << 10;
const JSON_BYTES_MAX: usize = 256 << 10;
const CHAIN_BYTES_MAX: usize = 16 << 10;

const PCK_CRL_CHAIN: &str = "SGX-PCK-CRL-Issuer-Chain";
const TCB_INFO_CHAIN: &str = "TCB-Info-Issuer-Chain";
const QE_IDENTITY_CHAIN: &str = "SGX-Enclave-Identity-Issuer-Chain";

/// The addresses of what makes up one platform type's collateral.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdxUrls {
    /// CRL of the PCK CA.
    pub pck_crl: String,
    /// CRL of the root CA.
    pub root_ca_crl: String,
    /// TCB info.
    pub tcb_info: String,
    /// TD_QE identity.
    pub qe_identity: String,
}

/// Where the four parts are.
pub fn tdx_urls(source: &IntelSource, fmspc: [u8; 6], ca: PckCa) -> TdxUrls {
    let at = |base: &BaseUrl, root_ca_crl| TdxUrls {
        pck_crl: base.join(&format!("/sgx/certification/v4/pckcrl?ca={}&encoding=der", ca.name())),
        root_ca_crl,
        tcb_info: base.join(&format!("/tdx/certification/v4/tcb?fmspc={}", hex::encode_upper(fmspc))),
        qe_identity: base.join("/tdx/certification/v4/qe/identity"),
    };
    match source {
        IntelSource::Pcs { api, root_crl } => at(api, root_crl.to_string()),
        IntelSource::Pccs(base) => at(base, base.join("/sgx/certification/v4/rootcacrl")),
    }
}

/// Fetches the four parts at the same time.
pub(crate) async fn tdx(
    http: &Http,
    source: &IntelSource,
    key: &Key,
    fmspc: [u8; 6],
    ca: PckCa,
) -> Result<TdxCollateral, CollateralError> {
    let what = key.describe();
    let urls = tdx_urls(source, fmspc, ca);
    let ask = |part: &str, url: String, accept, bytes_max| Request {
        what: format!("{what}: {part}"),
        url,
        post: None,
        accept,
        bytes_max,
    };
    let requests = [
        ask("PCK CRL", urls.pck_crl, "application/pkix-crl", CRL_BYTES_MAX),
        ask("root CA CRL", urls.root_ca_crl, "application/pkix-crl", CRL_BYTES_MAX),
        ask("TCB info", urls.tcb_info, "application/json", JSON_BYTES_MAX),
        ask("QE identity", urls.qe_identity, "application/json", JSON_BYTES_MAX),
    ];
    let [pck_crl, root_ca_crl, tcb, qe] = &requests;
    let (pck_crl, root_ca_crl, tcb, qe) = tokio::try_join!(
        http.fetch(pck_crl),
        http.fetch(root_ca_crl),
        http.fetch(tcb),
        http.fetch(qe)
    )?;
    let (tcb_info, tcb_info_signature) = signed_json(&what, "tcbInfo", &tcb.body)?;
    let (qe_identity, qe_identity_signature) = signed_json(&what, "enclaveIdentity", &qe.body)?;
    Ok(TdxCollateral {
        pck_crl_issuer_chain: chain(&what, PCK_CRL_CHAIN, &pck_crl)?,
        pck_crl: Base64(crl_der(&what, "PCK CRL", pck_crl.body)?),
        qe_identity_issuer_chain: chain(&what, QE_IDENTITY_CHAIN, &qe)?,
        qe_identity,
        qe_identity_signature,
        root_ca_crl: Base64(crl_der(&what, "root CA CRL", root_ca_crl.body)?),
        tcb_info_issuer_chain: chain(&what, TCB_INFO_CHAIN, &tcb)?,
        tcb_info,
        tcb_info_signature,
    })
}

/// An issuer chain: PEM, percent-encoded, in a header.
fn chain(what: &str, header: &'static str, answer: &Answer) -> Result<String, CollateralError> {
    let wrong = || CollateralError::Answer {
        what: what.to_owned(),
        field: header,
        expected: "certificates in PEM, percent-encoded",
    };
    let value = answer.headers.get(header).ok_or_else(wrong)?;
    let text = value.to_str().map_err(|_| wrong())?;
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| wrong())?;
    if decoded.len() > CHAIN_BYTES_MAX || !decoded.trim_start().starts_with("-----BEGIN CERTIFICATE-----") {
        return Err(wrong());
    }
    Ok(decoded.into_owned())
}

/// Intel sends lists as DER, caching services as hex digits, and both can send PEM.
fn crl_der(what: &str, field: &'static str, body: Vec<u8>) -> Result<Vec<u8>, CollateralError> {
    if body.first() == Some(&0x30) && body.get(1).is_some_and(|b| *b >= 0x80) {
        return Ok(body);
    }
    let wrong = || CollateralError::Answer {
        what: what.to_owned(),
        field,
        expected: "a revocation list as DER, hex digits or PEM",
    };
    let text = std::str::from_utf8(&body).map_err(|_| wrong())?.trim();
    if text.starts_with("-----BEGIN X509 CRL-----") {
        use rustls_pki_types::pem::PemObject as _;
        let crl = rustls_pki_types::CertificateRevocationListDer::from_pem_slice(text.as_bytes());
        return crl.map(|c| c.to_vec()).map_err(|_| wrong());
    }
    hex::decode(text).map_err(|_| wrong())
}

/// Cuts the signed object `member` out of an answer, verbatim, with its signature.
fn signed_json(what: &str, member: &'static str, body: &[u8]) -> Result<(String, Base64), CollateralError> {
    let wrong = || CollateralError::Answer {
        what: what.to_owned(),
        field: member,
        expected: "a JSON object of that member and a signature of 128 hex digits",
    };
    let text = std::str::from_utf8(body).map_err(|_| wrong())?;
    let members = members(text).ok_or_else(wrong)?;
    let (inner, signature) = match members.as_slice() {
        [(a, inner), (b, signature)] if a == member && b == "signature" => (inner, signature),
        [(b, signature), (a, inner)] if a == member && b == "signature" => (inner, signature),
        _ => return Err(wrong()),
    };
    let signature: String = serde_json::from_str(signature).map_err(|_| wrong())?;
    let signature = hex::decode(signature).map_err(|_| wrong())?;
    if signature.len() != 64 || !inner.starts_with('{') {
        return Err(wrong());
    }
    Ok(((*inner).to_owned(), Base64(signature)))
}

/// Names and verbatim values of the members of a JSON object.
fn members(text: &str) -> Option<Vec<(String, &str)>> {
    let mut rest = text.trim().strip_prefix('{')?;
    let mut members = Vec::new();
    loop {
        let (name, after) = value(rest)?;
        let name: String = serde_json::from_str(name).ok()?;
        let (inner, after) = value(after.trim_start().strip_prefix(':')?)?;
        members.push((name, inner));
        let after = after.trim_start();
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after == "}" => return Some(members),
            None => return None,
        }
    }
}

/// The first JSON value of `text`, verbatim, and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    text.split_at_checked(values.byte_offset())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_service_and_of_a_cache_differ_in_the_root_list() {
        let sources = crate::Sources::default();
        let fmspc = [0xb0, 0xc0, 0x6f, 0, 0, 0];
        let pcs = tdx_urls(&sources.intel, fmspc, PckCa::Platform);
        assert_eq!(
            pcs.pck_crl,
            "https://api.trustedservices.intel.com/sgx/certification/v4/pckcrl?ca=platform&encoding=der"
        );
        assert_eq!(
            pcs.tcb_info,
            "https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=B0C06F000000"
        );
        assert_eq!(
            pcs.qe_identity,
            "https://api.trustedservices.intel.com/tdx/certification/v4/qe/identity"
        );
        assert_eq!(
            pcs.root_ca_crl,
            "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
        );
        let cache = IntelSource::Pccs(BaseUrl::new("PCCS", "https://pccs.lan:8081").unwrap());
        let pccs = tdx_urls(&cache, fmspc, PckCa::Processor);
        assert_eq!(pccs.root_ca_crl, "https://pccs.lan:8081/sgx/certification/v4/rootcacrl");
        assert_eq!(
            pccs.pck_crl,
            "https://pccs.lan:8081/sgx/certification/v4/pckcrl?ca=processor&encoding=der"
        );
    }

    #[test]
    fn signed_objects_are_cut_out_verbatim() {
        let signature = "ab".repeat(64);
        let inner = "{\"b\": [1, \"}\\\"{\"],  \"a\":{}}";
        for text in [
            format!("{{\"tcbInfo\":{inner},\"signature\":\"{signature}\"}}\n"),
            format!(" {{ \"signature\" : \"{signature}\" , \"tcbInfo\" : {inner} }}"),
        ] {
            let (cut, signed) = signed_json("x", "tcbInfo", text.as_bytes()).unwrap();
            assert_eq!((cut.as_str(), signed.0), (inner, vec![0xab; 64]));
        }
        for bad in [
            String::new(),
            "{}".into(),
            format!("{{\"tcbInfo\":{inner}}}"),
            format!("{{\"tcbInfo\":\"{inner}\",\"signature\":\"{signature}\"}}"),
            format!("{{\"tcbInfo\":7,\"signature\":\"{signature}\"}}"),
            format!("{{\"tcbInfo\":{inner},\"signature\":\"{signature}00\"}}"),
            format!("{{\"tcbInfo\":{inner},\"signature\":\"{signature}\",\"more\":1}}"),
            format!("{{\"tcbInfo\":{inner},\"signature\":\"{signature}\"}}}}"),
            format!("{{\"enclaveIdentity\":{inner},\"signature\":\"{signature}\"}}"),
            format!("{{\"tcbInfo\":{inner},\"tcbInfo\":{inner},\"signature\":\"{signature}\"}}"),
        ] {
            let refused = signed_json("x", "tcbInfo", bad.as_bytes()).unwrap_err();
            assert_eq!(refused.code(), "collateral.answer", "{bad}");
        }
    }

    #[test]
    fn lists_are_read_as_der_hex_or_pem() {
        let der = vec![0x30, 0x81, 0x01, 0x05];
        let pem = "-----BEGIN X509 CRL-----\nMIEBBQ==\n-----END X509 CRL-----\n";
        for body in [der.clone(), b"30810105\n".to_vec(), pem.as_bytes().to_vec()] {
            assert_eq!(crl_der("x", "PCK CRL", body).unwrap(), der);
        }
        for bad in [&b"<html>"[..], b"", b"3081010", &[0xff, 0xfe]] {
            if bad.is_empty() {
                continue;
            }
            assert_eq!(
                crl_der("x", "PCK CRL", bad.to_vec()).unwrap_err().code(),
                "collateral.answer"
            );
        }
    }
}
