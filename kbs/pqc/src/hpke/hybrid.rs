//! Both hybrid KEMs: they are one construction (a seed expanded by SHAKE256, an ML-KEM next to a Diffie-Hellman group,
//! a SHA3-256 combiner) with different parts.
//!
//! # Spec
//! draft-connolly-cfrg-xwing-kem-10 section 5; draft-irtf-cfrg-concrete-hybrid-kems-03 sections 4.2 and 4.3;
//! draft-irtf-cfrg-hybrid-kems-11 section 5.5.

use aws_lc_rs::agreement::{Algorithm, ECDH_P384, ParsedPublicKey, PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::digest;
use shake::{ExtendableOutput, Shake256, Update, XofReader};
use zeroize::Zeroizing;

use crate::PqcError;
use crate::kem::{self, DecapsulationKey, EncapsulationKey, MlKem768, MlKem1024, ParameterSet};

/// A KEM's shared secret on its way into the key schedule.
pub(super) type SecretBytes = Zeroizing<Vec<u8>>;

const SHARED_SECRET_LEN: usize = 32;

/// The parts of one hybrid KEM.
pub(super) trait Hybrid {
    type Pq: ParameterSet;
    /// What the combiner's input ends with.
    const LABEL: &'static [u8];
    /// Length of the group's private key, which is also what is read of SHAKE256 for it.
    const SCALAR_LEN: usize;
    const POINT_LEN: usize;

    fn group() -> &'static Algorithm;
    /// Checks that the group element is one the spec allows.
    fn check_point(what: &'static str, point: &[u8]) -> Result<(), PqcError>;
}

pub(super) enum Xwing {}

impl Hybrid for Xwing {
    type Pq = MlKem768;
    const LABEL: &'static [u8] = br"\.//^\";
    const SCALAR_LEN: usize = 32;
    const POINT_LEN: usize = 32;

    fn group() -> &'static Algorithm {
        &X25519
    }

    fn check_point(what: &'static str, point: &[u8]) -> Result<(), PqcError> {
        if is_small_order(point) {
            Err(PqcError::LowOrder { what })
        } else {
            Ok(())
        }
    }
}

pub(super) enum MlKem1024P384 {}

impl Hybrid for MlKem1024P384 {
    type Pq = MlKem1024;
    const LABEL: &'static [u8] = b"MLKEM1024-P384";
    const SCALAR_LEN: usize = 48;
    const POINT_LEN: usize = 97;

    fn group() -> &'static Algorithm {
        &ECDH_P384
    }

    fn check_point(what: &'static str, point: &[u8]) -> Result<(), PqcError> {
        if point.first() != Some(&0x04) {
            return Err(PqcError::Encoding {
                what,
                rule: "uncompressed SEC 1 point, first byte 04",
            });
        }
        ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P384, point))
            .map(|_| ())
            .map_err(|_| PqcError::Encoding {
                what,
                rule: "a point on P-384",
            })
    }
}

/// The u-coordinates of small order on Curve25519 and its twist (RFC 7748 section 6.1), bit 255 cleared: 0, 1, the two
/// of order 8, p - 1, p and p + 1.
const SMALL_ORDER_U: [[u8; 32]; 7] = [
    [0; 32],
    [
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ],
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    near_p(0xec),
    near_p(0xed),
    near_p(0xee),
];

/// 2^255 - 256 + `low`, little-endian: p is `near_p(0xed)`.
const fn near_p(low: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = low;
    bytes[31] = 0x7f;
    bytes
}

fn is_small_order(point: &[u8]) -> bool {
    let Ok(mut u) = <[u8; 32]>::try_from(point) else {
        return false;
    };
    if let Some(top) = u.last_mut() {
        *top &= 0x7f;
    }
    SMALL_ORDER_U.contains(&u)
}

fn split<'a, H: Hybrid>(what: &'static str, pq_len: usize, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), PqcError> {
    let expected = pq_len + H::POINT_LEN;
    crate::error::length(what, expected, bytes.len())?;
    bytes.split_at_checked(pq_len).ok_or(PqcError::Length {
        what,
        expected,
        got: bytes.len(),
    })
}

/// Validates both halves of a public key.
pub(super) fn check_public_key<H: Hybrid>(bytes: &[u8]) -> Result<(), PqcError> {
    let (pq, point) = split::<H>("HPKE public key", H::Pq::ENCAPSULATION_KEY_LEN, bytes)?;
    EncapsulationKey::<H::Pq>::from_bytes(pq)?;
    H::check_point("HPKE public key", point)
}

