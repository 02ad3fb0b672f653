//! Who signs votes.

use std::sync::{Arc, Mutex, PoisonError};

use hanzo_chain_types::{AIChainVote, Proposal};
use hanzo_ledger::Network;
use hanzo_signer::interchange::Interchange;
use hanzo_signer::{Floor, FreshnessSource, Network as SignerNetwork, SignRequest, Signer, SignerError, Storage, Vote};

use crate::keys::VoteSignature;

/// The last view that an interchange file can tell of an epoch.
const LAST_VIEW: u64 = (1 << 40) - 1;

/// Casts votes with one validator's key, or refuses.
pub trait VoteSigner: Send + Sync + 'static {
    /// The signature under `vote` on `network`; none if it must not be cast, or cannot.
    fn sign(&self, network: &Network, vote: &AIChainVote) -> Option<VoteSignature>;

    /// Casts no vote any more; every vote that was cast, if the signer can tell.
    fn close(&self) -> Option<Interchange> {
        None
    }
}

/// Votes through the signer: typed requests, recorded before they are signed, never two that conflict.
///
/// The first vote of an epoch ends the epochs before it: the signer's floor rises to their end, so that it remembers, and its journal
/// holds, the votes of one epoch, however long it runs.
pub struct GuardedSigner<S, F>(Mutex<Guarded<S, F>>);

struct Guarded<S, F> {
    signer: Signer<S, F>,
    /// In which it voted last.
    epoch: Option<u64>,
    is_closed: bool,
}

impl<S, F> GuardedSigner<S, F> {
    /// Of a signer of role consensus.
    pub fn new(signer: Signer<S, F>) -> Self {
        Self(Mutex::new(Guarded {
            signer,
            epoch: None,
            is_closed: false,
        }))
    }
}

impl<S: Storage, F: FreshnessSource> Guarded<S, F> {
    fn sign(&mut self, request: &SignRequest, epoch: u64) -> Result<Arc<[u8]>, SignerError> {
        let over = epoch
            .checked_sub(1)
            .filter(|_| self.epoch.is_some_and(|last| last < epoch));
        if let Some(over) = over {
            let view = LAST_VIEW;
            self.signer.raise(Floor::Votes { epoch: over, view })?;
        }
        self.epoch = self.epoch.max(Some(epoch));
        self.signer.sign(request)
    }
}

impl<S, F> VoteSigner for GuardedSigner<S, F>
where
    S: Storage + Send + 'static,
    F: FreshnessSource + 'static,
{
    fn sign(&self, network: &Network, vote: &AIChainVote) -> Option<VoteSignature> {
        let request = request(network, vote);
        let epoch = match vote {
            AIChainVote::Notarize(p) | AIChainVote::Finalize(p) => p.epoch,
            AIChainVote::Nullify { epoch, .. } => *epoch,
        };
        let mut guarded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if guarded.is_closed {
            return None;
        }
        let signed = guarded.sign(&request, epoch);
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

    fn close(&self) -> Option<Interchange> {
        let mut guarded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guarded.is_closed = true;
        guarded.signer.export().ok()
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
