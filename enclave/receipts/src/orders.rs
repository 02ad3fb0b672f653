//! Orders of administrators: leaves of the log between receipts, so that the fence of its head keeps them from being undone.

use hanzo_attestation::Digest384;
use hanzo_verifier::order::{Order, SignedOrder, VerifiedOrder};
use rusqlite::{Connection, OptionalExtension as _};

use crate::tree::{self, Of};
use crate::{PublicLog, ReceiptLogError};

/// Most orders of one store.
pub const ORDERS_MAX: usize = 4096;
/// Most, if the next one is not for good ([`hanzo_verifier::order::Action::is_for_good`]): the rest is kept for those that take away.
pub const PASSING_ORDERS_MAX: usize = 3072;

/// Such a leaf stands where leaves of keysets do; its document begins otherwise.
const ORDERS: &str = "FROM log WHERE keyset_digest >= x'' AND substr(keyset, 1, 9) = CAST('{\"order\":' AS BLOB)";

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderOutcome {
    /// It is a leaf, durable.
    Appended,
    /// Its sequence is not above that of every order before; nothing changed.
    NotNext {
        /// The highest so far.
        newest: u64,
    },
    /// There is no place for it; nothing changed.
    Full {
        /// How many orders there are.
        held: usize,
    },
}

fn parsed(document: &[u8]) -> Result<Order, ReceiptLogError> {
    let signed = SignedOrder::parse(document).map_err(|_| ReceiptLogError::Tree {
        what: "an order is none".into(),
    })?;
    Ok(signed.order)
}

fn all(db: &Connection) -> Result<Vec<Order>, ReceiptLogError> {
    let mut statement = db.prepare(&format!("SELECT keyset {ORDERS} ORDER BY idx"))?;
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    rows.map(|document| parsed(&document?)).collect()
}

/// How many there are, and the sequence of the last, which is the highest; 0 if there is none.
fn newest(db: &Connection) -> Result<(usize, u64), ReceiptLogError> {
    let held: i64 = db.query_row(&format!("SELECT count(*) {ORDERS}"), [], |row| row.get(0))?;
    let last: Option<Vec<u8>> = db
        .query_row(
            &format!("SELECT keyset {ORDERS} ORDER BY idx DESC LIMIT 1"),
            [],
            |row| row.get(0),
        )
        .optional()?;
    let sequence = last.map(|document| parsed(&document)).transpose()?;
    Ok((
        usize::try_from(held).unwrap_or(usize::MAX),
        sequence.map_or(0, |order| order.sequence),
    ))
}

impl PublicLog {
    /// Every order in the log, in its order. Blocks on the disk.
    ///
    /// # Errors
    /// The store; [`ReceiptLogError::Tree`] for a leaf that is none.
    pub fn orders(&self) -> Result<Vec<Order>, ReceiptLogError> {
        self.db().read(all)
    }

    /// Appends an order whose sequence is higher than every one before, while there is a place: [`PASSING_ORDERS_MAX`] for those that
    /// may be given back, [`ORDERS_MAX`] for those that narrow for good. Durable when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// The store.
    pub fn append_order(&self, order: &VerifiedOrder) -> Result<OrderOutcome, ReceiptLogError> {
        let most = match order.order().action.is_for_good() {
            true => ORDERS_MAX,
            false => PASSING_ORDERS_MAX,
        };
        self.append(|tx, frontier| {
            let (held, newest) = newest(tx)?;
            if order.order().sequence <= newest {
                return Ok(OrderOutcome::NotNext { newest });
            }
            if held >= most {
                return Ok(OrderOutcome::Full { held });
            }
            tree::append(tx, frontier, &Of::Order(&Digest384::of(order.bytes()), order.bytes()))?;
            Ok(OrderOutcome::Appended)
        })
    }
}
