//! Which head of a journal is the newest: asked before a signer opens, told before a signature leaves.
//!
//! A source that cannot be reached, knows no head or knows another one means that nothing is signed. None of them takes a missing
//! head for a new beginning: [`crate::Signer::create`] is the one call that begins, and it wants to see that nothing was there.

mod broker;
mod ephemeral;
mod quorum;
mod tpm;

use aws_lc_rs::digest;

pub use broker::{HeadExchange, KbsCounter};
pub use ephemeral::Ephemeral;
pub use quorum::{Peer, PeerAnswer, PeerQuestion, PeerQuorum, PeerRegister, PeerStep};
pub use tpm::{NvExtend, TpmNv};

/// How many records a journal has, and the chain hash of the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of records.
    pub count: u64,
    /// Chain hash of the last record; SHA-256 of nothing for an empty journal, as the key broker has it.
    pub hash: [u8; 32],
}

impl Head {
    /// Of a journal that was never begun.
    pub const EMPTY: Self = Self {
        count: 0,
        hash: [
            0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
            0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
        ],
    };

    /// Whether [`Head::EMPTY`] is what its documentation says.
    pub fn empty_is_the_digest_of_nothing() -> bool {
        Self::EMPTY.hash.as_slice() == digest::digest(&digest::SHA256, b"").as_ref()
    }
}

/// Why freshness is not established.
#[derive(Debug, thiserror::Error)]
pub enum FreshnessError {
    /// No answer.
    #[error("{via}: no usable answer: {cause}: nothing is signed until it answers")]
    Unreachable {
        /// The source.
        via: &'static str,
        /// What went wrong.
        cause: String,
    },
    /// It knows no head of this key.
    #[error(
        "{via}: it holds no head for this key: its state was lost, or the key was never enrolled. Nothing is signed; enrol a new key"
    )]
    Missing {
        /// The source.
        via: &'static str,
    },
    /// The head moved without this signer.
    #[error(
        "{via}: the head has {held} records, this signer comes from {from}: another signer has this key. Stop one of them"
    )]
    Moved {
        /// The source.
        via: &'static str,
        /// Records of the head that is held.
        held: u64,
        /// Records of the head that this signer moves.
        from: u64,
    },
    /// A newer incarnation took over.
    #[error(
        "{via}: fenced: the peers serve incarnation {newest}, this signer asks as {own}: ask with a new incarnation"
    )]
    Fenced {
        /// The source.
        via: &'static str,
        /// The newer one.
        newest: u64,
        /// This one.
        own: u64,
    },
    /// It cannot be used as it was set up.
    #[error("{via}: {rule}")]
    Setup {
        /// The source.
        via: &'static str,
        /// What is wrong.
        rule: &'static str,
    },
    /// What it holds is not what this signer's note says.
    #[error(
        "{via}: the index holds a value that its note does not explain: the disk or the TPM was put back to an older state, the TPM was cleared, or another signer has this key. Nothing is signed; put the newest note and journal back, or enrol a new key"
    )]
    Unexplained {
        /// The source.
        via: &'static str,
    },
}

impl FreshnessError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "signer.freshness.unreachable",
            Self::Missing { .. } => "signer.freshness.missing",
            Self::Moved { .. } => "signer.freshness.moved",
            Self::Fenced { .. } => "signer.freshness.fenced",
            Self::Setup { .. } => "signer.freshness.setup",
            Self::Unexplained { .. } => "signer.freshness.unexplained",
        }
    }
}

/// Holds the newest head of one key's journal, out of reach of whoever can change the journal.
pub trait FreshnessSource: Send {
    /// The newest head that was confirmed; [`Head::EMPTY`] only if it is certain that there never was one.
    ///
    /// # Errors
    /// [`FreshnessError`]: then nobody knows, and nothing is signed.
    fn newest(&mut self) -> Result<Head, FreshnessError>;

    /// Moves the head from `from`, which must be where it is, to `to`.
    ///
    /// # Errors
    /// [`FreshnessError`]: then the head may or may not have moved.
    fn advance(&mut self, from: Head, to: Head) -> Result<(), FreshnessError>;
}

impl<F: FreshnessSource + ?Sized> FreshnessSource for Box<F> {
    fn newest(&mut self) -> Result<Head, FreshnessError> {
        (**self).newest()
    }

    fn advance(&mut self, from: Head, to: Head) -> Result<(), FreshnessError> {
        (**self).advance(from, to)
    }
}
