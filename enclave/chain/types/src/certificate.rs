//! The proof that a block is final: a quorum's second votes under its header.

use hanzo_ledger::{Canonical, DecodeError, Header, MlDsaSignature, Network, Reader};
use hanzo_pqc::PqcError;

use crate::quorum::COMMITTEE_MAX;
use crate::set::ValidatorSet;
use crate::vote::{AIChainVote, Proposal};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 41 + 8 + 32 + 8 + 32 + 32 + 32;

/// Longest certificate in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 1 + HEADER_BYTES + 3 * 8 + 8 + COMMITTEE_MAX * 3309;

/// A header and the votes that finalize it. Nobody checked them yet: [`verify_finality`] does.
///
/// # Layout
/// Version 1, header 185, epoch 8, view 8, parent view 8, signers 8, then a signature of 3309 bytes for each signer, in the
/// order of the set. Bit i of `signers`, counted from the lowest, is validator i of the set. Big endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalityCertificate {
    /// The block.
    pub header: Header,
    /// Epoch of the validator set.
    pub epoch: u64,
    /// View that finalized it.
    pub view: u64,
    /// View of its parent; 0: none.
    pub parent: u64,
    signers: u64,
    signatures: Vec<MlDsaSignature>,
}

impl Canonical for FinalityCertificate {
    fn write(&self, out: &mut Vec<u8>) {
        VERSION.write(out);
        self.header.write(out);
        for number in [self.epoch, self.view, self.parent, self.signers] {
            number.write(out);
        }
        self.signatures.iter().for_each(|signature| signature.write(out));
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        let version = u8::read(from, "FinalityCertificate.version")?;
        if version != VERSION {
            return Err(DecodeError::Tag {
                what: "FinalityCertificate.version",
                expected: "1",
                got: version,
            });
        }
        let header = Header::read(from, "FinalityCertificate.header")?;
        let epoch = u64::read(from, "FinalityCertificate.epoch")?;
        let view = u64::read(from, "FinalityCertificate.view")?;
        let parent = u64::read(from, "FinalityCertificate.parent")?;
        let signers = u64::read(from, "FinalityCertificate.signers")?;
        let got = signers.count_ones() as usize;
        if got > COMMITTEE_MAX {
            return Err(DecodeError::TooLong {
                what: "FinalityCertificate.signers",
                max: COMMITTEE_MAX,
                got,
            });
        }
        let mut signatures = Vec::new();
        for _ in 0..got {
            signatures.push(Canonical::read(from, "FinalityCertificate.signatures")?);
        }
        Ok(Self {
            header,
            epoch,
            view,
            parent,
            signers,
            signatures,
        })
    }
}

impl FinalityCertificate {
    /// Of votes, by place in the set; the signatures are not checked here.
    ///
    /// # Errors
    /// [`FinalityError::Signers`] unless the places are ascending and below [`COMMITTEE_MAX`].
    pub fn new(
        header: Header,
        (epoch, view, parent): (u64, u64, u64),
        votes: impl IntoIterator<Item = (usize, MlDsaSignature)>,
    ) -> Result<Self, FinalityError> {
        let (mut signers, mut signatures) = (0_u64, Vec::new());
        for (at, signature) in votes {
            let bit = u32::try_from(at).ok().and_then(|at| 1_u64.checked_shl(at)).unwrap_or(0);
            if at >= COMMITTEE_MAX || bit <= signers {
                return Err(FinalityError::Signers { at, n: COMMITTEE_MAX });
            }
            signers |= bit;
            signatures.push(signature);
        }
        Ok(Self {
            header,
            epoch,
            view,
            parent,
            signers,
            signatures,
        })
    }

    /// Reads one certificate and nothing after it.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes("finality certificate", bytes, CERTIFICATE_BYTES_MAX)
    }

    /// The vote that its signers cast.
    pub fn vote(&self) -> AIChainVote {
        AIChainVote::Finalize(Proposal {
            epoch: self.epoch,
            view: self.view,
            parent: self.parent,
            block: self.header.id(),
        })
    }

    /// Places of the signers in the set, ascending, each with its signature.
    pub fn signatures(&self) -> impl Iterator<Item = (usize, &MlDsaSignature)> {
        let places = (0..64).filter(|at| self.signers.checked_shr(*at).unwrap_or(0) & 1 == 1);
        places.map(|at| at as usize).zip(&self.signatures)
    }
}

