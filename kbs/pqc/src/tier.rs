//! Suites by privacy tier (DESIGN §3).

use crate::hpke::KemSuite;
use crate::sign::SignatureSuite;

/// The data-key wrap and signature suites that a privacy tier requires: X-Wing and ML-DSA-65 for tiers 0 to 2,
/// MLKEM1024-P384 and ML-DSA-87 for tiers 3 and 4 (and for any number above, which no tier has).
pub const fn suites_for_tier(tier: u8) -> (KemSuite, SignatureSuite) {
    match tier {
        0..=2 => (KemSuite::Xwing, SignatureSuite::MlDsa65Ed25519),
        _ => (KemSuite::MlKem1024P384, SignatureSuite::MlDsa87Ed25519),
    }
}
