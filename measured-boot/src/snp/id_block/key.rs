//! Public keys and signatures as the security processor stores them.
//!
//! # Layout
//! Key, 1028 bytes: u32 curve (2 = P-384), x 72, y 72, 880 zeros. Signature, 512 bytes: r 72, s 72, 368 zeros. Each number is
//! little-endian and has 48 bytes; the other 24 are zero.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey, VerificationAlgorithm};
use hanzo_attestation::digest::Digest384;

use super::IdBlockError;
use crate::cursor::View;
use crate::hash::sha384;

/// Length of a key.
pub const ID_KEY_BYTES: usize = 1028;
pub(super) const SIGNATURE_BYTES: usize = 512;
const CURVE_P384: u32 = 2;
const NUMBER: usize = 48;
const FIELD: usize = 72;

/// A P-384 public key in the processor's form.
#[derive(Clone, PartialEq, Eq)]
pub struct IdKey([u8; ID_KEY_BYTES]);

/// An ECDSA P-384 signature in the processor's form.
#[derive(Clone, PartialEq, Eq)]
pub struct IdSignature([u8; SIGNATURE_BYTES]);

/// Big-endian numbers of 48 bytes into little-endian fields of 72.
fn put(out: &mut [u8], at: usize, number: &[u8]) {
    for (to, from) in out.iter_mut().skip(at).zip(number.iter().rev()) {
        *to = *from;
    }
}

/// The field at `at`, big-endian, if it has at most 48 bytes.
fn number(view: View<'_>, at: usize) -> Option<[u8; NUMBER]> {
    let mut out: [u8; NUMBER] = view.array(at)?;
    let high = view.bytes(at.checked_add(NUMBER)?, FIELD - NUMBER)?;
    out.reverse();
    high.iter().all(|b| *b == 0).then_some(out)
}

fn zeros(view: View<'_>, at: usize, base: usize) -> Result<(), IdBlockError> {
    let rest = view.0.get(at..).unwrap_or_default();
    match rest.iter().position(|b| *b != 0) {
        Some(found) => Err(IdBlockError::Reserved {
            at: base.saturating_add(at).saturating_add(found),
        }),
        None => Ok(()),
    }
}

impl IdKey {
    /// From an uncompressed point: 0x04, x, y, big-endian, 97 bytes.
    ///
    /// # Errors
    /// [`IdBlockError::Key`].
    pub fn from_point(point: &[u8]) -> Result<Self, IdBlockError> {
        let wrong = IdBlockError::Key { what: "public key" };
        let [4, xy @ ..] = point else { return Err(wrong) };
        let (Some(x), Some(y), 96) = (xy.get(..NUMBER), xy.get(NUMBER..), xy.len()) else {
            return Err(wrong);
        };
        let mut out = [0; ID_KEY_BYTES];
        put(&mut out, 0, &CURVE_P384.to_be_bytes());
        put(&mut out, 4, x);
        put(&mut out, 4 + FIELD, y);
        let key = Self(out);
        key.check_on_curve()?;
        Ok(key)
    }

    pub(super) fn read(bytes: &[u8; ID_KEY_BYTES], at: usize) -> Result<Self, IdBlockError> {
        let view = View(bytes);
        let curve = view.u32(0).unwrap_or_default();
        if curve != CURVE_P384 {
            return Err(IdBlockError::Algorithm {
                what: "curve",
                at,
                expected: CURVE_P384,
                got: curve,
            });
        }
        zeros(view, 4 + 2 * FIELD, at)?;
        let key = Self(*bytes);
        key.check_on_curve()?;
        Ok(key)
    }

    /// The key as it lies in the block, which is also what the author key signs.
    pub fn bytes(&self) -> &[u8; ID_KEY_BYTES] {
        &self.0
    }

    /// SHA-384 of the key: ID_KEY_DIGEST or AUTHOR_KEY_DIGEST of a report.
    pub fn digest(&self) -> Digest384 {
        sha384(&[&self.0])
    }

    fn point(&self) -> Result<[u8; 97], IdBlockError> {
        let view = View(&self.0);
        let (Some(x), Some(y)) = (number(view, 4), number(view, 4 + FIELD)) else {
            return Err(IdBlockError::Key { what: "public key" });
        };
        let mut point = [4; 97];
        for (to, from) in point.iter_mut().skip(1).zip(x.into_iter().chain(y)) {
            *to = from;
        }
        Ok(point)
    }

    fn check_on_curve(&self) -> Result<(), IdBlockError> {
        let point = self.point()?;
        aws_lc_rs::signature::ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
            .map(|_| ())
            .map_err(|_| IdBlockError::Key { what: "public key" })
    }

    pub(super) fn verify(
        &self,
        what: &'static str,
        message: &[u8],
        signature: &IdSignature,
    ) -> Result<(), IdBlockError> {
        let view = View(&signature.0);
        let (Some(r), Some(s)) = (number(view, 0), number(view, FIELD)) else {
            return Err(IdBlockError::Signature { what });
        };
        let algorithm: &'static dyn VerificationAlgorithm = &ECDSA_P384_SHA384_FIXED;
        let fixed: Vec<u8> = r.into_iter().chain(s).collect();
        UnparsedPublicKey::new(algorithm, self.point()?)
            .verify(message, &fixed)
            .map_err(|_| IdBlockError::Signature { what })
    }
}

impl IdSignature {
    /// From `r` and `s`, big-endian, 48 bytes each.
    ///
    /// # Errors
    /// [`IdBlockError::Key`].
    pub fn from_fixed(rs: &[u8]) -> Result<Self, IdBlockError> {
        let (Some(r), Some(s), 96) = (rs.get(..NUMBER), rs.get(NUMBER..), rs.len()) else {
            return Err(IdBlockError::Key { what: "signature" });
        };
        let mut out = [0; SIGNATURE_BYTES];
        put(&mut out, 0, r);
        put(&mut out, FIELD, s);
        Ok(Self(out))
    }

    pub(super) fn read(bytes: &[u8; SIGNATURE_BYTES], at: usize) -> Result<Self, IdBlockError> {
        zeros(View(bytes), 2 * FIELD, at)?;
        Ok(Self(*bytes))
    }

    /// The signature as it lies in the block.
    pub fn bytes(&self) -> &[u8; SIGNATURE_BYTES] {
        &self.0
    }
}

impl std::fmt::Debug for IdKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IdKey({})", self.digest())
    }
}

impl std::fmt::Debug for IdSignature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdSignature(512 bytes)")
    }
}
