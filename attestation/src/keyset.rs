//! The keyset: all public keys of one boot (DESIGN section 4, "Keyset"). Evidence proves the keyset; each connection
//! then proves itself against it.

use serde::{Deserialize, Serialize};

use crate::digest::{Digest256, Digest384};
use crate::jcs::{self, JcsError};
use crate::name::Name;

/// Longest life of a keyset in seconds: 24 hours.
pub const KEYSET_LIFETIME_S_MAX: u64 = 86_400;

/// All public keys of one boot, and what that boot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyset {
    /// SHA-384 of JCS(sorted list of what this build and policy can do); the list is in the bundle.
    pub capability_digest: Digest384,
    /// For channel proofs alone.
    pub channel_key: KemKey,
    /// SHA-256 of the configuration text.
    pub config_digest: Digest256,
    /// Release version of the image.
    pub image: Name,
    /// When this keyset was made, Unix seconds.
    pub issued_at: u64,
    /// Name and public keys of the log that this guest's receipts stand in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogKeys>,
    /// The models that were opened and matched, sorted by name.
    pub models: Vec<ServedModel>,
    /// Last second of its life, Unix seconds; at most 24 h after `issued_at`.
    pub not_after: u64,
    /// Keys for sealed messages, one for each way in that the configuration opens.
    pub ohttp_keys: Vec<OhttpKey>,
    /// SHA-384 of the admission policy text, which is in the bundle.
    pub policy_digest: Digest384,
    /// Both sign every receipt.
    pub receipt_keys: SignerKeys,
    /// Signing roles. None exist in this version: the list is empty.
    pub signer_keys: Vec<SignerKeys>,
    /// True if the grants of this boot came from simulated evidence.
    pub simulated: bool,
    /// Tier of the grants that this boot lives on, 0 to 4. A claim; the verifier derives its own.
    pub tier: u8,
    /// Where the guest's clock comes from: `host` or `securetsc`.
    pub time: String,
    /// SHA-256 of the TLS certificate's SubjectPublicKeyInfo (DER).
    pub tls_spki_sha256: Digest256,
    /// Format version: 1.
    pub version: u32,
}

/// A KEM public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KemKey {
    /// Lower-case hex; X-Wing: 1216 bytes.
    pub public_key: String,
    /// `x-wing` (0x647a) or `mlkem1024-p384` (0x0051).
    pub suite: String,
}

/// A key that requests are sealed to: what RFC 9458 section 3 calls a key configuration, and which protocol it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OhttpKey {
    /// `aes-128-gcm` (0x0001), `aes-256-gcm` (0x0002), in the order in which clients should choose; the KDF is always
    /// HKDF-SHA256 (0x0001).
    pub aeads: Vec<String>,
    /// `x-wing` (0x647a) or `x25519` (0x0020).
    pub kem: String,
    /// The key identifier on the wire.
    pub key_id: u8,
    /// `ohttp` or `ehbp`. One key serves one of them.
    pub protocol: String,
    /// Lower-case hex; X-Wing: 1216 bytes, X25519: 32 bytes.
    pub public_key: String,
}

/// A pair of signature keys; both must verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerKeys {
    /// Ed25519 public key, 32 bytes in lower-case hex.
    pub ed25519: String,
    /// ML-DSA public key in lower-case hex.
    pub ml_dsa: String,
    /// `ml-dsa-65` or `ml-dsa-87`.
    pub suite: String,
}

/// A log: its name, and the pair of keys that sign its heads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogKeys {
    /// Ed25519 public key, 32 bytes in lower-case hex.
    pub ed25519: String,
    /// ML-DSA public key in lower-case hex.
    pub ml_dsa: String,
    /// The log's name: 1 to 128 characters out of `a-z 0-9 . _ - /`.
    pub origin: String,
    /// `ml-dsa-65` or `ml-dsa-87`.
    pub suite: String,
}

/// Who counts tokens, where the engine that computes them is not the image's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CountedBy {
    /// A server of the operator's, whose counts the guest bounds and cannot check (`enclave/engine-upstream/SPEC.md`).
    Upstream,
}

impl CountedBy {
    /// The word for either case: `engine` where nothing is said.
    pub fn word(said: Option<Self>) -> &'static str {
        match said {
            None => "engine",
            Some(Self::Upstream) => "upstream",
        }
    }
}

/// A model that the guest opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedModel {
    /// Root over all files of the model that this one is an adapter of; absent where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_root: Option<Digest256>,
    /// SHA-256 of the chat template text.
    pub chat_template_sha256: Digest256,
    /// Who counts the tokens of its answers, where no engine of the image's own does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_by: Option<CountedBy>,
    /// Name that clients ask for.
    pub name: Name,
    /// Of what its engine makes ids with: `tokenizer.json`, or the tokenizer's part of a GGUF header (`enclave/model/SPEC.md`).
    pub tokenizer_sha256: Digest256,
    /// Root over all its files: of an adapter those of the adapter alone, one of which names `base_root`.
    pub weights_root: Digest256,
}

impl Keyset {
    /// The canonical bytes.
    ///
    /// # Errors
    /// Never for a keyset made of hex texts and integers; the type is kept honest for callers.
    pub fn canonical(&self) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("keyset", self)
    }

    /// `keyset_digest` = SHA-384(JCS(keyset)).
    ///
    /// # Errors
    /// As [`Keyset::canonical`].
    pub fn digest(&self) -> Result<Digest384, JcsError> {
        Ok(Digest384::of(&self.canonical()?))
    }
}

/// `capability_digest` = SHA-384(JCS(list)); the list must be sorted and without repeats.
///
/// # Errors
/// [`JcsError`] as [`Keyset::canonical`].
pub fn capability_digest(capabilities: &[Name]) -> Result<Digest384, JcsError> {
    Ok(Digest384::of(&jcs::to_vec("capabilities", &capabilities)?))
}

/// Two signatures over one message; both must verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignaturePair {
    /// Ed25519 (RFC 8032), 64 bytes in lower-case hex.
    pub ed25519: String,
    /// ML-DSA (FIPS 204), 3309 or 4627 bytes in lower-case hex.
    pub ml_dsa: String,
}
