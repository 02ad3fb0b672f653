//! Why an ACI document was refused.

use hanzo_attestation::UnixTime;
use hanzo_attestation::jcs::JcsError;

/// Why an ACI document was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AciError {
    /// Longer than its bound; nothing was parsed.
    #[error("aci {what}: {got} bytes, at most {limit} are accepted")]
    TooLarge {
        /// `keyset` or `receipt`.
        what: &'static str,
        /// The bound in bytes.
        limit: usize,
        /// What came.
        got: usize,
    },
    /// Not JSON, a member twice, or not of its shape.
    #[error("aci {what}: {detail}")]
    Shape {
        /// `keyset` or `receipt`.
        what: &'static str,
        /// Which member, line and column; never input bytes.
        detail: String,
    },
    /// It has no canonical form.
    #[error("aci: {0}")]
    Canonical(#[from] JcsError),
    /// A member out of its range.
    #[error("aci {what}: {field}: expected {expected}")]
    Value {
        /// `keyset` or `receipt`.
        what: &'static str,
        /// Which member.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
    },
    /// Made under another keyset.
    #[error(
        "aci receipt: workload_keyset_digest: the keyset at hand is {expected}, the receipt says {got}: it is of another keyset; use the report that was fetched with it"
    )]
    Keyset {
        /// Of the keyset at hand.
        expected: String,
        /// In the receipt.
        got: String,
    },
    /// The keyset has no such key.
    #[error(
        "aci receipt: key_id: the keyset has no ed25519 key of that id among its receipt_signing_keys: signed by a key that nothing vouches for"
    )]
    Key,
    /// The signature does not verify.
    #[error("aci receipt: signature does not verify under the keyset's key: changed, or signed by somebody else")]
    Signature,
    /// Served after the keyset ended.
    #[error("aci receipt: served_at {served_at:?} is after the keyset's end, {not_after}")]
    Time {
        /// In the receipt.
        served_at: UnixTime,
        /// The keyset's last second.
        not_after: u64,
    },
    /// Receipt and keyset of a guest of this project disagree.
    #[error("aci receipt: simulated: expected what the keyset says in hanzo.simulated, got another value or none")]
    Simulated,
    /// The events do not tell of one request and one answer.
    #[error("aci receipt: event_log: expected {expected}")]
    Events {
        /// What must be.
        expected: &'static str,
    },
    /// The bytes are not those that were hashed.
    #[error("aci receipt: {event}: body_hash: SHA-256 of these bytes is another")]
    Body {
        /// `request.received` or `response.returned`.
        event: &'static str,
    },
}

impl AciError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "aci.too_large",
            Self::Shape { .. } | Self::Canonical(_) | Self::Value { .. } => "aci.malformed",
            Self::Keyset { .. } => "aci.keyset",
            Self::Key => "aci.key",
            Self::Signature => "aci.signature",
            Self::Time { .. } => "aci.time",
            Self::Simulated => "aci.simulated",
            Self::Events { .. } => "aci.events",
            Self::Body {
                event: "request.received",
            } => "aci.body.request",
            Self::Body { .. } => "aci.body.response",
        }
    }
}
