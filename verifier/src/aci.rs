//! ACI `aci/1`: the documents by which other projects' gateways say what they answered, and how anybody checks them offline.
//!
//! A keyset, named by SHA-256 of its JCS form, is under the hardware's evidence ([`report_data`]; the report itself is read by
//! [`crate::foreign`]). A receipt is JSON in any encoding; its JCS form without `signature` is signed by one of that keyset's Ed25519 keys.
//! Bodies stand in it as bare SHA-256: whoever sees a receipt can confirm a guess at what was asked and answered. Our own receipts
//! ([`crate::receipt`]) do not have that property; these are for programs that speak `aci/1` alone.
//!
//! Guests of ours issue them beside their own where their configuration says `aci = "on"` (`hanzo-receipts`): this is the format, its maker and its
//! verifier. Where the processor is simulated, keyset and every receipt say so, and one that does not is refused.
//!
//! # Spec
//! `aci/1` (Dstack-TEE/private-ai-gateway `spec/aci.md`), sections 3.1, 3.2 and 7, with its test vectors.

mod error;
mod keyset;
mod receipt;

pub use error::AciError;
pub use hanzo_attestation::aci::report_data;
pub use keyset::{ACI_KEYSET_BYTES_MAX, AciHanzo, AciKey, AciKeyset, AciKeysetDraft, AciTlsKey};
pub use receipt::{
    ACI_EVENTS_MAX, ACI_RECEIPT_BYTES_MAX, AciDigest, AciEvent, AciReceipt, VerifiedAciReceipt, verify_aci_receipt,
};

/// The version in every document.
pub const API_VERSION: &str = "aci/1";
