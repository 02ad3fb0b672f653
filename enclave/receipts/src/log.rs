//! Begin, finish, fetch.

use hanzo_attestation::Digest384;
use hanzo_attestation::keyset::{Keyset, ServedModel};
use hanzo_attestation::name::Name;
use hanzo_pqc::sign::SigningKeys;
use hanzo_store::EncryptedDb;
use hanzo_verifier::receipt::{
    Commitment, DisclosedReceipt, Outcome, ReceiptId, Salt, Salts, Sampling, SignedReceipt, Transport, Work,
};
use rusqlite::{OptionalExtension, params};
use std::sync::Arc;

use crate::group::{Line, Next};
use crate::{Owner, PublicLog, ReceiptLogError};

/// The receipts of one keyset, appended to the guest's store and to its log.
pub struct ReceiptLog {
    pub(crate) log: Arc<PublicLog>,
    db: Arc<EncryptedDb>,
    pub(crate) keys: SigningKeys,
    pub(crate) keyset: Keyset,
    pub(crate) keyset_digest: Digest384,
    pub(crate) line: Line,
}

/// What is known when a request starts.
pub struct RequestStart<'a> {
    /// Which model, as the keyset names it.
    pub model: &'a str,
    /// The exact bytes of the request body.
    pub request: &'a [u8],
    /// Who may fetch the receipt; `None`: nobody.
    pub owner: Option<Owner>,
    /// How it came.
    pub transport: Transport,
}

/// Random bytes of one request.
pub struct FreshBytes {
    /// Becomes the receipt's id.
    pub id: [u8; 16],
    /// Hides the request in its commitment.
    pub request_salt: [u8; 32],
    /// Hides the response in its commitment.
    pub response_salt: [u8; 32],
}

/// A request that has its id and no receipt yet. Bytes of the response are committed to as they leave.
pub struct Pending {
    pub(crate) id: ReceiptId,
    pub(crate) model: ServedModel,
    pub(crate) owner: Option<Owner>,
    pub(crate) transport: Transport,
    pub(crate) salts: Salts,
    pub(crate) request_commitment: Digest384,
    pub(crate) response: Commitment,
}

/// How a request ended.
pub struct Finished {
    /// How.
    pub outcome: Outcome,
    /// What the engine was told.
    pub sampling: Sampling,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// Unix seconds, of the guest's clock.
    pub time: u64,
    /// What it was, where it was not one answer to one chat.
    pub work: Option<Work>,
    /// Whose usage it is; `None` where callers have no accounts.
    pub account: Option<Name>,
}

impl Pending {
    /// The id, fixed from the start.
    pub fn id(&self) -> ReceiptId {
        self.id
    }

    /// Commits to the next bytes of the response.
    pub fn sent(&mut self, bytes: &[u8]) {
        self.response.update(bytes);
    }
}

impl ReceiptLog {
    /// The receipts that `keyset` signs. Its leaf is in the log, durable, when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// [`ReceiptLogError::Keys`] if `keys` are not the keyset's receipt keys; [`ReceiptLogError::Log`] for a keyset that is too
    /// long for a leaf; the store.
    pub fn open(log: Arc<PublicLog>, keys: SigningKeys, keyset: Keyset) -> Result<Self, ReceiptLogError> {
        let (public, named) = (keys.verifying_keys(), &keyset.receipt_keys);
        let same = public.suite().name() == named.suite
            && public.ml_dsa_hex() == named.ml_dsa
            && public.ed25519_hex() == named.ed25519;
        if !same {
            return Err(ReceiptLogError::Keys);
        }
        let keyset_digest = keyset.digest()?;
        log.begin_keyset(&keyset, &keyset_digest)?;
        let next = log.db().read(|db| Next::read(db, &keyset_digest))?;
        Ok(Self {
            line: Line::new(next),
            db: Arc::clone(log.db()),
            log,
            keys,
            keyset,
            keyset_digest,
        })
    }

    /// The log that the receipts stand in.
    pub fn log(&self) -> &Arc<PublicLog> {
        &self.log
    }

