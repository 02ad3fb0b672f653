//! Group commit: receipts that end at the same time share one transaction and one wait for the disk.
//!
//! Callers queue. One of them takes what waits, numbers, chains and signs it while the group before is still on its way to
//! the disk, then appends it with whoever came meanwhile, in the order of the queue, and tells each after the commit. So a lonely
//! receipt costs one commit, and a hundred at once cost a few.
//!
//! Each receipt is written under a savepoint: one that the store refuses fails alone, and its number goes to the next, which is
//! signed again. A commit that fails leaves nothing of its group: each member is told so, and the next group starts at the same
//! number. Signatures over numbers that were given twice that way never leave the process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hanzo_attestation::Digest384;
use hanzo_attestation::keyset::{ServedModel, SignaturePair};
use hanzo_log::Frontier;
use hanzo_pqc::Domain;
use hanzo_store::StoreError;
use hanzo_verifier::receipt::{DisclosedReceipt, Receipt, ReceiptId, SignedReceipt, Transport};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::log::{Finished, Pending};
use crate::queue::{Lead, Queue, Turn};
use crate::tree::{self, Charge, Of};
use crate::{ReceiptLog, ReceiptLogError, accounts};

/// Most receipts in one transaction: bounds how long the first of them waits for the last, and what SQLite keeps
/// until the commit.
const MEMBERS_MAX: usize = 64;

type Outcome = Result<SignedReceipt, ReceiptLogError>;

/// The receipts that are to be numbered.
pub(crate) struct Line {
    queue: Queue<Draft, Outcome>,
    waiting: AtomicUsize,
    /// Where the receipts end that are written so far, on the disk or on their way to it: a guess for whoever signs ahead.
    signed: Mutex<Next>,
    /// Where the receipts on the disk end. Held by whoever writes.
    stored: Mutex<Stored>,
}

/// What is on the disk.
struct Stored {
    next: Next,
    groups: u64,
}

/// Number and predecessor of the next receipt, as this guest knows them: a store that says otherwise was put back under it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    seq: u64,
    prev: Digest384,
}

/// All of a receipt but its place in the chain.
struct Draft {
    id: ReceiptId,
    model: ServedModel,
    transport: Transport,
    request_commitment: Digest384,
    response_commitment: Digest384,
    end: Finished,
    /// SHA-256 of the owner's secret.
    owner: Option<[u8; 32]>,
    /// Salts that the owner's secret opens.
    sealed: Option<Vec<u8>>,
}

/// A receipt at its place.
struct Placed {
    signed: SignedReceipt,
    document: Vec<u8>,
    after: Next,
}

impl Line {
    pub(crate) fn new(next: Next) -> Self {
        Self {
            queue: Queue::new(),
            waiting: AtomicUsize::new(0),
            signed: Mutex::new(next),
            stored: Mutex::new(Stored { next, groups: 0 }),
        }
    }
}

