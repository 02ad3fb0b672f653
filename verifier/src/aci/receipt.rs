//! The receipt of one exchange.

use std::fmt;

use hanzo_attestation::foreign::json_without_duplicates;
use hanzo_attestation::{Digest256, UnixTime, jcs};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::{API_VERSION, AciError, AciKeyset};

/// Longest receipt, signature included.
pub const ACI_RECEIPT_BYTES_MAX: usize = 64 << 10;
/// Most events of one receipt.
pub const ACI_EVENTS_MAX: usize = 256;

const WHAT: &str = "receipt";
const RECEIVED: &str = "request.received";
const RETURNED: &str = "response.returned";

/// A digest as ACI writes it: `sha256:` and 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AciDigest(pub Digest256);

impl AciDigest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Digest256::of(bytes))
    }
}

impl fmt::Display for AciDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl Serialize for AciDigest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AciDigest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let digest = text.strip_prefix("sha256:").and_then(Digest256::from_hex);
        digest
            .map(Self)
            .ok_or_else(|| de::Error::custom("expected sha256: and 64 lower-case hex digits"))
    }
}

/// What happened, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum AciEvent {
    /// The request's body, as it came.
    #[serde(rename = "request.received")]
    Received {
        /// SHA-256 of its exact bytes.
        body_hash: AciDigest,
    },
    /// The body that was sent on.
    #[serde(rename = "request.forwarded")]
    Forwarded {
        /// SHA-256 of its exact bytes.
        body_hash: AciDigest,
    },
    /// What was known of whoever it was sent to.
    #[serde(rename = "upstream.verified")]
    Upstream {
        /// Which model.
        model_id: String,
        /// Whether the request would have failed without.
        required: bool,
        /// `verified`, or why not.
        result: String,
        /// Which session document, by its content.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_id: Option<Digest256>,
    },
    /// The answer's body, as it left.
    #[serde(rename = "response.returned")]
    Returned {
        /// SHA-256 of its exact bytes; of a stream with its framing.
        body_hash: AciDigest,
    },
    /// A kind of event that this verifier does not know: signed, and not looked at.
    #[serde(other, rename = "other")]
    Other,
}

/// A receipt without its signature. Members that are not here are signed as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AciReceipt {
    /// [`API_VERSION`].
    pub api_version: String,
    /// The answer's own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<String>,
    /// The route.
    pub endpoint: String,
    /// What happened.
    pub event_log: Vec<AciEvent>,
    /// Which key of the keyset signed.
    pub key_id: String,
    /// The method.
    pub method: String,
    /// Which model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its own id.
    pub receipt_id: String,
    /// When the answer ended, Unix seconds.
    pub served_at: u64,
    /// True where the guest's processor is simulated; a guest of this project says it, others leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulated: Option<bool>,
    /// Under which keyset.
    pub workload_keyset_digest: AciDigest,
}

impl AciReceipt {
    /// What its key signs: the JCS form.
    ///
    /// # Errors
    /// [`AciError::Events`] for an event of no known kind; [`AciError::Canonical`].
    pub fn signing_input(&self) -> Result<Vec<u8>, AciError> {
        if self.event_log.contains(&AciEvent::Other) {
            return Err(AciError::Events {
                expected: "events of known kinds",
            });
        }
        Ok(jcs::to_vec("aci receipt", self)?)
    }

    /// The document with its signature, in JCS form.
    ///
    /// # Errors
    /// As [`AciReceipt::signing_input`].
    pub fn signed(&self, signature: &[u8; 64]) -> Result<Vec<u8>, AciError> {
        #[derive(Serialize)]
        struct Signed<'a> {
            #[serde(flatten)]
            receipt: &'a AciReceipt,
            signature: String,
        }
        self.signing_input()?;
        let signed = Signed {
            receipt: self,
            signature: hex::encode(signature),
        };
        Ok(jcs::to_vec("aci receipt", &signed)?)
    }
}

/// A receipt that a key of its keyset signed. Only [`verify_aci_receipt`] makes one:
/// ```compile_fail,E0451
/// use hanzo_verifier::aci::{AciReceipt, VerifiedAciReceipt};
/// fn forge(receipt: AciReceipt, of: VerifiedAciReceipt) -> VerifiedAciReceipt {
///     VerifiedAciReceipt { receipt, ..of }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAciReceipt {
    receipt: AciReceipt,
    request: AciDigest,
    response: AciDigest,
}

