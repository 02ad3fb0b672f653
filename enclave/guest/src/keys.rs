//! The keys of one boot. They exist in this process's memory alone and end with it.

use hanzo_attestation::config::SealedMessages;
use hanzo_channel::{ChannelError, ChannelKey, TlsIdentity};
use hanzo_device::{DeviceError, entropy::mixed_seed};
use hanzo_pqc::hpke::PrivateKey;
use hanzo_pqc::sign::SigningKeys;
use hanzo_pqc::{PqcError, suites_for_tier};

use crate::sealed::MessageKeys;

/// Why a key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No entropy that the host cannot choose.
    #[error(transparent)]
    Entropy(#[from] DeviceError),
    /// The library refused a seed.
    #[error("boot keys: {0}")]
    Pqc(#[from] PqcError),
    /// TLS or channel key.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

impl KeyError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Entropy(e) => e.code(),
            Self::Pqc(_) => "keys.refused",
            Self::Channel(e) => e.code(),
        }
    }
}

/// All private keys of one boot.
pub struct BootKeys {
    /// For grants alone.
    pub wrapping: PrivateKey,
    /// For channel proofs alone.
    pub channel: ChannelKey,
    /// For receipts alone.
    pub receipts: SigningKeys,
    /// For TLS handshakes alone.
    pub tls: TlsIdentity,
    /// For sealed messages, each for one protocol alone.
    pub messages: MessageKeys,
}

impl BootKeys {
    /// Makes them, with the suites of the tier that the configuration requires. Every seed mixes RDSEED in. Message keys get other
    /// identifiers than those `taken` by the keyset before.
    ///
    /// # Errors
    /// [`KeyError`]; without RDSEED the boot fails.
    pub fn generate(required_tier: u8, sealed: SealedMessages, taken: &[u8]) -> Result<Self, KeyError> {
        let (_, signature) = suites_for_tier(required_tier);
        Ok(Self {
            wrapping: wrapping_key(required_tier)?,
            channel: ChannelKey::from_seed(&*mixed_seed::<32>()?)?,
            receipts: SigningKeys::from_seed(signature, &*mixed_seed::<64>()?)?,
            tls: TlsIdentity::from_seed(&*mixed_seed::<32>()?)?,
            messages: MessageKeys::generate(required_tier, sealed, taken)?,
        })
    }
}

/// A key of this boot under which a broker wraps what it grants, of the suite of this tier; RDSEED is mixed into its seed.
///
/// # Errors
/// [`KeyError::Entropy`], [`KeyError::Pqc`].
pub fn wrapping_key(required_tier: u8) -> Result<PrivateKey, KeyError> {
    let (kem, _) = suites_for_tier(required_tier);
    Ok(PrivateKey::from_seed(kem, &*mixed_seed::<32>()?)?)
}