    /// The keyset this log signs under.
    pub fn keyset(&self) -> &Keyset {
        &self.keyset
    }

    /// Its digest.
    pub fn keyset_digest(&self) -> Digest384 {
        self.keyset_digest
    }

    /// Fixes id and salts of a request, out of bytes that the caller drew for it and uses for nothing else.
    ///
    /// # Errors
    /// [`ReceiptLogError::Model`] for a model that the keyset does not name.
    pub fn begin(&self, start: RequestStart<'_>, fresh: FreshBytes) -> Result<Pending, ReceiptLogError> {
        let model = self.keyset.models.iter().find(|m| m.name.as_str() == start.model);
        let model = model.ok_or_else(|| ReceiptLogError::Model {
            model: start.model.to_owned(),
        })?;
        let FreshBytes {
            id,
            request_salt,
            response_salt,
        } = fresh;
        let salts = Salts {
            request: Salt(request_salt),
            response: Salt(response_salt),
        };
        Ok(Pending {
            id: ReceiptId(id),
            model: model.clone(),
            owner: start.owner,
            transport: start.transport,
            request_commitment: hanzo_verifier::receipt::commitment(&salts.request, start.request),
            response: Commitment::new(&salts.response),
            salts,
        })
    }

    /// The receipt `id` for its owner, with the proof that it is in the log if a head covers it. `None` alike if there is none,
    /// if it has no owner and if `owner` is another. Blocks on the disk.
    ///
    /// # Errors
    /// The store.
    pub fn fetch(&self, id: &ReceiptId, owner: &Owner) -> Result<Option<DisclosedReceipt>, ReceiptLogError> {
        type Row = (i64, Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);
        let row: Option<Row> = self.db.read(|db| -> Result<_, ReceiptLogError> {
            Ok(db
                .query_row(
                    "SELECT seq, document, owner, salts FROM receipts WHERE id = ?1",
                    params![id.0],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
                )
                .optional()?)
        })?;
        // The same comparison runs whether or not there is such a receipt.
        let (seq, document, stored, sealed) = row.unwrap_or((-1, Vec::new(), Some(vec![0; 32]), None));
        let allowed = owner.is(stored.as_deref().unwrap_or(&[0; 32]));
        let (true, Some(sealed)) = (allowed, sealed) else {
            return Ok(None);
        };
        let damaged = |what| ReceiptLogError::Damaged { seq, what };
        let signed = SignedReceipt::from_bytes(&document).map_err(|_| damaged("not a receipt"))?;
        let salts = owner
            .open(id, &sealed)?
            .ok_or_else(|| damaged("its salts do not open"))?;
        Ok(Some(signed.disclose(salts).with_proof(self.log.proof(id)?)))
    }

    /// How many receipts this boot has.
    ///
    /// # Errors
    /// The store.
    pub fn count(&self) -> Result<u64, ReceiptLogError> {
        self.db.read(|db| {
            let n: i64 = db.query_row(
                "SELECT count(*) FROM receipts WHERE keyset_digest = ?1",
                params![self.keyset_digest.0],
                |row| row.get(0),
            )?;
            Ok(n.max(0) as u64)
        })
    }

    /// The signed receipts of this boot without salts, `from` on, at most `limit`: what a log publisher reads.
    ///
    /// # Errors
    /// The store; a damaged log.
    pub fn page(&self, from: u64, limit: u32) -> Result<Vec<SignedReceipt>, ReceiptLogError> {
        let rows: Vec<(i64, Vec<u8>)> = self.db.read(|db| -> Result<_, ReceiptLogError> {
            let mut statement = db.prepare(
                "SELECT seq, document FROM receipts WHERE keyset_digest = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3",
            )?;
            let from = i64::try_from(from).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![self.keyset_digest.0, from, limit], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        rows.into_iter()
            .map(|(seq, document)| {
                SignedReceipt::from_bytes(&document).map_err(|_| ReceiptLogError::Damaged {
                    seq,
                    what: "not a receipt",
                })
            })
            .collect()
    }
}
