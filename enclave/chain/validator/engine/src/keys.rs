//! Keys and signatures as the engine carries them: fixed lengths, cheap to copy.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::BufMut;
use commonware_codec::{Buf, Error, FixedSize, Read, ReadExt, Write};
use commonware_utils::{Array, Span};
use hanzo_attestation::Digest256;
use hanzo_pqc::dsa::{MlDsa65, ParameterSet};

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<[u8]>);

        impl $name {
            /// Of exactly as many bytes as it has.
            pub fn new(bytes: &[u8]) -> Option<Self> {
                (bytes.len() == Self::SIZE).then(|| Self(bytes.into()))
            }
        }

        impl FixedSize for $name {
            const SIZE: usize = $len;
        }

        impl Write for $name {
            fn write(&self, buf: &mut impl BufMut) {
                buf.put_slice(&self.0);
            }
        }

        impl Read for $name {
            type Cfg = ();

            fn read_cfg(buf: &mut impl Buf, _: &()) -> Result<Self, Error> {
                let bytes = <[u8; $len]>::read(buf)?;
                Ok(Self(bytes.as_slice().into()))
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = [u8];

            fn deref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", Digest256::of(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl Span for $name {}
        impl Array for $name {}
    };
}

fixed_bytes!(
    /// A validator's ML-DSA-65 public key, 1952 bytes: how peers know each other. Shown as its SHA-256.
    ValidatorKey,
    MlDsa65::PUBLIC_KEY_LEN
);
fixed_bytes!(
    /// An ML-DSA-65 signature under a vote, 3309 bytes. Shown as its SHA-256.
    VoteSignature,
    MlDsa65::SIGNATURE_LEN
);

impl commonware_cryptography::Signature for VoteSignature {}
impl commonware_cryptography::PublicKey for ValidatorKey {}

impl commonware_cryptography::Verifier for ValidatorKey {
    type Signature = VoteSignature;

    /// Always false: these keys sign votes alone, and [`crate::Scheme`] checks those.
    fn verify(&self, _namespace: &[u8], _message: &[u8], _signature: &VoteSignature) -> bool {
        false
    }
}
