//! What the guest's store keeps of its callers besides their receipts: what each used, and the table of who they are.
//!
//! Usage grows in the transaction that appends a receipt, by the very numbers of that receipt, so it is the sum of them after
//! any crash. The table's version never goes back in one store.

use std::sync::Arc;

use hanzo_attestation::name::Name;
use hanzo_store::{EncryptedDb, StoreError};
use rusqlite::{OptionalExtension, Transaction, params};

use crate::ReceiptLogError;

/// Sums over the receipts of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many there are.
    pub requests: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Tokens of answers.
    pub completion_tokens: u64,
}

impl Usage {
    /// Tokens of both.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

/// Accounts in a store that was opened with [`crate::SCHEMA`].
pub struct Accounts {
    db: Arc<EncryptedDb>,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Accounts({:?})", self.db)
    }
}

/// Adds one receipt's numbers.
pub(crate) fn charge(
    tx: &Transaction<'_>,
    account: &Name,
    prompt_tokens: u64,
    completion_tokens: u64,
) -> Result<(), ReceiptLogError> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    tx.execute(
        "INSERT INTO usage (account, requests, prompt_tokens, completion_tokens) VALUES (?1, 1, ?2, ?3)
         ON CONFLICT (account) DO UPDATE SET requests = requests + 1,
             prompt_tokens = prompt_tokens + excluded.prompt_tokens,
             completion_tokens = completion_tokens + excluded.completion_tokens",
        params![account.as_str(), count(prompt_tokens), count(completion_tokens)],
    )?;
    Ok(())
}

impl Accounts {
    /// Of a store.
    pub fn new(db: Arc<EncryptedDb>) -> Self {
        Self { db }
    }

    /// What every account used, ascending by name. Blocks on the disk.
    ///
    /// # Errors
    /// The store; [`ReceiptLogError::Account`] if it holds a name that is none.
    pub fn usage(&self) -> Result<Vec<(Name, Usage)>, ReceiptLogError> {
        type Row = (String, i64, i64, i64);
        let rows: Vec<Row> = self.db.read(|db| -> Result<_, ReceiptLogError> {
            let mut statement =
                db.prepare("SELECT account, requests, prompt_tokens, completion_tokens FROM usage ORDER BY account")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        let count = |n: i64| n.max(0) as u64;
        rows.into_iter()
            .map(|(account, requests, prompt_tokens, completion_tokens)| {
                let name = Name::new(&account).map_err(|_| ReceiptLogError::Account)?;
                let usage = Usage {
                    requests: count(requests),
                    prompt_tokens: count(prompt_tokens),
                    completion_tokens: count(completion_tokens),
                };
                Ok((name, usage))
            })
            .collect()
    }

    /// The signed table of callers that was kept last, as it came. Blocks on the disk.
    ///
    /// # Errors
    /// The store.
    pub fn kept_callers(&self) -> Result<Option<Vec<u8>>, ReceiptLogError> {
        self.db.read(|db| {
            let document = db.query_row("SELECT document FROM callers", [], |row| row.get(0));
            Ok(document.optional()?)
        })
    }

    /// Keeps a table whose `version` is newer than what is kept; false if it is not, and then nothing changes. Blocks on the disk.
    ///
    /// # Errors
    /// The store.
    pub fn keep_callers(&self, version: u64, document: &[u8]) -> Result<bool, ReceiptLogError> {
        let Ok(version) = i64::try_from(version) else {
            return Ok(false);
        };
        self.db.write(|tx| {
            let changed = tx
                .execute(
                    "INSERT INTO callers (one, version, document) VALUES (1, ?1, ?2)
                     ON CONFLICT (one) DO UPDATE SET version = excluded.version, document = excluded.document
                     WHERE excluded.version > callers.version",
                    params![version, document],
                )
                .map_err(StoreError::from)?;
            Ok(changed == 1)
        })
    }
}
