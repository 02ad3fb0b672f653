//! The root key.

use hanzo_pqc::{Dek, PqcError, kdf, random};
use zeroize::Zeroizing;

/// What is derived from the root, and nothing else is. Closed: a new use adds a variant with a domain string of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RootPurpose {
    /// Key of the store: SQLCipher pages and sealed columns.
    Store,
    /// Wraps the tenants' KEKs.
    KekWrap,
    /// MAC key over the session challenges of replicas: the same at each of them, and nowhere stored.
    SessionMac,
    /// Public: tells the right root from another one (see [`Root::commitment`]).
    Commitment,
}

impl RootPurpose {
    /// Every purpose.
    pub const ALL: [Self; 4] = [Self::Store, Self::KekWrap, Self::SessionMac, Self::Commitment];

    /// The domain string, `hanzo/<what>/v1`.
    pub const fn domain(self) -> &'static str {
        match self {
            Self::Store => "hanzo/root-store/v1",
            Self::KekWrap => "hanzo/root-kek-wrap/v1",
            Self::SessionMac => "hanzo/root-session-mac/v1",
            Self::Commitment => "hanzo/root-commitment/v1",
        }
    }
}

/// The root: 32 bytes from which, or under which, everything else of a broker stands. One heap allocation, wiped when
/// dropped; it cannot be copied, printed or serialised by accident.
///
/// ```compile_fail,E0277
/// fn wants_clone<T: Clone>() {}
/// wants_clone::<hanzo_vault::Root>();
/// ```
/// ```compile_fail,E0277
/// let root = hanzo_vault::Root::generate().unwrap();
/// println!("{root:?}");
/// ```
pub struct Root(Box<Zeroizing<[u8; 32]>>);

impl Root {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Draws a new root.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if the random generator fails.
    pub fn generate() -> Result<Self, PqcError> {
        let mut root = Self(Box::new(Zeroizing::new([0; 32])));
        random::fill(root.0.as_mut_slice())?;
        Ok(root)
    }

    /// Takes over a root that a provider kept.
    ///
    /// # Errors
    /// [`PqcError::Length`] unless there are exactly 32 bytes; [`PqcError::Encoding`] if they are all zero, as a lost
    /// block or an erased token yields them.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, PqcError> {
        if bytes.len() != Self::LEN {
            return Err(PqcError::Length {
                what: "root key",
                expected: Self::LEN,
                got: bytes.len(),
            });
        }
        if bytes.iter().all(|b| *b == 0) {
            return Err(PqcError::Encoding {
                what: "root key",
                rule: "32 zero bytes are no key",
            });
        }
        let mut root = Self(Box::new(Zeroizing::new([0; 32])));
        root.0.copy_from_slice(bytes);
        Ok(root)
    }

    /// The bytes, for a provider that keeps them and nothing else.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 32-byte key for one purpose: HKDF-SHA-256, empty salt, `info` = the purpose's domain string.
    ///
    /// # Errors
    /// [`PqcError::Backend`].
    pub fn derive(&self, purpose: RootPurpose) -> Result<Dek, PqcError> {
        let mut key = Zeroizing::new([0; 32]);
        kdf::hkdf_sha256(b"", self.expose(), purpose.domain().as_bytes(), key.as_mut())?;
        Ok(Dek::from_bytes(key))
    }

    /// A public value that no other root has. It tells nothing about the root or its other derivations.
    ///
    /// # Errors
    /// [`PqcError::Backend`].
    pub fn commitment(&self) -> Result<[u8; 32], PqcError> {
        Ok(*self.derive(RootPurpose::Commitment)?.expose())
    }
}
