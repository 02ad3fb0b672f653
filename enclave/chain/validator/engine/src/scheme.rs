//! The engine's signature scheme: ML-DSA-65, one signature a vote, nothing aggregated. Every certificate names its signers, so that
//! conflicting votes are evidence.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::BufMut;
use commonware_codec::types::lazy::Lazy;
use commonware_codec::{Buf, EncodeSize, Error, FixedSize, Read, ReadRangeExt, Write};
use commonware_consensus::simplex::types::{Proposal as EngineProposal, Subject};
use commonware_cryptography::Digest;
use commonware_cryptography::certificate::{
    self, AssemblyError, Attestation, Membership, Signers, Verification, verify_then_assemble,
};
use commonware_parallel::Strategy;
use commonware_utils::iter::NonEmpty;
use commonware_utils::ordered::Set;
use commonware_utils::{N3f1, Participant};
use hanzo_attestation::Digest256;
use hanzo_chain_types::{AIChainVote, COMMITTEE_MAX, Proposal, ValidatorSet};
use hanzo_ledger::{Network, PublicKey};
use rand_core::CryptoRng;

use crate::keys::{ValidatorKey, VoteSignature};
use crate::voting::VoteSigner;

/// ML-DSA-65 votes of one validator set on one network.
#[derive(Clone)]
pub struct Scheme(Arc<Inner>);

struct Inner {
    network: Network,
    set: ValidatorSet,
    participants: Set<ValidatorKey>,
    me: Option<(Participant, Arc<dyn VoteSigner>)>,
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ML-DSA-65 votes of {} on {}", self.0.set.digest(), self.0.network)
    }
}

impl Scheme {
    /// Verifies; cannot sign.
    pub fn verifier(network: Network, set: ValidatorSet) -> Option<Self> {
        Self::of(network, set, None)
    }

    /// Signs with the key that stands at `key`'s place; none if `key` is not in the set.
    pub fn signer(network: Network, set: ValidatorSet, key: &PublicKey, signer: Arc<dyn VoteSigner>) -> Option<Self> {
        let place = Participant::from_usize(set.position(key)?);
        Self::of(network, set, Some((place, signer)))
    }

    fn of(network: Network, set: ValidatorSet, me: Option<(Participant, Arc<dyn VoteSigner>)>) -> Option<Self> {
        let keys: Option<Vec<_>> = set.validators().iter().map(|v| ValidatorKey::new(&v.key)).collect();
        // Both orders are by bytes, so that places are the same.
        let participants = Set::try_from(keys?).ok()?;
        Some(Self(Arc::new(Inner {
            network,
            set,
            participants,
            me,
        })))
    }

    /// Who votes.
    pub fn set(&self) -> &ValidatorSet {
        &self.0.set
    }

    /// On which chain.
    pub fn network(&self) -> &Network {
        &self.0.network
    }

    fn is_valid(&self, vote: &AIChainVote, at: Participant, signature: &Lazy<VoteSignature>) -> bool {
        signature
            .get()
            .is_some_and(|signature| self.verifies(vote, usize::from(at), signature))
    }

    /// As the engine's subject says it, in our bytes.
    pub(crate) fn vote_of<D: Digest>(subject: &Subject<'_, D>) -> Option<AIChainVote> {
        let epoch = match subject {
            Subject::Notarize { proposal } | Subject::Finalize { proposal } => proposal.round.epoch(),
            Subject::Nullify { round } => round.epoch(),
        };
        vote(epoch.get(), subject)
    }

    /// Whether the validator at this place cast this vote.
    pub(crate) fn verifies(&self, vote: &AIChainVote, at: usize, signature: &VoteSignature) -> bool {
        let validator = self.0.set.validators().get(at);
        validator.is_some_and(|v| vote.verify(&self.0.network, &v.key, signature).is_ok())
    }

    fn quorum(&self) -> usize {
        self.0.set.quorum()
    }
}

/// What the engine's subject says, in our bytes; none for a payload that is no block id, or a vote of another epoch.
fn vote<D: Digest>(epoch: u64, subject: &Subject<'_, D>) -> Option<AIChainVote> {
    let of = |proposal: &EngineProposal<D>| {
        Some(Proposal {
            epoch: proposal.round.epoch().get(),
            view: proposal.round.view().get(),
            parent: proposal.parent.get(),
            block: Digest256(proposal.payload.as_ref().try_into().ok()?),
        })
    };
    let vote = match subject {
        Subject::Notarize { proposal } => AIChainVote::Notarize(of(proposal)?),
        Subject::Nullify { round } => AIChainVote::Nullify {
            epoch: round.epoch().get(),
            view: round.view().get(),
        },
        Subject::Finalize { proposal } => AIChainVote::Finalize(of(proposal)?),
    };
    let voted = match vote {
        AIChainVote::Notarize(p) | AIChainVote::Finalize(p) => p.epoch,
        AIChainVote::Nullify { epoch, .. } => epoch,
    };
    (voted == epoch).then_some(vote)
}

/// A quorum's signatures, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    pub(crate) signers: Signers,
    pub(crate) signatures: Vec<Lazy<VoteSignature>>,
}

impl Write for Certificate {
    fn write(&self, writer: &mut impl BufMut) {
        self.signers.write(writer);
        self.signatures.write(writer);
    }
}

impl EncodeSize for Certificate {
    fn encode_size(&self) -> usize {
        self.signers.encode_size() + self.signatures.encode_size()
    }
}

impl Read for Certificate {
    type Cfg = usize;

