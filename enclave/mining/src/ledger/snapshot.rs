//! A state handed out in parts, and a state taken from somebody else in place of this one.

use std::sync::{Arc, PoisonError};

use hanzo_attestation::Digest256;
use hanzo_chain_types::{FinalityCertificate, HEADERS_MAX, Handover, Offer, Snapshot};
use hanzo_ledger::snapshot::{Cut, PART_BYTES, STATE_BYTES_MAX};
use hanzo_ledger::{Canonical, Header, List, State};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::shown::signed;
use super::{MiningLedger, put};
use crate::MiningError;

/// States that are handed out at one time: who began with the one before the newest can go on.
const SERVED_MAX: usize = 2;

/// What is handed out.
#[derive(Default)]
pub(super) struct Served {
    /// States, oldest first.
    cuts: Vec<Arc<(Header, Cut)>>,
    /// The newest one was longer than may be: none is cut before the next epoch has ended.
    large: bool,
}

impl Served {
    fn add(&mut self, header: Option<Header>, cut: Option<Cut>) -> Result<(), MiningError> {
        let cut = header.zip(cut);
        self.large = cut.is_none();
        self.cuts
            .push(Arc::new(cut.ok_or(MiningError::Large { max: STATE_BYTES_MAX })?));
        let more = self.cuts.len().saturating_sub(SERVED_MAX);
        self.cuts.drain(..more);
        Ok(())
    }

    fn of(&self, plan: &Digest256) -> Option<Arc<(Header, Cut)>> {
        self.cuts.iter().find(|cut| cut.1.digest() == *plan).cloned()
    }
}

impl MiningLedger {
    /// Height of the block after which this store's own blocks begin, if it went on from a snapshot. It may have still earlier ones.
    pub fn base(&self) -> Option<u64> {
        self.base
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .map(|header| header.height)
    }

    /// Why there is no block of this height here: it is before a snapshot that this store went on from.
    pub fn absent(&self, height: u64) -> Option<MiningError> {
        let base = self.base().filter(|base| (1..=*base).contains(&height))?;
        Some(MiningError::Pruned { height, base })
    }

    /// The header of this height, of a block or of the newest snapshot that this store went on from.
    pub(super) fn header(&self, height: u64) -> Result<Option<Header>, MiningError> {
        let base = *self.base.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(header) = base.filter(|header| header.height == height) {
            return Ok(Some(header));
        }
        Ok(self.block(height)?.map(|block| block.header))
    }