impl Next {
    /// What the store says.
    pub(crate) fn read(db: &Connection, keyset_digest: &Digest384) -> Result<Self, ReceiptLogError> {
        let last: Option<(i64, Vec<u8>)> = db
            .query_row(
                "SELECT seq, document FROM receipts WHERE keyset_digest = ?1 ORDER BY seq DESC LIMIT 1",
                params![keyset_digest.0],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let Some((seq, document)) = last else {
            return Ok(Self {
                seq: 0,
                prev: *keyset_digest,
            });
        };
        let damaged = |what| ReceiptLogError::Damaged { seq, what };
        let before = SignedReceipt::from_bytes(&document).map_err(|_| damaged("not a receipt"))?;
        if before.receipt.seq != seq as u64 || before.receipt.keyset_digest != *keyset_digest {
            return Err(damaged("stands at the place of another"));
        }
        Ok(Self {
            seq: before.receipt.seq + 1,
            prev: before.receipt.digest()?,
        })
    }
}

impl Placed {
    /// Whether it is the receipt after `next`.
    fn is_at(&self, next: &Next) -> bool {
        self.signed.receipt.seq == next.seq && self.signed.receipt.prev == next.prev
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ReceiptLog {
    /// Numbers, chains, signs and appends the receipt, together with those that end at the same time. It is on the disk when this
    /// returns `Ok`; on an error there is none, and its number goes to the next. Blocks on the disk.
    ///
    /// # Errors
    /// The store, or a damaged log: [`ReceiptLogError::Group`] where it was that of all who were to be written together.
    pub fn finish(&self, pending: Pending, end: Finished) -> Result<DisclosedReceipt, ReceiptLogError> {
        let Pending {
            id,
            model,
            owner,
            transport,
            salts,
            request_commitment,
            response,
        } = pending;
        let draft = Draft {
            response_commitment: response.finish(),
            sealed: owner.as_ref().map(|o| o.seal(&id, &salts)).transpose()?,
            owner: owner.map(|o| o.digest().0),
            id,
            model,
            transport,
            request_commitment,
            end,
        };
        self.append(draft).map(|signed| signed.disclose(salts))
    }

    /// How many transactions the receipts of this boot took: fewer than there are receipts once some ended at the same time.
    pub fn groups(&self) -> u64 {
        locked(&self.line.stored).groups
    }

    /// How many callers of [`ReceiptLog::finish`] wait for their receipt.
    pub fn waiting(&self) -> usize {
        self.line.waiting.load(Ordering::SeqCst)
    }

    fn append(&self, draft: Draft) -> Outcome {
        let ticket = self.line.queue.join(draft);
        self.line.waiting.fetch_add(1, Ordering::SeqCst);
        let outcome = loop {
            match self.line.queue.turn(&ticket) {
                Turn::Lead(lead) => self.lead(lead),
                Turn::Done(outcome) => break outcome,
            }
        };
        self.line.waiting.fetch_sub(1, Ordering::SeqCst);
        outcome.unwrap_or(Err(StoreError::Aborted.into()))
    }

    /// Works for those who wait.
    fn lead(&self, lead: Lead<'_, Draft, Outcome>) {
        let mut ahead = Vec::new();
        let mut next = *locked(&self.line.signed);
        for job in lead.take(MEMBERS_MAX) {
            let placed = self.place(&job.what, &next).ok();
            next = placed.as_ref().map_or(next, |placed| placed.after);
            ahead.push((job, placed));
        }
        // Until here the group before may have been on its way to the disk.
        let mut stored = locked(&self.line.stored);
        let mut members = Vec::new();
        let mut lead = Some(lead);
        let written = self.log.append(|tx, frontier| {
            self.check_next(tx, stored.next.seq)?;
            let mut next = stored.next;
            let mut batch = std::mem::take(&mut ahead).into_iter();
            loop {
                while let Some((job, placed)) = batch.next() {
                    let outcome = self.write(tx, frontier, &job.what, placed, &mut next);
                    if !tx.is_autocommit() {
                        members.push((job, outcome));
                        continue;
                    }
                    // The database ended the transaction by itself.
                    ahead = std::iter::once((job, None)).chain(batch).collect();
                    return Err(outcome.err().unwrap_or_else(|| StoreError::Aborted.into()));
                }
                let room = MEMBERS_MAX.saturating_sub(members.len());
                let more = lead.as_ref().map_or_else(Vec::new, |lead| lead.take(room));
                if more.is_empty() {
                    break;
                }
                batch = more.into_iter().map(|job| (job, None)).collect::<Vec<_>>().into_iter();
            }
            // Whoever comes from now on is signed by the next one who leads, while this group is written.
            *locked(&self.line.signed) = next;
            lead = None;
            Ok(next)
        });
        drop(lead);
        match written {
            Ok(next) => {
                stored.next = next;
                stored.groups += 1;
                drop(stored);
                members.into_iter().for_each(|(job, outcome)| job.tell(outcome));
            }
            Err(error) => {
                drop(stored);
                let error = Arc::new(error);
                let ahead = ahead.into_iter().map(|(job, _)| job);
                for job in members.into_iter().map(|(job, _)| job).chain(ahead) {
                    job.tell(Err(ReceiptLogError::Group(Arc::clone(&error))));
                }
            }
        }
    }

    /// Signs a receipt at a place.
    fn place(&self, draft: &Draft, at: &Next) -> Result<Placed, ReceiptLogError> {
        let (model, end) = (&draft.model, &draft.end);
        let receipt = Receipt {
            base_root: model.base_root,
            chat_template_sha256: model.chat_template_sha256,
            completion_tokens: end.completion_tokens,
            counted_by: model.counted_by,
            id: draft.id,
            keyset_digest: self.keyset_digest,
            model: model.name.clone(),
            outcome: end.outcome,
            prev: at.prev,
            prompt_tokens: end.prompt_tokens,
            request_commitment: draft.request_commitment,
            response_commitment: draft.response_commitment,
            sampling: end.sampling.clone(),
            seq: at.seq,
            simulated: self.keyset.simulated,
            tier: self.keyset.tier,
            time: end.time,
            time_source: self.keyset.time.clone(),
            tokenizer_sha256: model.tokenizer_sha256,
            transport: draft.transport.as_str().to_owned(),
            version: 1,
            weights_root: model.weights_root,
            work: end.work.clone(),
        };
        let signature = self.keys.sign(Domain::Receipt, &receipt.canonical()?)?;
        let after = Next {
            seq: at.seq + 1,
            prev: receipt.digest()?,
        };
        let signed = SignedReceipt {
            receipt,
            signature: SignaturePair {
                ed25519: signature.ed25519_hex(),
                ml_dsa: signature.ml_dsa_hex(),
            },
        };
        Ok(Placed {
            document: signed.to_bytes()?,
            signed,
            after,
        })
    }

    /// Writes one receipt under a savepoint of its own, at `next`; what was signed for another place is signed again.
    fn write(
        &self,
        tx: &Transaction<'_>,
        frontier: &mut Frontier,
        draft: &Draft,
        ahead: Option<Placed>,
        next: &mut Next,
    ) -> Outcome {
        let placed = match ahead.filter(|placed| placed.is_at(next)) {
            Some(placed) => placed,
            None => self.place(draft, next)?,
        };
        tx.prepare_cached("SAVEPOINT member")?.execute([])?;
        let mut grown = frontier.clone();
        match self.insert(tx, &mut grown, draft, &placed) {
            Ok(()) => {
                tx.prepare_cached("RELEASE member")?.execute([])?;
                (*frontier, *next) = (grown, placed.after);
                Ok(placed.signed)
            }
            Err(error) => {
                if !tx.is_autocommit() {
                    tx.execute_batch("ROLLBACK TO member; RELEASE member;")?;
                }
                Err(error)
            }
        }
    }

    fn insert(
        &self,
        tx: &Transaction<'_>,
        frontier: &mut Frontier,
        draft: &Draft,
        placed: &Placed,
    ) -> Result<(), ReceiptLogError> {
        tx.prepare_cached(
            "INSERT INTO receipts (keyset_digest, seq, id, document, owner, salts) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            self.keyset_digest.0,
            placed.signed.receipt.seq as i64,
            draft.id.0,
            placed.document,
            draft.owner,
            draft.sealed
        ])?;
        let end = &draft.end;
        let charge = end.account.as_ref().map(|account| Charge {
            account,
            prompt_tokens: end.prompt_tokens,
            completion_tokens: end.completion_tokens,
        });
        tree::append(tx, frontier, &Of::Receipt(&draft.id, &placed.document, charge.as_ref()))?;
        charge.map_or(Ok(()), |charge| accounts::charge(tx, &charge))
    }

    /// That the store has as many receipts of this keyset as this guest gave it.
    fn check_next(&self, tx: &Transaction<'_>, seq: u64) -> Result<(), ReceiptLogError> {
        let stored: i64 = tx
            .prepare_cached("SELECT coalesce(max(seq) + 1, 0) FROM receipts WHERE keyset_digest = ?1")?
            .query_row(params![self.keyset_digest.0], |row| row.get(0))?;
        match stored == seq as i64 {
            true => Ok(()),
            false => Err(ReceiptLogError::Damaged {
                seq: seq as i64,
                what: "the receipts before it are not as many as this guest stored",
            }),
        }
    }
}
