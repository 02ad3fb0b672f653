//! The channel proof: how a TLS connection proves that it ends in the guest whose keyset was verified
//! (DESIGN section 4, "Channel proof"). Formats only; the HPKE is in `hanzo-pqc`.

use serde::{Deserialize, Serialize};

use crate::digest::Digest384;
use crate::jcs::{self, JcsError};

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

/// The HPKE `info`: JCS of `{"ekm","keyset_digest","purpose"}`.
///
/// # Errors
/// [`JcsError`], never for these values.
pub fn proof_info(ekm: &[u8; 32], keyset_digest: &Digest384) -> Result<Vec<u8>, JcsError> {
    #[derive(Serialize)]
    struct Info<'a> {
        ekm: String,
        keyset_digest: &'a Digest384,
        purpose: &'static str,
    }
    jcs::to_vec(
        "channel info",
        &Info {
            ekm: hex::encode(ekm),
            keyset_digest,
            purpose: PURPOSE_CHANNEL,
        },
    )
}
