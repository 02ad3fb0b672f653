//! How good is good enough: privacy tiers, reference values and the rules that compare evidence with them.
//!
//! [`appraise`] takes claims that are already authentic and bound to a nonce and a key (`hanzo-attestation`) and an
//! [`AppraisalPolicy`], runs every rule, and derives the [`PrivacyTier`]. A tier is derived, never claimed: anything
//! missing, unknown or unparsed lowers it, and nothing raises it. All rules that failed are reported, not the first.
//!
//! The rules are in [`rules`], one a file. The policy's file format is in `policy/SPEC.md`.
//!
//! # Establishes
//! That authentic claims reach a tier under a policy, and which rules stand between them and a higher one.
//!
//! # Does not establish
//! That the claims are authentic (`hanzo-attestation` does), that the policy's reference values are good ones (whoever
//! wrote it answers for that), or anything about a time other than the one at which the claims were checked.
//!
//! This crate does no I/O, reads no clock, draws no randomness and runs no unsafe code.
//!
//! # Example
//! A policy that says nothing grants nothing:
//! ```
//! use hanzo_policy::{AppraisalPolicy, PrivacyTier};
//! let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee);
//! assert!(policy.snp.is_none() && policy.tdx.is_none() && policy.tpm.is_none() && policy.gpu.is_none());
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod appraisal;
mod diff;
mod facts;
pub mod hardware;
mod ladder;
mod lone;
pub mod policy;
pub mod release;
pub mod rules;
mod template;
pub mod tier;

pub use appraisal::{Appraisal, CpuGpuBinding, Rung, appraise};
pub use diff::{Difference, Direction, diff};
pub use hardware::{ChipId, Ppid, Ueid};
pub use lone::lone_devices;
pub use policy::gpu::{Architecture, GpuPolicy, TeeIoReference};
pub use policy::snp::{MilanPolicy, SnpParavisor, SnpPolicy, SnpReference};
pub use policy::tdx::{AcceptedStatus, TdxParavisor, TdxPolicy, TdxReference};
pub use policy::tpm::{PcrValues, TpmPolicy, TpmReference};
pub use policy::{
    Admission, AllowList, AppraisalPolicy, Count, EpycTcb, HardwareList, POLICY_BYTES_MAX, PolicyError, Presence,
    ReleasePolicy, RevocationPolicy, TcbFloors, TurinTcb,
};
pub use rules::{Check, RuleFailure};
pub use template::{Template, template};
pub use tier::PrivacyTier;
