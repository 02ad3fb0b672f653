//! What evidence commits to for readers of `aci/1`: a statement of that format's own, beside ours ([`crate::statement`]).
//!
//! # Layout
//! `{"keyset_digest":"sha256:<hex>","nonce":"<hex>"|null,"purpose":"aci.report_data.v1"}`, which is its own JCS form: digests and nonces
//! are hexadecimal. REPORT_DATA = SHA-256(statement), and 32 zeros.
//!
//! # Spec
//! `aci/1` (Dstack-TEE/private-ai-gateway `spec/aci.md`), section 3.2.

use crate::digest::{Digest256, Nonce};
use crate::statement::EvidenceRequest;

/// What a report calls the evidence of a simulated processor, whichever it simulates: `aci/1` leaves words other than `tdx` and `sev_snp`
/// to extensions, so that no reader who knows those two alone takes one for the other.
pub const SIMULATED_TEE_TYPE: &str = "hanzo-simulated";

/// The statement's bytes.
fn statement(keyset_digest: &Digest256, nonce: Option<&Nonce>) -> String {
    let nonce = nonce.map_or_else(|| "null".to_owned(), |nonce| format!("\"{nonce}\""));
    format!(r#"{{"keyset_digest":"sha256:{keyset_digest}","nonce":{nonce},"purpose":"aci.report_data.v1"}}"#)
}

/// REPORT_DATA over a keyset for the challenger who drew `nonce`; `None`: for nobody, which proves no freshness.
pub fn report_data(keyset_digest: &Digest256, nonce: Option<&Nonce>) -> [u8; 64] {
    let mut out = [0; 64];
    let digest = Digest256::of(statement(keyset_digest, nonce).as_bytes());
    for (to, from) in out.iter_mut().zip(digest.0) {
        *to = from;
    }
    out
}

/// What the processor is asked to sign for such a report.
pub fn request(keyset_digest: &Digest256, nonce: Option<&Nonce>) -> EvidenceRequest {
    let report_data = report_data(keyset_digest, nonce);
    EvidenceRequest {
        qualifying_data: report_data.first_chunk::<32>().map(Vec::from).unwrap_or_default(),
        report_data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published vectors of `aci/1`, section 2.
    #[test]
    fn the_published_report_data_is_reached_and_is_what_the_processor_is_asked_for() {
        let digest = Digest256::from_hex("53a5cd44b30dcc51999754c719f2628a041f174ecbf9662a6f8e898a10cd9371").unwrap();
        let nonce = Nonce(std::array::from_fn(|i| i as u8));
        for (nonce, expected) in [
            (
                Some(nonce),
                "df2174d28130852b413646a3786927b93e94c11d770268b65def8bdba45cb49e",
            ),
            (None, "0633919ca3f00e97bafaa3304278eb22420cc3ff0d19f87dfca2d3f7508150bc"),
        ] {
            let asked = request(&digest, nonce.as_ref());
            assert_eq!(hex::encode(asked.report_data()), expected.to_owned() + &"0".repeat(64));
            assert_eq!(hex::encode(asked.qualifying_data()), expected);
        }
    }
}
