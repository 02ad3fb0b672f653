//! Which chain: a kind, a number and a genesis, because numbers alone are used by more than one kind of chain.

use hanzo_attestation::Digest256;
use hanzo_pqc::Domain;
use hanzo_pqc::dsa::{MlDsa65, ParameterSet, VerifyingKey};

use crate::Reject;
use crate::codec::{Canonical, DecodeError, Fixed, Reader, canonical};

/// The AI chain's main network.
pub const MAINNET: u64 = 36_963;
/// Its test network.
pub const TESTNET: u64 = 36_964;

/// An ML-DSA-65 public key (FIPS 204), 1952 bytes.
pub type PublicKey = Fixed<{ MlDsa65::PUBLIC_KEY_LEN }>;
/// An ML-DSA-65 signature, 3309 bytes.
pub type MlDsaSignature = Fixed<{ MlDsa65::SIGNATURE_LEN }>;

/// What kind of chain a number is of. Closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetworkKind {
    /// This ledger.
    AiChain,
}

impl Canonical for NetworkKind {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(1);
    }

    fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        match u8::read(from, what)? {
            1 => Ok(Self::AiChain),
            got => Err(DecodeError::Tag {
                what,
                expected: "1 (AI chain)",
                got,
            }),
        }
    }
}

/// One chain. Everything that is signed names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// Its kind.
    pub kind: NetworkKind,
    /// Its number.
    pub id: u64,
    /// Digest of its genesis: two chains may have one number.
    pub genesis: Digest256,
}
canonical!(Network { kind, id, genesis });

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AI chain {} of genesis {}", self.id, self.genesis)
    }
}

/// An account: SHA-256 over the byte 65 and an ML-DSA-65 public key, as the signer digests keys. Written as 0x and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 32]);

impl Address {
    /// Of a public key.
    pub fn of(key: &PublicKey) -> Self {
        let mut bytes = Vec::with_capacity(key.len().saturating_add(1));
        bytes.push(65);
        bytes.extend_from_slice(key);
        Self(Digest256::of(&bytes).0)
    }

    /// Reads exactly `0x` and 64 lower-case hex digits.
    pub fn from_text(text: &str) -> Option<Self> {
        Digest256::from_hex(text.strip_prefix("0x")?).map(|d| Self(d.0))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{}", Digest256(self.0))
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Canonical for Address {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        Ok(Self(from.array(what)?))
    }
}

/// What is signed about `statement` on `network`: the network, then the statement. The signer puts the domain before it
/// ([`Domain::signed_bytes`]).
pub fn message(network: &Network, statement: &impl Canonical) -> Vec<u8> {
    let mut out = network.to_bytes();
    statement.write(&mut out);
    out
}

/// Checks an ML-DSA-65 signature under `domain`.
///
/// # Errors
/// [`Reject::Signature`] naming `what`.
pub(crate) fn verify(
    what: &'static str,
    key: &PublicKey,
    domain: Domain,
    message: &[u8],
    signature: &MlDsaSignature,
) -> Result<(), Reject> {
    VerifyingKey::<MlDsa65>::from_bytes(key)
        .and_then(|key| key.verify(&domain.signed_bytes(message), signature))
        .map_err(|_| Reject::Signature { what })
}
