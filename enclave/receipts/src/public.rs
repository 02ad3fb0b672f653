//! The log for everybody: name, key, signed heads, tiles and proofs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hanzo_attestation::Digest384;
use hanzo_attestation::keyset::{Keyset, LogKeys};
use hanzo_log::tile::Tile;
use hanzo_log::{Checkpoint, Frontier, LogVerifier, Origin, SignedCheckpoint};
use hanzo_pqc::SignatureSuite;
use hanzo_pqc::sign::{NoteSigningKeys, SEED_LEN};
use hanzo_store::EncryptedDb;
use hanzo_verifier::receipt::{Fence, KeysetLeaf, LogHead, LogProof, ReceiptId};
use rusqlite::{OptionalExtension, Transaction, params};
use zeroize::Zeroizing;

use crate::ReceiptLogError;
use crate::tree::{self, Of};

/// Bytes that the log's key is made from.
pub const LOG_SEED_LEN: usize = SEED_LEN;

/// One append-only log of all receipts of a store, whichever boot made them.
///
/// Under [`Fence::Kbs`] it shows a head only when [`PublicLog::show`] was told that the fence holds it: what was shown can then
/// never be taken back. Under [`Fence::None`] it shows what it has.
pub struct PublicLog {
    db: Arc<EncryptedDb>,
    keys: NoteSigningKeys,
    verifier: LogVerifier,
    fence: Fence,
    /// Where this guest left the tree: a store that stands elsewhere was put back under it.
    tip: Mutex<Frontier>,
    shown: Mutex<Option<Shown>>,
}

struct Shown {
    size: u64,
    note: String,
}

