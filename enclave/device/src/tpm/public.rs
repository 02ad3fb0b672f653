//! A TPM's public key areas, and the same keys as X.509 writes them.

use super::TpmError;
use super::wire::{Reader, Writer};

const ALG_RSA: u16 = 0x0001;
const ALG_ECC: u16 = 0x0023;
const ALG_NULL: u16 = 0x0010;
const ALG_SHA256: u16 = 0x000b;
const ALG_ECDSA: u16 = 0x0018;
const CURVE_P256: u16 = 0x0003;
const CURVE_P384: u16 = 0x0004;

/// TPMA_OBJECT bits.
const FIXED_TPM: u32 = 1 << 1;
const FIXED_PARENT: u32 = 1 << 4;
const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
const USER_WITH_AUTH: u32 = 1 << 6;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;

/// An attestation key: restricted (it signs what the TPM itself made and nothing else), fixed to its TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AkPublic {
    spki: Vec<u8>,
}

impl AkPublic {
    /// SubjectPublicKeyInfo, DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Reads TPMT_PUBLIC.
    pub(super) fn parse(command: &'static str, public: &[u8]) -> Result<Self, TpmError> {
        let mut r = Reader::new(command, public);
        let kind = r.u16("type")?;
        r.u16("nameAlg")?;
        let attributes = r.u32("objectAttributes")?;
        let wanted = FIXED_TPM | RESTRICTED | SIGN;
        if attributes & wanted != wanted || attributes & DECRYPT != 0 {
            return Err(TpmError::Key {
                what: "expected fixedTPM, restricted and sign, without decrypt: any other key could sign a forged quote",
            });
        }
        r.sized("authPolicy")?;
        if r.u16("symmetric")? != ALG_NULL {
            return Err(r.bad("symmetric", "TPM_ALG_NULL"));
        }
        if r.u16("scheme")? != ALG_NULL {
            r.u16("scheme.hashAlg")?;
        }
        let spki = match kind {
            ALG_RSA => {
                let bits = r.u16("keyBits")?;
                let exponent = match r.u32("exponent")? {
                    0 => 65537,
                    other => other,
                };
                let modulus = r.sized("unique")?;
                if !matches!(bits, 2048 | 3072 | 4096) || modulus.len() * 8 != usize::from(bits) {
                    return Err(r.bad("keyBits", "2048, 3072 or 4096, and a modulus of that length"));
                }
                rsa_spki(modulus, exponent)
            }
            ALG_ECC => {
                let curve = r.u16("curveID")?;
                if r.u16("kdf")? != ALG_NULL {
                    return Err(r.bad("kdf", "TPM_ALG_NULL"));
                }
                let (x, y) = (r.sized("unique.x")?, r.sized("unique.y")?);
                let (oid, bytes) = match curve {
                    CURVE_P256 => (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07][..], 32),
                    CURVE_P384 => (&[0x2b, 0x81, 0x04, 0x00, 0x22][..], 48),
                    _ => return Err(r.bad("curveID", "P-256 or P-384")),
                };
                if x.len() > bytes || y.len() > bytes {
                    return Err(r.bad("unique", "coordinates of the curve's length"));
                }
                ecc_spki(oid, bytes, x, y)
            }
            _ => return Err(r.bad("type", "RSA or ECC")),
        };
        r.end("publicArea")?;
        Ok(Self { spki })
    }
}

/// TPMT_PUBLIC of a restricted P-256 key that signs with ECDSA and SHA-256.
pub(super) fn ecc_ak_template() -> Vec<u8> {
    let attributes = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | USER_WITH_AUTH | RESTRICTED | SIGN;
    Writer::default()
        .u16(ALG_ECC)
        .u16(ALG_SHA256)
        .u32(attributes)
        .sized(&[])
        .u16(ALG_NULL)
        .u16(ALG_ECDSA)
        .u16(ALG_SHA256)
        .u16(CURVE_P256)
        .u16(ALG_NULL)
        .sized(&[])
        .sized(&[])
        .done()
}

/// One DER value. Lengths here stay below 65536.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let mut out = vec![tag];
    match len {
        0..=0x7f => out.push(len as u8),
        0x80..=0xff => out.extend([0x81, len as u8]),
        _ => {
            out.push(0x82);
            out.extend((len as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(content);
    out
}

/// INTEGER: no needless leading zero, one where the top bit is set.
fn integer(magnitude: &[u8]) -> Vec<u8> {
    let first = magnitude.iter().position(|b| *b != 0).unwrap_or(magnitude.len());
    let digits: Vec<u8> = magnitude.iter().skip(first).copied().collect();
    let sign = digits.first().is_none_or(|b| b & 0x80 != 0);
    let content: Vec<u8> = sign.then_some(0).into_iter().chain(digits).collect();
    der(2, &content)
}

fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = std::iter::once(0).chain(key.iter().copied()).collect();
    let content = [der(0x30, algorithm), der(3, &bits)].concat();
    der(0x30, &content)
}

fn rsa_spki(modulus: &[u8], exponent: u32) -> Vec<u8> {
    let rsa_encryption = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let algorithm = [der(6, &rsa_encryption), der(5, &[])].concat();
    let key = [integer(modulus), integer(&exponent.to_be_bytes())].concat();
    spki(&algorithm, &der(0x30, &key))
}

fn ecc_spki(curve: &[u8], bytes: usize, x: &[u8], y: &[u8]) -> Vec<u8> {
    let ec_public_key = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    let algorithm = [der(6, &ec_public_key), der(6, curve)].concat();
    let mut point = vec![4];
    for coordinate in [x, y] {
        // A TPM may drop leading zeros.
        point.resize(point.len() + bytes.saturating_sub(coordinate.len()), 0);
        point.extend_from_slice(coordinate);
    }
    spki(&algorithm, &point)
}
