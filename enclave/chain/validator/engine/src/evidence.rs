//! Votes that no honest validator casts, out of what the engine saw.

use commonware_codec::{Buf, Encode, ReadExt};
use commonware_consensus::simplex::types::{Activity, Finalize, Notarize, Nullify, Subject};

use crate::BlockId;
use crate::final_blocks::Fault;
use crate::keys::VoteSignature;
use crate::scheme::Scheme;

/// The evidence in an activity, if there is any and both signatures verify.
pub(crate) fn fault_of(scheme: &Scheme, activity: &Activity<Scheme, BlockId>) -> Option<Fault> {
    let (first, second) = match activity {
        Activity::ConflictingNotarize(both) => {
            let mut rest = both.encode();
            (notarize(&mut rest)?, notarize(&mut rest)?)
        }
        Activity::ConflictingFinalize(both) => {
            let mut rest = both.encode();
            (finalize(&mut rest)?, finalize(&mut rest)?)
        }
        Activity::NullifyFinalize(both) => {
            let mut rest = both.encode();
            (nullify(&mut rest)?, finalize(&mut rest)?)
        }
        _ => return None,
    };
    let whose = first.0;
    let same = whose == second.0;
    let valid = |said: &Said| scheme.verifies(&said.1, said.0, &said.2);
    let key = scheme.set().validators().get(whose)?.key.clone();
    (same && valid(&first) && valid(&second)).then_some(Fault {
        validator: whose,
        key,
        first: (first.1, first.2),
        second: (second.1, second.2),
    })
}

type Said = (usize, hanzo_chain_types::AIChainVote, VoteSignature);

fn notarize(rest: &mut impl Buf) -> Option<Said> {
    let vote = Notarize::<Scheme, BlockId>::read(rest).ok()?;
    let proposal = &vote.proposal;
    let said = Scheme::vote_of(&Subject::Notarize { proposal })?;
    let (at, signature) = (vote.attestation.signer, vote.attestation.signature.get()?.clone());
    Some((usize::from(at), said, signature))
}

fn finalize(rest: &mut impl Buf) -> Option<Said> {
    let vote = Finalize::<Scheme, BlockId>::read(rest).ok()?;
    let proposal = &vote.proposal;
    let said = Scheme::vote_of(&Subject::Finalize { proposal })?;
    let (at, signature) = (vote.attestation.signer, vote.attestation.signature.get()?.clone());
    Some((usize::from(at), said, signature))
}

fn nullify(rest: &mut impl Buf) -> Option<Said> {
    let vote = Nullify::<Scheme>::read(rest).ok()?;
    let subject: Subject<'_, BlockId> = Subject::Nullify { round: vote.round };
    let said = Scheme::vote_of(&subject)?;
    let (at, signature) = (vote.attestation.signer, vote.attestation.signature.get()?.clone());
    Some((usize::from(at), said, signature))
}
