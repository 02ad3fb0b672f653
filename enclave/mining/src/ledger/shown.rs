//! What a node shows to others besides blocks: certificates of finality, one handover an epoch, and where transactions stand.

use hanzo_attestation::Digest256;
use hanzo_chain_types::{FinalityCertificate, Handover, LIGHT_PROOF_BYTES_MAX};
use hanzo_ledger::{Block, Canonical, SignedTx};
use rusqlite::{OptionalExtension, Transaction, params};

use super::{MiningLedger, stored_block};
use crate::MiningError;

/// Certificates of so many of the newest heights are kept.
pub const CERTIFICATES_KEPT: u64 = 16;
/// Of older ones, the last certified height out of so many: from any block a kept certificate is at most twice as far.
pub const CERTIFICATE_SPACING: u64 = 120;

/// A transaction and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Height of its block.
    pub height: u64,
    /// From 0.
    pub index: usize,
    /// Its block.
    pub block: Block,
    /// The transaction.
    pub tx: SignedTx,
}

impl MiningLedger {
    /// Keeps the certificate of a block that is on the disk; older ones go, so that they do not outgrow the chain. The first one of
    /// an epoch whose block is the newest makes the epoch's [`Handover`].
    ///
    /// # Does not establish
    /// That its votes verify: whoever calls has checked them, or made it of votes that it checked.
    ///
    /// # Errors
    /// [`MiningError::Gap`] for a block that is not there yet, [`MiningError::Fork`] for another block; [`MiningError::Store`].
    pub fn certify(&self, certificate: &FinalityCertificate) -> Result<(), MiningError> {
        let (height, id) = (certificate.header.height, certificate.header.id());
        let newest = self.read(|state| state.head().height);
        if self.known(newest, height, id)?.is_none() {
            let expected = newest.saturating_add(1);
            return Err(MiningError::Gap { expected, got: height });
        }
        let epoch = certificate.epoch;
        let handover = match self.handover(epoch)? {
            Some(_) => None,
            None => self.read(|state| match state.tip() == id && state.head().beacon.epoch == epoch {
                true => Handover::of(certificate.clone(), state).ok().flatten(),
                false => None,
            }),
        };
        let at = signed(height, "height")?;
        let epoch = signed(epoch, "epoch")?;
        let (kept, spacing) = (
            signed(CERTIFICATES_KEPT, "height")?,
            signed(CERTIFICATE_SPACING, "height")?,
        );
        self.db.write(|tx| -> Result<(), MiningError> {
            tx.prepare_cached("INSERT OR REPLACE INTO certificates (height, document) VALUES (?1, ?2)")?
                .execute(params![at, certificate.to_bytes()])?;
            tx.prepare_cached(
                "DELETE FROM certificates WHERE height <= ?1 AND height > ?1 - 2 * ?2 AND EXISTS (
                     SELECT 1 FROM certificates later WHERE later.height > certificates.height
                     AND later.height / ?2 = certificates.height / ?2)",
            )?
            .execute(params![at.saturating_sub(kept), spacing])?;
            if let Some(handover) = &handover {
                tx.prepare_cached("INSERT OR IGNORE INTO handovers (epoch, document) VALUES (?1, ?2)")?
                    .execute(params![epoch, handover.to_bytes()])?;
            }
            Ok(())
        })
    }

    /// The first certificate that is kept of this height or above: its block is final, and so are those before it.
    ///
    /// # Errors
    /// [`MiningError::Store`], [`MiningError::Damaged`].
    pub fn certificate_from(&self, height: u64) -> Result<Option<FinalityCertificate>, MiningError> {
        let Ok(height) = i64::try_from(height) else {
            return Ok(None);
        };
        let bytes: Option<Vec<u8>> = self.db.read(|db| -> Result<_, MiningError> {
            Ok(db
                .prepare_cached("SELECT document FROM certificates WHERE height >= ?1 ORDER BY height LIMIT 1")?
                .query_row([height], |row| row.get(0))
                .optional()?)
        })?;
        Ok(bytes.map(|bytes| FinalityCertificate::parse(&bytes)).transpose()?)
    }

    /// Height of the newest block whose certificate is kept.
    ///
    /// # Errors
    /// [`MiningError::Store`].
    pub fn certified(&self) -> Result<Option<u64>, MiningError> {
        let height: Option<i64> = self.db.read(|db| -> Result<_, MiningError> {
            Ok(db.query_row("SELECT max(height) FROM certificates", [], |row| row.get(0))?)
        })?;
        Ok(height.and_then(|height| u64::try_from(height).ok()))
    }

    /// How a light client gets from the committee of `epoch` to the next, if a block of that epoch was certified in time.
    ///
    /// # Errors
    /// [`MiningError::Store`], [`MiningError::Damaged`].
    pub fn handover(&self, epoch: u64) -> Result<Option<Handover>, MiningError> {
        let Ok(epoch) = i64::try_from(epoch) else {
            return Ok(None);
        };
        let bytes: Option<Vec<u8>> = self.db.read(|db| -> Result<_, MiningError> {
            Ok(db
                .prepare_cached("SELECT document FROM handovers WHERE epoch = ?1")?
                .query_row([epoch], |row| row.get(0))
                .optional()?)
        })?;
        let read = |bytes: Vec<u8>| Handover::from_bytes("handover", &bytes, LIGHT_PROOF_BYTES_MAX);
        Ok(bytes.map(read).transpose()?)
    }

    /// The height of the block with this id.
    ///
    /// # Errors
    /// [`MiningError::Store`].
    pub fn height_of(&self, block: &Digest256) -> Result<Option<u64>, MiningError> {
        let height: Option<i64> = self.db.read(|db| -> Result<_, MiningError> {
            Ok(db
                .prepare_cached("SELECT height FROM blocks WHERE id = ?1")?
                .query_row([block.0], |row| row.get(0))
                .optional()?)
        })?;
        Ok(height.and_then(|height| u64::try_from(height).ok()))
    }

    /// The transaction with this id ([`hanzo_ledger::Tx::digest`]) and its place.
    ///
    /// # Errors
    /// [`MiningError::Store`], [`MiningError::Damaged`].
    pub fn transaction(&self, id: &Digest256) -> Result<Option<Placed>, MiningError> {
        self.db.read(|db| -> Result<_, MiningError> {
            let row: Option<(i64, i64)> = db
                .prepare_cached("SELECT height, place FROM transactions WHERE id = ?1")?
                .query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((height, place)) = row else { return Ok(None) };
            let elsewhere = || MiningError::Damaged {
                what: format!("transaction {id} is not where the index says"),
            };
            let block = stored_block(db, height)?.ok_or_else(elsewhere)?;
            let index = usize::try_from(place).map_err(|_| elsewhere())?;
            let tx = block.txs.get(index).filter(|tx| tx.tx.digest() == *id).cloned();
            Ok(Some(Placed {
                height: block.header.height,
                index,
                tx: tx.ok_or_else(elsewhere)?,
                block,
            }))
        })
    }
}

pub(super) fn signed(number: u64, what: &'static str) -> Result<i64, MiningError> {
    i64::try_from(number).map_err(|_| hanzo_ledger::BlockReject::Overflow { what }.into())
}

/// Writes down where a transaction stands.
pub(super) fn place(tx: &Transaction<'_>, height: i64, place: usize, id: &Digest256) -> Result<(), MiningError> {
    tx.prepare_cached("INSERT OR IGNORE INTO transactions (id, height, place) VALUES (?1, ?2, ?3)")?
        .execute(params![id.0, height, signed(place as u64, "place")?])?;
    Ok(())
}

/// Goes through the blocks that a store had before it had an index.
pub(super) fn index(tx: &Transaction<'_>) -> Result<(), MiningError> {
    let heights: Vec<i64> = tx
        .prepare("SELECT height FROM unindexed")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for height in heights {
        if let Some(block) = stored_block(tx, height)? {
            for (at, signed) in block.txs.iter().enumerate() {
                place(tx, height, at, &signed.tx.digest())?;
            }
        }
        tx.execute("DELETE FROM unindexed WHERE height = ?1", [height])?;
    }
    Ok(())
}
