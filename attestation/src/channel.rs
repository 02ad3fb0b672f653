//! The channel proof: how a TLS connection proves that it ends in the guest whose keyset was verified
//! (DESIGN section 4, "Channel proof"). Formats only; the HPKE is in `hanzo-pqc`.

use serde::{Deserialize, Serialize};

use crate::digest::Digest384;

/// TLS exporter label (RFC 8446 section 7.5); the context is empty, 32 bytes are taken at handshake end.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-hanzo-channel-v1";
/// Exporter context of HPKE.Export (RFC 9180 section 5.3); 32 bytes are taken.
pub const PROOF_EXPORTER_CONTEXT: &[u8] = b"proof";
/// Where the guest answers proofs.
pub const PROOF_PATH: &str = "/.well-known/hanzo/channel-proof";
/// Where the guest serves its bundle: `GET`, with `?challenge=` and 64 lower-case hex digits for a fresh one.
pub const ATTESTATION_PATH: &str = "/.well-known/hanzo/attestation";
/// Media type of a bundle.
pub const BUNDLE_MEDIA_TYPE: &str = "application/vnd.hanzo.attestation.v1+json";
/// Purpose inside the HPKE `info`.
pub const PURPOSE_CHANNEL: &str = "hanzo.channel.v1";

/// `POST` body: the encapsulated key of SetupBaseS to the keyset's channel key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofRequest {
    /// Lower-case hex; X-Wing: 1120 bytes.
    pub enc: String,
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofResponse {
    /// HPKE.Export("proof", 32), lower-case hex.
    pub proof: String,
}

/// The HPKE `info`: JCS of `{"ekm","keyset_digest","purpose"}`. It holds the connection's exporter secret: wipe it.
pub fn proof_info(ekm: &[u8; 32], keyset_digest: &Digest384) -> Vec<u8> {
    // Written out, because it is made for every connection: members in order, and hex needs no escape.
    let mut info = Vec::with_capacity(256);
    info.extend_from_slice(br#"{"ekm":""#);
    push_hex(&mut info, ekm);
    info.extend_from_slice(br#"","keyset_digest":""#);
    push_hex(&mut info, &keyset_digest.0);
    info.extend_from_slice(br#"","purpose":""#);
    info.extend_from_slice(PURPOSE_CHANNEL.as_bytes());
    info.extend_from_slice(br#""}"#);
    info
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jcs;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Info {
        ekm: String,
        keyset_digest: Digest384,
        purpose: String,
    }

    #[test]
    fn the_info_of_a_proof_is_the_canonical_document() {
        let digest = Digest384(std::array::from_fn(|i| i as u8));
        let written = proof_info(&[0xa5; 32], &digest);
        let document = Info {
            ekm: "a5".repeat(32),
            keyset_digest: digest,
            purpose: PURPOSE_CHANNEL.into(),
        };
        assert_eq!(written, jcs::to_vec("channel info", &document).unwrap());
        assert_eq!(
            jcs::from_slice::<Info>("channel info", &written, 4096).unwrap(),
            document
        );
    }
}
