//! The bundle: everything a verifier needs, in one document that can be checked offline (DESIGN section 4, "Bundle").
//!
//! # Layout
//! JCS, media type `application/vnd.hanzo.attestation.v1+json`, at most 1 MiB. Binary evidence is standard base64 with
//! padding (RFC 4648 section 4); digests and nonces are lower-case hex.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::digest::Nonce;
use crate::freshness::FreshnessPath;
use crate::jcs::{self, JcsError};
use crate::keyset::Keyset;
use crate::name::Name;

/// Longest bundle in bytes.
pub const BUNDLE_BYTES_MAX: usize = 1 << 20;

/// A byte string that travels as standard base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl std::fmt::Debug for Base64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Base64({} bytes)", self.0.len())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        STANDARD
            .decode(text.as_bytes())
            .map(Self)
            .map_err(|_| de::Error::custom("expected standard base64 with padding"))
    }
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// Preimage of `keyset.capability_digest`: sorted, no repeats.
    pub capabilities: Vec<Name>,
    /// The configuration text: preimage of `keyset.config_digest`.
    pub config: String,
    /// What the CPU's security processor signed.
    pub cpu: CpuEvidence,
    /// GPUs and switches. This version verifies none, so a list that is not empty is refused.
    pub devices: Vec<DeviceEvidence>,
    /// The caller's place in the window that `nonce` answers; `null` means freshness `none`.
    pub freshness: Option<FreshnessPath>,
    /// The keys that the evidence proves.
    pub keyset: Keyset,
    /// The statement's nonce.
    pub nonce: Nonce,
    /// The admission policy text: preimage of `keyset.policy_digest`.
    pub policy: String,
    /// Format version: 1.
    pub version: u32,
}

/// CPU evidence with its endorsements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "lowercase")]
pub enum CpuEvidence {
    /// AMD SEV-SNP.
    Snp(SnpEvidence),
}

/// An SEV-SNP report with the certificates that endorse it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpEvidence {
    /// ASK (VCEK) or ASVK (VLEK) certificate, DER; `null`: the verifier uses the one it has for the product.
    pub ask: Option<Base64>,
    /// ARK-signed CRL (DER); `null` if none was stapled.
    pub crl: Option<Base64>,
    /// ATTESTATION_REPORT, exactly 1184 bytes.
    pub report: Base64,
    /// VCEK or VLEK certificate, DER.
    pub vek: Base64,
}

/// Evidence of one GPU or switch. No kind is verified by this version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceEvidence {
    /// Certificate chain, PEM.
    pub certificates: Base64,
    /// `nvidia`.
    pub kind: String,
    /// SPDM request and response.
    pub report: Base64,
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// [`JcsError`]: over 1 MiB, not canonical, unknown or repeated members.
    pub fn parse(bytes: &[u8]) -> Result<Self, JcsError> {
        jcs::from_slice("bundle", bytes, BUNDLE_BYTES_MAX)
    }

    /// Writes a bundle.
    ///
    /// # Errors
    /// [`JcsError`]: never for values of this type.
    pub fn canonical(&self) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("bundle", self)
    }
}
