//! ML-DSA-44, -65 and -87 (FIPS 204), typed by parameter set: pure ML-DSA, empty context, hedged signing, keys from
//! 32-byte seeds. Our own formats go through [`crate::sign`], which adds the domain and the Ed25519 half.

use std::fmt;
use std::marker::PhantomData;

use aws_lc_rs::signature::{
    self as lc, KeyPair, PqdsaKeyPair, PqdsaSigningAlgorithm, PqdsaVerificationAlgorithm, VerificationAlgorithm,
};
use zeroize::Zeroizing;

use crate::error::length;
use crate::{PqcError, random};

/// Length of a key-generation seed xi in bytes, in every set.
pub const SEED_LEN: usize = 32;

mod sealed {
    pub trait Sealed {}
}

/// One of the three parameter sets of FIPS 204. Closed.
pub trait ParameterSet: sealed::Sealed + Sized + 'static {
    /// Name as FIPS 204 writes it.
    const NAME: &'static str;
    /// Length of a public key in bytes.
    const PUBLIC_KEY_LEN: usize;
    /// Length of a signature in bytes.
    const SIGNATURE_LEN: usize;

    #[doc(hidden)]
    fn signing() -> &'static PqdsaSigningAlgorithm;
    #[doc(hidden)]
    fn verification() -> &'static PqdsaVerificationAlgorithm;
}

macro_rules! parameter_set {
    ($(#[$doc:meta])* $name:ident, $text:literal, $verify:ident, $sign:ident, $pk:literal, $sig:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {}

        impl sealed::Sealed for $name {}

        impl ParameterSet for $name {
            const NAME: &'static str = $text;
            const PUBLIC_KEY_LEN: usize = $pk;
            const SIGNATURE_LEN: usize = $sig;

            fn signing() -> &'static PqdsaSigningAlgorithm {
                &lc::$sign
            }

            fn verification() -> &'static PqdsaVerificationAlgorithm {
                &lc::$verify
            }
        }
    };
}

parameter_set!(
    /// ML-DSA-44, category 2. For vectors and comparison; no suite of ours uses it.
    MlDsa44, "ML-DSA-44", ML_DSA_44, ML_DSA_44_SIGNING, 1312, 2420
);
parameter_set!(
    /// ML-DSA-65, category 3: tiers 0 to 2.
    MlDsa65, "ML-DSA-65", ML_DSA_65, ML_DSA_65_SIGNING, 1952, 3309
);
parameter_set!(
    /// ML-DSA-87, category 5: tiers 3 and 4.
    MlDsa87, "ML-DSA-87", ML_DSA_87, ML_DSA_87_SIGNING, 2592, 4627
);

/// A signing key, held by AWS-LC, which wipes it when dropped.
///
/// ```compile_fail,E0277
/// fn wants_clone<T: Clone>() {}
/// wants_clone::<hanzo_pqc::dsa::SigningKey<hanzo_pqc::dsa::MlDsa65>>();
/// ```
pub struct SigningKey<P: ParameterSet> {
    key: PqdsaKeyPair,
    set: PhantomData<P>,
}

impl<P: ParameterSet> SigningKey<P> {
    /// Draws a new key.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if the random generator fails.
    pub fn generate() -> Result<Self, PqcError> {
        let mut seed = Zeroizing::new([0u8; SEED_LEN]);
        random::fill(seed.as_mut_slice())?;
        Self::from_seed(&seed)
    }

    /// Expands the 32-byte seed xi.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if memory runs out.
    pub fn from_seed(seed: &[u8; SEED_LEN]) -> Result<Self, PqcError> {
        let key = PqdsaKeyPair::from_seed(P::signing(), seed).map_err(|_| PqcError::Backend {
            what: "ML-DSA key generation",
        })?;
        Ok(Self { key, set: PhantomData })
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey<P> {
        VerifyingKey {
            bytes: self.key.public_key().as_ref().to_vec(),
            set: PhantomData,
        }
    }

    /// Signs, hedged: two signatures of one message differ.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if the random generator fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PqcError> {
        let mut signature = vec![0u8; P::SIGNATURE_LEN];
        let len = self
            .key
            .sign(message, &mut signature)
            .map_err(|_| PqcError::Backend { what: "ML-DSA signing" })?;
        length("ML-DSA signature", P::SIGNATURE_LEN, len)?;
        Ok(signature)
    }
}

/// A public key. FIPS 204 lets every string of the right length be one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VerifyingKey<P: ParameterSet> {
    bytes: Vec<u8>,
    set: PhantomData<P>,
}

impl<P: ParameterSet> VerifyingKey<P> {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`PqcError::Length`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PqcError> {
        length(P::NAME, P::PUBLIC_KEY_LEN, bytes.len())?;
        Ok(Self {
            bytes: bytes.to_vec(),
            set: PhantomData,
        })
    }

    /// The encoded key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Verifies under the empty context.
    ///
    /// # Errors
    /// [`PqcError::Length`] for a signature of the wrong length, [`PqcError::MlDsa`] for one that does not verify.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), PqcError> {
        length("ML-DSA signature", P::SIGNATURE_LEN, signature.len())?;
        P::verification()
            .verify_sig(&self.bytes, message, signature)
            .map_err(|_| PqcError::MlDsa { set: P::NAME })
    }
}

impl<P: ParameterSet> fmt::Debug for VerifyingKey<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey<{}>({})", P::NAME, hex::encode(&self.bytes))
    }
}
