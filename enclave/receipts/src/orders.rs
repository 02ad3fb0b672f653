//! Orders of administrators: leaves of the log between receipts, so that the fence of its head keeps them from being undone.

use hanzo_attestation::Digest384;
use hanzo_verifier::order::{Order, SignedOrder, VerifiedOrder};
use rusqlite::Connection;

use crate::tree::{self, Of};
use crate::{PublicLog, ReceiptLogError};

/// Most orders of one store.
const ORDERS_MAX: usize = 4096;

fn all(db: &Connection) -> Result<Vec<Order>, ReceiptLogError> {
    // Such a leaf stands where leaves of keysets do; its document begins otherwise.
    let mut statement = db.prepare(
        "SELECT keyset FROM log WHERE keyset_digest >= x'' AND substr(keyset, 1, 9) = CAST('{\"order\":' AS BLOB) ORDER BY idx",
    )?;
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    let mut orders = Vec::new();
    for document in rows {
        let signed = SignedOrder::parse(&document?).map_err(|_| ReceiptLogError::Tree {
            what: "an order is none".into(),
        })?;
        orders.push(signed.order);
    }
    Ok(orders)
}

impl PublicLog {
    /// Every order in the log, in its order. Blocks on the disk.
    ///
    /// # Errors
    /// The store; [`ReceiptLogError::Tree`] for a leaf that is none.
    pub fn orders(&self) -> Result<Vec<Order>, ReceiptLogError> {
        self.db().read(all)
    }

    /// Appends an order whose sequence is higher than every one before; false if it is not, or there are 4,096, and then nothing
    /// changes. Durable when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// The store.
    pub fn append_order(&self, order: &VerifiedOrder) -> Result<bool, ReceiptLogError> {
        self.append(|tx, frontier| {
            let before = all(tx)?;
            let is_next = before.iter().all(|one| one.sequence < order.order().sequence);
            if !is_next || before.len() >= ORDERS_MAX {
                return Ok(false);
            }
            tree::append(tx, frontier, &Of::Order(&Digest384::of(order.bytes()), order.bytes()))?;
            Ok(true)
        })
    }
}
