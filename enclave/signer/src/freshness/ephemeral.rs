//! Freshness of keys that live for one boot: the head lies in memory beside the key, and both end together.

use super::{FreshnessError, FreshnessSource, Head};

const VIA: &str = "ephemeral";

/// The head of one boot's journal. Only [`crate::ephemeral::boot`] makes one, together with a key that nobody else has.
pub struct Ephemeral {
    head: Head,
}

impl Ephemeral {
    pub(crate) fn new() -> Self {
        Self { head: Head::EMPTY }
    }
}

impl FreshnessSource for Ephemeral {
    fn newest(&mut self) -> Result<Head, FreshnessError> {
        Ok(self.head)
    }

    fn advance(&mut self, from: Head, to: Head) -> Result<(), FreshnessError> {
        if self.head != from || to.count <= from.count {
            return Err(FreshnessError::Moved {
                via: VIA,
                held: self.head.count,
                from: from.count,
            });
        }
        self.head = to;
        Ok(())
    }
}
