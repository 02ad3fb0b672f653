//! The audit log for readers at a distance: its newest head for anybody, its tiles for auditors.

use hanzo_log::tile::Tile;

use super::tree;
use crate::KbsError;
use crate::broker::Broker;

impl Broker {
    /// The newest head of the log, signed; every fence holds what it counts. It is not kept: whoever asks does not make the
    /// store grow.
    pub(crate) fn shown_head(&self) -> Result<String, KbsError> {
        let (head, frontier, stored) = self.db.read(|tx| {
            let (head, frontier) = tree::newest(tx)?;
            let stored = tree::stored_head(tx, frontier.size())?;
            Ok::<_, KbsError>((head, frontier, stored))
        })?;
        if let Some(head) = head {
            self.advance_head(head)?;
        }
        match stored {
            Some(note) => Ok(note),
            None => tree::sign(&frontier, &self.identity),
        }
    }

    /// A tile's bytes; `None` if the log has no such tile.
    pub(crate) fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, KbsError> {
        self.db.read(|tx| tree::tile_bytes(tx, tile))
    }
}
