//! DHKEM(X448, HKDF-SHA512) decapsulation (RFC 9180 section 4.1, RFC 7748 section 5), for the one published entry with
//! that KEM. Neither backend has the curve. Not constant time: published test keys alone go through here.

use aws_lc_rs::hmac;
use serde_json::Value;

use super::load::hex_of;

const LIMBS: usize = 8;
const MASK: u64 = (1 << 56) - 1;

/// An element of GF(2^448 - 2^224 - 1): limbs of 56 bits, least significant first.
#[derive(Clone, Copy)]
struct Field([u64; LIMBS]);

impl Field {
    const ZERO: Self = Self([0; LIMBS]);
    const ONE: Self = Self([1, 0, 0, 0, 0, 0, 0, 0]);
    /// The modulus.
    const P: [u64; LIMBS] = [MASK, MASK, MASK, MASK, MASK - 1, MASK, MASK, MASK];

    fn from_bytes(bytes: &[u8]) -> Self {
        let mut limbs = [0; LIMBS];
        for (limb, seven) in limbs.iter_mut().zip(bytes.chunks(7)) {
            *limb = seven.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
        }
        Self(limbs)
    }

    /// The unique representative, 56 bytes, little endian.
    fn to_bytes(self) -> Vec<u8> {
        let mut limbs = self.0;
        // Below 2^448 after `carry`; at most one subtraction of the modulus is due.
        if limbs.iter().rev().ge(Self::P.iter().rev()) {
            let mut borrow = 0;
            for (limb, p) in limbs.iter_mut().zip(Self::P) {
                let (mut rest, wrapped) = limb.overflowing_sub(p + borrow);
                borrow = u64::from(wrapped);
                rest &= MASK;
                *limb = rest;
            }
        }
        limbs.iter().flat_map(|l| l.to_le_bytes().into_iter().take(7)).collect()
    }

    /// Brings wide limbs below 2^56; what overflows folds by 2^448 = 2^224 + 1.
    fn carry(mut wide: [u128; LIMBS]) -> Self {
        for _ in 0..4 {
            let mut over = 0;
            for limb in &mut wide {
                *limb += over;
                over = *limb >> 56;
                *limb &= u128::from(MASK);
            }
            wide[0] += over;
            wide[4] += over;
        }
        Self(wide.map(|l| u64::try_from(l).unwrap()))
    }

    fn add(self, other: Self) -> Self {
        Self::carry(std::array::from_fn(|i| u128::from(self.0[i]) + u128::from(other.0[i])))
    }

    fn sub(self, other: Self) -> Self {
        // Two moduli on top keep every limb positive.
        Self::carry(std::array::from_fn(|i| {
            u128::from(self.0[i]) + 2 * u128::from(Self::P[i]) - u128::from(other.0[i])
        }))
    }

    fn mul(self, other: Self) -> Self {
        let mut wide = [0_u128; 2 * LIMBS];
        for (i, a) in self.0.iter().enumerate() {
            for (j, b) in other.0.iter().enumerate() {
                wide[i + j] += u128::from(*a) * u128::from(*b);
            }
        }
        for i in (LIMBS..2 * LIMBS).rev() {
            let over = wide[i];
            wide[i - LIMBS] += over;
            wide[i - LIMBS / 2] += over;
        }
        Self::carry(std::array::from_fn(|i| wide[i]))
    }

    fn times(self, small: u64) -> Self {
        Self::carry(self.0.map(|l| u128::from(l) * u128::from(small)))
    }

    /// By Fermat: to the power of the modulus less two.
    fn invert(self) -> Self {
        let mut exponent = Self::P;
        exponent[0] -= 2;
        let mut result = Self::ONE;
        for bit in (0..448).rev() {
            result = result.mul(result);
            if exponent[bit / 56] >> (bit % 56) & 1 == 1 {
                result = result.mul(self);
            }
        }
        result
    }
}

/// The function X448 of RFC 7748 section 5.
pub(super) fn x448(scalar: &[u8], point: &[u8]) -> Vec<u8> {
    let mut k = scalar.to_vec();
    assert_eq!((k.len(), point.len()), (56, 56));
    k[0] &= 252;
    k[55] |= 128;
    let u = Field::from_bytes(point);
    let (mut x2, mut z2, mut x3, mut z3) = (Field::ONE, Field::ZERO, u, Field::ONE);
    let mut swapped = false;
    for bit in (0..448).rev() {
        let set = k[bit / 8] >> (bit % 8) & 1 == 1;
        if set != swapped {
            (x2, z2, x3, z3) = (x3, z3, x2, z2);
        }
        swapped = set;
        let (a, b, c, d) = (x2.add(z2), x2.sub(z2), x3.add(z3), x3.sub(z3));
        let (aa, bb, da, cb) = (a.mul(a), b.mul(b), d.mul(a), c.mul(b));
        let (e, sum, difference) = (aa.sub(bb), da.add(cb), da.sub(cb));
        x3 = sum.mul(sum);
        z3 = u.mul(difference.mul(difference));
        x2 = aa.mul(bb);
        z2 = e.mul(aa.add(e.times(39_081)));
    }
    if swapped {
        (x2, z2) = (x3, z3);
    }
    x2.mul(z2.invert()).to_bytes()
}

fn hmac_sha512(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, key), &parts.concat())
        .as_ref()
        .to_vec()
}

/// Checks public key and shared secret of an entry whose KEM is 0x0021.
pub(super) fn check(test: &Value) {
    let field = |name: &str| hex_of(test, name);
    let (sk, pk, enc) = (field("skRm"), field("pkRm"), field("enc"));
    let mut base = [0; 56];
    base[0] = 5;
    assert_eq!(x448(&sk, &base), pk);
    let dh = x448(&sk, &enc);
    let suite = [&b"KEM"[..], &[0x00, 0x21]].concat();
    let prk = hmac_sha512(&[], &[b"HPKE-v1", &suite, b"eae_prk", &dh]);
    // 64 bytes are one block of HKDF-Expand.
    let secret = hmac_sha512(&prk, &[&[0, 64], b"HPKE-v1", &suite, b"shared_secret", &enc, &pk, &[1]]);
    assert_eq!(secret, field("shared_secret"));
}

#[test]
fn x448_answers_as_rfc_7748_says() {
    // RFC 7748 section 5.2, the second pair, and section 6.2: both sides of an agreement.
    let hex = |text: &str| hex::decode(text).unwrap();
    let alice = hex(
        "9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28dd9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b",
    );
    let bob = hex(
        "1c306a7ac2a0e2e0990b294470cba339e6453772b075811d8fad0d1d6927c120bb5ee8972b0d3e21374c9c921b09d1b0366f10b65173992d",
    );
    let mut base = [0; 56];
    base[0] = 5;
    let (a, b) = (x448(&alice, &base), x448(&bob, &base));
    assert_eq!(x448(&alice, &b), x448(&bob, &a));
    assert_eq!(
        hex::encode(x448(&alice, &b)),
        "07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282bb60c0b56fd2464c335543936521c24403085d59a449a5037514a879d"
    );
}
