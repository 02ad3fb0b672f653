//! Transactions go from the node that was given them to all validators, once.

use std::sync::Arc;

use commonware_p2p::Receiver as _;
use hanzo_chain::{Pool, PoolReject};
use hanzo_chain_links::{LinkBlocker, LinkReceiver};
use hanzo_ledger::{DecodeError, SignedTx};
use hanzo_mining::MiningLedger;

/// The channel: one message is one signed transaction.
pub(crate) const CHANNEL: u64 = 1;

/// Puts what peers send into the pool.
pub(crate) async fn receive(
    mut receiver: LinkReceiver,
    mut blocker: LinkBlocker,
    pool: Arc<Pool>,
    ledger: Arc<MiningLedger>,
) {
    use commonware_p2p::Blocker as _;
    while let Ok((peer, message)) = receiver.recv().await {
        let (pool, ledger) = (Arc::clone(&pool), Arc::clone(&ledger));
        // Signatures: off the loop.
        let taken = tokio::task::spawn_blocking(move || {
            let tx = SignedTx::parse(message.as_ref())?;
            match ledger.read(|state| pool.submit(tx, state)) {
                Ok(_) => Ok::<_, DecodeError>(None),
                Err(refusal) => Ok(Some(refusal)),
            }
        });
        match taken.await {
            // Who forwards what can never be a transaction is at fault; a stale or early one is nobody's.
            Ok(Err(why)) => {
                tracing::warn!(%peer, "peer blocked: {why}");
                let _ = blocker.block(peer);
            }
            Ok(Ok(Some(refusal @ PoolReject::Full { .. }))) => {
                tracing::debug!(%peer, "transaction not kept: {refusal}")
            }
            _ => {}
        }
    }
}