impl PublicLog {
    /// The log in a store that was opened with [`crate::SCHEMA`]. The first opening makes its key out of `seed`, whose bytes
    /// the caller drew for this and uses for nothing else; later ones leave `seed` alone. Reads the whole tree.
    ///
    /// # Errors
    /// [`ReceiptLogError::Origin`] if the store holds a log of another name, [`ReceiptLogError::Tree`] if what it holds
    /// does not fit together, [`ReceiptLogError::Usage`] if what accounts used is not what its leaves add up to; the store.
    pub fn open(
        db: Arc<EncryptedDb>,
        origin: Origin,
        suite: SignatureSuite,
        seed: &[u8; LOG_SEED_LEN],
        fence: Fence,
    ) -> Result<Self, ReceiptLogError> {
        let keys = db.write(|tx| -> Result<_, ReceiptLogError> {
            let held: Option<(String, String, Vec<u8>)> = tx
                .query_row("SELECT origin, suite, seed FROM log_key", [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            let Some((held, suite, sealed)) = held else {
                let sealed = db
                    .columns()
                    .seal("log_key", "seed", origin.as_str().as_bytes(), 1, seed)?;
                tx.execute(
                    "INSERT INTO log_key (id, origin, suite, seed) VALUES (1, ?1, ?2, ?3)",
                    params![origin.as_str(), suite.name(), sealed],
                )?;
                return Ok(NoteSigningKeys::from_seed(suite, seed)?);
            };
            if held != origin.as_str() {
                return Err(ReceiptLogError::Origin {
                    held,
                    named: origin.to_string(),
                });
            }
            let damaged = |what: &str| ReceiptLogError::Tree { what: what.to_owned() };
            let suite = SignatureSuite::from_name(&suite).ok_or_else(|| damaged("its key has an unknown suite"))?;
            let opened = db.columns().open("log_key", "seed", held.as_bytes(), 1, &sealed)?;
            let seed: Zeroizing<[u8; LOG_SEED_LEN]> = Zeroizing::new(
                opened
                    .as_slice()
                    .try_into()
                    .map_err(|_| damaged("its key has another length"))?,
            );
            Ok(NoteSigningKeys::from_seed(suite, &seed)?)
        })?;
        let tip = Mutex::new(db.read(tree::replay)?);
        Ok(Self {
            tip,
            verifier: LogVerifier::new(origin, keys.verifying_keys().clone()),
            keys,
            fence,
            shown: Mutex::default(),
            db,
        })
    }

    /// Name and public keys, as a keyset names them.
    pub fn keys(&self) -> LogKeys {
        self.verifier.key().to_keyset()
    }

    /// Checks heads and proofs of this log.
    pub fn verifier(&self) -> &LogVerifier {
        &self.verifier
    }

    /// Who holds its head.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    pub(crate) fn db(&self) -> &Arc<EncryptedDb> {
        &self.db
    }

    /// Where it stands on the disk.
    ///
    /// # Errors
    /// The store.
    pub fn head(&self) -> Result<LogHead, ReceiptLogError> {
        self.db.read(|db| Ok(tree::head_of(&tree::newest(db)?)))
    }

    /// Where it stood with `size` leaves; `None` if it has fewer.
    ///
    /// # Errors
    /// The store.
    pub fn head_at(&self, size: u64) -> Result<Option<LogHead>, ReceiptLogError> {
        self.db.read(|db| tree::head_at(db, size))
    }

    /// Appends the leaf of a keyset, once: its receipts follow.
    pub(crate) fn begin_keyset(&self, keyset: &Keyset, digest: &Digest384) -> Result<(), ReceiptLogError> {
        self.append(|tx, frontier| {
            if tree::has_keyset(tx, digest)? {
                return Ok(());
            }
            let leaf = KeysetLeaf::new(keyset.clone(), tree::head_of(frontier), self.fence)?.to_bytes()?;
            tree::append(tx, frontier, &Of::Keyset(digest, &leaf))
        })
    }

    /// Runs `f`, which may append leaves, in one durable transaction after the leaf that this guest appended last.
    pub(crate) fn append<T>(
        &self,
        f: impl FnOnce(&Transaction<'_>, &mut Frontier) -> Result<T, ReceiptLogError>,
    ) -> Result<T, ReceiptLogError> {
        let mut tip = self.tip.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, frontier) = self.db.write(|tx| {
            let mut frontier = tree::newest(tx)?;
            if frontier != *tip {
                return Err(tree::broken("it is not where this guest left it"));
            }
            let value = f(tx, &mut frontier)?;
            Ok((value, frontier))
        })?;
        *tip = frontier;
        Ok(value)
    }

    /// Shows the head of `size` leaves from now on, because the fence holds it. A smaller one than is shown changes nothing.
    ///
    /// # Errors
    /// The store; [`ReceiptLogError::Tree`] if there are not so many leaves.
    pub fn show(&self, size: u64) -> Result<(), ReceiptLogError> {
        let mut shown = self.shown();
        if shown.as_ref().is_some_and(|shown| shown.size >= size) {
            return Ok(());
        }
        let head = self.head_at(size)?.ok_or_else(|| ReceiptLogError::Tree {
            what: format!("it has fewer than {size} leaves"),
        })?;
        *shown = Some(self.sign(head)?);
        Ok(())
    }

    /// The newest head that may be shown, as a signed note.
    ///
    /// # Errors
    /// [`ReceiptLogError::NotShown`] until the fence holds one; the store.
    pub fn checkpoint(&self) -> Result<String, ReceiptLogError> {
        self.newest_shown(|shown| shown.note.clone())
    }

    /// A tile under the newest head that may be shown; `None` if there is no such tile.
    ///
    /// # Errors
    /// As [`PublicLog::checkpoint`].
    pub fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, ReceiptLogError> {
        let size = match self.fence {
            Fence::Kbs => self.newest_shown(|shown| shown.size)?,
            Fence::None => self.head()?.size,
        };
        self.db.read(|db| tree::tile_bytes(db, tile, size))
    }

    /// Proves that a receipt is in the log; `None` until a head that may be shown covers it.
    ///
    /// # Errors
    /// The store.
    pub fn proof(&self, id: &ReceiptId) -> Result<Option<LogProof>, ReceiptLogError> {
        let Some(index) = self.db.read(|db| tree::index_of(db, id))? else {
            return Ok(None);
        };
        let newest = match self.newest_shown(|shown| (shown.size, shown.note.clone())) {
            Ok(newest) => newest,
            Err(ReceiptLogError::NotShown) => return Ok(None),
            Err(e) => return Err(e),
        };
        let (size, checkpoint) = newest;
        let path = self.db.read(|db| tree::inclusion(db, index, size))?;
        Ok(path.map(|path| LogProof {
            checkpoint,
            index,
            path,
        }))
    }

    fn newest_shown<T>(&self, take: impl FnOnce(&Shown) -> T) -> Result<T, ReceiptLogError> {
        let mut shown = self.shown();
        if self.fence == Fence::None {
            let head = self.head()?;
            if shown.as_ref().is_none_or(|shown| shown.size != head.size) {
                *shown = Some(self.sign(head)?);
            }
        }
        shown.as_ref().map(take).ok_or(ReceiptLogError::NotShown)
    }

    fn sign(&self, head: LogHead) -> Result<Shown, ReceiptLogError> {
        let checkpoint = Checkpoint {
            origin: self.verifier.origin().clone(),
            size: head.size,
            root: head.root,
        };
        let signature = self.keys.sign_note(&checkpoint.text())?;
        let note = SignedCheckpoint::assemble(checkpoint, &self.verifier, &signature)?.to_text();
        Ok(Shown { size: head.size, note })
    }

    fn shown(&self) -> MutexGuard<'_, Option<Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