/// Reads and verifies a receipt in any encoding.
///
/// # Establishes
/// A key of `keyset` signed it, within the keyset's life, and it tells of one request and one answer. With a keyset out of verified
/// evidence: that guest said so.
///
/// # Does not establish
/// That the keyset is genuine; that the answer is right; that there is no other receipt for the same exchange: they have no number.
///
/// # Errors
/// [`AciError`].
pub fn verify_aci_receipt(bytes: &[u8], keyset: &AciKeyset) -> Result<VerifiedAciReceipt, AciError> {
    if bytes.len() > ACI_RECEIPT_BYTES_MAX {
        return Err(AciError::TooLarge {
            what: WHAT,
            limit: ACI_RECEIPT_BYTES_MAX,
            got: bytes.len(),
        });
    }
    let shape = |detail| AciError::Shape { what: WHAT, detail };
    let mut document: Value = json_without_duplicates(bytes).map_err(shape)?;
    let wrong = |field, expected| AciError::Value {
        what: WHAT,
        field,
        expected,
    };
    let signature = document.as_object_mut().and_then(|members| members.remove("signature"));
    let signature = signature
        .as_ref()
        .and_then(Value::as_str)
        .filter(|text| is_lower_hex(text, 128));
    let signature = signature.and_then(|text| hex::decode(text).ok());
    let signature = signature.ok_or_else(|| wrong("signature", "128 lower-case hex digits"))?;
    let signed = jcs::to_vec("aci receipt", &document)?;
    let receipt: AciReceipt = serde_json::from_value(document).map_err(|e| shape(e.to_string()))?;
    if receipt.api_version != API_VERSION {
        return Err(wrong("api_version", API_VERSION));
    }
    let expected = AciDigest(keyset.digest());
    if receipt.workload_keyset_digest != expected {
        return Err(AciError::Keyset {
            expected: expected.to_string(),
            got: receipt.workload_keyset_digest.to_string(),
        });
    }
    let key = keyset.receipt_key(&receipt.key_id).ok_or(AciError::Key)?;
    key.verify(&signed, &signature).map_err(|_| AciError::Signature)?;
    if receipt.served_at > keyset.not_after() {
        return Err(AciError::Time {
            served_at: UnixTime(receipt.served_at),
            not_after: keyset.not_after(),
        });
    }
    if keyset
        .hanzo()
        .is_some_and(|hanzo| receipt.simulated != Some(hanzo.simulated))
    {
        return Err(AciError::Simulated);
    }
    let (request, response) = bodies(&receipt.event_log)?;
    Ok(VerifiedAciReceipt {
        receipt,
        request,
        response,
    })
}

fn is_lower_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The one request, first, and the one answer.
fn bodies(events: &[AciEvent]) -> Result<(AciDigest, AciDigest), AciError> {
    let expected = |expected| AciError::Events { expected };
    if events.len() > ACI_EVENTS_MAX {
        return Err(expected("at most 256 events"));
    }
    let Some((AciEvent::Received { body_hash: request }, rest)) = events.split_first() else {
        return Err(expected("request.received first"));
    };
    if rest.iter().any(|event| matches!(event, AciEvent::Received { .. })) {
        return Err(expected("request.received once"));
    }
    let mut returned = rest.iter().filter_map(|event| match event {
        AciEvent::Returned { body_hash } => Some(body_hash),
        _ => None,
    });
    match (returned.next(), returned.next()) {
        (Some(response), None) => Ok((*request, *response)),
        _ => Err(expected("response.returned once")),
    }
}

impl VerifiedAciReceipt {
    /// What was signed.
    pub fn receipt(&self) -> &AciReceipt {
        &self.receipt
    }

    /// That these are the exact bytes of the request.
    ///
    /// # Errors
    /// [`AciError::Body`].
    pub fn check_request(&self, body: &[u8]) -> Result<(), AciError> {
        same(RECEIVED, &self.request, body)
    }

    /// That these are the exact bytes of the answer: of a stream with its framing.
    ///
    /// # Errors
    /// [`AciError::Body`].
    pub fn check_response(&self, body: &[u8]) -> Result<(), AciError> {
        same(RETURNED, &self.response, body)
    }

    /// Whether each body that was sent on is the one that came; `None` if nothing was.
    pub fn forwarded_unchanged(&self) -> Option<bool> {
        let mut sent = self.receipt.event_log.iter().filter_map(|event| match event {
            AciEvent::Forwarded { body_hash } => Some(*body_hash == self.request),
            _ => None,
        });
        let first = sent.next()?;
        Some(first && sent.all(|same| same))
    }
}

fn same(event: &'static str, signed: &AciDigest, body: &[u8]) -> Result<(), AciError> {
    match *signed == AciDigest::of(body) {
        true => Ok(()),
        false => Err(AciError::Body { event }),
    }
}
