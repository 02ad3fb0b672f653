//! Why a link was not made, or ended.

use hanzo_attestation::Digest256;
use hanzo_ledger::{Address, DecodeError};

/// Errors of links. None of them carries key material or bytes of the peer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket.
    #[error("link: the connection: {0}")]
    Io(#[from] std::io::Error),
    /// TLS.
    #[error("link: {0}")]
    Channel(#[from] hanzo_channel::ChannelError),
    /// TLS, the dialling side.
    #[error("link: TLS: {0} (TLS 1.3 with X25519MLKEM768 is required)")]
    Tls(String),
    /// The peer did not do its part in time.
    #[error("link: {step}: not finished within {limit_ms} ms")]
    Timeout {
        /// What was waited for.
        step: &'static str,
        /// The bound.
        limit_ms: u128,
    },
    /// A message longer than its bound.
    #[error("link: {what}: expected at most {max} bytes, got {got}: refused before any memory was taken")]
    TooLong {
        /// Which.
        what: &'static str,
        /// The bound.
        max: usize,
        /// What its head says.
        got: usize,
    },
    /// A greeting that is none.
    #[error("link: greeting: {0}: the peer speaks another protocol, or another version of this one")]
    Greeting(#[from] DecodeError),
    /// Another chain.
    #[error("link: network: expected {expected}, got {got}: the peer follows another chain")]
    Network {
        /// Ours.
        expected: String,
        /// Its.
        got: String,
    },
    /// This validator itself.
    #[error("link: account {0} is this validator's own: is it running twice, or does a peer's address lead back here?")]
    Itself(Address),
    /// Somebody else than was dialled.
    #[error(
        "link: account: expected {expected} at this address, got {got}: correct the peer's address in validator.toml"
    )]
    OtherAccount {
        /// Who was dialled.
        expected: Address,
        /// Who answered.
        got: Address,
    },
    /// Not a validator.
    #[error("link: account {0} is no validator of this chain")]
    Stranger(Address),
    /// A key that the chain does not have, or has no longer.
    #[error(
        "link: account {account}: incarnation: expected {registered} as the chain has it, or at most 16 more, got {got}"
    )]
    Incarnation {
        /// Whose.
        account: Address,
        /// The chain's.
        registered: u64,
        /// Its.
        got: u64,
    },
    /// The registered incarnation with another key.
    #[error("link: account {account}: consensus key of incarnation {incarnation}: expected {expected}, got {got}")]
    OtherKey {
        /// Whose.
        account: Address,
        /// Which.
        incarnation: u64,
        /// The chain's.
        expected: Digest256,
        /// Its.
        got: Digest256,
    },
    /// The account's owner did not sign for this key and evidence.
    #[error("link: account {account}: the owner's signature for this key and its evidence: {why}")]
    Owner {
        /// Whose.
        account: Address,
        /// What is wrong.
        why: &'static str,
    },
    /// The consensus key did not sign that it is this account's: it is somebody else's, or another number's.
    #[error("link: {0}: its consensus key is not its own: the key's signature of account and number does not verify")]
    Possession(Address),
    /// The evidence.
    #[error("link: evidence: {code}: {why}")]
    Evidence {
        /// Code of the refusal.
        code: &'static str,
        /// The refusal.
        why: String,
    },
    /// Simulated evidence where the network does not allow it.
    #[error("link: evidence: it is a simulator's, and this network's rules (simulated_votes) do not allow that")]
    Simulated,
    /// Too low a tier.
    #[error("link: evidence: tier: expected at least {expected}, as the network's rules say, got {got}")]
    Tier {
        /// The genesis'.
        expected: u8,
        /// Its.
        got: u8,
    },
    /// An old link.
    #[error(
        "link: account {account}: expected a handshake within the last {max_s} s, the last was {got_s} s ago: a fresh one follows"
    )]
    Aged {
        /// Whose.
        account: Address,
        /// The bound.
        max_s: u64,
        /// How long ago.
        got_s: u64,
    },
    /// It broke the protocol before.
    #[error("link: the peer is blocked: it broke the protocol; a new boot of it is heard again")]
    Blocked,
    /// A later connection of the same validator took its place, or its key is over.
    #[error("link: closed: {0}")]
    Closed(&'static str),
}

impl LinkError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "links.io",
            Self::Channel(e) => e.code(),
            Self::Tls(_) => "links.tls",
            Self::Timeout { .. } => "links.timeout",
            Self::TooLong { .. } => "links.too_long",
            Self::Greeting(_) => "links.greeting",
            Self::Network { .. } => "links.network",
            Self::Itself(_) => "links.itself",
            Self::OtherAccount { .. } => "links.other_account",
            Self::Stranger(_) => "links.stranger",
            Self::Incarnation { .. } => "links.incarnation",
            Self::OtherKey { .. } => "links.other_key",
            Self::Owner { .. } => "links.owner",
            Self::Possession(_) => "links.possession",
            Self::Evidence { .. } => "links.evidence",
            Self::Simulated => "links.simulated",
            Self::Tier { .. } => "links.tier",
            Self::Aged { .. } => "links.aged",
            Self::Blocked => "links.blocked",
            Self::Closed(_) => "links.closed",
        }
    }
}
