//! Data encryption keys.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{PqcError, random};

/// A 32-byte data encryption key. It lives in one heap allocation that is wiped when dropped; it cannot be copied,
/// printed or serialised by accident.
///
/// ```compile_fail,E0277
/// fn wants_clone<T: Clone>() {}
/// wants_clone::<hanzo_pqc::Dek>();
/// ```
/// ```compile_fail,E0277
/// let dek = hanzo_pqc::Dek::generate().unwrap();
/// println!("{dek:?}");
/// ```
/// ```compile_fail,E0277
/// let dek = hanzo_pqc::Dek::generate().unwrap();
/// println!("{dek}");
/// ```
pub struct Dek(Box<Zeroizing<[u8; 32]>>);

impl Dek {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Draws a new key.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if the random generator fails.
    pub fn generate() -> Result<Self, PqcError> {
        let mut key = Box::new(Zeroizing::new([0u8; 32]));
        random::fill(key.as_mut_slice())?;
        Ok(Self(key))
    }

    /// Takes over key bytes that came out of a wrap or a derivation.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        let mut key = Box::new(Zeroizing::new([0u8; 32]));
        key.copy_from_slice(bytes.as_slice());
        Self(key)
    }

    /// Takes over a key from a slice, as unwrapping yields it.
    ///
    /// # Errors
    /// [`PqcError::Length`] unless there are exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, PqcError> {
        crate::error::length("data key", Self::LEN, bytes.len())?;
        let mut key = Box::new(Zeroizing::new([0u8; 32]));
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }

    /// The key bytes, for the cipher that uses them and nothing else.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares two keys in constant time.
    pub fn same_as(&self, other: &Dek) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}