    fn read_cfg(reader: &mut impl Buf, participants: &usize) -> Result<Self, Error> {
        let signers = Signers::read_cfg(reader, participants)?;
        let signatures = Vec::<Lazy<VoteSignature>>::read_range(reader, ..=*participants)?;
        if signers.count() == 0 || signers.count() != signatures.len() {
            let rule = "a signature for each of one or more signers";
            return Err(Error::Invalid("hanzo_chain::Certificate", rule));
        }
        Ok(Self { signers, signatures })
    }
}

impl certificate::Verifier for Scheme {
    type Subject<'a, D: Digest> = Subject<'a, D>;
    type Faults = N3f1;
    type PublicKey = ValidatorKey;
    type Certificate = Certificate;

    fn verify_certificate<R, D>(
        &self,
        _rng: &mut R,
        subject: Subject<'_, D>,
        certificate: &Certificate,
        _strategy: &impl Strategy,
    ) -> bool
    where
        R: CryptoRng,
        D: Digest,
    {
        let (signers, signatures) = (&certificate.signers, &certificate.signatures);
        let Some(vote) = vote(self.0.set.epoch(), &subject) else {
            return false;
        };
        signers.len() == self.0.participants.len()
            && signers.count() == signatures.len()
            && signers.count() >= self.quorum()
            && signers
                .iter()
                .zip(signatures)
                .all(|(at, s)| self.is_valid(&vote, at, s))
    }

    fn is_batchable() -> bool {
        false
    }

    fn max_certificate_size(participants: u32) -> usize {
        // Bitmap with its length, count, signatures.
        let n = (participants as usize).min(COMMITTEE_MAX);
        16 + n.div_ceil(8) + 5 + n * VoteSignature::SIZE
    }

    fn certificate_codec_config(&self) -> usize {
        self.0.participants.len()
    }

    fn certificate_codec_config_unbounded() -> usize {
        COMMITTEE_MAX
    }
}

impl certificate::Scheme for Scheme {
    type Signature = VoteSignature;

    fn me(&self) -> Option<Membership> {
        self.0.me.as_ref().map(|(place, _)| Membership::Signer(*place))
    }

    fn participants(&self) -> &Set<ValidatorKey> {
        &self.0.participants
    }

    fn sign<D: Digest>(&self, subject: Subject<'_, D>) -> Option<Attestation<Self>> {
        let (place, signer) = self.0.me.as_ref()?;
        let vote = vote(self.0.set.epoch(), &subject)?;
        Some(Attestation {
            signer: *place,
            signature: signer.sign(&self.0.network, &vote)?.into(),
        })
    }

    fn verify_attestation<R, D>(
        &self,
        _rng: &mut R,
        subject: Subject<'_, D>,
        attestation: &Attestation<Self>,
        _strategy: &impl Strategy,
    ) -> bool
    where
        R: CryptoRng,
        D: Digest,
    {
        vote(self.0.set.epoch(), &subject)
            .is_some_and(|vote| self.is_valid(&vote, attestation.signer, &attestation.signature))
    }

    fn verify_attestations<R, D, I>(
        &self,
        _rng: &mut R,
        subject: Subject<'_, D>,
        attestations: I,
        _strategy: &impl Strategy,
    ) -> Verification<Self>
    where
        R: CryptoRng,
        D: Digest,
        I: IntoIterator<Item = Attestation<Self>>,
        I::IntoIter: Send,
    {
        let vote = vote(self.0.set.epoch(), &subject);
        let (mut verified, mut invalid) = (Vec::new(), BTreeSet::new());
        for attestation in attestations {
            let valid = vote.is_some_and(|vote| self.is_valid(&vote, attestation.signer, &attestation.signature));
            match valid {
                true => verified.push(attestation),
                false => {
                    invalid.insert(attestation.signer);
                }
            }
        }
        Verification::new(verified, invalid.into_iter().collect())
    }

    fn optimistic_assemble<'a, R, D, I, J>(
        &self,
        rng: &mut R,
        subject: Subject<'_, D>,
        pending: I,
        verified: J,
        strategy: &impl Strategy,
    ) -> Result<Certificate, Verification<Self>>
    where
        R: CryptoRng,
        D: Digest,
        I: IntoIterator<Item = Attestation<Self>>,
        I::IntoIter: ExactSizeIterator + Send,
        J: IntoIterator<Item = &'a Attestation<Self>>,
        J::IntoIter: Send,
    {
        verify_then_assemble::<Self, _, D, _, _>(self, rng, subject, pending, verified, strategy)
    }

    fn assemble<I>(&self, attestations: NonEmpty<I>, _strategy: &impl Strategy) -> Result<Certificate, AssemblyError>
    where
        I: Iterator<Item = Attestation<Self>> + Send,
    {
        let mut entries = Vec::new();
        for Attestation { signer, signature } in attestations {
            if self.0.set.validators().get(usize::from(signer)).is_none() {
                return Err(AssemblyError::UnknownSigner(signer));
            }
            if signature.get().is_none() {
                return Err(AssemblyError::MalformedSignature(signer));
            }
            entries.push((signer, signature));
        }
        entries.sort_by_key(|(signer, _)| *signer);
        let (places, signatures): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        let signers = Signers::try_from((&self.0.participants, places))?;
        let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        match signers.count() < self.quorum() {
            true => Err(AssemblyError::InsufficientAttestations(
                short(self.quorum()),
                short(signers.count()),
            )),
            false => Ok(Certificate { signers, signatures }),
        }
    }

    fn is_attributable() -> bool {
        true
    }
}
