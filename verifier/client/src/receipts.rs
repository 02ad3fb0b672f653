//! Receipts as they come with answers: checked at once against what was really sent and received, then kept.

use std::sync::Arc;

use hanzo_attestation::bundle::Base64;
use hanzo_attestation::{Anchors, Collateral, Nonce, UnixTime, jcs};
use hanzo_policy::AppraisalPolicy;
use hanzo_verifier::VerifierContext;
use hanzo_verifier::receipt::{DisclosedReceipt, Outcome, ReceiptError, ReceiptId, VerifiedReceipt, verify_disclosed};
use serde::{Deserialize, Serialize};

use crate::pinned::Pinned;
use crate::records::Records;

/// Longest state record in bytes: a policy is at most 256 KiB, certificates and lists come on top.
const RECORD_BYTES_MAX: usize = 4 << 20;

/// How the receipt of one answer came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptStatus {
    /// Both signatures verify and both commitments open to the bytes that were sent and received.
    Verified {
        /// Its id.
        id: ReceiptId,
        /// How the guest says the request ended.
        outcome: Outcome,
    },
    /// There is a receipt, and it is wrong.
    Mismatch {
        /// Stable code, e.g. `receipt.commitment.response`.
        code: &'static str,
        /// What is wrong.
        text: String,
    },
    /// There is none although there should be.
    Missing {
        /// Why.
        text: &'static str,
    },
}

impl ReceiptStatus {
    /// `verified`, `missing` or the code of what is wrong.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Verified { .. } => "verified",
            Self::Mismatch { code, .. } => code,
            Self::Missing { .. } => "missing",
        }
    }
}

/// Receipts since the client started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// All as it should be.
    pub verified: u64,
    /// Wrong ones.
    pub mismatched: u64,
    /// Answers without one.
    pub missing: u64,
    /// The last thing that was wrong.
    pub last_problem: Option<String>,
}

/// What is kept of a receipt: `receipts/<id>.json`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptRecord {
    /// `verified`, or the code of what was wrong.
    pub checked: String,
    /// The signed receipt with its salts.
    pub disclosed: DisclosedReceipt,
    /// When it was kept, Unix seconds.
    pub saved_at: u64,
    /// Format version: 1.
    pub version: u32,
}

impl ReceiptRecord {
    /// Reads a kept record; verifies nothing.
    ///
    /// # Errors
    /// [`jcs::JcsError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, jcs::JcsError> {
        jcs::from_slice("receipt record", bytes, RECORD_BYTES_MAX)
    }
}

/// How a kept bundle was verified: `bundles/<keyset_digest>.meta.json`. Enough to do it again without the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleRecord {
    /// What this client drew.
    pub challenge: Nonce,
    /// Revocation lists that were at hand (DER).
    pub crls: Vec<Base64>,
    /// The policy of that day.
    pub policy: AppraisalPolicy,
    /// The release bundle that its reference values came from, if it names a line of releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Base64>,
    /// Simulator roots that were given (DER).
    pub simulator_arks: Vec<Base64>,
    /// When, Unix seconds.
    pub verified_at: u64,
    /// Format version: 1.
    pub version: u32,
}

impl BundleRecord {
    pub(crate) fn of(pinned: &Pinned, context: &VerifierContext) -> Self {
        let all = |list: &[Vec<u8>]| list.iter().cloned().map(Base64).collect();
        Self {
            challenge: *pinned.challenge(),
            crls: all(&context.collateral.crls),
            policy: context.policy.clone(),
            release: context.collateral.release.clone().map(Base64),
            simulator_arks: all(context.anchors.simulator_arks()),
            verified_at: pinned.result().verified_at().0,
            version: 1,
        }
    }

