//! What RPC asks, answered from the ledger, the pool and the links.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use commonware_p2p::Recipients;
use hanzo_attestation::Digest256;
use hanzo_chain::{Fault, Pool, PoolReject, Progress, Watcher};
use hanzo_chain_links::{LinkSender, Network};
use hanzo_chain_rpc::{Node, NodeStanding, PeerStanding, SubmitError};
use hanzo_ledger::{Address, Canonical, Header, SignedTx, key_digest};
use hanzo_mining::{MiningError, MiningLedger};
use tokio::sync::watch;

use crate::reports::Reports;
use crate::sync;

/// Hears what the engine does.
pub(crate) struct Heard {
    pub(crate) newest: watch::Sender<u64>,
    pub(crate) faults: AtomicU64,
    pub(crate) reports: Mutex<Reports>,
}

impl Heard {
    pub(crate) fn reports(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Heard {
    fn committed(&self, header: &Header) {
        self.newest.send_replace(header.height);
    }

    fn caught(&self, fault: &Fault) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(validator = fault.validator, first = ?fault.first.0, second = ?fault.second.0, "conflicting votes");
        if self.reports().hear(fault) {
            tracing::warn!(key = %key_digest(&fault.key), "they will be reported to the chain");
        }
    }
}

/// A validator as RPC sees it.
pub(crate) struct Seen {
    pub(crate) ledger: Arc<MiningLedger>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) progress: Progress,
    pub(crate) heard: Arc<Heard>,
    pub(crate) links: Network,
    pub(crate) transactions: LinkSender,
    pub(crate) account: Address,
    pub(crate) peers: Arc<Mutex<Vec<(Address, String)>>>,
}

impl Node for Seen {
    fn ledger(&self) -> &MiningLedger {
        &self.ledger
    }

    fn submit(&self, tx: SignedTx) -> Result<(), SubmitError> {
        let bytes = tx.to_bytes();
        let taken = self.ledger.read(|state| self.pool.submit(tx, state));
        taken.map_err(|refusal| match refusal {
            PoolReject::Reject(reject) => SubmitError::Reject(reject),
            PoolReject::Known | PoolReject::Taken { .. } => SubmitError::Known,
            PoolReject::Ahead { .. } => SubmitError::SenderFull {
                max: hanzo_chain::SENDER_TXS_MAX,
            },
            PoolReject::Full { max, .. } => SubmitError::Full { max },
        })?;
        self.transactions.tell(&Recipients::All, bytes);
        Ok(())
    }

    fn is_pending(&self, id: &Digest256) -> bool {
        self.pool.contains(id)
    }

    fn standing(&self) -> NodeStanding {
        let keys = &self.links.identity().greeting().keys;
        let (standing, live, away) = (self.progress.standing(), self.links.peers(), self.links.blocked());
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let peers = peers.iter().map(|(account, address)| PeerStanding {
            account: account.to_string(),
            address: address.clone(),
            connected: live.iter().any(|peer| peer.account == *account),
            blocked: away.contains(account),
        });
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        NodeStanding {
            version: concat!("hanzo-validator ", env!("CARGO_PKG_VERSION")).to_owned(),
            account: Some(self.account.to_string()),
            key: Some(keys.key_digest().to_string()),
            incarnation: keys.incarnation,
            votes: standing.votes,
            epoch: standing.epoch,
            view: standing.view,
            pending: count(self.pool.len()),
            pending_bytes: count(self.pool.bytes()),
            peers: peers.collect(),
            faults: self.heard.faults.load(Ordering::Relaxed),
            reports: count(self.heard.reports().len()),
        }
    }

    fn final_blocks(&self, from: u64) -> Result<Option<Vec<u8>>, MiningError> {
        Ok(sync::answer(&self.ledger, from)?.map(|answer| answer.to_bytes()))
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.heard.newest.subscribe()
    }
}
