//! TPMT_SIGNATURE (Part 2, section 11.3.4) and the bare form that Azure's agents store.

use aws_lc_rs::digest::{Context, SHA256, SHA384};

use super::cursor::Cursor;
use super::error::TpmError;

pub(super) const TPM_ALG_SHA256: u16 = 0x000b;
pub(super) const TPM_ALG_SHA384: u16 = 0x000c;
pub(super) const TPM_ALG_RSASSA: u16 = 0x0014;
pub(super) const TPM_ALG_RSAPSS: u16 = 0x0016;
pub(super) const TPM_ALG_ECDSA: u16 = 0x0018;

/// Longest RSA signature in bytes: RSA-4096.
const RSA_BYTES_MAX: usize = 512;
/// Longest half of an ECDSA signature in bytes: P-384.
const HALF_BYTES_MAX: usize = 48;

/// Hash of a signature, which is that of pcrDigest too (Part 3, section 18.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HashAlgorithm {
    Sha256,
    Sha384,
}

impl HashAlgorithm {
    pub(super) fn digest<'a>(self, parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut context = Context::new(match self {
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
        });
        for part in parts {
            context.update(part);
        }
        context.finish().as_ref().to_vec()
    }
}

/// A signature whose form was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signature {
    Rsassa(HashAlgorithm, Vec<u8>),
    Rsapss(HashAlgorithm, Vec<u8>),
    /// r and s without leading zeros.
    Ecdsa(HashAlgorithm, Vec<u8>, Vec<u8>),
}

impl Signature {
    /// Bare signatures are as long as the moduli of RSA-2048 or RSA-3072; no TPMT_SIGNATURE has either length.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TpmError> {
        if matches!(bytes.len(), 256 | 384) {
            return Ok(Self::Rsassa(HashAlgorithm::Sha256, bytes.to_vec()));
        }
        let mut at = Cursor::new("TPMT_SIGNATURE", bytes);
        let algorithm = at.u16("sigAlg")?;
        let hash = match at.u16("hashAlg")? {
            TPM_ALG_SHA256 => HashAlgorithm::Sha256,
            TPM_ALG_SHA384 => HashAlgorithm::Sha384,
            _ => {
                return Err(TpmError::SignatureAlgorithm {
                    detail: "hashAlg: expected SHA-256 or SHA-384",
                });
            }
        };
        let mut sized = |field, most| at.sized(field, most).map(<[u8]>::to_vec);
        let signature = match algorithm {
            TPM_ALG_RSASSA => Self::Rsassa(hash, sized("sig", RSA_BYTES_MAX)?),
            TPM_ALG_RSAPSS => Self::Rsapss(hash, sized("sig", RSA_BYTES_MAX)?),
            TPM_ALG_ECDSA => Self::Ecdsa(
                hash,
                sized("signatureR", HALF_BYTES_MAX)?,
                sized("signatureS", HALF_BYTES_MAX)?,
            ),
            _ => {
                return Err(TpmError::SignatureAlgorithm {
                    detail: "sigAlg: expected RSASSA, RSAPSS or ECDSA",
                });
            }
        };
        at.finish()?;
        Ok(signature)
    }

    pub(super) fn hash(&self) -> HashAlgorithm {
        match self {
            Self::Rsassa(hash, _) | Self::Rsapss(hash, _) | Self::Ecdsa(hash, ..) => *hash,
        }
    }
}
