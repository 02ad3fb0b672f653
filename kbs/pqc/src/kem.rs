//! ML-KEM-512, -768 and -1024 (FIPS 203), typed by parameter set so that keys of two sets cannot meet.
//!
//! AWS-LC does the arithmetic. Keys from a seed are expanded once, by crate `ml-kem`, because aws-lc-rs imports only
//! the expanded form.

use std::fmt;
use std::marker::PhantomData;

use aws_lc_rs::digest;
use aws_lc_rs::kem as lc;
#[allow(
    deprecated,
    reason = "the expanded form is the only one aws-lc-rs takes; it never leaves this process"
)]
use ml_kem::ExpandedKeyEncoding;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::PqcError;
use crate::error::length;

/// Length of a shared secret in bytes, in every set.
pub const SHARED_SECRET_LEN: usize = 32;
/// Length of a key-generation seed `d || z` in bytes, in every set.
pub const SEED_LEN: usize = 64;
/// The modulus q of FIPS 203.
const Q: u16 = 3329;

mod sealed {
    pub trait Sealed {}
}

/// One of the three parameter sets of FIPS 203. Closed.
pub trait ParameterSet: sealed::Sealed + Sized + 'static {
    /// Name as FIPS 203 writes it.
    const NAME: &'static str;
    /// Length of an encapsulation key in bytes.
    const ENCAPSULATION_KEY_LEN: usize;
    /// Length of an expanded decapsulation key in bytes.
    const DECAPSULATION_KEY_LEN: usize;
    /// Length of a ciphertext in bytes.
    const CIPHERTEXT_LEN: usize;

    #[doc(hidden)]
    fn algorithm() -> &'static lc::Algorithm;

    /// Expands `d || z` into the decapsulation key of FIPS 203 section 7.1.
    #[doc(hidden)]
    fn expand(seed: &[u8; SEED_LEN]) -> Zeroizing<Vec<u8>>;
}

macro_rules! parameter_set {
    ($(#[$doc:meta])* $name:ident, $text:literal, $algorithm:ident, $ek:literal, $dk:literal, $ct:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {}

        impl sealed::Sealed for $name {}

        impl ParameterSet for $name {
            const NAME: &'static str = $text;
            const ENCAPSULATION_KEY_LEN: usize = $ek;
            const DECAPSULATION_KEY_LEN: usize = $dk;
            const CIPHERTEXT_LEN: usize = $ct;

            fn algorithm() -> &'static lc::Algorithm {
                &lc::$algorithm
            }

            fn expand(seed: &[u8; SEED_LEN]) -> Zeroizing<Vec<u8>> {
                let mut array = ml_kem::Seed::from(*seed);
                let key = ml_kem::DecapsulationKey::<ml_kem::$name>::from_seed(array);
                array.as_mut_slice().zeroize();
                #[allow(deprecated, reason = "see the import")]
                let mut expanded = key.to_expanded_bytes();
                let bytes = Zeroizing::new(expanded.as_slice().to_vec());
                expanded.as_mut_slice().zeroize();
                bytes
            }
        }
    };
}

parameter_set!(
    /// ML-KEM-512, category 1. For vectors and comparison; no suite of ours uses it.
    MlKem512, "ML-KEM-512", ML_KEM_512, 800, 1632, 768
);
parameter_set!(
    /// ML-KEM-768, category 3: the post-quantum half of X-Wing.
    MlKem768, "ML-KEM-768", ML_KEM_768, 1184, 2400, 1088
);
parameter_set!(
    /// ML-KEM-1024, category 5: the post-quantum half of MLKEM1024-P384.
    MlKem1024, "ML-KEM-1024", ML_KEM_1024, 1568, 3168, 1568
);

/// A shared secret; wiped when dropped.
pub struct SharedSecret(Box<Zeroizing<[u8; SHARED_SECRET_LEN]>>);

