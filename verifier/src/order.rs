//! Orders of a guest's administrators: they narrow what it does, or give back what an order put out for a while, and are leaves of its log
//! (`enclave/inference/ACCESS.md`).
//!
//! The measured configuration names the administrators' keys. There is no order that widens: whatever a guest may do more of needs
//! another configuration, hence another measurement, or another table of callers by its own signer.
//!
//! # Layout
//! JCS of at most 64 KiB: `{"order":{…},"signature":{"ed25519","ml_dsa"}}`, both signatures over the canonical [`Order`] under
//! [`Domain::Admin`].
//!
//! # Establishes
//! [`VerifiedOrder`]: an administrator of the configuration signed this for guests of this operator under this keyset.
//!
//! # Does not establish
//! That it is new: its sequence is compared where orders are kept.

use hanzo_attestation::Digest384;
use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::keyset::SignaturePair;
use hanzo_attestation::name::Name;
use hanzo_pqc::sign::{Signature, SignatureSuite, VerifyingKeys};
use hanzo_pqc::{Domain, PqcError};
use serde::{Deserialize, Serialize};

/// Longest signed order in bytes.
pub const ORDER_BYTES_MAX: usize = 64 * 1024 - 1;
const COUNT_MAX: u64 = (1 << 53) - 1;
const WHAT: &str = "order";

/// What an administrator wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What is narrowed.
    pub action: Action,
    /// When it was signed, Unix seconds; for whoever reads the log.
    pub issued_at: u64,
    /// The guest's keyset: no other guest and no later boot takes it.
    pub keyset_digest: Digest384,
    /// 32 random bytes, lower-case hex.
    pub nonce: String,
    /// Whose guest it is: the `operator` of its configuration.
    pub operator: Name,
    /// What it is.
    pub purpose: OrderPurpose,
    /// Higher than that of every order that the guest's store has: 1 or more.
    pub sequence: u64,
}

/// The one thing that such a document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderPurpose {
    /// Version 1 of the format.
    #[serde(rename = "hanzo.order.v1")]
    V1,
}

/// What may be ordered. It stays so for as long as the guest's store is used, unless the order itself says for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// A caller is let in no more, whatever tables come.
    RevokeCaller {
        /// Its `id`.
        id: Name,
    },
    /// A caller has at most this, whatever tables say.
    LowerCaller {
        /// Requests at a time: 1 or more.
        concurrent_requests: u32,
        /// Its `id`.
        id: Name,
        /// Requests a minute: 1 or more.
        requests_per_min: u64,
        /// Tokens a minute: 1 or more.
        tokens_per_min: u64,
    },
    /// A model is served no more.
    UnloadModel {
        /// Its name.
        model: Name,
    },
    /// A model is not served for a while, and its engines end.
    PutOut {
        /// Its name.
        model: Name,
        /// Until then, in seconds since 1970; 0: until [`Action::Load`].
        until: u64,
    },
    /// A model of the measured configuration that no order unloaded is served again, if it was put out; one on demand starts now.
    Load {
        /// Its name.
        model: Name,
    },
}

impl Action {
    /// Whether it narrows for good: nothing but another configuration, table and store gives it back.
    pub fn is_for_good(&self) -> bool {
        match self {
            Self::RevokeCaller { .. } | Self::LowerCaller { .. } | Self::UnloadModel { .. } => true,
            Self::PutOut { .. } | Self::Load { .. } => false,
        }
    }
}

/// An order as it travels, and as a leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedOrder {
    /// What is signed.
    pub order: Order,
    /// Both signatures.
    pub signature: SignaturePair,
}

/// Why an order was refused.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Not canonical JSON of its shape.
    #[error(transparent)]
    Format(#[from] JcsError),
    /// A value out of its range.
    #[error("order: {field}: expected {expected}")]
    Value {
        /// The member at fault.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
    },
    /// No administrator of the configuration signed it.
    #[error("order: its signatures are not those of one of the configuration's admin_keys: sign it with such a key")]
    Signature,
    /// For other guests.
    #[error("order: operator: expected {expected}, got {got}: it is for another operator's guests")]
    Operator {
        /// Of the configuration.
        expected: Name,
        /// Of the order.
        got: Name,
    },
    /// For another guest, or an earlier boot of this one.
    #[error("order: keyset_digest: expected {expected}, got {got}: attest the guest again and sign for its keyset")]
    Keyset {
        /// The guest's.
        expected: Digest384,
        /// Of the order.
        got: Digest384,
    },
    /// A key or the random source failed.
    #[error("order: {0}")]
    Crypto(#[from] PqcError),
}

impl OrderError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Format(_) => "order.format",
            Self::Value { .. } => "order.value",
            Self::Signature => "order.signature",
            Self::Operator { .. } => "order.operator",
            Self::Keyset { .. } => "order.keyset",
            Self::Crypto(_) => "order.crypto",
        }
    }
}

