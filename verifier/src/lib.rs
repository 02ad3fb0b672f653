//! hanzo-verifier
pub mod receipt;