    /// Reads a kept record.
    ///
    /// # Errors
    /// [`jcs::JcsError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, jcs::JcsError> {
        jcs::from_slice("bundle record", bytes, RECORD_BYTES_MAX)
    }

    /// Roots, lists and policy of that day.
    pub fn context(&self) -> VerifierContext {
        let anchors = self.simulator_arks.iter().fold(Anchors::vendor(), |anchors, ark| {
            anchors.with_simulator_ark(ark.0.clone())
        });
        VerifierContext {
            anchors,
            collateral: Collateral {
                crls: self.crls.iter().map(|c| c.0.clone()).collect(),
                release: self.release.as_ref().map(|r| r.0.clone()),
                ..Collateral::default()
            },
            policy: self.policy.clone(),
        }
    }

    /// When it was verified.
    pub fn time(&self) -> UnixTime {
        UnixTime(self.verified_at)
    }
}

/// Checks a disclosed receipt against the keyset of the connection and the bytes of the exchange.
///
/// # Establishes
/// The attested guest signed that this request got this answer.
///
/// # Errors
/// [`ReceiptError`].
pub fn check(
    document: &[u8],
    pinned: &Pinned,
    expected_id: Option<&str>,
    request: &[u8],
    response: &[u8],
) -> Result<VerifiedReceipt, ReceiptError> {
    let (verified, salts) = verify_disclosed(document, pinned.keyset())?;
    verified.check_request(&salts.request, request)?;
    verified.check_response(&salts.response, response)?;
    let id = verified.receipt().id.to_string();
    match expected_id {
        Some(expected) if expected != id => Err(ReceiptError::Value {
            field: "id",
            expected: "the id of the answer's hanzo-receipt-id header",
            got: id,
        }),
        _ => Ok(verified),
    }
}

impl Records {
    /// Checks the receipt of one exchange, keeps it, counts it, and says loudly when something is wrong.
    pub(crate) async fn settle(
        &self,
        document: &[u8],
        pinned: &Arc<Pinned>,
        expected_id: Option<&str>,
        request: &[u8],
        response: &[u8],
    ) -> ReceiptStatus {
        let status = match check(document, pinned, expected_id, request, response) {
            Ok(verified) => ReceiptStatus::Verified {
                id: verified.receipt().id,
                outcome: verified.receipt().outcome,
            },
            Err(e) => ReceiptStatus::Mismatch {
                code: e.code(),
                text: e.to_string(),
            },
        };
        self.note(&status);
        self.keep_receipt(document, &status).await;
        status
    }

    /// Counts a status; logs what is wrong.
    pub(crate) fn note(&self, status: &ReceiptStatus) {
        match status {
            ReceiptStatus::Verified { id, .. } => {
                self.count(|t| t.verified += 1);
                tracing::info!(receipt = %id, "receipt verified");
            }
            ReceiptStatus::Mismatch { code, text } => {
                tracing::error!(code, "RECEIPT MISMATCH: {text}");
                self.count(|t| {
                    t.mismatched += 1;
                    t.last_problem = Some(format!("{code}: {text}"));
                });
            }
            ReceiptStatus::Missing { text } => {
                tracing::warn!("no receipt: {text}");
                self.count(|t| {
                    t.missing += 1;
                    t.last_problem = Some((*text).to_owned());
                });
            }
        }
    }

    /// A wrong receipt is kept too, if it can be read at all: it is what to show when complaining.
    async fn keep_receipt(&self, document: &[u8], status: &ReceiptStatus) {
        let (Some(state), Ok(disclosed)) = (self.state.clone(), DisclosedReceipt::from_bytes(document)) else {
            return;
        };
        let id = disclosed.receipt.id.to_string();
        let record = ReceiptRecord {
            checked: status.word().to_owned(),
            disclosed,
            saved_at: self.now().0,
            version: 1,
        };
        let Ok(bytes) = jcs::to_vec("receipt record", &record) else {
            return;
        };
        let saved = tokio::task::spawn_blocking(move || state.save_receipt(&id, &bytes)).await;
        if let Ok(Err(e)) = saved {
            tracing::error!(code = e.code(), "receipt not kept: {e}");
        }
    }
}
