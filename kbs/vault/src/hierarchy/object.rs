//! Keys of single objects.

use hanzo_pqc::{Dek, kdf};
use zeroize::Zeroizing;

use super::frame;
use crate::VaultError;

const DOMAIN: &str = "hanzo/object-key/v1";
const LABEL_BYTES_MAX: usize = 1024;

/// The key of one object under a data key: HKDF-SHA-256, empty salt, `info` = frame of `hanzo/object-key/v1` and the parts
/// of `label`. The same label always gives the same key; objects that must not share one need labels of their own.
///
/// # Errors
/// [`VaultError::Label`] for an empty label or one above 1 KiB in sum.
pub fn object_key(dek: &Dek, label: &[&[u8]]) -> Result<Dek, VaultError> {
    let got = label.iter().map(|part| part.len()).sum();
    if label.is_empty() || !(1..=LABEL_BYTES_MAX).contains(&got) {
        return Err(VaultError::Label { got });
    }
    let mut key = Zeroizing::new([0; 32]);
    kdf::hkdf_sha256(b"", dek.expose(), &frame(DOMAIN, label), key.as_mut())?;
    Ok(Dek::from_bytes(key))
}
