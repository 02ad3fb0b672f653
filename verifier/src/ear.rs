//! EAT Attestation Results (EAR, draft-fv-rats-ear): ours written, others' read.
//!
//! [`EarClaims`] puts an [`crate::AttestationResult`] into EAR's words; this crate holds no private key, so the caller signs.
//! [`verify_ear`] reads an EAR of another verifier (Trustee, Veraison) under keys that were configured, and under no others:
//! what the token's own header brings along (`jwk`, `x5c`, `jku`, a `kid` that is an address) is never looked at.
//!
//! | where | what |
//! |---|---|
//! | [`vector`] | AR4SI trustworthiness values and tiers |
//! | [`claims`] | our claims set, and how tiers and device claims become values |
//! | [`token`] | a foreign token: JWS, keys, times, claims |
//!
//! # Does not establish
//! A [`ForeignEar`] is another verifier's opinion. It is not an [`crate::AttestationResult`], and nothing makes it one.

pub mod claims;
mod error;
mod jws;
pub mod token;
pub mod vector;

pub use claims::{EarClaims, EarIssuer, EarSubject};
pub use error::EarError;
pub use jws::EarAlgorithm;
pub use token::{ForeignEar, ForeignSubmod, TrustedKey, TrustedKeys, verify_ear};
pub use vector::{TrustTier, TrustVector};

/// The EAR profile.
pub const EAR_PROFILE: &str = "tag:github.com,2023:veraison/ear";
/// Trustee's profile.
pub const TRUSTEE_PROFILE: &str = "tag:github.com,2024:confidential-containers/Trustee";
/// Longest token in bytes: an ML-DSA-65 signature is 4412 of them, annotated evidence of eight GPUs most of the rest.
pub const EAR_BYTES_MAX: usize = 512 << 10;