/// An order whose signer, operator and keyset were checked.
///
/// ```compile_fail,E0451
/// # fn forge(signed: hanzo_verifier::order::SignedOrder) -> hanzo_verifier::order::VerifiedOrder {
/// hanzo_verifier::order::VerifiedOrder { signed, bytes: vec![] }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedOrder {
    signed: SignedOrder,
    bytes: Vec<u8>,
}

impl VerifiedOrder {
    /// The order.
    pub fn order(&self) -> &Order {
        &self.signed.order
    }

    /// The canonical document: its leaf.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Order {
    fn check(&self) -> Result<(), OrderError> {
        let value = |ok: bool, field, expected| match ok {
            true => Ok(()),
            false => Err(OrderError::Value { field, expected }),
        };
        let counts = 1..=COUNT_MAX;
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        value(counts.contains(&self.sequence), "sequence", "1 to 2^53 - 1")?;
        value(self.issued_at <= COUNT_MAX, "issued_at", "below 2^53")?;
        let nonce = self.nonce.len() == 64 && self.nonce.bytes().all(is_hex);
        value(nonce, "nonce", "64 lower-case hex digits")?;
        match &self.action {
            Action::LowerCaller {
                concurrent_requests,
                requests_per_min,
                tokens_per_min,
                ..
            } => value(
                *concurrent_requests > 0 && counts.contains(requests_per_min) && counts.contains(tokens_per_min),
                "action.lower_caller",
                "limits of 1 or more; revoke_caller lets nobody in",
            ),
            Action::PutOut { until, .. } => value(*until <= COUNT_MAX, "action.put_out.until", "below 2^53"),
            Action::RevokeCaller { .. } | Action::UnloadModel { .. } | Action::Load { .. } => Ok(()),
        }
    }

    /// Signed by `sign`, which gets the domain and the bytes to be signed, once the order is one that a guest may take.
    ///
    /// # Errors
    /// [`OrderError::Value`], [`OrderError::Crypto`].
    pub fn sign(
        self,
        sign: impl FnOnce(Domain, &[u8]) -> Result<Signature, PqcError>,
    ) -> Result<SignedOrder, OrderError> {
        self.check()?;
        let signature = sign(Domain::Admin, &jcs::to_vec(WHAT, &self)?)?;
        Ok(SignedOrder {
            signature: SignaturePair {
                ed25519: signature.ed25519_hex(),
                ml_dsa: signature.ml_dsa_hex(),
            },
            order: self,
        })
    }
}

impl SignedOrder {
    /// Reads an order, and trusts nothing of it.
    ///
    /// # Errors
    /// [`OrderError::Format`], [`OrderError::Value`].
    pub fn parse(bytes: &[u8]) -> Result<Self, OrderError> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let signed: Self = jcs::from_slice(WHAT, bytes, ORDER_BYTES_MAX)?;
        signed.order.check()?;
        Ok(signed)
    }

    /// The document.
    ///
    /// # Errors
    /// [`OrderError::Format`], never for an order that was parsed or signed.
    pub fn to_bytes(&self) -> Result<Vec<u8>, OrderError> {
        Ok(jcs::to_vec(WHAT, self)?)
    }

    /// Checks signatures, operator and keyset.
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn verify(
        self,
        administrators: &[PinnedSigner],
        operator: &Name,
        keyset_digest: &Digest384,
    ) -> Result<VerifiedOrder, OrderError> {
        let message = jcs::to_vec(WHAT, &self.order)?;
        let signature = Signature::from_hex(&self.signature.ml_dsa, &self.signature.ed25519);
        let signature = signature.map_err(|_| OrderError::Signature)?;
        let signed = |one: &PinnedSigner| {
            let suite = SignatureSuite::from_name(&one.suite)?;
            let keys = VerifyingKeys::from_hex(suite, &one.ml_dsa, &one.ed25519).ok()?;
            keys.verify(Domain::Admin, &message, &signature).ok()
        };
        if !administrators.iter().any(|one| signed(one).is_some()) {
            return Err(OrderError::Signature);
        }
        self.order.check()?;
        if self.order.operator != *operator {
            return Err(OrderError::Operator {
                expected: operator.clone(),
                got: self.order.operator,
            });
        }
        if self.order.keyset_digest != *keyset_digest {
            return Err(OrderError::Keyset {
                expected: *keyset_digest,
                got: self.order.keyset_digest,
            });
        }
        Ok(VerifiedOrder {
            bytes: self.to_bytes()?,
            signed: self,
        })
    }
}
