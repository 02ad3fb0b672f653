//! Open, submit, prove, replay.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};

use hanzo_attestation::Digest256;
use hanzo_ledger::{
    Applied, BLOCK_BYTES_MAX, Block, BlockReject, Canonical, Genesis, Header, KEY_BYTES_MAX, Key, Proof, State,
    VALUE_BYTES_MAX, Value, VerifiedBlock,
};
use hanzo_pqc::Dek;
use hanzo_store::EncryptedDb;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

mod shown;
mod snapshot;

pub use shown::{CERTIFICATE_SPACING, CERTIFICATES_KEPT, Placed};

use crate::{MiningError, SCHEMA};

/// The blocks of one chain and the state after the newest, in a file.
pub struct MiningLedger {
    db: EncryptedDb,
    state: RwLock<State>,
    /// The newest block that came as a snapshot's.
    base: RwLock<Option<Header>>,
    /// After the last block of an epoch, not cut yet. Locked under `state`; `served` never is.
    boundary: Mutex<Option<State>>,
    served: Mutex<snapshot::Served>,
}

/// A block that is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Its height.
    pub height: u64,
    /// Its id.
    pub id: Digest256,
    /// Root of the state after it.
    pub root: Digest256,
    /// True if it was there before: nothing changed.
    pub again: bool,
}

impl MiningLedger {
    /// Opens the store at `path`, or makes one for the chain of `genesis` if there never was one. Reads every entry, counts all
    /// the money and holds the root against the newest block's.
    ///
    /// # Errors
    /// [`MiningError::ForeignGenesis`] for a store of another chain, [`MiningError::Damaged`] for one that does not hold together;
    /// [`MiningError::Store`] for a wrong key, a broken file, a store in use.
    pub fn open(path: &Path, key: &Dek, genesis: Genesis) -> Result<Self, MiningError> {
        let start = State::new(genesis.clone())?;
        let db = EncryptedDb::open(path, key, SCHEMA)?;
        let expected = genesis.digest();
        let held = db.write(|tx| -> Result<_, MiningError> {
            let held: Option<Vec<u8>> = tx
                .query_row("SELECT genesis FROM chain", [], |row| row.get(0))
                .optional()?;
            if held.is_none() {
                begin(tx, &expected, &genesis, &start)?;
            }
            Ok(held)
        })?;
        if let Some(held) = held {
            let got = Genesis::parse(&held)
                .map_err(|e| MiningError::Damaged { what: e.to_string() })?
                .digest();
            if got != expected {
                return Err(MiningError::ForeignGenesis { expected, got });
            }
        }
        db.write(shown::index)?;
        let (base, state) = db.read(|db| -> Result<_, MiningError> {
            let base = snapshot::newest_base(db)?;
            Ok((base, restore(db, genesis, &start, base.as_ref())?))
        })?;
        Ok(Self {
            db,
            state: RwLock::new(state),
            base: RwLock::new(base),
            boundary: Mutex::default(),
            served: Mutex::default(),
        })
    }

    /// Looks at the state after the newest block.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Verifies, applies and stores a block. It is on the disk when this returns; the same block again changes nothing. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// [`MiningError::Gap`], [`MiningError::Fork`], [`MiningError::Block`], [`MiningError::Store`].
    pub fn submit(&self, block: Block) -> Result<Committed, MiningError> {
        let (height, id) = (block.header.height, block.header.id());
        let newest = self.read(|state| state.head().height);
        if let Some(committed) = self.known(newest, height, id)? {
            return Ok(committed);
        }
        let verified = self.read(|state| block.verify(state))?;
        self.submit_verified(&verified)
    }

    /// As [`MiningLedger::submit`], for a block whose signatures were verified against this state already: the own proposal.
    ///
    /// # Errors
    /// As [`MiningLedger::submit`].
    pub fn submit_verified(&self, block: &VerifiedBlock) -> Result<Committed, MiningError> {
        let (height, id) = (block.header().height, block.header().id());
        // Held to the end: two callers with one block are one after the other.
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(committed) = self.known(state.head().height, height, id)? {
            return Ok(committed);
        }
        let applied = state.apply(block)?;
        let root = applied.root();
        self.db.write(|tx| store(tx, height, block, &applied))?;
        state.commit(applied)?;
        let params = &state.genesis().params;
        if params.epoch_of(height.saturating_add(1)) != params.epoch_of(height) {
            let ended = state.clone();
            *self.boundary.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
        }
        Ok(Committed {
            height,
            id,
            root,
            again: false,
        })
    }

    /// Whether a block of this height is there, or may come next.
    fn known(&self, newest: u64, height: u64, id: Digest256) -> Result<Option<Committed>, MiningError> {
        if height > newest {
            let expected = newest.saturating_add(1);
            return match height == expected {
                true => Ok(None),
                false => Err(MiningError::Gap { expected, got: height }),
            };
        }
        let header = self.header(height)?.ok_or_else(|| {
            let (expected, got) = (1, height);
            self.absent(height).unwrap_or(MiningError::Gap { expected, got })
        })?;
        let held = header.id();
        if held != id {
            return Err(MiningError::Fork { height, held, got: id });
        }
        Ok(Some(Committed {
            height,
            id,
            root: header.state_root,
            again: true,
        }))
    }

