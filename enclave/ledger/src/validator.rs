//! Validators: what a committee is, what shows that a consensus key may vote, and what shows that it voted for two things at once.

use hanzo_attestation::Digest256;
use hanzo_pqc::Domain;

use crate::codec::{Canonical, canonical, variants};
use crate::network::{Address, MlDsaSignature, Network, PublicKey};
use crate::tx::Endorsement;
use crate::{List, Reject};

/// Members of the largest committee.
pub const COMMITTEE_MAX: usize = 42;
/// Members of the smallest: three and fewer bear no fault.
pub const COMMITTEE_MIN: usize = 4;
/// Epochs from the one in which a key is registered to the first in which it votes: the committee of an epoch is fixed with the first
/// block of the epoch before.
pub const KEY_EPOCHS: u64 = 2;

/// Whether a committee may have `n` members: where the protocol's quorum, n - floor((n - 1) / 3), is 69 % of it, rounded up.
pub fn admitted(n: usize) -> bool {
    let protocol = n.saturating_sub(n.saturating_sub(1) / 3);
    (COMMITTEE_MIN..=COMMITTEE_MAX).contains(&n) && protocol == n.saturating_mul(69).div_ceil(100)
}

/// The largest admitted size of at most `n`; 0 if there is none.
pub(crate) fn size_of(n: usize) -> usize {
    (0..=n.min(COMMITTEE_MAX)).rev().find(|n| admitted(*n)).unwrap_or(0)
}

/// What names a consensus key: SHA-256 over the byte 65 and the key, as the signer digests keys.
pub fn key_digest(key: &PublicKey) -> Digest256 {
    Digest256(Address::of(key).0)
}

/// A consensus key, and what shows that it may vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// One more than the validator's last; 1 for the first.
    pub incarnation: u64,
    /// The key, drawn inside the enclave.
    pub key: PublicKey,
    /// SHA-256 of the attestation evidence that names it (statement purpose `hanzo.validator.v1`).
    pub evidence: Digest256,
    /// What the evidence was appraised at.
    pub tier: u8,
    /// True if the evidence is a simulator's.
    pub simulated: bool,
    /// Of the key itself, over [`NewKey::possession_message`], under [`Domain::ChainPossession`].
    pub possession: MlDsaSignature,
    /// By registrar, ascending, over [`EndorsedKey`].
    pub endorsements: List<Endorsement, 64>,
}
canonical!(NewKey {
    incarnation,
    key,
    evidence,
    tier,
    simulated,
    possession,
    endorsements,
});

/// Version of what a signer signs (`enclave/signer`), and its tags.
const SIGNER_VERSION: u8 = 1;
const POSSESSION: u8 = 4;
const ROTATE_KEY: u8 = 33;

impl NewKey {
    /// What the key signs: the signer's request of kind `Possession`.
    ///
    /// # Layout
    /// `1 || 4 || network 41 || validator 32 || incarnation u64 || key digest 32`
    pub fn possession_message(&self, network: &Network, validator: &Address) -> Vec<u8> {
        self.request(POSSESSION, network, validator)
    }

    /// What the validator's owner signs under [`Domain::RotateKey`]: the signer's request of kind `RotateKey`.
    ///
    /// # Layout
    /// `1 || 33 || network 41 || validator 32 || incarnation u64 || key digest 32 || evidence 32`
    pub fn rotation_message(&self, network: &Network, validator: &Address) -> Vec<u8> {
        let mut out = self.request(ROTATE_KEY, network, validator);
        self.evidence.write(&mut out);
        out
    }

    fn request(&self, kind: u8, network: &Network, validator: &Address) -> Vec<u8> {
        let mut out = vec![SIGNER_VERSION, kind];
        network.write(&mut out);
        validator.write(&mut out);
        self.incarnation.write(&mut out);
        key_digest(&self.key).write(&mut out);
        out
    }

    /// What its registrars endorse.
    pub fn endorsed(&self, validator: &Address) -> EndorsedKey {
        EndorsedKey {
            validator: *validator,
            incarnation: self.incarnation,
            key: key_digest(&self.key),
            evidence: self.evidence,
            tier: self.tier,
            simulated: self.simulated,
        }
    }
}

/// "This evidence was verified and names that key": signed by a registrar under [`Domain::ValidatorEndorsement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndorsedKey {
    /// Whose key.
    pub validator: Address,
    /// Which of the validator's.
    pub incarnation: u64,
    /// [`key_digest`].
    pub key: Digest256,
    /// SHA-256 of the evidence.
    pub evidence: Digest256,
    /// What it was appraised at.
    pub tier: u8,
    /// Whether it is a simulator's.
    pub simulated: bool,
}
canonical!(EndorsedKey {
    validator,
    incarnation,
    key,
    evidence,
    tier,
    simulated,
});

/// A block at its place in the voting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ballot {
    /// Epoch of the committee.
    pub epoch: u64,
    /// View within the epoch.
    pub view: u64,
    /// View of the parent.
    pub parent: u64,
    /// Id of the block.
    pub block: Digest256,
}
canonical!(Ballot {
    epoch,
    view,
    parent,
    block,
});

/// A view that was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Epoch of the committee.
    pub epoch: u64,
    /// View within the epoch.
    pub view: u64,
}
canonical!(Skipped { epoch, view });

