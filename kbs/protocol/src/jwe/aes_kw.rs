//! AES key wrap (RFC 3394) of 32-byte keys: AES-256 by AWS-LC, AES-192, which AWS-LC's interface leaves out, by crate `aes-kw`.

use aes_kw::{KeyInit as _, KwAes192};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use zeroize::Zeroizing;

use super::JweError;

/// Length of a wrapped 32-byte key.
pub const WRAPPED_LEN: usize = 40;

const BACKEND: JweError = JweError::Backend { what: "AES key wrap" };

/// Wraps with AES-256.
///
/// # Errors
/// [`JweError::Backend`].
pub fn wrap_256(kek: &[u8; 32], key: &[u8; 32]) -> Result<[u8; WRAPPED_LEN], JweError> {
    let kek = AesKek::new(&AES_256, kek).map_err(|_| BACKEND)?;
    let mut out = [0; WRAPPED_LEN];
    kek.wrap(key, &mut out).map_err(|_| BACKEND)?;
    Ok(out)
}

/// Unwraps with AES-256.
///
/// # Errors
/// [`JweError::Open`].
pub fn unwrap_256(kek: &[u8; 32], wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, JweError> {
    if wrapped.len() != WRAPPED_LEN {
        return Err(JweError::Open);
    }
    let kek = AesKek::new(&AES_256, kek).map_err(|_| BACKEND)?;
    // The backend wants room for the integrity block as well.
    let mut out = Zeroizing::new([0; WRAPPED_LEN]);
    let key = kek.unwrap(wrapped, out.as_mut_slice()).map_err(|_| JweError::Open)?;
    super::cek_of(key)
}

/// Wraps with AES-192.
///
/// # Errors
/// [`JweError::Backend`].
pub fn wrap_192(kek: &[u8; 24], key: &[u8; 32]) -> Result<[u8; WRAPPED_LEN], JweError> {
    let mut out = [0; WRAPPED_LEN];
    KwAes192::new(kek.into()).wrap_key(key, &mut out).map_err(|_| BACKEND)?;
    Ok(out)
}

/// Unwraps with AES-192.
///
/// # Errors
/// [`JweError::Open`].
pub fn unwrap_192(kek: &[u8; 24], wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, JweError> {
    if wrapped.len() != WRAPPED_LEN {
        return Err(JweError::Open);
    }
    let mut out = Zeroizing::new([0; 32]);
    KwAes192::new(kek.into())
        .unwrap_key(wrapped, out.as_mut_slice())
        .map_err(|_| JweError::Open)?;
    Ok(out)
}