impl SharedSecret {
    fn copy_from(bytes: &[u8]) -> Result<Self, PqcError> {
        length("ML-KEM shared secret", SHARED_SECRET_LEN, bytes.len())?;
        let mut secret = Box::new(Zeroizing::new([0u8; SHARED_SECRET_LEN]));
        secret.copy_from_slice(bytes);
        Ok(Self(secret))
    }

    /// The bytes, for a key derivation and nothing else.
    pub fn expose(&self) -> &[u8; SHARED_SECRET_LEN] {
        &self.0
    }
}

/// A validated encapsulation key.
#[derive(Clone, PartialEq, Eq)]
pub struct EncapsulationKey<P: ParameterSet> {
    bytes: Vec<u8>,
    set: PhantomData<P>,
}

impl<P: ParameterSet> EncapsulationKey<P> {
    /// Reads an encapsulation key and makes the checks of FIPS 203 section 7.2 (type and modulus).
    ///
    /// # Errors
    /// [`PqcError::Length`]; [`PqcError::Encoding`] if a coefficient is not below q.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PqcError> {
        length(P::NAME, P::ENCAPSULATION_KEY_LEN, bytes.len())?;
        check_modulus(P::NAME, polynomials(bytes))?;
        Ok(Self {
            bytes: bytes.to_vec(),
            set: PhantomData,
        })
    }

    /// The encoded key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes a ciphertext and the secret in it, with fresh randomness.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if the random generator fails.
    pub fn encapsulate(&self) -> Result<(Vec<u8>, SharedSecret), PqcError> {
        encapsulate::<P>(&self.bytes)
    }
}

impl<P: ParameterSet> fmt::Debug for EncapsulationKey<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncapsulationKey<{}>({})", P::NAME, hex::encode(&self.bytes))
    }
}

/// Encapsulates to a key that was validated before.
pub(crate) fn encapsulate<P: ParameterSet>(key: &[u8]) -> Result<(Vec<u8>, SharedSecret), PqcError> {
    let failed = || PqcError::Backend {
        what: "ML-KEM encapsulation",
    };
    let key = lc::EncapsulationKey::new(P::algorithm(), key).map_err(|_| failed())?;
    let (ciphertext, secret) = key.encapsulate().map_err(|_| failed())?;
    Ok((ciphertext.as_ref().to_vec(), SharedSecret::copy_from(secret.as_ref())?))
}

/// A decapsulation key, held by AWS-LC, which wipes it when dropped.
///
/// ```compile_fail,E0277
/// fn wants_clone<T: Clone>() {}
/// wants_clone::<hanzo_pqc::kem::DecapsulationKey<hanzo_pqc::kem::MlKem768>>();
/// ```
pub struct DecapsulationKey<P: ParameterSet> {
    key: lc::DecapsulationKey,
    public: EncapsulationKey<P>,
}

impl<P: ParameterSet> DecapsulationKey<P> {
    /// Draws a new key inside AWS-LC.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if the random generator fails.
    pub fn generate() -> Result<Self, PqcError> {
        let failed = || PqcError::Backend {
            what: "ML-KEM key generation",
        };
        let key = lc::DecapsulationKey::generate(P::algorithm()).map_err(|_| failed())?;
        let public = key
            .encapsulation_key()
            .and_then(|k| k.key_bytes())
            .map_err(|_| failed())?;
        let public = EncapsulationKey {
            bytes: public.as_ref().to_vec(),
            set: PhantomData,
        };
        Ok(Self { key, public })
    }

    /// Expands the 64-byte seed `d || z`.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if memory runs out.
    pub fn from_seed(seed: &[u8; SEED_LEN]) -> Result<Self, PqcError> {
        Self::import(&P::expand(seed))
    }

