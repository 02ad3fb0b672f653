//! Transactions that wait for a block: bounded in all and for each sender, verified before they are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hanzo_attestation::Digest256;
use hanzo_ledger::{Address, Block, Canonical, Reject, SignedTx, State};

/// Most transactions that wait.
pub const POOL_TXS_MAX: usize = 4096;
/// Most bytes of them.
pub const POOL_BYTES_MAX: usize = 16 << 20;
/// Most of one sender: none has a nonce further ahead than this.
pub const SENDER_TXS_MAX: usize = 64;
/// Most bytes of transactions that a block is proposed with.
const PROPOSAL_BYTES_MAX: usize = 1 << 20;
/// How often one may be left out of a block before it is dropped.
const TRIES_MAX: u32 = 16;

/// Why a transaction was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolReject {
    /// It does not verify, is of another network, or its nonce was used before.
    #[error(transparent)]
    Reject(#[from] Reject),
    /// It waits already.
    #[error("pool: this transaction waits already")]
    Known,
    /// The sender has another one of this nonce.
    #[error(
        "pool: nonce {nonce}: another transaction of this sender waits with it: let that one be included or dropped first"
    )]
    Taken {
        /// Which.
        nonce: u64,
    },
    /// Too far ahead.
    #[error("pool: nonce: expected at most {max}, got {got}: send the transactions before it first")]
    Ahead {
        /// The last that is kept.
        max: u64,
        /// Its.
        got: u64,
    },
    /// No room.
    #[error("pool: full, {max} transactions or {bytes_max} bytes wait: try again after the next blocks")]
    Full {
        /// Most transactions.
        max: usize,
        /// Most bytes.
        bytes_max: usize,
    },
}

impl PoolReject {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Reject(e) => e.code(),
            Self::Known => "chain.pool.known",
            Self::Taken { .. } => "chain.pool.taken",
            Self::Ahead { .. } => "chain.pool.ahead",
            Self::Full { .. } => "chain.pool.full",
        }
    }
}

struct Waiting {
    tx: SignedTx,
    id: Digest256,
    bytes: usize,
    tries: u32,
}

#[derive(Default)]
struct Held {
    by_sender: BTreeMap<Address, BTreeMap<u64, Waiting>>,
    ids: BTreeSet<Digest256>,
    bytes: usize,
}

/// Transactions that wait. Outlives the engines of single epochs; any thread may use it.
pub struct Pool {
    held: Mutex<Held>,
    txs_max: usize,
    bytes_max: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self::bounded(POOL_TXS_MAX, POOL_BYTES_MAX)
    }
}

