//! Who signs votes.

use std::sync::{Mutex, PoisonError};

use hanzo_chain_types::{AIChainVote, Proposal};
use hanzo_ledger::Network;
use hanzo_signer::{FreshnessSource, Network as SignerNetwork, SignRequest, Signer, Storage, Vote};

use crate::keys::VoteSignature;

/// Casts votes with one validator's key, or refuses.
pub trait VoteSigner: Send + Sync + 'static {
    /// The signature under `vote` on `network`; none if it must not be cast, or cannot.
    fn sign(&self, network: &Network, vote: &AIChainVote) -> Option<VoteSignature>;
}

/// Votes through the signer: typed requests, recorded before they are signed, never two that conflict.
pub struct GuardedSigner<S, F>(Mutex<Signer<S, F>>);

impl<S, F> GuardedSigner<S, F> {
    /// Of a signer of role consensus.
    pub fn new(signer: Signer<S, F>) -> Self {
        Self(Mutex::new(signer))
    }
}

impl<S, F> VoteSigner for GuardedSigner<S, F>
where
    S: Storage + Send + 'static,
    F: FreshnessSource + 'static,
{
    fn sign(&self, network: &Network, vote: &AIChainVote) -> Option<VoteSignature> {
        let request = request(network, vote);
        let signed = self.0.lock().unwrap_or_else(PoisonError::into_inner).sign(&request);
        match signed {
            Ok(signature) => VoteSignature::new(&signature),
            Err(refusal) => {
                tracing::warn!(
                    code = refusal.code(),
                    vote = request.kind().name(),
                    "vote not cast: {refusal}"
                );
                None
            }
        }
    }
}

fn request(network: &Network, vote: &AIChainVote) -> SignRequest {
    let network = SignerNetwork::ai_chain(network.id, network.genesis.0);
    let of = |p: &Proposal| Vote {
        epoch: p.epoch,
        view: p.view,
        parent: p.parent,
        payload: p.block.0,
    };
    match vote {
        AIChainVote::Notarize(p) => SignRequest::notarize(network, of(p)),
        AIChainVote::Nullify { epoch, view } => SignRequest::nullify(network, *epoch, *view),
        AIChainVote::Finalize(p) => SignRequest::finalize(network, of(p)),
    }
}
