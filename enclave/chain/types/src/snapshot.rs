//! A final state from somebody else, believed for the certificate over its root alone.
//!
//! Whoever comes late asks for an [`Offer`], follows the committees up to its certificate ([`LightClient`]), takes the parts of the state
//! one by one in an [`Assembly`], each of which leads to the certified root or is refused, and has a [`Snapshot`] at the end.

use std::collections::{BTreeMap, BTreeSet};

use hanzo_attestation::Digest256;
use hanzo_ledger::snapshot::{PartError, Plan, STATE_BYTES_MAX};
use hanzo_ledger::{Canonical, DecodeError, Genesis, Header, Key, List, Reader, RestoreError, State, Value};

use crate::certificate::{FinalHeader, FinalityCertificate};
use crate::light::{HEADERS_MAX, LightClient, LightError};

const VERSION: u8 = 1;
/// Longest offer in bytes.
pub const OFFER_BYTES_MAX: usize = 1 << 20;

/// What a node can hand out. Nobody checked it yet.
///
/// # Layout
/// Version 1; finality certificate; headers (u16 count, at most 1,024) from the snapshot's block to the certified one's parent, none if
/// that is the snapshot's; plan of the parts of the state after that block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Of the snapshot's block or a later one.
    pub certificate: FinalityCertificate,
    /// From the one to the other.
    pub headers: List<Header, HEADERS_MAX>,
    /// Parts of the state.
    pub plan: Plan,
}

impl Canonical for Offer {
    fn write(&self, out: &mut Vec<u8>) {
        VERSION.write(out);
        self.certificate.write(out);
        self.headers.write(out);
        self.plan.write(out);
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        let got = u8::read(from, "Offer.version")?;
        if got != VERSION {
            return Err(DecodeError::Tag {
                what: "Offer.version",
                expected: "1",
                got,
            });
        }
        Ok(Self {
            certificate: Canonical::read(from, "Offer.certificate")?,
            headers: Canonical::read(from, "Offer.headers")?,
            plan: Canonical::read(from, "Offer.plan")?,
        })
    }
}

impl Offer {
    /// Reads one offer and nothing after it.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes("offer", bytes, OFFER_BYTES_MAX)
    }

    /// The block whose state it says it is of.
    pub fn header(&self) -> &Header {
        self.headers.first().unwrap_or(&self.certificate.header)
    }
}

/// Why a snapshot is not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Its block is not final, as far as is known here.
    #[error(transparent)]
    Light(#[from] LightError),
    /// A part, or the plan of them.
    #[error(transparent)]
    Part(#[from] PartError),
    /// More than a state may have.
    #[error("snapshot: expected at most {max} bytes of a state, got more")]
    TooLong {
        /// The bound.
        max: u64,
    },
    /// Parts are missing.
    #[error("snapshot: {left} parts are missing")]
    Missing {
        /// How many.
        left: usize,
    },
    /// All parts are there, and they are no state.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

impl SnapshotError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Light(e) => e.code(),
            Self::Part(e) => e.code(),
            Self::TooLong { .. } => "chain.snapshot.too_long",
            Self::Missing { .. } => "chain.snapshot.missing",
            Self::Restore(_) => "chain.snapshot.restore",
        }
    }
}

/// A final state, part by part. It is in memory alone until it is whole.
pub struct Assembly {
    certificate: FinalityCertificate,
    header: FinalHeader,
    plan: Plan,
    digest: Digest256,
    missing: BTreeSet<u16>,
    entries: BTreeMap<Key, Value>,
    bytes: u64,
}

impl Assembly {
    /// Begins with an offer whose certificate is of an epoch that `client` knows.
    ///
    /// # Establishes
    /// The block is final on the client's chain, and parts that lead to the plan's roots are the state after it.
    ///
    /// # Errors
    /// [`SnapshotError::Light`], [`SnapshotError::Part`].
    pub fn begin(offer: Offer, client: &LightClient) -> Result<Self, SnapshotError> {
        let certified = client.finality(&offer.certificate)?;
        let header = certified.ancestor(&offer.headers).map_err(LightError::from)?;
        offer.plan.verify(&header.header().state_root)?;
        let missing = (0_u16..).take(offer.plan.parts().len()).collect();
        Ok(Self {
            certificate: offer.certificate,
            header,
            digest: offer.plan.digest(),
            plan: offer.plan,
            missing,
            entries: BTreeMap::new(),
            bytes: 0,
        })
    }

    /// The block.
    pub fn header(&self) -> &Header {
        self.header.header()
    }

    /// Id of the block.
    pub fn id(&self) -> Digest256 {
        self.header().id()
    }

    /// What names its parts ([`Plan::digest`]).
    pub fn plan(&self) -> Digest256 {
        self.digest
    }

    /// The next part that is missing; none if it is whole.
    pub fn next(&self) -> Option<u16> {
        self.missing.first().copied()
    }

    /// How many parts are missing.
    pub fn left(&self) -> usize {
        self.missing.len()
    }

    /// Takes a part; one that is there already changes nothing.
    ///
    /// # Errors
    /// [`SnapshotError::Part`], [`SnapshotError::TooLong`]: nothing of it is kept.
    pub fn take(&mut self, part: u16, bytes: &[u8]) -> Result<(), SnapshotError> {
        let entries = self.plan.read(part, bytes)?;
        if !self.missing.contains(&part) {
            return Ok(());
        }
        let all = self.bytes.saturating_add(bytes.len() as u64);
        if all > STATE_BYTES_MAX {
            return Err(SnapshotError::TooLong { max: STATE_BYTES_MAX });
        }
        self.bytes = all;
        self.missing.remove(&part);
        self.entries.extend(entries);
        Ok(())
    }

    /// The state, once all parts are there.
    ///
    /// # Errors
    /// [`SnapshotError::Missing`], [`SnapshotError::Restore`].
    pub fn finish(self, genesis: Genesis) -> Result<Snapshot, SnapshotError> {
        let left = self.missing.len();
        if left > 0 {
            return Err(SnapshotError::Missing { left });
        }
        let header = *self.header.header();
        let state = State::restore(genesis, header.id(), &header.state_root, self.entries)?;
        Ok(Snapshot {
            header,
            certificate: self.certificate,
            state,
        })
    }
}

/// A final state: only [`Assembly::finish`] makes one.
///
/// # Establishes
/// A committee that follows from the client's by certificates finalized this block, the state has exactly the root that the block names,
/// and all the money there may be.
///
/// ```compile_fail
/// # fn made(header: hanzo_ledger::Header, certificate: hanzo_chain_types::FinalityCertificate, state: hanzo_ledger::State) {
/// let forged = hanzo_chain_types::Snapshot { header, certificate, state };
/// # }
/// ```
pub struct Snapshot {
    header: Header,
    certificate: FinalityCertificate,
    state: State,
}

impl Snapshot {
    /// The block.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Of that block or a later one.
    pub fn certificate(&self) -> &FinalityCertificate {
        &self.certificate
    }

    /// The state after the block.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The block, its certificate or a later one's, and the state.
    pub fn into_parts(self) -> (Header, FinalityCertificate, State) {
        (self.header, self.certificate, self.state)
    }
}