impl Pool {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// With room for fewer: at most so many transactions, and bytes of them.
    pub fn bounded(txs_max: usize, bytes_max: usize) -> Self {
        Self {
            held: Mutex::default(),
            txs_max: txs_max.min(POOL_TXS_MAX),
            bytes_max: bytes_max.min(POOL_BYTES_MAX),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a transaction, which must verify against `state`, the newest; returns its id ([`hanzo_ledger::Tx::digest`]).
    ///
    /// # Errors
    /// [`PoolReject`]; nothing changed then.
    pub fn submit(&self, tx: SignedTx, state: &State) -> Result<Digest256, PoolReject> {
        let (sender, nonce, bytes) = (Address::of(&tx.tx.sender), tx.tx.nonce, tx.to_bytes().len());
        let id = tx.tx.digest();
        self.room(&self.held(), (&sender, nonce), &id, bytes, state)?;
        // Signatures take long: others are not kept waiting for them.
        let verified = tx.clone().verify(state)?;
        let mut held = self.held();
        self.room(&held, (&verified.sender(), nonce), &id, bytes, state)?;
        held.bytes = held.bytes.saturating_add(bytes);
        held.ids.insert(id);
        let tries = 0;
        let waiting = Waiting { tx, id, bytes, tries };
        held.by_sender.entry(sender).or_default().insert(nonce, waiting);
        Ok(id)
    }

    fn room(
        &self,
        held: &Held,
        (sender, nonce): (&Address, u64),
        id: &Digest256,
        bytes: usize,
        state: &State,
    ) -> Result<(), PoolReject> {
        if held.ids.contains(id) {
            return Err(PoolReject::Known);
        }
        let expected = state.account(sender).nonce;
        if nonce < expected {
            return Err(Reject::Nonce { expected, got: nonce }.into());
        }
        let max = expected.saturating_add(SENDER_TXS_MAX as u64).saturating_sub(1);
        if nonce > max {
            return Err(PoolReject::Ahead { max, got: nonce });
        }
        if held.by_sender.get(sender).is_some_and(|row| row.contains_key(&nonce)) {
            return Err(PoolReject::Taken { nonce });
        }
        let fits = held.bytes.checked_add(bytes).is_some_and(|all| all <= self.bytes_max);
        if held.ids.len() >= self.txs_max || !fits {
            return Err(PoolReject::Full {
                max: self.txs_max,
                bytes_max: self.bytes_max,
            });
        }
        Ok(())
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.held().ids.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.held().bytes
    }

    /// Whether the transaction of this id waits.
    pub fn contains(&self, id: &Digest256) -> bool {
        self.held().ids.contains(id)
    }

    /// For the next block over `state`: each sender's from its next nonce on, one of each sender in turn.
    pub(crate) fn candidates(&self, state: &State) -> Vec<SignedTx> {
        let held = self.held();
        let mut rows: Vec<_> = held
            .by_sender
            .iter()
            .map(|(sender, waiting)| (state.account(sender).nonce, waiting))
            .collect();
        let (mut room, mut out) = (PROPOSAL_BYTES_MAX, Vec::new());
        while !rows.is_empty() {
            rows.retain_mut(|(next, waiting)| {
                let Some(found) = waiting.get(next) else { return false };
                let Some(left) = room.checked_sub(found.bytes) else {
                    return false;
                };
                room = left;
                *next = next.saturating_add(1);
                out.push(found.tx.clone());
                true
            });
        }
        out
    }

    /// A block was proposed with some of `offered`; those that are left out too often are dropped.
    pub(crate) fn proposed(&self, offered: &[SignedTx], block: &Block) {
        let mut held = self.held();
        let taken: BTreeSet<_> = block.txs.iter().map(|tx| tx.tx.digest()).collect();
        for tx in offered.iter().filter(|tx| !taken.contains(&tx.tx.digest())) {
            let (sender, nonce) = (Address::of(&tx.tx.sender), tx.tx.nonce);
            let waiting = held.by_sender.get_mut(&sender).and_then(|row| row.get_mut(&nonce));
            let tries = waiting.map_or(0, |w| {
                w.tries = w.tries.saturating_add(1);
                w.tries
            });
            if tries >= TRIES_MAX {
                held.drop_if(&sender, |at, _| *at == nonce);
            }
        }
    }

    /// A block is final; `state` is after it. Its transactions, and others with used nonces, wait no more.
    pub(crate) fn settled(&self, state: &State) {
        let mut held = self.held();
        let senders: Vec<_> = held.by_sender.keys().copied().collect();
        for sender in senders {
            let next = state.account(&sender).nonce;
            held.drop_if(&sender, |nonce, _| *nonce < next);
        }
    }
}

impl Held {
    fn drop_if(&mut self, sender: &Address, gone: impl Fn(&u64, &Waiting) -> bool) {
        let Some(row) = self.by_sender.get_mut(sender) else {
            return;
        };
        let nonces: Vec<u64> = row.iter().filter(|(n, w)| gone(n, w)).map(|(n, _)| *n).collect();
        for nonce in nonces {
            if let Some(waiting) = row.remove(&nonce) {
                self.ids.remove(&waiting.id);
                self.bytes = self.bytes.saturating_sub(waiting.bytes);
            }
        }
        if row.is_empty() {
            self.by_sender.remove(sender);
        }
    }
}
