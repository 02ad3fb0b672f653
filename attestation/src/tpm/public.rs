//! Other forms of an attestation key: TPMT_PUBLIC (Part 2, section 12.2.4) and JWK (RFC 7517, RSA).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cursor::Cursor;
use super::error::TpmError;
use super::key::Key;
use super::signature::{TPM_ALG_ECDSA, TPM_ALG_RSAPSS, TPM_ALG_RSASSA, TPM_ALG_SHA256, TPM_ALG_SHA384};

const TPM_ALG_RSA: u16 = 0x0001;
const TPM_ALG_NULL: u16 = 0x0010;
const TPM_ALG_ECC: u16 = 0x0023;
const TPM_ECC_NIST_P256: u16 = 0x0003;
const TPM_ECC_NIST_P384: u16 = 0x0004;

/// fixedTPM, fixedParent, sensitiveDataOrigin, restricted, sign (Part 2, table 37).
const REQUIRED: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 18;
const DECRYPT: u32 = 1 << 17;

/// SubjectPublicKeyInfo (DER) of an attestation key in a TPM2B_PUBLIC or TPMT_PUBLIC.
///
/// # Layout
/// Big endian. TPM2B_PUBLIC: size u16, then TPMT_PUBLIC: type u16, nameAlg u16, objectAttributes u32, authPolicy TPM2B,
/// parameters (RSA: symmetric u16, scheme u16 with its hash, keyBits u16, exponent u32, 0 for 65537; ECC: symmetric u16,
/// scheme u16 with its hash, curveID u16, kdf u16), unique (RSA: TPM2B modulus; ECC: TPM2B x, TPM2B y).
///
/// # Establishes
/// A TPM that holds this object signs with it only what it made itself, and never lets go of it. That the object is in a
/// TPM at all is what a certificate or a pin says.
///
/// # Errors
/// [`TpmError`]; [`TpmError::Attributes`] for a key that is not restricted to a TPM's own statements.
pub fn spki_of_public(bytes: &[u8]) -> Result<Vec<u8>, TpmError> {
    let sized = bytes
        .split_first_chunk::<2>()
        .filter(|(size, rest)| usize::from(u16::from_be_bytes(**size)) == rest.len());
    // The two forms cannot be mistaken: as a TPM2B size, a type would be 1 or 35, and no key is as short.
    let mut at = Cursor::new("TPMT_PUBLIC", sized.map_or(bytes, |(_, rest)| rest));
    let kind = at.u16("type")?;
    at.u16("nameAlg")?;
    let attributes = at.u32("objectAttributes")?;
    if attributes & REQUIRED != REQUIRED || attributes & DECRYPT != 0 {
        return Err(TpmError::Attributes { got: attributes });
    }
    at.sized("authPolicy", 64)?;
    if at.u16("parameters.symmetric")? != TPM_ALG_NULL {
        return Err(at.wrong("parameters.symmetric", "expected TPM_ALG_NULL for a signing key"));
    }
    let scheme = at.u16("parameters.scheme")?;
    let hash = if scheme == TPM_ALG_NULL {
        None
    } else {
        Some(at.u16("parameters.scheme.hash")?)
    };
    let scheme_ok = match kind {
        TPM_ALG_RSA => matches!(scheme, TPM_ALG_NULL | TPM_ALG_RSASSA | TPM_ALG_RSAPSS),
        _ => matches!(scheme, TPM_ALG_NULL | TPM_ALG_ECDSA),
    };
    if !scheme_ok || hash.is_some_and(|h| !matches!(h, TPM_ALG_SHA256 | TPM_ALG_SHA384)) {
        return Err(at.wrong(
            "parameters.scheme",
            "expected RSASSA, RSAPSS or ECDSA with SHA-256 or SHA-384",
        ));
    }
    let key = match kind {
        TPM_ALG_RSA => rsa(&mut at)?,
        TPM_ALG_ECC => ecc(&mut at)?,
        _ => return Err(at.wrong("type", "expected RSA (0x0001) or ECC (0x0023)")),
    };
    at.finish()?;
    key.spki()
}

fn rsa(at: &mut Cursor<'_>) -> Result<Key, TpmError> {
    let bits = at.u16("parameters.keyBits")?;
    let exponent = at.u32("parameters.exponent")?;
    let modulus = at.sized("unique.rsa", 512)?;
    if !matches!(exponent, 0 | 65_537) || modulus.len().checked_mul(8) != Some(usize::from(bits)) {
        return Err(at.wrong("unique.rsa", "expected exponent 65537 and a modulus of keyBits"));
    }
    Key::from_rsa(modulus, &[1, 0, 1])
}

fn ecc(at: &mut Cursor<'_>) -> Result<Key, TpmError> {
    let curve = at.u16("parameters.curveID")?;
    if at.u16("parameters.kdf")? != TPM_ALG_NULL {
        return Err(at.wrong("parameters.kdf", "expected TPM_ALG_NULL"));
    }
    let (x, y) = (at.sized("unique.ecc.x", 48)?, at.sized("unique.ecc.y", 48)?);
    let point = [&[4], x, y].concat();
    match (curve, x.len(), y.len()) {
        (TPM_ECC_NIST_P256, 32, 32) => Ok(Key::P256(point)),
        (TPM_ECC_NIST_P384, 48, 48) => Ok(Key::P384(point)),
        _ => Err(at.wrong(
            "parameters.curveID",
            "expected P-256 or P-384 with coordinates of full length",
        )),
    }
}

/// SubjectPublicKeyInfo (DER) of an RSA key given as the members `n` and `e` of a JWK.
///
/// # Errors
/// [`TpmError`].
pub fn spki_of_jwk(n: &str, e: &str) -> Result<Vec<u8>, TpmError> {
    key_of_jwk(n, e)?.spki()
}

pub(super) fn key_of_jwk(n: &str, e: &str) -> Result<Key, TpmError> {
    let number = |field, text: &str| {
        URL_SAFE_NO_PAD.decode(text).map_err(|_| TpmError::Structure {
            structure: "JWK",
            field,
            detail: "expected base64url without padding",
        })
    };
    Key::from_rsa(&number("n", n)?, &number("e", e)?)
}
