//! What a compacted journal begins with: the head that it goes on from, and everything that the guard still remembers.
//!
//! A checkpoint stands in the chain as any record does: its chain hash is made over that of the last record before it, so the newest
//! head, which counts it, commits to the whole history. The records before it are in the file no more.

use std::sync::Arc;

use crate::codec::Cursor;
use crate::error::SignerError;
use crate::freshness::Head;
use crate::guard::{Remembered, SigningGuard, Slot};
use crate::journal::{JOURNAL_BYTES_MAX, Record};
use crate::request::Kind;

/// Least growth that is worth a compaction, in bytes.
const GROWTH_BYTES: u64 = 4 << 20;

/// The first record of a compacted journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Whose journal: as in the record that it stands for.
    pub(crate) owner: Vec<u8>,
    /// Where the journal stood that it replaces. Never the head of an empty one.
    pub(crate) before: Head,
    /// How many records behind this one belong to it.
    pub(crate) records: u64,
}

impl Checkpoint {
    /// Of a guard: the checkpoint and the records that restore it.
    pub(crate) fn of(owner: Vec<u8>, before: Head, guard: &SigningGuard) -> Vec<Record> {
        let floors = guard.floors().into_iter().map(Record::Floor);
        let terms = guard.terms().map(|(teleport, terms)| Record::Terms { teleport, terms });
        let places = guard.remembered().map(Record::Place);
        let mut records = vec![Record::Checkpoint(Self {
            owner,
            before,
            records: 0,
        })];
        records.extend(floors.chain(terms).chain(places));
        let count = records.len() as u64 - 1;
        if let Some(Record::Checkpoint(checkpoint)) = records.first_mut() {
            checkpoint.records = count;
        }
        records
    }

    /// The number of its last record.
    pub(crate) fn end(&self) -> Option<u64> {
        self.before.count.checked_add(1)?.checked_add(self.records)
    }

    /// Whether the newest head counts it whole.
    ///
    /// # Errors
    /// [`SignerError::Unfenced`]: then whoever holds the file may have written it.
    pub(crate) fn is_counted_by(&self, newest: Head) -> Result<(), SignerError> {
        match self.end() {
            Some(end) if end <= newest.count => Ok(()),
            end => Err(SignerError::Unfenced {
                at: self.before.count.saturating_add(1),
                end: end.unwrap_or(u64::MAX),
                fenced: newest.count,
            }),
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before.count.to_be_bytes());
        out.extend_from_slice(&self.before.hash);
        out.extend_from_slice(&self.records.to_be_bytes());
        out.extend_from_slice(&self.owner);
    }

    pub(crate) fn read(c: &mut Cursor<'_>) -> Option<Self> {
        let before = Head {
            count: c.u64()?,
            hash: c.array()?,
        };
        let records = c.u64()?;
        let owner = c.rest().to_vec();
        (before.count > 0 && records <= JOURNAL_BYTES_MAX).then_some(Self { owner, before, records })
    }
}

/// Whether a journal of `bytes` is worth writing anew, whose checkpoint would be of some `live` bytes.
pub(crate) fn is_worth_it(bytes: u64, live: u64) -> bool {
    bytes >= live.saturating_mul(2).saturating_add(GROWTH_BYTES)
}

/// Bytes that one remembered place takes in a checkpoint, at most, but for its signature.
pub(crate) const PLACE_BYTES: u64 = 256;

pub(crate) fn write_place(place: &Remembered, out: &mut Vec<u8>) {
    let number = |out: &mut Vec<u8>, tag: u8, first: u64, second: u64| {
        out.push(tag);
        out.extend_from_slice(&first.to_be_bytes());
        out.extend_from_slice(&second.to_be_bytes());
    };
    let named = |out: &mut Vec<u8>, tag: u8, name: &[u8], number: u64| {
        out.push(tag);
        out.extend_from_slice(name);
        out.extend_from_slice(&number.to_be_bytes());
    };
    match place.slot {
        Slot::Notarize(epoch, view) => number(out, 0, epoch, view),
        Slot::NullifyOrFinalize(epoch, view) => number(out, 1, epoch, view),
        Slot::Possession(validator, incarnation) => named(out, 2, &validator, incarnation),
        Slot::Receipt(seq) => number(out, 3, seq, 0),
        Slot::Transaction(nonce) => number(out, 4, nonce, 0),
        Slot::RotateKey(validator, incarnation) => named(out, 5, &validator, incarnation),
        Slot::Claim(teleport, epoch) => named(out, 6, &teleport, epoch),
        Slot::Observed(chain, contract, burn) => {
            out.push(7);
            out.extend_from_slice(&chain.to_be_bytes());
            out.extend_from_slice(&contract);
            out.extend_from_slice(&burn.to_be_bytes());
        }
    }
    out.push(place.kind.tag());
    out.extend_from_slice(&place.content);
    // No signature is no bytes: there are none of that length.
    out.extend_from_slice(place.signature.as_deref().unwrap_or_default());
}

pub(crate) fn read_place(c: &mut Cursor<'_>) -> Option<Remembered> {
    let slot = match c.u8()? {
        0 => Slot::Notarize(c.u64()?, c.u64()?),
        1 => Slot::NullifyOrFinalize(c.u64()?, c.u64()?),
        2 => Slot::Possession(c.array()?, c.u64()?),
        3 => Slot::Receipt(first_of_two(c)?),
        4 => Slot::Transaction(first_of_two(c)?),
        5 => Slot::RotateKey(c.array()?, c.u64()?),
        6 => Slot::Claim(c.array()?, c.u64()?),
        7 => Slot::Observed(c.u64()?, c.array()?, c.u64()?),
        _ => return None,
    };
    let tag = c.u8()?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.tag() == tag)?;
    let content = c.array()?;
    let signature = c.rest();
    let signature: Option<Arc<[u8]>> = (!signature.is_empty()).then(|| signature.into());
    slot.is_of(kind).then_some(Remembered {
        slot,
        kind,
        content,
        signature,
    })
}

fn first_of_two(c: &mut Cursor<'_>) -> Option<u64> {
    let (first, second) = (c.u64()?, c.u64()?);
    (second == 0).then_some(first)
}