/// Why a block is not shown to be final.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FinalityError {
    /// The bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Another chain's.
    #[error("finality: network: expected {expected}, got {got}: this is another chain's block")]
    Network {
        /// The caller's.
        expected: Network,
        /// The header's.
        got: Network,
    },
    /// Another committee's.
    #[error(
        "finality: epoch: the validator set is of epoch {expected}, the certificate of {got}: take that epoch's set"
    )]
    Epoch {
        /// The set's.
        expected: u64,
        /// The certificate's.
        got: u64,
    },
    /// A view that is not after its parent's.
    #[error("finality: view {view}: expected one after its parent's, {parent}")]
    View {
        /// The block's.
        view: u64,
        /// Its parent's.
        parent: u64,
    },
    /// Somebody who is not in the set.
    #[error("finality: signer {at}: expected places below {n}, ascending")]
    Signers {
        /// Which place.
        at: usize,
        /// Members of the set.
        n: usize,
    },
    /// Too few.
    #[error("finality: votes: expected at least {quorum}, got {got}: the block is not final by this certificate")]
    Quorum {
        /// Needed.
        quorum: usize,
        /// There.
        got: usize,
    },
    /// A signature.
    #[error("finality: the vote of validator {at} does not verify: {cause}")]
    Signature {
        /// Whose place.
        at: usize,
        /// Why.
        cause: PqcError,
    },
    /// Headers that do not lead to the final one.
    #[error(
        "finality: header {at} is not the parent of the one after it: these headers do not lead to the final block"
    )]
    Ancestor {
        /// Which, from 0.
        at: usize,
    },
}

impl FinalityError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decode(e) => e.code(),
            Self::Network { .. } => "chain.finality.network",
            Self::Epoch { .. } => "chain.finality.epoch",
            Self::View { .. } => "chain.finality.view",
            Self::Signers { .. } => "chain.finality.signers",
            Self::Quorum { .. } => "chain.finality.quorum",
            Self::Signature { .. } => "chain.finality.signature",
            Self::Ancestor { .. } => "chain.finality.ancestor",
        }
    }
}

/// The header of a block that is final. [`verify_finality`] alone makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinalHeader {
    header: Header,
}

impl FinalHeader {
    /// What it says. Its `state_root` is what proofs of entries are held against.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The header of a block before it. `headers` ascend from that block's to this one's parent, without gaps.
    ///
    /// # Establishes
    /// The first of `headers` is an ancestor, so it is final too.
    ///
    /// # Errors
    /// [`FinalityError::Ancestor`].
    pub fn ancestor(&self, headers: &[Header]) -> Result<FinalHeader, FinalityError> {
        let mut child = self.header;
        for (at, header) in headers.iter().enumerate().rev() {
            if header.id() != child.parent || header.network != child.network {
                return Err(FinalityError::Ancestor { at });
            }
            child = *header;
        }
        Ok(Self { header: child })
    }
}

/// Whether a quorum of `set` finalized the header in `certificate` on `network`.
///
/// # Establishes
/// At least a quorum of the set's keys signed the second vote for exactly this block, in this epoch, on this network. With at most
/// floor((n - 1) / 3) faulty validators no other block of its height can be final.
///
/// # Does not establish
/// That `set` is the chain's set of this epoch; that this is the newest block.
///
/// # Errors
/// [`FinalityError`].
pub fn verify_finality(
    network: &Network,
    set: &ValidatorSet,
    certificate: &FinalityCertificate,
) -> Result<FinalHeader, FinalityError> {
    let header = certificate.header;
    if header.network != *network {
        return Err(FinalityError::Network {
            expected: *network,
            got: header.network,
        });
    }
    if certificate.epoch != set.epoch() {
        return Err(FinalityError::Epoch {
            expected: set.epoch(),
            got: certificate.epoch,
        });
    }
    let (view, parent) = (certificate.view, certificate.parent);
    if view <= parent {
        return Err(FinalityError::View { view, parent });
    }
    let n = set.validators().len();
    if let Some((at, _)) = certificate.signatures().find(|(at, _)| *at >= n) {
        return Err(FinalityError::Signers { at, n });
    }
    let (quorum, got) = (set.quorum(), certificate.signatures().count());
    if got < quorum {
        return Err(FinalityError::Quorum { quorum, got });
    }
    let vote = certificate.vote();
    for (at, signature) in certificate.signatures() {
        let validator = set.validators().get(at).ok_or(FinalityError::Signers { at, n })?;
        vote.verify(network, &validator.key, signature)
            .map_err(|cause| FinalityError::Signature { at, cause })?;
    }
    Ok(FinalHeader { header })
}
