//! Captured answers of Intel's provisioning certification service: bodies as they came, issuer chains from the headers.

use serde::Deserialize;
use std::collections::BTreeMap;

use super::{FIELDS, FORMAT};
use crate::bundle::{Base64, TdxCollateral};
use crate::foreign::ForeignError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pcs {
    responses: Vec<Response>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Response {
    url: String,
    headers: BTreeMap<String, Vec<String>>,
    body_base64: String,
}

/// Puts the four answers together.
pub(super) fn read(pcs: Pcs) -> Result<TdxCollateral, ForeignError> {
    let missing = |what| ForeignError::Missing { format: FORMAT, what };
    let find = |word: &str| pcs.responses.iter().find(|r| path(&r.url).contains(word));
    let tcb = find("/tdx/certification/v4/tcb").ok_or(missing("intel-pcs: TCB info"))?;
    let qe = find("/tdx/certification/v4/qe/identity").ok_or(missing("intel-pcs: QE identity"))?;
    let pck = find("/certification/v4/pckcrl").ok_or(missing("intel-pcs: PCK CRL"))?;
    let root = find("/IntelSGXRootCA").ok_or(missing("intel-pcs: root CA CRL"))?;
    let (tcb_info, tcb_info_signature) = signed(tcb, "tcbInfo")?;
    let (qe_identity, qe_identity_signature) = signed(qe, "enclaveIdentity")?;
    Ok(TdxCollateral {
        pck_crl: Base64(body(pck)?),
        pck_crl_issuer_chain: chain(pck, "SGX-PCK-CRL-Issuer-Chain")?,
        qe_identity,
        qe_identity_issuer_chain: chain(qe, "SGX-Enclave-Identity-Issuer-Chain")?,
        qe_identity_signature,
        root_ca_crl: Base64(body(root)?),
        tcb_info,
        tcb_info_issuer_chain: chain(tcb, "TCB-Info-Issuer-Chain")?,
        tcb_info_signature,
    })
}

fn path(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn body(response: &Response) -> Result<Vec<u8>, ForeignError> {
    FIELDS.base64("intel-pcs body_base64", &response.body_base64)
}

/// Splits `{"<member>":<signed text>,"signature":"<128 hex digits>"}` without touching the signed text.
fn signed(response: &Response, member: &str) -> Result<(String, Base64), ForeignError> {
    let wrong = || ForeignError::Field {
        format: FORMAT,
        field: "intel-pcs body",
        expected: "the signed document, then its signature, as Intel writes them",
    };
    let text = String::from_utf8(body(response)?).map_err(|_| wrong())?;
    let rest = text
        .trim_end()
        .strip_prefix(&format!("{{\"{member}\":"))
        .ok_or_else(wrong)?;
    let (document, signature) = rest
        .strip_suffix("\"}")
        .and_then(|rest| rest.rsplit_once(",\"signature\":\""))
        .ok_or_else(wrong)?;
    let signature: [u8; 64] = FIELDS.exact("intel-pcs signature", FIELDS.hex("intel-pcs signature", signature)?)?;
    Ok((document.to_owned(), Base64(signature.to_vec())))
}

/// An issuer chain: percent-encoded PEM in a header whose name's case is free.
fn chain(response: &Response, name: &str) -> Result<String, ForeignError> {
    let mut values = response
        .headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .flat_map(|(_, values)| values);
    let wrong = ForeignError::Field {
        format: FORMAT,
        field: "intel-pcs issuer chain",
        expected: "one header with percent-encoded PEM",
    };
    match (values.next(), values.next()) {
        (Some(value), None) => percent_decode(value).ok_or(wrong),
        _ => Err(wrong),
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut out = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        out.extend(hex::decode(digits).ok()?);
        out.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(out).ok()
}