/// Encapsulates to a public key that was validated before.
pub(super) fn encapsulate<H: Hybrid>(public: &[u8]) -> Result<(Vec<u8>, SecretBytes), PqcError> {
    let failed = || PqcError::Backend {
        what: "HPKE encapsulation",
    };
    let (pq, point) = split::<H>("HPKE public key", H::Pq::ENCAPSULATION_KEY_LEN, public)?;
    let (mut enc, pq_secret) = kem::encapsulate::<H::Pq>(pq)?;
    let ephemeral = PrivateKey::generate(H::group()).map_err(|_| failed())?;
    let share = ephemeral.compute_public_key().map_err(|_| failed())?;
    let secret = exchange::<H>("HPKE public key", &ephemeral, point, |group_secret| {
        combine::<H>(pq_secret.expose(), group_secret, share.as_ref(), point)
    })?;
    enc.extend_from_slice(share.as_ref());
    Ok((enc, secret))
}

/// One expanded private key.
pub(super) struct HybridKey<H: Hybrid> {
    pq: DecapsulationKey<H::Pq>,
    scalar: PrivateKey,
    point: Vec<u8>,
}

impl<H: Hybrid> HybridKey<H> {
    /// Expands a seed; returns the key and its encoded public half.
    pub(super) fn from_seed(seed: &[u8; 32]) -> Result<(Self, Vec<u8>), PqcError> {
        let mut pq_seed = Zeroizing::new([0u8; kem::SEED_LEN]);
        let mut scalar = Zeroizing::new(vec![0u8; H::SCALAR_LEN]);
        let mut xof = Shake256::default();
        xof.update(seed);
        let mut reader = xof.finalize_xof();
        reader.read(pq_seed.as_mut_slice());
        reader.read(scalar.as_mut_slice());
        drop(reader);

        let scalar = PrivateKey::from_private_key(H::group(), &scalar).map_err(|_| PqcError::Encoding {
            what: "HPKE seed",
            rule: "a scalar in [1, order) of the group",
        })?;
        Self::assemble(DecapsulationKey::from_seed(&pq_seed)?, scalar)
    }

    /// Draws both halves inside AWS-LC, faster than expanding a seed.
    pub(super) fn generate() -> Result<(Self, Vec<u8>), PqcError> {
        let scalar = PrivateKey::generate(H::group()).map_err(|_| PqcError::Backend {
            what: "HPKE key generation",
        })?;
        Self::assemble(DecapsulationKey::generate()?, scalar)
    }

    fn assemble(pq: DecapsulationKey<H::Pq>, scalar: PrivateKey) -> Result<(Self, Vec<u8>), PqcError> {
        let point = scalar.compute_public_key().map_err(|_| PqcError::Backend {
            what: "HPKE public key",
        })?;
        let point = point.as_ref().to_vec();
        let mut public = pq.encapsulation_key().as_bytes().to_vec();
        public.extend_from_slice(&point);
        Ok((Self { pq, scalar, point }, public))
    }

    /// Opens an encapsulation.
    pub(super) fn decapsulate(&self, enc: &[u8]) -> Result<SecretBytes, PqcError> {
        let (ciphertext, share) = split::<H>("HPKE enc", H::Pq::CIPHERTEXT_LEN, enc)?;
        H::check_point("HPKE enc", share)?;
        let pq_secret = self.pq.decapsulate(ciphertext)?;
        exchange::<H>("HPKE enc", &self.scalar, share, |group_secret| {
            combine::<H>(pq_secret.expose(), group_secret, share, &self.point)
        })
    }
}

/// Diffie-Hellman. AWS-LC refuses an all-zero X25519 result by itself, so a small-order point that the list above
/// missed would still end here.
fn exchange<H: Hybrid>(
    what: &'static str,
    key: &PrivateKey,
    peer: &[u8],
    then: impl FnOnce(&[u8]) -> Result<SecretBytes, PqcError>,
) -> Result<SecretBytes, PqcError> {
    agree(
        key,
        UnparsedPublicKey::new(H::group(), peer),
        PqcError::LowOrder { what },
        then,
    )
}

/// `SHA3-256(ss_PQ || ss_T || ct_T || ek_T || label)`.
fn combine<H: Hybrid>(pq: &[u8], group: &[u8], share: &[u8], point: &[u8]) -> Result<SecretBytes, PqcError> {
    let mut context = digest::Context::new(&digest::SHA3_256);
    for part in [pq, group, share, point, H::LABEL] {
        context.update(part);
    }
    let mut digest = context.finish();
    let secret = Zeroizing::new(digest.as_ref().to_vec());
    // `Digest` has no destructor: overwrite its copy of the secret with the digest of nothing.
    digest.clone_from(&digest::digest(&digest::SHA3_256, b""));
    std::hint::black_box(&mut digest);
    crate::error::length("hybrid shared secret", SHARED_SECRET_LEN, secret.len())?;
    Ok(secret)
}