    /// What can be handed out above this height: the state after the last block of an epoch; after a restart, until an epoch has ended,
    /// the newest one that is certified. The two newest such states are kept in memory.
    ///
    /// # Errors
    /// [`MiningError::Large`] for a state longer than may go over the wire; [`MiningError::Store`], [`MiningError::Damaged`].
    pub fn offer(&self, above: u64) -> Result<Option<Offer>, MiningError> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.cut_boundary(&mut served)? && served.cuts.is_empty() {
            if served.large {
                return Err(MiningError::Large { max: STATE_BYTES_MAX });
            }
            let newest = self.read(|state| state.head().height);
            if newest > above && self.certificate_from(newest)?.is_some() {
                self.cut(&mut served, self.read(State::clone))?;
            }
        }
        let Some(newest) = served.cuts.last().filter(|cut| cut.0.height > above).cloned() else {
            return Ok(None);
        };
        drop(served);
        let from = newest.0.height;
        let near = |c: &FinalityCertificate| c.header.height.saturating_sub(from) <= HEADERS_MAX as u64;
        let Some(certificate) = self.certificate_from(from)?.filter(near) else {
            return Ok(None);
        };
        let mut headers = Vec::new();
        for height in from..certificate.header.height {
            // Not here: this store went on from a snapshot since.
            let Some(header) = self.header(height)? else {
                return Ok(None);
            };
            headers.push(header);
        }
        Ok(List::new(headers).map(|headers| Offer {
            certificate,
            headers,
            plan: newest.1.plan().clone(),
        }))
    }

    /// Cuts the state after the last block of an epoch, if one ended since; whether one did.
    fn cut_boundary(&self, served: &mut Served) -> Result<bool, MiningError> {
        let boundary = self.boundary.lock().unwrap_or_else(PoisonError::into_inner).take();
        boundary.map_or(Ok(false), |state| self.cut(served, state).map(|()| true))
    }

    fn cut(&self, served: &mut Served, state: State) -> Result<(), MiningError> {
        let header = self
            .header(state.head().height)?
            .filter(|header| header.id() == state.tip());
        served.add(header, state.cut(PART_BYTES))
    }

    /// A part of a state that is handed out, by its plan's digest ([`hanzo_ledger::snapshot::Plan::digest`]); `None` if there is none of
    /// that plan here, or not any more.
    ///
    /// # Errors
    /// As [`MiningLedger::offer`].
    pub fn part(&self, plan: &Digest256, part: u16) -> Result<Option<Vec<u8>>, MiningError> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cut = served.of(plan);
        // Nobody asked this node for an offer yet: others handed out the same state.
        if cut.is_none() && self.cut_boundary(&mut served)? {
            cut = served.of(plan);
        }
        drop(served);
        Ok(cut.and_then(|cut| cut.1.part(part)))
    }

    /// Keeps handovers that the caller followed: who has none of its own can show them to light clients, too.
    ///
    /// # Errors
    /// [`MiningError::Store`].
    pub fn keep_handovers(&self, handovers: &[Handover]) -> Result<(), MiningError> {
        self.db.write(|tx| -> Result<(), MiningError> {
            for handover in handovers {
                let epoch = signed(handover.certificate.epoch, "epoch")?;
                tx.prepare_cached("INSERT OR IGNORE INTO handovers (epoch, document) VALUES (?1, ?2)")?
                    .execute(params![epoch, handover.to_bytes()])?;
            }
            Ok(())
        })
    }

    /// Goes on from a final state instead of this one: all of it is on the disk when this returns, or nothing. Blocks that are here stay.
    ///
    /// # Errors
    /// [`MiningError::ForeignGenesis`] for another chain's, [`MiningError::Behind`] for one that is not ahead; [`MiningError::Store`].
    pub fn install(&self, snapshot: Snapshot) -> Result<(), MiningError> {
        let (header, certificate, new) = snapshot.into_parts();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let (expected, got) = (state.network().genesis, new.network().genesis);
        if expected != got {
            return Err(MiningError::ForeignGenesis { expected, got });
        }
        let newest = state.head().height;
        if header.height <= newest {
            let got = header.height;
            return Err(MiningError::Behind { newest, got });
        }
        self.db.write(|tx| place(tx, &header, &certificate, &new))?;
        *state = new;
        *self.base.write().unwrap_or_else(PoisonError::into_inner) = Some(header);
        Ok(())
    }
}

fn place(
    tx: &Transaction<'_>,
    header: &Header,
    certificate: &FinalityCertificate,
    state: &State,
) -> Result<(), MiningError> {
    let height = signed(header.height, "height")?;
    tx.execute("DELETE FROM entries", [])?;
    for (key, value) in state.entries() {
        put(tx, key, Some(value))?;
    }
    tx.execute(
        "INSERT INTO bases (height, id, header) VALUES (?1, ?2, ?3)",
        params![height, header.id().0, header.to_bytes()],
    )?;
    if certificate.header == *header {
        tx.execute(
            "INSERT OR REPLACE INTO certificates (height, document) VALUES (?1, ?2)",
            params![height, certificate.to_bytes()],
        )?;
    }
    Ok(())
}

/// The newest block that this store went on from.
pub(super) fn newest_base(db: &Connection) -> Result<Option<Header>, MiningError> {
    let row: Option<(Vec<u8>, Vec<u8>)> = db
        .query_row("SELECT id, header FROM bases ORDER BY height DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((id, bytes)) = row else { return Ok(None) };
    let header = Header::from_bytes("stored header", &bytes, bytes.len())?;
    match header.id().0 == *id {
        true => Ok(Some(header)),
        false => Err(MiningError::Damaged {
            what: format!("the header of block {} stands at the place of another", header.height),
        }),
    }
}
