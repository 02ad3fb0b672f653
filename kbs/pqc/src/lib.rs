//! Post-quantum cryptography of the appliance: the closed list of suites, and the key types everything else uses.
//!
//! * [`hpke`] wraps data keys and proves channels: HPKE base mode over X-Wing or MLKEM1024-P384. [`hpke::message`] seals
//!   requests and answers, over X-Wing or X25519.
//! * [`sign`] signs our own formats with ML-DSA *and* Ed25519; both halves must verify, under a [`Domain`].
//! * [`kem`], [`dsa`], [`aead`], [`kdf`] and [`random`] are the primitives below, typed so that sets cannot be mixed.
//! * [`Dek`] is a data key: neither `Clone` nor `Debug`, wiped when dropped.
//!
//! What it never does: pick an algorithm by a name found in a message (names are parsed into closed enums by callers
//! who already know what they expect), read a clock, touch serde or a file, or draw randomness from anywhere but
//! AWS-LC's DRBG. `SPEC.md` beside this crate lists the bytes.
//!
//! ```
//! use hanzo_pqc::hpke::{self, KemSuite, PrivateKey};
//!
//! # fn main() -> Result<(), hanzo_pqc::PqcError> {
//! let guest = PrivateKey::generate(KemSuite::Xwing)?;
//! let sealed = hpke::seal(guest.public_key(), b"info", b"aad", b"a data key")?;
//! let opened = hpke::open(&guest, &sealed.enc, b"info", b"aad", &sealed.ciphertext)?;
//! assert_eq!(opened.as_slice(), b"a data key");
//! assert!(hpke::open(&guest, &sealed.enc, b"other info", b"aad", &sealed.ciphertext).is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # Spec
//! FIPS 203, FIPS 204, RFC 9180, draft-connolly-cfrg-xwing-kem-10, draft-irtf-cfrg-concrete-hybrid-kems-03,
//! draft-ietf-hpke-pq-04, RFC 8032, RFC 5869, SP 800-56C rev. 2, SP 800-38D.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod aead;
mod dek;
pub mod domain;
pub mod dsa;
mod ed25519;
mod error;
pub mod gcm;
pub mod hpke;
pub mod kdf;
pub mod kem;
pub mod random;
pub mod sign;
mod text;
mod tier;

pub use dek::Dek;
pub use domain::Domain;
pub use error::{PqcError, SignatureHalf};
pub use hpke::KemSuite;
pub use sign::SignatureSuite;
pub use text::encode as to_hex;
pub use tier::suites_for_tier;
