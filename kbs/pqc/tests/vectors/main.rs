//! Published vectors against this crate and, where an entry asks for what only an oracle offers (deterministic
//! encapsulation, contexts, expanded keys), against the RustCrypto crates. Every test counts what it ran and asserts
//! the total, so that nothing is skipped in silence.
//!
//! The vectors lie beside the repository, in `shared/vectors/pqc`; without them each test says so and passes.
//! (HPKE's vectors need the key schedule's inside and are run by the unit tests in `src/hpke/kat.rs`.)

mod kdf;
mod keys;
mod load;
mod ml_dsa;
mod ml_kem;
mod x25519;
