//! Receipts: what a guest signs about one answer, and how anybody checks it offline (DESIGN section 4, "Receipt"; format
//! and worked example in `verifier/RECEIPT.md`).
//!
//! A receipt names the request and the response by salted commitments only: the log of all receipts reveals nothing about
//! either, and the caller, who alone holds the salts, can prove both.
//!
//! # Layout
//! JCS (RFC 8785). Signed bytes: the canonical [`Receipt`] under [`Domain::Receipt`], by the ML-DSA and the Ed25519 key of
//! one keyset; both must verify. A receipt's digest is SHA-384 of its canonical bytes, signatures left out.

mod audit;
mod commitment;
mod differences;
mod error;
mod leaf;
mod logged;
mod told;
mod verify;

use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::keyset::{CountedBy, SignaturePair};
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384};
use serde::{Deserialize, Serialize};

pub use audit::{AuditedReceipts, ReceiptAudit, ReceiptAuditError, ReceiptCounts};
pub use commitment::{Commitment, Salt, commitment};
pub use differences::Difference;
pub use error::ReceiptError;
pub use hanzo_pqc::Domain;
pub use leaf::{Fence, KeysetLeaf, LEAF_BYTES_MAX, Leaf, LogHead};
pub use logged::{LogProof, Logged, prove_logged};
pub use told::ToldUsage;
pub use verify::{VerifiedReceipt, verify_disclosed, verify_receipt, verify_signed};

/// Longest receipt document, signatures and salts included.
pub const RECEIPT_BYTES_MAX: usize = 32 * 1024;
/// The attested channel.
pub const TRANSPORT_TLS: &str = Transport::Tls.as_str();

/// How a request came: the channel or the sealed message, and its key exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Attested TLS.
    Tls,
    /// OHTTP over X-Wing.
    OhttpXwing,
    /// OHTTP over X25519: classical.
    OhttpX25519,
    /// EHBP over X25519: classical, headers in clear.
    EhbpX25519,
}

impl Transport {
    /// Every way in.
    pub const ALL: [Transport; 4] = [Self::Tls, Self::OhttpXwing, Self::OhttpX25519, Self::EhbpX25519];

    /// The word in receipts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls1.3+x25519mlkem768",
            Self::OhttpXwing => "ohttp+x-wing",
            Self::OhttpX25519 => "ohttp+x25519",
            Self::EhbpX25519 => "ehbp+x25519",
        }
    }

    /// The way of that exact word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.as_str() == word)
    }

    /// True if a quantum computer could open what was recorded.
    pub const fn is_classical(self) -> bool {
        matches!(self, Self::OhttpX25519 | Self::EhbpX25519)
    }
}

/// What happened to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Root over all files of the model that `model` is an adapter of, as the keyset has it; absent where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_root: Option<Digest256>,
    /// SHA-256 of the chat template.
    pub chat_template_sha256: Digest256,
    /// Tokens of all answers, as the measured engine counted them and the guest checked against its frames.
    pub completion_tokens: u64,
    /// Whose word both counts are, where the measured engine did not count; as the keyset says of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_by: Option<CountedBy>,
    /// 16 random bytes fixed when the request started, 32 lower-case hex digits.
    pub id: ReceiptId,
    /// SHA-384 of JCS of the keyset whose keys sign this.
    pub keyset_digest: Digest384,
    /// The model's name in the keyset.
    pub model: Name,
    /// How it ended.
    pub outcome: Outcome,
    /// Digest of the receipt before this one; of the keyset for the first (`seq` 0).
    pub prev: Digest384,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// SHA-384(salt || exact bytes of the request body).
    pub request_commitment: Digest384,
    /// SHA-384(salt || exact bytes of the response body; SSE: all frames before the receipt frame).
    pub response_commitment: Digest384,
    /// What the engine was told.
    pub sampling: Sampling,
    /// 0, 1, 2 … without gaps for one keyset, in the order in which requests ended.
    pub seq: u64,
    /// True if the grants of this boot came from simulated evidence.
    pub simulated: bool,
    /// Tier of the grants that this boot lives on.
    pub tier: u8,
    /// When the request ended, Unix seconds.
    pub time: u64,
    /// Where that clock comes from: `host` or `securetsc`.
    pub time_source: String,
    /// SHA-256 of the tokenizer file.
    pub tokenizer_sha256: Digest256,
    /// How the request came: a word of [`Transport`].
    pub transport: String,
    /// Format version: 1.
    pub version: u32,
    /// Root over all files of the model.
    pub weights_root: Digest256,
    /// What the request was, where it was not one answer to one chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
}

