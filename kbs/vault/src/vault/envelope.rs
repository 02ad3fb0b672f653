//! The one envelope of wrapped KEKs and sealed secrets.
//!
//! # Layout
//! `format (1) || nonce (12) || AES-256-GCM ciphertext || tag (16)`. Format 1 is this one; format 0 with nothing but zero
//! bytes marks what was destroyed on purpose.

use hanzo_pqc::aead::{self, NONCE_LEN, TAG_LEN};
use zeroize::Zeroizing;

use super::{SECRET_BYTES_MAX, VaultError};

const FORMAT: u8 = 1;
/// The byte that destroyed envelopes consist of.
pub(crate) const SHREDDED: u8 = 0;

const LEAST: usize = 1 + NONCE_LEN + TAG_LEN + 1;
const MOST: usize = 1 + NONCE_LEN + TAG_LEN + SECRET_BYTES_MAX;

pub(crate) fn seal(key: &[u8; 32], nonce: &[u8; NONCE_LEN], aad: &[u8], secret: &[u8]) -> Result<Vec<u8>, VaultError> {
    // Room for the tag from the start: the plaintext never stands in a second allocation.
    let mut body = Zeroizing::new(Vec::with_capacity(secret.len() + TAG_LEN));
    body.extend_from_slice(secret);
    aead::seal_in_place(key, nonce, aad, &mut body)?;
    let mut out = Vec::with_capacity(1 + NONCE_LEN + body.len());
    out.push(FORMAT);
    out.extend_from_slice(nonce);
    out.append(&mut body);
    Ok(out)
}

/// An envelope, cut at its bounds.
pub(crate) struct Parts<'a> {
    nonce: &'a [u8; NONCE_LEN],
    body: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) fn split(what: &'static str, sealed: &'a [u8]) -> Result<Self, VaultError> {
        if !(LEAST..=MOST).contains(&sealed.len()) {
            return Err(VaultError::Length {
                what,
                got: sealed.len(),
            });
        }
        match sealed.split_first() {
            Some((&FORMAT, rest)) => {
                let cut = rest.split_first_chunk::<NONCE_LEN>();
                let (nonce, body) = cut.ok_or(VaultError::Length {
                    what,
                    got: sealed.len(),
                })?;
                Ok(Self { nonce, body })
            }
            Some((&SHREDDED, rest)) if rest.iter().all(|b| *b == SHREDDED) => Err(VaultError::Shredded { what }),
            Some((&got, _)) => Err(VaultError::Format { what, got }),
            None => Err(VaultError::Length { what, got: 0 }),
        }
    }

    pub(crate) fn open(&self, key: &[u8; 32], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, hanzo_pqc::PqcError> {
        let mut secret = Zeroizing::new(self.body.to_vec());
        aead::open_in_place(key, self.nonce, aad, &mut secret)?;
        Ok(secret)
    }
}
