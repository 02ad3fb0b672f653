//! What we ask of an Ed25519 public key beyond RFC 8032: one encoding per point, and no point of small order (under
//! which a signature fits many messages).

use crate::PqcError;
use crate::error::length;

pub(crate) const PUBLIC_KEY_LEN: usize = 32;
pub(crate) const SIGNATURE_LEN: usize = 64;
pub(crate) const SEED_LEN: usize = 32;

const WHAT: &str = "Ed25519 public key";

/// p = 2^255 - 19, little-endian.
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The y-coordinates of the eight points of small order: 1, -1, 0 and the two of order 8.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    [
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ],
    {
        let mut y = P;
        y[0] = 0xec;
        y
    },
    [0; 32],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

pub(crate) fn check_public_key(bytes: &[u8]) -> Result<[u8; PUBLIC_KEY_LEN], PqcError> {
    length(WHAT, PUBLIC_KEY_LEN, bytes.len())?;
    let key: [u8; PUBLIC_KEY_LEN] = bytes.try_into().map_err(|_| PqcError::Length {
        what: WHAT,
        expected: PUBLIC_KEY_LEN,
        got: bytes.len(),
    })?;
    let mut y = key;
    if let Some(top) = y.last_mut() {
        *top &= 0x7f;
    }
    if y.iter().rev().ge(P.iter().rev()) {
        return Err(PqcError::Encoding {
            what: WHAT,
            rule: "y below 2^255 - 19",
        });
    }
    if SMALL_ORDER_Y.contains(&y) {
        return Err(PqcError::LowOrder { what: WHAT });
    }
    Ok(key)
}