    /// Reads an expanded key from elsewhere and makes the checks of FIPS 203 section 7.3 (type and hash), and the
    /// modulus checks of both halves. Our own formats carry seeds alone.
    ///
    /// # Errors
    /// [`PqcError::Length`]; [`PqcError::Encoding`] if a coefficient or the stored hash is wrong.
    pub fn from_expanded(bytes: &[u8]) -> Result<Self, PqcError> {
        length(P::NAME, P::DECAPSULATION_KEY_LEN, bytes.len())?;
        let (secret, public, hash, _) = split_expanded::<P>(bytes)?;
        check_modulus(P::NAME, secret)?;
        check_modulus(P::NAME, polynomials(public))?;
        if !bool::from(digest::digest(&digest::SHA3_256, public).as_ref().ct_eq(hash)) {
            return Err(PqcError::Encoding {
                what: P::NAME,
                rule: "stored hash = H(ek)",
            });
        }
        Self::import(bytes)
    }

    fn import(expanded: &[u8]) -> Result<Self, PqcError> {
        let (_, public, _, _) = split_expanded::<P>(expanded)?;
        let public = EncapsulationKey {
            bytes: public.to_vec(),
            set: PhantomData,
        };
        let key = lc::DecapsulationKey::new(P::algorithm(), expanded).map_err(|_| PqcError::Backend {
            what: "ML-KEM key import",
        })?;
        Ok(Self { key, public })
    }

    /// The public half.
    pub fn encapsulation_key(&self) -> &EncapsulationKey<P> {
        &self.public
    }

    /// Opens a ciphertext. A ciphertext that was tampered with yields another, pseudo-random secret (FIPS 203 implicit
    /// rejection), not an error: whoever uses the secret finds out.
    ///
    /// # Errors
    /// [`PqcError::Length`].
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<SharedSecret, PqcError> {
        length("ML-KEM ciphertext", P::CIPHERTEXT_LEN, ciphertext.len())?;
        let secret = self
            .key
            .decapsulate(lc::Ciphertext::from(ciphertext))
            .map_err(|_| PqcError::Backend {
                what: "ML-KEM decapsulation",
            })?;
        SharedSecret::copy_from(secret.as_ref())
    }
}

/// Splits an expanded key into `dk_PKE || ek || H(ek) || z`.
#[allow(clippy::type_complexity, reason = "four slices, named where they are used")]
fn split_expanded<P: ParameterSet>(bytes: &[u8]) -> Result<(&[u8], &[u8], &[u8], &[u8]), PqcError> {
    let cut = || PqcError::Length {
        what: P::NAME,
        expected: P::DECAPSULATION_KEY_LEN,
        got: bytes.len(),
    };
    let secret_len = P::ENCAPSULATION_KEY_LEN - 32;
    let (secret, rest) = bytes.split_at_checked(secret_len).ok_or_else(cut)?;
    let (public, rest) = rest.split_at_checked(P::ENCAPSULATION_KEY_LEN).ok_or_else(cut)?;
    let (hash, z) = rest.split_at_checked(32).ok_or_else(cut)?;
    Ok((secret, public, hash, z))
}

/// The packed polynomials of an encapsulation key: everything but the 32-byte rho at its end.
fn polynomials(key: &[u8]) -> &[u8] {
    key.split_last_chunk::<32>().map_or(key, |(head, _)| head)
}

/// FIPS 203 section 7.2, modulus check: every 12-bit coefficient is below q. No early exit, so that it may run over
/// secret polynomials too.
fn check_modulus(what: &'static str, packed: &[u8]) -> Result<(), PqcError> {
    let mut too_large = 0u16;
    for chunk in packed.as_chunks::<3>().0 {
        let [a, b, c] = chunk.map(u16::from);
        let (first, second) = (a | ((b & 0x0f) << 8), (b >> 4) | (c << 4));
        too_large |= (Q - 1).wrapping_sub(first) >> 15;
        too_large |= (Q - 1).wrapping_sub(second) >> 15;
    }
    if too_large == 0 {
        Ok(())
    } else {
        Err(PqcError::Encoding {
            what,
            rule: "coefficients below q = 3329",
        })
    }
}