    /// The block of this height.
    ///
    /// # Errors
    /// [`MiningError::Store`], [`MiningError::Damaged`].
    pub fn block(&self, height: u64) -> Result<Option<Block>, MiningError> {
        let Ok(height) = i64::try_from(height) else {
            return Ok(None);
        };
        self.db.read(|db| stored_block(db, height))
    }

    /// What stands under `key`, or that nothing does, for those who know the newest root.
    pub fn prove(&self, key: &Key) -> Proof {
        self.read(|state| state.prove(key))
    }

    /// Goes through the whole chain again, from its genesis and every signature, and compares where it leads. Returns the height.
    ///
    /// # Errors
    /// [`MiningError::Damaged`] if it leads elsewhere, [`MiningError::Block`] for the first block that does not apply;
    /// [`MiningError::Pruned`] if it went on from a snapshot.
    pub fn replay(&self) -> Result<u64, MiningError> {
        if let Some(absent) = self.base().and_then(|base| self.absent(base)) {
            return Err(absent);
        }
        let (genesis, root, newest) = self.read(|s| (s.genesis().clone(), s.root(), s.head().height));
        let mut state = State::new(genesis)?;
        for height in 1..=newest {
            let block = self.block(height)?.ok_or_else(|| MiningError::Damaged {
                what: format!("block {height} is missing"),
            })?;
            let applied = state.apply(&block.verify(&state)?)?;
            state.commit(applied)?;
        }
        if state.root() != root {
            return Err(MiningError::Damaged {
                what: format!("the blocks lead to root {}, the entries have {root}", state.root()),
            });
        }
        Ok(newest)
    }
}

fn begin(tx: &Transaction<'_>, digest: &Digest256, genesis: &Genesis, start: &State) -> Result<(), MiningError> {
    tx.execute(
        "INSERT INTO chain (one, digest, genesis) VALUES (1, ?1, ?2)",
        params![digest.0, genesis.to_bytes()],
    )?;
    for (key, value) in start.entries() {
        put(tx, key, Some(value))?;
    }
    Ok(())
}

fn put(tx: &Transaction<'_>, key: &Key, value: Option<&Value>) -> Result<(), MiningError> {
    match value {
        Some(value) => tx
            .prepare_cached(
                "INSERT INTO entries (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
            )?
            .execute(params![key.to_bytes(), value.to_bytes()])?,
        None => tx
            .prepare_cached("DELETE FROM entries WHERE key = ?1")?
            .execute(params![key.to_bytes()])?,
    };
    Ok(())
}

fn store(tx: &Transaction<'_>, height: u64, block: &VerifiedBlock, applied: &Applied) -> Result<(), MiningError> {
    let height = i64::try_from(height).map_err(|_| BlockReject::Overflow { what: "height" })?;
    tx.prepare_cached("INSERT INTO blocks (height, id, document) VALUES (?1, ?2, ?3)")?
        .execute(params![height, applied.id().0, block.to_block().to_bytes()])?;
    for (place, verified) in block.txs().iter().enumerate() {
        shown::place(tx, height, place, &verified.digest())?;
    }
    for (key, value) in applied.changes() {
        put(tx, key, value.as_ref())?;
    }
    Ok(())
}

fn stored_block(db: &Connection, height: i64) -> Result<Option<Block>, MiningError> {
    let row: Option<(Vec<u8>, Vec<u8>)> = db
        .prepare_cached("SELECT id, document FROM blocks WHERE height = ?1")?
        .query_row([height], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((id, document)) = row else { return Ok(None) };
    debug_assert!(document.len() <= BLOCK_BYTES_MAX);
    let block = Block::parse(&document)?;
    if block.header.id().0 != *id || i64::try_from(block.header.height) != Ok(height) {
        return Err(MiningError::Damaged {
            what: format!("block {height} stands at the place of another"),
        });
    }
    Ok(Some(block))
}

fn restore(db: &Connection, genesis: Genesis, start: &State, base: Option<&Header>) -> Result<State, MiningError> {
    let newest: i64 = db.query_row("SELECT coalesce(max(height), 0) FROM blocks", [], |row| row.get(0))?;
    // Blocks after a snapshot's go on from it; those before it do not count.
    let after = |header: &&Header| i64::try_from(header.height).is_ok_and(|height| height > newest);
    let header = match base.filter(after) {
        Some(header) => Some(*header),
        None => stored_block(db, newest)?.map(|block| block.header),
    };
    let (tip, root) = match header {
        Some(header) => (header.id(), header.state_root),
        None => (start.tip(), start.root()),
    };
    let mut statement = db.prepare("SELECT key, value FROM entries")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let mut entries = BTreeMap::new();
    for row in rows {
        let (key, value) = row?;
        let key = Key::from_bytes("stored key", &key, KEY_BYTES_MAX)?;
        entries.insert(key, Value::from_bytes("stored value", &value, VALUE_BYTES_MAX)?);
    }
    Ok(State::restore(genesis, tip, &root, entries)?)
}