/// One of the three votes, with the bytes that a signer signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vote {
    /// First round.
    Notarize(Ballot),
    /// Give the view up.
    Nullify(Skipped),
    /// Second round.
    Finalize(Ballot),
}
variants!(Vote, "1 to 3", { 1 => Notarize(Ballot), 2 => Nullify(Skipped), 3 => Finalize(Ballot) });

/// Two votes that no signer gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Two contents notarized in one view.
    ConflictingNotarize,
    /// Two contents finalized in one view.
    ConflictingFinalize,
    /// A view nullified and finalized.
    NullifyFinalize,
}

impl Vote {
    /// What the signature is for.
    pub fn domain(&self) -> Domain {
        match self {
            Self::Notarize(_) => Domain::ChainNotarize,
            Self::Nullify(_) => Domain::ChainNullify,
            Self::Finalize(_) => Domain::ChainFinalize,
        }
    }

    /// What is signed under [`Vote::domain`]: the signer's request.
    ///
    /// # Layout
    /// `1 || kind (1 notarize, 2 nullify, 3 finalize) || network 41 || epoch u64 || view u64`, and but for nullify `parent u64 || block 32`.
    pub fn message(&self, network: &Network) -> Vec<u8> {
        let mut own = self.to_bytes();
        let fields = own.split_off(1.min(own.len()));
        let mut out = vec![SIGNER_VERSION];
        out.extend_from_slice(&own);
        network.write(&mut out);
        out.extend_from_slice(&fields);
        out
    }

    fn place(&self) -> (u64, u64) {
        match self {
            Self::Notarize(ballot) | Self::Finalize(ballot) => (ballot.epoch, ballot.view),
            Self::Nullify(skipped) => (skipped.epoch, skipped.view),
        }
    }

    /// What it is to have cast both, if one signer may not.
    ///
    /// # Errors
    /// [`Reject::NoConflict`].
    pub fn conflict(&self, other: &Self) -> Result<Fault, Reject> {
        let no = |what| Err(Reject::NoConflict { what });
        if self.place() != other.place() {
            return no("the votes are of different views");
        }
        match (self, other) {
            _ if self == other => no("the votes are the same"),
            (Self::Notarize(_), Self::Notarize(_)) => Ok(Fault::ConflictingNotarize),
            (Self::Finalize(_), Self::Finalize(_)) => Ok(Fault::ConflictingFinalize),
            (Self::Nullify(_), Self::Finalize(_)) | (Self::Finalize(_), Self::Nullify(_)) => Ok(Fault::NullifyFinalize),
            _ => no("a notarization goes with a finalization or nullification of its view"),
        }
    }
}

/// A vote that somebody cast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedVote {
    /// What.
    pub vote: Vote,
    /// Over [`Vote::message`].
    pub signature: MlDsaSignature,
}
canonical!(SignedVote { vote, signature });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committees_have_sizes_where_both_ways_to_count_a_quorum_agree() {
        let sizes: Vec<usize> = (0..1000).filter(|n| admitted(*n)).collect();
        let expected = [
            4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 20, 21, 23, 24, 26, 27, 30, 33, 36, 39, 42,
        ];
        assert_eq!(sizes, expected);
        for (n, size) in [
            (0, 0),
            (3, 0),
            (4, 4),
            (16, 15),
            (19, 18),
            (41, 39),
            (42, 42),
            (900, 42),
        ] {
            assert_eq!(size_of(n), size, "{n}");
        }
    }

    #[test]
    fn two_votes_conflict_in_three_ways_and_no_other() {
        let ballot = |view, block| Ballot {
            epoch: 3,
            view,
            parent: 1,
            block: Digest256([block; 32]),
        };
        let (notarize, finalize) = (|v, b| Vote::Notarize(ballot(v, b)), |v, b| Vote::Finalize(ballot(v, b)));
        let nullify = |view| Vote::Nullify(Skipped { epoch: 3, view });
        let parent = Vote::Notarize(Ballot {
            parent: 0,
            ..ballot(7, 1)
        });
        assert_eq!(notarize(7, 1).conflict(&notarize(7, 2)), Ok(Fault::ConflictingNotarize));
        assert_eq!(notarize(7, 1).conflict(&parent), Ok(Fault::ConflictingNotarize));
        assert_eq!(finalize(7, 1).conflict(&finalize(7, 2)), Ok(Fault::ConflictingFinalize));
        assert_eq!(finalize(7, 1).conflict(&nullify(7)), Ok(Fault::NullifyFinalize));
        assert_eq!(nullify(7).conflict(&finalize(7, 1)), Ok(Fault::NullifyFinalize));
        let later = Vote::Notarize(Ballot {
            epoch: 4,
            ..ballot(7, 2)
        });
        for (a, b) in [
            (notarize(7, 1), notarize(7, 1)),
            (notarize(7, 1), notarize(8, 2)),
            (notarize(7, 1), later),
            (notarize(7, 1), finalize(7, 2)),
            (notarize(7, 1), nullify(7)),
            (nullify(7), nullify(7)),
            (nullify(7), finalize(8, 1)),
        ] {
            assert!(matches!(a.conflict(&b), Err(Reject::NoConflict { .. })), "{a:?} {b:?}");
        }
    }
}
