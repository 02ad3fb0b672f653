//! What the guest's store keeps of its callers besides their receipts: what each used, and the table of who they are.
//!
//! Usage grows in the transaction that appends a receipt, by the very numbers of that receipt, so it is the sum of them after
//! any crash. The same numbers stand beside the receipt's leaf, in one row with the hash that the log's head covers: each opening
//! adds them up anew and refuses a store that says otherwise. The table's version never goes back in one store.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanzo_attestation::name::Name;
use hanzo_store::{EncryptedDb, StoreError};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::ReceiptLogError;
use crate::tree::Charge;

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
pub(crate) fn charge(tx: &Transaction<'_>, charge: &Charge<'_>) -> Result<(), ReceiptLogError> {
    tx.prepare_cached(
        "INSERT INTO usage (account, requests, prompt_tokens, completion_tokens) VALUES (?1, 1, ?2, ?3)
         ON CONFLICT (account) DO UPDATE SET requests = requests + 1,
             prompt_tokens = prompt_tokens + excluded.prompt_tokens,
             completion_tokens = completion_tokens + excluded.completion_tokens",
    )?
    .execute(params![
        charge.account.as_str(),
        count(charge.prompt_tokens),
        count(charge.completion_tokens)
    ])?;
    Ok(())
}

/// A count as the store keeps it.
pub(crate) fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Sums by account.
pub(crate) type Sums = BTreeMap<String, Usage>;

/// What a table with the columns of `usage` says.
pub(crate) fn table(db: &Connection, sql: &str) -> Result<Sums, ReceiptLogError> {
    let mut statement = db.prepare(sql)?;
    let of = |n: i64| n.max(0) as u64;
    let rows = statement.query_map([], |row| {
        let usage = Usage {
            requests: of(row.get(1)?),
            prompt_tokens: of(row.get(2)?),
            completion_tokens: of(row.get(3)?),
        };
        Ok((row.get(0)?, usage))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Holds what the store says that was used against the charges that stand beside the log's leaves, whose hashes the caller has
/// checked: an older page of `usage` shows here.
pub(crate) fn check(db: &Connection) -> Result<(), ReceiptLogError> {
    let held = table(
        db,
        "SELECT account, requests, prompt_tokens, completion_tokens FROM usage",
    )?;
    let mut sums = table(
        db,
        "SELECT account, requests, prompt_tokens, completion_tokens FROM usage_before",
    )?;
    let charged = table(
        db,
        "SELECT account, count(*), sum(prompt_tokens), sum(completion_tokens) FROM log
         WHERE account IS NOT NULL GROUP BY account",
    )?;
    for (account, usage) in charged {
        let sum = sums.entry(account).or_default();
        sum.requests = sum.requests.saturating_add(usage.requests);
        sum.prompt_tokens = sum.prompt_tokens.saturating_add(usage.prompt_tokens);
        sum.completion_tokens = sum.completion_tokens.saturating_add(usage.completion_tokens);
    }
    let wrong = held
        .keys()
        .chain(sums.keys())
        .find(|account| held.get(*account) != sums.get(*account));
    match wrong {
        None => Ok(()),
        Some(account) => Err(ReceiptLogError::Usage {
            account: account.clone(),
            held: held.get(account).map_or(0, Usage::tokens),
            sum: sums.get(account).map_or(0, Usage::tokens),
        }),
    }
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
        let rows = self.db.read(|db| {
            table(
                db,
                "SELECT account, requests, prompt_tokens, completion_tokens FROM usage ORDER BY account",
            )
        })?;
        rows.into_iter()
            .map(|(account, usage)| {
                let name = Name::new(&account).map_err(|_| ReceiptLogError::Account)?;
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