/// What a request asked for. Absent from receipts of one answer to one chat, so that there is one spelling of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// How many answers, or vectors, there were to be.
    pub answers: u64,
    /// Which route of the API.
    pub endpoint: Endpoint,
}

/// A route of the API whose answers have receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completions,
    /// `/v1/embeddings`.
    Embeddings,
    /// `/v1/messages`.
    Messages,
    /// `/v1/responses`.
    Responses,
}

impl Work {
    /// `None` for what goes without saying.
    pub fn of(endpoint: Endpoint, answers: u64) -> Option<Self> {
        let work = Self { answers, endpoint };
        (work != Self::PLAIN).then_some(work)
    }

    /// One answer to one chat.
    pub const PLAIN: Self = Self {
        answers: 1,
        endpoint: Endpoint::Chat,
    };
}

/// Sampling parameters in integers: fractions would have more than one spelling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Most tokens of one answer.
    pub max_tokens: u64,
    /// The seed that the engine was given; `null` if none.
    pub seed: Option<u64>,
    /// Temperature in millionths: 0 (greedy) to 2,000,000.
    pub temperature_micros: u64,
    /// Nucleus mass in millionths: 1 to 1,000,000.
    pub top_p_micros: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The whole answer was handed to the connection.
    Complete,
    /// The client went away before it was.
    Cut,
    /// The guest ended it: the engine failed or broke its protocol, or time ran out.
    Failed,
}

/// 16 random bytes in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceiptId(pub [u8; 16]);

impl ReceiptId {
    /// Reads exactly 32 lower-case hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        commitment::lower_hex(text).map(Self)
    }
}

impl std::fmt::Display for ReceiptId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for ReceiptId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReceiptId({self})")
    }
}

impl Serialize for ReceiptId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ReceiptId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("id: expected 32 lower-case hex digits"))
    }
}

/// A receipt and its two signatures: what the log holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReceipt {
    /// What is signed.
    pub receipt: Receipt,
    /// By the receipt keys of the keyset.
    pub signature: SignaturePair,
}

/// What the caller alone gets: the signed receipt and the salts that open its commitments.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisclosedReceipt {
    /// Where it stands in the log, once a head of the log covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogProof>,
    /// What is signed.
    pub receipt: Receipt,
    /// Opens the commitments.
    pub salts: Salts,
    /// By the receipt keys of the keyset.
    pub signature: SignaturePair,
}

/// The salts of one receipt.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Salts {
    /// Of the request.
    pub request: Salt,
    /// Of the response.
    pub response: Salt,
}

impl Receipt {
    /// The canonical bytes: what is signed.
    ///
    /// # Errors
    /// [`JcsError`] if an integer is 2^53 or more.
    pub fn canonical(&self) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("receipt", self)
    }

    /// SHA-384 of the canonical bytes: `prev` of the next receipt.
    ///
    /// # Errors
    /// As [`Receipt::canonical`].
    pub fn digest(&self) -> Result<Digest384, JcsError> {
        Ok(Digest384::of(&self.canonical()?))
    }
}

impl SignedReceipt {
    /// The canonical bytes of the document.
    ///
    /// # Errors
    /// As [`Receipt::canonical`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("signed receipt", self)
    }

    /// Reads a canonical document; checks no signature.
    ///
    /// # Errors
    /// [`JcsError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JcsError> {
        jcs::from_slice("signed receipt", bytes, RECEIPT_BYTES_MAX)
    }

    /// Joins the salts.
    pub fn disclose(self, salts: Salts) -> DisclosedReceipt {
        DisclosedReceipt {
            log: None,
            receipt: self.receipt,
            salts,
            signature: self.signature,
        }
    }
}

impl DisclosedReceipt {
    /// The canonical bytes of the document.
    ///
    /// # Errors
    /// As [`Receipt::canonical`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("disclosed receipt", self)
    }

    /// Reads a canonical document; checks no signature.
    ///
    /// # Errors
    /// [`JcsError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JcsError> {
        jcs::from_slice("disclosed receipt", bytes, RECEIPT_BYTES_MAX)
    }

    /// Staples the proof that it is in the log.
    pub fn with_proof(self, log: Option<LogProof>) -> Self {
        Self { log, ..self }
    }

    /// Without the salts: what may be shown to others.
    pub fn without_salts(&self) -> SignedReceipt {
        SignedReceipt {
            receipt: self.receipt.clone(),
            signature: self.signature.clone(),
        }
    }
}
